"""Makes class_scores.json: small inputs, and what other packages say of them.

It runs in an environment of its own, with the extra `bench`:

    pip install numpy netcal relplot glest torch torch-uncertainty lightning
    python tests/data/make_class_scores.py
"""

import json
import pathlib

import numpy as np
import relplot
import torch
from glest import GLEstimator, Partitioner
from netcal.metrics import ECE, MCE
from sklearn.tree import DecisionTreeRegressor
from torch_uncertainty.metrics import classification, segmentation

ROWS, DRAWS, CLASSES, SIDE = 60, 5, 3, 6
LEVELS, GROUPS = 5, 8


def inputs():
    """Makes draws of probabilities, of rows and of pixels, with labels."""
    rng = np.random.default_rng(0)
    draws = rng.dirichlet(np.ones(CLASSES), (DRAWS, ROWS))
    probabilities = draws.mean(axis=0)
    labels = [rng.choice(CLASSES, p=p / p.sum()) for p in probabilities]
    return {
        "draws": draws,
        "labels": np.array(labels),
        "sets": rng.random((ROWS, CLASSES)) < 0.6,
        "pixels": rng.dirichlet(np.ones(CLASSES), (2, SIDE, SIDE)),
        "pixel_labels": rng.integers(0, CLASSES, (2, SIDE, SIDE)),
        **groups(),
    }


def groups():
    """Makes rows of few confidences, whose features tell who is right.

    Rows of one confidence fill a bin, within which confidences tell nothing.
    """
    rng = np.random.default_rng(1)
    confidence = np.repeat(np.linspace(0.5, 0.9, LEVELS), 4 * GROUPS)
    features = rng.normal(size=(len(confidence), 2))
    truth = np.clip(confidence + 0.2 * np.sign(features[:, 0]), 0, 1)
    return {
        "confidence": confidence,
        "features": features,
        "is_right": (rng.random(len(confidence)) < truth).astype(int),
    }


def value(metric, *arrays):
    """Computes a metric of torch-uncertainty."""
    metric.update(*(torch.tensor(array) for array in arrays))
    return metric.compute().item()


def of_probabilities(x):
    """Scores probabilities of classes."""
    p, y = x["draws"].mean(axis=0), x["labels"]
    kinds = {"task": "multiclass", "num_classes": CLASSES, "num_bins": 10}
    make = classification.CalibrationError
    found = {
        "nll": value(classification.CategoricalNLL(), p, y),
        "brier": value(classification.BrierScore(CLASSES), p, y),
        "mass": value(classification.AdaptiveCalibrationError(**kinds), p, y),
        "classes": value(
            classification.ClasswiseCalibrationError(CLASSES, num_bins=10), p, y
        ),
        "smooth": value(
            classification.SmoothCalibrationError(kernel_type="reflected"), p, y
        ),
        "smooth_relplot": relplot.smECE(
            p.max(axis=-1), (p.argmax(axis=-1) == y).astype(float)
        ),
        "ece_netcal": ECE(10).measure(p, y),
        "mce_netcal": MCE(10).measure(p, y),
    }
    for norm in ("l1", "l2", "max"):
        found[f"ece_{norm}"] = value(make(**kinds, norm=norm), p, y)
    return found


def grouping_loss(x):
    """Finds groups by one half of the rows, measures by the other.

    It is half of the authors', who score both "yes" and "no", and without
    what they take off for confidences that differ within a bin.
    """
    rows = x["features"], x["is_right"], x["confidence"]
    order = np.random.default_rng(0).permutation(len(x["is_right"]))
    learn, measure = np.split(order, 2)
    tree = DecisionTreeRegressor(max_leaf_nodes=GROUPS, random_state=0)
    found = GLEstimator(
        rows[2][learn],
        Partitioner(tree, "apply", np.linspace(0.45, 0.95, LEVELS + 1)),
    )
    found.fit(
        *(part[learn] for part in rows[:2]), [part[measure] for part in rows]
    )
    return (found.GL_uncorrected() - found.GL_bias()) / 2


def of_others(x):
    """Scores draws, sets and pixels."""
    by_row = np.swapaxes(x["draws"], 0, 1)
    first = np.moveaxis(x["pixels"], -1, 1)
    flat = x["pixels"].reshape(-1, CLASSES), x["pixel_labels"].reshape(-1)
    return {
        "disagreement": value(classification.Disagreement(), by_row),
        "set_size": value(classification.SetSize(), x["sets"]),
        "set_coverage": value(
            classification.CoverageRate(CLASSES, average="micro"),
            x["sets"],
            x["labels"],
        ),
        "mean_iou": value(
            segmentation.MeanIntersectionOverUnion(num_classes=CLASSES), *flat
        ),
        "grouping": grouping_loss(x),
        "pavpu": value(
            segmentation.PAvPU(4, acc_threshold=0.4, unc_threshold=0.4),
            first,
            x["pixel_labels"],
        ),
    }


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    x = {
        name: np.round(given, 6) if given.dtype == float else given
        for name, given in inputs().items()
    }
    expected = {**of_probabilities(x), **of_others(x)}
    kept = {
        "inputs": {name: given.tolist() for name, given in x.items()},
        "expected": {name: float(found) for name, found in expected.items()},
    }
    path = pathlib.Path(__file__).with_name("class_scores.json")
    path.write_text(json.dumps(kept) + "\n")
