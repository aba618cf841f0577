"""Which states a finite latent has."""

from __future__ import annotations

import itertools
import math

import numpy as np
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.wrappers import unwrap
from elbo_tfp.marginals.latents import named_parts

tfd = tfp.distributions
_INFINITE = ("Poisson", "Geometric", "NegativeBinomial", "Zipf", "Skellam")


def discrete_names(prior):
    """The latents of an integer or boolean type; None if there is one latent only."""
    parts = named_parts(prior.dtype)
    if parts.keys() == {"z"} and not isinstance(prior.dtype, dict):
        return None
    found = [n for n, d in parts.items() if d.is_integer or d.is_bool]
    if not found:
        raise wrong(
            "a latent of an integer or boolean type to sum out",
            parts,
            "Name the latents: enumerate_discrete(model, ['k']).",
        )
    return found


def states_of(parts, support, max_states):
    """name -> the states `[M]` + event of all combinations of some latents.

    Args:
        parts: name -> distribution.
        support: name -> states, where the package does not know them.
        max_states: the largest M.

    Raises:
        ValueError: if a support is infinite or unknown, or M too large.
    """
    counts = {
        n: len(support[n]) if n in support else _count(d, n) for n, d in parts.items()
    }
    total = math.prod(counts.values())
    if total > max_states:
        sizes = " x ".join(f"{c:,} ({n!r})" for n, c in counts.items())
        raise wrong(
            f"at most max_states={max_states:,} combinations of states",
            f"{total:,} = {sizes}",
            "Sum fewer latents out, or raise max_states if memory allows.",
        )
    values = {
        n: np.asarray(support[n]) if n in support else _states(d)
        for n, d in parts.items()
    }
    rows = np.array(list(itertools.product(*map(range, counts.values()))))
    return {n: v[rows[:, i]] for i, (n, v) in enumerate(values.items())}


def scalar_states(d, name):
    """The states `[M]` + event of one distribution that is no product.

    Raises:
        ValueError: if they are not finitely many, as far as the package knows.
    """
    if isinstance(d, tfd.Bernoulli):
        return np.arange(2)
    if isinstance(d, tfd.Categorical):
        return np.arange(d.logits_parameter().shape[-1])
    if isinstance(d, tfd.OneHotCategorical):
        return np.eye(d.event_shape[-1])
    if isinstance(d, tfd.Binomial):
        return np.arange(int(np.max(d.total_count)) + 1)
    if isinstance(d, tfd.FiniteDiscrete):
        return np.asarray(d.outcomes)
    kind = type(d).__name__
    why = "infinite" if kind in _INFINITE else "not known to be finite"
    raise wrong(
        "a latent with finitely many states",
        f"{name!r} with a {kind} distribution, whose support is {why}",
        "Integrate it otherwise, or pass "
        f"support={{{name!r}: states}} if a finite list holds all its mass.",
    )


def _unwrapped(d):
    """(scalar distribution, number of independent copies)."""
    base, ndims, _ = unwrap(d)
    return base, math.prod(d.event_shape[:ndims])


def _count(d, name):
    base, copies = _unwrapped(d)
    return len(scalar_states(base, name)) ** copies


def _states(d):
    base, copies = _unwrapped(d)
    single = scalar_states(base, "")
    rows = np.array(list(itertools.product(range(len(single)), repeat=copies)))
    return single[rows].reshape(len(rows), *d.event_shape)
