"""The gap report: zero where theory says zero, the closed form where it does not."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from elbo_tfp import families, gaps, models
from elbo_tfp.families.base import raw_of_positive
from elbo_tfp.ground import measured as per_datum
from elbo_tfp.ground.tables import Table
from tests.changing import Offset, kept, model_of
from tests.statistics import says

tfd = tfp.distributions
IRIS = et.data.iris()
ONE = tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1.0), 1)
QUICK = {"sample_size": 200, "num_steps": 100, "jit_compile": False, "seed": 0}


def c64(value):
    return tf.constant(value, tf.float64)


def exact_encoder(model, shift=0.0):
    """The posterior of a model whose weights have orthogonal columns."""
    family = families.mean_field(model.prior.event_shape[0], dtype=tf.float64)

    def network(x):
        q = model.posterior(x)
        scale = tf.broadcast_to(q.stddev(), q.mean().shape)
        return tf.concat([q.mean() + shift, raw_of_positive(scale)], -1)

    return families.Encoder(network, family)


@pytest.mark.parametrize("evidence", [None, "importance"])
def test_every_gap_of_a_linear_gaussian_model_is_zero(evidence):
    model = models.probabilistic_pca(IRIS, 2)
    options = {"sample_size": 200, "jit_compile": evidence is None, "seed": 0}
    report = gaps.gap_report(
        model, exact_encoder(model), IRIS, evidence=evidence, **options
    )
    assert report.evidence_method == ("exact" if evidence is None else "importance")
    for name in ("approximation_gap", "amortization_gap", "inference_gap"):
        gap = getattr(report, name).mean
        assert abs(gap.value) <= 3 * gap.noise_error < 0.005, (name, gap)
        worst = np.abs(getattr(report, name).value).max()
        assert worst < 1e-6, (name, worst)
    # F6
    assert abs(150 * report.evidence.mean.value + 404.962780) < 1e-4
    assert report.converged.all()


def test_a_displaced_encoder_has_the_amortization_gap_of_its_kl():
    model = models.probabilistic_pca(IRIS, 2)
    shift = np.array([0.1, -0.3])
    report = gaps.gap_report(model, exact_encoder(model, shift), IRIS, seed=0)
    # KL(N(m + d, S) || N(m, S)) = d' S^-1 d / 2
    variance = model.posterior(IRIS).variance().numpy()
    exact = (shift**2 / variance / 2).sum(-1).mean()
    assert exact > 0.05
    for name in ("amortization_gap", "inference_gap"):
        gap = getattr(report, name).mean
        assert abs(gap.value - exact) < 0.005, (name, gap, exact)
        assert gap.noise_error < 0.005
    gap = report.approximation_gap.mean
    assert -0.002 < gap.value < 0.005
    assert report.converged.mean() >= 0.99
    assert report.lower_estimates == ("best", "amortization_gap")


WEIGHTS = np.array([[1.0, 0.6], [0.2, 0.9], [0.7, 0.4]])
CORRELATED = models.linear_gaussian(WEIGHTS, 0.1, 0.5)
MEAN_FIELD = families.mean_field(2, dtype=tf.float64)


def correlated():
    model = CORRELATED
    precision = np.eye(2) + WEIGHTS.T @ WEIGHTS / 0.25
    # the best mean field: (sum log P_ii - log det P) / 2
    gap = np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1]
    x = model.sample(40, seed=0)[1].numpy()
    return model, x, gap / 2


def flat_encoder(family):
    """The prior as everybody's answer."""
    start = tf.convert_to_tensor(family.free_parameters)
    return families.Encoder(
        lambda x: tf.broadcast_to(start, [len(x), len(start)]), family
    )


@pytest.mark.parametrize("evidence", [None, "importance", "quadrature"])
def test_the_family_s_gap_against_the_closed_form(evidence):
    model, x, exact = correlated()
    options = (
        {"evidence_options": {"sample_size": 101}} if evidence == "quadrature" else {}
    )
    report = gaps.gap_report(
        model,
        flat_encoder(MEAN_FIELD),
        x,
        evidence=evidence,
        sample_size=2_000,
        jit_compile=evidence is None,
        seed=0,
        **options,
    )
    gap = report.approximation_gap.mean
    assert exact > 0.2
    assert abs(gap.value - exact) < 4 * gap.noise_error + 0.01, (gap, exact)
    assert gap.noise_error < 0.01
    # the parts add up, exactly
    total = report.approximation_gap.value + report.amortization_gap.value
    np.testing.assert_allclose(report.inference_gap.value, total, atol=1e-10)
    np.testing.assert_allclose(
        report.inference_gap.value,
        report.evidence.value - report.amortized.value,
        atol=1e-10,
    )
    # KL(N(0, I) || posterior): the prior's ELBO in closed form
    log_p = model.log_evidence(x).numpy()
    inference = log_p - prior_elbo(x)
    error = report.inference_gap.standard_error
    assert (np.abs(report.inference_gap.value - inference) < 5 * error + 0.01).all()
    low = "evidence" in report.lower_estimates
    assert low == ("inference_gap" in report.lower_estimates)
    assert low == (evidence == "importance")
    # a search that stops short raises it
    assert "approximation_gap" not in report.lower_estimates
    if evidence == "importance":
        assert (report.approximation_gap.value >= 0).all()


