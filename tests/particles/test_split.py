"""A model's calls, what they cost, and which are the same for all draws."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.particles import table
from tfpbnn import layers, random
from tfpbnn.networks.reading import can_read
from tfpbnn.particles import costs, engine, layer_draws
from tfpbnn.particles.split import DrawGraph
from tfpbnn.particles.ways import LOOPED, MARGINAL, STACKED, Draws

KEY = random.as_key(0)


class Counted(keras.layers.Layer):
    """Counts its calls when the graph runs, not when it is traced.

    It says that its function has no state: else each draw would call it.
    """

    count = 0

    def call(self, x):
        y = tf.numpy_function(self._counted, [x], tf.float32, stateful=False)
        return tf.ensure_shape(y, x.shape)

    def _counted(self, x):
        self.count += 1
        return x


@pytest.mark.parametrize("way", [LOOPED, STACKED, MARGINAL])
def test_what_is_the_same_for_all_draws_is_done_once(way):
    before, after = Counted(), Counted()
    model = keras.Sequential(
        [
            keras.Input((3,)),
            before,
            keras.layers.Dense(4),
            table.dense(2),
            after,
        ]
    )
    function = layer_draws.LayerDraws(model, table.X, antithetic=False)
    rows = [np.arange(4)] if way is MARGINAL else []
    counts = []
    for _ in range(2):
        function.compiled(way)(table.X, KEY, 0, 7, *rows)
        counts.append((int(before.count), int(after.count)))
    each = 7 if way is LOOPED else 1
    assert counts == [(1, each), (2, 2 * each)]


def test_a_call_of_a_loop_has_more_draws_if_they_share_much():
    """The backbone of a model is run once for 100 draws of its head."""
    x = keras.Input((64,))
    h = keras.layers.Dense(4096)(keras.layers.Dense(4096)(x))
    model = keras.Model(x, layers.DenseFlipout(64)(h))
    counted = costs.count(DrawGraph(model), np.zeros((1, 64)))
    assert counted.shared_flops_per_row == 2 * 4096 * (64 + 4096)
    assert counted.draws_per_call(LOOPED, 10_000, 2**40) >= 100
    one = keras.Sequential([x, layers.DenseFlipout(64)])
    large, small = (
        costs.count(DrawGraph(one), np.zeros((1, 64))).draws_per_call(
            LOOPED, rows, 2**60
        )
        for rows in (2**26, 1)
    )
    assert (large, small > 1000) == (25, True)
    # Where nothing is known, as of an ensemble's draws.
    assert costs.Costs().draws_per_call(LOOPED, 1000, 2**60) == 25
    # The outputs of 7 draws fit.
    assert counted.draws_per_call(LOOPED, 10, 10 * 64 * 4 * 7) == 7
    assert counted.draws_per_call(LOOPED, 10, 1) == 1


def test_counts():
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4),
            layers.DenseFlipout(3),
            layers.DenseFlipout(2, **table.BIASED),
        ]
    )
    assert costs.count(DrawGraph(model), np.zeros((1, 5))) == costs.Costs(
        can_stack=True,
        works={
            Draws.COHERENT: costs.Work(
                4 * 3 + 3 * 2 + 2, 0, 2 * (4 * 3 + 3 * 2)
            ),
            Draws.MARGINAL: costs.Work(0, 3 + 2, 2 * 2 * 3 * 2),
            Draws.MIXED: costs.Work(3 * 2 + 2, 3, 2 * 3 * 2),
        },
        shared_flops_per_row=2 * 5 * 4,
        bytes_per_row=4 * (3 + 2),
        shared_bytes_per_row=4 * 4,
        output_bytes_per_row=4 * 2,
    )


def test_draws_with_inputs_in_common_are_stacked_for_longer():
    """They are one product, `[B, I] x [I, S * O]`."""
    x = keras.Input((3,))
    h = table.dense(3)(x)
    for outputs, shared in ((h, True), (table.dense(3)(h), False)):
        counted = costs.count(DrawGraph(keras.Model(x, outputs)), table.X)
        assert counted.shares_inputs == shared
        rows = 2**26 // counted.works[Draws.COHERENT].flops_per_row
        assert counted.stacking_pays(rows // 2)
        assert counted.stacking_pays(2 * rows) == shared


def test_sizes_that_a_model_leaves_open_are_those_of_the_inputs():
    x = keras.Input((None, None, 2))
    h = layers.Conv2DFlipout(3, 1)(keras.layers.Conv2D(4, 1)(x))
    counted = costs.count(DrawGraph(keras.Model(x, h)), np.zeros((1, 6, 7, 2)))
    assert counted.shared_bytes_per_row == 4 * 6 * 7 * 4
    assert counted.bytes_per_row == 4 * 6 * 7 * 3
    assert counted.output_bytes_per_row == 4 * 6 * 7 * 3


def test_nested_models_are_laid_open():
    model, _ = table.nested()
    names = [type(call.op).__name__ for call in DrawGraph(model).random_calls]
    assert names == ["DenseFlipout"] * 4
    model, _ = table.shared_model()
    calls = DrawGraph(model).random_calls
    assert (len(calls), len({id(call.op) for call in calls})) == (5, 3)


def test_only_what_a_random_layer_touched_differs_between_draws():
    model, _ = table.residual()
    graph = DrawGraph(model)
    assert {type(call.op).__name__ for call in graph.touched_calls} == {
        "Add",
        "BatchNormalization",
        "Concatenate",
        "DenseFlipout",
        "Dropout",
    }
    model, _ = table.several_inputs()
    touched = DrawGraph(model).is_touched
    found = {k: touched(v) for k, v in DrawGraph(model).outputs.items()}
    assert found == dict.fromkeys(found, False)  # tensors of another graph
    graph = DrawGraph(model)
    found = {k: graph.is_touched(v) for k, v in graph.outputs.items()}
    assert found == {"one": True, "other": False, "sum": True}


def test_which_models_can_be_read():
    class Own(keras.Sequential):
        def call(self, x):
            return x

    class OfItsOwn(keras.Model):
        """A Functional model by another name, called as all are."""

        def __init__(self):
            x = keras.Input((3,))
            super().__init__(x, table.dense(2)(x))

    assert can_read(table.sequential()[0])
    assert can_read(tfpbnn.Sequential([keras.Input((3,)), table.dense(2)]))
    x = keras.Input((3,))
    assert can_read(tfpbnn.Model(x, table.dense(2)(x)))
    assert can_read(OfItsOwn())
    assert not can_read(Own([keras.Input((3,)), table.dense(2)]))
    assert not can_read(keras.Sequential([table.dense(2)]))
    assert not can_read(table.subclassed()[0])
    assert not can_read(keras.layers.Dense(2))
    assert len(DrawGraph(OfItsOwn()).random_calls) == 1


def test_reading_leaves_the_model_as_it_was(tmp_path):
    model, x = table.shared_model()
    config, summary = model.get_config(), model.count_params()
    layer_draws.LayerDraws(model, x, False).draws(x, KEY, 0, 2)
    assert model.get_config() == config
    assert model.count_params() == summary
    assert model.layers[1].output.shape == (None, 3)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    with random.draw_scope(None):
        np.testing.assert_allclose(again(x), model(x), atol=1e-6)


# Name: a model that noise on the outputs is not exact for.
NOT_APART = {
    "conv": table.conv,
    "layer used twice": table.shared_layer,
    "model used twice": table.shared_model,
    "positions share a kernel": table.any_length,
    "positions share a bias": table.einsum,
    "user's layer": table.users_layer,
    "rows meet": table.along_rows,
    "subclassed": table.subclassed,
}


@pytest.mark.parametrize("name", NOT_APART)
def test_marginal_is_refused_where_it_is_not_exact(name):
    model, x = NOT_APART[name]()
    likelihood = tfpbnn.likelihoods.Normal(scale=1.0)
    with pytest.raises(ValueError, match=r'"marginal" is exact only.*coherent'):
        tfpbnn.predict(model, x, draws="marginal", likelihood=likelihood)
    counted = engine.draw_function(model, x).costs(x)
    assert Draws.MARGINAL not in counted.works
    assert counted.cheapest(1) is not Draws.MARGINAL


def test_a_bias_that_positions_share_is_one_draw():
    """Its axes are fewer than the outputs'."""
    x = keras.Input((3, 2))
    cls = layers.EinsumDenseFlipout
    for axes, exact in (("de", True), ("e", False)):
        layer = cls("abc,bcde->ade", (4, 5), bias_axes=axes, **table.BIASED)
        graph = DrawGraph(keras.Model(x, layer(x)))
        counted = costs.count(graph, np.zeros((1, 3, 2)))
        assert (Draws.MARGINAL in counted.works) == exact


