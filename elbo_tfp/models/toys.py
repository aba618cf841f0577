"""Models whose evidence and posterior are known exactly: the book's yardsticks."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.models.latent import LatentVariableModel

tfd = tfp.distributions


def normal_normal(
    prior_loc=0.0, prior_scale=1.0, noise_scale=1.0, *, dtype=tf.float32
) -> LatentVariableModel:
    """z ~ N(m, s^2), x given z ~ N(z, t^2): every answer is a Gaussian.

    Args:
        prior_loc: m.
        prior_scale: s, a standard deviation.
        noise_scale: t, a standard deviation.
        dtype: floating type of the parameters.
    """
    m = _number(prior_loc, dtype)
    s = _number(prior_scale, dtype, positive="prior_scale")
    t = _number(noise_scale, dtype, positive="noise_scale")

    def log_evidence(x):
        # x ~ N(m, s^2 + t^2)
        return tfd.Normal(m, tf.sqrt(s**2 + t**2)).log_prob(x)

    def posterior(x):
        # precision 1/s^2 + 1/t^2; mean = (m/s^2 + x/t^2) / precision
        precision = 1 / s**2 + 1 / t**2
        return tfd.Normal((m / s**2 + x / t**2) / precision, precision**-0.5)

    return LatentVariableModel(
        tfd.Normal(m, s),
        lambda z: tfd.Normal(z, t),
        log_evidence=log_evidence,
        posterior=posterior,
    )


def gamma_poisson(
    concentration=1.0, rate=1.0, *, dtype=tf.float32
) -> LatentVariableModel:
    """z ~ Gamma(a, b), x given z ~ Poisson(z): the evidence is negative binomial.

    Args:
        concentration: a.
        rate: b, an inverse scale.
        dtype: floating type of the parameters.
    """
    a = _number(concentration, dtype, positive="concentration")
    b = _number(rate, dtype, positive="rate")

    def log_evidence(x):
        # p(x) = NB(x; a failures, success probability 1 / (1 + b)); in float64, since
        # it is a small difference of large numbers
        failures, slope, x = (tf.cast(v, tf.float64) for v in (a, b, x))
        counts = tfd.NegativeBinomial(failures, logits=-tf.math.log(slope))
        return tf.cast(counts.log_prob(x), a.dtype)

    return LatentVariableModel(
        tfd.Gamma(a, b),
        tfd.Poisson,
        log_evidence=log_evidence,
        # p(z | x) = Gamma(a + x, b + 1)
        posterior=lambda x: tfd.Gamma(a + x, b + 1),
    )


def linear_gaussian(weights, bias=0.0, noise_scale=1.0) -> LatentVariableModel:
    """z ~ N(0, I_k), x given z ~ N(W z + b, s^2 I_D).

    Args:
        weights: W, `[D, k]`; a tensor, an array or a variable.
        bias: b, `[D]` or scalar.
        noise_scale: s, scalar or `[D]`, a standard deviation.

    Raises:
        ValueError: if `weights` is not a matrix of floats.

    Source: Tipping and Bishop (1999), equations 2 to 4 and 6.
    """
    if isinstance(weights, (list, np.ndarray)):
        weights = tf.convert_to_tensor(weights)
    dtype = tf.as_dtype(weights.dtype)
    if len(weights.shape) != 2 or not dtype.is_floating:
        raise ValueError(
            "expected weights of shape [D, k], one row per observed dimension, of a "
            f"floating type; got shape {weights.shape} and dtype {dtype.name}."
        )
    dims, latents = weights.shape
    bias = _number(bias, dtype)
    noise_scale = _number(noise_scale, dtype, positive="noise_scale")

    def rows(x):
        if x.shape.rank == 0 or x.shape[-1] != dims:
            raise ValueError(
                f"expected x of shape [..., {dims}], like bias; got {x.shape}."
            )
        return x

    def marginal():
        # x ~ N(b, W W' + s^2 I)
        noise = tf.broadcast_to(tf.square(noise_scale), [dims])
        cov = tf.matmul(weights, weights, transpose_b=True) + tf.linalg.diag(noise)
        loc = tf.broadcast_to(tf.convert_to_tensor(bias), [dims])
        return tfd.MultivariateNormalTriL(loc, tf.linalg.cholesky(cov))

    def posterior(x):
        # precision P = I + W' W / s^2; mean = P^-1 W' (x - b) / s^2
        scaled = (
            weights / tf.broadcast_to(tf.square(noise_scale), [dims])[:, tf.newaxis]
        )
        precision = tf.eye(latents, dtype=dtype) + tf.matmul(
            weights, scaled, transpose_a=True
        )
        cov = tf.linalg.inv(precision)
        mean = tf.linalg.matvec(
            cov, tf.linalg.matvec(scaled, rows(x) - bias, transpose_a=True)
        )
        return tfd.MultivariateNormalTriL(mean, tf.linalg.cholesky(cov))

    def likelihood(z):
        mean = tf.linalg.matvec(weights, z) + bias
        return tfd.Independent(tfd.Normal(mean, noise_scale), 1)

    zero = tf.zeros([latents], dtype)
    return LatentVariableModel(
        tfd.Independent(tfd.Normal(zero, tf.ones_like(zero)), 1),
        likelihood,
        log_evidence=lambda x: marginal().log_prob(rows(x)),
        posterior=posterior,
    )


def probabilistic_pca(
    x, latent_size: int, *, noise_variance=None
) -> LatentVariableModel:
    """The maximum likelihood linear-Gaussian model of data, in closed form.

    Args:
        x: data `[N, D]`, float; the model has its dtype.
        latent_size: k, between 1 and D - 1 (up to D if `noise_variance` is given).
        noise_variance: fixes sigma^2; then a unit whose eigenvalue is below it is off.

    Returns:
        A `linear_gaussian` model with the covariance W W' + sigma^2 I of highest
        likelihood (eigenvalues of the covariance that divides by N).

    Raises:
        ValueError: if x is not a finite matrix or `latent_size` is out of range.

    Source: Tipping and Bishop (1999), equations 7 and 8.
    """
    x = np.asarray(x)
    if x.ndim != 2 or len(x) < 2 or x.dtype.kind != "f" or not np.isfinite(x).all():
        raise ValueError(
            "expected data [N, D] of finite floats with N > 1; got shape "
            f"{x.shape} and dtype {x.dtype}."
        )
    largest = x.shape[1] - (noise_variance is None)
    if not 1 <= latent_size <= largest:
        raise ValueError(
            f"expected latent_size between 1 and {largest}; got {latent_size}. The "
            "noise is estimated from the dimensions that are left over."
        )
    mean = x.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(x.T.astype(np.float64), bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    if noise_variance is None:
        # sigma^2 = mean of the eigenvalues left over
        noise_variance = values[latent_size:].mean()
    if not noise_variance > 1e-12 * values[0]:
        raise ValueError(
            f"expected a positive noise variance; got {noise_variance:.3g}. The data "
            "lie in fewer dimensions than latent_size + 1: choose a smaller one."
        )
    # W = U (Lambda - sigma^2)^(1/2), zero where the eigenvalue is below sigma^2
    gain = np.sqrt(np.maximum(values[:latent_size] - noise_variance, 0))
    weights = tf.constant(vectors[:, :latent_size] * gain, x.dtype)
    return linear_gaussian(weights, mean.astype(x.dtype), np.sqrt(noise_variance))


def _number(value, dtype, positive=""):
    """A constant as a tensor, a variable as it is; a constant's sign is checked."""
    if hasattr(value, "assign"):
        return value
    value = tf.convert_to_tensor(value, dtype)
    constant = tf.get_static_value(value)
    if positive and constant is not None and not (constant > 0).all():
        raise ValueError(f"expected {positive} > 0; got {constant}.")
    return value
