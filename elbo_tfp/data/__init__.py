"""Small data that ships with scikit-learn, is generated, or fits on a line.

Nothing here downloads, except `mnist`, which says so. Arrays are NumPy, float32 unless
`dtype` says otherwise, so that they go into a model as they are. Data larger than
memory are written once by `write_shards`, and `fit` streams what `shards` opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from elbo_tfp.data.cells import (
    Cells,
    SimulatedCells,
    pbmc,
    read_h5ad,
    simulated_cells,
    sparse_rows,
)
from elbo_tfp.data.posteriors import Posterior, posteriordb, posteriordb_fits
from elbo_tfp.data.reading import Shards, shards
from elbo_tfp.data.writing import write_shards

__all__ = [
    "Cells",
    "EightSchools",
    "Posterior",
    "Series",
    "Shards",
    "SimulatedCells",
    "Split",
    "digits",
    "eight_schools",
    "iris",
    "mnist",
    "nile",
    "pbmc",
    "posteriordb",
    "posteriordb_fits",
    "read_h5ad",
    "shards",
    "simulated_cells",
    "sparse_rows",
    "sunspots",
    "two_humps",
    "write_shards",
]


class Split(NamedTuple):
    """Data divided for training and for honest reporting."""

    x_train: np.ndarray
    """Training data, `[N, D]`."""
    x_test: np.ndarray
    """Held-out data, `[M, D]`."""
    y_train: np.ndarray
    """Training labels, `[N]`, int."""
    y_test: np.ndarray
    """Held-out labels, `[M]`, int."""


class EightSchools(NamedTuple):
    """Coaching effects in eight schools (Rubin 1981)."""

    y: np.ndarray
    """Estimated effects, `[8]`, points."""
    sigma: np.ndarray
    """Their standard errors, `[8]`, points."""


class Series(NamedTuple):
    """A yearly series: one number for each year."""

    year: np.ndarray
    """The years, `[T]`, int."""
    y: np.ndarray
    """The numbers, `[T]`."""


def digits(*, test_size: int = 360, seed: int = 0, dtype="float32") -> Split:
    """Handwritten digits, 8 x 8 pixels with the counts 0 to 16, `[N, 64]`.

    The split is stratified by class and depends on `seed` alone.

    Args:
        test_size: number of held-out images, out of 1,797.
        seed: of the split.
        dtype: of the images.

    Source: Alpaydin and Kaynak (1998), as shipped with scikit-learn.
    """
    from sklearn.datasets import load_digits

    return _split(*load_digits(return_X_y=True), test_size, seed, dtype)


def iris(*, dtype="float64") -> np.ndarray:
    """Iris flowers, `[150, 4]`, centimetres (Fisher 1936), as `dtype`."""
    from sklearn.datasets import load_iris

    return load_iris().data.astype(dtype)


def mnist(*, dtype="float32") -> Split:
    """MNIST, 28 x 28 pixels with the counts 0 to 255, `[N, 784]`; downloads 11 MB once.

    Args:
        dtype: of the images.

    Raises:
        ValueError: if it is neither stored nor reachable; `digits` needs no network.
    """
    import keras

    try:
        (x, y), (x_test, y_test) = keras.datasets.mnist.load_data()
    except Exception as error:
        raise ValueError(
            "expected MNIST in Keras' cache or a network to fetch it from; got "
            f"{type(error).__name__}. Use et.data.digits(), which ships offline."
        ) from error
    flat = (a.reshape(len(a), -1).astype(dtype) for a in (x, x_test))
    return Split(*flat, y.astype(int), y_test.astype(int))


def eight_schools(*, dtype="float32") -> EightSchools:
    """The eight schools' effects and standard errors, as `dtype`."""
    y = [28, 8, -3, 7, -1, 1, 18, 12]
    sigma = [15, 10, 16, 11, 9, 11, 10, 18]
    return EightSchools(np.array(y, dtype), np.array(sigma, dtype))


def nile(*, dtype="float32") -> Series:
    """Annual flow of the Nile at Aswan, 1871 to 1970, 10^8 cubic metres, as `dtype`.

    Public domain; the textbook series of Durbin and Koopman (2012), section 2.2.5,
    whose local level model has the maximum likelihood variances 15099 (observation)
    and 1469.1 (level). The level falls at 1899.
    """
    return _series("nile.csv", dtype)


def sunspots(*, dtype="float32") -> Series:
    """Yearly mean sunspot number, 1700 to 2008, values >= 0, as `dtype`.

    Public domain, World Data Center SILSO. Cycles of about 11 years that rise faster
    than they fall.
    """
    return _series("sunspots.csv", dtype)


def two_humps(
    num: int = 1_000, *, distance: float = 3.0, seed: int = 0, dtype="float32"
):
    """Draws from N(-m, 1) / 2 + N(m, 1) / 2, `[num]`.

    Args:
        num: of draws.
        distance: m, half the distance between the humps.
        seed: of the draws.
        dtype: of the result.
    """
    rng = np.random.default_rng(seed)
    centre = np.where(rng.random(num) < 0.5, -distance, distance)
    return (centre + rng.standard_normal(num)).astype(dtype)


def _series(name, dtype) -> Series:
    rows = np.loadtxt(Path(__file__).with_name(name), delimiter=",", skiprows=1)
    return Series(rows[:, 0].astype(int), rows[:, 1].astype(dtype))


def _split(x, y, test_size, seed, dtype) -> Split:
    from sklearn.model_selection import train_test_split

    if not 1 <= test_size < len(x):
        raise ValueError(
            f"expected test_size between 1 and {len(x) - 1} data; got {test_size}."
        )
    parts = train_test_split(
        x.astype(dtype), y, test_size=test_size, random_state=seed, stratify=y
    )
    return Split(*parts)
