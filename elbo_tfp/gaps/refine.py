"""Refinement: from the encoder's answer to the best member of the family, per datum."""

from __future__ import annotations

import math
import numbers
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp import draws as _draws
from elbo_tfp.evidence.problem import Problem
from elbo_tfp.families import Encoder
from elbo_tfp.gaps.climb import Climber
from elbo_tfp.ground.measured import PerDatum, mean_of, rounding_of
from elbo_tfp.ground.seeds import as_seed, split_seed


class Refined(NamedTuple):
    """The best member of the family that was found for every datum."""

    surrogate_posterior: Any
    """The refined q, batch shape `[B]`."""
    parameters: tf.Tensor
    """Its parameters in the family, `[B, P]`."""
    before: PerDatum
    """ELBO of the encoder's answer, nats."""
    after: PerDatum
    """ELBO of the refined q, with the same noise, nats."""
    gain: PerDatum
    """`after - before`, paired draw by draw, nats: the amortization gap as far as it
    was closed."""
    converged: np.ndarray
    """Whether a whole round no longer raised a datum's ELBO by `tolerance`, `[B]`."""
    rounds: int
    """Number of rounds that were run."""


def refine(
    encoder,
    model,
    x,
    *,
    family=None,
    num_steps=200,
    max_rounds=10,
    sample_size=16,
    learning_rate=0.05,
    tolerance=0.02,
    evaluation_size=1_000,
    jit_compile=True,
    seed,
) -> Refined:
    """Moves each datum's q from the encoder's answer to the best in its family.

    The network only gives the start; what moves are the family's parameters, one set
    per datum, all data in one compiled loop. Weights that a family's members share (a
    flow's layers) stay as they are.

    The loop runs in rounds: in each the step size starts afresh and falls to zero, then
    the ELBO is compared with that before the round, with common noise. A datum moves if
    it gains beyond doubt: by two standard errors, and a twentieth of `tolerance`. It
    has converged once a whole round's gain is, by two standard errors, below
    `tolerance`. Rounds end when all data have. The ELBO may have several summits: what
    is found is the one above the encoder's answer.

    Args:
        encoder: an `Encoder`; or, with `family`, a bare callable that maps x to the
            family's parameters `[B, P]` or to a distribution (refinement then starts
            from the family's own parameters).
        model: a `LatentVariableModel` without a global prior.
        x: data, `[B]` + event. All are held at once: a few thousand at a time.
        family: of a bare encoder; None with an `Encoder`.
        num_steps: Adam steps per round.
        max_rounds: at most so many rounds; 1 for a fixed number of steps.
        sample_size: draws per step and datum.
        learning_rate: first step size of a round, in unconstrained parameters.
        tolerance: the gain of a round that is not worth another, nats per datum.
        evaluation_size: draws per datum that judge a round, and that `before`, `after`
            and `gain` come from (with noise of their own).
        jit_compile: whether to compile with XLA.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        A `Refined`.

    Raises:
        ValueError: if a bare encoder has no family, x and encoder disagree about the
            batch, q is not reparameterized, or the encoder's ELBO is not finite.

    Source: Hjelm et al. (2016); Krishnan, Liang and Hoffman (2018), algorithm 1.
    """
    start = begin(encoder, model, x, family)
    search_seed, last_seed = split_seed(as_seed(seed))
    climber = Climber.of(model, start.family, start.batch, jit_compile)
    at, converged, rounds = search(
        start,
        climber,
        num_steps=num_steps,
        max_rounds=max_rounds,
        sample_size=sample_size,
        learning_rate=learning_rate,
        tolerance=tolerance,
        evaluation_size=evaluation_size,
        seed=search_seed,
    )
    first = start.log_weights(climber, evaluation_size, last_seed)
    last = climber.log_weights(start.x, at, evaluation_size, last_seed)
    rounding = rounding_of(last)
    return Refined(
        start.family(at),
        at,
        mean_of(first, rounding),
        mean_of(last, rounding),
        paired(last, first),
        converged,
        rounds,
    )


