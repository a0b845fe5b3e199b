"""A small SavedModel with signatures as `tfpbnn.export` has, and others."""

import numpy as np
import tensorflow as tf

S = 4
LEVELS = (0.05, 0.5, 0.95)
# S draws of the kernel of a linear model, 3 inputs, loc and raw scale.
KERNELS = np.random.default_rng(0).normal(size=(S, 3, 2)).astype("float32")
_FEATURES = tf.TensorSpec([None, 3], tf.float32, "features")


def _outputs(x):
    return tf.einsum("bi,sio->bso", x, KERNELS)  # [B, S, 2]


def _regression(x, kernels=KERNELS):
    outputs = tf.einsum("bi,sio->sbo", x, kernels)
    loc, raw = tf.split(outputs, 2, axis=-1)
    scale = 1e-6 + tf.math.softplus(raw)
    mean = tf.reduce_mean(loc, 0)
    epistemic = tf.math.reduce_variance(loc, 0)
    aleatoric = tf.reduce_mean(scale**2, 0)
    variance = epistemic + aleatoric
    z = tf.constant([-1.645, 0.0, 1.645])[:, tf.newaxis]
    sd = tf.sqrt(variance)[:, tf.newaxis]
    return {
        "mean": mean,
        "epistemic_variance": epistemic,
        "aleatoric_variance": aleatoric,
        "variance": variance,
        "quantiles": mean[:, tf.newaxis] + z * sd,  # [B, Q, k]
    }


def _entropy(p):
    return -tf.reduce_sum(tf.math.xlogy(p, p), -1)


def _classes(x):
    p = tf.nn.softmax(_outputs(x))  # [B, S, 2]
    mean = tf.reduce_mean(p, 1)
    expected = tf.reduce_mean(_entropy(p), 1)
    return {
        "probabilities": mean,
        "predictive_entropy": _entropy(mean),
        "expected_entropy": expected,
        "mutual_information": _entropy(mean) - expected,
    }


def _yes_no(x):
    p = tf.sigmoid(_outputs(x))
    both = tf.stack([1 - p, p], -1)
    mean = tf.reduce_mean(p, 1)
    expected = tf.reduce_mean(_entropy(both), 1)
    total = _entropy(tf.reduce_mean(both, 1))
    return {
        "probabilities": mean,
        "predictive_entropy": total,
        "expected_entropy": expected,
        "mutual_information": total - expected,
    }


def _one_pass(x):
    found = _regression(x, KERNELS.mean(0, keepdims=True))
    return {name: found[name] for name in ("mean", "aleatoric_variance")}


def _one_pass_classes(x):
    p = tf.nn.softmax(x @ KERNELS.mean(0))
    return {"probabilities": p, "predictive_entropy": _entropy(p)}


def _seeded(x, seed):
    found = _regression(x)
    shift = tf.cast(seed, tf.float32)[:, tf.newaxis]
    return {**found, "mean": found["mean"] + shift}


def _dynamic(x, num_samples, seed):
    found = _regression(x, KERNELS[:1])
    shift = tf.cast(num_samples, tf.float32) + 100 * tf.cast(seed, tf.float32)
    return {**found, "mean": found["mean"] + shift}


def _several(x):
    first = {f"price_{n}": v for n, v in _regression(x).items()}
    return {**first, **{f"kind_{n}": v for n, v in _classes(x).items()}}


def _several_draws(x):
    return {"price_mean": _outputs(x), "kind": _outputs(x)}


def sets_of(p, groups, uniform):
    """Labels above a limit that depends on the group; NaN for no group."""
    limits = [0.4 if group == "a" else 0.6 for group in groups]
    return p > np.array(limits)[:, np.newaxis] - uniform


def _sets(x, groups, uniforms):
    found = _classes(x)
    limits = tf.where(groups == "a", 0.4, 0.6) - uniforms
    sets = tf.cast(found["probabilities"] > limits[:, tf.newaxis], tf.float32)
    known = (groups == "a") | (groups == "b")
    nan = tf.constant(float("nan"))
    return {
        **found,
        "conformal_sets": tf.where(known[:, tf.newaxis], sets, nan),
    }


def _several_sets(x, weights):
    found = _several(x)
    mean = found["price_mean"]
    half = weights[:, tf.newaxis]
    return {
        **found,
        "price_conformal_lower": mean - half,
        "price_conformal_upper": mean + half,
    }


def _words(word, number):
    return {
        "mean": tf.cast(tf.strings.length(word), tf.float32)
        + tf.cast(number, tf.float32),
        "aleatoric_variance": tf.zeros_like(tf.cast(number, tf.float32)),
    }


_WORDS = (
    tf.TensorSpec([None, 1], tf.string, "word"),
    tf.TensorSpec([None, 1], tf.int32, "number"),
)


def _with_defaults(function):
    """Only tensors that are defaults of the function itself are written."""

    @tf.function(
        input_signature=[
            _FEATURES,
            tf.TensorSpec([], tf.int32, "num_samples"),
            tf.TensorSpec([], tf.int64, "seed"),
        ]
    )
    def dynamic(
        features,
        num_samples=tf.constant(7),  # noqa: B008
        seed=tf.constant(0, tf.int64),  # noqa: B008
    ):
        return function(features, num_samples, seed)

    return dynamic


def save(path):
    """Writes the model and returns the path."""
    one = {
        "serving_default": lambda x: _regression(x),
        "samples": lambda x: {"outputs": _outputs(x)},
        "deterministic": _one_pass,
        "classes": _classes,
        "one_pass_classes": _one_pass_classes,
        "yes_no": _yes_no,
        "several": _several,
        "several_draws": _several_draws,
        "half": lambda x: {
            n: tf.cast(v, tf.float16) for n, v in _one_pass(x).items()
        },
    }
    functions = {
        name: tf.function(f, input_signature=[_FEATURES])
        for name, f in one.items()
    }
    seeds = tf.TensorSpec([None], tf.int64, "seed")
    functions["seeded"] = tf.function(
        _seeded, input_signature=[_FEATURES, seeds]
    )
    for dtype in (tf.float16, tf.bfloat16):
        spec = tf.TensorSpec([None, 3], dtype, "features")
        functions[f"of_{dtype.name}"] = tf.function(
            lambda x: _one_pass(tf.cast(x, tf.float32)), input_signature=[spec]
        )
    groups = tf.TensorSpec([None], tf.string, "conformal_groups")
    uniforms = tf.TensorSpec([None], tf.float32, "conformal_uniforms")
    functions["sets"] = tf.function(
        _sets, input_signature=[_FEATURES, groups, uniforms]
    )
    weights = tf.TensorSpec([None], tf.float32, "price_conformal_sample_weight")
    functions["several_sets"] = tf.function(
        _several_sets, input_signature=[_FEATURES, weights]
    )
    functions["words"] = tf.function(_words, input_signature=_WORDS)
    functions["dynamic"] = _with_defaults(_dynamic)
    tf.saved_model.save(tf.Module(), str(path), functions)
    return str(path)
