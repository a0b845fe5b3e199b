"""Any combination of a Keras layer's arguments: values and shapes.

With no scale our layers are Keras's with the same weights.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layers.table import CASES, ESTIMATORS
from tfpbnn import families, layers, random

FEW = settings(max_examples=8, deadline=None, derandomize=True)
# Scales of 1e-7, and locations that make outputs of order 1.
NO_SCALE = families.MeanFieldNormal(
    loc_initializer=keras.initializers.RandomNormal(stddev=0.5),
    untransformed_scale_initializer=keras.initializers.Constant(-40.0),
)
OPS = ["Dense", "Embedding"]
OPS += [f"Conv{n}D{t}" for t in ("", "Transpose") for n in (1, 2, 3)]
OPS += [f"{k}Conv{n}D" for k in ("Depthwise", "Separable") for n in (1, 2)]
KERNELS = {
    "Depthwise": ["depthwise"],
    "Separable": ["depthwise", "pointwise"],
}


def sizes(rank, least, most):
    """An integer, or one for each axis."""
    one = st.integers(least, most)
    return st.one_of(one, st.tuples(*[one] * rank))


@st.composite
def convolutions(draw, op):
    rank = int(op[op.rindex("D") - 1])
    data_format = draw(
        st.sampled_from([None, "channels_last", "channels_first"])
    )
    kwargs = {
        "kernel_size": draw(sizes(rank, 1, 3)),
        "padding": draw(st.sampled_from(["valid", "SAME"])),
        "data_format": data_format,
    }
    channels = draw(st.integers(1, 3))
    kwargs |= draw(spread(op, rank))
    if not op.startswith("Depthwise"):
        kwargs["filters"] = draw(st.integers(1, 3))
    if not op.startswith("Conv"):
        kwargs["depth_multiplier"] = draw(st.integers(1, 2))
    elif not op.endswith("Transpose"):
        groups = kwargs["groups"] = draw(st.integers(1, 2))
        kwargs["filters"] *= groups
        channels *= groups
    if op == "Conv1D" and draw(st.booleans()):
        kwargs["padding"] = "causal"
    spatial = draw(st.tuples(*[st.integers(5, 7)] * rank))
    at = 0 if data_format == "channels_first" else rank
    shape, known = [*spatial], [None] * rank
    shape.insert(at, channels)
    known.insert(at, channels)
    return kwargs, (2, *shape), (None, *known)


@st.composite
def spread(draw, op, rank):
    """Strides, with their output padding, or dilation, or both."""
    both = not op.startswith("Conv")
    found = {}
    if both or draw(st.booleans()):
        found["strides"] = draw(sizes(rank, 1, 2))
    if both or not found:
        found["dilation_rate"] = draw(sizes(rank, 1, 2))
    elif op.endswith("Transpose") and found["strides"] == 2:
        found["output_padding"] = draw(st.one_of(st.none(), sizes(rank, 0, 1)))
    return found


ALL, EXACT = ESTIMATORS, ("Reparameterization", "Flipout")
# Arguments, the inputs' shape, what of it must be known, and estimators.
EQUATIONS = [
    ("ab,bc->ac", 5, "c", (3, 4), (None, 4), ALL),
    ("abc,cd->abd", (None, 5), "d", (3, 2, 4), (None, None, 4), ALL),
    ("abc,cd->abd", (2, 5), "bd", (3, 2, 4), (None, 2, 4), ALL),
    ("abc,cde->abde", (2, 2, 3), "e", (3, 2, 4), (None, 2, 4), ALL),
    ("abc,cde->adbe", (2, None, 3), "de", (3, 2, 4), (None, None, 4), ALL),
    ("abc,bcd->abd", (2, 5), None, (3, 2, 4), (None, 2, 4), ALL),
    ("abcd,cde->abe", (None, 5), "e", (2, 3, 4, 5), (None, None, 4, 5), ALL),
    ("...x,xy->...y", 5, "y", (3, 2, 4), (None, None, 4), ALL),
    ("ab...,bd->ad...", 5, "d", (3, 4, 2), (None, 4, None), ALL),
    ("abc,cd->ad", 5, "d", (3, 2, 4), (None, None, 4), EXACT),
]


@st.composite
def others(draw, op):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=4)))
    if op == "Dense":
        known = (*[None] * (len(shape) - 1), shape[-1])
        return {"units": draw(st.integers(1, 4))}, shape, known
    kwargs = {"input_dim": 5, "output_dim": draw(st.integers(1, 4))}
    kwargs["mask_zero"] = draw(st.booleans())
    return kwargs, shape, (None,) * len(shape)


@st.composite
def examples(draw, op):
    strategy = others if op in ("Dense", "Embedding") else convolutions
    kwargs, *shapes = draw(strategy(op))
    if op != "Embedding":
        kwargs["activation"] = draw(st.sampled_from([None, "tanh"]))
        kwargs["use_bias"] = draw(st.booleans())
    return kwargs, *shapes


@pytest.mark.parametrize("op", OPS)
@FEW
@given(data=st.data())
def test_no_scale_is_the_keras_layer(op, data):
    example = data.draw(examples(op))
    check(op, data.draw(st.sampled_from(ESTIMATORS)), *example)


@pytest.mark.parametrize("case", EQUATIONS, ids=lambda case: case[0])
def test_no_scale_is_keras_einsum(case):
    equation, size, bias_axes, shape, known, estimators = case
    kwargs = {"equation": equation, "output_shape": size}
    for estimator in estimators:
        kwargs["bias_axes"] = bias_axes
        check("EinsumDense", estimator, kwargs, shape, known)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_bias_is_the_channels(estimator):
    """In NumPy: Keras's own adds it to the last axis, if that is as long."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 6)).astype("float32")
    layer = getattr(layers, f"Conv1D{estimator}")(
        4,
        3,
        data_format="channels_first",
        kernel_posterior=NO_SCALE,
        bias_initializer="random_normal",
    )
    found = layer(x).numpy()
    kernel = layer.kernel_posterior.loc.numpy()
    bias = layer.bias_posterior.loc.numpy()
    windows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=2)
    expected = np.einsum("bctk,kcf->bft", windows, kernel)
    expected += bias[:, np.newaxis]
    assert expected.shape == (2, 4, 4)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def check(op, estimator, kwargs, shape, known):
    """A layer against Keras's.

    Args:
        op: the name of Keras's layer.
        estimator: ours is named after it too.
        kwargs: arguments of both.
        shape: of the inputs.
        known: None in place of the sizes that a layer need not know.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype("float32")
    if op == "Embedding":
        x = rng.integers(0, 5, shape)
    theirs = getattr(keras.layers, op)(**kwargs)
    inputs = keras.Input(batch_shape=known, dtype=x.dtype)
    symbolic = theirs(inputs)
    ours = getattr(layers, op + estimator)(**kwargs, **without_scale(op))
    check_shapes(ours, inputs, symbolic)
    check_values(ours, theirs, x)


def without_scale(op):
    if op == "Embedding":
        return {"embeddings_posterior": NO_SCALE}
    kernels = next(
        (KERNELS[k] for k in KERNELS if op.startswith(k)), ["kernel"]
    )
    return {f"{name}_posterior": NO_SCALE for name in (*kernels, "bias")} | {
        "bias_initializer": "random_normal"
    }


def check_shapes(ours, inputs, symbolic):
    """Sizes that need not be known, of the batch and of other axes."""
    assert ours.compute_output_shape(inputs.shape) == symbolic.shape
    assert ours(inputs).shape == symbolic.shape


def check_values(ours, theirs, x):
    posteriors = [getattr(ours, f"{n}_posterior") for n in ours._weight_names]
    theirs.set_weights([p.loc.numpy() for p in posteriors if p is not None])
    expected = theirs(x)
    assert expected.shape == ours.compute_output_shape(x.shape)
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-5)
    with random.draw_scope(None):
        means = ours(x)
    np.testing.assert_allclose(means, expected, rtol=1e-6, atol=1e-6)
    if isinstance(theirs, keras.layers.Embedding):
        mask, expected = ours.compute_mask(x), theirs.compute_mask(x)
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_graphs_need_not_know_sizes(case):
    """A graph for any batch and any number of positions."""
    known = [None] * (case.x.ndim - 1) + [case.x.shape[-1]]
    if case.op == "Embedding":
        known[-1] = None
    made = [case.cls(e)(**case.kwargs | case.extra) for e in ESTIMATORS]
    for layer in made:
        layer.build(tuple(known))

    def run(x):
        return [layer(x) for layer in made]

    signature = [tf.TensorSpec(known, case.x.dtype)]
    run = tf.function(run, input_signature=signature, autograph=False)
    shape = case.keras(**case.kwargs)(case.x).shape
    for y in run(case.x):
        assert y.shape == shape
