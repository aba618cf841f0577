"""The layers of a flow: masked networks, and what they do to each dimension."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from elbo_tfp.families.base import positive
from elbo_tfp.ground.seeds import split_seed

_SPLINE_RANGE = 5.0
_SMALLEST = 1e-3
_LEAST_SHARE = 0.5
"""Of a piece of a spline, against pieces of equal size; with `_LEAST_SLOPE` it bounds
all slopes, so that no step of an optimizer falls off a cliff."""
_LEAST_SLOPE = 0.1


class Layer(tf.Module):
    """y_d = g(x_d; network(x of lower groups, context)), group by group."""

    def __init__(self, size, groups, element, hidden, context_size, dtype, seed):
        super().__init__(name="layer")
        self._element = element
        # the dimensions' groups, and what a hidden unit may see: groups up to its own;
        # -1 sees the context only
        inside = np.arange(size) * groups // size
        ends = np.searchsorted(inside, range(groups + 1))
        self._slices = [slice(a, b) for a, b in itertools.pairwise(ends.tolist())]
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
        """x and log |dy / dx|, `[...]`; a group follows those before it."""
        done, slopes, unknown = [], [], tf.zeros_like(y)
        for group in self._slices:
            x = tf.concat([*done, unknown[..., group.start :]], -1)
            parameters = self.parameters_at(x, context)[..., group, :]
            part, log_slope = self._element.inverse(y[..., group], parameters)
            done.append(part)
            slopes.append(log_slope)
        return tf.concat(done, -1), tf.reduce_sum(tf.concat(slopes, -1), -1)


class Affine:
    """y = m + s x."""

    num_parameters = 2

    def forward(self, x, parameters):
        """y and log |dy / dx|."""
        shift, scale = self._split(parameters)
        return shift + scale * x, tf.math.log(scale)

    def inverse(self, y, parameters):
        """x and log |dy / dx|."""
        shift, scale = self._split(parameters)
        return (y - shift) / scale, tf.math.log(scale)

    def _split(self, parameters):
        return parameters[..., 0], _SMALLEST + (1 - _SMALLEST) * positive(
            parameters[..., 1]
        )


class Spline:
    """A monotone rational-quadratic spline on [-5, 5], the identity beyond."""

    def __init__(self, num_bins):
        self.num_parameters = 3 * num_bins - 1

    def forward(self, x, parameters):
        """y and log |dy / dx|."""
        inside, at, low, width, left, right = self._piece(x, parameters, 0)
        x0, y0 = low
        slope = width[1] / width[0]
        t = (at - x0) / width[0]
        # g(t) = h (s t^2 + d_0 t (1 - t)) / (s + (d_1 + d_0 - 2 s) t (1 - t))
        under = slope + (right + left - 2 * slope) * t * (1 - t)
        y = y0 + width[1] * (slope * t**2 + left * t * (1 - t)) / under
        return tf.where(inside, y, x), _log_slope(inside, t, slope, left, right, under)

    def inverse(self, y, parameters):
        """x and log |dy / dx|."""
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
            2 * _SPLINE_RANGE * (_LEAST_SHARE / bins + (1 - _LEAST_SHARE) * share)
            for share in (tf.nn.softmax(widths), tf.nn.softmax(heights))
        ]
        corners = [tf.cumsum(s, -1, exclusive=True) - _SPLINE_RANGE for s in sizes]
        slopes = _LEAST_SLOPE + (1 - _LEAST_SLOPE) * positive(slopes)
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
