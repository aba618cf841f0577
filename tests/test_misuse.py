"""A list of misuses: each gives the independent right value, or is refused in words.

No case may return a number that is silently wrong. A case is a name, a function and
what must come out: a number from SciPy or by hand, or REFUSED, a `ValueError` (or the
error class that is named) whose message is not empty.
"""

import types

import keras
import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et

tfd = tfp.distributions
REFUSED = "refused"
RNG = np.random.default_rng(0)
X = np.float32([0.3, -0.2, 0.8])
ROWS = RNG.normal(size=(6, 2)).astype("float32")
TOY = et.models.normal_normal()
Q = tfd.Normal(0.4, 0.7)
CASES = []


def case(name, right, *, within=0.02):
    """Adds a case; the function is called once and its mean compared."""

    def add(function):
        CASES.append(pytest.param(function, right, within, id=name))
        return function

    return add


def refused(name, function):
    CASES.append(pytest.param(function, REFUSED, None, id=name))


def right(name, function, value, within=0.02):
    CASES.append(pytest.param(function, value, within, id=name))


def elbo(target, q, size=4_000, seed=0):
    return et.bounds.elbo(et.draw(target, q, size, seed=seed))


def toy_elbo(x, loc=0.4, scale=0.7):
    """E_q[log N(z; 0, 1) + log N(x; z, 1)] + H[q], by hand."""
    two_pi = np.log(2 * np.pi)
    expected = -two_pi - (loc**2 + (x - loc) ** 2 + 2 * scale**2) / 2
    return expected + np.log(scale) + (two_pi + 1) / 2


# ------------------------------------------------------------------ draw and targets

refused("int data under a likelihood of floats", lambda: elbo(TOY.log_joint(1), Q))
right(
    "float64 scalar", lambda: elbo(TOY.log_joint(np.float32(1)), Q), toy_elbo(1.0), 0.06
)
for bad in (0, -1, 1.5, "3", None, True, (), (2, 0), (2.0,), np.float64(3)):
    refused(
        f"sample_size {bad!r}",
        lambda bad=bad: et.draw(TOY.log_joint(X), Q, bad, seed=0),
    )
for bad in (None, 1.5, "0", (1, 2, 3), [[1, 2]], True, 2**64):
    refused(f"seed {bad!r}", lambda bad=bad: et.draw(TOY.log_joint(X), Q, seed=bad))
refused(
    "an encoder that was not called",
    lambda: et.draw(TOY.log_joint(X), lambda x: Q, seed=0),
)
refused("a class for q", lambda: et.draw(TOY.log_joint(X), tfd.Normal, seed=0))
refused(
    "q of another batch", lambda: elbo(TOY.log_joint(X), tfd.Normal([0.0, 0.0], 1.0))
)
refused(
    "a target that forgot to sum",
    lambda: elbo(
        lambda z: tfd.Normal(0.0, 1.0).log_prob(z),
        tfd.MultivariateNormalDiag([0.0, 0.0], [1.0, 1.0]),
    ),
)
refused(
    "a target that sums too much",
    lambda: elbo(lambda z: tf.reduce_sum(tfd.Normal(0.0, 1.0).log_prob(z)), Q),
)
refused(
    "a target that averages over samples",
    lambda: elbo(
        lambda z: tf.reduce_mean(tfd.Normal(0.0, 1.0).log_prob(z), 0),
        tfd.Normal([0.0], 1.0),
    ),
)
refused(
    "a target of float64 under a q of float32",
    lambda: elbo(lambda z: tf.cast(tfd.Normal(0.0, 1.0).log_prob(z), tf.float64), Q),
)
refused("a target that wants two", lambda: elbo(lambda a, b: a + b, Q))
refused(
    "likelihood without Independent",
    lambda: elbo(
        et.LatentVariableModel(
            tfd.MultivariateNormalDiag([0.0, 0.0], [1.0, 1.0]),
            lambda z: tfd.Normal(z, 1.0),
        ).log_joint(ROWS),
        tfd.MultivariateNormalDiag(ROWS * 0, ROWS * 0 + 1),
    ),
)
refused(
    "likelihood that returns a tensor",
    lambda: elbo(
        et.LatentVariableModel(tfd.Normal(0.0, 1.0), lambda z: z).log_joint(X), Q
    ),
)
refused(
    "a prior that is a class", lambda: et.LatentVariableModel(tfd.Normal, lambda z: z)
)
refused("a prior that is a number", lambda: et.LatentVariableModel(0.0, lambda z: z))


