"""Paths of Gaussian states integrated out, against the dense Gaussian of everything."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

import elbo_tfp as et
from elbo_tfp import marginals
from tests.statistics import assert_mean, says

tfd = tfp.distributions
one = np.ones([])
T = 5


def dense(start, spread, f, b, q, h, c, r):
    """Mean and covariance of (z_1 ... z_T) and of x, by plain linear algebra.

    Lists of matrices over time; x is stacked step by step.
    """
    steps, k = len(h), len(start)
    mean, cov = [start], np.zeros([steps, k, steps, k])
    cov[0, :, 0] = spread
    for t in range(steps - 1):
        mean.append(f[t] @ mean[-1] + b[t])
        cov[t + 1, :, : t + 1] = np.einsum("ij,jsk->isk", f[t], cov[t, :, : t + 1])
        cov[: t + 1, :, t + 1] = np.einsum("isk->ski", cov[t + 1, :, : t + 1])
        cov[t + 1, :, t + 1] = f[t] @ cov[t, :, t] @ f[t].T + q[t]
    mean, cov = np.concatenate(mean), cov.reshape(steps * k, steps * k)
    seen, noise = (
        np.zeros([steps * h[0].shape[0], steps * n]) for n in (k, h[0].shape[0])
    )
    for t in range(steps):
        rows = slice(t * h[0].shape[0], (t + 1) * h[0].shape[0])
        seen[rows, t * k : (t + 1) * k] = h[t]
        noise[rows, rows] = r[t]
    return mean, cov, seen @ mean + np.concatenate(c), seen, noise


def exact_answers(x, *matrices):
    """log p(x), and the mean and covariance of the whole path given x."""
    mean, cov, x_mean, seen, noise = dense(*matrices)
    total = seen @ cov @ seen.T + noise
    gain = np.linalg.solve(total, seen @ cov).T
    log_p = stats.multivariate_normal(x_mean, total).logpdf(x.ravel())
    return log_p, mean + gain @ (x.ravel() - x_mean), cov - gain @ seen @ cov


def tracking(steps=T):
    """Two states, three data a step, full covariances and offsets."""
    f, root = np.array([[0.9, 0.2], [-0.1, 0.7]]), np.array([[0.5, 0.0], [0.1, 0.4]])
    h, r = np.array([[1.0, 0.3], [0.0, 2.0], [1.0, -1.0]]), np.array([0.5, 0.6, 0.7])
    b, c = np.array([0.1, 0.2]), np.array([0.0, -1.0, 0.4])
    start, first = np.array([0.3, -0.2]), np.array([[1.0, 0.0], [0.5, 0.8]])
    model = et.LatentVariableModel(
        tfd.MarkovChain(
            tfd.MultivariateNormalTriL(start, first),
            lambda t, z: tfd.MultivariateNormalTriL(tf.linalg.matvec(f, z) + b, root),
            steps,
        ),
        lambda z: tfd.Independent(
            tfd.MultivariateNormalDiag(tf.linalg.matvec(h, z) + c, r), 1
        ),
    )
    many = [[v] * steps for v in (f, b, root @ root.T, h, c, np.diag(r**2))]
    return model, (start, first @ first.T, *many)


@pytest.fixture(scope="module")
def tracked():
    """Every answer about a vector state; draws are compiled, evidence is below."""
    model, matrices = tracking()
    small, x = marginals.kalman(model), np.random.default_rng(0).normal(size=[2, T, 3])

    @tf.function(jit_compile=True)
    def drawn():
        return small.posterior(x).sample(4000, seed=(0, 1))

    many = drawn()

    @tf.function
    def answers():
        found = small.posterior(x)
        return {
            "many": many,
            "log_p": small.log_evidence(x),
            "repeated": small.log_joint(x)(tf.zeros([4, 2, 0], tf.float64)),
            "mean": found.mean(),
            "covariance": found.covariance(),
            "stddev": found.stddev(),
            "log_q": found.log_prob(many[:3]),
            "joint": model.log_joint(x)(many[:3]),
            "data": small.sample(4000, seed=0)[1],
        }

    found = {k: v.numpy() for k, v in answers().items()}
    return x, matrices, found, small


def test_evidence_smoother_and_paths_of_a_vector_state(tracked):
    x, matrices, found, small = tracked
    assert found["many"].shape == (4000, 2, T, 2)
    for i in range(2):
        log_p, mean, cov = exact_answers(x[i], *matrices)
        assert abs(found["log_p"][i] - log_p) < 1e-8
        np.testing.assert_allclose(found["mean"][i], mean.reshape(T, 2), atol=1e-10)
        for t in range(T):
            block = cov[2 * t : 2 * t + 2, 2 * t : 2 * t + 2]
            np.testing.assert_allclose(found["covariance"][i, t], block, atol=1e-10)
        stddev = np.sqrt(np.diag(cov)).reshape(T, 2)
        np.testing.assert_allclose(found["stddev"][i], stddev, atol=1e-10)
        flat = found["many"][:3, i].reshape(3, -1)
        exact = stats.multivariate_normal(mean, cov).logpdf(flat)
        np.testing.assert_allclose(found["log_q"][:, i], exact, atol=1e-8)
    log_p = np.tile(found["log_p"], [4, 1])
    np.testing.assert_allclose(found["repeated"], log_p, atol=1e-10)
    # the larger model's density divided by the path's: the evidence, at any path
    ratio = found["joint"] - found["log_q"]
    np.testing.assert_allclose(ratio, log_p[:3], atol=1e-8)
    np.testing.assert_allclose(small.log_evidence(x), found["log_p"], atol=1e-10)


def test_the_steps_backwards_make_the_exact_path(tracked):
    x, matrices, _, small = tracked
    offsets, gains, roots = (t.numpy() for t in small.posterior(x)._backwards())
    for i in range(2):
        _, mean, cov = exact_answers(x[i], *matrices)
        cov = cov.reshape(T, 2, T, 2).transpose(0, 2, 1, 3)
        later, blocks = offsets[-1, i], {}
        for t in range(T)[::-1]:
            own = roots[t, i] @ roots[t, i].T
            # z_t = offset_t + J_t z_t+1 + root_t noise
            if t < T - 1:
                later = offsets[t, i] + gains[t, i] @ later
                own = own + gains[t, i] @ blocks[t + 1, t + 1] @ gains[t, i].T
                for s in range(t + 1, T):
                    blocks[t, s] = gains[t, i] @ blocks[t + 1, s]
            blocks[t, t] = own
            np.testing.assert_allclose(later, mean.reshape(T, 2)[t], atol=1e-10)
        for (t, s), block in blocks.items():
            np.testing.assert_allclose(block, cov[t, s], atol=1e-10)


def test_draws_have_the_mean_and_covariance_of_paths_and_of_data(tracked):
    x, matrices, found, _ = tracked
    _, mean, cov = exact_answers(x[0], *matrices)
    centred = found["many"][:, 0].reshape(4000, -1) - mean
    assert_mean(centred, 0.0, fault=0.1)
    assert_mean(centred[:, :, None] * centred[:, None], cov, fault=0.1)
    _, spread, x_mean, seen, noise = dense(*matrices)
    centred = found["data"].reshape(4000, -1) - x_mean
    total = seen @ spread @ seen.T + noise
    assert_mean(centred[:, :, None] * centred[:, None], total, fault=1.5)


def walk():
    """A scalar state with a latent step size; drift and noise change with time."""
    drift, noise = np.array([0.0, 1.0, -1.0, 2.0]), np.array([1.0, 0.5, 2.0, 1.0, 0.7])

    def path(s):
        def move(t, z):
            # in log_prob all steps come at once, and lead
            now = tf.gather(drift, t)
            now = tf.reshape(now, now.shape + [1] * (z.shape.rank - now.shape.rank))
            return tfd.Normal(0.8 * z + now, s)

        return tfd.MarkovChain(tfd.Normal(0 * s, 2 * s), move, T)

    prior = tfd.JointDistributionNamed(
        {"s": tfd.LogNormal(0 * one, 0.4), "z": path, "m": tfd.Normal(0 * one, 1.0)}
    )
    model = et.LatentVariableModel(
        prior,
        lambda z: tfd.Independent(
            tfd.Normal(1.5 * z["z"] + z["m"][..., None], noise), 1
        ),
    )

    def matrices(s, m):
        eye = np.eye(1)
        return (
            np.zeros(1),
            4 * s**2 * eye,
            [0.8 * eye] * T,
            [np.array([v]) for v in drift],
            [s**2 * eye] * T,
            [1.5 * eye] * T,
            [np.array([m])] * T,
            [v**2 * eye for v in noise],
        )

    return model, matrices


def test_scalar_states_that_depend_on_time_and_on_other_latents():
    model, matrices = walk()
    small = marginals.kalman(model, "z")
    x = np.random.default_rng(1).normal(size=[2, T])
    s, m = np.array([[0.5, 1.2], [2.0, 0.7], [1.0, 1.0]]), np.full([3, 2], 0.3)
    z = {"s": tf.constant(s), "m": tf.constant(m)}
    log_p = small.log_joint(x)(z)
    after = small.conditional(z, x)
    whole = small.complete(z, x, seed=0)
    assert whole["z"].shape == (3, 2, T)
    for i, j in itertools.product(range(3), range(2)):
        exact, mean, cov = exact_answers(x[j], *matrices(s[i, j], 0.3))
        prior = stats.lognorm(0.4).logpdf(s[i, j]) + stats.norm.logpdf(0.3)
        assert abs(log_p[i, j] - exact - prior) < 1e-8
        np.testing.assert_allclose(after.mean()[i, j], mean, atol=1e-9)
        np.testing.assert_allclose(
            after.stddev()[i, j], np.sqrt(np.diag(cov)), atol=1e-9
        )
    ratio = model.log_joint(x)(whole) - after.log_prob(whole["z"])
    np.testing.assert_allclose(ratio, log_p, atol=1e-8)
    more = after.sample(4, seed=1)
    assert more.shape == (4, 3, 2, T) and after.log_prob(more).shape == (4, 3, 2)
    simulated, data = small.sample(6, seed=0)
    assert simulated["s"].shape == (6,) and data.shape == (6, T)


def switching():
    """A linear model whose coefficient and noise jump with a hidden regime."""
    coefficient, scale = np.array([0.95, -0.5]), np.array([0.3, 1.0])
    stay = np.array([[0.9, 0.1], [0.2, 0.8]])

    def path(k):
        first = tf.einsum("...t->t...", k)

        def move(t, z):
            regime = tf.gather(first, t + 1)
            return tfd.Normal(
                tf.gather(coefficient, regime) * z, tf.gather(scale, regime)
            )

        return tfd.MarkovChain(
            tfd.Normal(0.0 * tf.cast(first[0], tf.float64), 1), move, T
        )

    prior = tfd.JointDistributionNamed(
        {
            "k": tfd.MarkovChain(
                tfd.Categorical(probs=[0.5 * one, 0.5]),
                lambda t, k: tfd.Categorical(probs=tf.gather(stay, k)),
                T,
            ),
            "z": path,
        }
    )
    return et.LatentVariableModel(
        prior, lambda z: tfd.Independent(tfd.Normal(z["z"], 0.4 * one), 1)
    ), (coefficient, scale, stay)


def test_a_switching_linear_model_given_its_regimes_and_then_without():
    model, (coefficient, scale, stay) = switching()
    small = marginals.kalman(model, "z")
    x = np.random.default_rng(2).normal(size=[1, T])
    paths = np.array(list(itertools.product([0, 1], repeat=T)), np.int32)
    exact = []
    for k in paths:
        matrices = (
            np.zeros(1),
            np.eye(1),
            [coefficient[j] * np.eye(1) for j in k[1:]],
            [np.zeros(1)] * T,
            [scale[j] ** 2 * np.eye(1) for j in k[1:]],
            [np.eye(1)] * T,
            [np.zeros(1)] * T,
            [0.16 * np.eye(1)] * T,
        )
        prior = np.log(0.5) + np.log(stay[k[:-1], k[1:]]).sum()
        exact.append(prior + exact_answers(x[0], *matrices)[0])
    found = small.log_joint(x)(paths[:, None])
    np.testing.assert_allclose(found[:, 0], exact, atol=1e-8)
    nothing = marginals.enumerate_discrete(small, support={"z": paths})
    np.testing.assert_allclose(
        nothing.log_evidence(x), [special.logsumexp(exact)], atol=1e-8
    )


def test_gradients_of_parameters_when_compiled():
    a = tf.Variable(0.8, dtype=tf.float64)
    model = et.LatentVariableModel(
        lambda: tfd.MarkovChain(
            tfd.Normal(0 * one, 1.0), lambda t, z: tfd.Normal(a * z, 0.5 * one), T
        ),
        lambda z: tfd.Independent(tfd.Normal(z, 0.3 * one), 1),
    )
    small, x = marginals.kalman(model), np.random.default_rng(3).normal(size=[1, T])

    @tf.function(jit_compile=True)
    def slope():
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(small.log_evidence(x))
        return tape.gradient(value, a)

    def exact(v):
        eye, zero = np.eye(1), [np.zeros(1)] * T
        steps = (
            [v * eye] * T,
            zero,
            [0.25 * eye] * T,
            [eye] * T,
            zero,
            [0.09 * eye] * T,
        )
        return exact_answers(x[0], np.zeros(1), eye, *steps)[0]

    difference = (exact(0.8 + 1e-5) - exact(0.8 - 1e-5)) / 2e-5
    assert abs(slope() - difference) < 1e-7


def test_one_step_and_float32():
    model, matrices = tracking(1)
    x = np.array([[[0.3, 1.0, -0.5]]])
    small = marginals.kalman(model)
    exact = exact_answers(x[0], *matrices)[0]
    np.testing.assert_allclose(small.log_evidence(x), [exact], atol=1e-10)
    assert small.posterior(x).sample(seed=0).shape == (1, 1, 2)
    model = et.LatentVariableModel(
        tfd.MarkovChain(tfd.Normal(0.0, 1.0), lambda t, z: tfd.Normal(z, 1.0), 3),
        lambda z: tfd.Independent(tfd.Normal(z, 1.0), 1),
    )
    found = marginals.kalman(model).log_evidence(np.zeros([1, 3], np.float32))
    cov = np.minimum.outer([1, 2, 3], [1, 2, 3]) + np.eye(3)
    exact = stats.multivariate_normal(np.zeros(3), cov).logpdf(np.zeros(3))
    assert found.dtype == tf.float32 and abs(found[0] - exact) < 1e-5


def series(likelihood=None, move=None, start=None):
    start = start or tfd.Normal(0 * one, 1.0)
    move = move or (lambda t, z: tfd.Normal(0.5 * z, one))
    likelihood = likelihood or (lambda z: tfd.Independent(tfd.Normal(z, one), 1))
    return et.LatentVariableModel(tfd.MarkovChain(start, move, 3), likelihood)


def shifted(z):
    return tfd.Independent(tfd.Normal(tf.roll(z, 1, -1), one), 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (et.models.normal_normal(), ["'z' to be a tfd.MarkovChain", "Normal"]),
        (
            series(move=lambda t, z: tfd.Normal(tf.sin(z), one)),
            ["mean of the moves is not affine in 'z'"],
        ),
        (
            series(move=lambda t, z: tfd.Normal(z, tf.exp(z))),
            ["covariance of the moves depends on 'z'"],
        ),
        (
            series(lambda z: tfd.Independent(tfd.Normal(z**2, one), 1)),
            ["mean of the data is not affine in 'z'"],
        ),
        (series(shifted), ["mean of the data is not affine in 'z'"]),
        (
            series(
                lambda z: tfd.Independent(tfd.Normal(1e3 + tf.sin(2 * z), 0.1), 1),
                lambda t, z: tfd.Normal(z, 0.5),
                tfd.Normal(0.0, 1.0),
            ),
            ["mean of the data is not affine in 'z'"],
        ),
        (
            series(
                lambda z: tfd.Independent(tfd.Normal(z, 1.0), 1),
                lambda t, z: tfd.Normal(0.5 * z + 0.1 * z**2, 1.0),
                tfd.Normal(0.0, 1.0),
            ),
            ["mean of the moves is not affine in 'z'"],
        ),
        (
            series(lambda z: tfd.Independent(tfd.Normal(z, tf.exp(z)), 1)),
            ["covariance of the data depends on 'z'"],
        ),
        (
            series(move=lambda t, z: tfd.Laplace(z, one)),
            ["a Gaussian for 'z'", "Laplace"],
        ),
        (
            series(lambda z: tfd.Independent(tfd.StudentT(3 * one, z, one), 1)),
            ["likelihood of a series", "T=3", "StudentT"],
        ),
        (
            series(lambda z: tfd.Normal(z[..., 0], one)),
            ["likelihood of a series", "event shape ()"],
        ),
        (
            series(move=lambda t, z: tfd.Normal(z, 0 * one)),
            ["full rank", "covariance of the moves"],
        ),
        (
            series(
                start=tfd.Independent(tfd.Normal(np.zeros([2, 2]), 1.0), 2),
                move=lambda t, z: tfd.Independent(tfd.Normal(z, one), 2),
            ),
            ["scalars or vectors", "(2, 2)"],
        ),
    ],
)
def test_errors_say_what_is_not_linear_gaussian_or_no_chain(model, message):
    with says(*message):
        marginals.kalman(model)


def test_errors_about_the_other_latents():
    def chain():
        return tfd.MarkovChain(
            tfd.Normal(0 * one, 1.0), lambda t, z: tfd.Normal(z, one), 3
        )

    tied = tfd.JointDistributionNamed(
        {"z": chain(), "v": lambda z: tfd.Normal(z[..., 0], 1.0)}
    )
    with says("another latent depends on 'z'"):
        marginals.kalman(
            et.LatentVariableModel(
                tied, lambda z: tfd.Independent(tfd.Normal(z["z"], one), 1)
            ),
            "z",
        )
    two = tfd.JointDistributionNamed({"z": chain(), "v": chain()})
    model = et.LatentVariableModel(
        two, lambda z: tfd.Independent(tfd.Normal(z["z"] + z["v"], one), 1)
    )
    with says("one chain to integrate", "['z', 'v']"):
        marginals.kalman(model, ["z", "v"])


def test_data_of_another_precision_or_length():
    model, _ = tracking()
    small = marginals.kalman(model)
    with says("likelihood's dtype float64", "got float32"):
        small.log_evidence(np.zeros([2, T, 3], "float32"))
    with says("one number per sample and datum", f"(2, {T - 1}, 3)"):
        small.log_evidence(np.zeros([2, T - 1, 3]))


def local_level(seen=None):
    """The Nile's model; years that are not seen are masked."""
    chain = tfd.MarkovChain(
        tfd.Normal(1000 * one, 300.0),
        lambda t, z: tfd.Normal(z, np.sqrt(1469.1)),
        100,
    )

    def likelihood(z):
        flow = tfd.Normal(z, np.sqrt(15099.0))
        return tfd.Independent(flow if seen is None else tfd.Masked(flow, seen), 1)

    return et.LatentVariableModel(chain, likelihood)


