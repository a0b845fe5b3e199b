"""Adapters on tasks of KerasHub: strings, subclasses, integers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests import hub
from tests.lora.models import LOSS
from tfpbnn import lora, random

TEXTS = np.array(["the film was good", "very dull", "not bad", "a good film"])


def test_strings_go_in_by_the_preprocessor_of_a_task():
    preprocessor = hub.preprocessor()
    task = hub.classifier(num_layers=1, preprocessor=preprocessor)
    adapted = lora.add_lora(task, 2, also_train="logits")
    text = keras.Input((), dtype="string")
    model = tfpbnn.Model(text, adapted(preprocessor(text)))
    model.compile(keras.optimizers.Adam(0.05), LOSS)
    model.fit(TEXTS, np.arange(4) % 3, verbose=0)
    p = tfpbnn.predict(model, TEXTS, 3, draws="mean", verbose=0)
    found = adapted.predict(preprocessor(TEXTS), verbose=0)
    np.testing.assert_allclose(p.mean, found, rtol=1e-4)
    assert np.std(p.mean, axis=0).max() > 0


def subclass(own_call):
    class Task(hub.keras_hub().models.BertTextClassifier):
        pass

    if own_call:
        Task.call = lambda self, x: 2 * super(Task, self).call(x)
    return Task(hub.backbone(), num_classes=3, preprocessor=None)


def test_subclasses_of_tasks_take_adapters():
    model, x = subclass(own_call=False), hub.inputs(4)
    adapted = lora.add_lora(model, 2, also_train="logits")
    assert len(lora.report(adapted).rows) == 2
    np.testing.assert_allclose(adapted(x), model(x), rtol=1e-5)
    with pytest.raises(TypeError, match="must be a Functional or Sequential"):
        lora.add_lora(subclass(own_call=True), 2)


def test_what_is_in_padding_changes_nothing():
    x = hub.inputs(4)
    other = x | {"token_ids": x["token_ids"] + 7 * (1 - x["padding_mask"])}
    task, rng = hub.classifier(num_layers=1), np.random.default_rng(1)
    adapted = lora.add_lora(task, 2, targets="transformer_layer_0")
    for variable in adapted.weights:
        if "float" in variable.dtype:  # no states of random numbers
            variable.assign(variable + rng.normal(0, 0.3, variable.shape))
    found = []
    for given in (x, other):
        with random.draw_scope(random.as_key(1)):
            found.append(adapted(given))
    np.testing.assert_allclose(*found, rtol=1e-5)
    x["padding_mask"] = 0 * x["padding_mask"] + 1  # now they are words
    with random.draw_scope(random.as_key(1)):
        assert np.abs(adapted(x) - found[0]).max() > 1e-2


def test_an_embedding_that_a_head_holds_is_refused():
    model = hub.keras_hub().models.BertMaskedLM(
        backbone=hub.backbone(), preprocessor=None
    )
    with pytest.raises(ValueError, match="'mlm_head' holds its kernel too"):
        lora.add_lora(model, 2, targets="token_embedding", in_place=True)
    assert len(lora.report(lora.add_lora(model, 2)).rows) == 2


@pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize")
def test_an_encoder_of_integers_has_adapters_in_place(tmp_path):
    model, x = hub.classifier(num_layers=1), hub.inputs(6)
    model.quantize("int8")
    expected = model(x)
    adapted = lora.add_lora(model, 2, in_place=True, seed=1)
    adapted.compile(keras.optimizers.Adam(0.05), LOSS)
    np.testing.assert_allclose(adapted(x), expected, rtol=1e-4)
    adapted.fit(x, np.arange(6) % 3, verbose=0)
    (layer,) = lora.merging.adapted_layers(adapted)
    for adapter in layer.adapters:  # so that it shows
        adapter.b_posterior.loc.assign(100 + adapter.b_posterior.loc)
    mean = tfpbnn.predict(adapted, x, 1, draws="mean", verbose=0).mean
    assert np.abs(mean - expected).max() > 1e-3
    path = tmp_path / "adapters.npz"
    lora.save_adapters(adapted, path)
    loaded = lora.load_adapters(model, path, in_place=True)
    with random.draw_scope(None):
        found = loaded(x)
    np.testing.assert_allclose(found, mean, rtol=1e-5)
    folder = str(tmp_path / "served")
    tfpbnn.export(adapted, folder, signatures=["deterministic"])
    served = tf.saved_model.load(folder).signatures["deterministic"]
    names = served.structured_input_signature[1]
    found = served(**{k: tf.cast(x[k], v.dtype) for k, v in names.items()})
    np.testing.assert_allclose(found["probabilities"], mean, rtol=1e-4)