# ------------------------------------------------------------------ data and containers


def masked():
    return np.ma.masked_equal(np.float32([0.3, -999.0, 0.8]), -999.0)


refused("log_joint, NaN", lambda: TOY.log_joint(np.float32([0.1, np.nan])))
refused("log_joint, strings", lambda: TOY.log_joint(np.array(["a", "b"])))
refused("log_joint, objects", lambda: TOY.log_joint(np.array([1.0, "a"], object)))
refused("log_joint, None", lambda: TOY.log_joint(None))
refused("log_joint, complex", lambda: TOY.log_joint(np.array([1 + 1j])))
refused("log_joint, sparse", lambda: TOY.log_joint(sp.csr_matrix(np.eye(2))))
refused(
    "log_joint, ragged", lambda: TOY.log_joint(tf.ragged.constant([[1.0], [1.0, 2.0]]))
)
refused("log_joint, lists of two lengths", lambda: TOY.log_joint([[1.0], [1.0, 2.0]]))
refused("log_joint, a masked array", lambda: TOY.log_joint(masked()))
refused(
    "log_joint, num_data without a global prior", lambda: TOY.log_joint(X, num_data=3)
)


def climb(data, objective=None, **options):
    v = tf.Variable([0.0])

    def mean(batch, seed):
        flat = tf.cast(tf.reshape(batch, [-1]), tf.float32)
        return -tf.reduce_mean((v - flat) ** 2)

    options = {
        "num_steps": 300,
        "seed": 0,
        "optimizer": keras.optimizers.Adam(0.05),
    } | options
    et.fit(objective or mean, data=data, progress=False, **options)
    return v[0]


right("fit, a list of numbers", lambda: climb([1.0, 2.0, 6.0]), 3.0, 0.1)
right("fit, int64", lambda: climb(np.array([1, 2, 6])), 3.0, 0.1)
right("fit, big-endian", lambda: climb(np.array([1, 2, 6], ">f4")), 3.0, 0.1)
right(
    "fit, a view with negative stride",
    lambda: climb(np.float32([6, 2, 1])[::-1]),
    3.0,
    0.1,
)
right(
    "fit, Fortran order",
    lambda: climb(np.asfortranarray(np.float32([[1, 3], [2, 6]]))),
    3.0,
    0.1,
)
right("fit, float16", lambda: climb(np.float16([1, 2, 6])), 3.0, 0.1)
right("fit, a tensor", lambda: climb(tf.constant([1.0, 2.0, 6.0])), 3.0, 0.1)
right(
    "fit, a stream",
    lambda: climb(tf.data.Dataset.from_tensor_slices(np.float32([1, 2, 6])).batch(3)),
    3.0,
    0.1,
)
refused("fit, a masked array", lambda: climb(masked()))
refused("fit, objects", lambda: climb(np.array([1.0, "a"], object)))
refused("fit, strings", lambda: climb(np.array(["1", "2"])))
refused("fit, NaN", lambda: climb(np.float32([1, np.nan])))
refused("fit, no rows", lambda: climb(np.zeros([0, 2], "float32")))
refused("fit, a scalar", lambda: climb(np.float32(3)))
refused("fit, sparse", lambda: climb(sp.csr_matrix(np.eye(3))))
refused("fit, a generator", lambda: climb(x for x in X))
refused(
    "fit, parts of two lengths",
    lambda: climb((X, X[:2]), lambda batch, seed: tf.reduce_sum(batch[0])),
)
refused("fit, batch_size 0", lambda: climb(X, batch_size=0))
refused("fit, batch_size above the rows", lambda: climb(X, batch_size=4))
refused("fit, batch_size 1.5", lambda: climb(X, batch_size=1.5))
refused("fit, num_steps 0", lambda: climb(X, num_steps=0))
refused("fit, num_steps None", lambda: climb(X, num_steps=None))
refused("fit, no seed", lambda: climb(X, seed=None))
refused("fit, seed 0.5", lambda: climb(X, seed=0.5))
refused("fit, optimizer by name", lambda: climb(X, optimizer="adam"))
refused("fit, shards that do not divide", lambda: climb(X, shards=2))
refused("fit, a schedule nobody asked for", lambda: climb(X, kl_schedule=0.5))
refused(
    "fit, an objective that is no function", lambda: et.fit(3.0, num_steps=1, seed=0)
)
refused(
    "fit, an objective without parameters",
    lambda: et.fit(lambda: tf.constant(1.0), num_steps=1, seed=0),
)
refused(
    "fit, an objective that returns None", lambda: climb(X, lambda batch, seed: None)
)
refused(
    "fit, an objective of ints", lambda: climb(X, lambda batch, seed: tf.constant(1))
)
refused(
    "fit, an objective per sample and datum",
    lambda: climb(X, lambda batch, seed: tf.zeros([2, 3])),
)
refused("fit, a frozen set of variables", lambda: climb(X, trainable_variables=[]))
refused("fit, variables that are arrays", lambda: climb(X, trainable_variables=[X]))


