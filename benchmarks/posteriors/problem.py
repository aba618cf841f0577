"""Eight posteriors of posteriordb: data, starts and lengths, for both libraries.

The models are our own words for posteriordb's. Its flat priors are N(0, 1000^2) here,
or its positive half: beside these posteriors that is flat.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

STORED = Path(__file__).parents[2] / "elbo_tfp" / "data" / "posteriordb.json"
SAMPLES = 8  # draws of q a step
SCALE = 0.1  # standard deviations of q at the start, in its coordinates
EVALUATION = 20_000  # draws for the ELBO and the moments at the end


class Setting(NamedTuple):
    """How one posterior is fitted."""

    start: dict
    """Where q is centred, in the parameters' own space, by the model's names."""
    steps: int
    rate: float
    """Of Adam at the start; it falls to nothing along a cosine."""


def setting(start, steps=6_000, rate=0.05):
    return Setting({k: np.asarray(v, float) for k, v in start.items()}, steps, rate)


SETTINGS = {
    "eight_schools-eight_schools_centered": setting(
        {"mu": 0, "tau": 5, "theta": np.zeros(8)}
    ),
    "eight_schools-eight_schools_noncentered": setting(
        {"mu": 0, "tau": 5, "eta": np.zeros(8)}
    ),
    "kidiq-kidscore_interaction": setting(
        {"beta": np.zeros(4), "sigma": 10}, steps=15_000, rate=0.1
    ),
    "mesquite-logmesquite_logvas": setting({"beta": np.zeros(7), "sigma": 1}),
    "arK-arK": setting({"alpha": 0, "beta": np.zeros(5), "sigma": 1}),
    "garch-garch11": setting({"mu": 0, "alpha0": 1, "alpha1": 0.5, "share": 0.5}),
    "gp_pois_regr-gp_pois_regr": setting(
        {"rho": 6, "alpha": 2, "f_tilde": np.zeros(11)}
    ),
    "gp_pois_regr-gp_regr": setting({"rho": 6, "alpha": 2, "sigma": 1}),
}


def data(name: str) -> dict:
    """The data of one posterior, float64."""
    stored = json.loads(STORED.read_text(encoding="utf-8"))["posteriors"][name]["data"]
    return {key: np.asarray(value, float) for key, value in stored.items()}


def regression(name: str):
    """Design `[N, D]` and outcome `[N]` of the two linear regressions."""
    d = data(name)
    if name.startswith("kidiq"):
        high, iq = d["mom_hs"], d["mom_iq"]
        return np.stack([np.ones_like(iq), high, iq, high * iq], -1), d["kid_score"]
    area = d["diam1"] * d["diam2"]
    columns = [
        np.ones_like(area),
        np.log(area * d["canopy_height"]),
        np.log(area),
        np.log(d["diam1"] / d["diam2"]),
        np.log(d["total_height"]),
        np.log(d["density"]),
        d["group"],
    ]
    return np.stack(columns, -1), np.log(d["weight"])


def lags(y, order=5):
    """Design `[T - order, order]` and outcome of an autoregression, last lag first."""
    columns = [y[order - k : len(y) - k] for k in range(1, order + 1)]
    return np.stack(columns, -1), y[order:]


def length(steps: int) -> int:
    """The number of steps, cut for a trial run by BENCH_LENGTH below 1."""
    return max(10, int(steps * float(os.environ.get("BENCH_LENGTH", 1))))