def prior_elbo(x):
    """E_{N(0, I)}[log N(x; W z + b, s^2 I)] = log N at z = 0 - tr(W W') / (2 s^2)."""
    square = ((x - 0.1) ** 2).sum(-1) + (WEIGHTS**2).sum()
    return -3 / 2 * np.log(2 * np.pi * 0.25) - square / 0.5


def test_common_noise_and_given_evidence():
    model, x, _ = correlated()
    encoder = flat_encoder(MEAN_FIELD)
    report = gaps.gap_report(model, encoder, x, evidence=model.log_evidence(x), **QUICK)
    assert report.evidence_method == "given"
    known = gaps.gap_report(model, encoder, x, **QUICK)
    np.testing.assert_array_equal(report.inference_gap.value, known.inference_gap.value)
    # an encoder near the best one: errors are far below those of the two ELBOs
    best = report.surrogate_posterior.mean()

    def network(x):
        raw = raw_of_positive(report.surrogate_posterior.stddev())
        return tf.concat([best + 0.05, raw], -1)

    near = gaps.gap_report(model, families.Encoder(network, MEAN_FIELD), x, **QUICK)
    alone = np.hypot(near.best.standard_error, near.amortized.standard_error)
    assert (near.amortization_gap.standard_error < alone / 2).all()
    assert near.amortization_gap.mean.value > 5 * near.amortization_gap.mean.noise_error


def test_training_data_and_new_data():
    model, x, _ = correlated()
    encoder = flat_encoder(MEAN_FIELD)
    report = gaps.gap_report(model, encoder, x[:25], x_train=x[25:], **QUICK)
    lost = report.generalization
    # an identity: ELBO = model + family + encoder
    parts = lost.model.value + lost.family.value + lost.encoder.value
    assert abs(lost.elbo.value - parts) < 1e-10
    log_p = model.log_evidence(x).numpy()
    assert abs(lost.model.value - (log_p[25:].mean() - log_p[:25].mean())) < 1e-10
    spread = [log_p[:25].std(ddof=1) / 5, log_p[25:].std(ddof=1) / np.sqrt(15)]
    assert abs(lost.model.data_error - np.hypot(*spread)) < 1e-9
    text = str(report)
    for words in ("25 new data", "15 training data", "by the encoder"):
        assert words in text
    assert report.train.train is None and report.train.generalization is None


def test_two_reports_on_the_same_data_share_no_noise():
    model, x, _ = correlated()
    options = QUICK | {"sample_size": 2, "num_steps": 3, "max_rounds": 1}
    report = gaps.gap_report(model, flat_encoder(MEAN_FIELD), x, x_train=x, **options)
    assert report.sample_size == 2 and report.train is not None
    np.testing.assert_allclose(report.evidence.value, report.train.evidence.value)
    assert (report.amortized.value != report.train.amortized.value).all()


def test_one_datum_constant_data_and_an_untrained_model():
    model, x, exact = correlated()
    encoder = flat_encoder(MEAN_FIELD)
    one = gaps.gap_report(model, encoder, x[:1], **QUICK)
    assert np.isnan(one.inference_gap.mean.data_error) and " -" in str(one)
    same = gaps.gap_report(model, encoder, np.tile(x[:1], [5, 1]), **QUICK)
    assert same.evidence.mean.data_error < 1e-12
    assert np.abs(same.best.value - one.best.value).max() < 0.1
    model, encoder = models.vae(8, 3, hidden=(8,), likelihood="bernoulli", seed=0)
    data = np.random.default_rng(0).integers(0, 2, [30, 8]).astype("float32")
    report = gaps.gap_report(model, encoder, data, **QUICK)
    assert report.evidence_method == "importance"
    assert np.isfinite(report.inference_gap.value).all()
    for gap in (report.approximation_gap, report.amortization_gap):
        assert gap.mean.value > -3 * gap.mean.noise_error


