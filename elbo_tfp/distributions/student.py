"""Student-t draws without rejection: no loop, the same numbers eagerly and compiled.

TFP divides a normal by the root of a Gamma variable, which it draws by rejection: a
loop that a GPU leaves to the host in every step. Bailey's generalisation of Box and
Muller needs two uniforms and elementary functions.
"""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.normal import full_shape
from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import uniform

tfd = tfp.distributions


class StudentT(tfd.StudentT):
    """TFP's Student-t, drawn without rejection; pathwise gradients in all parameters.

    A pair of t variables, uncorrelated and with a common scale, has a radius R with
    P(R > r) = (1 + r^2 / df)^(-df / 2) and a uniform angle; one coordinate is a
    Student-t. In float32 the uniforms are multiples of 2^-24, so no draw is further
    out than a probability of 6e-8 reaches.

    Source: Bailey (1994), "Polar generation of random variates with the
    t-distribution", equation 3.

    Raises:
        ValueError: if `df` or `scale` is not positive, as far as that is known, or the
            parameters are of several dtypes.
    """

    # no __init__: TFP logs a page of warning about every subclass that has one
    def __new__(cls, df, loc, scale, *args, **options):
        """TFP says that dtypes differ in a `TypeError`."""
        given = {"df": df, "loc": loc, "scale": scale}
        kinds = {k: tf.as_dtype(v.dtype).name for k, v in given.items() if _typed(v)}
        if len(set(kinds.values())) > 1:
            raise wrong("parameters of StudentT of one dtype", kinds, "Cast them.")
        return super().__new__(cls)

    def _parameter_control_dependencies(self, is_init):
        for name in ("df", "scale") if is_init else ():
            value = getattr(self, name)
            known = tf.get_static_value(value) if isinstance(value, tf.Tensor) else None
            if known is not None and not (known > 0).all():
                raise wrong(f"{name} of StudentT to be positive", known)
        return super()._parameter_control_dependencies(is_init)

    def _sample_n(self, n, seed=None):
        shape, static = full_shape(self, [n], tf.TensorShape([]))
        u, v = tf.unstack(uniform(tf.concat([[2], shape], 0), seed, self.dtype))
        df = tf.broadcast_to(tf.convert_to_tensor(self.df), shape)
        # t = R cos(2 pi V)
        t = _radius(df, tf.math.log(u)) * tf.cos(2 * math.pi * v)
        t.set_shape(static)
        return self.loc + self.scale * t


def _typed(value):
    return getattr(value, "dtype", None) is not None


@tf.custom_gradient
def _radius(df, log_u):
    """R = sqrt(df (U^(-2 / df) - 1)), and its derivative in df."""
    s = -log_u / df
    # U = exp(-df s): R = exp(s) sqrt(df (1 - exp(-2 s))) overflows only where R does
    radius = tf.exp(s) * tf.sqrt(-df * tf.math.expm1(-2 * s))

    def gradient(upstream):
        # s coth s - 1, by its series where that would cancel
        near = tf.square(s) / 3 - s**4 / 45
        excess = tf.where(s < 0.1, near, s / tf.tanh(s) - 1)
        # d log R / d df = -(s + s coth s - 1) / (2 df)
        return -0.5 * upstream * radius * (s + excess) / df, None

    return radius, gradient
