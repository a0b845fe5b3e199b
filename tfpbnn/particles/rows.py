"""Says what the calls of a model do with the rows of a batch.

Draws that share a batch, and draws of each row's own, are right only where rows
stay apart. A call that is not known to keep them apart counts as one that does
not.
"""

import math

import keras

from tfpbnn.base.keras_private import mask_of
from tfpbnn.layers.random_layer import RandomLayer
from tfpbnn.networks.calls import Call
from tfpbnn.networks.reading import is_own
from tfpbnn.particles.split import DrawGraph

# Operations that are no layers, and leave each row where it is if their axes
# don't say otherwise.
_KEEPING = """
    Absolute Add Cast Clip Concatenate Cos Cumsum Divide Elu Equal Erf Exp
    ExpandDims Expm1 Flip Gelu Greater GreaterEqual HardSigmoid LeakyRelu Less
    LessEqual Log Log1p LogSoftmax Logsumexp Max Maximum Mean Min Minimum
    Multiply Negative Norm Normalize NotEqual Power Prod Relu Relu6 Repeat
    Rsqrt Selu Sigmoid Sign Silu Sin Softmax Softplus Softsign Split Sqrt Square
    Squeeze Stack Std Subtract Sum Tanh TrueDivide Var Where
"""


def can_stack(call: Call) -> bool:
    """Says whether rows of several draws may be put into one batch."""
    is_layer = hasattr(call.op, "weights")
    is_plain = (
        isinstance(call.op, RandomLayer) or not is_layer or is_own(call.op)
    )
    keeps_rows = all(len(y.shape) and y.shape[0] is None for y in call.outputs)
    has_mask = any(mask_of(x) is not None for x in call.inputs)
    is_ragged = any(getattr(x, "ragged", False) for x in call.inputs)
    is_even = keeps_rows and not has_mask and not is_ragged
    is_apart = is_even and not _goes_along_rows(call)
    return is_plain and is_apart


def are_kept(call: Call) -> bool:
    """Says whether each row of the outputs is known to depend on its own."""
    if isinstance(call.op, keras.layers.Layer) or call.is_alias:
        return can_stack(call)
    # Of other ranks, a row would be broadcast along an axis of its own.
    is_aligned = len({len(x.shape) for x in call.inputs}) == 1
    is_known = is_own(call.op) and _is_of_rows(call)
    return is_aligned and is_known and can_stack(call)


def can_be_marginal(graph: DrawGraph, call: Call) -> bool:
    """Says whether noise on a random layer's outputs is exact for each row."""
    is_exact = graph.drawing(call).can_be_marginal
    return is_exact and graph.is_used_once(call.op)


def obstacle(graph: DrawGraph) -> str:
    """Names the first call that keeps rows from being drawn apart.

    It is "" if there is none.
    """
    for call in graph.calls:
        name = getattr(call.op, "name", "")
        if not are_kept(call):
            return f"`{name}`, which is not known to keep rows apart"
        is_random = graph.drawing(call).is_random
        if is_random and not can_be_marginal(graph, call):
            return (
                f"`{name}`, of which a row meets a weight more than once, or "
                "whose weights are not independent Normals"
            )
    return ""


def first_calls(graph: DrawGraph) -> list[Call]:
    """Finds the calls of random layers that mixed draws replace by noise.

    All draws give them the same inputs, and noise on their outputs is exact. So
    each row has its exact distribution, whatever comes after them, if rows are
    kept apart.
    """
    return [
        call
        for call in graph.random_calls
        if graph.drawing(call).has_output_noise
        and not graph.has_touched_inputs(call)
        and can_be_marginal(graph, call)
    ]


def _goes_along_rows(call: Call) -> bool:
    """Says whether an operation along an axis, as a softmax, is along rows."""
    if isinstance(call.op, RandomLayer):
        return False
    axes = getattr(call.op, "axis", ())
    if axes is None:  # all of them
        return True
    ranks = [len(x.shape) for x in call.inputs]
    return any(axis == 0 or -axis in ranks for axis in keras.tree.flatten(axes))


def _is_of_rows(call: Call) -> bool:
    """Says whether an operation of Keras is known to leave rows in place."""
    rank = len(call.inputs[0].shape)
    match type(call.op).__name__:
        case "GetItem":
            return _takes_all_rows(call, rank)
        case "Matmul":
            return rank > 2
        case "Reshape":
            return _has_rows_of_one_size(call)
        case "Swapaxes":
            return not {0, -rank} & {call.op.axis1, call.op.axis2}
        case "Transpose":
            return bool(call.op.axes) and call.op.axes[0] in (0, -rank)
        case name:
            return name in _KEEPING.split()


def _takes_all_rows(call: Call, rank: int) -> bool:
    """Says whether an index, as in `x[:, 0]`, is of other axes than rows."""
    key = call.kwargs.get("key", call.args[-1])
    first, *others = key if isinstance(key, tuple) else (key,)
    if first is Ellipsis:
        return rank > len(others)
    return isinstance(first, slice) and first == slice(None)


def _has_rows_of_one_size(call: Call) -> bool:
    """Says whether a reshaped row is made of one row."""
    shapes = [tuple(x.shape[1:]) for x in (*call.inputs, *call.outputs)]
    is_known = not any(None in shape for shape in shapes)
    return is_known and len(set(map(math.prod, shapes))) == 1
