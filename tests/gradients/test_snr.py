"""Signal-to-noise ratios against the number of importance samples K: the laws.

z ~ N(mu, I), x | z ~ N(z, I), q = N(x / 2 + b, 2/3 I) in two dimensions, at
x = (1, -1), mu = 0, b = 0.3; after Rainforth et al. (2018).
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.gradients import doubly_reparameterized, reparameterized

tfd = tfp.distributions
SIZES, ROWS = (16, 64, 256), 3_000
ONE = np.float64(1.0)


def replicates(estimator, size):
    """Independent gradients for b and mu, one per row, each `[ROWS, 2]`."""
    b, mu = tf.fill([ROWS, 2], 0.3 * ONE), tf.zeros([ROWS, 2], tf.float64)
    x = tf.broadcast_to(tf.constant([1.0, -1.0], tf.float64), [ROWS, 2])

    def normal(loc, scale=ONE):
        return tfd.Independent(tfd.Normal(loc, scale), 1)

    with tf.GradientTape() as tape:
        tape.watch([b, mu])
        target = et.LatentVariableModel(lambda: normal(mu), normal).log_joint(x)
        q = normal(x / 2 + b, np.sqrt(2 / 3))
        found = estimator(target, q, importance_sample_size=size, seed=size)
        bound = tf.reduce_sum(found.surrogate)
    return [g.numpy() for g in tape.gradient(bound, [b, mu])]


@pytest.fixture(scope="module")
def slopes():
    """Slope of log SNR in log K per estimator and coordinate."""
    ratios = {"encoder": [], "doubly": [], "decoder": []}
    for size in SIZES:
        plain, model = replicates(reparameterized, size)
        quiet, _ = replicates(doubly_reparameterized, size)
        # both have one mean; the quiet one shows it where the plain one's is drowned
        signal = np.abs(quiet.mean(0))
        assert (quiet.std(0) / np.sqrt(ROWS) < 0.02 * signal).all()
        ratios["encoder"].append(signal / plain.std(0))
        ratios["doubly"].append(signal / quiet.std(0))
        ratios["decoder"].append(np.abs(model.mean(0)) / model.std(0))
    logs = {name: np.log(v) for name, v in ratios.items()}
    return {name: np.polyfit(np.log(SIZES), v, 1)[0] for name, v in logs.items()}


@pytest.mark.parametrize(
    ("name", "law"), [("encoder", -0.5), ("doubly", 0.5), ("decoder", 0.5)]
)
def test_slopes(slopes, name, law):
    # a standard deviation from 3,000 rows is known to 1.3%: +- .01 in the slope
    np.testing.assert_allclose(slopes[name], law, atol=0.05)
