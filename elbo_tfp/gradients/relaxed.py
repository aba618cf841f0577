"""A pathwise gradient for a discrete q, through a relaxation of its samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp import bounds
from elbo_tfp import draws as _draws
from elbo_tfp.gradients.common import both_sizes, estimate, objective, only
from elbo_tfp.gradients.pathwise import along_path, slope_in_z
from elbo_tfp.ground.checks import number, real, wrong
from elbo_tfp.ground.seeds import fold_in
from elbo_tfp.ground.wrappers import unwrap
from elbo_tfp.types import Estimate

tfd = tfp.distributions


def relaxed(
    target,
    surrogate_posterior,
    *,
    sample_size=1,
    importance_sample_size=1,
    seed,
    temperature=0.5,
    bound=None,
) -> Estimate:
    """The gradient through Concrete (Gumbel-softmax) samples of a discrete q.

    What is reported is not relaxed: value and ELBO come from hard samples of q itself,
    the same that every other estimator sees. The model's gradient comes from them too,
    unbiased. **Biased** is the gradient for q's parameters: how the bound moves as
    the samples move is read off at soft samples on the simplex, made with the noise
    that picked the hard ones. The bias goes to zero with the temperature while the
    variance grows; `vimco` and `leave_one_out` have none.

    **Requires:** a q that is a `tfd.OneHotCategorical` or `tfd.Bernoulli` (or
    `Independent` of one) of a floating dtype, and a likelihood that is defined and
    differentiable between the corners. A one-hot prior is extended linearly here,
    since TFP's log_prob hides its gradient in z.

    Args:
        target: as in `draw`.
        surrogate_posterior: q; the gradient reaches its parameters and the model's.
        sample_size: S, the number of independent estimates that are averaged.
        importance_sample_size: K; 1 climbs the ELBO, more the weighted bound.
        seed: int, pair of ints or integer tensor; stateless.
        temperature: of the relaxation, positive; 0 would be the hard samples.
        bound: `bounds.elbo` (K = 1) or `bounds.iwae`, the default.

    Returns:
        An `Estimate`, each field `[B]`, nats.

    Raises:
        ValueError: if q is of another kind or an integer dtype, `temperature` is not
            positive, or a one-hot q meets a TFP pin (an incomplete gradient).

    Source: Maddison, Mnih and Teh (2017), equation 10; Jang, Gu and Poole (2017).
    """
    sizes = both_sizes(sample_size, importance_sample_size)
    allowed = bounds.elbo if sizes[1] == 1 else bounds.iwae
    only(bound, allowed, "relaxed", "the slope at soft samples is that bound's")
    q = _Corners.of(surrogate_posterior)
    _check(q, surrogate_posterior, target, temperature)
    z, _ = _draws.sample(target, surrogate_posterior, sizes, seed)
    draws = _draws.evaluate(target, surrogate_posterior, z, sizes)
    soft = _soften(q, z, temperature, fold_in(seed, 1))
    soft_draws, slope = slope_in_z(
        _linear_prior(target), q, soft, sizes, lambda d: d.log_weights
    )
    share = tf.stop_gradient(tf.nn.softmax(soft_draws.log_weights, axis=1))
    # how E[L_K] moves with the samples: sum_k share_k (d log w_k / d z_k) dz_k / d phi
    path = tf.reduce_sum(share * along_path(slope, soft, soft_draws), 1)
    if sizes[1] == 1:
        # the score of q at the hard samples has mean zero: leave it out
        draws = draws._replace(log_q=tf.stop_gradient(draws.log_q))
    return estimate(draws, tf.reduce_mean(path, 0) + objective(draws))


class _Corners(NamedTuple):
    """A discrete distribution whose log-mass is extended linearly between corners."""

    distribution: Any
    """The OneHotCategorical or Bernoulli."""
    ndims: int
    """Further event dimensions (from Independent)."""
    event_shape: Any
    """Of the whole."""
    batch_shape: Any
    """Of the whole."""
    dtype: Any
    """Of the samples."""

    @classmethod
    def of(cls, whole):
        """The extension of a one-hot or Bernoulli distribution; None for others."""
        whole = getattr(whole, "current", whole)
        inner, ndims, _ = unwrap(whole, samples=False)
        if not isinstance(inner, (tfd.OneHotCategorical, tfd.Bernoulli)):
            return None
        return cls(inner, ndims, whole.event_shape, whole.batch_shape, whole.dtype)

    @property
    def one_hot(self):
        return isinstance(self.distribution, tfd.OneHotCategorical)

    def log_masses(self):
        """log-probabilities of the corners, `[..., C]`; C = 2 for a Bernoulli."""
        logits = self.distribution.logits_parameter()
        if not self.one_hot:
            logits = tf.stack([tf.zeros_like(logits), logits], -1)
        return tf.nn.log_softmax(logits)

    def corners(self, z):
        """Samples as points of the simplex, `[..., C]`."""
        return z if self.one_hot else tf.stack([1 - z, z], -1)

    def log_prob(self, z):
        # log q(z) = sum_c z_c log q_c, exact at the corners
        terms = tf.math.multiply_no_nan(self.log_masses(), self.corners(z))
        return tf.reduce_sum(terms, list(range(-1 - self.ndims, 0)))


def _soften(q, z, temperature, seed):
    """Soft samples whose largest coordinate is that of the hard ones.

    An exponential race: category c arrives at time E_c / q_c and the first wins. Given
    the winner, the first time is an exponential of rate 1 and the others come later.
    """
    corners, log_masses = q.corners(z), q.log_masses()
    wait = tf.random.stateless_uniform(
        tf.shape(corners), seed, minval=np.finfo(z.dtype.as_numpy_dtype).tiny,
        dtype=z.dtype,
    )  # fmt: skip
    log_wait = tf.math.log(-tf.math.log(wait))
    first = tf.reduce_sum(corners * log_wait, -1, keepdims=True)
    later = tf.reduce_logsumexp(
        tf.stack([first + tf.zeros_like(log_wait), log_wait - log_masses]), 0
    )
    log_time = tf.where(corners > 0.5, first, later)
    # noise of Gumbel's law, independent of the parameters
    gumbel = tf.stop_gradient(-log_time - log_masses)
    soft = tf.nn.softmax((log_masses + gumbel) / number(temperature, z.dtype))
    return soft if q.one_hot else soft[..., 1]


def _linear_prior(target):
    """The target with a discrete prior that is differentiable between the corners."""
    prior = _Corners.of(target.model.prior) if hasattr(target, "model") else None
    if prior is None:
        return target
    return target._replace(model=target.model.with_prior(prior))


def _check(q, surrogate_posterior, target, temperature):
    if q is None or not q.dtype.is_floating:
        got = type(getattr(surrogate_posterior, "current", surrogate_posterior))
        dtype = "" if q is None else f" of dtype {q.dtype.name}"
        raise wrong(
            "a surrogate posterior that is tfd.OneHotCategorical or tfd.Bernoulli (or "
            "Independent of one) of a floating dtype, since soft samples are no "
            "integers",
            f"{got.__name__}{dtype}",
            "Pass dtype=tf.float32 to the distribution, or use vimco or leave_one_out.",
        )
    if not isinstance(temperature, tf.Tensor):
        real("temperature", temperature)
    if q.one_hot and hasattr(target, "unnormalized_log_prob"):
        raise wrong(
            "model.log_joint(x) or a function of z",
            "a pinned TFP joint, where the gradient of a one-hot prior in z is hidden",
            "Build a LatentVariableModel, or write the sum over z * log p in a "
            "function.",
        )
