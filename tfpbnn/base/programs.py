"""Programs that XLA has compiled, kept by what they compute.

TensorFlow never frees what XLA has compiled: tens of megabytes for each program
of a sampler, and seconds to make it. So one program serves all graphs that are
the same: those of a model that is sampled in a loop, of copies of it, and of
the folds of a cross-validation. A graph has all in it that Python knew when it
was traced, and so graphs that are the same compute the same; what they read
when they run (data, weights, tables) are their arguments.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfpbnn.base.types import Tensor

# For as long as the process lives, as TensorFlow keeps what it compiles.
_PROGRAMS: dict[str, Any] = {}
# Attributes with names that count what the process has traced: of nodes, of
# gradients, of what is captured. XLA, which runs forwards and on one device,
# looks at none of them.
_COUNTED = (
    "_class",
    "_gradient_op_type",
    "_user_specified_name",
    "backward_function_name",
    "forward_function_name",
)


def compiled_graph(graph: Any) -> Callable[..., Any]:
    """Returns the compiled program of a traced function.

    Args:
        graph: a `tf.types.experimental.ConcreteFunction`, which is kept as
            long as what is returned.

    Returns:
        a function of the same arguments.
    """
    definition = graph.graph.as_graph_def()
    names = [output.name for output in graph.outputs]
    key = _fingerprint(definition, names)
    program = _PROGRAMS.get(key) or _lifted(definition, graph.inputs, names)

    def run(*arguments: Any) -> Any:
        given = tf.nest.flatten(arguments)
        found = program(*given, *graph.captured_inputs)
        _PROGRAMS.setdefault(key, program)  # now that XLA has taken it
        return tf.nest.pack_sequence_as(graph.structured_outputs, found)

    return run


def _lifted(definition: Any, inputs: Sequence[Tensor], names: Any) -> Any:
    """A compiled function of all that a graph reads, also what it captures."""
    given = {t.op.name for t in inputs}
    kept = [node for node in definition.node if node.name not in given]
    rest = type(definition)(library=definition.library, node=kept)
    rest.versions.CopyFrom(definition.versions)

    def run(*values: Tensor) -> Any:
        places = dict(zip((t.name for t in inputs), values, strict=True))
        return tf.graph_util.import_graph_def(rest, places, names, name="")

    function = tf.function(run, jit_compile=True, autograph=False)
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in inputs]
    return function.get_concrete_function(*specs)


def _fingerprint(definition: Any, outputs: Sequence[str]) -> str:
    """A hash of what a graph computes, whatever its nodes are called."""
    return _Hashes(definition).of_nodes(definition.node, (), outputs)


class _Hashes:
    """Hashes of a graph and of the functions that it calls.

    Nodes are known by their places, and functions by what they compute: names
    count all graphs that the process has traced.
    """

    def __init__(self, definition: Any):
        library = definition.library.function
        self._bodies = {f.signature.name: f for f in library}
        self._known: dict[str, str] = {}

    def of_nodes(
        self, nodes: Any, arguments: Sequence[str], outputs: Sequence[str]
    ) -> str:
        """The hash of some outputs of nodes.

        Args:
            nodes: NodeDefs.
            arguments: names of what they are given.
            outputs: names of those of their outputs that count.
        """
        known = [*arguments, *(node.name for node in nodes)]
        places = {name: str(place) for place, name in enumerate(known)}

        def placed(name: str) -> str:
            node, *port = name.removeprefix("^").split(":", 1)
            sign = "^" if name.startswith("^") else ""
            return ":".join([sign + places[node], *port])

        digest = hashlib.sha256()
        for node in nodes:
            digest.update(
                repr(
                    (
                        self._meaning(node.op),
                        node.device,
                        [placed(name) for name in node.input],
                        self._attributes(node.attr),
                    )
                ).encode()
            )
        digest.update(repr([placed(name) for name in outputs]).encode())
        return digest.hexdigest()

    def _attributes(self, attributes: Any) -> list[tuple[str, Any]]:
        return [
            (name, self._value(attributes[name]))
            for name in sorted(attributes)
            if name not in _COUNTED
        ]

    def _value(self, value: Any) -> Any:
        functions = [*value.list.func]
        if value.HasField("func"):
            functions.append(value.func)
        if functions:
            return [
                (self._meaning(f.name), self._attributes(f.attr))
                for f in functions
            ]
        return value.SerializeToString(deterministic=True)

    def _meaning(self, name: str) -> str:
        """What an operation or function does, by its name."""
        if name not in self._bodies:
            return name
        if name not in self._known:
            function = self._bodies[name]
            signature = function.signature
            results = [function.ret[one.name] for one in signature.output_arg]
            effects = set(function.control_ret.values())
            own = self.of_nodes(
                function.node_def,
                [argument.name for argument in signature.input_arg],
                [
                    *results,
                    *(
                        f"^{node.name}"
                        for node in function.node_def
                        if node.name in effects
                    ),
                ],
            )
            self._known[name] = repr((own, self._attributes(function.attr)))
        return self._known[name]
