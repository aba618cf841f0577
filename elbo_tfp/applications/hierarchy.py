"""A hierarchy of Gaussian layers, each predicted by the one above it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import real, wrong
from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.models import LatentVariableModel

tfd = tfp.distributions


class Hierarchy(NamedTuple):
    """x_l given x_{l+1} ~ N(f_l(W_l x_{l+1} + b_l), s_l^2 I), x_L ~ N(b_L, s_L^2 I).

    The layer x_0 is observed. The latents are one vector z = (x_L, ..., x_1), in the
    order in which the model generates them. `hierarchy` builds and checks one.
    """

    weights: tuple
    """W_l, l = 0 to L - 1, `[d_l, d_{l+1}]` each."""
    biases: tuple
    """b_l, l = 0 to L, `[d_l]` each; the last is the mean of the top layer."""
    activations: tuple
    """f_l, l = 0 to L - 1: callables of tensors, element by element."""
    scales: tuple
    """s_l, l = 0 to L: positive numbers, standard deviations."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """(d_0, ..., d_L), the number of units of every layer."""
        return tuple(int(b.shape[0]) for b in self.biases)

    def split(self, z) -> list[tf.Tensor]:
        """[x_1, ..., x_L] from z, `[..., D]`."""
        return tf.split(z, self.sizes[:0:-1], axis=-1)[::-1]

    def predict(self, level: int, above) -> tf.Tensor:
        """f_l(W_l x_{l+1} + b_l), what the layer above expects of layer l = `level`."""
        return self.activations[level](self.drive(level, above))

    def drive(self, level: int, above) -> tf.Tensor:
        """a_l = W_l x_{l+1} + b_l, `[..., d_l]`."""
        product = tf.einsum("ij,...j->...i", self.weights[level], above)
        return product + self.biases[level]

    def model(self) -> LatentVariableModel:
        """The same p(x, z) for `draw`, `evidence` and all the rest."""
        return LatentVariableModel(
            self._prior, lambda z: self.layer(0, self.split(z)[0])
        )

    def _prior(self):
        return _Latents(self, tf.as_dtype(self.biases[0].dtype))

    def layer(self, level: int, above) -> tfd.Distribution:
        """p(x_l | x_{l+1}) of layer l = `level`."""
        return _normal(self.predict(level, above), self.scales[level])

    def top(self) -> tfd.Distribution:
        """p(x_L)."""
        return _normal(tf.convert_to_tensor(self.biases[-1]), self.scales[-1])


class _Latents(tfd.Distribution):
    """p(x_L) p(x_{L-1} | x_L) ... p(x_1 | x_2) as a distribution of one vector z."""

    def __init__(self, net, dtype, name="latents"):
        parameters = {"net": net, "dtype": dtype, "name": name}
        self._net = net
        super().__init__(
            dtype=dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    def _batch_shape(self):
        return tf.TensorShape([])

    def _event_shape(self):
        return tf.TensorShape([sum(self._net.sizes[1:])])

    def _event_shape_tensor(self):
        return tf.constant(self._event_shape().as_list())

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity()

    def _log_prob(self, z):
        units = self._net.split(z)
        found = self._net.top().log_prob(units[-1])
        for level in range(1, len(units)):
            found += self._net.layer(level, units[level]).log_prob(units[level - 1])
        return found

    def _sample_n(self, n, seed=None):
        seeds = split_seed(seed, len(self._net.weights))
        units = [self._net.top().sample(n, seed=seeds[0])]
        for level in range(len(seeds) - 1, 0, -1):
            here = self._net.layer(level, units[-1])
            units.append(here.sample(seed=seeds[level]))
        return tf.concat(units, -1)


def hierarchy(weights, activations, scales, *, biases=None) -> Hierarchy:
    """A hierarchy of Gaussian layers, checked.

    Args:
        weights: W_0 to W_{L-1}, `[d_l, d_{l+1}]` each. Arrays become variables, which
            can be learned; tensors and variables stay what they are.
        activations: f_0 to f_{L-1}, callables that act element by element, such as
            `tf.tanh`; None is the identity.
        scales: s_0 to s_L, positive numbers.
        biases: b_0 to b_L, `[d_l]` or a number each; None means zeros.

    Raises:
        ValueError: if the parts do not fit together, a scale is not positive, or an
            activation mixes its elements.
    """
    weights = tuple(_parameter(w) for w in weights)
    shapes, sizes = [tuple(w.shape) for w in weights], _sizes(weights)
    dtype = tf.as_dtype(weights[0].dtype)
    parts = {"activations": activations, "scales": scales}
    parts |= {} if biases is None else {"biases": biases}
    for name, part in parts.items():
        expected = len(sizes) - (name == "activations")
        if len(part) != expected:
            raise wrong(
                f"{expected} {name} for weights of shapes {shapes}",
                f"{len(part)}",
                "Scales and biases have one more: the last is that of the top layer.",
            )
    if biases is None:
        biases = [0.0] * len(sizes)
    return Hierarchy(
        weights,
        tuple(_bias(b, n, dtype) for b, n in zip(biases, sizes, strict=True)),
        tuple(_activation(f, dtype) for f in activations),
        tuple(real("scales", s, remedy="It is a standard deviation.") for s in scales),
    )


def _sizes(weights):
    """d_0 to d_L of matrices that chain."""
    shapes = [tuple(w.shape) for w in weights]
    ends = [(a[-1:], b[:1]) for a, b in zip(shapes, shapes[1:], strict=False)]
    matrices = bool(shapes) and all(len(shape) == 2 for shape in shapes)
    if not matrices or any(a != b for a, b in ends):
        raise wrong(
            "weights [d_0, d_1], [d_1, d_2], ... that chain",
            f"shapes {shapes}",
            "W_l maps layer l + 1 down to layer l.",
        )
    if len({w.dtype for w in weights}) > 1 or not weights[0].dtype.is_floating:
        raise wrong("weights of one floating dtype", [w.dtype.name for w in weights])
    return [shape[0] for shape in shapes] + [shapes[-1][1]]


def _parameter(value):
    if hasattr(value, "assign") or isinstance(value, tf.Tensor):
        return value
    return tf.Variable(np.asarray(value))


def _bias(value, size, dtype):
    if not (hasattr(value, "assign") or isinstance(value, tf.Tensor)):
        value = tf.Variable(np.broadcast_to(value, [size]).astype(dtype.name))
    if tuple(value.shape) != (size,) or value.dtype != dtype:
        got = f"shape {value.shape} and dtype {value.dtype.name}"
        raise wrong(f"a bias of shape [{size}] and dtype {dtype.name}", got)
    return value


def _activation(f, dtype):
    f = tf.identity if f is None else f
    with tf.init_scope():  # also while a graph is built
        row = tf.constant([-1.3, 0.2, 2.1], dtype)
        alone = [f(row[i : i + 1]) for i in range(3)] if callable(f) else None
        fits = callable(f) and np.allclose(f(row), tf.concat(alone, 0), 1e-5)
    if not fits:
        raise wrong(
            "activations that act element by element",
            getattr(f, "__name__", repr(f)),
            "A unit's slope must be its own: pass tf.tanh, say, or None.",
        )
    return f


def _normal(loc, scale):
    return tfd.Independent(tfd.Normal(loc, tf.constant(scale, loc.dtype)), 1)


def log_normaliser(size: int, scale: float) -> float:
    """d log(s sqrt(2 pi)), nats."""
    return size * math.log(scale * math.sqrt(2 * math.pi))