def search(
    start,
    climber,
    *,
    num_steps,
    max_rounds,
    sample_size=16,
    learning_rate,
    tolerance,
    evaluation_size=1_000,
    seed,
):
    """The rounds of `refine`: parameters `[B, P]`, who converged `[B]`, and rounds."""
    sizes = {
        "num_steps": num_steps,
        "max_rounds": max_rounds,
        "sample_size": sample_size,
        "evaluation_size": evaluation_size,
    }
    check(sizes, learning_rate=learning_rate, tolerance=tolerance)
    steps_seed, judge_seed = split_seed(seed)
    at = tf.convert_to_tensor(start.parameters)
    judged = climber.log_weights(start.x, at, evaluation_size, judge_seed)
    _check_finite(judged, "the start's")
    converged, rounds = np.zeros(start.batch, bool), 0
    while rounds < max_rounds and not converged.all():
        rounds += 1
        steps_seed, now = split_seed(steps_seed)
        moved = climber.climb(start.x, at, num_steps, learning_rate, sample_size, now)
        other = climber.log_weights(start.x, moved, evaluation_size, judge_seed)
        # where a step left the support, the datum stays
        lost = ~np.isfinite(other).all(0)
        moved = tf.where(lost[:, np.newaxis], at, moved)
        other = np.where(lost, judged, other)
        gain = paired(other, judged)
        # max(gain, 0) + 2 se < tolerance: a gain worth having is ruled out
        limit = np.maximum(gain.value, 0) + 2 * gain.standard_error
        converged = converged | (limit < tolerance) & ~lost
        better = gain.value > np.maximum(2 * gain.standard_error, tolerance / 20)
        at = tf.where(better[:, np.newaxis], moved, at)
        judged = np.where(better, other, judged)
    return at, converged, rounds


class Start(NamedTuple):
    """Data, and where their q starts."""

    x: tf.Tensor
    batch: tuple
    family: Any
    parameters: tf.Tensor
    amortized: Any
    """The encoder's distribution if it is no member of the family; else None."""

    def log_weights(self, climber, sample_size, seed):
        """Of the encoder's answer, `[S, B]`; checked to be finite."""
        if self.amortized is None:
            found = climber.log_weights(self.x, self.parameters, sample_size, seed)
        else:
            found = climber.log_weights_of(self.amortized, self.x, sample_size, seed)
        _check_finite(found, "the encoder's")
        return found


def begin(encoder, model, x, family) -> Start:
    """Asks the encoder for its answer to x, and checks both.

    Raises:
        ValueError: as `refine`.
    """
    if not hasattr(model, "log_joint"):
        raise ValueError(
            "expected a LatentVariableModel; got "
            f"{type(model).__name__}. The order is gap_report(model, encoder, x) and "
            "refine(encoder, model, x)."
        )
    encoder = as_encoder(encoder, family)
    problem = Problem.of(model, x, None)
    x, batch = problem.target.x, problem.batch
    if len(batch) != 1:
        raise ValueError(
            f"expected x of shape [B] + the model's event; got x of shape {x.shape}, "
            f"whose batch shape is {list(batch)}. Write x[tf.newaxis] for one datum."
        )
    answer, amortized = encoder.network(x), None
    if hasattr(answer, "log_prob"):
        amortized, own = answer, tf.convert_to_tensor(encoder.family.free_parameters)
        rows, answer = answer.batch_shape, tf.broadcast_to(own, [*batch, own.shape[-1]])
    else:
        answer = tf.convert_to_tensor(answer)
        rows = answer.shape[:-1]
    if tuple(rows) != batch:
        raise ValueError(
            f"expected the encoder to answer x of shape {x.shape} with one row per "
            f"datum, batch shape {list(batch)}; got {list(rows)}."
        )
    encoder.family(answer)  # names a wrong parameter count
    return Start(x, batch, encoder.family, answer, amortized)


def as_encoder(encoder, family=None) -> Encoder:
    """An `Encoder`, from one or from a bare callable and its family.

    Raises:
        ValueError: if a callable comes without a family, or an encoder with another.
    """
    known = getattr(encoder, "family", None)
    if known is not None and hasattr(encoder, "network"):
        if family is None or family is known:
            return encoder
        raise ValueError(
            "expected family=None with an Encoder, which has one of its own. Pass "
            "encoder.network with the other family."
        )
    if family is None or not callable(encoder):
        raise ValueError(
            "expected an Encoder(network, family), since a datum's q is refined by "
            "moving the family's parameters from the network's output; got "
            f"{type(encoder).__name__}. Write families.Encoder(network, family), or "
            "pass family= with a callable."
        )
    return Encoder(encoder, family)


def paired(log_weights, others) -> PerDatum:
    """The mean difference per datum of log-weights from common noise, nats."""
    difference = np.asarray(log_weights, np.float64) - np.asarray(others, np.float64)
    return mean_of(difference, rounding_of(log_weights))


def _check_finite(log_weights, whose):
    bad = int(np.sum(~np.isfinite(log_weights).all(0)))
    if bad:
        raise ValueError(
            f"expected {whose} ELBO to be finite; got minus infinity or NaN for {bad} "
            f"of {log_weights.shape[-1]} data. Check the data and the model's "
            "log-density where q puts z."
        )


def check(sizes, **rates):
    """Raises ValueError unless sizes are positive ints and rates positive numbers."""
    for name, size in sizes.items():
        _draws.lead_shape((size,), name)
    if sizes.get("evaluation_size", 2) < 2:
        raise ValueError("expected evaluation_size >= 2, to know an error; got 1.")
    for name, rate in rates.items():
        if not (isinstance(rate, numbers.Real) and 0 < rate < math.inf):
            raise ValueError(f"expected {name} to be a number > 0; got {rate!r}.")
