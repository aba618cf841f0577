"""Draws of q for ArviZ, whichever of its two majors is there."""

from __future__ import annotations

import importlib

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import as_seed


def to_arviz(q_or_result, *, sample_size=4_000, names=None, seed):
    """Draws of q as ArviZ wants them: one chain of independent draws.

    Args:
        q_or_result: q, anything with `sample` (an encoder must be called on x first),
            or what `gaps.refine` or `gaps.gap_report` returned.
        sample_size: number of draws.
        names: a name for each part of z, in the order of `tf.nest.flatten`; default
            the keys of a dict or the fields of a named tuple, else "z" (or "z_0" ...).
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        An `InferenceData` of ArviZ 0.x, or a `DataTree` of ArviZ 1.x, with the group
        "posterior" of shapes `[1, sample_size]` + event.

    Raises:
        ValueError: if q cannot be sampled or the names do not fit its parts.
        ImportError: if neither `arviz_base` nor `arviz` is installed.
    """
    q = getattr(q_or_result, "surrogate_posterior", q_or_result)
    if not hasattr(q, "sample"):
        raise wrong(
            "q, with `sample`",
            type(q).__name__,
            "Call an encoder on x first: to_arviz(encoder(x)). A FitResult holds no q.",
        )
    whole("sample_size", sample_size)
    # TFP's own samplers take an int for a stateful seed
    z = q.sample(sample_size, seed=as_seed(seed))
    parts, names = tf.nest.flatten(z), _names(z) if names is None else list(names)
    if len(names) != len(parts) or len(set(names)) != len(names):
        raise wrong(f"{len(parts)} different names, one per part of z", names)
    chains = {n: _plain(t)[np.newaxis] for n, t in zip(names, parts, strict=True)}
    return _from_dict(chains)


def _plain(part):
    """An array of a type that NumPy knows: ArviZ sorts and counts no bfloat16."""
    array = np.asarray(part)
    return array if array.dtype.kind in "biufc" else array.astype("float32")


def _names(z):
    parts = tf.nest.flatten(z)
    if hasattr(z, "_fields") and len(z._fields) == len(parts):
        return list(z._fields)
    if isinstance(z, dict) and len(z) == len(parts):
        return sorted(z)  # the order of tf.nest
    return ["z"] if len(parts) == 1 else [f"z_{i}" for i in range(len(parts))]


def _from_dict(posterior):
    for name in ("arviz_base", "arviz"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        old = name == "arviz" and module.__version__.split(".")[0] == "0"
        # 0.x takes groups as keywords, 1.x a dict of groups
        groups = {"posterior": posterior}
        return module.from_dict(**groups) if old else module.from_dict(groups)
    raise ImportError(
        "to_arviz needs ArviZ; got neither arviz_base nor arviz. Install one: "
        "pip install arviz"
    )
