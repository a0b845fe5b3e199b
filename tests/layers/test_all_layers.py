"""Every variational layer, with its arguments, through the same check."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checks import check_save, check_training, check_untrained
from tests.layers.table import CASES, ESTIMATORS, FULL, every
from tfpbnn import families, layers, priors

X = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
X3 = np.random.default_rng(0).normal(size=(6, 4, 5)).astype("float32")

DENSE = [
    layers.DenseFlipout,
    layers.DenseLocalReparameterization,
    layers.DenseReparameterization,
]


@pytest.mark.parametrize(("case", "estimator"), **every([*CASES, *FULL]))
def test_layer(case, estimator):
    check_untrained(case.cls(estimator), case.kwargs | case.extra, case.x)


@pytest.mark.parametrize("case", FULL, ids=str)
def test_fit_with_all_arguments(case):
    kwargs = case.kwargs | {"kl_weight": 0.1}
    kwargs.pop("name", None)  # one model has one of each name
    made = [case.cls(estimator)(**kwargs) for estimator in ESTIMATORS]
    check_training(made, case.x, jit_compile=False)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_fit_under_xla(number):
    """With the estimators in turn: `test_mixed_precision` trains them all."""
    case = CASES[number]
    cls = case.cls(ESTIMATORS[number % 3])
    layer = cls(**case.kwargs | case.extra, kl_weight=0.1)
    check_training([layer], case.x, jit_compile=True)


def test_all_layers_load_in_a_fresh_process(tmp_path):
    cases = []
    for case, estimator in every([*CASES, *FULL])["argvalues"]:
        layer = case.cls(estimator)(**case.kwargs | case.extra)
        inputs = keras.Input(case.x.shape[1:], dtype=case.x.dtype)
        cases.append((keras.Sequential([inputs, layer]), case.x))
    check_save(cases, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_summary(case):
    """Parameters: two for each of a kernel's, one for each of the bias's."""
    plain = case.keras(**case.kwargs)
    plain(case.x)
    last = plain.weights[-1]
    biases = np.prod(last.shape) if last.name == "bias" else 0
    expected = 2 * plain.count_params() - biases
    for estimator in ESTIMATORS:
        layer = case.cls(estimator)(**case.kwargs)
        model = keras.Sequential([layer])
        model(case.x)
        lines = []
        model.summary(print_fn=lines.append)
        assert f"Trainable params: {expected:,} (" in "".join(lines)
        # Beside: the KL's weight, and the noise's state, two integers.
        assert "Non-trainable params: 3 (" in "".join(lines)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (layers.Conv2DFlipout, "conv2d_flipout"),
        (
            layers.Conv2DTransposeLocalReparameterization,
            "conv2d_transpose_local_reparameterization",
        ),
    ],
)
def test_paths_read(cls, name):
    keras.backend.clear_session()  # names are numbered
    layer = cls(2, 2)
    layer.build((None, 4, 4, 3))
    assert [v.path for v in layer.trainable_variables] == [
        f"{name}/kernel_posterior/loc",
        f"{name}/kernel_posterior/untransformed_scale",
        f"{name}/bias_posterior/loc",
    ]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_mixed_precision(case):
    kwargs = case.kwargs | case.extra
    made = [
        case.cls(estimator)(**kwargs, dtype="mixed_float16", kl_weight=0.01)
        for estimator in ESTIMATORS
    ]
    for layer in made:
        assert layer(case.x).dtype == "float16"
        assert {loss.dtype for loss in layer.losses} == {tf.float32}
        for variable in layer.trainable_variables:
            assert variable.dtype == "float32"
    check_training(made, case.x, jit_compile=False)


@pytest.mark.parametrize("op", sorted({case.op for case in CASES}))
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_arguments_are_those_of_keras(op, estimator):
    """The same names in the same order; ours come after, by keyword."""
    case = next(case for case in CASES if case.op == op)
    ours = inspect.signature(case.cls(estimator).__init__).parameters
    theirs = inspect.signature(case.keras.__init__).parameters
    # What adapts or quantizes plain weights has no meaning here.
    left_out = {"lora_rank", "lora_alpha", "quantization_config"}
    left_out |= {"gptq_unpacked_column_size"}
    theirs = [name for name in theirs if name not in left_out]
    if op == "Conv3DTranspose":  # Keras has two in another order there
        theirs = list(
            inspect.signature(keras.layers.Conv2DTranspose).parameters
        )
        theirs = ["self", *theirs]
    positional = [
        name
        for name, p in ours.items()
        if p.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    assert positional == theirs


@pytest.mark.parametrize(
    ("policy", "jit_compile"),
    [
        ("mixed_float16", False),
        ("mixed_float16", True),
        ("mixed_bfloat16", False),
        ("float64", False),
        ("float16", False),
        ("bfloat16", False),
    ],
)
def test_precision(policy, jit_compile):
    """Compute in the policy's type; posterior and KL in float32 or more."""
    made = [
        cls(
            3,
            dtype=policy,
            bias_posterior="mean_field_normal",
            bias_prior="normal",
            kl_weight=0.01,
        )
        for cls in DENSE
    ]
    wide = "float64" if policy == "float64" else "float32"
    for layer in made:
        y = layer(X3)
        assert y.dtype == keras.dtype_policies.get(policy).compute_dtype
        for posterior in (layer.kernel_posterior, layer.bias_posterior):
            assert {v.dtype for v in posterior.variables} == {wide}
        assert {loss.dtype for loss in layer.losses} == {tf.float32}
    inputs = keras.Input(X3.shape[1:])
    model = keras.Model(inputs, [layer(inputs) for layer in made])
    model.compile("adam", ["mse"] * len(made), jit_compile=jit_compile)
    y = [np.zeros((6, 4, 3))] * len(made)
    history = model.fit(X3, y, verbose=0).history
    for layer in made:  # of each output, and with the KL
        assert np.all(np.isfinite(history[f"{layer.name}_loss"]))
    assert np.all(np.isfinite(history["loss"]))


