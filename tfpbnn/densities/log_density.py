"""The log-density of a network's weights, given data."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpbnn.base import data, keras_private
from tfpbnn.base.places import over_places
from tfpbnn.base.types import Array, Tensor, Tree
from tfpbnn.base.xla import Compiler
from tfpbnn.densities.parameters import Parameters
from tfpbnn.layers.drawn.base import DrawnValues
from tfpbnn.likelihoods import Likelihood
from tfpbnn.networks import reading
from tfpbnn.networks.calls import Call, Graph, Tensors
from tfpbnn.networks.within import within

# Rows that are done at once: few enough for their activations to be in cache,
# and many enough for the loop over them to cost nothing.
_ROWS = 8192
_FEATURE_ROWS = 1024
# Rows whose outputs say where a chain is, for what is learned about paths.
_SEEN_ROWS = 32


class Network:
    """A network as a function of its random weights.

    What no random weight comes before is done once, for all steps of all
    chains: lookups, normalizations, frozen backbones.
    """

    def __init__(
        self,
        model: keras.Model,
        parameters: Parameters,
        x: Tree,
        moves: bool = False,
    ):
        """Reads the model.

        Args:
            model: a built model.
            parameters: its random weights.
            x: a few rows of inputs.
            moves: whether it is to run on other devices than its variables
                are on, as XLA can't: then the values of weights that are not
                random are those of now.
        """
        x = tensors(x)
        self._model = model
        self._parameters = parameters
        self._graph = Graph(model) if reading.can_read(model) else None
        self._after: list[Call] = []
        self._entries: list[keras.KerasTensor] = []
        random = {id(v) for v in parameters.variables}
        self._fixed = [
            (v, tf.constant(np.asarray(v)))
            for v in (model.weights if moves else [])
            if id(v) not in random and not reading.is_noise(v)
        ]
        if self._graph is not None:
            self._split(self._graph, x)

    def features(self, x: Tree) -> Tree:
        """What `outputs` takes, of inputs with any number of rows."""
        if self._graph is None:
            return x
        rows = len(keras.tree.flatten(x)[0])
        if not rows:
            return x
        parts = [
            self._features(tensors(batch))
            for batch, _ in data.batches(x, _FEATURE_ROWS)
        ]
        return [np.concatenate(leaves) for leaves in zip(*parts, strict=True)]

    @property
    def elements(self) -> int:
        """How many numbers a row's outputs of all layers have."""
        return sum(
            math.prod(size or 1 for size in tensor.shape[1:])
            for call in self._after
            for tensor in call.outputs
        )

    def outputs(self, vector: Tensor, features: Tree) -> Tree:
        """The network's outputs with the weights of a vector `[D]`."""
        values = self._parameters.weights(vector)
        pairs = zip(self._parameters.variables, values, strict=True)
        with DrawnValues([*pairs, *self._fixed]):
            if self._graph is None:
                return self._model(features, training=False)
            return self._run_after(features)

    def _split(self, graph: Graph, x: Tree) -> None:
        random = {id(v) for v in self._parameters.variables}
        found = graph.enter(x)
        touched: set[int] = set()
        for call in graph.calls:
            own = any(id(v) in random for v in _variables(call.op))
            is_touched = own or any(id(t) in touched for t in call.inputs)
            if not is_touched:
                _do(call, found)
                # A mask would be lost on the way into the compiled graph.
                masks = (
                    keras_private.mask_of(found[id(t)]) for t in call.outputs
                )
                is_touched = any(mask is not None for mask in masks)
            if is_touched:
                self._after.append(call)
                touched.update(id(t) for t in call.outputs)
        outputs = keras.tree.flatten(graph.outputs)
        needed = [t for call in self._after for t in call.inputs] + outputs
        self._entries = list(
            {id(t): t for t in needed if id(t) not in touched}.values()
        )
        self._touched = touched

    def _features(self, x: Tree) -> list[Array]:
        assert self._graph is not None
        found = self._graph.enter(x)
        for call in self._graph.calls:
            if not any(id(t) in self._touched for t in call.outputs):
                _do(call, found)
        return [np.asarray(found[id(t)]) for t in self._entries]

    def _run_after(self, features: Tree) -> Tree:
        assert self._graph is not None
        keys = map(id, self._entries)
        found: Tensors = dict(zip(keys, features, strict=True))
        for call in self._after:
            _do(call, found)
        return keras.tree.map_structure(
            lambda t: found[id(t)], self._graph.outputs
        )