# ----------------------------------------------------------------- settings that change


def changed(make, change, first, second):
    """A number asked for twice, its setting changed in between."""

    def run():
        ask, holder = make()
        before = float(ask())
        np.testing.assert_allclose(before, first, atol=0.1)
        change(holder)
        return ask()

    return run, second


def noisy():
    """log p(x = 1) under noise of a scale that a namespace holds."""
    holder = types.SimpleNamespace(scale=1.0)
    model = et.LatentVariableModel(
        tfd.Normal(0.0, 1.0), lambda z: tfd.Normal(z, holder.scale)
    )
    return model, holder


def log_p(scale):
    return stats.norm.logpdf(1.0, 0, np.sqrt(1 + scale**2))


for method in ("importance", "quadrature", "annealed"):

    def ask(method=method):
        model, holder = noisy()
        q = tfd.Normal([0.5], 1.2) if method == "importance" else None
        extra = {
            "importance": {"surrogate_posterior": q, "sample_size": 20_000},
            "quadrature": {"jit_compile": False},
            "annealed": {
                "sample_size": 400,
                "num_temperatures": 6,
                "jit_compile": False,
            },
        }[method]
        x = tf.constant([1.0])
        return (
            lambda: et.gaps.evidence(model, x, method, seed=0, **extra).estimate[0]
        ), holder

    right(
        f"evidence, {method}, a scale that changed",
        *changed(ask, lambda h: setattr(h, "scale", 3.0), log_p(1.0), log_p(3.0)),
        within=0.1,
    )


def refine_twice():
    model, holder = noisy()
    family = et.families.mean_field(1)
    model = et.LatentVariableModel(
        tfd.MultivariateNormalDiag([0.0], [1.0]),
        lambda z: tfd.Independent(tfd.Normal(z, holder.scale), 1),
    )
    x = tf.constant([[1.0]])

    def ask():
        found = et.gaps.refine(
            lambda x: tf.constant([[2.0, 0.0]]), model, x, family=family, seed=0
        )
        return found.surrogate_posterior.mean()[0, 0]

    return ask, holder


right(
    "refine, a scale that changed",
    *changed(refine_twice, lambda h: setattr(h, "scale", 3.0), 0.5, 0.1),
    within=0.05,
)


def fit_twice():
    cfg, loc = {"beta": [0.0]}, tf.Variable(0.0)

    def objective(seed):
        return et.gradients.reparameterized(
            TOY.log_joint(3.0),
            tfd.Normal(loc, 0.5),
            sample_size=16,
            seed=seed,
            kl_weight=cfg["beta"][0],
        )

    def ask():
        et.fit(
            objective,
            num_steps=800,
            seed=0,
            optimizer=keras.optimizers.Adam(0.03),
            progress=False,
        )
        return loc

    return ask, cfg


# the weighted optimum is x / (1 + beta)
right("fit, a weight in a list in a dict", lambda: _second(fit_twice, 3.0), 1.5, 0.15)


def _second(make, first):
    ask, cfg = make()
    assert abs(float(ask()) - first) < 0.15
    cfg["beta"][0] = 1.0
    return ask()


# ------------------------------------------------------------------ supports of data


def data_elbo(make, x):
    prior = tfd.MultivariateNormalDiag([0.0, 0.0], [1.0, 1.0])
    model = et.LatentVariableModel(prior, lambda z: tfd.Independent(make(z), 1))
    q = tfd.MultivariateNormalDiag(tf.zeros([len(x), 2]), tf.ones([len(x), 2]))
    value = elbo(model.log_joint(x), q, 200)
    if np.isneginf(np.asarray(value)).all():
        raise ValueError("probability zero")
    return value


