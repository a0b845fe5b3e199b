"""Makes calibration.json: logits, and what other packages make of them.

It runs in an environment of its own, with the extra `bench`:

    pip install numpy netcal torch torchvision torch-uncertainty lightning
    python tests/data/make_calibration.py
"""

import json
import pathlib

import numpy as np
import torch
from netcal.scaling import LogisticCalibration
from torch.utils.data import DataLoader, TensorDataset
from torch_uncertainty import post_processing

ROWS, NEW, CLASSES = 240, 20, 3
# More steps than by default, so that searches end at the minimum.
SEARCH = {"lr": 0.5, "max_iter": 5000}
METHODS = {
    "Temperature": lambda: post_processing.TemperatureScaler(**SEARCH),
    "MatrixScaling": lambda: post_processing.MatrixScaler(CLASSES, **SEARCH),
    "Dirichlet": lambda: post_processing.DirichletScaler(
        CLASSES, lambda_reg=0, mu_reg=0, **SEARCH
    ),
    "HistogramBinning": lambda: post_processing.HistogramBinningScaler(
        num_bins=8, eps=1e-12
    ),
    "BBQ": lambda: post_processing.BBQScaler(max_bins=60, eps=1e-12),
}


def inputs():
    """Makes logits that are too large and wrong by class, with labels."""
    rng = np.random.default_rng(0)
    true = 1.5 * rng.normal(size=(ROWS + NEW, CLASSES))
    labels = np.argmax(true + rng.gumbel(size=true.shape), axis=-1)
    logits = 2 * true + [0.5, 0.0, -0.3] + 0.3 * np.roll(true, 1, axis=-1)
    return np.round(logits, 4), labels


def calibrated(method, logits, labels, new):
    """Computes the probabilities of new rows."""
    rows = TensorDataset(torch.tensor(logits), torch.tensor(labels))
    scaler = METHODS[method]()
    scaler.fit(DataLoader(rows, batch_size=ROWS), progress=False)
    with torch.no_grad():
        return torch.softmax(scaler(torch.tensor(new)), dim=-1).numpy()


def vector_scaled(logits, labels, new):
    """Computes those of vector scaling by netcal, of log-probabilities.

    That of torch-uncertainty has no offsets.
    """
    held_out, new = (
        torch.softmax(torch.tensor(part), dim=-1).numpy()
        for part in (logits, new)
    )
    scaler = LogisticCalibration().fit(held_out, labels)
    return scaler.transform(new)


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    logits, labels = inputs()
    held_out = logits[:ROWS], labels[:ROWS]
    expected = {
        name: calibrated(name, *held_out, logits[ROWS:]) for name in METHODS
    } | {"VectorScaling": vector_scaled(*held_out, logits[ROWS:])}
    kept = {
        "logits": held_out[0].tolist(),
        "labels": held_out[1].tolist(),
        "new": logits[ROWS:].tolist(),
        "expected": {
            name: found.round(8).tolist() for name, found in expected.items()
        },
    }
    path = pathlib.Path(__file__).with_name("calibration.json")
    path.write_text(json.dumps(kept) + "\n")
