"""Distributions over counts whose log-densities hold in float32, extremes included.

Each gives minus infinity to a value that cannot occur, where TFP's own may give a
finite number: 16 is no Bernoulli outcome, and a bound on it would mean nothing.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.base import Base
from elbo_tfp.ground.seeds import uniform

tfd, tfm = tfp.distributions, tfp.math
_PROPERTIES = tfp.util.ParameterProperties


def is_count(largest: float):
    """The test whether values are whole numbers from 0 to `largest`."""
    return lambda x: (x >= 0) & (x <= largest) & (tf.math.floor(x) == x)


class Bernoulli(tfd.Bernoulli):
    """TFP's, with log-density minus infinity off 0 and 1."""

    # no __init__: TFP logs a page of warning about every subclass that has one

    def _log_prob(self, x):
        if self.logits is None:  # made from probabilities, which may be 0 or 1
            return _or_impossible(is_count(1)(x), super()._log_prob(x))
        x = tf.cast(x, self.logits.dtype)
        # x l - log(1 + exp(l)): one softplus, where TFP computes two and guards both
        log_prob = x * self.logits - tf.math.softplus(self.logits)
        return _or_impossible(is_count(1)(x), log_prob)


class Binomial(Base):
    """Binomial(n, sigmoid(logits)); the coefficients are a table, not gammas.

    Args:
        total_count: n, an int.
        logits: any shape, floating.
    """

    def __init__(self, total_count: int, logits, name="Binomial"):
        parameters = {"total_count": total_count, "logits": logits, "name": name}
        self.total_count, self.logits = total_count, tf.convert_to_tensor(logits)
        super().__init__(parameters, self.logits.dtype, (), False, name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"logits": _PROPERTIES()}

    def _log_prob(self, x):
        n = tf.cast(self.total_count, self.dtype)
        # log C(n, x) + x logits - n log(1 + exp(logits))
        log_prob = (
            log_coefficient(self.total_count, x)
            + x * self.logits
            - n * tf.math.softplus(self.logits)
        )
        return _or_impossible(is_count(self.total_count)(x), log_prob)

    def _sample_n(self, n, seed=None):
        tosses = tfd.Binomial(float(self.total_count), logits=self.logits)
        return tf.cast(tosses.sample(n, seed=seed), self.dtype)

    def _mean(self):
        return self.total_count * tf.math.sigmoid(self.logits)

    def _variance(self):
        return self._mean() * tf.math.sigmoid(-self.logits)


class BetaBinomial(Base):
    """Binomial(n, p) with p ~ Beta of mean sigmoid(logits) and size 1 / dispersion.

    TFP's version subtracts log-beta functions of nearly equal size, which leaves
    nothing of float32 when the dispersion is small; a product over the balls of
    Polya's urn has no such cancellation.

    Args:
        total_count: n, an int.
        logits: any shape, floating.
        dispersion: 1 / (alpha + beta), broadcasts against `logits`; below 1e-6 it
            counts as 1e-6.
    """

    def __init__(self, total_count: int, logits, dispersion, name="BetaBinomial"):
        parameters = {
            "total_count": total_count,
            "logits": logits,
            "dispersion": dispersion,
            "name": name,
        }
        self.total_count, self.logits = total_count, tf.convert_to_tensor(logits)
        self.dispersion = tf.maximum(tf.cast(dispersion, self.logits.dtype), 1e-6)
        super().__init__(parameters, self.logits.dtype, (), False, name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"logits": _PROPERTIES(), "dispersion": _PROPERTIES()}

    def _log_prob(self, x):
        n = self.total_count
        urn = _urn if n <= 32 else _urn_by_gammas
        log_prob = log_coefficient(n, x) + urn(x, self.logits, self.dispersion, n)
        return _or_impossible(is_count(n)(x), log_prob)

    def _sample_n(self, n, seed=None):
        p, rho = tf.math.sigmoid(self.logits), self.dispersion
        shape = tf.concat([[self.total_count, n], self.batch_shape_tensor()], 0)
        u = uniform(shape, seed, self.dtype)

        def one_ball(j, x):
            # after x white balls among j, the next is white with this probability
            white = (p + x * rho) / (1 + tf.cast(j, self.dtype) * rho)
            return j + 1, x + tf.cast(tf.gather(u, j) < white, self.dtype)

        start = (tf.constant(0), tf.zeros_like(u[0]))
        return tf.while_loop(lambda j, x: j < self.total_count, one_ball, start)[1]

    def _mean(self):
        ones = tf.ones_like(self.dispersion)
        return self.total_count * tf.math.sigmoid(self.logits) * ones

    def _variance(self):
        n, rho = self.total_count, self.dispersion
        # n p (1 - p) (1 + (n - 1) rho / (1 + rho))
        return self._mean() * tf.math.sigmoid(-self.logits) * (1 + n * rho) / (1 + rho)