def tensors(x: Tree) -> Tree:
    """The arrays as tensors: Keras takes no strings in NumPy's."""
    return keras.tree.map_structure(tf.convert_to_tensor, x)


def _variables(op: Any) -> list[keras.Variable]:
    return op.variables if isinstance(op, keras.layers.Layer) else []


def _do(call: Call, found: Tensors) -> None:
    def get(leaf: Any) -> Any:
        is_tensor = isinstance(leaf, keras.KerasTensor)
        return found[id(leaf)] if is_tensor else leaf

    within(function=lambda: call.do(get, found), training=False)


class LogDensity:
    """`log p(y | x, w) + log p(w)` as a function of vectors.

    Attributes:
        rows: the features, targets and weights of all rows in chunks, as
            NumPy arrays `[chunks, rows, ...]`.
        data: those of them that a program takes.
        compiler: compiles functions of this density.
    """

    def __init__(
        self,
        network: Network,
        parameters: Parameters,
        likelihoods: list[Likelihood | None],
        rows: tuple[Tree, list[Array], list[Array]],
        most: int | None = None,
    ):
        """Arranges the data.

        Args:
            network: gives the outputs.
            parameters: gives the prior.
            likelihoods: of each output; None where there is none.
            rows: features, and targets and weights of each output that has a
                likelihood; no rows without data.
            most: how many rows a chunk has at most; None for 8192.
        """
        self._network = network
        self._parameters = parameters
        # Sums over rows, whatever the loss that the user trained with does, and
        # in the type of the weights: Keras's default is float32.
        how = {"reduction": "sum"}
        if parameters.dtype == "float64":
            how["dtype"] = "float64"
        self._losses = [
            like and type(like).from_config(like.get_config() | how)
            for like in likelihoods
        ]
        self.num_rows = len(rows[2][0])
        self._most = most or _ROWS
        self.rows = keras.tree.map_structure(self._chunked, rows)
        self.data = self.rows
        self.compiler = Compiler()

    def __call__(self, vectors: Tensor, data: Tree, power: Any = 1.0) -> Tensor:
        """The log-densities `[C]` of vectors `[C, D]`, given `self.data`.

        Args:
            vectors: `[C, D]`.
            data: as `self.data`.
            power: of the likelihood, a number or `[C]`: with less than one it
                counts as if there were so many fewer rows.
        """
        prior = over(self._parameters.log_prior, vectors)
        if not self.num_rows:
            return prior
        return prior + power * self._log_likelihood(vectors, data)

    def memory_of(self, chains: int) -> int:
        """Bytes of layers' outputs that gradients of so many chains need."""
        if not self.num_rows:
            return 0
        rows = self.data[2][0].shape[1]
        size = np.dtype(self._parameters.dtype).itemsize
        return size * chains * rows * self._network.elements

    def view(self, vectors: Tensor, data: Tree) -> Tensor:
        """What vectors `[C, D]` mean: the outputs of some rows, `[C, F]`.

        Networks compute the same function at many vectors, and move along
        those that do without any change of it. Without data the vectors.
        """
        if not self.num_rows:
            return vectors
        size = self.data[2][0].shape[1]
        features = keras.tree.map_structure(
            lambda a: tf.convert_to_tensor(a)[0, :: -(-size // _SEEN_ROWS)],
            data[0],
        )

        def one(vector: Tensor) -> Tensor:
            outputs = keras.tree.flatten(
                self._network.outputs(vector, features)
            )
            pairs = zip(self._losses, outputs, strict=True)
            seen = [
                tf.reshape(tf.cast(y, vector.dtype), [-1])
                for loss, y in pairs
                if loss is not None
            ]
            return tf.concat(seen, axis=0)

        return over(one, vectors)

    def seen(self, vectors: Array) -> Array:
        """`view` of vectors in memory, one after the other."""
        parts = [self.view(tf.constant([v]), self.data) for v in vectors]
        return np.concatenate(parts)

    def terms(self, vector: Array) -> dict[str, float]:
        """The parts of the log-density of one vector, by name."""
        parts = self._parameters.split(tf.constant(vector))
        pairs = zip(self._parameters.random_weights, parts, strict=True)
        found = {
            f"prior of {w.variable.path}": float(w.log_prob(part))
            for w, part in pairs
        }
        if self.num_rows:
            one = tf.constant(vector)[tf.newaxis]
            found["likelihood"] = float(self._log_likelihood(one, self.data)[0])
        return found

    def _chunked(self, array: Array) -> Array:
        """`[chunks, rows, ...]`, the last filled with the first row."""
        size = min(self._most, max(1, len(array)))
        chunks = -(-len(array) // size) or 1
        missing = chunks * size - len(array)
        if missing:
            array = np.concatenate([array, np.repeat(array[:1], missing, 0)])
        return array.reshape((chunks, size, *array.shape[1:]))

    def _log_likelihood(self, vectors: Tensor, data: Tree) -> Tensor:
        chunks = len(self.rows[2][0])
        if chunks == 1:
            return self._chunk(vectors, data, 0)

        @tf.custom_gradient
        def total(vectors: Tensor) -> Any:
            def body(i: Tensor, value: Tensor, slope: Tensor) -> Any:
                with tf.GradientTape() as tape:
                    tape.watch(vectors)
                    part = self._chunk(vectors, data, i)
                return i + 1, value + part, slope + tape.gradient(part, vectors)

            zeros = tf.zeros_like(vectors[:, 0]), tf.zeros_like(vectors)
            _, value, slope = tf.while_loop(
                lambda i, *_: i < chunks, body, (0, *zeros)
            )
            return value, lambda upstream: upstream[:, tf.newaxis] * slope

        return total(vectors)

    def _chunk(self, vectors: Tensor, data: Tree, index: Any) -> Tensor:
        """The log-likelihoods `[C]` of one chunk of rows."""
        part = keras.tree.map_structure(
            lambda a: tf.convert_to_tensor(a)[index], data
        )
        size = tf.shape(part[2][0])[0]
        return self.of_rows(vectors, part, self.num_rows - index * size)

    def of_rows(self, vectors: Tensor, part: Tree, count: Any) -> Tensor:
        """The log-likelihoods `[C]` of the first `count` rows of a chunk."""
        features, targets, weights = part
        valid = tf.range(tf.shape(weights[0])[0]) < count
        weights = [
            tf.where(over_places(valid, w.shape), w, tf.zeros_like(w))
            for w in weights
        ]

        def one(vector: Tensor) -> Tensor:
            outputs = keras.tree.flatten(
                self._network.outputs(vector, features)
            )
            terms = []
            remaining = zip(targets, weights, strict=True)
            for loss, output in zip(self._losses, outputs, strict=True):
                if loss is not None:
                    y, weight = next(remaining)
                    terms.append(-loss(y, output, weight))
            return tf.cast(tf.add_n(terms), vector.dtype)

        return over(one, vectors)


def over(function: Any, vectors: Tensor) -> Tensor:
    """A function of one vector, for each of `[C, D]`.

    All at once where TensorFlow can rewrite it so. It can't with convolutions
    and recurrent layers, for one: there it is a loop, with the same numbers.
    """
    if vectors.shape[0] == 1:  # a chain alone needs nothing vectorized
        return function(vectors[0])[tf.newaxis]
    try:
        return tf.vectorized_map(
            function, vectors, fallback_to_while_loop=False
        )
    except ValueError:
        return tf.map_fn(function, vectors, fn_output_signature=vectors.dtype)
