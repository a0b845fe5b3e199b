"""Rows that are masked, or not numbers: no selector chooses them."""

import functools

import numpy as np
import pytest

from tests.acquisition.test_acquisition import class_draws, labels, numbers
from tfpbnn import acquisition, likelihoods
from tfpbnn.acquisition.selecting import SELECTORS
from tfpbnn.prediction import ClassificationPredictive


@pytest.mark.parametrize("bad", ["masked", "nan"])
@pytest.mark.parametrize("selector", sorted(SELECTORS))
def test_rows_that_can_not_be_judged_are_never_chosen(selector, bad):
    mask = np.arange(6) != 2
    p = numbers() if selector == "thompson" else labels(class_draws())
    features = np.random.default_rng(0).normal(size=(6, 2))
    if bad == "masked":
        p = type(p)(p.outputs, p.likelihood, mask=mask)
        if selector == "batch_bald":  # refused, with what to do instead
            return
    elif selector in ("random", "k_center"):  # which look at no prediction
        return
    else:
        p.outputs[:, ~mask] = np.nan
    choose = functools.partial(
        acquisition.select, p, selector=selector, features=features
    )
    assert set(choose(5, seed=0)) == set(np.flatnonzero(mask))
    with pytest.raises(ValueError, match="`k` must be at most 5"):
        choose(6)


def test_scores_of_numbers_are_of_rows_that_count():
    mask = np.arange(6) != 2
    p, others = numbers(mask=mask), numbers()[mask]
    for score in (
        functools.partial(acquisition.expected_improvement, best=0.1),
        acquisition.ucb,
        acquisition.knowledge_gradient,
    ):
        found = score(p)
        assert np.isnan(found[2])
        np.testing.assert_allclose(found[mask], score(others), rtol=1e-12)


def test_padding_makes_no_distance():
    rng = np.random.default_rng(0)
    logits, mask = rng.normal(size=(2, 5, 4, 3)), np.arange(4) < [[1]] * 5
    mask[4] = False
    rows = []
    for value in (0.0, 50.0, np.nan):
        logits[:, ~mask] = value
        p = ClassificationPredictive(
            logits, likelihoods.Categorical(), mask=mask
        )
        rows.append(acquisition.k_center(p, 4).tolist())
    assert rows[0] == rows[1] == rows[2]
    assert set(rows[0]) == {0, 1, 2, 3}
