"""Models of tf_keras with tfp.layers, brought to Keras 3."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import tfpbnn
from tests.checks import draws
from tfpbnn import priors
from tfpbnn.convert import from_tfp_layers
from tfpbnn.layers.kl import kl_terms

tf_keras = pytest.importorskip("tf_keras")
old_layers = tf_keras.layers
tfd = tfp.distributions
RNG = np.random.default_rng(0)

DRAWS = 10_000
FALSE_FAIL = 1e-6


def posterior_mean_field(kernel_size, bias_size=0, dtype=None):
    """The posterior of TFP's documentation."""
    n = kernel_size + bias_size
    c = np.log(np.expm1(1.0))
    return tf_keras.Sequential(
        [
            tfp.layers.VariableLayer(2 * n, dtype=dtype),
            tfp.layers.DistributionLambda(
                lambda t: tfd.Independent(
                    tfd.Normal(
                        t[..., :n], 1e-5 + tf.nn.softplus(c + t[..., n:])
                    ),
                    1,
                )
            ),
        ]
    )


def prior_trainable(kernel_size, bias_size=0, dtype=None):
    """The prior of TFP's documentation."""
    n = kernel_size + bias_size
    return tf_keras.Sequential(
        [
            tfp.layers.VariableLayer(n, dtype=dtype),
            tfp.layers.DistributionLambda(
                lambda t: tfd.Independent(tfd.Normal(t, 2.0), 1)
            ),
        ]
    )


def wide_prior(dtype, shape, name, trainable, add_variable_fn):
    zeros = tf.zeros(shape, dtype)
    return tfd.Independent(tfd.Normal(zeros + 0.5, 3.0), len(shape))


def randomize(model):
    """Weights unlike those that layers begin with."""
    for layer in model.layers:
        new = [w + RNG.normal(0, 0.4, w.shape) for w in layer.get_weights()]
        if "batch_norm" in layer.name:
            new[-1] = np.abs(new[-1])
        layer.set_weights(new)
    return model


def dense_model():
    q = tfp.layers.default_mean_field_normal_fn()
    return tf_keras.Sequential(
        [
            tfp.layers.DenseFlipout(
                5, activation=tf.nn.tanh, input_shape=(3,), bias_posterior_fn=q
            ),
            old_layers.BatchNormalization(),
            tfp.layers.DenseReparameterization(
                4,
                activation="softplus",
                kernel_prior_fn=wide_prior,
                kernel_divergence_fn=lambda q, p, _: (
                    tfd.kl_divergence(q, p) / 50
                ),
            ),
            tfp.layers.DenseLocalReparameterization(3, bias_posterior_fn=None),
            tfp.layers.DenseVariational(
                2, posterior_mean_field, prior_trainable, kl_weight=1 / 50
            ),
        ]
    )


def conv_model():
    """A graph: two branches, an inner model, an operation, two outputs."""
    image = tf_keras.Input((5, 5, 2), name="image")
    h = tfp.layers.Convolution2DFlipout(
        3, (3, 2), strides=2, padding="same", activation="relu"
    )(image)
    h = old_layers.Flatten()(h)
    inner = tf_keras.Sequential(
        [tfp.layers.DenseReparameterization(3, input_shape=(27,))], name="inner"
    )
    h = inner(h)  # called once: a second call would draw anew there
    h = old_layers.Concatenate()([h * 2.0, h])
    return tf_keras.Model(
        image, [old_layers.Dense(2)(h), tfp.layers.DenseFlipout(1)(h)]
    )


def legacy_draws(model, x):
    """Draws of rows that do not share one: a call for each row."""

    @tf.function(autograph=False)
    def run():
        def one(_):
            rows = [model(x[i : i + 1], training=False) for i in range(len(x))]
            return tf.concat(
                [tf.concat(tf.nest.flatten(r), -1) for r in rows], 0
            )

        return tf.map_fn(one, tf.range(DRAWS), fn_output_signature=tf.float32)

    return run().numpy()


def assert_same_moments(a, b):
    """Two samples `[S, ...]` agree in means and variances.

    The false alarms of all comparisons together are `FALSE_FAIL`, by the
    central limit theorem for means and for squares.
    """
    z = stats.norm.isf(FALSE_FAIL / (4 * a[0].size))
    for transform in (lambda d, _: d, lambda d, m: (d - m) ** 2):
        u, v = (transform(d, d.mean(0)) for d in (a, b))
        error = np.abs(u.mean(0) - v.mean(0))
        standard = np.sqrt((u.var(0) + v.var(0)) / DRAWS)
        assert np.all(error < z * standard), (error / standard).max()
    # So many draws see a variance that is off by a fifth.
    assert np.all(z * standard < 0.2 * b.var(0))


def new_draws(model, x):
    """All outputs side by side."""
    if len(model.outputs) > 1:
        together = keras.layers.Concatenate(name="together")(model.outputs)
        model = keras.Model(model.input, together)
    return draws(model, x, DRAWS)


@pytest.mark.parametrize("build", [dense_model, conv_model])
def test_the_predictive_distribution_is_the_same(build):
    old = randomize(build())
    new = from_tfp_layers(old)
    x = RNG.normal(size=(2, *old.input_shape[1:])).astype("float32")
    assert_same_moments(legacy_draws(old, x), new_draws(new, x))