def test_the_nile_whole_and_with_years_missing():
    y = et.data.nile(dtype="float64").y
    whole = marginals.kalman(local_level())
    # graphs, since a hundred steps one by one take ten times as long
    found = tf.function(whole.log_evidence)(y)
    assert abs(found - -639.256566) < 1e-6
    seen = np.ones(100, bool)
    seen[[0, 20, 21, 22, 60, 99]] = False
    small, hidden = marginals.kalman(local_level(seen)), np.where(seen, y, 1e6)
    level = 300**2 + 1469.1 * np.minimum.outer(np.arange(100), np.arange(100))
    total = (level + 15099 * np.eye(100))[np.ix_(seen, seen)]
    of_seen = stats.multivariate_normal(np.full(seen.sum(), 1000.0), total)

    @tf.function
    def answers():
        after = small.posterior(hidden)
        path = after.sample(seed=0)
        moments = after.mean(), after.stddev()
        densities = small.log_evidence(hidden), after.log_prob(path)
        return *densities, *moments, path, small.sample(3, seed=0)[1]

    log_p, log_q, mean, stddev, path, data = (v.numpy() for v in answers())
    assert abs(log_p - of_seen.logpdf(y[seen])) < 1e-8
    gain = np.linalg.solve(total, level[seen]).T
    exact = 1000 + gain @ (y[seen] - 1000), level - gain @ level[seen]
    np.testing.assert_allclose(mean, exact[0], rtol=1e-9)
    np.testing.assert_allclose(stddev, np.diag(exact[1]) ** 0.5, rtol=1e-9)
    assert abs(log_q - stats.multivariate_normal(*exact).logpdf(path)) < 1e-7
    assert (data[:, ~seen] == 0).all() and (data[:, seen] != 0).all()


