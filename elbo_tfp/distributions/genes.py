"""Counts without an upper end: Poisson, negative binomial, with more zeros, log-normal.

TFP's negative binomial subtracts log-gamma functions of nearly equal size, and its
sampler does not compile under XLA. Here log-densities are sums of deviances, none of
which cancels (Loader 2000), and samplers are loops of their own.

It is longer than most modules: four distributions share one form and its helpers.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.base import Base
from elbo_tfp.distributions.counts import is_count
from elbo_tfp.ground.seeds import fold_in, split_seed, standard_normal, uniform

tfd, tfm = tfp.distributions, tfp.math
_LEAST = 1e-12
"""Means and dispersions below it count as it."""


class _Counts(Base):
    """What the four share: named parameters that broadcast, whole numbers from 0."""

    def __init__(self, name, **parameters):
        first = tf.convert_to_tensor(next(iter(parameters.values())))
        for key, value in parameters.items():
            setattr(self, f"at_{key}", tf.convert_to_tensor(value, first.dtype))
        parameters = {k: getattr(self, f"at_{k}") for k in parameters}
        self._numbers = tuple(parameters.values())
        super().__init__({**parameters, "name": name}, first.dtype, (), False, name)

    def _batch_shape(self):
        shapes = [value.shape for value in self._numbers]
        return functools.reduce(tf.broadcast_static_shape, shapes)

    def _batch_shape_tensor(self):
        shapes = [tf.shape(value) for value in self._numbers]
        return functools.reduce(tf.broadcast_dynamic_shape, shapes)

    def _log_prob(self, x):
        x = tf.cast(x, self.dtype)
        possible = is_count(math.inf)(x) & tf.math.is_finite(x)
        log_mass = self._log_mass(tf.where(possible, x, tf.zeros_like(x)))
        return tf.where(possible, log_mass, tf.cast(-math.inf, self.dtype))

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self.batch_shape_tensor()], 0)
        static = tf.TensorShape([tf.get_static_value(n)]).concatenate(self.batch_shape)
        return tf.ensure_shape(self._draw(shape, seed), static)


class Poisson(_Counts):
    """Poisson(mean); a mean below 1e-12 counts as 1e-12.

    Args:
        mean: positive, any shape, floating.
    """

    def __init__(self, mean, name="Poisson"):
        super().__init__(name, mean=mean)

    def _log_mass(self, x):
        m, positive = tf.maximum(self.at_mean, _LEAST), tf.where(x > 0, x, 1.0)
        # log p = -delta(x) - D(x, m) - log(2 pi x) / 2, and -m at 0
        log_mass = (
            -stirling_error(positive)
            - deviance(positive, m, m - positive, (positive - m) / (positive + m))
            - 0.5 * tf.math.log(2 * math.pi * positive)
        )
        return tf.where(x > 0, log_mass, -m)

    def _draw(self, shape, seed):
        return poisson_draws(tf.broadcast_to(self.at_mean, shape), seed)

    def _mean(self):
        return self.at_mean

    def _variance(self):
        return self.at_mean


class NegativeBinomial(_Counts):
    """A Poisson count whose rate is Gamma: variance mean + dispersion mean^2.

    Args:
        mean: positive, any shape, floating.
        dispersion: positive, broadcasts against it; 1 / dispersion is r, the shape of
            the Gamma and SciPy's `n`. Either below 1e-12 counts as 1e-12.

    Source: Loader (2000), Fast and accurate computation of binomial probabilities.
    """

    def __init__(self, mean, dispersion, name="NegativeBinomial"):
        super().__init__(name, mean=mean, dispersion=dispersion)

    def _log_mass(self, x):
        m = tf.maximum(self.at_mean, _LEAST)
        a = tf.maximum(self.at_dispersion, _LEAST)
        r, y = 1 / a, tf.where(x > 0, x, 1.0)
        # with n = y + r and p = r / (r + m): the binomial of r among n, times r / n
        n, ratio = y + r, (y + r) / (r + m)
        failures = deviance(
            r, r * ratio, r * (y - m) / (r + m), (m - y) / (m + y + 2 * r)
        )
        gap = r * (m - y)
        successes = deviance(
            y, m * ratio, gap / (r + m), -gap / (y * r + 2 * y * m + r * m)
        )
        log_mass = (
            stirling_error(n)
            - stirling_error(r)
            - stirling_error(y)
            - failures
            - successes
            - 0.5 * tf.math.log(2 * math.pi * y * (n / r))
        )
        # (1 + a m)^(-1 / a) at 0
        return tf.where(x > 0, log_mass, -r * tf.math.log1p(a * m))

    def _draw(self, shape, seed):
        one, two = split_seed(seed)
        a = tf.broadcast_to(tf.maximum(self.at_dispersion, _LEAST), shape)
        rate = tf.exp(log_gamma_draws(1 / a, one) + tf.math.log(a)) * self.at_mean
        return poisson_draws(rate, two)

    def _mean(self):
        return self.at_mean * tf.ones_like(self.at_dispersion)

    def _variance(self):
        return self.at_mean + self.at_dispersion * self.at_mean**2


class ZeroInflatedNegativeBinomial(_Counts):
    """0 with probability sigmoid(zero_logits), else negative binomial.

    Args:
        mean: of the negative binomial.
        dispersion: of the negative binomial.
        zero_logits: any, broadcasts against the two.
    """

    def __init__(
        self, mean, dispersion, zero_logits, name="ZeroInflatedNegativeBinomial"
    ):
        parameters = {"mean": mean, "dispersion": dispersion}
        super().__init__(name, **parameters, zero_logits=zero_logits)
        self._inner = NegativeBinomial(self.at_mean, self.at_dispersion)

    def _log_mass(self, x):
        inner, logits = self._inner._log_mass(x), self.at_zero_logits
        # log(sigmoid(-l) NB + [x = 0] sigmoid(l))
        inner, some = inner - tf.math.softplus(logits), -tf.math.softplus(-logits)
        return tf.where(x > 0, inner, tfm.log_add_exp(inner, some))

    def _draw(self, shape, seed):
        one, two = split_seed(seed)
        kept = uniform(shape, one, self.dtype) > tf.math.sigmoid(self.at_zero_logits)
        return tf.where(kept, self._inner._draw(shape, two), 0.0)

    def _mean(self):
        return self._inner._mean() * tf.math.sigmoid(-self.at_zero_logits)

    def _variance(self):
        zero, mean = tf.math.sigmoid(self.at_zero_logits), self._inner._mean()
        return (1 - zero) * (self._inner._variance() + zero * mean**2)


class LogNormalCounts(_Counts):
    """Masses of a Gaussian on log(1 + x), cut at half-integers; 0 takes the left tail.

    A density of logs and a mass of counts are on different scales. This is the mass
    that the density gives to the unit around each count.

    Args:
        mean: positive; the Gaussian's mean is log(1 + mean).
        scale: its standard deviation, broadcasts against `mean`.
    """

    def __init__(self, mean, scale, name="LogNormalCounts"):
        super().__init__(name, mean=mean, scale=scale)

    def _log_mass(self, x):
        # from z - h / 2 to z + h / 2: the middle of both logs, and their distance
        shift = tf.math.log((x + 1) / (1 + self.at_mean))
        z = (shift + 0.5 * tf.math.log1p(-0.25 / (x + 1) ** 2)) / self.at_scale
        h = tf.math.log1p(1 / (x + 0.5)) / self.at_scale
        # the series errs by (h z)^6 / 181440: by this far, as much as one rounding
        far = 7 * float(np.finfo(z.dtype.name).eps) ** (1 / 6)
        narrow = h * tf.maximum(tf.abs(z), 1.0) < far
        one, nil = tf.ones_like(h), tf.zeros_like(h)
        thin = _thin(tf.where(narrow, z, nil), tf.where(narrow, h, one))
        wide = _wide(tf.where(narrow, nil, z), tf.where(narrow, one, h))
        left = tfd.Normal(nil, 1.0).log_cdf(z + h / 2)
        return tf.where(x > 0, tf.where(narrow, thin, wide), left)

    def _draw(self, shape, seed):
        noise = standard_normal(shape, seed, self.dtype)
        logs = tf.math.log1p(self.at_mean) + self.at_scale * noise
        return tf.maximum(tf.round(tf.math.expm1(logs)), 0.0)


def _thin(z, h):
    """log of the normal mass from z - h / 2 to z + h / 2, for small h and h z."""
    square, y = h**2, z**2
    # log h phi(z) + h^2 (z^2 - 1) / 24 - h^4 (z^4 + 4 z^2 - 2) / 2880
    series = square * ((y - 1) / 24 - square * (y * (y + 4) - 2) / 2880)
    return tf.math.log(h) - 0.5 * (y + math.log(2 * math.pi)) + series


def _wide(z, h):
    """The same for any other h, as a difference of two tails."""
    # in the left tail, where log Phi keeps its digits: mirror what lies right
    z, normal = -tf.abs(z), tfd.Normal(tf.zeros([], z.dtype), 1.0)
    log_top, log_bottom = normal.log_cdf(z + h / 2), normal.log_cdf(z - h / 2)
    return log_top + tfm.log1mexp(tf.minimum(log_bottom - log_top, -1e-30))


def stirling_error(n):
    """log n! less Stirling's formula, for any n > 0; 1 / (12 n) and falling."""
    small = n < 8
    far = tf.where(small, n + 8, n)
    s = 1 / far**2
    series = 691 / 360360 - s / 156
    for term in (1 / 1188, 1 / 1680, 1 / 1260, 1 / 360, 1 / 12):
        series = term - s * series
    series /= far
    # log n! = log (n + 8)! - log (n + 1) ... (n + 8), for n below 8
    near = tf.where(small, n, 1.0)
    product = tf.ones_like(near)
    for k in range(1, 9):
        product *= (near + k) / (near + 8)
    shifted = (near + 0.5) * tf.math.log1p(8 / near) - 8 - tf.math.log(product)
    return tf.where(small, series + shifted, series)