def test_collapsed_weights_are_noted():
    model = models.linear_gaussian(np.full([400, 1], 1.0), 0.0, 1.0)
    x = np.zeros([2, 400])
    family = families.mean_field(1, loc=5.0, scale=0.001, dtype=tf.float64)
    start = tf.convert_to_tensor(family.free_parameters)
    encoder = families.Encoder(lambda x: tf.stack([start] * 2), family)
    options = {"num_steps": 1, "max_rounds": 1, "sample_size": 50}
    report = gaps.gap_report(
        model, encoder, x, evidence="importance", **QUICK | options
    )
    assert "importance weights collapsed for 2 data: too low" in str(report)
    both = gaps.gap_report(
        model, encoder, x, x_train=x, evidence="importance", **QUICK | options
    )
    assert "importance weights collapsed for 2 training data: too low" in str(both)
    exact = gaps.gap_report(model, encoder, x, **QUICK | options)
    assert "collapsed" not in str(exact)
    assert not report.converged.any() and "0.0% of the data" in str(report)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"evidence": np.zeros(3)}, ["one evidence per datum, shape [40]; got [3]"]),
        ({"evidence": np.zeros(40), "x_train": 1}, ["x_train", "two sets of data"]),
        ({"sample_size": 1}, ["sample_size", ">= 2", "got 1"]),
        ({"sample_size": 2.5}, ["sample_size to be an int >= 2", "2.5"]),
        ({"sample_size": "3"}, ["sample_size to be an int >= 2", "'3'"]),
        ({"tolerance": np.nan}, ["tolerance to be a positive number"]),
        ({"evidence": np.full(40, np.nan)}, ["finite evidence", "40 of 40 data"]),
        ({"evidence": np.r_[np.zeros(39), np.inf]}, ["finite evidence", "1 of 40"]),
        ({"evidence_options": {"chunk_size": 5}}, ["['chunk_size']", "is exact"]),
        ({"evidence": "oracle"}, ["method to be one of"]),
        ({"family": families.mean_field(2)}, ["family=None"]),
    ],
)
def test_wrong_input_is_named(options, words):
    model, x, _ = correlated()
    with says(*words):
        gaps.gap_report(
            model,
            flat_encoder(MEAN_FIELD),
            x,
            **{"num_steps": 1, "max_rounds": 1, "jit_compile": False, "seed": 0}
            | options,
        )


def test_an_unknown_method_is_named_before_the_search(monkeypatch):
    from elbo_tfp.gaps import report

    model, x, _ = correlated()
    monkeypatch.setattr(report, "search", lambda *_, **__: pytest.fail("too late"))
    with says("method to be one of", "'oracle'"):
        gaps.gap_report(model, flat_encoder(MEAN_FIELD), x, evidence="oracle", **QUICK)


@pytest.mark.parametrize("tied", [False, True])
def test_data_that_share_a_latent_have_one_gap(tied):
    # x_n = z_n + w + e_n; z_n ~ N(0, 1), or N(w, 1) and x_n = z_n + e_n
    x, noise, num = np.array([0.3, -1.0, 2.0, 0.7]), 0.5, 4
    model = et.LatentVariableModel(
        (lambda w: tfd.Independent(tfd.Normal(w, c64(1)), 1)) if tied else ONE,
        lambda z, w: tfd.Normal(z[..., 0] + (0 if tied else w), c64(noise)),
        ONE,
    )
    covariance = (1 + noise**2) * np.eye(num) + 1
    evidence = stats.multivariate_normal(np.zeros(num), covariance).logpdf(x)
    # the precision of (z, w) given x; the best factorised q has its diagonal
    precision = np.diag(
        [1 + 1 / noise**2] * num + [1 + num / (1 if tied else noise**2)]
    )
    precision[:num, num] = precision[num, :num] = -1 if tied else 1 / noise**2
    gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    family = et.families.mean_field(1, dtype=tf.float64)
    encoder = et.families.Encoder(
        lambda x: tf.stack([0.5 * x, -0.5 * tf.ones_like(x)], -1), family
    )
    shared = et.families.mean_field(1, dtype=tf.float64)
    report = gaps.gap_report(
        model,
        (encoder, shared),
        x,
        sample_size=4_000,
        evidence=[evidence],
        jit_compile=tied,
        seed=0,
    )
    assert report.converged.all() and report.evidence.value.shape == (1,)
    found = report.approximation_gap
    assert abs(found.value[0] - gap) < 4 * found.standard_error[0] + 0.02
    q = encoder(tf.constant(x)), shared
    elbo = et.bounds.elbo(et.draw(model.log_joint(x, num_data=num), q, 20_000, seed=1))
    start = report.amortized
    assert abs(start.value[0] - np.sum(elbo)) < 5 * start.standard_error[0]
    # what was found serves draw as it is
    best = et.draw(
        model.log_joint(x, num_data=num), report.surrogate_posterior, 2, seed=1
    )
    assert best.log_q.shape == (2, num)


