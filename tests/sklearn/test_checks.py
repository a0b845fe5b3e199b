"""scikit-learn's own checks of estimators."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from tfpbnn.sklearn import BayesianClassifier, BayesianRegressor

KINDS = {"classifier": BayesianClassifier, "regressor": BayesianRegressor}
# docs/sklearn.md gives the reason.
NOT_MET = {"check_sample_weight_equivalence_on_dense_data"}
# What an edit is most likely to break; all checks take minutes.
SOME = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_parameters_default_constructible",
    "check_estimators_unfitted",
    "check_f_contiguous_array_estimator",
    "check_fit1d",
    "check_get_params_invariance",
    "check_n_features_in_after_fitting",
    "check_sample_weights_list",
    "check_all_zero_sample_weights_error",
]


def checks(kind):
    """Lists scikit-learn's checks, by their names."""
    estimator = KINDS[kind](
        epochs=30, num_samples=10, batch_size=64, random_state=0
    )
    for each, check in estimator_checks_generator(estimator):
        name = check.func.__name__
        if name not in NOT_MET:
            yield name, check, each


@pytest.mark.parametrize("name", SOME)
def test_one_check(name):
    found = [
        (check, each)
        for other, check, each in checks("regressor")
        if other == name
    ]
    assert found
    for check, each in found:
        check(each)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_all_checks(kind):
    failed = {}
    for name, check, each in checks(kind):
        try:
            check(each)
        except pytest.skip.Exception:
            continue
        except Exception as error:
            if type(error).__name__ != "SkipTest":
                failed[name] = error
    assert not failed
