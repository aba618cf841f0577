"""The sum over nodes behind `gaussian_concave`, against the integral."""

import warnings

import numpy as np
import pytest
from scipy import integrate, special, stats

import elbo_tfp as et


def integral(bound, scale):
    """The ELBO of one datum x = y = 1 at the bound's q, nats."""
    m, s = bound.loc[0].numpy(), bound.covariance[0, 0].numpy() ** 0.5
    value = integrate.quad(
        lambda a: stats.norm.pdf(a, m, s) * special.log_expit(a),
        m - 12 * s,
        m + 12 * s,
        points=[0.0],
        limit=500,
    )[0]
    kl = (s**2 + m**2) / scale**2 - 1 - 2 * np.log(s / scale)
    return value - kl / 2


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_value_is_the_integral_for_usual_priors(scale):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bound = et.convex.gaussian_concave([[1.0]], [1], prior_scale=scale)
    np.testing.assert_allclose(bound.value, integral(bound, scale), atol=1e-6)


def test_a_warning_where_the_nodes_are_too_few_for_a_wide_prior():
    with pytest.warns(UserWarning, match="64 and 128 nodes differ by 0.00"):
        bound = et.convex.gaussian_concave([[1.0]], [1], prior_scale=100.0)
    assert abs(bound.value - integral(bound, 100.0)) > 1e-3
