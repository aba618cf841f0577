"""Draw from the surrogate posterior once: the only place that samples q for a bound.

`draw` takes a target and a surrogate posterior and returns `Draws`. Bounds, gaps and
code lengths are small functions of what comes back.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import as_seed, split_seed
from elbo_tfp.ground.structures import per_datum
from elbo_tfp.ground.xlogy import exact_xlogy
from elbo_tfp.targets import as_target, log_densities
from elbo_tfp.types import Draws


def draw(target, surrogate_posterior, sample_size=1, *, seed) -> Draws:
    """Samples z ~ q and weighs them: log p(x | z), log p(z) and log q(z).

    Args:
        target: a model's `log_joint(x)`, a pinned TFP joint distribution, or any
            `target_log_prob_fn`. It gets z as one positional value; z is unpacked
            only where the signature asks for several arguments.
        surrogate_posterior: q, any object with `sample` and `log_prob`. For a model
            with a global prior, the pair `(q of z, q of the global latent)`, or the
            latter alone if the model has no local latent (z is then of event shape
            `[0]`).
        sample_size: number of samples S, or a tuple such as `(S, K)`.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        `Draws` whose densities are `[S, B]` (`[S, K, B]` for a tuple), in nats.

    Raises:
        ValueError: if `log p` does not have one number per sample and datum, for
            instance because a `reduce_sum` or an `Independent` was forgotten; if q
            cannot be sampled, or its density is not finite at its own samples. And,
            where the draws are differentiated with respect to the parameters of a q
            whose samples have no gradient.
    """
    lead, target = lead_shape(sample_size), as_target(target)
    z, log_q = sample(target, surrogate_posterior, lead, seed)
    draws = _weigh(target, z, log_q, lead)
    return draws if is_reparameterized(surrogate_posterior) else _guarded(draws)


def sample(target, surrogate_posterior, lead, seed):
    """z ~ q of leading shape `lead`, and log q(z), `lead + [B]`, nats."""
    target = as_target(target)
    if target.num_data is None:
        return _sample_one(surrogate_posterior, lead, as_seed(seed))
    local_seed, shared_seed = split_seed(seed)
    local, shared = _local_and_global(target, surrogate_posterior)
    w, log_q_shared = _sample_one(shared, lead, shared_seed)
    if local is None:
        log_q = target.nothing(log_q_shared)
        z = tf.repeat(log_q[..., tf.newaxis], 0, -1)
    else:
        z, log_q = _sample_one(local, lead, local_seed)
    return (z, w), per_datum(log_q, log_q_shared, target.num_data)


def evaluate(target, surrogate_posterior, z, sample_size) -> Draws:
    """The `Draws` of given samples, with log q computed afresh at them.

    Args:
        target: as in `draw`.
        surrogate_posterior: as in `draw`.
        z: samples, their leading shape `sample_size`.
        sample_size: int or tuple, as in `draw`.

    Returns:
        `Draws`; gradients flow to `z`, to the model and to q's parameters.
    """
    target = as_target(target)
    log_q, _ = _log_q(target, surrogate_posterior, z)
    return _weigh(target, z, log_q, lead_shape(sample_size))


def log_q_in_full(target, surrogate_posterior, z) -> tf.Tensor:
    """log q of all that the log-weight of a datum depends on, `[S, B]`, nats.

    A bound counts 1 / N of a shared latent's density in each datum; its score is
    needed whole, since the whole log-weight moves with that latent.
    """
    return _log_q(as_target(target), surrogate_posterior, z)[1]


def _log_q(target, surrogate_posterior, z):
    """log q as a bound counts it, and in full, both `[S, B]`."""
    with exact_xlogy():
        if target.num_data is None:
            log_q = surrogate_posterior.log_prob(z)
            return log_q, log_q
        local, shared = _local_and_global(target, surrogate_posterior)
        log_q_shared = shared.log_prob(z[1])
        log_q = local.log_prob(z[0]) if local else target.nothing(log_q_shared)
    share = per_datum(log_q, log_q_shared, target.num_data)
    return share, per_datum(log_q, log_q_shared, 1)


def is_reparameterized(surrogate_posterior) -> bool:
    """Whether the samples of q, or of each of a pair, have a gradient, if they say."""
    several = isinstance(surrogate_posterior, (tuple, list))
    parts = surrogate_posterior if several else [surrogate_posterior]
    kinds = [getattr(q, "reparameterization_type", None) for q in parts]
    return all(
        kind != tfp.distributions.NOT_REPARAMETERIZED for kind in tf.nest.flatten(kinds)
    )


def lead_shape(sample_size, name="sample_size") -> tuple[int, ...]:
    """The leading shape of the samples, `sample_size` as a checked tuple."""
    if not isinstance(sample_size, (tuple, list)):
        return (whole(name, sample_size, remedy=f"Use {name}=1 for the cheapest."),)
    if not sample_size:
        raise wrong(f"{name} to be a positive int or a tuple of them", "()")
    return tuple(whole(f"each number of {name}", n) for n in sample_size)


def _sample_one(q, lead, seed):
    if not (hasattr(q, "sample") and hasattr(q, "log_prob")):
        raise ValueError(
            "expected surrogate_posterior to have `sample` and `log_prob`, as TFP "
            f"distributions do; got {type(q).__name__}. An encoder must be called on x "
            "first, draw(model.log_joint(x), encoder(x), ...); a pair of distributions "
            "goes with a model that has a global prior."
        )
    both = getattr(q, "experimental_sample_and_log_prob", None)
    try:
        with exact_xlogy():
            if both is not None:
                z, log_q = both(lead, seed=seed)
            else:
                z = q.sample(lead, seed=seed)
                log_q = q.log_prob(z)
    except (tf.errors.InvalidArgumentError, NotImplementedError) as error:
        raise wrong(
            "a surrogate posterior that can be sampled",
            f"{type(q).__name__}: {str(error).strip().splitlines()[0]}",
            "The components of a reparameterized tfd.MixtureSameFamily must be scalar "
            "or tfd.Independent of scalars; families.mixture builds such a q.",
        ) from error
    _check_density(z, log_q)
    return z, log_q


def _check_density(z, log_q):
    """Raises ValueError, in eager mode, if q's own samples have no finite density."""
    if not tf.executing_eagerly():
        return
    bad = int(tf.math.count_nonzero(~tf.math.is_finite(log_q)))
    if bad:
        parts = [t for t in tf.nest.flatten(z) if t.dtype.is_floating]
        zeros = sum(int(tf.math.count_nonzero(t == 0)) for t in parts)
        raise wrong(
            "log q(z) to be finite at samples of q",
            f"{bad} of {tf.size(log_q)} that are not, with {zeros} zeros among the "
            f"samples of {log_q.dtype.name}",
            "Zeros are an underflow (a sparse Dirichlet, a small Beta or Gamma): use "
            "float64. Otherwise look for NaN among q's parameters.",
        )


