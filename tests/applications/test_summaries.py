"""Posterior summaries: closed forms by part, and errors that are errors."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from tests.statistics import says

tfd = tfp.distributions


def agrees(part, exact, levels=(0.05, 0.5, 0.95)):
    """Every number within 4.5 of its errors, and the errors are small."""
    pairs = [
        (part.mean, part.mean_error, exact.mean()),
        (part.stddev, part.stddev_error, exact.std()),
        *zip(part.quantiles, part.quantile_errors, exact.ppf(levels), strict=True),
    ]
    for value, error, truth in pairs:
        assert (error > 0).all() and (error < 0.1 * exact.std()).all()
        assert (np.abs(value - truth) < 4.5 * error).all()


def test_families_and_distributions_in_closed_form():
    q = et.families.mean_field(2, loc=[1.0, -2.0], scale=[0.5, 3.0])
    part = et.posterior_summary(q, seed=0)
    assert part.mean.shape == (2,) and part.quantiles.shape == (3, 2)
    for i, exact in enumerate([stats.norm(1, 0.5), stats.norm(-2, 3)]):
        agrees(type(part)(*(field[..., i] for field in part)), exact)
    agrees(et.posterior_summary(tfd.Gamma(3.0, 2.0), seed=1), stats.gamma(3, scale=0.5))


def test_parts_are_in_their_own_space():
    joint = tfd.JointDistributionNamed(
        {"mu": tfd.Normal(0.0, 1.0), "tau": tfd.HalfCauchy(0.0, 5.0)}
    )
    q = et.families.mean_field_for(joint, loc={"tau": 1.0}, scale=0.3, seed=None)
    found = et.posterior_summary(q, seed=0)
    assert set(found) == {"mu", "tau"}
    agrees(found["mu"], stats.norm(0, 0.3))
    agrees(found["tau"], stats.lognorm(0.3, scale=np.e))
    agrees(et.posterior_summary(joint, seed=0)["mu"], stats.norm())


def test_errors_are_the_spread_over_seeds():
    runs = [
        et.posterior_summary(tfd.Gamma(np.float64(2), 1), sample_size=400, seed=s)
        for s in range(200)
    ]
    for value, error in (("mean", "mean_error"), ("stddev", "stddev_error")):
        spread = np.std([getattr(run, value) for run in runs])
        said = np.mean([getattr(run, error) for run in runs])
        assert 0.75 < said / spread < 1.3
    spread = np.std([run.quantiles for run in runs], axis=0)
    said = np.mean([run.quantile_errors for run in runs], axis=0)
    assert (said / spread > 0.75).all() and (said / spread < 1.3).all()


def test_a_pair_and_a_batch():
    local = et.families.mean_field(2, batch_shape=[5], seed=0)
    one, two = et.posterior_summary((local, tfd.Normal(3.0, 1.0)), seed=0)
    assert one.mean.shape == (5, 2) and two.mean.shape == ()
    agrees(two, stats.norm(3, 1))


def test_what_cannot_be_summarised():
    with says("with `sample`", "function", "Call an encoder on x"):
        et.posterior_summary(lambda x: x, seed=0)
    with says("finite samples of q", "that are not"):
        et.posterior_summary(tfd.Normal(0.0, tf.constant(np.nan)), seed=0)
    with says("sample_size", "got 1"):
        et.posterior_summary(tfd.Normal(0.0, 1.0), sample_size=1, seed=0)
    for quantiles in (0.5, []):
        with says("quantiles to be a list of levels", repr(quantiles)):
            et.posterior_summary(tfd.Normal(0.0, 1.0), quantiles=quantiles, seed=0)
    with says("each of quantiles", "(0, 1)", "got 1.0"):
        et.posterior_summary(tfd.Normal(0.0, 1.0), quantiles=[1.0], seed=0)


@pytest.mark.parametrize("name", ["mean_field_for", "full_rank_for", "flow_for"])
def test_every_family_for_a_joint(name):
    joint = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0), tfd.Beta(2.0, 2.0)])
    q = getattr(et.families, name)(joint, scale=0.5, seed=None)
    found = et.posterior_summary(q, seed=0)
    agrees(found[0], stats.norm(0, 0.5))
    assert 0 < found[1].quantiles[0] < found[1].mean < found[1].quantiles[-1] < 1


def test_an_int_is_a_stateless_seed():
    q = tfd.Normal(0.0, 1.0)
    first, again = (et.posterior_summary(q, sample_size=9, seed=3) for _ in range(2))
    assert first.mean == again.mean
