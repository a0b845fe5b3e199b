"""Errors name the argument, what was expected and what was received."""

import keras
import numpy as np
import pytest

import tfpbnn

X, Y = np.ones((6, 2), "float32"), np.ones((6, 1), "float32")
NORMAL = tfpbnn.likelihoods.Normal(scale=0.5)


def plain(*layers):
    return keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)])


def sample(model, x=X, y=Y, **kwargs):
    arguments = {"likelihood": NORMAL, "num_warmup": 1, "num_samples": 1}
    return tfpbnn.mcmc.sample(model, x, y, **(arguments | kwargs))


def frozen():
    model = plain()
    model.trainable = False
    return model


CASES = {
    "num_samples": (plain, {"num_samples": 0}, "`num_samples`.*num_samples=0"),
    "num_warmup": (plain, {"num_warmup": -1}, "`num_warmup`.*-1"),
    "num_chains": (plain, {"num_chains": 0}, "`num_chains`"),
    "one chain alone": (
        plain,
        {"kernel": "chees", "num_chains": 1},
        "`num_chains` must be at least 2 for kernel='chees'",
    ),
    "thin": (plain, {"thin": 0}, "`thin`"),
    "kernel": (plain, {"kernel": "gibbs"}, "`kernel` must be one of.*nuts"),
    "target": (plain, {"target_accept": 1.0}, "`target_accept`"),
    "depth": (plain, {"max_tree_depth": 0}, "`max_tree_depth`"),
    "mass matrix": (plain, {"mass_matrix": "full"}, "`mass_matrix`"),
    "init": (plain, {"init": "best"}, "`init` must be one of"),
    "vi of a plain model": (plain, {"init": "vi"}, "variational model"),
    "another model": (
        plain,
        {"init": keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])},
        "`init` must be a model with the weights",
    ),
    "no likelihood": (plain, {"likelihood": None}, "compile it"),
    "prior of nothing": (
        plain,
        {"prior": {"no_such": "normal"}},
        "no_such.*match none of.*kernel",
    ),
    "no random weight": (plain, {"prior": None}, "none is random"),
    "improper": (plain, {"prior": "log_uniform"}, "improper"),
    "frozen": (frozen, {}, "none is random"),
    "a hyperprior": (
        plain,
        {"prior": tfpbnn.priors.HalfCauchy()},
        "HierarchicalNormal",
    ),
    "batch normalization": (
        lambda: plain(keras.layers.BatchNormalization(name="bn")),
        {},
        "'bn'.*Freeze it",
    ),
    "another random layer": (
        lambda: plain(tfpbnn.layers.MCDropout(0.1, name="mc")),
        {},
        "'mc'.*Take it out",
    ),
    "memory": (plain, {"num_samples": 10**12}, "GiB"),
    "rows": (plain, {"y": Y[:3]}, "as many rows"),
    "NaN": (plain, {"y": np.full_like(Y, np.nan)}, "`y`.*finite"),
    "a posterior": (
        lambda: tfpbnn.ensembles.DeepEnsemble(plain(), 2),
        {},
        "`model` must be one network.*DeepEnsemble.*`init`",
    ),
    "seed": (plain, {"seed": -1}, "`seed` must be.*seed=-1"),
    "no such folder": (
        plain,
        {"checkpoint": "no/such/folder/chains.npz"},
        "`checkpoint` must be a file in a folder.*'no/such",
    ),
    "a folder": (plain, {"checkpoint": "."}, "`checkpoint` must be a file"),
    "weights": (plain, {"sample_weight": -np.ones(6)}, "`sample_weight`"),
    "infinite density": (
        plain,
        {"likelihood": tfpbnn.likelihoods.Normal(scale=1e-30)},
        "'likelihood'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case):
    make, kwargs, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        sample(make(), **kwargs)


@pytest.mark.parametrize("init", [np.zeros(3), [plain()], None, 3])
def test_an_init_that_is_no_network(init):
    if init is None:
        init = {"weights": 3}
    with pytest.raises(TypeError, match="`init` must be"):
        sample(plain(), init=init)


def test_a_model_that_was_never_built():
    model = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="never built"):
        sample(model)


def test_dropout_is_explained():
    model = plain(keras.layers.Dropout(0.5, name="drop"))
    with (
        pytest.warns(UserWarning, match=r"\['drop'\] drop nothing"),
        pytest.raises(ValueError, match="`init`"),
    ):
        sample(model, init="nowhere")
