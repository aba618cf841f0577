"""The collapse report: which latents carry anything, and does the decoder listen?"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from elbo_tfp.bounds import analytic_kl
from elbo_tfp.evidence.problem import prior_at
from elbo_tfp.families import aggregated_posterior
from elbo_tfp.gaps.climb import in_chunks
from elbo_tfp.gaps.collapse_results import CollapseReport
from elbo_tfp.gaps.marginal import kl_per_dimension, posterior_means
from elbo_tfp.gaps.refine import _ERROR
from elbo_tfp.ground import measured as _per
from elbo_tfp.ground import structures
from elbo_tfp.ground.checks import real, whole, wrong
from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.seeds import split_seed

_NUMBERS = 2**21


def collapse_report(
    model, encoder, x, *, threshold=0.01, sample_size=100, jit_compile=True, seed
) -> CollapseReport:
    """Looks for posterior collapse: what do the latents tell, and who listens?

    Four views. A dimension is *active* if q's mean moves with x. The mean rate splits
    exactly into the mutual information between x and z (what z tells about which
    datum it is) and the marginal KL (how far all answers together are from the prior).
    The *swap test* decodes every datum from the z of another one: a decoder that
    ignores z does not notice.

    Mutual information is that of the given data: with N of them it is at most log N,
    and an estimate near that says only that N is too small.

    Args:
        model: a `LatentVariableModel` without a global prior.
        encoder: an `Encoder`, or any callable from x to a distribution of batch shape
            `[B]` over vectors z, or over paths `[T, K]`.
        x: data, `[B]` + event, at least 2; every z is compared with every datum.
        threshold: the variance of q's mean above which a dimension is active.
        sample_size: draws per datum.
        jit_compile: whether to compile with XLA.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        A `CollapseReport`; it prints as tables.

    Raises:
        ValueError: if there are fewer than 2 data or draws, the encoder does not give
            one distribution over vectors per datum, or the model has a global prior.

    Source: active units: Burda, Grosse and Salakhutdinov (2016), section 5.2; the
    split: Hoffman and Johnson (2016), equation 3.
    """
    x, q = _checked(model, encoder, x, threshold, sample_size)
    seeds = split_seed(seed, 4)
    kl, information, swap, log_q = _measured(
        model, encoder, x, sample_size, jit_compile, seeds
    )
    prior = prior_at(model, x)
    exact = analytic_kl(q, prior)
    if exact is not None:
        kl = np.broadcast_to(np.asarray(exact, np.float64), kl.shape)
    # KL = I + marginal KL, draw by draw
    rest = np.asarray(kl, np.float64) - information
    rounding = _per.rounding_of(log_q)
    rate = _per.mean_of(kl, 0.0 if exact is not None else rounding)
    means, noise = posterior_means(q, sample_size, seeds[2])
    variance, variance_error = _variance(means, noise)
    parts = kl_per_dimension(q, prior, sample_size, seeds[3])
    return CollapseReport(
        active=variance > threshold,
        mean_variance=variance,
        mean_variance_error=variance_error,
        kl_per_dimension=None if parts is None else parts.mean(0),
        kl_per_dimension_error=None
        if parts is None
        else parts.std(0, ddof=1) / math.sqrt(len(parts)),
        kl=rate,
        mutual_information=_per.mean_of(information, rounding),
        marginal_kl=_per.mean_of(rest, rounding),
        swap_loss=_per.mean_of(swap, 0.0),
        threshold=float(threshold),
    )


def _measured(model, encoder, x, sample_size, jit_compile, seeds):
    """log q(z|x) - log p(z), log q(z|x) - log q(z), swap loss, log q; `[S, B]`."""
    num = structures.batch_size(x)
    row = [part.shape[1:].num_elements() for part in tf.nest.flatten(x)]
    chunk = max(1, _NUMBERS // (num * sum(row)))

    def program(x, draw_seed, partner_seed):
        q, target = encoder(x), model.log_joint(x)
        # a mixture over the numbers of the data, whatever a datum is made of
        mixture = aggregated_posterior(
            lambda i: encoder(structures.rows(x, i)), tf.range(num)
        )
        partner = _another(num, partner_seed)

        def once(seed, size):
            z = q.sample(size, seed=seed)
            log_q = q.log_prob(z)
            own, log_prior = target.log_parts(z, sample_ndims=1)
            other, _ = target.log_parts(tf.gather(z, partner, axis=1), sample_ndims=1)
            return log_q - log_prior, log_q - mixture.log_prob(z), own - other, log_q

        return in_chunks(once, sample_size, chunk, (num,), (q.dtype,) * 4, draw_seed)

    arguments = x, seeds[0], seeds[1]
    run = compiled(program, *arguments, jit_compile=jit_compile)
    return [v.numpy() for v in run(*arguments)]


def _another(num, seed) -> tf.Tensor:
    """For every datum another one: a random cycle through all of them, `[B]`."""
    order = tf.argsort(tf.random.stateless_uniform([num], seed))
    # the successor of order[i] in the cycle is order[i + 1]
    return tf.scatter_nd(order[:, tf.newaxis], tf.roll(order, -1, 0), [num])


def _variance(means, noise):
    """Variance over data of q's mean per dimension, and its standard error, `[D]`."""
    num = len(means)
    squares = (means - means.mean(0)) ** 2
    # Var(estimated mean) = Var(mean) + noise^2
    variance = squares.mean(0) - (noise**2).mean(0)
    return variance, squares.std(0, ddof=1) / math.sqrt(num)


def _checked(model, encoder, x, threshold, sample_size):
    if not hasattr(model, "log_joint") or not callable(encoder):
        raise wrong(
            "a LatentVariableModel and an encoder, a callable x -> distribution",
            f"{type(model).__name__} and {type(encoder).__name__}",
        )
    if model.global_prior is not None:
        raise wrong(
            "a model without a global prior",
            "one: what x tells about a latent that all data share is no number per "
            "datum",
            "Fix the shared latent: LatentVariableModel(prior, lambda z: "
            "likelihood(z, w)).",
        )
    whole("sample_size", sample_size, 2, _ERROR)
    real("threshold", threshold)
    x = model.log_joint(x).x
    q = encoder(x)
    rows = getattr(q, "batch_shape", None)
    if rows is None or not getattr(q.event_shape, "rank", None):
        raise wrong(
            "encoder(x) to be a distribution over vectors z, or paths of them",
            f"{type(q).__name__} of event shape {getattr(q, 'event_shape', None)}",
        )
    num = structures.batch_size(x, "x")
    if tuple(rows) != (num,) or num < 2:
        raise wrong(
            "at least 2 data, and one distribution for each",
            f"x of shape {tf.nest.map_structure(lambda part: part.shape, x)} and q of "
            f"batch shape {rows}",
            "A single datum varies with nothing, so that no latent can be seen to be "
            "active.",
        )
    return x, q
