"""The aggregated posterior: the mixture of all q(z | x_n), chunk by chunk."""

from __future__ import annotations

import math

import tensorflow as tf

from elbo_tfp.distributions.base import Base
from elbo_tfp.ground.seeds import as_seed, split_seed

_NUMBERS_PER_CHUNK = 2**21
"""How many coordinates of z one chunk of data may be compared with at once."""
_IF_UNKNOWN = 2**15
"""For how many coordinates chunks are made where a graph leaves the number open."""


def aggregated_posterior(encoder, x) -> EncodedMixture:
    """q(z) = 1/N sum_n q(z | x_n): what the encoder makes of a whole data set.

    It is the prior under which the average rate would be the mutual information
    between x and z, and no more; every other prior pays KL(q(z) || p(z)) on top. The
    encoder is called afresh each time, so it may go on learning in between.

    Args:
        encoder: an `Encoder`, or any callable from x to the distribution q(z | x).
        x: data, `[N]` + event of x.

    Returns:
        A distribution over one z: `log_prob`, `sample`, `mean` and `variance`, all of
        which compile under XLA. `log_prob` of `[...]` + event compares each z with
        every datum, chunk by chunk; only its gradient keeps all chunks in memory.

    Raises:
        ValueError: if `encoder` is no callable or does not return one distribution per
            datum, or x is empty or holds NaN; by `log_prob`, if z has another event
            shape.

    Source: Makhzani et al. (2016), section 2; Hoffman and Johnson (2016).
    """
    x = tf.convert_to_tensor(x)
    if tf.executing_eagerly() and x.dtype.is_floating:
        bad = int(tf.math.count_nonzero(tf.math.is_nan(x)))
        if bad:
            raise ValueError(
                f"expected data without NaN; got {bad} of {tf.size(x)} values. Drop or "
                "mask them: a density made from them is NaN."
            )
    return EncodedMixture(encoder, lambda: x, name="AggregatedPosterior")


class EncodedMixture(Base):
    """1/K sum_k q(z | u_k), with equal weights, for inputs u read afresh.

    Args:
        encoder: callable from `[K, ...]` to a distribution of batch shape `[K]`.
        inputs: callable without arguments that returns u, `[K]` + event of x.
        name: of the distribution.
    """

    def __init__(self, encoder, inputs, name="EncodedMixture"):
        q = _one_per_row(encoder, inputs())
        # a function, since TensorFlow would look for variables in a tuple
        self._encode, self._inputs = lambda x: encoder(x), inputs
        parameters = {"encoder": self._encode, "inputs": inputs, "name": name}
        super().__init__(parameters, q.dtype, q.event_shape, False, name)

    def _batch_shape(self):
        return tf.TensorShape([])

    def _batch_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _sample_n(self, n, seed):
        which, noise = split_seed(as_seed(seed))
        static, inputs = tf.get_static_value(n), self._inputs()
        shape, size = [n if static is None else int(static)], inputs.shape[0]
        # k ~ uniform, z ~ q(z | u_k)
        k = tf.random.stateless_uniform(
            shape, which, maxval=size, dtype=tf.int32, alg="philox"
        )
        return self._encode(tf.gather(inputs, k)).sample(seed=noise)

    def _log_prob(self, z):
        if not z.shape[z.shape.rank - self._event.rank :].is_compatible_with(
            self._event
        ):
            raise ValueError(
                f"expected z of event shape {self._event}; got shape {z.shape}."
            )
        inputs = self._inputs()
        size, numbers = inputs.shape[0], z.shape.num_elements() or _IF_UNKNOWN
        pieces = min(size, math.ceil(size * numbers / _NUMBERS_PER_CHUNK))
        if pieces == 1:
            total = tf.reduce_logsumexp(self._log_q(inputs, z), -1)
        else:
            total = self._log_sum(inputs, z, pieces)
        # log q(z) = log sum_k q(z | u_k) - log K
        return total - math.log(size)

    def _log_q(self, inputs, z):
        """log q(z | u_k), `[..., K]`."""
        z = tf.expand_dims(z, -1 - self._event.rank)
        return self._encode(inputs).log_prob(z)

    def _log_sum(self, inputs, z, pieces):
        """log sum_k q(z | u_k), a piece of the inputs at a time."""
        size = inputs.shape[0]
        rows = math.ceil(size / pieces)
        # the last piece is filled up with rows that do not count
        number = tf.reshape(tf.range(pieces * rows), [pieces, rows])

        def one(i):
            k = tf.gather(number, i)
            log_q = self._log_q(tf.gather(inputs, tf.minimum(k, size - 1)), z)
            nothing = tf.constant(-math.inf, log_q.dtype)
            return tf.reduce_logsumexp(tf.where(k < size, log_q, nothing), -1)

        def add(i, total):
            return i + 1, tf.reduce_logsumexp([total, one(i)], 0)

        start = tf.constant(1), one(0)
        return tf.while_loop(
            lambda *_: True, add, start, maximum_iterations=pieces - 1
        )[1]

    def _mean(self):
        return tf.reduce_mean(self._encode(self._inputs()).mean(), 0)

    def _variance(self):
        q = self._encode(self._inputs())
        # Var z = E Var(z | x) + Var E(z | x)
        return tf.reduce_mean(q.variance(), 0) + tf.math.reduce_variance(q.mean(), 0)


def _one_per_row(encoder, inputs):
    """q(z | u_k), once it is known to be one distribution per row of the inputs."""
    if not callable(encoder):
        raise ValueError(
            "expected encoder to be an Encoder or a callable x -> distribution; got "
            f"{type(encoder).__name__}."
        )
    if not inputs.shape.rank or not inputs.shape[0]:
        raise ValueError(
            "expected at least one datum, [N] + event of x, N known beforehand; got "
            f"shape {inputs.shape}."
        )
    q = encoder(inputs)
    if getattr(q, "batch_shape", None) != inputs.shape[:1]:
        found = getattr(q, "batch_shape", type(q).__name__)
        raise ValueError(
            f"expected encoder(x) to be one distribution per datum, batch shape "
            f"{inputs.shape[:1]}; got {found}. Wrap several latent dimensions in "
            "tfd.Independent, or use Encoder(network, family)."
        )
    return q
