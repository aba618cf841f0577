"""The convex corner against quadrature, finite differences and its own order."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special, stats

from elbo_tfp import bounds
from elbo_tfp.ground import compiled as cache
from tests.changing import PLACES, kept

X1 = np.array([-2, -1, -0.5, 0, 0.5, 1, 1.5, 2])
X = np.stack([np.ones(8), X1], 1)
Y = np.array([0, 0, 1, 0, 1, 1, 0, 1])
LOG_EVIDENCE = -6.77817821

VALUES = {
    "bohning": -7.15032925,
    "jaakkola_jordan": -7.01491801,
    "mean_field": -6.81346676,
    "full": -6.80048220,
}


def compute(name, x=X, y=Y, **kwargs):
    kwargs = {"prior_scale": 2.0, **kwargs}
    if name in ("mean_field", "full"):
        return bounds.gaussian_concave(x, y, mean_field=name == "mean_field", **kwargs)
    return getattr(bounds, name)(x, y, **kwargs)


@pytest.mark.parametrize("name", VALUES)
def test_the_exact_values_of_eight_points(name):
    assert abs(float(compute(name).value) - VALUES[name]) < 1e-7


def test_quadrature_confirms_the_evidence():
    def density(b, a):
        logits = X @ [a, b]
        likelihood = np.sum(Y * logits - np.logaddexp(0, logits))
        return np.exp(likelihood - (a * a + b * b) / 8) / (8 * np.pi)

    evidence, _ = integrate.dblquad(density, -16, 16, -16, 16, epsabs=1e-11)
    assert abs(np.log(evidence) - LOG_EVIDENCE) < 1e-6


def adaptive(a, y, xi):
    curvature = np.tanh(xi / 2) / (4 * xi)
    level = -np.logaddexp(0, -xi) - xi / 2 + curvature * xi**2
    return (y - 0.5) * a - curvature * a**2 + level


def fixed(a, y, psi):
    slope = special.expit(psi)
    away = a - psi
    return y * a - np.logaddexp(0, psi) - slope * away - away**2 / 8


@pytest.mark.parametrize("name", ["jaakkola_jordan", "bohning"])
def test_the_bound_is_the_integral_of_its_quadratic_under_any_prior(name):
    mean, scale = np.array([0.7, -0.4]), np.array([2.0, 0.5])
    bound = compute(name, prior_loc=mean, prior_scale=scale)
    loc, cov = bound.loc.numpy(), bound.covariance.numpy()
    spread = np.einsum("ni,ij,nj->n", X, cov, X)
    at = X @ loc if name == "bohning" else np.sqrt(spread + (X @ loc) ** 2)
    kind = fixed if name == "bohning" else adaptive
    one = np.linspace(-8, 8, 401)
    # the standardised weights on a grid
    u = np.stack(np.meshgrid(one, one, indexing="ij"), -1).reshape(-1, 2)
    log_joint = kind((mean + scale * u) @ X.T, Y, at).sum(1) - (u**2).sum(1) / 2
    step = one[1] - one[0]
    log_integral = special.logsumexp(log_joint) + np.log(step**2 / (2 * np.pi))
    assert abs(float(bound.value) - log_integral) < 1e-7


@pytest.mark.parametrize("name", VALUES)
def test_the_prior_is_standard_if_nothing_is_said(name):
    said = compute(name, prior_loc=0.0, prior_scale=1.0)
    function = getattr(bounds, name, None)
    silent = (
        bounds.gaussian_concave(X, Y, mean_field=name == "mean_field")
        if function is None
        else function(X, Y)
    )
    assert float(silent.value) == float(said.value) != VALUES[name]


def test_the_order_holds_on_random_problems():
    rng = np.random.default_rng(0)
    for _ in range(5):
        x = rng.standard_normal((30, 4))
        y = (rng.random(30) < special.expit(x @ rng.standard_normal(4))).astype(int)
        args = {"x": x, "y": y, "prior_loc": 0.3, "prior_scale": 1.5}
        low = float(compute("bohning", **args).value)
        middle = float(compute("jaakkola_jordan", **args).value)
        mean_field = float(compute("mean_field", **args).value)
        best = float(compute("full", **args).value)
        assert low < middle < best and mean_field < best


def elbo_by_hand(loc, chol, x=X, y=Y, scale=2.0):
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    cov = chol @ chol.T
    a = (x @ loc)[:, None] + np.sqrt(np.sum(x @ cov * x, 1))[:, None] * nodes
    expected = (y[:, None] * a - np.logaddexp(0, a)) @ weights / np.sqrt(2 * np.pi)
    trace = (np.trace(cov) + loc @ loc) / scale**2
    log_det = np.linalg.slogdet(cov / scale**2)[1]
    return expected.sum() - (trace - len(loc) - log_det) / 2


@pytest.mark.parametrize("name", ["mean_field", "full"])
def test_no_step_in_any_direction_rises(name):
    bound = compute(name)
    loc, chol = bound.loc.numpy(), np.linalg.cholesky(bound.covariance)
    value = elbo_by_hand(loc, chol)
    assert abs(value - float(bound.value)) < 1e-10
    rng = np.random.default_rng(1)
    for _ in range(20):
        step = np.tril(rng.standard_normal((2, 2)))
        step = np.diag(np.diag(step)) if name == "mean_field" else step
        moved = elbo_by_hand(loc + 1e-3 * rng.standard_normal(2), chol + 1e-3 * step)
        assert moved < value


@pytest.mark.parametrize("name", VALUES)
def test_a_datum_without_features_costs_a_coin_toss(name):
    bound, more = compute(name), compute(name, np.r_[X, [[0.0, 0.0]]], np.r_[Y, 1])
    assert abs(more.value - bound.value + np.log(2)) < 1e-8
    np.testing.assert_allclose(more.loc, bound.loc, atol=1e-4)
    np.testing.assert_allclose(more.covariance, bound.covariance, atol=1e-4)


def test_the_certificate_bounds_the_distance_far_from_the_optimum():
    best = float(compute("full").value)
    for steps in (1, 2, 3):
        with pytest.raises(ValueError, match="nats of its optimum"):
            compute("full", max_steps=steps)
        bound = compute("full", max_steps=steps, tolerance=1e9)
        assert bound.num_steps == 0 and best - float(bound.value) <= bound.certificate
        early = tf.function(lambda n=steps: compute("full", max_steps=n))()
        gap = best - float(early.value)
        assert 0 <= gap <= float(early.certificate)
        assert int(early.num_steps) == steps


def test_a_quadratic_likelihood_is_exact():
    def gaussian(a, y):
        return -0.5 * (y - a) ** 2 - 0.5 * np.log(2 * np.pi)

    y = np.array([0.3, -1.0, 2.0, 0.1, 0.5, 1.0, -0.4, 2.2])
    bound = compute("full", y=y, prior_loc=[0.5, -0.5], log_likelihood=gaussian)
    cov = 4 * X @ X.T + np.eye(8)
    away = y - X @ [0.5, -0.5]
    exact = -0.5 * (
        away @ np.linalg.solve(cov, away) + np.linalg.slogdet(2 * np.pi * cov)[1]
    )
    assert abs(float(bound.value) - exact) < 1e-8


def test_breast_cancer_in_full_is_certified():
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    x = (data.data - data.data.mean(0)) / data.data.std(0)
    x = np.concatenate([np.ones((len(x), 1)), x], 1)
    full = compute("full", x, data.target)
    assert full.certificate < 1e-9
    quadratic = compute("jaakkola_jordan", x, data.target)
    assert float(quadratic.value) < float(full.value) - 1


def test_float32_is_kept():
    bound = compute("jaakkola_jordan", X.astype("float32"), tolerance=1e-4)
    assert bound.value.dtype == tf.float32
    assert abs(float(bound.value) - VALUES["jaakkola_jordan"]) < 1e-3


WRONG = [
    ({"x": X[:, 0]}, "features \\[N, D\\]"),
    ({"x": X.astype(int)}, "features \\[N, D\\]"),
    ({"y": Y[:5]}, "expected labels"),
    ({"y": 2 * Y - 1}, "Recode -1 as 0"),
    ({"x": np.where(X1[:, None] == 0, np.nan, X)}, "NaN"),
    ({"prior_scale": 0.0}, "prior_scale > 0"),
]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("kwargs,message", WRONG)
def test_wrong_input_is_named(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        compute(name, **kwargs)


def test_a_likelihood_that_is_not_log_concave_is_refused():
    def student(a, y):
        return -2.0 * tf.math.log1p((y - a) ** 2)

    with pytest.raises(ValueError, match="log-concave"):
        compute("full", log_likelihood=student)


def test_no_convergence_is_an_error():
    with pytest.raises(ValueError, match="after 2 steps"):
        compute("bohning", max_steps=2)


def test_many_settings_draw_no_warning_about_retracing(caplog):
    for num_nodes in range(20, 27):
        compute("full", num_nodes=num_nodes)
    assert "retracing" not in caplog.text


@pytest.mark.parametrize("place", PLACES)
def test_a_likelihood_is_taken_as_it_is_now(place):
    read, change = kept(place)

    def gaussian(a, y):
        return -0.5 * ((y - a) / read()) ** 2 - np.log(2 * np.pi) / 2 - np.log(read())

    y = np.array([0.3, -1.0, 2.0, 0.1, 0.5, 1.0, -0.4, 2.2])
    for scale in (1.0, 3.0):
        change(scale)
        found = compute("full", y=y, log_likelihood=gaussian)
        cov = 4 * X @ X.T + scale**2 * np.eye(8)
        exact = stats.multivariate_normal(np.zeros(8), cov).logpdf(y)
        assert abs(float(found.value) - exact) < 1e-8


def test_other_data_and_priors_use_the_same_programs():
    cache.clear()
    for scale in (1.0, 2.0):
        for name in VALUES:
            compute(name, X * scale, Y[::-1], prior_scale=scale)
    assert cache.count() == len(VALUES)
