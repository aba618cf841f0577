"""Monte Carlo tests in standard errors, with their power stated and asserted."""

import re

import numpy as np
import pytest


def assert_mean(samples, exact, *, fault, z=4.0, power=4.0, axis=0):
    """The mean of independent samples is `exact`, and `fault` would have been seen.

    Args:
        samples: independent numbers along `axis`, NumPy or a tensor.
        exact: the expectation that the theory names.
        fault: the smallest error of the code under test that must turn this red.
        z: how many standard errors the mean may be away (4: once in 16,000 runs, and
            seeds are fixed).
        power: `fault` must be beyond the acceptance region by this many errors.
    """
    samples = np.asarray(samples, np.float64)
    error = samples.std(axis, ddof=1) / np.sqrt(samples.shape[axis])
    assert_within(samples.mean(axis), error, exact, fault=fault, z=z, power=power)


def assert_within(mean, error, exact, *, fault, z=4.0, power=4.0):
    """|mean - exact| <= z errors, and fault >= (z + power) errors, elementwise."""
    mean, error, exact = (np.asarray(v, np.float64) for v in (mean, error, exact))
    assert np.isfinite(mean).all() and np.isfinite(error).all()
    weakest = np.max(error)
    assert fault >= (z + power) * weakest, (
        f"no power: a fault of {fault:.3g} is only {fault / weakest:.2g} standard "
        f"errors of {weakest:.3g}; take more samples"
    )
    away = np.max(np.abs(mean - exact) / np.maximum(error, 1e-300))
    assert away <= z, f"{mean} is {away:.2g} standard errors away from {exact}"


def tolerance(dtype) -> dict:
    """What rounding may do to an O(1) result of this dtype, for np.testing."""
    rounding = np.finfo(np.dtype(getattr(dtype, "as_numpy_dtype", dtype))).eps
    return {"rtol": 50 * rounding, "atol": 50 * rounding}


def close(actual, expected, dtype=None):
    """Equal up to rounding in `dtype` (by default that of `actual`)."""
    actual = np.asarray(actual)
    limits = tolerance(dtype or actual.dtype)
    np.testing.assert_allclose(actual, np.asarray(expected), **limits)


def says(*parts):
    """`pytest.raises(ValueError)` whose message has all parts, in this order."""
    return pytest.raises(ValueError, match="(?s)" + ".*".join(map(re.escape, parts)))
