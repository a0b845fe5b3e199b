"""BatchEnsemble and Rank-1 layers against Keras and NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import checks
from tests.layers.table import CASES, normal
from tests.statistics import assert_covariance
from tfpbnn import families, layers, priors, random
from tfpbnn.particles import engine
from tfpbnn.particles.ways import LOOPED, STACKED

M = 3
SHARED = [c for c in CASES if hasattr(layers, f"{c.op}BatchEnsemble")]
KINDS = ("BatchEnsemble", "Rank1")
RANK1 = (SHARED[0], "Rank1")


def made(case, kind="BatchEnsemble", **kwargs):
    """A built layer with nothing at its start, but for a Rank1's scales."""
    layer = case.cls(kind)(**case.kwargs, num_members=M, **kwargs)
    layer.build(case.x.shape)
    rng = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        if variable.name == "loc" and not kwargs:
            variable.assign(rng.normal(size=variable.shape))
    return layer


def member_kernel(layer, m):
    """The shared kernel times member m's factors, in NumPy."""
    kernel = np.asarray(layer.posteriors[0].loc)
    s = np.asarray(layer.fast_output_posterior.loc)[m]
    if layer._weight_names[0] == "embeddings":
        return kernel * s
    r = np.asarray(layer.fast_input_posterior.loc)[m]
    if "Transpose" in type(layer).__name__:
        return kernel * s[:, None] * r
    if layer._weight_names[0] == "depthwise":
        return kernel * r[:, None] * s.reshape(len(r), -1)
    if s.ndim == 2:
        return kernel * r[:, None, None] * s
    groups = getattr(layer, "groups", 1)
    # Filters of a group have the factors of its channels.
    rows = np.repeat(r.reshape(groups, -1), len(s) // groups, axis=0).T
    return kernel * rows * s


def expected_of_members(case, layer):
    """`[M, B, ...]`."""
    found = []
    for m in range(M):
        y = case.apply(case.x, member_kernel(layer, m))
        if layer.use_bias:
            y = y + np.asarray(layer.bias_posterior.loc)[m]
        found.append(layer.activation(y))
    return np.stack(found)


@pytest.mark.parametrize("case", SHARED, ids=str)
def test_fast_weights_of_one_equal_the_plain_layer(case):
    layer = made(case, fast_initializer="ones")
    plain = case.keras(**case.kwargs)
    x = np.concatenate([case.x] * M)
    plain(x)
    kernel, *bias = plain.get_weights()
    layer.posteriors[0].loc.assign(kernel)
    for value in bias:
        value = value + normal(*value.shape)
        plain.weights[-1].assign(value)
        layer.bias_posterior.loc.assign(np.stack([value] * M))
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [c for c in SHARED if c.apply], ids=str)
def test_members_equal_numpy_in_groups_and_in_draws(case):
    layer = made(case)
    expected = expected_of_members(case, layer)
    y = layer(np.concatenate([case.x] * M))
    np.testing.assert_allclose(
        np.reshape(y, expected.shape), expected, rtol=1e-4, atol=1e-5
    )
    inputs = keras.Input(case.x.shape[1:], dtype=case.x.dtype)
    model = keras.Model(inputs, layer(inputs))
    function = engine.draw_function(model, case.x)
    assert function.num_draws == M
    assert not function.has_mean
    for way in (LOOPED, STACKED):
        found = function.compiled(way)(case.x, random.as_key(0), 1, M + 1)
        np.testing.assert_allclose(
            found, expected[[1, 2, 0]], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("case", SHARED, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_config(case, kind):
    kwargs = case.kwargs | {"num_members": len(case.x)}
    checks.check_config(case.cls(kind), kwargs, case.x)
    layer = made(case)
    symbolic = layer(keras.Input(case.x.shape[1:], dtype=case.x.dtype))
    assert symbolic.shape == layer.compute_output_shape(
        (None, *case.x.shape[1:])
    )


def test_all_load_in_a_fresh_process(tmp_path):
    cases = []
    for case, kind in [*((c, "BatchEnsemble") for c in SHARED), RANK1]:
        inputs = keras.Input(case.x.shape[1:], dtype=case.x.dtype)
        x = np.concatenate([case.x] * M)
        cases.append((keras.Sequential([inputs, made(case, kind)]), x))
    checks.check_save(cases, tmp_path)


def side_by_side(pairs, **kwargs):
    """One model with a layer of each case and kind."""
    inputs = [keras.Input(c.x.shape[1:], dtype=c.x.dtype) for c, _ in pairs]
    outputs = [
        case.cls(kind)(**case.kwargs, num_members=M, **kwargs)(x)
        for (case, kind), x in zip(pairs, inputs, strict=True)
    ]
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_moves_every_variable(jit_compile):
    """What else is Rank-1's than its fast weights is the same code."""
    cases = SHARED[:1] if jit_compile else SHARED
    pairs = [*((case, "BatchEnsemble") for case in cases), RANK1]
    model = side_by_side(pairs, dtype="mixed_float16")
    rng = np.random.default_rng(0)
    x = [c.x[rng.integers(0, len(c.x), 2 * M)] for c, _ in pairs]
    y = [np.ones((2 * M, *out.shape[1:])) for out in model.outputs]
    assert {out.dtype for out in model.outputs} == {"float16"}
    for variable in model.trainable_variables:
        assert variable.dtype == "float32"
    for layer in model.layers:
        if hasattr(layer, "kl_weight"):
            layer.kl_weight.assign(0.01)
    model.compile("adam", ["mse"] * len(y), jit_compile=jit_compile)
    before = [v.numpy().copy() for v in model.trainable_variables]
    history = model.fit(x, y, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert np.any(old != variable.numpy()), variable.path


def test_a_point_has_no_noise_and_no_kl():
    layer = made(SHARED[0])
    assert len(layer.variables) == 4
    assert layer.non_trainable_variables == layer.losses == []
    # Seeds of initializers make members differ, but layers agree.
    signs = np.asarray(layers.RandomSign(seed=1)((M, 50)))
    assert set(np.unique(signs)) == {-1, 1}
    np.testing.assert_array_equal(signs, layers.RandomSign(1)((M, 50)))


def rank1(units, x, **kwargs):
    layer = layers.DenseRank1(units, num_members=2, seed=1, **kwargs)
    layer.build((None, x.shape[-1]))
    rng = np.random.default_rng(2)
    for variable in layer.trainable_variables:
        variable.assign_add(0.5 * rng.normal(size=variable.shape))
    return layer


def parameters(family):
    raw = np.asarray(family.untransformed_scale, "float64")
    return np.asarray(family.loc, "float64"), np.logaddexp(0, raw)


def rank1_moments(layer, x, m):
    """Of `s * ((r * x) @ kernel) + bias` of one row, in closed form."""
    kernel = np.asarray(layer.kernel_posterior.loc, "float64")
    r, r_scale = (v[m] for v in parameters(layer.fast_input_posterior))
    s, s_scale = (v[m] for v in parameters(layer.fast_output_posterior))
    z = (r * x) @ kernel
    inner = (kernel.T * (r_scale * x) ** 2) @ kernel
    covariance = np.outer(s, s) * inner
    covariance += np.diag(s_scale**2 * (z**2 + np.diag(inner)))
    return s * z + np.asarray(layer.bias_posterior.loc)[m], covariance


def test_rank1_draws_have_the_closed_form_moments():
    """A false alarm in a million for each of the four checks."""
    x = normal(1, 4)
    layer = rank1(3, x)
    model = keras.Sequential([keras.Input((4,)), layer])
    function = engine.draw_function(model, x)
    assert function.num_draws is None
    key = random.as_key(0)
    stacked = function.compiled(STACKED)(x, key, 0, 40_000).numpy()[:, 0]
    for m in range(2):
        assert_covariance(stacked[m::2], *rank1_moments(layer, x[0], m))
    looped = function.compiled(LOOPED)(x, key, 0, 7).numpy()[:, 0]
    np.testing.assert_allclose(looped, stacked[:7], rtol=1e-4, atol=1e-5)


def test_rank1_in_training_draws_once_for_each_member():
    x = np.tile(normal(1, 4), (4, 1))
    layer = rank1(3, x)

    @tf.function(autograph=False)
    def run():
        return tf.map_fn(
            lambda _: layer(x, training=True),
            tf.range(20_000),
            fn_output_signature=tf.float32,
        )

    draws = run().numpy()
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])
    np.testing.assert_array_equal(draws[:, 2], draws[:, 3])
    assert_covariance(
        np.concatenate([draws[:, 0], draws[:, 2]], axis=-1),
        *joined(*(rank1_moments(layer, x[0], m) for m in range(2))),
    )


def joined(first, second):
    """Moments of two independent vectors side by side."""
    zeros = np.zeros_like(first[1])
    covariance = np.block([[first[1], zeros], [zeros, second[1]]])
    return np.concatenate([first[0], second[0]]), covariance


def test_rank1_kl_is_the_members_mean():
    layer = rank1(3, normal(1, 4), kl_weight=0.5)
    total = 0.0
    for family in (layer.fast_input_posterior, layer.fast_output_posterior):
        loc, scale = parameters(family)
        ratio = (scale / 0.1) ** 2
        kl = 0.5 * (ratio + ((loc - 1) / 0.1) ** 2 - 1 - np.log(ratio))
        total += kl.sum() / 2
    np.testing.assert_allclose(sum(layer.losses), 0.5 * total, rtol=1e-4)
    layer.trainable = False
    assert layer.losses == []


@pytest.mark.parametrize("axis", [None, 0], ids=["shared", "own"])
def test_rank1_counts_what_members_share_once(axis):
    """The mean over two members that are alike is one's KL, scales and all."""
    prior = priors.HierarchicalNormal(axis=axis)
    one, two = (
        layers.DenseRank1(3, num_members=number, fast_prior=prior, kl_weight=1)
        for number in (1, 2)
    )
    for layer in (one, two):
        layer.build((None, 4))
        for name in ("fast_input", "fast_output"):
            loc = getattr(layer, f"{name}_posterior").loc
            loc.assign(np.ones(loc.shape))
    np.testing.assert_allclose(sum(two.losses), sum(one.losses), rtol=1e-5)


def test_rank1_takes_other_families_and_priors():
    layer = layers.DenseRank1(
        2,
        num_members=2,
        fast_posterior=families.LowRankNormal(),
        fast_prior=priors.Laplace(),
    )
    again = layers.DenseRank1.from_config(layer.get_config())
    assert type(again.fast_input_posterior) is families.LowRankNormal
    assert type(again.fast_output_prior) is priors.Laplace
    named = layers.DenseRank1(2, num_members=2, fast_posterior="radial")
    named(normal(2, 3))
    assert abs(np.mean(named.fast_input_posterior.loc) - 1) < 0.5


def test_bad_input():
    with pytest.raises(ValueError, match="`num_members` must be a positive"):
        layers.DenseBatchEnsemble(2, num_members=0)
    for name in ("kernel_posterior", "bias_prior"):
        with pytest.raises(TypeError, match=f"are points.*{name}"):
            layers.DenseRank1(2, num_members=2, **{name: "normal"})
    with pytest.raises(ValueError, match=r"multiple of `num_members` rows.*7"):
        layers.DenseBatchEnsemble(2, num_members=3)(normal(7, 2))
    with pytest.raises(ValueError, match="the batch, 'a', is not"):
        layers.EinsumDenseBatchEnsemble("ab,ac->cb", 3, num_members=2)
    inputs = keras.Input((2,))
    model = keras.Model(
        inputs, layers.DenseBatchEnsemble(2, num_members=3)(inputs)
    )
    for jit_compile in (False, True):
        model.compile(loss="mse", jit_compile=jit_compile)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"multiple.of.`?num_members"
        ):
            model.fit(normal(7, 2), normal(7, 2), verbose=0)


def test_a_draw_at_the_mean_is_refused():
    layer = made(SHARED[0])
    with (
        random.draw_scope(None),
        pytest.raises(ValueError, match="one network can stand for"),
    ):
        layer(SHARED[0].x)
