"""Flows: a Gaussian pushed through layers whose networks we mask ourselves."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.base import Base
from elbo_tfp.distributions.normal import log_standard_normal, noise
from elbo_tfp.families.base import Family, positive
from elbo_tfp.families.gaussian import _start
from elbo_tfp.families.layers import Affine, Layer, Spline
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import split_seed


def flow(
    event_size: int,
    kind="spline",
    *,
    num_layers: int = 2,
    hidden=(32,),
    context_size: int = 0,
    num_bins: int = 8,
    loc=0.0,
    scale=1.0,
    batch_shape=(),
    dtype=tf.float32,
    seed=None,
) -> Family:
    """z = loc + scale * T(epsilon), with T a stack of invertible, trainable layers.

    A layer leaves the order of dimensions triangular: each moves by a function whose
    parameters a masked network computes from those before it. Sampling, together with
    the density of the samples, takes one pass per layer. The density at any other
    point inverts the layers: D passes for `"inverse_autoregressive"`, where every
    dimension sees all before it; 2 for `"spline"`, where the second half sees the
    first. So either serves as q, and the spline is the one to take as a prior.

    The network's weights are shared by all members and belong to the family. The
    parameters that an encoder gives per datum are `loc`, `scale` and a context that
    every layer's network sees. At the start T is the identity.

    Args:
        event_size: D, the number of latent dimensions.
        kind: `"inverse_autoregressive"` (an affine function per dimension) or
            `"spline"` (a monotone rational-quadratic spline on [-5, 5], identity
            beyond it, its slopes bounded; also bends a single dimension).
        num_layers: number of layers; the order of dimensions is reversed in between.
        hidden: units of the hidden layers of each masked network.
        context_size: length of the context that an encoder may add per datum.
        num_bins: pieces of each spline.
        loc: where the location starts, scalar or `[D]`.
        scale: where the scale starts, scalar or `[D]`, positive.
        batch_shape: one `loc`, `scale` and context per element.
        dtype: floating type.
        seed: of the hidden weights (None means 0) and, if given, of a start a little
            beside `loc` and `scale`.

    Returns:
        A `Family` of event shape `[D]` with 2 D + context_size parameters per member;
        its attribute `layers` holds the shared weights.

    Raises:
        ValueError: if a size is not a positive int, `scale` is not positive, or `kind`
            is unknown.

    Source: Kingma et al. (2016), equations 10 and 11; Durkan et al. (2019), equations
    4 to 8; masks: Germain et al. (2015), equations 8 and 9.
    """
    _check(kind, num_layers, hidden, context_size, num_bins)
    start = _start(event_size, loc, scale, dtype)
    start = tf.concat([*start, tf.zeros([context_size], dtype)], -1)
    if kind == "spline":
        groups, element = min(2, event_size), Spline(num_bins)
    else:
        groups, element = event_size, Affine()
    layers = [
        Layer(event_size, groups, element, hidden, context_size, dtype, layer_seed)
        for layer_seed in split_seed(0 if seed is None else seed, num_layers)
    ]

    def build(parameters):
        loc, raw, context = tf.split(
            parameters, [event_size, event_size, context_size], -1
        )
        return FlowDistribution(layers, loc, positive(raw), context)

    family = Family(build, start, batch_shape=batch_shape, seed=seed, name="flow")
    family.layers = layers
    return family


class FlowDistribution(Base):
    """The law of loc + scale * T(epsilon), epsilon ~ N(0, I).

    Args:
        layers: what T is made of, shared.
        loc: `[..., D]`.
        scale: `[..., D]`, positive.
        context: `[..., C]`, seen by the layers' networks.
    """

    def __init__(self, layers, loc, scale, context, name="Flow"):
        parameters = dict(locals())
        self._layers, self._loc, self._scale = layers, loc, scale
        self._context = context
        super().__init__(parameters, loc.dtype, loc.shape[-1:], True, name)

    def _batch_shape(self):
        return self._loc.shape[:-1]

    def _batch_shape_tensor(self):
        return tf.shape(self._loc)[:-1]

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity()

    def _sample_n(self, n, seed):
        return self._sample_and_log_prob([n], seed)[0]

    def _sample_and_log_prob(self, sample_shape, seed):
        y = noise(self, sample_shape, seed)
        log_q = tf.reduce_sum(log_standard_normal(y), -1)
        for layer in self._layers:
            y, log_det = layer.forward(y, self._context)
            # log q(T(y)) = log q(y) - log |dT / dy|
            log_q -= log_det
            y = tf.reverse(y, [-1])
        return self._loc + self._scale * y, log_q - self._log_scale()

    def _log_prob(self, z):
        y = (z - self._loc) / self._scale
        total = -self._log_scale()
        for layer in reversed(self._layers):
            y, log_det = layer.inverse(tf.reverse(y, [-1]), self._context)
            total -= log_det
        return total + tf.reduce_sum(log_standard_normal(y), -1)

    def _log_scale(self):
        return tf.reduce_sum(tf.math.log(self._scale), -1)


def _check(kind, num_layers, hidden, context_size, num_bins):
    if kind not in ("spline", "inverse_autoregressive"):
        raise wrong('kind to be "spline" or "inverse_autoregressive"', repr(kind))
    whole("num_layers", num_layers)
    whole("num_bins", num_bins, 2)
    whole("context_size", context_size, 0)
    if not hidden:
        raise wrong("hidden, the units of each layer, not to be empty", f"{hidden=}")
    for units in hidden:
        whole("the units in hidden", units)
