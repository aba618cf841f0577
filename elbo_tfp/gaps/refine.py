"""Refinement: from the encoder's answer to the best member of the family, per datum."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.gaps.start import begin, check_finite
from elbo_tfp.ground.checks import real, whole
from elbo_tfp.ground.measured import PerDatum, mean_of, rounding_of
from elbo_tfp.ground.seeds import split_seed

_ERROR = "An error is not known from one draw."


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
    x=None,
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
            from the family's own parameters). With a pin, a family of one member. With
            a global prior, the pair of an encoder and a family of one member for the
            global latent (the latter alone, if there is no other).
        model: a `LatentVariableModel`, of which all data together are one datum, B = 1,
            if it has a global prior; or, with `x=None`, what holds its data, such as
            `joint.experimental_pin(...)`: B = 1.
        x: data, `[B]` + event, or a structure of such. All are held at once: a few
            thousand at a time.
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
    search_seed, last_seed = split_seed(seed)
    climber = start.climber(jit_compile)
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
    last = climber.log_weights(at, evaluation_size, last_seed)
    rounding = rounding_of(last)
    return Refined(
        start.member(at),
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
    num_steps = whole("num_steps", num_steps)
    max_rounds = whole("max_rounds", max_rounds)
    sample_size = whole("sample_size", sample_size)
    evaluation_size = whole("evaluation_size", evaluation_size, 2, _ERROR)
    learning_rate = real("learning_rate", learning_rate)
    tolerance = real("tolerance", tolerance)
    steps_seed, judge_seed = split_seed(seed)
    at = tf.convert_to_tensor(start.parameters)
    judged = climber.log_weights(at, evaluation_size, judge_seed)
    check_finite(judged, "the start's")
    converged, rounds = np.zeros(start.batch, bool), 0
    while rounds < max_rounds and not converged.all():
        rounds += 1
        steps_seed, now = split_seed(steps_seed)
        moved = climber.climb(at, num_steps, learning_rate, sample_size, now)
        other = climber.log_weights(moved, evaluation_size, judge_seed)
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


def paired(log_weights, others) -> PerDatum:
    """The mean difference per datum of log-weights from common noise, nats."""
    difference = np.asarray(log_weights, np.float64) - np.asarray(others, np.float64)
    return mean_of(difference, rounding_of(log_weights))
