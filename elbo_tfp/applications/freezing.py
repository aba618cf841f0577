"""A surrogate posterior as it is now, that no later training moves."""

from __future__ import annotations

import types

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.compiled import traced
from elbo_tfp.ground.seeds import as_seed

tfb, tfd = tfp.bijectors, tfp.distributions


def freeze(surrogate_posterior) -> tfd.Distribution:
    """q as it is now: a copy that no training moves.

    Args:
        surrogate_posterior: a `Family` or a distribution, with whatever variables.

    Returns:
        A distribution with constants where q has variables, trained or not.

    Raises:
        ValueError: if it has no `log_prob`, or a part of it cannot be copied.
    """
    if not hasattr(surrogate_posterior, "log_prob"):
        raise wrong(
            "a surrogate posterior with log_prob",
            type(surrogate_posterior).__name__,
            "An encoder has none: pass a distribution or a Family.",
        )
    frozen = _still(surrogate_posterior, {})
    frozen = getattr(frozen, "current", frozen)
    left = _variables(frozen)
    if left:
        raise wrong(
            "a surrogate posterior whose variables can be copied",
            f"{type(surrogate_posterior).__name__}, which still reads {left[0].name}",
            "Build a distribution from the values of its parameters.",
        )
    return frozen


def _variables(q):
    """Every variable that the density of q reads, trained or not."""
    return traced(lambda: q.log_prob(q.sample(seed=as_seed(0)))).variables


def _still(thing, copies):
    """A copy with a constant in place of each variable; what holds none may be kept."""
    if id(thing) not in copies:
        copies[id(thing)] = thing, thing  # what holds itself ends here
        # the thing is kept beside its copy, so that no other gets its id
        copies[id(thing)] = _still_afresh(thing, copies), thing
    return copies[id(thing)][0]


def _still_afresh(thing, copies):
    if isinstance(thing, tf.Variable):
        return tf.constant(thing.numpy())
    if isinstance(thing, (tfd.Distribution, tfb.Bijector)):
        parts = {k: _still(v, copies) for k, v in thing.parameters.items()}
        changed = any(v is not thing.parameters[k] for k, v in parts.items())
        return thing.copy(**parts) if changed else thing
    if isinstance(thing, types.FunctionType):
        return _still_function(thing, copies)
    if isinstance(thing, tf.Module):
        found = object.__new__(type(thing))
        found.__dict__.update({k: _still(v, copies) for k, v in vars(thing).items()})
        return found
    if type(thing) in (tuple, dict) or isinstance(thing, list):
        parts = thing.values() if isinstance(thing, dict) else thing
        found = [_still(part, copies) for part in parts]
        if all(new is old for new, old in zip(found, parts, strict=True)):
            return thing
        if isinstance(thing, dict):
            return dict(zip(thing, found, strict=True))
        return tuple(found) if isinstance(thing, tuple) else found
    return thing


def _still_function(function, copies):
    cells = [c.cell_contents for c in function.__closure__ or ()]
    found = [_still(content, copies) for content in cells]
    if all(new is old for new, old in zip(found, cells, strict=True)):
        return function
    copied = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        tuple(map(types.CellType, found)),
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied
