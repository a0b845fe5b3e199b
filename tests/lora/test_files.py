"""Files of adapters alone, on small models that are called as they are."""

import keras
import numpy as np
import pytest

from tests.lora.models import network
from tfpbnn import lora, random

RNG = np.random.default_rng(2)
X = RNG.normal(size=(4, 5)).astype("float32")


def plain(head=2, dtype="float32", name="head", **kwargs):
    """The same frozen layer each time, and a head of its own."""
    hidden = keras.layers.Dense(
        6,
        activation="tanh",
        name="hidden",
        kernel_initializer=keras.initializers.RandomNormal(seed=3),
    )
    outputs = keras.layers.Dense(head, dtype=dtype, name=name, **kwargs)
    return keras.Sequential([keras.Input((5,)), hidden, outputs])


def adapted(model, **kwargs):
    """With adapters, and a head, that are not at their start."""
    made = lora.add_lora(
        model, 2, targets="hidden", also_train="head", in_place=True, **kwargs
    )
    for variable in made.trainable_variables:
        variable.assign(RNG.normal(size=variable.shape))
    return made


def means(model):
    with random.draw_scope(None):
        return np.asarray(keras.ops.cast(model(X), "float32"))


def test_adapters_are_switched_on_one_backbone(tmp_path):
    path, model = tmp_path / "adapters.npz", plain()
    one, other = (adapted(model, seed=seed) for seed in (1, 2))
    before, of_plain = means(other), model(X)
    lora.save_adapters(one, path)
    assert lora.load_adapters(other, path) is other
    np.testing.assert_array_equal(means(other), means(one))
    assert np.abs(means(other) - before).max() > 0.1
    for variable in one.trainable_variables:
        variable.assign(0 * variable)
    assert np.abs(means(other) - means(one)).max() > 0.1
    np.testing.assert_array_equal(model(X), of_plain)


def test_a_head_in_bfloat16_goes_to_a_file_and_back(tmp_path):
    path, model = tmp_path / "adapters.npz", adapted(plain(dtype="bfloat16"))
    lora.save_adapters(model, path)
    again = lora.load_adapters(plain(dtype="bfloat16"), path)
    np.testing.assert_array_equal(means(again), means(model))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"head": 3}, r"heads like those.*\(6, 3\).*\(6, 2\)"),
        ({"use_bias": False}, r"heads like those.*\(6, 2\)"),
        ({"name": "last"}, r"must have the heads.*\['head'\]"),
    ],
    ids=["shape", "bias", "name"],
)
def test_other_heads_are_refused_before_any_is_changed(
    other, message, tmp_path
):
    path, model = tmp_path / "adapters.npz", plain(**other)
    lora.save_adapters(adapted(plain()), path)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        lora.load_adapters(model, path, in_place=True)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \"\.npz\""):
        lora.save_adapters(network(), tmp_path / "adapters.h5")
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(ValueError, match="save_adapters"):
        lora.load_adapters(network(), tmp_path / "other.npz")
