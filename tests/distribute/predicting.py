"""What processes predict and draw under strategies, for the tests to compare.

Results are lists of arrays by name; each is said to be that of one device.
"""

import contextlib

import keras
import numpy as np
import tensorflow as tf

import tfpbnn
from tfpbnn.distribute import devices
from tfpbnn.layers import DenseFlipout, DenseReparameterization
from tfpbnn.posteriors.low_rank_normal import SWAGPosterior

RNG = np.random.default_rng(0)
X = RNG.normal(size=(29, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]]).astype("float32")
W = RNG.uniform(0.1, 3, len(X)).astype("float32")
NORMAL = tfpbnn.likelihoods.Normal(scale=0.5)
CATEGORICAL = tfpbnn.likelihoods.Categorical()


def mlp():
    hidden = DenseFlipout(8, activation="tanh")
    model = keras.Sequential(
        [keras.Input((3,)), hidden, DenseReparameterization(1)]
    )
    model.compile("sgd", loss=NORMAL)
    return model


def many():
    a, b = keras.Input((None, 3), name="a"), keras.Input((3,), name="b")
    h = DenseFlipout(4)(keras.layers.Masking()(a))
    outputs = {"steps": DenseFlipout(1)(h), "label": DenseFlipout(3)(b)}
    model = keras.Model({"a": a, "b": b}, outputs)
    model.compile("sgd", loss={"steps": NORMAL, "label": CATEGORICAL})
    return model


def stateful():
    cell = keras.layers.GRU(4, stateful=True)
    model = keras.Sequential(
        [keras.Input((5, 3), batch_size=4), cell, DenseFlipout(1)]
    )
    model.compile("sgd", loss=NORMAL)
    return model


def half():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return mlp()
    finally:
        keras.config.set_dtype_policy("float32")


def ensemble():
    def member():
        hidden = keras.layers.Dense(4, activation="tanh")
        model = keras.Sequential([keras.Input((3,)), hidden])
        model.add(keras.layers.Dense(1))
        model.compile("sgd", loss=NORMAL)
        return model

    return tfpbnn.ensembles.DeepEnsemble(member, num_members=5)


STEPS = RNG.normal(size=(29, 6, 3)).astype("float32")
STEPS[np.arange(6) >= RNG.integers(1, 7, 29)[:, None]] = 0.0


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y, W)).batch(8)


def in_small_batches(**kwargs):
    return {"x": X, "num_samples": 9, "batch_size": 4} | kwargs


# name: model, arguments of `predict`
CASES = {
    "coherent": (mlp, in_small_batches(draws="coherent")),
    "marginal": (mlp, in_small_batches(draws="marginal")),
    "mixed": (mlp, in_small_batches(draws="mixed")),
    "averages": (mlp, in_small_batches(keep_draws=False, antithetic=True)),
    "one row": (mlp, {"x": X[:1], "num_samples": 30}),
    "fewer rows": (mlp, in_small_batches(x=X[:3], batch_size=1)),
    "dataset": (mlp, {"x": dataset, "num_samples": 9}),
    "several outputs": (
        many,
        in_small_batches(x={"a": STEPS, "b": X}, draws="coherent"),
    ),
    "state": (stateful, {"x": STEPS[:28, :5], "num_samples": 5}),
    "half precision": (half, in_small_batches()),
    "ensemble": (ensemble, in_small_batches(batch_size=None)),
}
OF_FOUR = ["coherent", "fewer rows"]
OF_WORKERS = [
    "averages",
    "dataset",
    "marginal",
    "one row",
    "several outputs",
]


def arrays_of(found):
    leaves = found.values() if isinstance(found, dict) else [found]
    return [
        np.asarray(getattr(leaf, name))
        for leaf in leaves
        for name in ("mean", "variance", "outputs")
        if name != "outputs" or leaf.has_draws
    ]


def predicted(name):
    keras.utils.set_random_seed(3)
    make, kwargs = CASES[name]
    if callable(x := kwargs["x"]):
        kwargs = kwargs | {"x": x()}
    return arrays_of(tfpbnn.predict(make(), seed=5, verbose=0, **kwargs))


def scores():
    keras.utils.set_random_seed(3)
    kwargs = {"num_samples": 9, "batch_size": 4, "seed": 5, "verbose": 0}
    weighted = tfpbnn.evaluate(mlp(), X, Y, sample_weight=W, **kwargs)
    of_data = tfpbnn.evaluate(mlp(), dataset(), **kwargs)
    return [list(weighted.values()), list(of_data.values())]


