"""Eight posteriors that long runs of Stan know, to hold an approximation against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

_HERE = Path(__file__).parent


class Posterior(NamedTuple):
    """Data of a model, and moments of its posterior."""

    data: dict
    """Names of the original model -> arrays, float64."""
    names: tuple
    """Names of the P parameters."""
    mean: np.ndarray
    """Posterior means, `[P]`."""
    stddev: np.ndarray
    """Posterior standard deviations, `[P]`."""
    mean_error: np.ndarray
    """Standard error of `mean`, `[P]`."""


def posteriordb(name: str) -> Posterior:
    """Data, means and standard deviations of one of eight posteriors of posteriordb.

    Provenance: github.com/stan-dev/posteriordb at commit 28f8d3d, BSD 3-Clause (its
    text is in posteriordb.json beside this file); the moments are those of its 10,000
    reference draws. The models, as TFP joint distributions, are in the repository's
    benchmarks/posteriors.

    Args:
        name: as in posteriordb, such as "eight_schools-eight_schools_noncentered".

    Raises:
        ValueError: if there is no such name; the message lists all.

    Source: Magnusson et al. (2024), posteriordb, arXiv 2407.04967.
    """
    stored = _read("posteriordb.json")["posteriors"]
    if name not in stored:
        raise ValueError(f"expected one of {', '.join(stored)}; got {name!r}.")
    found = stored[name]
    data = {key: np.array(value, np.float64) for key, value in found["data"].items()}
    moments = (np.array(found[key]) for key in ("mean", "stddev", "mean_error"))
    return Posterior(data, tuple(found["names"]), *moments)


def posteriordb_fits() -> dict:
    """The stored table of fits to these posteriors, beside NumPyro's.

    Returns:
        "environment" (date, versions), "draws_a_step", and "rows", a dict for each
        posterior and family: ELBO with its error, the difference to NumPyro's with its
        error, the worst mean in posterior standard deviations, the range of widths.
        Written by benchmarks/posteriordb.py.
    """
    return _read("posteriordb_fits.json")


def _read(name):
    return json.loads((_HERE / name).read_text(encoding="utf-8"))