@pytest.mark.parametrize("cls", DENSE)
def test_kl_of_large_kernel_in_half_precision(cls):
    """Ten million weights: their KL is far above the largest float16."""
    layer = cls(4000, dtype="mixed_float16", kernel_initializer="ones")
    layer.build((None, 2500))
    (kl,) = layer.losses
    assert kl.dtype == tf.float32
    scale = layer.kernel_posterior.scale.numpy().astype("float64")
    expected = np.sum(-np.log(scale) + scale**2 / 2)  # (1 + s^2 - 1) / 2
    np.testing.assert_allclose(kl, expected, rtol=1e-5)


@pytest.mark.parametrize("cls", DENSE)
def test_seed_decides_the_noise(cls):
    def outputs(seed):
        keras.utils.set_random_seed(0)  # of the initial weights
        layer = cls(3, seed=seed, kernel_initializer="ones")
        layer.build((None, 5))
        return np.stack([layer(X), layer(X)])

    a, b, c = outputs(1), outputs(1), outputs(2)
    np.testing.assert_array_equal(a, b)
    assert np.any(a != c)
    assert np.any(a[0] != a[1]), "two calls drew the same"


@pytest.mark.parametrize("cls", DENSE)
def test_set_random_seed_decides_the_rest(cls):
    def outputs():
        keras.utils.set_random_seed(4)
        return np.asarray(keras.Sequential([cls(3), cls(2)])(X))

    np.testing.assert_array_equal(outputs(), outputs())


@pytest.mark.parametrize("cls", DENSE)
def test_noise_goes_on_after_saving(cls, tmp_path):
    """A run that resumes draws what the uninterrupted one would have."""
    model = keras.Sequential([keras.Input((5,)), cls(3, seed=1)])
    model(X)
    model.save_weights(tmp_path / "w.weights.h5")
    expected = np.asarray(model(X))
    resumed = keras.Sequential([keras.Input((5,)), cls(3, seed=1)])
    resumed.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(resumed(X), expected)


@pytest.mark.parametrize("cls", DENSE)
def test_one_template_in_two_layers_shares_nothing(cls):
    family, prior = (
        families.MeanFieldNormal(),
        priors.Normal(learnable_scale=True),
    )
    a = cls(5, kernel_posterior=family, kernel_prior=prior)
    b = cls(5, kernel_posterior=family, kernel_prior=prior)
    a(X), b(X)
    ours = {id(v) for v in a.variables}
    assert not ours & {id(v) for v in b.variables}


@pytest.mark.parametrize("cls", DENSE)
def test_stateless_call(cls):
    layer = cls(3, seed=1)
    layer.build((None, 5))
    state = [np.array(v.numpy()) for v in layer.non_trainable_variables]
    y, changed = layer.stateless_call(
        [v.value for v in layer.trainable_variables],
        [v.value for v in layer.non_trainable_variables],
        X,
    )
    for variable, value in zip(
        layer.non_trainable_variables, state, strict=True
    ):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert any(np.any(a != b) for a, b in zip(changed, state, strict=True)), (
        "the noise's counter did not move on"
    )
    np.testing.assert_allclose(layer(X), y, rtol=1e-6)
