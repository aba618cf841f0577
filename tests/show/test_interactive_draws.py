"""The numbers of chapter 9's figure: closed form, quadrature and draws."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.show.interactive import draws_and_width
from elbo_tfp.show.interactive.draws import SCALES, gaps
from tests.show.movable import in_javascript, in_python

POSITIONS = [
    {"k": 0, "scale": 0.3},
    {"k": 1, "scale": 0.9},
    {"k": 4, "scale": 1.5},
    {"k": 10, "scale": 2.5},
]


def log_r(scale, noise):
    """log of w / p(x) at z = 1/2 + scale noise."""
    return np.log(scale) + np.log(2) / 2 + (0.5 - scale**2) * noise**2


def test_one_draw_is_the_closed_form_and_two_a_double_sum():
    table = gaps(SCALES)
    # KL(N(1/2, s^2) || N(1/2, 1/2))
    kl = SCALES**2 - 0.5 - np.log(2 * SCALES**2) / 2
    np.testing.assert_allclose(table[:, 0], kl, atol=1e-7)
    noise, h = np.linspace(-9, 9, 721, retstep=True)
    mass = h * np.exp(-(noise**2) / 2) / np.sqrt(2 * np.pi)
    for i in (0, 6, 12, 22):
        one = log_r(SCALES[i], noise)
        pair = np.logaddexp(one[:, np.newaxis], one) - np.log(2)
        assert table[i, 1] == pytest.approx(-mass @ pair @ mass, abs=1e-6)


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_those_of_the_table_and_the_law(run):
    for at, found in zip(POSITIONS, run(draws_and_width(), POSITIONS), strict=True):
        row = gaps([at["scale"]])[0]
        assert found["one"] == pytest.approx(row[0], rel=2e-4)
        assert found["gap"] == pytest.approx(row[at["k"]], rel=2e-4)
        assert found["draws"] == 2 ** at["k"]
    # var(w) / 2K, met by many draws
    assert found["law"] == pytest.approx(found["gap"], rel=0.05)


def test_gaps_are_those_of_draws():
    model, x = et.models.normal_normal(dtype=tf.float64), np.float64(1)
    q = tfp.distributions.Normal(np.float64(0.5), 1.5)
    draws = et.draw(model.log_joint(x), q, (16, 20_000), seed=0)
    measured = model.log_evidence(x) - et.bounds.iwae(draws)
    error = np.std(measured) / 20_000**0.5
    found = draws_and_width().values(k=4, scale=1.5)["gap"]
    assert error < found / 10
    assert abs(np.mean(measured) - found) < 4 * error


def test_the_law_is_infinite_for_a_q_too_narrow():
    assert draws_and_width().values(scale=0.5)["law"] > 10


def test_errors():
    with pytest.raises(ValueError, match="'k' to start between 0.0 and 10.0.*got 11"):
        draws_and_width(11)