def _local_and_global(target, surrogate_posterior):
    """q of z, None if there is no z, and q of the global latent."""
    if target.nothing is not None:
        return None, surrogate_posterior
    if isinstance(surrogate_posterior, (tuple, list)) and len(surrogate_posterior) == 2:
        return surrogate_posterior
    raise ValueError(
        "expected surrogate_posterior to be the pair (q of z, q of the global latent), "
        "since the model has a global prior; got "
        f"{type(surrogate_posterior).__name__}. Pass (encoder(x), q_global)."
    )


def _weigh(target, z, log_q, lead) -> Draws:
    if not log_q.shape[: len(lead)].is_compatible_with(lead):
        raise ValueError(
            f"expected log q(z) to start with the sample shape {list(lead)}; got shape "
            f"{log_q.shape}. The surrogate posterior's log_prob must keep the "
            "sample dimension."
        )
    with exact_xlogy():
        densities = log_densities(target, z, log_q, lead)
    if len(densities) == 1:
        return Draws(z, None, None, log_q, log_target=densities[0])
    return Draws(z, *densities, log_q, num_data=target.num_data)


def _guarded(draws) -> Draws:
    """Draws that raise where they are differentiated with respect to q's parameters.

    The samples carry no gradient, so the gradient of a bound would lack a term.
    """
    # zeros that depend on whatever log q depends on
    nothing = _without_gradient(draws.log_q)
    names = "log_likelihood", "log_prior", "log_q", "log_target"
    found = {name: getattr(draws, name) for name in names}
    return draws._replace(**{k: v + nothing for k, v in found.items() if v is not None})


@tf.custom_gradient
def _without_gradient(log_q):
    def gradient(upstream):
        raise wrong(
            "a reparameterized surrogate posterior for a gradient through draw",
            "one whose samples have no gradient (discrete, or TFP knows no pathwise "
            "sampler)",
            "Use gradients.leave_one_out or score_function, or sum a discrete latent "
            "out. For a score function of your own take draws.evaluate at the samples; "
            "if q is not trained, keep its variables off the tape: tf.stop_gradient.",
        )

    return tf.zeros_like(log_q), gradient
