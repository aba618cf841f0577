"""Where refinement starts: data, and the encoder's answer to them, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.evidence.problem import Problem
from elbo_tfp.evidence.starts import Pair
from elbo_tfp.families import Encoder
from elbo_tfp.gaps.climb import Climber
from elbo_tfp.ground.checks import wrong


class Start(NamedTuple):
    """Data, and where their q starts."""

    data: Any
    """A tensor or a structure of them, `[B]` + event; empty for a pin."""
    batch: tuple
    """B, in a tuple."""
    target_of: Callable
    """Data -> the target of `draw`."""
    member: Callable
    """Parameters `[B, P]` -> the family's q."""
    parameters: tf.Tensor
    """`[B, P]`."""
    amortized: Any = None
    """The encoder's distribution if it is no member of the family; else None."""

    def climber(self, jit_compile) -> Climber:
        """What climbs from here."""
        return Climber(self.target_of, self.member, self.data, self.batch, jit_compile)

    def log_weights(self, climber, sample_size, seed):
        """Of the encoder's answer, `[S, B]`; checked to be finite."""
        if self.amortized is None:
            found = climber.log_weights(self.parameters, sample_size, seed)
        else:
            found = climber.log_weights_of(self.amortized, sample_size, seed)
        check_finite(found, "the encoder's")
        return found


def begin(encoder, model, x, family) -> Start:
    """Asks the encoder for its answer to x, and checks both.

    Raises:
        ValueError: as `refine`.
    """
    if not hasattr(model, "log_joint"):
        return _pinned(encoder, model, x, family)
    if model.global_prior is not None:
        return _sharing(encoder, model, x, family)
    encoder = as_encoder(encoder, family)
    problem = Problem.of(model, x, None)
    data, batch = problem.data, problem.batch
    shape = tf.nest.map_structure(lambda part: part.shape, data)
    if len(batch) != 1:
        raise wrong(
            "x of shape [B] + the model's event",
            f"x of shape {shape}, whose batch shape is {list(batch)}",
            "Write x[tf.newaxis] for one datum.",
        )
    answer, amortized = encoder.network(data), None
    if hasattr(answer, "log_prob"):
        amortized, own = answer, tf.convert_to_tensor(encoder.family.free_parameters)
        rows, answer = answer.batch_shape, tf.broadcast_to(own, [*batch, own.shape[-1]])
    else:
        answer = tf.convert_to_tensor(answer)
        rows = answer.shape[:-1]
    if tuple(rows) != batch:
        raise wrong(
            f"the encoder to answer x of shape {shape} with one row per datum, batch "
            f"shape {list(batch)}",
            list(rows),
        )
    encoder.family(answer)  # names a wrong parameter count
    return Start(data, batch, problem.target_of, encoder.family, answer, amortized)


def _pinned(q, target, x, family) -> Start:
    """A target that holds its data is one datum, and q a family's own member."""
    known = callable(target) or hasattr(target, "unnormalized_log_prob")
    if x is not None or hasattr(target, "network") or not known:
        raise wrong(
            "a LatentVariableModel, or x=None with a target that holds its data",
            type(target).__name__,
            "The order is gap_report(model, encoder, x) and refine(encoder, model, x).",
        )
    q = q if family is None else family
    own = _own_parameters(q)
    return Start((), (1,), lambda _: target, lambda p: q(p[0]), own[tf.newaxis])


def _sharing(encoder, model, x, family) -> Start:
    """Data that share a latent w: one bound on all of them, so B = 1."""
    problem = Problem.of(model, x, None)
    local, shared = (None, encoder) if not model.has_local else _pair(encoder)
    own = _own_parameters(shared)
    if local is None:
        parameters, member = own, shared
    else:
        local = as_encoder(local, family)
        answer = tf.convert_to_tensor(local.network(problem.data))
        if answer.dtype != own.dtype:
            raise wrong(
                "the encoder and q of the global latent to have one dtype",
                f"{answer.dtype.name} and {own.dtype.name}",
                "Pass dtype= where the family is built, or cast x.",
            )
        size = answer.shape.num_elements()
        parameters = tf.concat([tf.reshape(answer, [-1]), own], 0)

        def member(p):
            rows = tf.reshape(p[:size], answer.shape)
            return Pair(local.family(rows), shared(p[size:]))

    at = parameters[tf.newaxis]
    return Start(problem.data, (1,), problem.target_of, lambda p: member(p[0]), at)


def _pair(encoder):
    several = isinstance(encoder, (tuple, list)) and not hasattr(encoder, "network")
    if several and len(encoder) == 2:
        return encoder
    raise wrong(
        "the pair (encoder, q of the global latent) for a model with a global prior",
        type(encoder).__name__,
        "All data share that latent: there is one gap for all of them together.",
    )


def _own_parameters(q):
    """The parameters `[P]` of a family of one member."""
    own = getattr(q, "free_parameters", None)
    if own is None or not callable(q) or own.shape.rank != 1:
        raise wrong(
            "a family of one member (families.full_rank, families.mean_field_for) with "
            "a target that holds its data, or for a latent that all data share",
            type(q).__name__,
        )
    return tf.convert_to_tensor(own)


def as_encoder(encoder, family=None) -> Encoder:
    """An `Encoder`, from one or from a bare callable and its family.

    Raises:
        ValueError: if a callable comes without a family, or an encoder with another.
    """
    known = getattr(encoder, "family", None)
    if known is not None and hasattr(encoder, "network"):
        if family is None or family is known:
            return encoder
        raise wrong(
            "family=None with an Encoder, which has one of its own",
            "another",
            "Pass encoder.network with the other family.",
        )
    if family is None or not callable(encoder):
        raise wrong(
            "an Encoder(network, family), since a datum's q is refined by moving the "
            "family's parameters from the network's output",
            type(encoder).__name__,
            "Write families.Encoder(network, family), or pass family= with a callable.",
        )
    return Encoder(encoder, family)


def check_finite(log_weights, whose):
    """Raises ValueError if the ELBO of a datum is not finite."""
    bad = int(np.sum(~np.isfinite(log_weights).all(0)))
    if bad:
        raise wrong(
            f"{whose} ELBO to be finite",
            f"minus infinity or NaN for {bad} of {log_weights.shape[-1]} data",
            "Check the data and the model's log-density where q puts z.",
        )
