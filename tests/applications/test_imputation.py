"""Imputation against the conditional of a Gaussian, and its named errors."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.applications import impute

tfd = tfp.distributions
NOISE = 0.5
W = np.random.default_rng(0).normal(size=(5, 2))
BIAS = np.arange(5.0)


@pytest.fixture(scope="module")
def setting():
    """Model, q (off the posterior), data with NaN where missing."""
    model = et.models.observed(et.models.linear_gaussian(W, BIAS, NOISE))
    rng = np.random.default_rng(1)
    x = BIAS + rng.normal(size=(6, 2)) @ W.T + NOISE * rng.normal(size=(6, 5))
    mask = rng.uniform(size=x.shape) < 0.6
    mask[:, 0], mask[2] = True, True
    means, covariances = [], []
    for row, seen in zip(x, mask, strict=True):
        precision = np.eye(2) + W[seen].T @ W[seen] / NOISE**2
        covariances.append(1.3 * np.linalg.inv(precision))
        right = W[seen].T @ (row - BIAS)[seen] / NOISE**2
        means.append(np.linalg.solve(precision, right) + 0.1)
    factor = np.linalg.cholesky(covariances)
    q = tfd.MultivariateNormalTriL(np.array(means), factor)
    return model, q, {"x": np.where(mask, x, np.nan), "mask": mask}


@pytest.fixture(scope="module")
def found(setting):
    return impute(*setting, sample_size=20_000, num_draws=4_000, seed=0)


def conditional(x, seen):
    """Mean and covariance of the missing coordinates, by the textbook formula."""
    joint, lost = W @ W.T + NOISE**2 * np.eye(5), ~seen
    gain = joint[np.ix_(lost, seen)] @ np.linalg.inv(joint[np.ix_(seen, seen)])
    mean = BIAS[lost] + gain @ (x - BIAS)[seen]
    return mean, joint[np.ix_(lost, lost)] - gain @ joint[np.ix_(seen, lost)]


def test_linear_case_is_the_gaussian_conditional(setting, found):
    data = setting[2]
    for i, (x, seen) in enumerate(zip(data["x"], data["mask"], strict=True)):
        mean, covariance = conditional(x, seen)
        error = found.mean_error[i].numpy()[~seen]
        assert np.all(np.abs(found.mean[i].numpy()[~seen] - mean) < 4 * error)
        sd = np.sqrt(np.diag(covariance))
        assert found.stddev[i].numpy()[~seen] == pytest.approx(sd, rel=0.03)
        draws = found.draws.numpy()[:, i][:, ~seen]
        assert draws.mean(0) == pytest.approx(mean, abs=0.08 * sd.max(initial=1))
        if sd.size > 1:
            assert np.cov(draws.T) == pytest.approx(
                covariance, abs=0.12 * sd.max() ** 2
            )
        inside = np.abs(draws - mean) < 1.645 * sd
        assert inside.mean(0) == pytest.approx(np.full(sd.size, 0.9), abs=0.03)


def test_error_is_that_of_repetitions(setting):
    few = [impute(*setting, sample_size=200, num_draws=1, seed=s) for s in range(60)]
    lost = ~setting[2]["mask"]
    spread = np.std([f.mean.numpy()[lost] for f in few], 0, ddof=1)
    said = np.mean([f.mean_error.numpy()[lost] for f in few], 0)
    assert np.all(said > 0)
    # a standard deviation of 60 repetitions is 9% off, times four
    assert said == pytest.approx(spread, rel=0.36)
    assert np.mean(said / spread) == pytest.approx(1, abs=0.15)


def test_observed_values_stand_as_they_came(setting, found):
    x, mask = setting[2]["x"], setting[2]["mask"]
    assert np.array_equal(found.mean.numpy()[mask], x[mask])
    assert np.all(found.draws.numpy()[:, mask] == x[mask])
    assert not found.stddev.numpy()[mask].any()
    assert not found.mean_error.numpy()[mask].any()
    assert np.all(np.isfinite(found.draws))


def test_posterior_as_q_has_equal_weights(setting):
    model, _, data = setting
    whole = {"x": data["x"][2:3], "mask": data["mask"][2:3]}
    q = model.complete.posterior(tf.constant(whole["x"]))
    found = impute(model, q, whole, sample_size=50, seed=0)
    assert found.effective_sample_size.numpy() == pytest.approx(50)


def test_effective_sample_size(setting, found):
    model, q, data = setting
    few = impute(*setting, sample_size=300, seed=1).effective_sample_size.numpy()
    assert np.all((few > 100) & (few < 300))
    assert found.effective_sample_size.shape == [6]


def test_counts_and_an_encoder():
    vae = et.models.vae(4, 2, hidden=(8,), likelihood=et.models.binomial(4, 16), seed=0)
    x = np.float32([[1, 2, 3, 4], [5, 6, 7, 16]])
    data = {"x": x, "mask": np.array([[True, False, True, True], [False] * 3 + [True]])}

    def network(data):
        return vae.encoder.network(data["x"])

    encoder = et.families.Encoder(network, vae.encoder.family)
    found = impute(et.models.observed(vae.model), encoder, data, seed=0)
    draws = found.draws.numpy()
    assert np.all((draws == np.round(draws)) & (draws >= 0) & (draws <= 16))
    again = impute(et.models.observed(vae.model), encoder, data, seed=0)
    assert np.array_equal(again.draws, draws)
    other = impute(et.models.observed(vae.model), encoder, data, seed=1)
    assert not np.array_equal(other.draws, draws)


def test_wrong_data_are_named(setting):
    model, q, data = setting
    x, mask = data["x"], data["mask"]
    with pytest.raises(ValueError, match="to be bool"):
        impute(model, q, {"x": x, "mask": mask.astype(float)}, seed=0)
    with pytest.raises(ValueError, match="mask'. of the shape of x"):
        impute(model, q, {"x": x, "mask": mask[:, :1]}, seed=0)
    with pytest.raises(ValueError, match="mask = ~numpy.isnan"):
        impute(model, q, x, seed=0)
    with pytest.raises(ValueError, match="mask = ~numpy.isnan"):
        impute(model, q, {"x": x}, seed=0)
    with pytest.raises(ValueError, match="NaN"):
        impute(model, q, {"x": x, "mask": np.ones_like(mask)}, seed=0)
    empty = mask.copy()
    empty[3] = False
    with pytest.raises(ValueError, match="1 of 6 rows without, first row 3"):
        impute(model, q, {"x": x, "mask": empty}, seed=0)
    with pytest.raises(ValueError, match="Is it the other way round"):
        impute(model, q, {"x": x, "mask": np.zeros_like(mask)}, seed=0)


def test_wrong_models_and_sizes_are_named(setting):
    model, q, data = setting
    with pytest.raises(ValueError, match="expected models.observed"):
        impute(model.complete, q, data, seed=0)
    shared = et.LatentVariableModel(
        None,
        lambda w: tfd.Independent(tfd.Normal(w, np.float64(1)), 1),
        tfd.MultivariateNormalDiag(np.zeros(5)),
    )
    with pytest.raises(ValueError, match="without a global latent"):
        impute(et.models.observed(shared), q, data, seed=0)
    with pytest.raises(ValueError, match="sample_size to be an int >= 2; got 1"):
        impute(model, q, data, sample_size=1, seed=0)
    with pytest.raises(ValueError, match="num_draws"):
        impute(model, q, data, num_draws=0, seed=0)


def test_what_is_no_encoder_is_named(setting):
    model, q, data = setting
    with pytest.raises(ValueError, match="an encoder, .* got str.*families.Encoder"):
        impute(model, "q", data, seed=0)
    with pytest.raises(ValueError, match="got function that returns .*Tensor"):
        impute(model, lambda data: q.mean(), data, seed=0)


def test_weights_that_vanish_are_named(setting):
    model, _, data = setting
    far = tfd.MultivariateNormalDiag(np.full((6, 2), 1e200), np.ones(2))
    with pytest.raises(ValueError, match="6 of 6 data whose weights vanish"):
        impute(model, far, data, seed=0)