def test_a_latent_that_all_share_alone():
    x = np.array([0.3, -1.0, 2.0, 0.7])
    model = et.LatentVariableModel(None, lambda w: tfd.Normal(w, c64(1)), ONE)
    q = et.families.mean_field(1, dtype=tf.float64)
    report = gaps.gap_report(model, q, x, seed=0)
    evidence = stats.multivariate_normal(np.zeros(4), np.eye(4) + 1).logpdf(x)
    found = report.evidence
    assert abs(found.value[0] - evidence) < 4 * found.standard_error[0] + 1e-3
    assert report.approximation_gap.value[0] < 2e-3


def test_a_bare_encoder_needs_a_family_and_a_global_latent_a_pair():
    model, x, _ = correlated()
    encoder = flat_encoder(MEAN_FIELD)
    with says("Encoder(network, family)", "got function", "family="):
        gaps.gap_report(model, encoder.network, x, seed=0)
    shared = et.LatentVariableModel(model.prior, lambda z, w: None, model.prior)
    with says("the pair (encoder, q of the global latent)"):
        gaps.gap_report(shared, encoder, x, seed=0)


def test_the_table_in_text_and_html():
    model, x, _ = correlated()
    report = gaps.gap_report(
        model, flat_encoder(MEAN_FIELD), x, evidence="importance", **QUICK
    )
    text = str(report)
    assert repr(report) == text and "Gap report, 40 data, nats per datum" in text
    assert max(map(len, text.splitlines())) <= 60
    for name in ("evidence", "best in the family", "amortization gap"):
        assert name in text
    mean = report.amortization_gap.mean
    assert f"{mean.value:.3f}" in text and f"{mean.data_error:.3f}" in text
    assert "lower estimates: evidence, best, amortization, inference gap" in text
    page = report._repr_html_()
    assert page.count("<tr>") == 7 and 'scope="col"' in page and "style" not in page
    assert "noise" in str(mean)


TABLE = Table("Two", ("mean", "+-"), (("old", ()), ("a gap", (-0.0001, 12.5))), ("ok",))


def test_a_table_to_the_letter():
    assert str(TABLE).splitlines() == [
        "Two",
        "           mean        +-",
        "-" * 25,
        "old",
        "a gap     0.000    12.500",
        "-" * 25,
        "ok",
    ]
    wide = Table("Wide", ("x",), (("a", ("0123456789",)), ("b", (None,))))
    assert str(wide).splitlines()[-3:-1] == ["a 0123456789", "b          -"]
    body = TABLE._repr_html_().split("<tbody>")[1]
    assert body == (
        '<tr><th scope="row" colspan="3">old</th></tr>'
        '<tr><th scope="row">a gap</th><td>0.000</td><td>12.500</td></tr>'
        "</tbody></table><p>ok</p>"
    )


def test_what_is_low_is_said():
    model, x, _ = correlated()
    report = gaps.gap_report(model, flat_encoder(MEAN_FIELD), x[:2], **QUICK)
    text = str(report)
    assert text.endswith("lower estimates: best, amortization gap")
    assert f"evidence exact; {50 * report.converged.sum():.1f}% of the data" in text


# the numbers per datum


def test_errors_of_a_mean():
    numbers = per_datum.PerDatum(np.array([1.0, 2.0, 6.0]), np.array([0.3, 0.4, 0.0]))
    mean = numbers.mean
    assert mean.value == 3.0
    assert abs(mean.noise_error - 0.5 / 3) < 1e-15
    assert abs(mean.data_error - np.sqrt(7 / 3)) < 1e-15
    difference = mean - gaps.Average(1.0, 0.5 / 3, 1.0)
    assert difference.value == 2.0
    floor = numbers._replace(rounding=np.array([0.3, 0.3, 0.6])).mean
    assert abs(floor.noise_error - 0.4) < 1e-15
    assert abs(difference.noise_error - np.sqrt(2) * 0.5 / 3) < 1e-15
    assert abs(difference.data_error - np.sqrt(10 / 3)) < 1e-15


