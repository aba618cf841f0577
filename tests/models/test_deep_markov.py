"""Deep Markov models: what they read, and that every room takes them."""

import numpy as np
import pytest
import tensorflow as tf

import elbo_tfp as et
from tests.statistics import close, says

X = np.random.default_rng(0).normal(size=(3, 6, 2)).astype("float32")
LENGTHS = np.array([6, 4, 1])
MASK = np.random.default_rng(1).random(X.shape) < 0.7


def made(**options):
    return et.models.deep_markov(6, 2, 2, **{"hidden": (8,), "seed": 0, **options})


def test_shapes_and_compilation():
    model, encoder = made()
    data = {"x": X, "lengths": LENGTHS, "mask": MASK}

    @tf.function(jit_compile=True)
    def weights(seed):
        return et.draw(model.log_joint(data), encoder(data), 4, seed=seed).log_weights

    found = weights(tf.constant([0, 1]))
    eager = et.draw(model.log_joint(data), encoder(data), 4, seed=(0, 1))
    np.testing.assert_allclose(found, eager.log_weights, rtol=1e-4, atol=1e-4)
    assert eager.z.shape == [4, 3, 6, 2] and found.shape == [4, 3]
    z, x = model.sample(5, seed=0)
    assert z.shape == [5, 6, 2] and x.shape == [5, 6, 2]


def test_hidden_values_do_not_matter():
    """Neither to the model nor to the encoder: the draws are the same."""
    model, encoder = made()
    found = []
    for filling in (0.0, 7.0):
        x = np.where(MASK, X, np.nan).astype("float32")
        for i, length in enumerate(LENGTHS):
            x[i, length:] = filling
        mask = MASK.copy()
        mask[1, 4:] = True
        x = np.where(mask, np.nan_to_num(x), np.nan).astype("float32")
        data = {"x": x, "lengths": LENGTHS, "mask": mask}
        found.append(et.draw(model.log_joint(data), encoder(data), 2, seed=0))
    close(found[0].log_weights, found[1].log_weights)
    assert np.isfinite(found[0].log_weights).all()


def test_padding_has_no_weight():
    """Cutting the padding off leaves every density but N(0, I), in model and in q."""
    model, encoder = made()
    data = {"x": X, "lengths": LENGTHS}
    draws = et.draw(model.log_joint(data), encoder(data), 50, seed=0)
    q, padding = encoder(data), draws.z[:, 2, 1:]
    assert np.abs(q.coupling[2, 1:]).max() == 0 and np.abs(q.loc[2, 1:]).max() == 0
    first = q.given(0).log_prob(draws.z[:, :, 0])[:, 2]
    normal = -0.5 * np.sum(padding.numpy() ** 2 + np.log(2 * np.pi), (1, 2))
    np.testing.assert_allclose(draws.log_q[:, 2] - first, normal, rtol=1e-4)
    start = model.initial_state_prior().log_prob(draws.z[:, 2, 0])
    np.testing.assert_allclose(draws.log_prior[:, 2] - start, normal, rtol=1e-4)


def test_the_first_state_has_a_location_and_a_scale_of_its_own():
    model, _ = made()
    with tf.GradientTape() as tape:
        model.initial_state_prior().log_prob(tf.zeros([2]))
    (start,) = tape.watched_variables()
    assert start.shape == [2, 2]
    start.assign([[1.0, -2.0], [0.5, 3.0]])
    prior = model.initial_state_prior()
    close(prior.mean(), np.array([1.0, -2.0], "float32"))
    assert prior.stddev()[1] > prior.stddev()[0] > 0


def test_without_networks_it_is_linear():
    """Kalman takes it, and the filter agrees with Kalman."""
    model, _ = made(hidden=(), dtype=tf.float64)
    x = X.astype("float64")
    exact = et.marginals.kalman(model).log_evidence(x)

    @tf.function(jit_compile=True)
    def run():
        return et.particle_filter(model, None, x, 200, sample_size=400, seed=0)[3:]

    found = run()[1].numpy() - exact.numpy()
    ratio = np.exp(found)
    assert (np.abs(ratio.mean(0) - 1) < 4 * ratio.std(0) / 20).all()
    assert (ratio.std(0) < 1).all()


def test_the_reports_run():
    """As graphs: compiling them takes XLA half a minute."""
    model, encoder = made()
    data = {"x": X, "lengths": LENGTHS, "mask": MASK}
    draws = et.draw(model.log_joint(data), encoder(data), 2_000, seed=0)
    exact = et.particle_filter(model, None, data, 1_000, sample_size=20, seed=0)
    log_p = et.bounds.iwae(exact).numpy()
    elbo, iwae = et.bounds.elbo(draws).numpy(), et.bounds.iwae(draws).numpy()
    assert (elbo < iwae).all() and (iwae < log_p + 0.1).all()
    method = et.evidence.Annealed(num_temperatures=100, sample_size=200)
    quick = {"jit_compile": False, "seed": 0}
    options = {"surrogate_posterior": encoder(data), "method": method, **quick}
    found = et.evidence.estimate(model, data, **options)
    error = found.standard_error.numpy() + 0.01
    assert (np.abs(found.estimate.numpy() - log_p) < 4 * error).all()
    report = et.gaps.gap_report(
        model, encoder, data, num_steps=20, max_rounds=1, sample_size=100, **quick
    )
    assert "amortization" in str(report)
    collapse = et.gaps.collapse_report(model, encoder, data, sample_size=400, **quick)
    assert collapse.active.shape == collapse.mean_variance.shape == X.shape[1:2] + (2,)
    means = encoder(data).mean().numpy()
    np.testing.assert_allclose(collapse.mean_variance, means.var(0), rtol=1e-4)
    rate = draws.log_q - draws.log_prior
    error = np.hypot(et.bounds.standard_error(rate), collapse.kl.standard_error)
    gap = np.abs(collapse.kl.value - np.mean(rate, 0))
    assert (gap < 4 * error + 1e-3).all()
    assert f"of {collapse.active.size} dimensions active" in str(collapse)
    assert "z[:, 1]" in str(collapse) and "active in" in str(collapse)


def test_it_learns():
    model, encoder = made(hidden=())
    data = {"x": X, "lengths": LENGTHS}

    def objective(seed, batch):
        return et.gradients.reparameterized(
            model.log_joint(batch), encoder(batch), seed=seed
        )

    result = et.fit(objective, num_steps=200, data=data, seed=0, progress=False)
    assert np.mean(result.elbo[-20:]) > np.mean(result.elbo[:20]) + 1


def test_errors():
    with pytest.raises(ValueError, match="(?s)lengths .* from 1 to 6.* from 1 to 9"):
        made()[0].log_joint({"x": X, "lengths": np.array([1, 9, 2])})
    with says("state_size to be a positive int", "0"):
        et.models.deep_markov(6, 2, 0, seed=0)
    with says("scale to be a positive number"):
        made(scale=0.0)
    with says("Likelihood of data of shape (2,)"):
        made(likelihood=et.models.bernoulli(3))
    with says("without NaN", '"mask"'):
        made()[0].log_joint(np.where(MASK, X, np.nan).astype("float32"))
