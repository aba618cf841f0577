"""Draw from the surrogate posterior once: the only place that samples q for a bound.

`draw` takes a target and a surrogate posterior and returns `Draws`. Bounds, gaps and
code lengths are small functions of what comes back.
"""

from __future__ import annotations

import inspect

import tensorflow as tf

from elbo_tfp.types import Draws, as_seed, per_datum, split_seed

_SHAPE_ERRORS = (ValueError, tf.errors.InvalidArgumentError)


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


def call_target(fn, z):
    """`fn(z)`; z is unpacked only if the signature of `fn` asks for it."""
    kind = _unpacking(fn, z)
    if kind == "keywords":
        return fn(**(z._asdict() if hasattr(z, "_asdict") else dict(z)))
    return fn(*z) if kind == "positions" else fn(z)


def _unpacking(fn, z):
    if not isinstance(z, (tuple, list, dict)):
        return "whole"
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return "whole"
    kinds = [p.kind for p in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return "keywords" if isinstance(z, dict) else "positions"
    asked = [
        p.name for p in parameters if p.default is p.empty and p.kind < p.VAR_KEYWORD
    ]
    named = z if isinstance(z, dict) else getattr(z, "_fields", ())
    if asked and set(asked) <= set(named):
        return "keywords"
    return "positions" if len(asked) > 1 else "whole"


def lead_shape(sample_size) -> tuple[int, ...]:
    sizes = (
        tuple(sample_size) if isinstance(sample_size, (tuple, list)) else (sample_size,)
    )
    whole = [not isinstance(n, bool) and hasattr(n, "__index__") for n in sizes]
    if not sizes or not all(whole) or min(int(n) for n in sizes) < 1:
        raise ValueError(
            "expected sample_size to be a positive int or a tuple of them; got "
            f"{sample_size!r}. Use sample_size=1 for the cheapest estimate."
        )
    return tuple(int(n) for n in sizes)


def _sample_one(q, lead, seed):
    if not (hasattr(q, "sample") and hasattr(q, "log_prob")):
        raise ValueError(
            "expected surrogate_posterior to have `sample` and `log_prob`, as TFP "
            f"distributions do; got {type(q).__name__}. An encoder must be called on x "
            "first: draw(model.log_joint(x), encoder(x), ...)."
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
        "the model has a global prior, so surrogate_posterior must be the pair "
        "(q of the local z, q of the global latent); got "
        f"{type(surrogate_posterior).__name__}. Pass (encoder(x), q_global)."
    )


def _weigh(target, z, log_q, lead) -> Draws:
    _check_lead(log_q, lead)
    num_data = getattr(target, "num_data", None)
    if hasattr(target, "log_parts"):
        log_likelihood, log_prior = target.log_parts(z, sample_ndims=len(lead))
        log_likelihood = _same_shape(log_likelihood, log_q, lead, "log p(x | z)")
        log_prior = _same_shape(log_prior, log_q, lead, "log p(z)")
        return Draws(z, log_likelihood, log_prior, log_q, num_data=num_data)
    fn = getattr(target, "unnormalized_log_prob", target)
    if not callable(fn):
        raise ValueError(
            "expected target to be model.log_joint(x), a pinned joint distribution or "
            f"a function of z; got {type(target).__name__}."
        )
    log_target = _call_checked(fn, z, log_q, lead)
    _check_other_sample_size(fn, z, log_q, lead)
    return Draws(z, None, None, log_q, log_target=log_target)


def _call_checked(fn, z, log_q, lead):
    """The target's value, one number per sample and datum, or an error that says so."""
    try:
        value = tf.convert_to_tensor(call_target(fn, z))
    except _SHAPE_ERRORS as error:
        raise ValueError(
            f"target_log_prob_fn failed on draws of leading shape {list(lead)} "
            f"({type(error).__name__}: {_first_line(error)}). If its shapes do not "
            f"broadcast against z, it must sum over the data: {_EXPECTED}"
        ) from error
    return _same_shape(value, log_q, lead, "log p")


def _check_other_sample_size(fn, z, log_q, lead):
    """Calls the target at another sample size: shapes that agree by chance then differ.

    A forgotten `reduce_sum` over N data gives `[N]`, which looks like `[S]` if S = N.
    """
    other = 3 if lead[0] == 2 else 2
    rows = [0] * other
    z, log_q = tf.nest.map_structure(lambda t: tf.gather(t, rows), (z, log_q))
    _call_checked(fn, z, log_q, (other, *lead[1:]))


_EXPECTED = (
    "did you forget a reduce_sum in the target, or a tfd.Independent around a "
    "likelihood? A target returns one number per sample (and per datum of a batch)."
)


def _check_lead(log_q, lead):
    if not log_q.shape[: len(lead)].is_compatible_with(lead):
        raise ValueError(
            f"expected log q(z) to start with the sample shape {list(lead)}; got shape "
            f"{log_q.shape}. The surrogate posterior's log_prob must keep the "
            "sample dimension."
        )


def _same_shape(value, log_q, lead, name):
    """`value`, once it has the shape of `log_q`; checked at run time if it must be."""
    if not value.shape.is_compatible_with(log_q.shape):
        raise ValueError(
            f"expected {name} to have the shape of log q(z), {log_q.shape} = "
            f"{list(lead)} samples + batch {log_q.shape[len(lead) :]}; got "
            f"{value.shape}: {_EXPECTED} If the extra dimension is log q's, wrap the "
            "surrogate posterior in tfd.Independent instead."
        )
    if value.shape.is_fully_defined() and log_q.shape.is_fully_defined():
        return value
    same = tf.debugging.assert_equal(tf.shape(value), tf.shape(log_q), _EXPECTED)
    with tf.control_dependencies([same]):
        return tf.identity(value)


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else "no message"