@pytest.mark.parametrize("what", ["coordinates", "steps"])
def test_hidden_parts_of_a_vector_series_and_their_gradients(what):
    f, h, r = np.array([[0.9, 0.2], [-0.1, 0.7]]), np.eye(3, 2) + 0.3, [0.5, 0.6, 0.7]
    a = tf.Variable(1.0, dtype=tf.float64)
    seen = np.random.default_rng(0).random([T, 3]) < 0.6
    seen = np.tile(seen[:, :1], 3) if what == "steps" else seen

    def likelihood(z):
        mean = a * tf.linalg.matvec(h, z)
        if what == "steps":
            x = tfd.Masked(tfd.MultivariateNormalDiag(mean, r), seen[:, 0])
            return tfd.Independent(x, 1)
        return tfd.Independent(tfd.Masked(tfd.Normal(mean, r), seen), 2)

    chain = tfd.MarkovChain(
        tfd.MultivariateNormalDiag(np.zeros(2), np.ones(2)),
        lambda t, z: tfd.MultivariateNormalDiag(tf.linalg.matvec(f, z), np.ones(2)),
        T,
    )
    small = marginals.kalman(et.LatentVariableModel(chain, likelihood))
    x = np.random.default_rng(1).normal(size=[2, T, 3])

    def exact(v):
        steps = (np.zeros(2), np.eye(2), np.zeros(3), np.eye(2), np.diag(r) ** 2)
        zero, eye, c, q, noise = ([m] * T for m in steps)
        many = [f] * T, zero, q, [v * h] * T, c, noise
        _, cov, _, rows, spread = dense(np.zeros(2), eye[0], *many)
        total = (rows @ cov @ rows.T + spread)[np.ix_(seen.ravel(), seen.ravel())]
        density = stats.multivariate_normal(np.zeros(len(total)), total)
        return density.logpdf(x[:, seen]).sum()

    @tf.function(jit_compile=what == "steps")
    def slope():
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(small.log_evidence(x))
        return value, tape.gradient(value, a)

    value, gradient = slope()
    assert abs(value - exact(1.0)) < 1e-8
    assert abs(gradient - (exact(1 + 1e-5) - exact(1 - 1e-5)) / 2e-5) < 1e-6


