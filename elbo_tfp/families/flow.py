"""Flows: a Gaussian pushed through layers whose networks we mask ourselves."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.families.base import Family, positive
from elbo_tfp.families.gaussian import _start
from elbo_tfp.ground.seeds import as_seed, split_seed

tfd = tfp.distributions

_SPLINE_RANGE = 5.0
_SMALLEST = 1e-3


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
            beyond it; also bends a single dimension).
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
        groups, element = min(2, event_size), _Spline(num_bins)
    else:
        groups, element = event_size, _Affine()
    layers = [
        _Layer(event_size, groups, element, hidden, context_size, dtype, layer_seed)
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


class FlowDistribution(tfd.Distribution):
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
        super().__init__(
            dtype=loc.dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    def _batch_shape(self):
        return self._loc.shape[:-1]

    def _batch_shape_tensor(self):
        return tf.shape(self._loc)[:-1]

    def _event_shape(self):
        return self._loc.shape[-1:]

    def _event_shape_tensor(self):
        return tf.shape(self._loc)[-1:]

    def _sample_n(self, n, seed):
        return self._sample_and_log_prob([n], seed)[0]

    def _sample_and_log_prob(self, sample_shape, seed):
        shape = tf.concat([sample_shape, tf.shape(self._loc)], 0)
        y = tf.random.stateless_normal(shape, as_seed(seed), dtype=self.dtype)
        static = tf.get_static_value(sample_shape)
        if static is not None:
            y = tf.ensure_shape(y, [*static, *self._loc.shape])
        log_q = _log_standard_normal(y)
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
        return total + _log_standard_normal(y)

    def _log_scale(self):
        return tf.reduce_sum(tf.math.log(self._scale), -1)


class _Layer(tf.Module):
    """y_d = g(x_d; network(x of lower groups, context)), group by group."""

    def __init__(self, size, groups, element, hidden, context_size, dtype, seed):
        super().__init__(name="layer")
        self._groups, self._element = groups, element
        # the dimensions' groups, and what a hidden unit may see: groups up to its own;
        # -1 sees the context only
        inside = np.arange(size) * groups // size
        lowest = -1 if context_size or groups == 1 else 0
        before, dims = inside, size
        self._masks, self._weights, self._biases, self._contexts = [], [], [], []
        for units, key in zip(hidden, split_seed(seed, len(hidden)), strict=True):
            degrees = lowest + np.arange(units) % max(groups - 1 - lowest, 1)
            self._masks.append(tf.constant(before[:, None] <= degrees, dtype))
            self._add(dims, units, context_size, dtype, key)
            before, dims = degrees, units
        outputs = np.repeat(inside, element.num_parameters)
        self._masks.append(tf.constant(before[:, None] < outputs, dtype))
        self._add(dims, len(outputs), context_size, dtype, None)

    def _add(self, dims, units, context_size, dtype, seed):
        def weights(rows, fan_in, number):
            if seed is None or not rows:
                return tf.zeros([rows, units], dtype)
            key = tf.random.fold_in(seed, number)
            noise = tf.random.stateless_normal([rows, units], key, dtype=dtype)
            return noise / fan_in**0.5

        self._weights.append(tf.Variable(weights(dims, dims, 0), name="weights"))
        self._biases.append(tf.Variable(tf.zeros([units], dtype), name="bias"))
        if context_size:
            start = weights(context_size, context_size, 1)
            self._contexts.append(tf.Variable(start, name="context"))

    def parameters_at(self, x, context):
        """What moves each dimension, `[..., D, P]`, from the groups before its own."""
        h, last = x, len(self._masks) - 1
        for i, mask in enumerate(self._masks):
            h = tf.tensordot(h, mask * self._weights[i], 1) + self._biases[i]
            if self._contexts:
                h += tf.tensordot(context, self._contexts[i], 1)
            h = tf.tanh(h) if i < last else h
        tail = [x.shape[-1], self._element.num_parameters]
        shape = tf.concat([tf.shape(h)[:-1], tail], 0)
        return tf.ensure_shape(tf.reshape(h, shape), [*h.shape[:-1], *tail])

    def forward(self, x, context):
        """y and log |dy / dx|, `[...]`."""
        y, log_slope = self._element.forward(x, self.parameters_at(x, context))
        return y, tf.reduce_sum(log_slope, -1)

    def inverse(self, y, context):
        """x and log |dy / dx|, `[...]`; pass number g makes groups up to g right."""
        x = tf.zeros_like(y)
        for _ in range(self._groups):
            x, log_slope = self._element.inverse(y, self.parameters_at(x, context))
        return x, tf.reduce_sum(log_slope, -1)


class _Affine:
    """y = m + s x."""

    num_parameters = 2

    def forward(self, x, parameters):
        shift, scale = self._split(parameters)
        return shift + scale * x, tf.math.log(scale)

    def inverse(self, y, parameters):
        shift, scale = self._split(parameters)
        return (y - shift) / scale, tf.math.log(scale)

    def _split(self, parameters):
        return parameters[..., 0], _SMALLEST + (1 - _SMALLEST) * positive(
            parameters[..., 1]
        )


class _Spline:
    """A monotone rational-quadratic spline on [-5, 5], the identity beyond."""

    def __init__(self, num_bins):
        self.num_parameters = 3 * num_bins - 1

    def forward(self, x, parameters):
        inside, at, low, width, left, right = self._piece(x, parameters, 0)
        x0, y0 = low
        slope = width[1] / width[0]
        t = (at - x0) / width[0]
        # g(t) = h (s t^2 + d_0 t (1 - t)) / (s + (d_1 + d_0 - 2 s) t (1 - t))
        under = slope + (right + left - 2 * slope) * t * (1 - t)
        y = y0 + width[1] * (slope * t**2 + left * t * (1 - t)) / under
        return tf.where(inside, y, x), _log_slope(inside, t, slope, left, right, under)

    def inverse(self, y, parameters):
        inside, at, low, width, left, right = self._piece(y, parameters, 1)
        x0, y0 = low
        slope = width[1] / width[0]
        rise, bend = at - y0, right + left - 2 * slope
        # a t^2 + b t + c = 0, by the root that does not cancel
        a = width[1] * (slope - left) + rise * bend
        b = width[1] * left - rise * bend
        c = -slope * rise
        t = 2 * c / (-b - tf.sqrt(tf.maximum(b**2 - 4 * a * c, 0)))
        under = slope + bend * t * (1 - t)
        x = x0 + width[0] * t
        return tf.where(inside, x, y), _log_slope(inside, t, slope, left, right, under)

    def _piece(self, value, parameters, axis):
        """The corner, sizes and end slopes of the piece in which a value lies.

        `axis` says whether the value is an x (0) or a y (1). Beyond the range the
        nearest point inside stands in, so that no gradient is NaN.
        """
        bins = (self.num_parameters + 1) // 3
        widths, heights, slopes = tf.split(parameters, [bins, bins, bins - 1], -1)
        # shares of the range, none below a floor; the slope is 1 at both ends
        sizes = [
            2 * _SPLINE_RANGE * (_SMALLEST + (1 - bins * _SMALLEST) * share)
            for share in (tf.nn.softmax(widths), tf.nn.softmax(heights))
        ]
        corners = [tf.cumsum(s, -1, exclusive=True) - _SPLINE_RANGE for s in sizes]
        slopes = _SMALLEST + (1 - _SMALLEST) * positive(slopes)
        one = tf.ones_like(slopes[..., :1])
        ends = tf.concat([one, slopes], -1), tf.concat([slopes, one], -1)
        inside = tf.abs(value) < _SPLINE_RANGE
        at = tf.clip_by_value(value, -_SPLINE_RANGE, _SPLINE_RANGE)
        reached = tf.cast(at[..., tf.newaxis] >= corners[axis], at.dtype)
        reached = tf.concat([one, reached[..., 1:]], -1)
        chosen = reached - tf.concat([reached[..., 1:], tf.zeros_like(one)], -1)

        def pick(values):
            return tf.reduce_sum(chosen * values, -1)

        left, right = map(pick, ends)
        return inside, at, [*map(pick, corners)], [*map(pick, sizes)], left, right


def _log_slope(inside, t, slope, left, right, under):
    # g'(t) / w = s^2 (d_1 t^2 + 2 s t (1 - t) + d_0 (1 - t)^2) / under^2
    over = right * t**2 + 2 * slope * t * (1 - t) + left * (1 - t) ** 2
    log_slope = 2 * tf.math.log(slope / under) + tf.math.log(over)
    return tf.where(inside, log_slope, tf.zeros_like(log_slope))


def _log_standard_normal(y):
    half_log_tau = tf.cast(0.5 * np.log(2 * np.pi), y.dtype)
    return tf.reduce_sum(-0.5 * tf.square(y) - half_log_tau, -1)


def _check(kind, num_layers, hidden, context_size, num_bins):
    if kind not in ("spline", "inverse_autoregressive"):
        raise ValueError(
            f'expected kind to be "spline" or "inverse_autoregressive"; got {kind!r}.'
        )
    sizes = {"num_layers": num_layers, "num_bins": num_bins - 1}
    sizes |= {f"hidden[{i}]": units for i, units in enumerate(hidden)}
    wrong = {k: v for k, v in sizes.items() if not (isinstance(v, int) and v > 0)}
    if wrong or not hidden or not (isinstance(context_size, int) and context_size >= 0):
        raise ValueError(
            "expected num_layers and the units in hidden to be positive ints, num_bins "
            "at least 2 and context_size at least 0; got "
            f"num_layers={num_layers!r}, hidden={hidden!r}, num_bins={num_bins!r}, "
            f"context_size={context_size!r}."
        )
