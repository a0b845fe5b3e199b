"""Weights that layers share are shared in every copy, and have one draw."""

import keras
import numpy as np
import pytest

import tfpbnn
from tests import hub
from tfpbnn.ensembles import DeepEnsemble, to_batch_ensemble, to_masksembles
from tfpbnn.networks import copying

TOKENS = np.random.default_rng(0).integers(0, 7, (5, 3))


class Holder(keras.layers.Layer):
    """Says how it is made, with the layers that it holds in it."""

    def __init__(self, **parts):
        self.names = sorted(set(parts) - {"name"})
        super().__init__(name=parts.get("name"))
        for name in self.names:
            setattr(self, name, parts[name])

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        parts = {name: serialize(getattr(self, name)) for name in self.names}
        return {"name": self.name, **parts}

    @classmethod
    def from_config(cls, config):
        return cls(**keras.saving.deserialize_keras_object(config))


class Head(Holder):
    """From features to the tokens of an embedding, by its table."""

    def call(self, x):
        return x @ keras.ops.transpose(self.embedding.embeddings)


class WideHead(Head):
    """Has weights of its own too."""

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(7,), initializer="normal")
        self.mix = self.add_weight(shape=(7, 7), initializer="normal")

    def call(self, x):
        return super().call(x) @ self.mix + self.bias


class RawHead(Head):
    """Gives the layer that it holds where it must give its config."""

    def get_config(self):
        return {"name": self.name, "embedding": self.embedding}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Pair(Holder):
    """Holds one layer at two places."""

    def build(self, input_shape):
        if not self.first.built:
            self.first.build(input_shape)

    def call(self, x):
        return self.second(self.first(x))


def of(head, cls=keras.layers.Embedding):
    """Tokens to logits over tokens, by one table."""
    embedding = cls(7, 4, name="table")
    inputs = keras.Input((3,), dtype="int32")
    hidden = keras.layers.Dense(4, "tanh")(embedding(inputs))
    hidden = keras.layers.Dropout(0.1)(hidden)
    return keras.Model(inputs, head(embedding=embedding)(hidden))


def reverse(embedding):
    return lambda hidden: embedding(hidden, reverse=True)


def inside(head):
    """The same with the table in a model in the model."""
    embedding = keras.layers.Embedding(7, 4, name="table")
    inner_inputs = keras.Input((3,), dtype="int32")
    inner = keras.Model(inner_inputs, embedding(inner_inputs), name="inner")
    inputs = keras.Input((3,), dtype="int32")
    hidden = keras.layers.Dropout(0.1)(inner(inputs))
    return keras.Model(inputs, head(embedding=embedding)(hidden))


def pair():
    dense = keras.layers.Dense(3)
    drop = keras.layers.Dropout(0.1)
    return keras.Sequential(
        [keras.Input((3,)), Pair(first=dense, second=dense), drop]
    )


MODELS = {
    "reversible": lambda: of(reverse, keras.layers.ReversibleEmbedding),
    "head": lambda: of(Head),
    "wide_head": lambda: of(WideHead),
    "inside": lambda: inside(WideHead),
    "pair": pair,
}
COPIES = {
    "to_variational": tfpbnn.to_variational,
    "with_all_vectors": lambda m: tfpbnn.to_variational(
        m, bias_posterior="mean_field_normal"
    ),
    "and_back": lambda m: tfpbnn.to_deterministic(tfpbnn.to_variational(m)),
    "mc_dropout": tfpbnn.mc_dropout,
    "prune": lambda m: tfpbnn.prune(tfpbnn.to_variational(m), keep=1.0),
    "clone": copying.clone,
    "member": lambda m: DeepEnsemble.from_models([m, copying.fresh(m)]).member(
        0
    ),
}


def tables(model):
    """Variables of the shape of the shared one."""
    shape = (3, 3) if isinstance(model, keras.Sequential) else (7, 4)
    return [
        v
        for v in model.trainable_variables
        if tuple(v.shape) == shape and "scale" not in v.path
    ]


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.mark.parametrize("name", COPIES)
def test_one_table_stays_one(model, name):
    new = COPIES[name](model)
    assert len(tables(model)) == len(tables(new)) == 1
    own = {id(v) for v in model.variables}
    assert not any(id(v) in own for v in new.variables)
    x = TOKENS.astype(model.inputs[0].dtype)
    with tfpbnn.random.draw_scope(None):
        np.testing.assert_allclose(new(x), model(x), atol=1e-6)
        # It is read at both places, and it is not the model's.
        before = np.asarray(new(x))
        (old,), (mine,) = tables(model), tables(new)
        old.assign(2.0 * old)
        np.testing.assert_array_equal(new(x), before)
        mine.assign(2.0 * mine)
        np.testing.assert_allclose(new(x), model(x), atol=1e-5)
    old.assign(0.5 * old)


def weights_seen(head, cls=keras.layers.Embedding):
    """What an embedding and a head make of every token and every feature."""
    embedding = cls(7, 4, name="table")
    tokens, x = keras.Input((), dtype="int32"), keras.Input((4,))
    model = keras.Model(
        [tokens, x], [embedding(tokens), head(embedding=embedding)(x)]
    )
    return model, [np.arange(7), np.eye(4, dtype="float32")]