class DiscretizedLogistic(Base):
    """A logistic density in unit bins around 0 ... top; the end bins take the tails.

    Args:
        loc: mean of the density, any shape.
        scale: its scale, positive, broadcasts against `loc`.
        top: the largest value, an int.
    """

    def __init__(self, loc, scale, top: int, name="DiscretizedLogistic"):
        parameters = {"loc": loc, "scale": scale, "top": top, "name": name}
        self.loc = tf.convert_to_tensor(loc)
        self.scale = tf.convert_to_tensor(scale, self.loc.dtype)
        self.total_count = top
        super().__init__(parameters, self.loc.dtype, (), False, name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"loc": _PROPERTIES(), "scale": _PROPERTIES()}

    def _log_prob(self, x):
        upper, lower = ((x - self.loc + h) / self.scale for h in (0.5, -0.5))
        below, above = tf.math.log_sigmoid(upper), tf.math.log_sigmoid(-lower)
        # s(u) - s(l) = s(u) s(-l) (1 - exp(-(u - l))), and u - l = 1 / scale exactly
        inside = below + above + tfm.log1mexp(1 / self.scale)
        log_prob = tf.where(
            x <= 0, below, tf.where(x >= self.total_count, above, inside)
        )
        return _or_impossible(is_count(self.total_count)(x), log_prob)

    def _sample_n(self, n, seed=None):
        continuous = tfd.Logistic(self.loc, self.scale).sample(n, seed=seed)
        # bins meet at half-integers
        return tf.clip_by_value(tf.round(continuous), 0.0, float(self.total_count))

    def _mean(self):
        edges = tf.range(self.total_count, dtype=self.dtype) + 0.5
        loc, scale = self.loc[..., tf.newaxis], self.scale[..., tf.newaxis]
        # E x = sum_k P(x > k)
        return tf.reduce_sum(tf.math.sigmoid((loc - edges) / scale), -1)


def log_coefficient(n: int, x) -> tf.Tensor:
    """log C(n, x), read from a table; at 0 for an x that is no count."""
    table = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        for k in range(n + 1)
    ]
    index = tf.cast(tf.where(is_count(n)(x), x, tf.zeros_like(x)), tf.int32)
    return tf.gather(tf.constant(table, x.dtype), index)


def _urn(x, logits, rho, n):
    """Log-probability of x white balls, then n - x black ones, from Polya's urn."""
    p, q = tf.math.sigmoid(logits), tf.math.sigmoid(-logits)
    tiny = np.finfo(logits.dtype.as_numpy_dtype).tiny
    total = _firsts(x, logits, n)
    for j in range(1, n):  # unrolled: XLA fuses it into one pass over the data
        # factor j: (p + j rho) / (1 + j rho), or (q + (j - x) rho) / (1 + j rho)
        white = j < x
        ball = tf.where(white, p, q) + tf.where(white, float(j), j - x) * rho
        ball = tf.where(x == j, 1.0, ball)  # the first black one, in `_firsts`
        total += tf.math.log(ball / (1 + j * rho) + tiny)
    return total


def _urn_by_gammas(x, logits, rho, n):
    """The same in time that does not grow with n; 3 digits less accurate."""

    def rising(a, k):
        # log (a + 1) (a + 2) ... (a + k - 1)
        return tf.where(k > 0, -tfm.log_gamma_difference(k - 1, a + 1), 0.0)

    whites = rising(tf.math.sigmoid(logits) / rho, x)
    blacks = rising(tf.math.sigmoid(-logits) / rho, n - x)
    total = rising(1 / rho, n * tf.ones_like(x))
    # one of the n - 1 factors after the first has no rho if both colours occur
    mixed = tf.where((x > 0) & (x < n), tf.math.log(rho), 0.0)
    return _firsts(x, logits, n) + whites + blacks - total - mixed


def _firsts(x, logits, n):
    """log p if there is a white ball, plus log q if there is a black one."""
    first_white = tf.where(x > 0, tf.math.log_sigmoid(logits), 0.0)
    return first_white + tf.where(x < n, tf.math.log_sigmoid(-logits), 0.0)


def _or_impossible(possible, log_prob):
    return tf.where(possible, log_prob, tf.cast(-math.inf, log_prob.dtype))