def deviance(a, m, difference, v):
    """a log(a / m) + m - a, given m - a and v = (a - m) / (a + m), both exact."""
    close = tf.abs(v) < 0.1
    u = tf.where(close, v, 0.0)
    # 2 a (atanh v - v + v^2 / (1 + v))
    series = tf.zeros_like(u)
    for k in range(17, 1, -2):
        series = u * u * (1 / k + series)
    near = 2 * a * (u * series + u * u / (1 + u))
    return tf.where(close, near, a * tf.math.log(a / m) + difference)


def log_gamma_draws(shape, seed):
    """Logarithms of Gamma(shape, 1) draws, by rejection (Marsaglia and Tsang 2000)."""
    seed, boost = split_seed(seed)
    d = tf.where(shape < 1, shape + 1, shape) - 1 / 3
    size = tf.shape(shape)

    def propose(seed):
        one, two = split_seed(seed)
        z, u = (
            f(size, s, shape.dtype) for f, s in ((standard_normal, one), (uniform, two))
        )
        cube = 1 + z / (3 * tf.sqrt(d))
        log_v = 3 * tf.math.log(tf.maximum(cube, 1e-10))
        accept = tf.math.log(u) < 0.5 * z**2 + d * (1 - tf.exp(log_v) + log_v)
        return tf.math.log(d) + log_v, accept & (cube > 0)

    log_draws = _until_accepted(propose, shape, seed)
    # Gamma(a) = Gamma(a + 1) U^(1 / a)
    log_u = tf.math.log(uniform(size, boost, shape.dtype))
    return log_draws + tf.where(shape < 1, log_u / shape, 0.0)


