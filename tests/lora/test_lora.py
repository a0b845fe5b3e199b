"""Adapters on whole models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests import fresh
from tests.lora.models import IMAGES, LABELS, LOSS, bert, network, tokens
from tfpbnn import lora, random
from tfpbnn.layers.kl import managed_weights

FAST = keras.optimizers.Adam


def fitted(model, x, y=LABELS, epochs=5, **kwargs):
    adapted = lora.add_lora(model, 2, seed=1, **kwargs)
    adapted.compile(FAST(0.03), loss=LOSS)
    adapted.fit(x, y, epochs=epochs, verbose=0)
    return adapted


def predicted(model, x, **kwargs):
    if not model.compiled:
        model.compile(loss=LOSS)
    return tfpbnn.predict(model, x, 3, seed=0, verbose=0, **kwargs).mean


def means(model, x):
    return predicted(model, x, draws="mean")


def drawn(model, x):
    with random.draw_scope(random.as_key(3)):
        return model(x)


@pytest.fixture(scope="module")
def trained():
    return fitted(
        network(),
        IMAGES,
        targets=["attention", "conv", "inner"],
        also_train="head",
    )


@pytest.fixture(scope="module")
def task():
    return fitted(bert(), tokens(), also_train="logits", epochs=2)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_new_adapter_changes_nothing(in_place):
    model = keras.models.clone_model(network())
    expected = model(IMAGES)
    adapted = lora.add_lora(model, 2, targets="*", in_place=in_place)
    found = adapted(IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    shared = {id(v) for v in adapted.weights} & {id(v) for v in model.weights}
    assert len(shared) == (len(model.weights) if in_place else 0)
    np.testing.assert_array_equal(model(IMAGES), expected)
    assert bool(model.trainable_variables) != in_place


def test_fit_moves_adapters_and_the_head_alone(trained):
    plain = network()
    paths = {v.path.split("/", 1)[-1] for v in trained.trainable_variables}
    ends = ("posterior/loc", "root_scale", "kernel", "bias")
    assert all(path.endswith(ends) for path in paths), paths
    assert len(trained.trainable_variables) < len(trained.weights)
    by_path = lora.targets.leaves_by_path(trained)
    for path, layer in lora.targets.leaves_by_path(plain).items():
        held = getattr(by_path[path], "layer", by_path[path])
        for old, new in zip(layer.weights, held.weights, strict=True):
            is_same = np.array_equal(old, new)
            assert is_same == (path != "head"), old.path
    assert np.abs(means(trained, IMAGES) - plain(IMAGES)).max() > 0.01


def test_the_kl_is_weighted_by_the_number_of_rows(trained):
    weights = [float(w) for w in managed_weights(trained)]
    assert weights == pytest.approx([1 / 48] * 3)


def test_a_merged_model_is_the_model_at_its_means(trained):
    merged = lora.merge(trained)
    assert type(merged) is type(network())
    assert len(merged.weights) == len(network().weights)
    assert not any(isinstance(x, tfpbnn.layers.LoRA) for x in merged.layers)
    np.testing.assert_allclose(
        merged.predict(IMAGES, verbose=0),
        means(trained, IMAGES),
        rtol=1e-4,
        atol=1e-6,
    )


def test_adapters_go_to_a_file_and_back(trained, tmp_path):
    path = tmp_path / "adapters.npz"
    lora.save_adapters(trained, path)
    expected = drawn(trained, IMAGES)
    loaded = lora.load_adapters(network(), path)
    np.testing.assert_allclose(drawn(loaded, IMAGES), expected)
    ids = [v.path for v in loaded.trainable_variables]
    assert ids == [v.path for v in trained.trainable_variables]
    for variable in loaded.trainable_variables:
        variable.assign(0 * variable)
    assert lora.load_adapters(loaded, path) is loaded
    np.testing.assert_allclose(drawn(loaded, IMAGES), expected)
    other = keras.models.clone_model(network())
    with pytest.raises(ValueError, match="its frozen weights are others"):
        lora.load_adapters(other, path)
    others = lora.add_lora(network(), 1, targets="conv", also_train="head")
    with pytest.raises(ValueError, match="adapters like those of the file"):
        lora.load_adapters(others, path)


PROGRAM = """
import sys
import keras, numpy, tfpbnn
x = numpy.load(sys.argv[1] + "/x.npy", allow_pickle=True).item()
model = keras.models.load_model(sys.argv[1] + "/model.keras")
p = tfpbnn.predict(model, x, 3, seed=0, verbose=0)
numpy.savez(sys.argv[1] + "/p.npz", mean=p.mean,
            trained=len(model.trainable_variables))