def test_a_bias_along_another_axis_is_shared_too():
    x = keras.Input((2,))
    cls = layers.EinsumDenseReparameterization
    for axes, exact in (("cd", True), ("d", False), ("c", False)):
        layer = cls("ab,bcd->acd", (2, 3), bias_axes=axes, **table.BIASED)
        counted = costs.count(
            DrawGraph(keras.Model(x, layer(x))), np.zeros((1, 2))
        )
        assert (Draws.MARGINAL in counted.works) == exact


def test_families_whose_weights_depend_on_each_other_are_not_drawn_apart():
    for family, exact in (
        ("mean_field_normal", True),
        ("low_rank_normal", False),
    ):
        layer = layers.DenseReparameterization(2, kernel_posterior=family)
        model = keras.Sequential([keras.Input((3,)), layer])
        counted = costs.count(DrawGraph(model), table.X)
        assert (Draws.MARGINAL in counted.works) == exact


def test_auto_is_the_cheaper_by_count():
    """A row takes 2 x 512 + 10 normals; a draw of kernels 668,672.

    The first layer's 401,408 are three fifths of a draw's products too.
    """
    widths = [(512, "relu"), (512, "relu"), (10, None)]
    mlp = [layers.DenseFlipout(*arguments) for arguments in widths]
    model = keras.Sequential([keras.Input((784,)), *mlp])
    counted = costs.count(DrawGraph(model), np.zeros((1, 784)))
    assert counted.works[Draws.COHERENT].normals == 668_672
    assert counted.works[Draws.MARGINAL].normals_per_row == 1034
    ways = [counted.cheapest(rows) for rows in (1, 32, 1000)]
    assert ways == [Draws.MARGINAL, Draws.MARGINAL, Draws.MIXED]
    assert not counted.stacking_pays(1)
    last = keras.Sequential(
        [keras.Input((784,)), keras.layers.Dense(512), layers.DenseFlipout(10)]
    )
    counted = costs.count(DrawGraph(last), np.zeros((1, 784)))
    assert counted.cheapest(1000) is Draws.MARGINAL
    assert counted.works[Draws.MARGINAL].flops_per_row == 0
    assert Draws.MIXED not in counted.works