@pytest.mark.parametrize("name", ["head", "reversible"])
def test_one_draw_is_at_all_places(name):
    cases = {
        "head": (Head,),
        "reversible": (reverse, keras.layers.ReversibleEmbedding),
    }
    model, x = weights_seen(*cases[name])
    bayes = tfpbnn.to_variational(model)
    seen = []
    for key in (None, tfpbnn.random.as_key(0), tfpbnn.random.as_key(1)):
        with tfpbnn.random.draw_scope(key):
            table, transposed = bayes(x)
        np.testing.assert_allclose(table, np.transpose(transposed), atol=1e-6)
        seen.append(np.asarray(table))
    assert all(np.std(seen[0] - other) > 1e-4 for other in seen[1:])
    assert len(tfpbnn.layers.kl.kl_terms(bayes)) == 1


def test_they_are_one_after_loading(tmp_path):
    model, x = weights_seen(WideHead)
    bayes = tfpbnn.to_variational(model)
    bayes.save(tmp_path / "model.keras")
    classes = {"WideHead": WideHead}
    loaded = keras.saving.load_model(tmp_path / "model.keras", classes)
    assert len(loaded.variables) == len(bayes.variables)
    found = []
    for one in (bayes, loaded):
        with tfpbnn.random.draw_scope(tfpbnn.random.as_key(0)):
            found.append(one(x))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_ensembles_in_one_network_leave_tied_weights():
    model = MODELS["wide_head"]()
    for new in (to_batch_ensemble(model, 2), to_masksembles(model, 2)):
        assert len(tables(new)) == 1
    with pytest.raises(ValueError, match=r"'wide_head.* and 'table'"):
        to_batch_ensemble(model, 2, layers=["table"])


def test_what_would_come_apart_is_refused():
    with pytest.raises(ValueError, match=r"share weights.*leave both"):
        tfpbnn.to_variational(MODELS["head"](), "table", copy=False)
    with pytest.raises(ValueError, match="would share weights with `model`"):
        tfpbnn.mc_dropout(of(RawHead))

    def in_a_lambda(embedding):
        return keras.layers.Lambda(
            lambda x: x @ keras.ops.transpose(embedding.embeddings)
        )

    with pytest.raises(ValueError, match=r"Lambda must not read.*'embedding'"):
        tfpbnn.mc_dropout(of(in_a_lambda))


def test_masked_language_models_keep_one_table():
    model = hub.keras_hub().models.BertMaskedLM(backbone=hub.backbone())
    x = hub.inputs(4) | {"mask_positions": np.array([[1, 2]] * 4)}
    bayes = tfpbnn.to_variational(model, estimator="reparameterization")
    plain = tfpbnn.to_deterministic(bayes)
    for new in (bayes, plain, tfpbnn.mc_dropout(model)):
        found = [
            v
            for v in new.trainable_variables
            if tuple(v.shape) == (50, 16) and "scale" not in v.path
        ]
        assert len(found) == 1
        with tfpbnn.random.draw_scope(None):
            np.testing.assert_allclose(new(x), model(x), atol=1e-5)
    assert plain.count_params() == model.count_params()


def test_a_config_that_keras_reads_in_another_way_is_refused():
    """Keras connects the copy in another way, as it does a saved file."""
    shared = keras.layers.Dense(3)
    inner_inputs, inputs = keras.Input((3,)), keras.Input((3,))
    inner = keras.Model(inner_inputs, shared(inner_inputs))
    model = keras.Model(inputs, shared(inner(shared(inputs))))
    bayes = tfpbnn.to_variational(model)
    x = np.eye(3, dtype="float32")
    with tfpbnn.random.draw_scope(None):
        np.testing.assert_allclose(bayes(x), model(x), atol=1e-6)
    for copy in (copying.clone, copying.fresh):
        with pytest.raises(ValueError, match=r"must be one that can be|in a "):
            copy(model)


def test_quantized_layers_stay_what_they_are():
    """Their weights are in another order than those of a new layer."""
    layers = [keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    layers[0].quantize("float8")
    x = np.eye(3, dtype="float32")
    for new in (copying.clone(model), tfpbnn.mc_dropout(model)):
        with tfpbnn.random.draw_scope(None):
            np.testing.assert_allclose(new(x), model(x), atol=1e-6)
    with pytest.raises(ValueError, match="quantized"):
        tfpbnn.to_variational(model)


def test_lambdas_know_their_modules():
    factor = np.float32(3.0)
    inputs = keras.Input((3,))
    hidden = keras.layers.Lambda(lambda x: np.pi * x * factor)(inputs)
    model = keras.Model(inputs, keras.layers.Dropout(0.1)(hidden))
    x = np.eye(3, dtype="float32")
    for new in (copying.clone(model), copying.fresh(model)):
        np.testing.assert_allclose(new(x), model(x), atol=1e-6)