for name, make, x in [
    ("Bernoulli, grey", lambda z: tfd.Bernoulli(logits=z), np.float32([[0.2, 0.7]])),
    ("Bernoulli, uint8", lambda z: tfd.Bernoulli(logits=z), np.uint8([[200, 3]])),
    ("Poisson, fractions", lambda z: tfd.Poisson(log_rate=z), np.float32([[0.5, 2]])),
    ("Poisson, negative", lambda z: tfd.Poisson(log_rate=z), np.float32([[-1, 2]])),
    (
        "Binomial, above its count",
        lambda z: tfd.Binomial(4, logits=z),
        np.float32([[5, 2]]),
    ),
    ("Geometric, fractions", lambda z: tfd.Geometric(logits=z), np.float32([[0.5, 2]])),
    (
        "NegativeBinomial, fractions",
        lambda z: tfd.NegativeBinomial(3.0, logits=z),
        np.float32([[0.5, 2]]),
    ),
    (
        "Exponential, negative",
        lambda z: tfd.Exponential(tf.exp(z)),
        np.float32([[-1, 2]]),
    ),
    ("Gamma, negative", lambda z: tfd.Gamma(2.0, tf.exp(z)), np.float32([[-1, 2]])),
    ("LogNormal, negative", lambda z: tfd.LogNormal(z, 1.0), np.float32([[-1, 2]])),
    ("Beta, above one", lambda z: tfd.Beta(2.0, tf.exp(z)), np.float32([[1.5, 0.2]])),
]:
    refused(f"data outside, {name}", lambda make=make, x=x: data_elbo(make, x))
for name in ("bernoulli", "binomial", "beta_binomial"):
    extra = () if name == "bernoulli" else (4,)
    refused(
        f"data outside, vae {name}",
        lambda name=name, extra=extra: et.models.vae(
            2, 1, hidden=(3,), likelihood=getattr(et.models, name)(2, *extra), seed=0
        ).model.log_joint(np.float32([[0.5, 7.0]])),
    )


# ------------------------------------------------------------------ q that cannot slide

P = tfd.MixtureSameFamily(
    tfd.Categorical(probs=[0.9, 0.1]), tfd.Normal([-2.0, 2.0], 0.5)
)


def trained(make):
    def run():
        v = tf.Variable([0.0, 0.1])
        q = make(v)
        et.fit(
            lambda seed: et.bounds.elbo(
                et.draw(lambda z: tf.cast(0 * z, tf.float32), q, 8, seed=seed)
            ),
            num_steps=2,
            seed=0,
            progress=False,
        )

    return run


refused("plain ELBO of a Categorical", trained(lambda v: tfd.Categorical(logits=v)))
refused("plain ELBO of a Poisson", trained(lambda v: tfd.Poisson(log_rate=v[0])))
refused("plain ELBO of a Bernoulli", trained(lambda v: tfd.Bernoulli(logits=v[0])))
refused(
    "plain ELBO of a mixture",
    trained(
        lambda v: tfd.MixtureSameFamily(tfd.Categorical(logits=v), tfd.Normal(v, 1.0))
    ),
)
for name in ("reparameterized", "sticking_the_landing", "doubly_reparameterized"):
    refused(
        f"{name} of a Categorical",
        lambda name=name: getattr(et.gradients, name)(
            lambda z: tf.zeros(z.shape), tfd.Categorical(logits=[0.0, 0.0]), seed=0
        ),
    )
    refused(
        f"{name}, sample_size 0",
        lambda name=name: getattr(et.gradients, name)(
            TOY.log_joint(1.0), Q, sample_size=0, seed=0
        ),
    )
refused(
    "leave_one_out of one draw",
    lambda: et.gradients.leave_one_out(TOY.log_joint(1.0), Q, sample_size=1, seed=0),
)
refused(
    "vimco of one draw",
    lambda: et.gradients.vimco(TOY.log_joint(1.0), Q, importance_sample_size=1, seed=0),
)
refused(
    "kl_weight below zero",
    lambda: et.gradients.reparameterized(TOY.log_joint(1.0), Q, kl_weight=-1.0, seed=0),
)
refused(
    "kl_weight of a bare target",
    lambda: et.gradients.reparameterized(lambda z: -(z**2), Q, kl_weight=0.5, seed=0),
)


