"""The collapse report: units that theory switches off, and the ELBO's surgery."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, stats

import elbo_tfp as et
from elbo_tfp import families, gaps, models
from elbo_tfp.families import Encoder
from elbo_tfp.families.base import raw_of_positive
from elbo_tfp.gaps import marginal
from tests.changing import PLACES, Offset, kept, model_of
from tests.statistics import says

tfd = tfp.distributions
IRIS = et.data.iris()
VALUES = np.array([4.200053, 0.241053, 0.077688, 0.023676])
QUICK = {"sample_size": 20, "jit_compile": False, "seed": 0}


def exact_encoder(model):
    """The posterior of a model whose weights have orthogonal columns."""
    family = families.mean_field(model.prior.event_shape[0], dtype=tf.float64)

    def network(x):
        q = model.posterior(x)
        scale = tf.broadcast_to(q.stddev(), q.mean().shape)
        return tf.concat([q.mean(), raw_of_positive(scale)], -1)

    return families.Encoder(network, family)


@pytest.mark.parametrize(
    ("noise", "units", "elbo"),
    [
        (0.05, 3, -2.643303),
        (0.1, 2, -2.886170),
        (0.5, 1, -4.195999),
        (5.0, 0, -7.348877),
    ],
)
def test_f6_units_switch_off_below_the_noise(noise, units, elbo):
    model = models.probabilistic_pca(IRIS, 4, noise_variance=noise)
    report = gaps.collapse_report(model, exact_encoder(model), IRIS, **QUICK)
    assert report.num_active == units
    # KL per unit = log(lambda / sigma^2) / 2; Var E[z | x] = 1 - sigma^2 / lambda
    share = np.maximum(VALUES, noise) / noise
    np.testing.assert_allclose(report.kl_per_dimension, np.log(share) / 2, atol=1e-5)
    np.testing.assert_allclose(report.mean_variance, 1 - 1 / share, atol=1e-5)
    np.testing.assert_array_equal(report.active, noise < VALUES)
    assert report.uses_z == (units > 0)
    np.testing.assert_allclose(
        report.kl.mean.value, report.kl_per_dimension.sum(), rtol=1e-9
    )
    # the rate closes the ladder: ELBO = evidence here
    assert abs(model.log_evidence(IRIS).numpy().mean() - elbo) < 1e-5
    # swapped z costs the reconstruction (E|W(z - z')|^2 - ...) / 2 sigma^2 = sum lambda
    # (1 - sigma^2 / lambda) / sigma^2, up to the partner drawn
    loss, exact = report.swap_loss.mean, (share - 1).sum()
    assert abs(loss.value - exact) < 4 * max(loss.noise_error, loss.data_error) + 1e-9


def grid_model():
    """q of three data in one dimension, and the three integrals by quadrature."""
    means, scales = np.array([-1.0, 0.4, 0.9]), np.array([0.5, 0.3, 0.7])
    q = [stats.norm(m, s) for m, s in zip(means, scales, strict=True)]

    def log_q(z):
        return np.log(np.mean([c.pdf(z) for c in q], 0))

    def kl(c, log_p):
        low, high = c.ppf(1e-13), c.ppf(1 - 1e-13)
        value = lambda z: c.pdf(z) * (c.logpdf(z) - log_p(z))  # noqa: E731
        return integrate.quad(value, low, high, epsabs=1e-12, limit=200)[0]

    rate = np.mean([kl(c, stats.norm.logpdf) for c in q])
    information = np.mean([kl(c, log_q) for c in q])
    mixture = lambda z: np.exp(log_q(z)) * (log_q(z) - stats.norm.logpdf(z))  # noqa: E731
    marginal_kl = integrate.quad(mixture, -8, 8, epsabs=1e-12, limit=400)[0]
    answer = tf.constant(np.stack([means, scales], -1))
    family = families.mean_field(1, dtype=tf.float64)
    network = lambda x: tf.stack(  # noqa: E731
        [answer[:, 0], raw_of_positive(answer[:, 1])], -1
    )
    exact = rate, information, marginal_kl
    return families.Encoder(network, family), exact


def test_f7_the_surgery_is_an_identity_and_the_report_meets_it():
    encoder, (rate, information, marginal_kl) = grid_model()
    assert abs(rate - information - marginal_kl) < 1e-10
    assert 0 < information < np.log(3)
    model = models.linear_gaussian(np.ones([1, 1]), 0.0, 1.0)
    x = np.array([[-2.0], [0.5], [1.0]])
    report = gaps.collapse_report(model, encoder, x, sample_size=20_000, seed=0)
    assert abs(report.kl.mean.value - rate) < 1e-9
    assert report.kl.mean.noise_error < 1e-12
    for found, exact in (
        (report.mutual_information.mean, information),
        (report.marginal_kl.mean, marginal_kl),
    ):
        assert abs(found.value - exact) < 4 * found.noise_error < 0.02
    np.testing.assert_allclose(
        report.kl.value, report.mutual_information.value + report.marginal_kl.value
    )
    assert report.log_num_data == np.log(3)


def test_information_ends_at_log_n_and_begins_at_zero():
    model = models.linear_gaussian(np.ones([1, 1]), 0.0, 1.0)
    x = np.arange(20.0)[:, None]
    family = families.mean_field(1, dtype=tf.float64)

    def answers(loc, raw):
        return families.Encoder(
            lambda x: tf.concat([loc(x), tf.fill(x.shape, raw)], -1), family
        )

    told = gaps.collapse_report(
        model, answers(lambda x: x, tf.constant(-6.0, tf.float64)), x, **QUICK
    )
    assert abs(told.mutual_information.mean.value - np.log(20)) < 1e-9
    assert "take more data" in str(told) and told.uses_z
    silent = gaps.collapse_report(
        model, answers(tf.zeros_like, tf.constant(0.0, tf.float64)), x, **QUICK
    )
    assert np.abs(silent.mutual_information.value).max() < 1e-12
    assert silent.num_active == 0 and not silent.active.any()
    assert abs(silent.kl.mean.value) < 1e-12
    assert "decoder uses z: no" in str(silent) and "take more data" not in str(silent)

    half = raw_of_positive(tf.constant(0.5, tf.float64))
    blurred = gaps.collapse_report(model, answers(lambda x: x, half), x, **QUICK)
    assert 0.15 < np.log(20) - blurred.mutual_information.mean.value < 1
    assert "take more data" not in str(blurred)


def test_a_deaf_decoder_fails_the_swap_test_while_units_look_active():
    zero = tf.zeros([2], tf.float64)
    prior = tfd.Independent(tfd.Normal(zero, 1.0), 1)
    deaf = et.LatentVariableModel(
        prior, lambda z: tfd.Independent(tfd.Normal(tf.zeros_like(z), 1.0), 1)
    )
    family = families.mean_field(2, dtype=tf.float64)
    encoder = families.Encoder(lambda x: tf.concat([x, x], -1), family)
    x = np.random.default_rng(0).normal(size=[30, 2])
    report = gaps.collapse_report(deaf, encoder, x, **QUICK)
    assert report.num_active == 2 and not report.uses_z
    assert not report.swap_loss.value.any()


def test_every_datum_gets_another_one_s_latent():
    """The swap loss by hand, with a q of almost no width and a known permutation."""
    from elbo_tfp.gaps.collapse import _another

    partner = _another(7, (0, 3)).numpy()
    assert sorted(partner) == list(range(7)) and (partner != np.arange(7)).all()
    assert not np.array_equal(partner, _another(7, (0, 4)))
    at, seen = 0, set()
    for _ in range(7):
        at = partner[at]
        seen.add(at)
    assert seen == set(range(7))
    np.testing.assert_array_equal(_another(2, (0, 0)), [1, 0])


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (lambda: families.mean_field(2, dtype=tf.float64), True),
        (lambda: families.full_rank(2, dtype=tf.float64), True),
        (lambda: families.low_rank(2, dtype=tf.float64, seed=0), True),
        (lambda: families.mixture(2, dtype=tf.float64, seed=0), True),
        (
            lambda: families.mixture(2, covariance="full", dtype=tf.float64, seed=0),
            True,
        ),
        (lambda: families.student_t(2, dtype=tf.float64), True),
        (lambda: families.flow(2, dtype=tf.float64), False),
    ],
    ids=[
        "mean_field",
        "full_rank",
        "low_rank",
        "mixture",
        "full_mixture",
        "student_t",
        "flow",
    ],
)
def test_every_family_has_a_report(make, known):
    family = make()
    start = tf.convert_to_tensor(family.free_parameters)

    def network(x):
        return start + 0.3 * tf.pad(x, [[0, 0], [0, len(start) - 2]])

    model = models.linear_gaussian(np.eye(2), 0.0, 1.0)
    x = np.random.default_rng(1).normal(size=[6, 2])
    encoder = families.Encoder(network, family)
    report = gaps.collapse_report(model, encoder, x, **QUICK)
    assert (report.kl_per_dimension is not None) == known
    parts = report.mutual_information.value + report.marginal_kl.value
    np.testing.assert_allclose(report.kl.value, parts, atol=1e-9)
    if known:
        q = encoder(x)
        z = q.sample(4_000, seed=(0, 1))
        one = marginal.marginals(q)
        mean, error = z.numpy().mean(0), z.numpy().std(0) / np.sqrt(4_000)
        assert (np.abs(one.mean() - mean) < 5 * error).all()
    assert str(report)


def test_a_sampled_mean_s_noise_is_taken_off_its_variance():
    family = families.flow(1, dtype=tf.float64)
    start = tf.convert_to_tensor(family.free_parameters)
    encoder = families.Encoder(
        lambda x: tf.broadcast_to(start, [x.shape[0], len(start)]), family
    )
    model = models.linear_gaussian(np.ones([1, 1]), 0.0, 1.0)
    report = gaps.collapse_report(model, encoder, np.zeros([200, 1]), **QUICK)
    # one q for all: the naive variance of 20-draw means would be 1 / 20
    assert abs(report.mean_variance[0]) < 0.02
    assert report.mean_variance_error[0] > 0.003


def test_constant_data_and_an_untrained_model():
    model, encoder = models.vae(8, 3, hidden=(8,), likelihood="bernoulli", seed=0)
    x = np.random.default_rng(0).integers(0, 2, [30, 8]).astype("float32")
    report = gaps.collapse_report(model, encoder, x, **QUICK)
    assert np.isfinite(report.kl.value).all() and report.kl_per_dimension.shape == (3,)
    # float32: the parts add up to rounding
    parts = report.mutual_information.value + report.marginal_kl.value
    np.testing.assert_allclose(report.kl.value, parts, atol=1e-5)
    same = gaps.collapse_report(model, encoder, np.tile(x[:1], [5, 1]), **QUICK)
    assert same.num_active == 0 and not same.uses_z
    assert np.abs(same.mutual_information.value).max() < 1e-5


def test_a_threshold_moves_units():
    model = models.probabilistic_pca(IRIS, 4, noise_variance=0.05)
    encoder = exact_encoder(model)
    # variances 0.988, 0.793, 0.356, 0
    for threshold, units in ((0.3, 3), (0.4, 2), (0.9, 1), (0.999, 0)):
        report = gaps.collapse_report(
            model, encoder, IRIS, threshold=threshold, **QUICK
        )
        assert report.num_active == units and report.threshold == threshold


def test_two_data_and_two_draws_will_do_and_an_exact_rate_has_no_error():
    model = models.probabilistic_pca(IRIS, 4, noise_variance=0.05)
    quick = QUICK | {"sample_size": 2}
    report = gaps.collapse_report(model, exact_encoder(model), IRIS[:2], **quick)
    assert report.mean_variance.shape == (4,) and report.kl.value.shape == (2,)
    np.testing.assert_array_equal(report.kl.standard_error, 0)
    assert (report.mutual_information.standard_error > 0).all()


def test_the_rate_of_a_dimension_has_its_error_over_data():
    model = models.probabilistic_pca(IRIS, 4, noise_variance=0.05)
    encoder = exact_encoder(model)
    report = gaps.collapse_report(model, encoder, IRIS, **QUICK)
    mean, scale = (v.numpy() for v in (encoder(IRIS).mean(), encoder(IRIS).stddev()))
    # KL(N(m, s^2) || N(0, 1))
    kl = (scale**2 + mean**2 - 1) / 2 - np.log(scale)
    np.testing.assert_allclose(report.kl_per_dimension, kl.mean(0), atol=1e-12)
    error = kl.std(0, ddof=1) / np.sqrt(len(IRIS))
    np.testing.assert_allclose(report.kl_per_dimension_error, error, atol=1e-12)


def test_marginals_of_copies_are_those_of_their_own_datum():
    copies = tfd.Sample(tfd.Normal(np.array([0.0, 5.0]), 1.0), 2)
    np.testing.assert_array_equal(marginal.marginals(copies).mean(), [[0, 0], [5, 5]])


def test_marginals_without_a_closed_form_are_measured():
    # KL(N(0.5, 1) || Student-t with 4 degrees), by quadrature
    q = tfd.Independent(tfd.Normal(np.full([3, 2], 0.5), 1.0), 1)
    prior = tfd.Sample(tfd.StudentT(np.float64(4), np.float64(0), np.float64(1)), 2)
    found = marginal.kl_per_dimension(q, prior, 40_000, 0)
    ours, theirs = stats.norm(0.5, 1), stats.t(4)
    exact = integrate.quad(
        lambda z: ours.pdf(z) * (ours.logpdf(z) - theirs.logpdf(z)), -12, 13
    )[0]
    assert found.shape == (3, 2) and exact > 0.05
    np.testing.assert_allclose(found, exact, atol=0.012)


def network(x):
    return tf.concat([x, x], -1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros([1, 2])}, ["at least 2 data", "got x of shape (1, 2)"]),
        ({"sample_size": 1}, ["sample_size", ">= 2", "got 1"]),
        ({"sample_size": 2.5}, ["sample_size to be an int >= 2", "2.5"]),
        ({"threshold": 0.0}, ["threshold to be a positive number", "got 0.0"]),
        ({"threshold": np.nan}, ["threshold to be a positive number", "got nan"]),
        ({"threshold": "a"}, ["threshold to be a positive number", "got 'a'"]),
        ({"encoder": network}, ["distribution over vectors z", "got EagerTensor"]),
        (
            {"encoder": lambda x: tfd.Normal(x[:, 0], 1.0)},
            ["over vectors", "event shape ()"],
        ),
        ({"encoder": 3}, ["encoder, a callable", "got LatentVariableModel and int"]),
        ({"model": 3}, ["expected a LatentVariableModel", "got int"]),
        (
            {"encoder": lambda x: tfd.Independent(tfd.Normal(x[:-1], 1.0), 1)},
            ["one distribution for each; got x of shape (4, 2) and q of batch"],
        ),
    ],
)
def test_wrong_input_is_named(change, words):
    arguments = {
        "model": models.linear_gaussian(np.eye(2), 0.0, 1.0),
        "encoder": families.Encoder(network, families.mean_field(2, dtype=tf.float64)),
        "x": np.zeros([4, 2]),
        **QUICK,
        **change,
    }
    with says(*words):
        gaps.collapse_report(
            arguments.pop("model"),
            arguments.pop("encoder"),
            arguments.pop("x"),
            **arguments,
        )


def test_a_global_latent_is_refused():
    model = models.linear_gaussian(np.eye(2), 0.0, 1.0)
    shared = et.LatentVariableModel(model.prior, lambda z, w: None, model.prior)
    with says("without a global prior", "Fix the shared latent"):
        gaps.collapse_report(shared, lambda x: None, np.zeros([4, 2]), **QUICK)


def test_the_tables():
    model = models.probabilistic_pca(IRIS, 4, noise_variance=0.1)
    report = gaps.collapse_report(model, exact_encoder(model), IRIS, **QUICK)
    text = str(report)
    assert repr(report) == text and "2 of 4 dimensions active" in text
    assert f"{report.mutual_information.mean.value:.3f}" in text
    assert [row for row in text.splitlines() if row.startswith("z[3]")][0].endswith(
        "off"
    )
    assert max(map(len, text.splitlines())) <= 62
    page = report._repr_html_()
    assert page.count("<table>") == 2 and page.count("z[") == 4


def test_the_same_network_in_another_family_is_another_encoder():
    def both(x):
        return tf.concat([x, tf.zeros_like(x)], -1)

    def wide(parameters):
        loc, raw = tf.split(parameters, 2, -1)
        return tfd.Independent(tfd.Normal(3 * loc, 0.1 + tf.nn.softplus(raw)), 1)

    x = np.random.default_rng(0).normal(size=(5, 2))
    options = {"sample_size": 4, "jit_compile": False, "seed": 0}

    def information_values(model):
        for family in (families.mean_field(2, dtype=tf.float64), wide):
            report = gaps.collapse_report(model(), Encoder(both, family), x, **options)
            yield report.mutual_information.value

    kept = models.linear_gaussian(np.eye(2))
    together = list(information_values(lambda: kept))
    alone = list(information_values(lambda: models.linear_gaussian(np.eye(2))))
    np.testing.assert_array_equal(together, alone)
    assert np.abs(together[0] - together[1]).min() > 0.01


@pytest.mark.parametrize("place", PLACES)
def test_a_setting_that_changed_is_seen(place):
    """The swap loss is a difference of squares over 2 s^2: a ninth at s = 3."""
    read, change = kept(place)
    model, x = model_of(read, 2), np.random.default_rng(0).normal(size=[4, 2])
    encoder = lambda x: tfd.Independent(tfd.Normal(x / 2, 0.7), 1)  # noqa: E731
    found = []
    for scale in (1.0, 3.0):
        change(scale)
        report = gaps.collapse_report(model, encoder, x, **QUICK)
        found.append(report.swap_loss.value)
    np.testing.assert_allclose(found[0], 9 * found[1], rtol=1e-9)
    assert np.abs(found[0]).min() > 0.01


def test_a_datum_may_be_a_structure():
    rng = np.random.default_rng(0)
    x, offset = rng.normal(size=[2, 4, 2])

    def encoder(data):
        loc = (data["x"] - data["offset"]) / 2
        return tfd.Independent(tfd.Normal(loc, tf.constant(0.7, tf.float64)), 1)

    data = {"x": x + offset, "offset": offset}
    found = gaps.collapse_report(Offset(2), encoder, data, **QUICK)
    plain = gaps.collapse_report(
        model_of(lambda: 1.0, 2), lambda x: encoder({"x": x, "offset": 0.0}), x, **QUICK
    )
    for name in ("kl", "mutual_information", "swap_loss"):
        one, other = getattr(found, name).value, getattr(plain, name).value
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_the_rates_of_a_repeated_prior_are_in_closed_form():
    """Of a `tfd.Sample`: no draws, and their sum is the whole rate."""
    prior = tfd.Sample(tfd.Normal(np.float64(0), np.float64(2)), 2)
    model = et.LatentVariableModel(
        prior, lambda z: tfd.Independent(tfd.Normal(z, np.float64(0.5)), 1)
    )
    x = np.random.default_rng(0).normal(size=(50, 2))

    def encoder(x):
        return tfd.Independent(tfd.Normal(0.5 * x, np.float64(0.6)), 1)

    report = gaps.collapse_report(model, encoder, x, **QUICK)
    exact = (0.09 + x**2 / 16 - 1 - np.log(0.09)) / 2
    np.testing.assert_allclose(report.kl_per_dimension, exact.mean(0), rtol=1e-12)
