"""Errors that name the argument, what was expected and what was received."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.table import ESTIMATORS
from tfpbnn import layers, random

SPATIAL = [
    (f"{kind}{n}D{suffix}", n)
    for kind, suffix, ranks in (
        ("Conv", "", (1, 2, 3)),
        ("Conv", "Transpose", (1, 2, 3)),
        ("DepthwiseConv", "", (1, 2)),
        ("SeparableConv", "", (1, 2)),
    )
    for n in ranks
]


def make(op, **kwargs):
    """A convolution; sizes that a test does not name are in order."""
    if not op.startswith("Depthwise"):
        kwargs = {"filters": 4} | kwargs
    return getattr(layers, f"{op}Flipout")(**{"kernel_size": 2} | kwargs)


@pytest.mark.parametrize(("op", "rank"), SPATIAL)
def test_convolutions(op, rank):
    with pytest.raises(
        ValueError,
        match=r"`data_format` must be one of .*channels_first.*'NHWC'",
    ):
        make(op, data_format="NHWC")
    with pytest.raises(
        ValueError, match=r"`padding` must be one of .*'same'.*'full'"
    ):
        make(op, padding="full")
    if op != "Conv1D":
        with pytest.raises(ValueError, match=r"`padding` must .*'causal'"):
            make(op, padding="causal")
    for name in ("kernel_size", "strides", "dilation_rate"):
        for value in (0, (1,) * (rank + 1), "3", 1.5):
            with pytest.raises(ValueError, match=f"`{name}` must be .*Receiv"):
                make(op, **{name: value})
    match = rf"rank {rank + 2} and a known number of channels .*Received"
    for shape in ((None, 3), (2,) * (rank + 3), (2,) * (rank + 1) + (None,)):
        with pytest.raises(ValueError, match=match):
            make(op).build(shape)
    with pytest.raises(ValueError, match=match):
        make(op)(np.ones((2,) * (rank + 1), "float32"))


@pytest.mark.parametrize("op", [op for op, _ in SPATIAL if op[:2] == "Co"])
def test_strides_with_dilation(op):
    with pytest.raises(ValueError, match="`strides` and `dilation_rate` can't"):
        make(op, strides=2, dilation_rate=2)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_groups(n):
    with pytest.raises(
        ValueError, match=r"`groups` must divide `filters`.*groups=3, filters=4"
    ):
        make(f"Conv{n}D", groups=3)
    with pytest.raises(
        ValueError, match=r"`groups` must divide the inputs' channels.*3 chan"
    ):
        make(f"Conv{n}D", groups=2).build((None, *(5,) * n, 3))


def test_output_padding():
    with pytest.raises(
        ValueError, match=r"`output_padding` must be below `strides`.*\(2, 2\)"
    ):
        make("Conv2DTranspose", strides=2, output_padding=2)


@pytest.mark.parametrize(
    "equation",
    ["abc", "ab,bc", "ab->ac", "aab,bc->ac", "ab,bc->ad", "...b,bc->ac"],
)
def test_equations_that_cannot_be_read(equation):
    with pytest.raises(
        ValueError, match=r"`equation` must read like.*Received"
    ):
        layers.EinsumDenseFlipout(equation, 3)


def test_equations_that_an_estimator_does_not_hold_for():
    """The estimator, the reason and what to use instead."""
    summed = "abc,cd->ad"
    with pytest.raises(
        ValueError,
        match=r"`local_reparameterization` does not hold for "
        r"equation='abc,cd->ad': it sums \['b'\].*share its noise. Use "
        "EinsumDenseFlipout or EinsumDenseReparameterization",
    ):
        layers.EinsumDenseLocalReparameterization(summed, 3)
    layers.EinsumDenseFlipout(summed, 3)
    moved = "abc,cd->bad"
    for name in ("LocalReparameterization", "Flipout"):
        with pytest.raises(
            ValueError,
            match=r"the batch, 'a', is not the output's first axis\. Use "
            "EinsumDenseReparameterization",
        ):
            getattr(layers, f"EinsumDense{name}")(moved, (3, 3))
    layers.EinsumDenseReparameterization(moved, (3, 3))


def test_einsum_sizes():
    with pytest.raises(ValueError, match=r"`bias_axes` must be letters.*'x'"):
        layers.EinsumDenseFlipout("ab,bc->ac", 3, bias_axes="x")
    with pytest.raises(ValueError, match="does not fit inputs of rank 3"):
        layers.EinsumDenseFlipout("ab,bc->ac", 3).build((None, 2, 4))
    with pytest.raises(ValueError, match="`output_shape` must have 2 entries"):
        layers.EinsumDenseFlipout("abc,cd->abd", 3).build((None, 2, 4))
    with pytest.raises(ValueError, match="must agree with the inputs at 'b'"):
        layers.EinsumDenseFlipout("abc,cd->abd", (5, 3)).build((None, 2, 4))
    with pytest.raises(ValueError, match=r"size of 'b' .* must be known"):
        layers.EinsumDenseFlipout("abc,bcd->abd", (None, 3)).build(
            (None, None, 4)
        )


@pytest.mark.parametrize("number", [-6, 5])
def test_embedding_numbers_out_of_range(number):
    """On a CPU Keras's error, which names the range; and ours the same."""
    numbers = np.array([[0, number]])
    match = r"-?\d is not in \[0, 5\)"
    with pytest.raises(tf.errors.InvalidArgumentError, match=match):
        keras.layers.Embedding(5, 3)(numbers)
    for estimator in ESTIMATORS:
        layer = getattr(layers, f"Embedding{estimator}")(5, 3)
        with pytest.raises(tf.errors.InvalidArgumentError, match=match):
            layer(numbers)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_embedding_numbers_from_the_end(estimator):
    """Negative numbers count from the end, as in Keras."""
    layer = getattr(layers, f"Embedding{estimator}")(5, 3)
    with random.draw_scope(None):
        a, b = layer(np.array([[-1, -5]])), layer(np.array([[4, 0]]))
    np.testing.assert_array_equal(a, b)
    plain = keras.layers.Embedding(5, 3)
    np.testing.assert_array_equal(plain(np.array([-1])), plain(np.array([4])))


def test_embedding_weights():
    with pytest.raises(ValueError, match=r"`weights` must have shape \(5, 3\)"):
        layers.EmbeddingFlipout(5, 3, weights=np.zeros((3, 5)))