@pytest.mark.parametrize("drift", [1.0, 0.7])
@pytest.mark.parametrize("level", [0.0, 1e3, 1e6])
def test_in_float32_a_level_costs_no_digits(level, drift):
    # around a distant level, written so that the level cancels
    now, first, noise, spread = np.float32([level, 2, 0.5, 0.3])
    model = et.LatentVariableModel(
        tfd.MarkovChain(
            tfd.Normal(now, first),
            lambda _, z: tfd.Normal(now + np.float32(drift) * (z - now), spread),
            30,
        ),
        lambda z: tfd.Independent(tfd.Normal(z, noise), 1),
    )
    x = np.random.default_rng(0).normal(0, 2, [30, 1]).astype(np.float32) + now
    # the same in float64, without the level
    log_p, mean, _ = exact_answers(
        x.astype(float) - level, np.zeros(1), np.array([[4.0]]),
        [np.array([[drift]])] * 29, [np.zeros(1)] * 29, [np.array([[0.09]])] * 29,
        [np.eye(1)] * 30, [np.zeros(1)] * 30, [np.array([[0.25]])] * 30,
    )  # fmt: skip
    small = marginals.kalman(model)
    x = x[np.newaxis, :, 0]
    np.testing.assert_allclose(small.log_evidence(x)[0], log_p, rtol=1e-5)
    found, ulp = small.posterior(x), np.spacing(now)
    np.testing.assert_allclose(found.mean()[0] - now, mean, atol=ulp + 1e-5)
    drawn = found.sample(20_000, seed=0)[:, 0] - now
    error = 4 * found.stddev()[0] / 20_000**0.5
    assert np.all(np.abs(np.mean(drawn, 0) - mean) < error + ulp)