# ------------------------------------------------------------------ bounds

W = np.log([[1.0], [2.0], [3.0]])


def drawn(log_w):
    return et.Draws(
        None, tf.constant(log_w), tf.zeros_like(log_w), tf.zeros_like(log_w)
    )


right("iwae of three weights", lambda: et.bounds.iwae(drawn(W))[0], np.log(2.0), 1e-9)
right(
    "iwae, weights of e^1e4",
    lambda: et.bounds.iwae(drawn(W + 1e4))[0] - 1e4,
    np.log(2.0),
    1e-6,
)
right("elbo of three weights", lambda: et.bounds.elbo(drawn(W))[0], np.mean(W), 1e-9)
right("renyi, alpha 0", lambda: et.bounds.renyi(drawn(W), 0.0)[0], np.log(2.0), 1e-9)
right("renyi, alpha 1", lambda: et.bounds.renyi(drawn(W), 1.0)[0], np.mean(W), 1e-9)
right(
    "renyi, a NumPy alpha",
    lambda: et.bounds.renyi(drawn(W), np.float32(0))[0],
    np.log(2.0),
    1e-6,
)
refused("renyi, alpha NaN", lambda: et.bounds.renyi(drawn(W), float("nan")))
refused("renyi, alpha as text", lambda: et.bounds.renyi(drawn(W), "0.5"))
refused("standard_error of one draw", lambda: et.bounds.standard_error(drawn(W[:1])))
right(
    "elbo of bare log-weights",
    lambda: et.bounds.elbo(tf.constant(W))[0],
    np.mean(W),
    1e-9,
)
refused("iwae of a tensor of ints", lambda: et.bounds.iwae(np.array([[1], [2]])))
refused("cubo of nothing", lambda: et.bounds.cubo(drawn(W), 0.5))
refused(
    "decompose of a bare target",
    lambda: et.bounds.decompose(lambda z: z, Q, 1.0, seed=0),
)
refused("code_length in pounds", lambda: et.codes.code_length(drawn(W), unit="pounds"))
refused(
    "code_length, dims of 0",
    lambda: et.codes.code_length(drawn(W), unit="bits_per_dim", num_dims=0),
)
right(
    "code_length in bits",
    lambda: et.codes.code_length(drawn(W), unit="bits").mean,
    -np.mean(W) / np.log(2),
    1e-6,
)


# ------------------------------------------------------------------ evidence and gaps

refused(
    "evidence, an unknown method", lambda: et.gaps.evidence(TOY, X, "exactly", seed=0)
)
refused(
    "evidence, sample_size 0", lambda: et.gaps.evidence(TOY, X, sample_size=0, seed=0)
)
refused("evidence of no model", lambda: et.gaps.evidence("model", X, seed=0))
refused(
    "evidence, q outside the support",
    lambda: et.gaps.evidence(
        et.models.gamma_poisson(),
        np.float32([3.0]),
        surrogate_posterior=tfd.Normal([-5.0], 0.1),
        sample_size=100,
        seed=0,
    ),
)
right(
    "k_hat of equal weights",
    lambda: float(et.gaps.k_hat(np.zeros(1_000))) < 0.7,
    True,
    0,
)
right(
    "k_hat of weights over 3,000 nats",
    lambda: float(et.gaps.k_hat(3_000 * RNG.normal(size=2_000))) > 0.7,
    True,
    0,
)
refused("k_hat of four weights", lambda: et.gaps.k_hat(np.zeros(4)))
refused("k_hat of NaN", lambda: et.gaps.k_hat(np.full(100, np.nan)))
refused(
    "jackknife of order 3",
    lambda: et.gaps.jackknife(drawn(np.log(np.ones([50, 1]))), order=3),
)
refused("refine without an encoder", lambda: et.gaps.refine(None, TOY, X, seed=0))
refused("refine, the order mixed up", lambda: et.gaps.refine(TOY, Q, X, seed=0))
refused("gap_report of a number", lambda: et.gaps.gap_report(3, None, X, seed=0))
refused(
    "collapse_report without data",
    lambda: et.gaps.collapse_report(TOY, Q, None, seed=0),
)
refused(
    "vsbc of one run", lambda: et.gaps.vsbc(TOY, lambda x: Q, num_simulations=0, seed=0)
)