def test_log_means_and_jensen_gaps_by_hand():
    log_w = np.log([[1.0, 2.0], [3.0, 2.0]])
    level = per_datum.log_mean_of(log_w, 0.0)
    np.testing.assert_allclose(level.value, np.log(2.0))
    # sd(w) / (mean(w) sqrt(S)) = sqrt(2) / (2 sqrt 2)
    np.testing.assert_allclose(level.standard_error, [0.5, 0.0])
    gap = per_datum.jensen_gap_of(log_w, 0.0)
    np.testing.assert_allclose(gap.value, [np.log(2) - np.log(3) / 2, 0.0], atol=1e-15)
    influence = np.array([0.5, 1.5 - np.log(3)])
    np.testing.assert_allclose(
        gap.standard_error, [influence.std(ddof=1) / np.sqrt(2), 0.0], atol=1e-15
    )
    size = per_datum.effective_sample_size(log_w + 800.0)
    np.testing.assert_allclose(size, [16 / 10, 2.0])
    floor = per_datum.rounding_of(np.full([3, 2], 99.0, np.float32))
    np.testing.assert_allclose(floor, 400 * np.finfo(np.float32).eps)


def test_the_jensen_gap_s_error_is_that_of_repeats():
    rng = np.random.default_rng(0)
    log_w = rng.normal(0, 0.8, [2_000, 300])
    found = per_datum.jensen_gap_of(log_w, 0.0)
    # lognormal weights: the gap is s^2 / 2
    away = (found.value - 0.32) / found.standard_error
    assert abs(away.mean()) < 4 / np.sqrt(300) + 0.05 and 0.85 < away.std() < 1.15


@pytest.mark.parametrize("place", ["attribute", "dict", "closure"])
def test_a_setting_that_changed_is_seen(place):
    """The evidence of x = 1 moves from -1.516 to -2.120, the encoder's q stays."""
    read, change = kept(place)
    model, x = model_of(read, 1), np.ones([1, 1])
    encoder = families.Encoder(lambda x: tf.zeros([1, 2], x.dtype), MEAN_FIELD_1)
    options = {"num_steps": 20, "max_rounds": 1, "jit_compile": False, "seed": 0}
    for scale, exact in ((1.0, -1.515512), (3.0, -2.120231)):
        change(scale)
        found = gaps.gap_report(model, encoder, x, **options)
        np.testing.assert_allclose(found.evidence.value, [exact], atol=0.1)
        # q = N(0, 1): -log s sqrt(2 pi) - (1 + 1) / (2 s^2), no rate
        elbo = -np.log(scale) - np.log(2 * np.pi) / 2 - 1 / scale**2
        np.testing.assert_allclose(found.amortized.value, [elbo], atol=0.2)


def test_a_datum_may_be_a_structure():
    data = {"x": np.array([[3.0], [1.0]]), "offset": np.array([[2.0], [-1.0]])}
    encoder = families.Encoder(
        lambda d: tf.concat([(d["x"] - d["offset"]) / 2, d["x"] * 0], -1), MEAN_FIELD_1
    )
    options = {"num_steps": 40, "max_rounds": 2, "jit_compile": False, "seed": 0}
    found = gaps.gap_report(Offset(1), encoder, data, **options)
    exact = stats.norm(0, 2**0.5).logpdf([1.0, 2.0])
    np.testing.assert_allclose(found.evidence.value, exact, atol=0.03)
    assert np.all(found.amortization_gap.value > 0.01)
    annealed = et.evidence.Annealed(num_temperatures=5, sample_size=200)
    options |= {"num_steps": 1, "max_rounds": 1}
    other = gaps.gap_report(Offset(1), encoder, data, evidence=annealed, **options)
    assert other.evidence_method == "annealed"
    np.testing.assert_allclose(other.evidence.value, exact, atol=0.1)
    with says("evidence_options beside the name"):
        gaps.gap_report(
            Offset(1),
            encoder,
            data,
            evidence=annealed,
            evidence_options={"sample_size": 3},
            **options,
        )


MEAN_FIELD_1 = families.mean_field(1, dtype=tf.float64)


def test_an_encoder_and_a_q_of_other_precision_are_refused():
    model = et.LatentVariableModel(
        ONE, lambda z, w: tfd.Normal(z[..., 0] + w, 1.0), ONE
    )
    family = et.families.mean_field(1, dtype=tf.float64)
    encoder = et.families.Encoder(lambda x: tf.stack([x, x], -1), family)
    with says("one dtype", "float64 and float32"):
        gaps.gap_report(model, (encoder, et.families.mean_field(1)), c64([1.0]), seed=0)
