"""Priors as a model takes them: a distribution, or a callable that returns one."""

from __future__ import annotations

import inspect

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


def check_prior(prior, name):
    """Raises ValueError if this can be no prior, or one without a gradient."""
    usable = callable(prior) or hasattr(prior, "log_prob")
    if not usable or isinstance(prior, type):
        raise ValueError(
            f"expected {name} to be a distribution or a callable that returns one; got "
            f"{prior!r}."
        )
    caught = [v for v in _parameters(prior) if _is_keras_variable(v)]
    if caught:
        raise ValueError(
            f"expected {name} to be a callable, since Keras variables shape it "
            f"({caught[0].path}): a distribution built once from them has no gradient. "
            f"Pass {name}=lambda: the distribution."
        )


def check_same_event(new, old):
    """Raises ValueError unless both have the same events; a discrete one may relax."""
    shapes, types = (
        [tf.nest.flatten(getattr(prior, part)) for prior in (new, old)]
        for part in ("event_shape", "dtype")
    )
    floating = [{d for d in parts if d.is_floating} for parts in types]
    if shapes[0] != shapes[1] or (all(floating) and floating[0] != floating[1]):
        raise ValueError(
            f"expected a prior of event shape {old.event_shape} and dtype {old.dtype}, "
            "as the prior that it replaces, since the likelihood was made for that; "
            f"got {new.event_shape} and {new.dtype}. Wrap independent dimensions in "
            "tfd.Independent, and pass dtype= where a family is built."
        )


def _parameters(distribution):
    """Every leaf among the arguments that built a distribution, nested ones too."""
    for value in tf.nest.flatten(getattr(distribution, "parameters", None) or {}):
        yield value
        if isinstance(value, (tfd.Distribution, tfp.bijectors.Bijector)):
            yield from _parameters(value)


def _is_keras_variable(value):
    """By name, so that Keras is not imported (a second) to look for its variables."""
    names = [f"{c.__module__}.{c.__name__}" for c in type(value).__mro__]
    return any(n.startswith("keras.") and n.endswith("Variable") for n in names)


def takes_an_argument(prior) -> bool:
    """Whether a prior is a callable that cannot be called without an argument."""
    if hasattr(prior, "log_prob") or not callable(prior):
        return False
    try:
        parameters = inspect.signature(prior).parameters.values()
    except (TypeError, ValueError):
        return False
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return any(p.default is p.empty and p.kind not in variable for p in parameters)


def built(prior, *w):
    """The distribution, made afresh if the prior is a callable (of w or c)."""
    found = prior if hasattr(prior, "log_prob") else prior(*w)
    if not hasattr(found, "log_prob"):
        raise ValueError(
            "expected the callable prior to return a distribution; got "
            f"{type(found).__name__}."
        )
    return found