# ------------------------------------------------------------------ families

for bad in (0, -1, 1.5, "2", None):
    for make in ("mean_field", "full_rank", "student_t"):
        refused(
            f"{make}, size {bad!r}",
            lambda make=make, bad=bad: getattr(et.families, make)(bad),
        )
refused("mean_field, scale 0", lambda: et.families.mean_field(2, scale=0.0))
refused(
    "mean_field, scale of three for two",
    lambda: et.families.mean_field(2, scale=[1.0, 1.0, 1.0]),
)
refused("mean_field, loc NaN", lambda: et.families.mean_field(2, loc=float("nan")))
refused("low_rank, rank above the size", lambda: et.families.low_rank(2, 3))
refused("mixture of no parts", lambda: et.families.mixture(2, 0))
refused("flow of an unknown kind", lambda: et.families.flow(2, "planar"))
refused(
    "family of too few parameters", lambda: et.families.mean_field(2)(tf.zeros([3]))
)
refused(
    "family of whole parameters",
    lambda: et.families.mean_field(2)(tf.zeros([4], tf.int32)),
)
refused(
    "encoder of the wrong width",
    lambda: et.Encoder(lambda x: tf.zeros([len(x), 3]), et.families.mean_field(2))(
        ROWS
    ),
)
refused("mean_field_for a function", lambda: et.families.mean_field_for(lambda z: z))
right(
    "mean_field of NumPy sizes",
    lambda: et.families.mean_field(np.int64(2)).mean()[0],
    0.0,
    1e-6,
)


def mass(part, size=40_000):
    """log of the mass of a prior, by importance sampling from its own q."""
    joint = tfd.JointDistributionNamed({"a": part})
    q = et.families.mean_field_for(joint, scale=1.0, seed=None)
    return et.bounds.iwae(et.draw(joint.log_prob, q, size, seed=0))


f64 = lambda v: tf.constant(v, tf.float64)  # noqa: E731
for name, part, tol in [
    ("Gamma", tfd.Gamma(f64(2.0), f64(1.0)), 0.15),
    ("Beta", tfd.Beta(f64(2.0), f64(2.0)), 0.05),
    ("HalfNormal", tfd.HalfNormal(f64(1.0)), 0.05),
    ("Uniform", tfd.Uniform(f64(-1.0), f64(2.0)), 0.05),
    ("LogNormal", tfd.LogNormal(f64(0.0), f64(0.5)), 0.05),
    ("Dirichlet", tfd.Dirichlet(f64([2.0, 2.0, 2.0])), 0.05),
    ("LKJ", tfd.LKJ(2, f64(2.0)), 0.05),
    ("LKJ of three", tfd.LKJ(3, f64(2.0)), 0.1),
]:
    right(f"the mass of a {name} prior", lambda part=part: mass(part), 0.0, tol)


# ------------------------------------------------------------------ pins

STARS = tfd.JointDistributionNamed(
    {
        "m": tfd.Normal(0.0, 1.0),
        "x": lambda m: tfd.Independent(tfd.Normal(m[..., None] * tf.ones(3), 1.0), 1),
    }
)
QM = tfd.JointDistributionNamed({"m": tfd.Normal(0.2, 0.5)})
refused(
    "a pin of one row for three",
    lambda: elbo(STARS.experimental_pin(x=np.float32([0.1])), QM),
)
refused(
    "a pin of a number for three",
    lambda: elbo(STARS.experimental_pin(x=np.float32(0.1)), QM),
)
right(
    "a pin of three",
    lambda: elbo(
        STARS.experimental_pin(x=X),
        tfd.JointDistributionNamed({"m": tfd.Normal(X.sum() / 4, 0.5)}),
    ),
    stats.multivariate_normal.logpdf(X, np.zeros(3), np.eye(3) + 1),
    0.01,
)


@pytest.mark.parametrize(("function", "expected", "within"), CASES)
def test_a_misuse_is_right_or_refused(function, expected, within):
    if expected is REFUSED:
        with pytest.raises(ValueError) as caught:
            function()
        assert len(str(caught.value)) > 20
    else:
        value = np.mean(np.asarray(function(), np.float64))
        assert np.isfinite(value) and abs(value - expected) <= within


def test_the_list_is_long_enough():
    assert len(CASES) >= 150