def test_weights_priors_and_kl_are_the_same():
    old = randomize(dense_model())
    new = from_tfp_layers(old)
    assert isinstance(new, tfpbnn.Sequential)
    assert [type(x).__name__ for x in new.layers] == [
        "DenseFlipout",
        "BatchNormalization",
        "DenseReparameterization",
        "DenseLocalReparameterization",
        "DenseReparameterization",
    ]
    flipout, _, wide, local, last = new.layers
    assert [x.initial_kl_weight for x in (flipout, local)] == [None, None]
    assert wide.initial_kl_weight == pytest.approx(1 / 50)
    assert last.initial_kl_weight == pytest.approx(1 / 50)
    assert (wide.kernel_prior.initial_loc, wide.kernel_prior.initial_scale) == (
        0.5,
        3.0,
    )
    assert isinstance(last.kernel_prior, priors.MOPED)
    assert last.kernel_prior.learnable_loc
    assert not local.use_bias
    old_flipout = old.layers[0]
    for part in ("kernel", "bias"):
        q, p = (
            getattr(old_flipout, f"{part}_{x}") for x in ("posterior", "prior")
        )
        posterior = getattr(flipout, f"{part}_posterior")
        np.testing.assert_array_equal(posterior.loc, q.mean())
        np.testing.assert_allclose(posterior.scale, q.stddev(), rtol=1e-5)
        assert (p is None) == (getattr(flipout, f"{part}_prior") is None)


def test_the_kl_is_the_same():
    old = randomize(dense_model())
    new = from_tfp_layers(old)
    expected = [
        float(tfd.kl_divergence(x.kernel_posterior, x.kernel_prior))
        for x in (old.layers[0], old.layers[2], old.layers[3])
    ]
    x = old.layers[4]
    q, p = x._posterior(tf.zeros((1, 3))), x._prior(tf.zeros((1, 3)))
    q, p = (tfd.MultivariateNormalDiag(d.mean(), d.stddev()) for d in (q, p))
    found = [float(t.divergence()) for t in kl_terms(new)]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-4)
    expected_last = float(tfd.kl_divergence(q, p))
    np.testing.assert_allclose(sum(found[3:]), expected_last, rtol=1e-4)


def tril_posterior(dtype, shape, name, trainable, add_variable_fn):
    loc = add_variable_fn(name="loc", shape=shape, dtype=dtype)
    tril = add_variable_fn(name="tril", shape=shape, dtype=dtype)
    scale = tf.linalg.LinearOperatorLowRankUpdate(
        tf.linalg.LinearOperatorIdentity(6), tf.reshape(tril, [6, 1])
    )
    flat = tfd.MultivariateNormalLinearOperator(tf.reshape(loc, [6]), scale)
    return tfp.distributions.TransformedDistribution(
        flat, tfp.bijectors.Reshape(shape)
    )


def fixed_scale(dtype, shape, name, trainable, add_variable_fn):
    loc = add_variable_fn(name="loc", shape=shape, dtype=dtype)
    return tfd.Independent(tfd.Normal(loc, 0.1), len(shape))


def laplace_prior(dtype, shape, name, trainable, add_variable_fn):
    return tfd.Independent(tfd.Laplace(tf.zeros(shape), 1.0), len(shape))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"kernel_posterior_fn": tril_posterior}, "`kernel_posterior_fn`"),
        (
            {"kernel_posterior_fn": fixed_scale},
            r"`kernel_posterior_fn`.*variables of sizes \[6\]",
        ),
        (
            {"kernel_prior_fn": laplace_prior},
            "`kernel_prior_fn`.*not independent Normals",
        ),
        (
            {"kernel_divergence_fn": lambda q, *_: tf.norm(q.mean())},
            "`kernel_divergence_fn`.*not a multiple of the KL",
        ),
        (
            {"kernel_posterior_tensor_fn": lambda d: d.mean()},
            r"`kernel_posterior_tensor_fn`.*more than `d.sample\(\)`",
        ),
        ({"activation": lambda x: x + 1}, "`activation`"),
    ],
)
def test_callables_that_cannot_be_mapped_are_named(kwargs, message):
    cls = tfp.layers.DenseReparameterization
    old = tf_keras.Sequential([old_layers.Dense(3, input_shape=(2,))])
    try:
        old.add(cls(2, name="odd", **kwargs))
    except NotImplementedError:  # tfp has no KL of its own for them
        kwargs["kernel_divergence_fn"] = lambda *_: tf.zeros([])
        old.add(cls(2, name="odd", **kwargs))
    with pytest.raises(ValueError, match=rf"(?s)odd \(DenseRep.*{message}"):
        from_tfp_layers(old)


def test_bad_models():
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(TypeError, match=r"see tfpbnn.to_variational"):
        from_tfp_layers(plain)
    with pytest.raises(ValueError, match=r"`model` must be built"):
        from_tfp_layers(tf_keras.Sequential([old_layers.Dense(2)]))
    head = tf_keras.Sequential(
        [
            tfp.layers.DenseFlipout(2, input_shape=(3,)),
            tfp.layers.IndependentNormal(1),
        ]
    )
    with pytest.raises(
        ValueError, match=r"IndependentNormal\).*is a loss here"
    ):
        from_tfp_layers(head)
    inputs = tf_keras.Input((3,))
    odd = tf_keras.Model(inputs, tf.math.erf(inputs))
    with pytest.raises(
        ValueError, match=r"TFOpLambda is not a layer of Keras 3"
    ):
        from_tfp_layers(odd)