def poisson_draws(rate, seed):
    """Poisson draws: by search below 10, by rejection above (Hoermann 1993, PTRS)."""
    small, large = split_seed(seed)
    size, dtype = tf.shape(rate), rate.dtype
    few, many = tf.minimum(rate, 10.0), tf.maximum(rate, 10.0)
    u = uniform(size, small, dtype)

    def search(k, mass, below, x):
        mass = mass * few / k
        return k + 1, mass, below + mass, x + tf.cast(u > below, dtype)

    start = tf.exp(-few)
    state = (tf.ones([], dtype), start, start, tf.zeros_like(rate))
    searched = tf.while_loop(lambda k, mass, below, x: k < 60, search, state)[-1]
    b = 0.931 + 2.53 * tf.sqrt(many)
    a = -0.059 + 0.02483 * b
    log_many, inverse = tf.math.log(many), 1.1239 + 1.1328 / (b - 3.4)

    def propose(seed):
        one, two = split_seed(seed)
        u, v = uniform(size, one, dtype) - 0.5, uniform(size, two, dtype)
        us = 0.5 - tf.abs(u)
        k = tf.floor((2 * a / us + b) * u + many + 0.43)
        left = tf.math.log(v * inverse / (a / us**2 + b))
        possible = (k >= 0) & ((us >= 0.013) | (v <= us))
        log_mass = k * log_many - many - tf.math.lgamma(tf.maximum(k, 0.0) + 1)
        return k, possible & (left <= log_mass)

    return tf.where(rate < 10, searched, _until_accepted(propose, rate, large))


def _until_accepted(propose, like, seed):
    """Draws of `propose(seed)`, each from the first round that accepts it."""

    def one_round(i, x, done):
        proposed, accept = propose(fold_in(seed, i))
        return i + 1, tf.where(done, x, proposed), done | accept

    state = (tf.constant(0), tf.zeros_like(like), tf.zeros_like(like, tf.bool))
    go_on = lambda i, x, done: (i < 1000) & ~tf.reduce_all(done)  # noqa: E731
    return tf.while_loop(go_on, one_round, state)[1]
