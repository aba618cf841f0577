"""Draw from the surrogate posterior once: the only place that samples q for a bound.

`draw` takes a target and a surrogate posterior and returns `Draws`. Bounds, gaps and
code lengths are small functions of what comes back.
"""

from __future__ import annotations

from elbo_tfp.ground.seeds import as_seed, split_seed
from elbo_tfp.ground.structures import per_datum
from elbo_tfp.targets import log_densities
from elbo_tfp.types import Draws


def draw(target, surrogate_posterior, sample_size=1, *, seed) -> Draws:
    """Samples z ~ q and weighs them: log p(x | z), log p(z) and log q(z).

    Args:
        target: a model's `log_joint(x)`, a pinned TFP joint distribution, or any
            `target_log_prob_fn`. It gets z as one positional value; z is unpacked
            only where the signature asks for several arguments.
        surrogate_posterior: q, any object with `sample` and `log_prob`. For a model
            with a global prior, the pair `(q of z, q of the global latent)`.
        sample_size: number of samples S, or a tuple such as `(S, K)`.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        `Draws` whose densities are `[S, B]` (`[S, K, B]` for a tuple), in nats.

    Raises:
        ValueError: if `log p` does not have one number per sample and datum, for
            instance because a `reduce_sum` or an `Independent` was forgotten.
    """
    lead = lead_shape(sample_size)
    z, log_q = sample(target, surrogate_posterior, lead, seed)
    return _weigh(target, z, log_q, lead)


def sample(target, surrogate_posterior, lead, seed):
    """z ~ q of leading shape `lead`, and log q(z), `lead + [B]`, nats."""
    num_data = getattr(target, "num_data", None)
    if num_data is None:
        return _sample_one(surrogate_posterior, lead, as_seed(seed))
    local, shared = _local_and_global(surrogate_posterior)
    local_seed, shared_seed = split_seed(seed)
    z, log_q = _sample_one(local, lead, local_seed)
    w, log_q_shared = _sample_one(shared, lead, shared_seed)
    return (z, w), per_datum(log_q, log_q_shared, num_data)


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
    num_data = getattr(target, "num_data", None)
    if num_data is None:
        log_q = surrogate_posterior.log_prob(z)
    else:
        local, shared = _local_and_global(surrogate_posterior)
        log_q = per_datum(local.log_prob(z[0]), shared.log_prob(z[1]), num_data)
    return _weigh(target, z, log_q, lead_shape(sample_size))


def lead_shape(sample_size, name="sample_size") -> tuple[int, ...]:
    """The leading shape of the samples, `sample_size` as a checked tuple."""
    sizes = sample_size if isinstance(sample_size, (tuple, list)) else [sample_size]
    whole = [hasattr(n, "__index__") and not isinstance(n, bool) for n in sizes]
    if not sizes or not all(whole) or min(int(n) for n in sizes) < 1:
        raise ValueError(
            f"expected {name} to be a positive int or a tuple of them; got "
            f"{sample_size!r}. Use {name}=1 for the cheapest estimate."
        )
    return tuple(int(n) for n in sizes)


def _sample_one(q, lead, seed):
    if not (hasattr(q, "sample") and hasattr(q, "log_prob")):
        raise ValueError(
            "expected surrogate_posterior to have `sample` and `log_prob`, as TFP "
            f"distributions do; got {type(q).__name__}. An encoder must be called on x "
            "first, draw(model.log_joint(x), encoder(x), ...); a pair of distributions "
            "goes with a model that has a global prior."
        )
    both = getattr(q, "experimental_sample_and_log_prob", None)
    if both is not None:
        return both(lead, seed=seed)
    z = q.sample(lead, seed=seed)
    return z, q.log_prob(z)


def _local_and_global(surrogate_posterior):
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
    densities = log_densities(target, z, log_q, lead)
    if len(densities) == 1:
        return Draws(z, None, None, log_q, log_target=densities[0])
    return Draws(z, *densities, log_q, num_data=getattr(target, "num_data", None))
