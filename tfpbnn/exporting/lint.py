"""This finds what a model server would refuse, or answer wrongly."""

import os
import re
from collections.abc import Iterator
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2

from tfpbnn.exporting.files import MODEL, Place
from tfpbnn.exporting.signatures.inputs import UNNAMED

_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# Ops that change what the next request finds.
_WRITES = {
    "AssignAddVariableOp",
    "AssignSubVariableOp",
    "AssignVariableOp",
    "RngReadAndSkip",
    "RngSkip",
    "StatefulRandomBinomial",
    "StatefulStandardNormalV2",
    "StatefulTruncatedNormal",
    "StatefulUniform",
    "StatefulUniformFullInt",
    "StatefulUniformInt",
}
_RANDOM = re.compile("Random|Rng|Multinomial|Truncated|StandardNormal|Uniform")
# They say which generator there is.
_NOT_RANDOM = {"StatelessRandomGetKeyCounter", "StatelessRandomGetAlg"}
_HALF = {"DT_HALF", "DT_BFLOAT16"}
_INIT = "__saved_model_init_op"
# What is run when the model is loaded; the second by TensorFlow 1.
_LOADING = ("saved_model_main_op", "legacy_init_op")
# Tables that are filled then, or never.
_TABLES = {"HashTable", "HashTableV2"}


def lint_export(
    path: str | os.PathLike[str], *, batching: bool = True
) -> list[str]:
    """Checks a SavedModel against the rules of TensorFlow Serving.

    For any SavedModel, not only those of `tfpbnn.export`. It looks for Python
    functions and XLA (the server has neither), for noise that replays after a
    restart or races between requests, and for inputs and outputs that
    batching, or the REST interface, can't do.

    Args:
        path: the version folder, with `saved_model.pb` in it, here or on a file
            system that TensorFlow knows.
        batching: whether the server is to batch requests: then every input
            and output must begin with an axis of rows.

    Returns:
        What is wrong, a line each, which is printed too; empty if nothing is.

    Raises:
        FileNotFoundError: if there is no SavedModel.

    Example:
    ```python
    tfpbnn.export(model, "served/wine/1")
    tfpbnn.lint_export("served/wine/1")                     # []
    ```
    """
    found = list(dict.fromkeys(problems(Place(path), batching, rest=True)))
    for line in found or ["no problems found"]:
        print(f"{path}: {line}")
    return found


def problems(place: Place, batching: bool, rest: bool) -> Iterator[str]:
    """Gives the lines of `lint_export`.

    Args:
        place: of the version folder.
        batching: whether the server is to batch requests.
        rest: whether it is to answer by REST, and not by gRPC alone.
    """
    content = place.read(MODEL)
    if content is None:
        raise FileNotFoundError(
            "`path` must be a folder with a SavedModel in it. Received: "
            f"{place.path}"
        )
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(content)
    served = [g for g in model.meta_graphs if "serve" in g.meta_info_def.tags]
    if not served:
        yield 'there is no graph with the tag "serve"'
        return
    graph, collections = served[0].graph_def, served[0].collection_def
    signatures = {
        name: signature
        for name, signature in served[0].signature_def.items()
        if name != _INIT
    }
    if not signatures:
        yield "there is no signature, so nothing to ask for"
    nodes = _Nodes(graph)
    loading = [
        name for key in _LOADING for name in collections[key].node_list.value
    ]
    filled = {node.name for node in nodes.behind(loading)}
    for name, signature in sorted(signatures.items()):
        for line in _of_interface(signature, batching, rest):
            yield f"signature {name}: {line}"
        outputs = [info.name for info in signature.outputs.values()]
        for node in nodes.behind(outputs):
            for line in _of_node(node):
                yield f"signature {name}: {line}"
            if node.op in _TABLES and node.name not in filled:
                yield (
                    f"signature {name}: nothing initializes the table "
                    f"{node.name}, so requests fail; a layer that looks words "
                    "up has to be adapted, or given its vocabulary, first"
                )


def _of_interface(signature: Any, batching: bool, rest: bool) -> Iterator[str]:
    for name in sorted(signature.inputs):
        if UNNAMED.fullmatch(name):
            yield (
                f"the input {name} has no name of its own, and Keras numbers "
                'them anew each time: keras.Input(..., name="features")'
            )
    for kind in ("inputs", "outputs"):
        for name, info in sorted(getattr(signature, kind).items()):
            shape = info.tensor_shape
            if batching and not shape.unknown_rank and not shape.dim:
                yield f"{kind[:-1]} {name} is a scalar, which can't be batched"
            elif batching and not shape.unknown_rank and shape.dim[0].size >= 0:
                yield (
                    f"{kind[:-1]} {name} has {shape.dim[0].size} rows, so that "
                    "requests can't be batched"
                )
            dtype = info.DESCRIPTOR.fields_by_name["dtype"].enum_type
            label = dtype.values_by_number[info.dtype].name
            if rest and label in _HALF:
                yield f"{kind[:-1]} {name} is {label}, which REST can't do"


def _of_node(node: Any) -> Iterator[str]:
    if node.op in _PYTHON:
        yield f"{node.op} needs Python, which the server does not have"
    if node.op.startswith("Xla") or node.attr["_XlaMustCompile"].b:
        yield (
            f"{node.op} must be compiled by XLA (jit_compile=True), which the "
            "server refuses"
        )
    if node.op in _WRITES:
        yield (
            f"{node.op} changes a variable: requests race for it, and random "
            "numbers replay after a restart, as those of Keras's own random "
            "layers (see tfpbnn.mc_dropout)"
        )
    seeds = [node.attr[name].i for name in ("seed", "seed2")]
    if any(seeds):
        yield (
            f"{node.op} has the seeds {seeds}: every server replays the same "
            "random numbers after a restart"
        )


class _Nodes:
    """These are the nodes of a graph and of its functions."""

    def __init__(self, graph: Any):
        self._top = {node.name: node for node in graph.node}
        self._functions = {
            function.signature.name: function
            for function in graph.library.function
        }

    def behind(self, tensors: list[str]) -> Iterator[Any]:
        """Gives all nodes that these tensors need."""
        seen, names = set(), list(tensors)
        called: set[str] = set()
        while names:
            name = names.pop().lstrip("^").split(":")[0]
            if name in seen:
                continue
            seen.add(name)
            node = self._top[name]
            yield node
            names += node.input
            yield from self._functions_called(node, called)

    def _functions_called(self, node: Any, called: set[str]) -> Iterator[Any]:
        for value in list(node.attr.values()):
            for function in (value.func, *value.list.func):
                if function.name and function.name not in called:
                    called.add(function.name)
                    body = self._functions.get(function.name)
                    for inner in body.node_def if body else ():
                        yield inner
                        yield from self._functions_called(inner, called)


def random_ops(graph: Any) -> set[str]:
    """Returns the kinds of random operations in a graph and its functions."""
    bodies = [graph.node, *(f.node_def for f in graph.library.function)]
    return {
        node.op
        for body in bodies
        for node in body
        if _RANDOM.search(node.op) and node.op not in _NOT_RANDOM
    }
