"""Makes conformal.json: sets and intervals of other packages.

It runs in an environment of its own:

    pip install numpy mapie crepes
    python tests/data/make_conformal.py
"""

import json
import pathlib

import crepes
import numpy as np
from mapie.classification import SplitConformalClassifier

# Of which no share is a whole number, where packages treat ties differently.
ROWS, NEW, CLASSES, COVERAGE = 93, 20, 3, 0.8


class Known:
    """A classifier whose inputs are its probabilities."""

    classes_ = np.arange(CLASSES)

    def fit(self, x, y):
        """Learns nothing."""
        return self

    def predict(self, x):
        """Returns the most probable labels."""
        return np.argmax(x, axis=-1)

    def predict_proba(self, x):
        """Returns the inputs."""
        return np.asarray(x)

    def __sklearn_is_fitted__(self):
        """Says that it needs no fit."""
        return True


def inputs():
    """Makes logits, labels, groups, means, scales and targets."""
    rng = np.random.default_rng(0)
    z = 2 * np.round(rng.standard_normal((ROWS + NEW, CLASSES)), 4)
    mean, noise = np.round(rng.standard_normal((2, ROWS + NEW)), 4)
    scale = np.round(0.5 + rng.uniform(size=ROWS + NEW), 2)
    return {
        "logits": z,
        "labels": np.argmax(z + rng.gumbel(size=z.shape), axis=-1),
        "groups": rng.integers(0, 2, ROWS + NEW),
        "mean": mean,
        "scale": scale,
        "y": mean + scale * noise,
    }


def sets(x):
    """Makes sets of the labels above one probability, in three ways."""
    p = np.exp(x["logits"] - np.logaddexp.reduce(x["logits"], -1)[:, None])
    y, groups = x["labels"], x["groups"]
    made = SplitConformalClassifier(
        Known(), confidence_level=COVERAGE, conformity_score="lac", prefit=True
    ).conformalize(p[:ROWS], y[:ROWS])
    _, found = made.predict_set(p[ROWS:])
    scores = 1 - np.take_along_axis(p, y[:, None], -1)[:, 0]
    by_class = crepes.ConformalClassifier().fit(scores[:ROWS], bins=y[:ROWS])
    by_group = crepes.ConformalClassifier().fit(
        scores[:ROWS], bins=groups[:ROWS]
    )
    kwargs = {"confidence": COVERAGE, "smoothing": False}
    each = [
        by_class.predict_set(1 - p[ROWS:, [k]], bins=np.full(NEW, k), **kwargs)
        for k in range(CLASSES)
    ]
    return {
        "mapie": found[..., 0].astype(int),
        "class": np.concatenate(each, -1).astype(int),
        "groups": by_group.predict_set(
            1 - p[ROWS:], bins=groups[ROWS:], **kwargs
        ).astype(int),
    }


def intervals(x):
    """Makes intervals of one width, by scale, and by group."""
    error, bins = (x["y"] - x["mean"])[:ROWS], x["groups"]
    kinds = {
        "AbsoluteResidual": {},
        "NormalizedResidual": {"sigmas": x["scale"]},
        "groups": {"bins": bins},
    }
    return {
        name: crepes.ConformalRegressor()
        .fit(error, **{key: value[:ROWS] for key, value in more.items()})
        .predict_int(
            x["mean"][ROWS:],
            confidence=COVERAGE,
            **{key: value[ROWS:] for key, value in more.items()},
        )
        for name, more in kinds.items()
    }


if __name__ == "__main__":
    x = inputs()
    found = {
        "coverage": COVERAGE,
        "rows": ROWS,
        "inputs": {name: np.round(one, 8) for name, one in x.items()},
        "sets": sets(x),
        "intervals": {n: np.round(o, 6) for n, o in intervals(x).items()},
    }
    path = pathlib.Path(__file__).with_name("conformal.json")
    text = json.dumps(found, default=lambda array: array.tolist())
    path.write_text(text + "\n")
