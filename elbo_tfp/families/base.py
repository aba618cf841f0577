"""A family: unconstrained parameters in, distribution out."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.precision import in_full
from elbo_tfp.ground.seeds import as_seed


class Family(tf.Module):
    """A trainable distribution that also builds its other members.

    `family.sample`, `family.log_prob` and every other attribute of a TFP distribution
    use the family's own variables; `family(parameters)` is the member with those
    parameters instead.

    Args:
        build: `parameters [..., parameters_size] -> distribution`; differentiable.
        start: unconstrained parameters to start from, `[parameters_size]`.
        batch_shape: one member per element, each with its own parameters.
        jitter: standard deviation of the noise added to `start` when `seed` is given.
        seed: int, pair of ints, tensor, or None to start exactly at `start`.
        name: of the variables.
    """

    def __init__(
        self, build, start, *, batch_shape=(), jitter=0.1, seed=None, name="q"
    ):
        super().__init__(name=name)
        start = tf.convert_to_tensor(start)
        if not isinstance(batch_shape, (tuple, list, tf.TensorShape)):
            raise ValueError(
                f"expected batch_shape to be a tuple such as (N,); got {batch_shape!r}."
            )
        self._build, self.parameters_size = build, int(start.shape[-1])
        start = tf.broadcast_to(start, [*tuple(batch_shape), self.parameters_size])
        if seed is not None:
            start += jitter * tf.random.stateless_normal(
                start.shape, as_seed(seed), dtype=start.dtype
            )
        self.free_parameters = tf.Variable(start, name="free_parameters")

    def __call__(self, parameters):
        """The member with these parameters, `[..., parameters_size]`.

        Parameters in half precision, of a mixed-precision network, become float32.

        Raises:
            ValueError: if the last dimension is not `parameters_size`, or they are
                whole numbers.
        """
        parameters = in_full(tf.convert_to_tensor(parameters))
        if parameters.shape.rank == 0 or parameters.shape[-1] != self.parameters_size:
            raise ValueError(
                f"expected parameters [..., {self.parameters_size}] for the family "
                f"{self.name!r}; got shape {parameters.shape}. End the network with "
                "Dense(family.parameters_size)."
            )
        if not parameters.dtype.is_floating:
            raise ValueError(
                f"expected parameters of a floating dtype for the family {self.name!r};"
                f" got {parameters.dtype.name}. Cast the data that the network takes."
            )
        return self._build(parameters)

    @property
    def current(self):
        """The member that the family's own variables name."""
        return self(self.free_parameters)

    def sample(self, sample_shape=(), *, seed):
        """Samples of the current member."""
        return self.current.sample(sample_shape, seed=as_seed(seed))

    def log_prob(self, z):
        """Log-density of the current member, nats."""
        return self.current.log_prob(z)

    def experimental_sample_and_log_prob(self, sample_shape=(), *, seed):
        """Samples of the current member and their log-density, nats."""
        return self.current.experimental_sample_and_log_prob(
            sample_shape, seed=as_seed(seed)
        )

    def __getattr__(self, name):
        if name.startswith("_") or "free_parameters" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.current, name)


def positive(raw):
    """Softplus, shifted so that 0 maps to 1."""
    # log(1 + exp(raw + log(e - 1)))
    return tf.math.softplus(raw + tf.constant(_SHIFT, raw.dtype))


def raw_of_positive(value):
    """The inverse of `positive`."""
    # softplus_inverse does not overflow where exp(value) does
    return tfp.math.softplus_inverse(value) - tf.constant(_SHIFT, value.dtype)


_SHIFT = 0.541324854612918