"""


def test_a_task_of_keras_hub_in_a_fresh_process(task, tmp_path):
    x = tokens()
    task.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x, allow_pickle=True)
    fresh.run(PROGRAM, str(tmp_path))
    found = np.load(tmp_path / "p.npz")
    np.testing.assert_allclose(found["mean"], predicted(task, x), rtol=1e-5)
    assert found["trained"] == len(task.trainable_variables) == 2 * 3 + 2


def test_a_task_of_keras_hub_has_adapters_on_queries_and_values(task):
    x, report = tokens(), lora.report(task)
    assert [row.layer for row in report.rows] == [
        f"transformer_layer_0/{name}" for name in ("query", "value")
    ]
    adapters = 2 * (2 * 16 * 2 + 16 * 2)
    assert report.trainable == adapters + 16 * 3 + 3
    assert f"{report.trainable:,} parameters train" in str(report)
    merged = lora.merge(task)
    np.testing.assert_allclose(
        merged.predict(x, verbose=0), means(task, x), rtol=1e-4
    )
    assert np.abs(means(task, x) - bert().predict(x, verbose=0)).max() > 1e-3


def test_an_exported_model_predicts_as_predict_does(trained, tmp_path):
    tfpbnn.export(trained, tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    name, _ = next(
        iter(
            served.signatures["deterministic"]
            .structured_input_signature[1]
            .items()
        )
    )
    found = served.signatures["deterministic"](**{name: tf.constant(IMAGES)})
    mean = next(v for k, v in found.items() if v.shape[-1:] == [3])
    np.testing.assert_allclose(mean, means(trained, IMAGES), rtol=1e-4)


def test_tfb_keeps_the_means_and_the_accuracy():
    x = np.random.default_rng(3).normal(size=(200, 5)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(16, activation="relu", name="hidden"),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    adapted = fitted(model, x, y, 20, targets="hidden", method="deterministic")
    bayes = lora.tfb(adapted, x, y, tolerance=0.02)
    np.testing.assert_allclose(means(bayes, x), means(adapted, x), atol=1e-5)
    plain = np.mean(np.argmax(means(adapted, x), -1) == y)
    p = tfpbnn.predict(bayes, x, 10, seed=0, verbose=0)
    assert plain - 0.02 - 1e-6 <= p.accuracy(y) < 1
    assert p.mutual_information.mean() > 1e-4
    adapter = bayes.get_layer("hidden").adapters[0]
    b = adapter.b_posterior.loc.numpy()
    sizes = np.linalg.norm(b, axis=1)
    product = sizes * adapter.a_posterior.scale.numpy()
    np.testing.assert_allclose(product, product[0, 0], rtol=1e-3)
    np.testing.assert_allclose(
        b @ b.T, np.diag(sizes**2), atol=1e-5 * sizes.max() ** 2
    )
    with pytest.raises(ValueError, match="must have deterministic adapters"):
        lora.tfb(bayes, x, y)
    new = lora.add_lora(model, 2, method="deterministic")
    new.compile(loss=LOSS)
    with pytest.raises(ValueError, match="must have trained adapters"):
        lora.tfb(new, x, y)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize")
def test_quantized_kernels_take_adapters(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(9, activation="relu", name="a"),
            keras.layers.Dense(3, activation="softmax", name="b"),
        ]
    )
    x = np.random.default_rng(4).normal(size=(48, 12)).astype("float32")
    model.quantize("int8")
    expected = model.predict(x, verbose=0)
    new = lora.add_lora(model, 2, targets="*")
    np.testing.assert_allclose(new.predict(x, verbose=0), expected, rtol=1e-5)
    adapted = fitted(model, x, targets="*")
    assert np.abs(adapted.predict(x, verbose=0) - expected).max() > 0.05
    adapted.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(predicted(loaded, x), predicted(adapted, x))
    with pytest.raises(ValueError, match="must not be quantized"):
        lora.merge(adapted)


def attention(**kwargs):
    inputs = keras.Input((4, 3))
    layer = keras.layers.MultiHeadAttention(1, 2, **kwargs)
    return keras.Model(inputs, layer(inputs, inputs))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize")
def test_what_a_config_does_not_say_is_quantized_is_refused():
    model = attention(name="mha")
    model.quantize("int8")
    with pytest.raises(ValueError, match="in_place=True"):
        lora.add_lora(model, 1)
    adapted = lora.add_lora(model, 1, in_place=True)
    x = np.random.default_rng(5).normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_allclose(adapted(x), model(x), rtol=1e-5)
    with pytest.raises(ValueError, match="save_adapters"):
        adapted.get_layer("mha").get_config()


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (None, ["attention/query", "attention/value"]),
        ("conv", ["conv"]),
        ("att*/qu*", ["attention/query"]),
        ("inner", ["hidden"]),
        (keras.layers.Conv2D, ["conv"]),
        (
            lambda layer: layer.name in ("head", "key"),
            ["attention/key", "head"],
        ),
        (["head", "inner/hidden"], ["hidden", "head"]),
    ],
)
def test_targets(targets, expected):
    adapted = lora.add_lora(network(), 1, targets=targets)
    rows = [row.layer for row in lora.report(adapted).rows]
    assert sorted(rows) == sorted(expected)


def test_frozen_models_have_trainable_adapters():
    model = keras.models.clone_model(network())
    model.trainable = False
    adapted = lora.add_lora(model, 2, targets="inner", also_train="head")
    assert len(adapted.trainable_variables) == 3 + 2


def test_several_adapters_share_one_backbone():
    model = keras.models.clone_model(network())
    before = model(IMAGES)
    members = [
        lora.add_lora(model, 2, in_place=True, also_train="head")
        for _ in range(2)
    ]
    for member in members:
        for variable in member.trainable_variables:
            variable.assign(variable + 0.5)
    common = [{id(v) for v in member.weights} for member in members]
    assert len(common[0] & common[1]) == len(model.weights) - 2
    np.testing.assert_array_equal(model(IMAGES), before)


def bad(expected, error=ValueError, model=network, **kwargs):
    name = expected.split(" ")[0] + str(kwargs)[:30]
    return pytest.param(model, kwargs, error, expected, id=name)


@pytest.mark.parametrize(
    ("model", "kwargs", "error", "message"),
    [
        bad("`rank` must be an integer", rank=0),
        bad("rank=7, for 'inner/hidden', of rank 4", rank=7, targets="inner"),
        bad("matched no layer.*'conv'.*'attention/query'", targets="nothing"),
        bad("`targets` must be a pattern", TypeError, targets=3),
        bad("`method` must be", method="bayes"),
        bad("`also_train` matched no layer.*'conv'", also_train="nothing"),
        bad("must be a Functional or Seq", TypeError, lambda: keras.Model()),
    ],
)
def test_bad_input(model, kwargs, error, message):
    with pytest.raises(error, match=message):
        lora.add_lora(model(), **kwargs)


def test_adapters_are_not_added_twice():
    adapted = lora.add_lora(network(), 2, targets="conv")
    with pytest.raises(ValueError, match="adapters on \\['conv'\\]"):
        lora.add_lora(adapted, 2)
    for function in (lora.merge, lora.report, lora.tfb):
        arguments = (IMAGES,) if function is lora.tfb else ()
        with pytest.raises(ValueError, match="must have adapters"):
            function(network(), *arguments)


def test_a_kernel_that_another_layer_holds_is_refused():
    embedding = keras.layers.Embedding(5, 3, name="words")

    class Head(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="tied")
            self.words = embedding

        def call(self, x):
            return x @ keras.ops.transpose(self.words.embeddings)

    inputs = keras.Input((4,), dtype="int32")
    model = keras.Model(inputs, Head()(embedding(inputs)))
    with pytest.raises(ValueError, match="'tied' holds its kernel too"):
        lora.add_lora(model, 1, targets="words", in_place=True)
