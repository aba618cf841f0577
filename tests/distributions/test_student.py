"""Student-t draws: the law, its tails, its gradients, and no loop in the program."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from elbo_tfp import families
from elbo_tfp.distributions import StudentT

F64 = tf.float64
DFS = [0.5, 1.0, 2.0, 4.5, 30.0, 1e3, 1e6]


def c(value, dtype=F64):
    return tf.constant(value, dtype)


def test_draws_have_the_law():
    for dtype in (tf.float32, F64):
        q = StudentT(c(DFS, dtype), c(-1.0, dtype), c(2.0, dtype))
        draws = (q.sample(200_000, seed=(3, 1)).numpy() + 1) / 2
        assert q.sample(2, seed=1).shape == [2, 7] and draws.dtype == dtype.name
        for df, column in zip(DFS, draws.T, strict=True):
            # 200,000 draws see a distance of .005 between distribution functions
            assert stats.kstest(column.astype(float), stats.t(df).cdf).pvalue > 1e-3
            # beyond the 1e-4 quantile: 20 on each side, standard error 4.5
            far = stats.t(df).isf(1e-4)
            counts = [(column > far).sum(), (column < -far).sum()]
            assert max(abs(np.array(counts) - 20)) < 4 * 4.5


def test_the_test_of_the_law_can_fail():
    draws = StudentT(c(4.5), c(0.0), c(1.0)).sample(200_000, seed=(3, 1)).numpy()
    assert stats.kstest(draws, stats.t(5.5).cdf).pvalue < 1e-3


def test_a_light_tail_is_that_of_a_normal():
    z = StudentT(1e6, 0.0, 1.0).sample(200_000, seed=2).numpy()
    assert stats.kstest(z.astype(float), "norm").pvalue > 1e-3
    assert np.isfinite(StudentT(0.5, 0.0, 1.0).sample(10**6, seed=2)).all()


def test_the_gradient_in_df_is_that_of_the_quantile():
    # E[h'(T) dT/d df] = d/d df E h(T), here by quantiles in float64; h = arctan(T)^2
    for df in (0.5, 1.0, 4.5, 30.0):
        at = c(df)
        with tf.GradientTape() as tape:
            tape.watch(at)
            t = StudentT(tf.fill([10**6], at), c(0.0), c(1.0)).sample(seed=5)
            h = tf.square(tf.atan(t))
            total = tf.reduce_sum(h)
        slope = tape.gradient(total, at) / 10**6
        u = (np.arange(200_000) + 0.5) / 200_000
        up, down = (
            np.mean(np.arctan(stats.t(df * f).ppf(u)) ** 2) for f in (1.01, 0.99)
        )
        meant = (up - down) / (0.02 * df)
        with tf.GradientTape() as tape:
            each = tf.fill([10**5], at)
            tape.watch(each)
            h = tf.square(tf.atan(StudentT(each, c(0.0), c(1.0)).sample(seed=6)))
        error = tape.gradient(h, each).numpy().std() / 1e3
        assert abs(slope - meant) < 4 * error
        assert error < 0.02 * abs(meant)  # a fault of 8% would be seen


@pytest.mark.parametrize("dtype", [tf.float32, F64])
def test_each_draw_is_differentiated_exactly(dtype):
    def draw(df, loc, scale):
        return StudentT(df, loc, scale).sample(500, seed=(1, 2))

    for df in (0.5, 3.0, 40.0, 1e4, 1e6):
        here = [c(df, dtype), c(0.3, dtype), c(1.7, dtype)]
        wide = [c(float(v)) for v in here]
        got = tfp.math.value_and_gradient(lambda *a: draw(*a)[7], here)[1]
        # one draw of the float64 formula at the same uniforms
        from elbo_tfp.ground.seeds import uniform

        u, v = (float(w[7]) for w in uniform([2, 500], (1, 2), dtype))

        def t(df, u=u, v=v):
            s = -np.log(np.longdouble(u)) / df
            return np.sqrt(df * np.expm1(2 * s)) * np.cos(2 * np.pi * v)

        step = np.longdouble(df) * np.longdouble(1e-5)
        slope = 1.7 * (t(df + step) - t(df - step)) / (2 * step)
        value = float(draw(*here)[7])
        tol = 3e-5 if dtype == tf.float32 else 1e-6
        np.testing.assert_allclose(float(got[0]), float(slope), rtol=tol)
        np.testing.assert_allclose(float(got[1]), 1)
        np.testing.assert_allclose(float(got[2]), (value - 0.3) / 1.7, rtol=1e-5)
        assert wide[0].dtype == F64


def test_no_loop_no_rejection_and_the_same_numbers_compiled():
    q = families.student_t(3, df=4.0, batch_shape=[2])

    def step(parameters):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            z, log_q = q(parameters).experimental_sample_and_log_prob(5, seed=(1, 2))
            total = tf.reduce_sum(log_q) + tf.reduce_sum(z)
        return z, tape.gradient(total, parameters)

    start = q.free_parameters.value()
    compiled = tf.function(step, autograph=False, jit_compile=True)
    for one, other in zip(step(start), compiled(start), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-5)
    assert not re.search(r"\bwhile\b|custom-call", _hlo(compiled, start))
    theirs = tfp.distributions.StudentT(4.0, tf.zeros([3]), 1.0)
    gamma = tf.function(lambda s: theirs.sample(5, seed=s), jit_compile=True)
    assert re.search(r"\bwhile\b", _hlo(gamma, tf.constant([1, 2])))


def _hlo(function, *arguments):
    return function.experimental_get_compiler_ir(*arguments)(stage="hlo")


def test_shapes_unknown_at_tracing():
    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([], tf.int32)])
    def draws(df, n):
        return StudentT(df, 0.0, 1.0).sample(n, seed=(1, 2))

    assert draws(tf.constant([3.0, 4.0]), 5).shape == [5, 2]
    np.testing.assert_array_equal(
        draws(tf.constant([3.0, 4.0]), 5),
        StudentT(tf.constant([3.0, 4.0]), 0.0, 1.0).sample(5, seed=(1, 2)),
    )


@pytest.mark.parametrize(
    ("df", "scale", "name"),
    [
        (0.0, 1.0, "df"),
        (np.nan, 1.0, "df"),
        (3.0, -1.0, "scale"),
        ([3.0, -2.0], 1.0, "df"),
    ],
)
def test_parameters_that_make_no_distribution_are_errors(df, scale, name):
    with pytest.raises(ValueError, match=f"expected {name} of StudentT to be positive"):
        StudentT(c(df), c(0.0), c(scale))


def test_parameters_of_several_dtypes_are_an_error():
    with pytest.raises(ValueError, match="one dtype; got .*float32.*float64.*Cast"):
        StudentT(c(3.0, tf.float32), 0.0, c(1.0))
    assert StudentT(3.0, 0, c(1.0)).dtype == F64
