"""No guaranteed lower bound lies above the evidence: models, q, bounds, sizes."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et

tfd = tfp.distributions
OUTER, LARGEST = 4_000, 64
LOWER = {
    "elbo": et.bounds.elbo,
    "iwae": et.bounds.iwae,
    "renyi .25": lambda w: et.bounds.renyi(w, 0.25),
    "renyi .9": lambda w: et.bounds.renyi(w, 0.9),
    "renyi 2": lambda w: et.bounds.renyi(w, 2.0),
    "renyi 8": lambda w: et.bounds.renyi(w, 8.0),
    "tvo": lambda w: et.bounds.tvo(w, [0, 0.02, 0.1, 0.3, 0.6, 1]),
}


def _float(*values):
    return [np.float64(v) for v in values]


def _normal(q):
    model, x = et.models.normal_normal(dtype=tf.float64), np.float64(1.0)
    return model, x, q or model.posterior(x)


def _counts(q):
    return et.models.gamma_poisson(2.0, 0.7, dtype=tf.float64), np.float64(4.0), q


def _linear():
    weights = np.array([[1.0, 0.3], [0.2, -1.0], [0.5, 0.5]])
    q = et.families.mean_field(2, scale=0.7, dtype=tf.float64)
    return et.models.linear_gaussian(weights, 0.1, 0.5), np.array([1.0, -1.0, 0.2]), q


CASES = {
    "normal, exact": lambda: _normal(None),
    "normal, wide": lambda: _normal(tfd.Normal(*_float(0.0, 1.5))),
    "normal, narrow": lambda: _normal(tfd.Normal(*_float(0.2, 0.2))),
    "normal, far": lambda: _normal(tfd.Normal(*_float(-1.5, 0.6))),
    "normal, heavy": lambda: _normal(tfd.StudentT(*_float(2.5, 0.0, 1.0))),
    "counts, lognormal": lambda: _counts(tfd.LogNormal(*_float(1.0, 0.4))),
    "counts, narrow": lambda: _counts(tfd.Gamma(*_float(30.0, 10.0))),
    "linear, mean-field": _linear,
}


def excess(bound, log_weights, evidence, num):
    """(mean bound - evidence, its standard error) from OUTER independent estimates."""
    values = bound(tf.transpose(log_weights[:, :num])).numpy()
    return values.mean() - evidence, values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("case", CASES)
def test_lower_bounds_stay_below(case):
    model, x, q = CASES[case]()
    evidence = float(model.log_evidence(x))
    log_weights = et.draw(model.log_joint(x), q, (OUTER, LARGEST), seed=7).log_weights
    for name, bound in LOWER.items():
        for num in (1, 2, 8, LARGEST):
            above, error = excess(bound, log_weights, evidence, num)
            assert above < 4 * error + 1e-12, (name, num, above, error)


def test_the_sweep_sees_what_is_no_bound():
    # with a wide q the chi upper bound and an IWAE without its log K stand above
    model, x, q = CASES["normal, wide"]()
    evidence = float(model.log_evidence(x))
    log_weights = et.draw(model.log_joint(x), q, (OUTER, LARGEST), seed=7).log_weights
    for wrong in (et.bounds.cubo, lambda w: tf.reduce_logsumexp(w, 0)):
        above, error = excess(wrong, log_weights, evidence, LARGEST)
        assert above > 10 * error
    # the smallest fault that the sweep can see at K = 64, nats
    assert 4 * excess(et.bounds.iwae, log_weights, evidence, LARGEST)[1] < 0.01


def test_values_and_gap_law_of_iwae():
    # x = 1, q = N(0, 1.5^2): L_K to +- 2e-4, and gap * 2 K / .6936 -> 1
    model, x, q = CASES["normal, wide"]()
    log_weights = et.draw(model.log_joint(x), q, (200_000, 10), seed=0).log_weights
    for num, exact in {1: -2.763473, 2: -1.88615, 5: -1.60427, 10: -1.55398}.items():
        above, error = excess(et.bounds.iwae, log_weights, exact, num)
        assert abs(above) < 4 * error + 2e-4
        assert error < 0.007
    log_weights = et.draw(model.log_joint(x), q, (20_000, 128), seed=1).log_weights
    gap, error = excess(et.bounds.iwae, log_weights, -1.515512, 128)
    law = -gap * 2 * 128 / 0.6936
    assert abs(law - 1) < 4 * error * 2 * 128 / 0.6936 + 0.05