def numbers():
    """Numbers that posteriors and samplers read of their variables."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss=NORMAL)
    weights = [tf.ones([3, 1]), tf.zeros([1])]
    model.set_weights(weights)
    swag = SWAGPosterior(model, (0, 1), num_columns=2, num_collected=2)
    sampler = tfpbnn.optimizers.SGLD(1e-3)
    sampler.build(model.trainable_variables)
    laplace = tfpbnn.laplace(model, X, Y)
    is_sampling = float(sampler.is_sampling())
    return [swag.scale, is_sampling, laplace.log_likelihood]


def chains(strategy=None, **kwargs):
    """Draws of a network with a frozen layer behind a random one."""
    keras.utils.set_random_seed(3)
    with strategy.scope() if strategy else contextlib.nullcontext():
        frozen = keras.layers.Dense(2, activation="tanh", trainable=False)
        first = keras.layers.Dense(2, activation="tanh")
        layers = [first, frozen, keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((3,)), *layers])
    lengths = {"num_chains": 2, "num_warmup": 6, "num_samples": 4}
    settings = {"kernel": "hmc", "seed": 1, "verbose": 0} | lengths | kwargs
    posterior = tfpbnn.mcmc.sample(model, X, Y, likelihood=NORMAL, **settings)
    return [posterior.statistics["log_prob"], *posterior.draws.values()]


def differences(found, expected):
    """The largest of each pair of arrays, NaN being like NaN."""
    return [
        float("inf")
        if np.shape(a) != np.shape(b)
        else float(np.max(np.abs(np.nan_to_num(a) - np.nan_to_num(b))))
        for a, b in zip(found, expected, strict=True)
    ]


def places_used(strategy):
    """The devices of parts, and whether parts read the copies there."""
    with strategy.scope():
        model = mlp()
    used, take = set(), tfpbnn.prediction.collect.Collector.take

    def noted(self, outputs):
        used.add(devices.current())
        return take(self, outputs)

    tfpbnn.prediction.collect.Collector.take = noted
    kwargs = in_small_batches(batch_size=1, draws="mean", verbose=0)
    before = tfpbnn.predict(model, **kwargs).mean
    # The copies of the bias on all other devices are moved on.
    bias = model.layers[-1].bias_posterior.loc
    for copy in bias.value.values[1:]:
        copy.assign_add([1.0])
    after = tfpbnn.predict(model, **kwargs).mean
    tfpbnn.prediction.collect.Collector.take = take
    moved = np.unique(np.round(after - before, 3)).tolist()
    return sorted(d[-5:] for d in used), moved


def message(function, *arguments, **kwargs):
    """The words of the error that a call gives."""
    try:
        function(*arguments, **kwargs)
    except (RuntimeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def errors(two, four):
    """What is said where devices can't share work."""
    with two.scope():
        model = mlp()
    found = {}
    with four.scope():
        found["other scope"] = message(tfpbnn.predict, model, X)
    server = tf.distribute.experimental.ParameterServerStrategy
    model._distribute_strategy = server.__new__(server)
    found["servers"] = message(tfpbnn.predict, model, X)
    found["shards"] = message(chains, two, row_shards=30)
    found["no number"] = message(chains, row_shards=0)
    return found


def means_of_any_seed():
    """Predictions without a seed: those of the first worker's."""
    keras.utils.set_random_seed(3)
    model = mlp()
    seed = tf.distribute.get_strategy().cluster_resolver.task_id
    tfpbnn.random.keys.python_random.seed(seed)
    found = tfpbnn.predict(model, X, 3, draws="coherent", verbose=0)
    return found.mean[0].tolist()


def errors_of_workers(strategy, worker):
    """What each worker is told where they can't share work."""
    with strategy.scope():
        model, keeps = mlp(), stateful()
    bad = X.copy()
    bad[-1] = np.nan  # in the second worker's rows
    kwargs = {"num_samples": 3, "batch_size": 15, "seed": 1, "verbose": 0}
    mine = dict(kwargs, num_samples=3 + worker)
    return {
        "nan": message(tfpbnn.predict, model, bad, **kwargs),
        "arguments": message(tfpbnn.predict, model, X, **mine),
        "state": message(tfpbnn.predict, keeps, STEPS[:28, :5], 3, verbose=0),
        "pooled": message(chains, strategy, kernel="chees", num_chains=4),
        "data": message(chains, strategy, sample_weight=W + worker),
    }