class Holder(keras.layers.Layer):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


class Scaled(layers.DenseFlipout):
    def call(self, inputs, training=None):
        return super().call(3 * inputs, training=training)


def rows_meet_later():
    x = keras.Input((4,))
    h = layers.DenseFlipout(3)(x)
    h = h - keras.ops.mean(h, axis=0, keepdims=True)
    return keras.Model(x, layers.DenseFlipout(2)(h))


def time_is_folded_into_rows():
    x = keras.Input((2, 4))
    h = layers.DenseFlipout(3)(keras.ops.reshape(x, (-1, 4)))
    return keras.Model(x, layers.DenseFlipout(2)(h))


def rows_are_broadcast_along_time():
    x, number = keras.Input((4,)), keras.Input(())
    h = layers.DenseFlipout(3)(x)
    return keras.Model([x, number], layers.DenseFlipout(2)(h + number))


def inputs_are_stacked_as_rows():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    h = layers.DenseFlipout(3)(keras.layers.Concatenate(axis=0)(inputs))
    return keras.Model(inputs, layers.DenseFlipout(2)(h))


def held_by_another_layer(hold=Holder):
    first, x = layers.DenseFlipout(4), keras.Input((4,))
    h = hold(first)(first(x))
    return keras.Model(x, layers.DenseFlipout(2)(h))


def held_in_a_wrapper():
    first, x = layers.DenseFlipout(4), keras.Input((4,))
    h = keras.layers.Reshape((1, 4))(first(x))
    h = keras.layers.TimeDistributed(first)(h)
    return keras.Model(x, layers.DenseFlipout(2)(h[:, 0]))


def a_call_of_its_own():
    x = keras.Input((4,))
    h = Scaled(3)(x)
    return keras.Model(x, keras.layers.Conv1D(2, 1)(h[:, None]))


@pytest.mark.parametrize(
    "make",
    [
        rows_meet_later,
        time_is_folded_into_rows,
        rows_are_broadcast_along_time,
        inputs_are_stacked_as_rows,
        held_by_another_layer,
        held_in_a_wrapper,
        a_call_of_its_own,
    ],
)
def test_mixed_is_not_offered_where_it_is_not_exact(make):
    model = make()
    x = [np.zeros((2, *i.shape[1:]), "float32") for i in model.inputs]
    counted = costs.count(DrawGraph(model), x)
    assert Draws.MIXED not in counted.works
    if make is not a_call_of_its_own:
        assert Draws.MARGINAL not in counted.works


def test_stacked_draws_go_through_a_call_of_its_own(monkeypatch):
    model, x = a_call_of_its_own(), np.eye(4, dtype="float32")
    likelihood = tfpbnn.likelihoods.Normal()

    def outputs():
        return tfpbnn.predict(
            model, x, 5, seed=0, draws="coherent", likelihood=likelihood
        ).outputs

    assert costs.count(DrawGraph(model), x).stacking_pays(len(x))
    stacked = outputs()
    monkeypatch.setattr(costs.Costs, "stacking_pays", lambda *_: False)
    np.testing.assert_allclose(stacked, outputs(), atol=1e-6)


def test_a_layer_that_casts_in_its_call_is_no_first_one():
    """Of an Embedding's numbers, which may come as floats."""
    embedding = layers.EmbeddingFlipout(1000, 64)
    last = [layers.DenseFlipout(64), layers.DenseFlipout(2)]
    model = keras.Sequential([keras.Input(()), embedding, *last])
    likelihood = tfpbnn.likelihoods.Normal()
    p = tfpbnn.predict(model, np.arange(300.0), 3, likelihood=likelihood)
    assert p.draws != "mixed"
    counted = costs.count(DrawGraph(model), np.zeros(1))
    assert Draws.MIXED not in counted.works
