"""Can I trust this fit? One call that asks every room.

`audit` looks at model, q and data, and at the objective and the fit if they are given.
Each check ends in a figure with its error and a verdict. What cannot be seen without an
argument is "not checked"; silence is not health.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.audit import answers, climbing, own
from elbo_tfp.audit.climbing import judge
from elbo_tfp.audit.results import FAULTS, Audit, Finding
from elbo_tfp.draws import draw
from elbo_tfp.families import Encoder
from elbo_tfp.ground import structures
from elbo_tfp.ground.checks import real, whole
from elbo_tfp.ground.seeds import split_seed

__all__ = ["FAULTS", "Audit", "Finding", "audit", "judge"]


class Look(NamedTuple):
    """Model, answer and data, as the checks ask them."""

    model: Any
    """A `LatentVariableModel`, or a target that holds its data."""
    answer: Any
    """An encoder, q, or the pair of them."""
    x: Any
    """The data, tensors `[N]` + event, or None."""
    num_data: int | None
    """The size of the data set that shares a global latent; else None."""

    @property
    def size(self) -> int:
        """Number of data."""
        return 1 if self.x is None else structures.batch_size(self.x)

    @property
    def local(self) -> bool:
        """Whether there is a latent per datum and none that all share."""
        return hasattr(self.model, "log_joint") and self.num_data is None

    @property
    def encodes(self) -> bool:
        """Whether q is made from data."""
        return not _is_pair(self.answer) and _is_encoder(self.answer)

    @property
    def refines(self) -> bool:
        """Whether `gap_report` can be asked."""
        pinned = not hasattr(self.model, "log_joint") and self.x is None
        family = hasattr(self.answer, "free_parameters")
        return isinstance(self.answer, Encoder) or (pinned and family)

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers in one datum, and in the latents of one."""
        data = tf.nest.flatten(self.x)
        z = tf.nest.flatten(self.q(self.rows(1)))[0]
        shape = getattr(z, "event_shape", tf.TensorShape([]))
        count = shape.num_elements() if isinstance(shape, tf.TensorShape) else 1
        return sum(int(np.prod(t.shape[1:])) for t in data), count or 1

    def rows(self, count):
        """At most `count` of the data, evenly spaced."""
        each = max(1, -(-self.size // count))
        return structures.rows(self.x, tf.range(0, self.size, each))

    def q(self, x):
        """q of these data."""
        if _is_pair(self.answer):
            return tuple(_called(part, x) for part in self.answer)
        return _called(self.answer, x)

    def draw(self, x, sample_size, seed, num_data=None):
        """`Draws` of these data."""
        target, shared = self.model, num_data or self.num_data
        if hasattr(target, "log_joint"):
            options = {"num_data": shared} if self.num_data else {}
            target = target.log_joint(x, **options)
        return draw(target, self.q(x), sample_size, seed=seed)


def audit(
    model,
    encoder_or_q,
    x=None,
    *,
    objective=None,
    result=None,
    another=None,
    num_data=None,
    tolerance=0.5,
    time_budget=100.0,
    seed=0,
) -> Audit:
    """Looks for what usually goes wrong, and names it.

    Args:
        model: a `LatentVariableModel`; or a pin or function that holds its data.
        encoder_or_q: an `Encoder`, a callable x -> q, q itself, or for a model with a
            global prior the pair (of z, of the global latent) or the latter alone.
        x: data, `[N]` + event; None if the target holds them. Large sets are thinned:
            200 data for most checks, 50 for k-hat, 32 for the gaps.
        objective: what `fit` climbed, called as `fit` calls it.
        result: the `FitResult`.
        another: a fit of the same objective from another start, a list of such, or a
            callable seed -> `FitResult` (which moves the variables: make new ones).
        num_data: size of the whole data set, for a model with a global prior; default
            the size of x.
        tolerance: gaps and widths below it pass, nats per datum.
        time_budget: seconds after which no further check is begun.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        An `Audit`; it prints as a table: check, verdict, figure with standard error,
        symptom and likely cause, chapter of the book.

    Raises:
        ValueError: if tolerance, budget or num_data is out of range. What is wrong with
            model, q and data is a finding, not an error.
    """
    begin = time.perf_counter()
    real("tolerance", tolerance)
    real("time_budget", time_budget)
    seeds = split_seed(seed, 8)
    try:
        look = _look(model, encoder_or_q, x, num_data)
        rows = None if look.x is None else look.rows(50)
        look.draw(rows, 8, seeds[0])
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        note = str(error).strip().splitlines()[0][:200]
        found = [Finding("shapes", "alarm", fault="shape", note=note)]
        return Audit((*found, *climbing.check_trace(result)), _since(begin))
    found = [Finding("shapes", "ok")]
    found += climbing.check_objective(objective, look, seeds[1])
    found += own.check_own_variables(objective, look, result, seeds[1])
    found += climbing.check_trace(result)
    for check, one in zip(_SLOW, seeds[2:], strict=False):
        if _since(begin) > time_budget:
            found.append(Finding(_name(check), "not checked", note="time budget spent"))
        else:
            found += check(look, tolerance, one)
    found += climbing.check_starts(result, another, seeds[7])
    return Audit(tuple(found), _since(begin))


_SLOW = (
    answers.check_collapse,
    answers.check_gaps,
    answers.check_weights,
    answers.check_sandwich,
)


def _look(model, answer, x, num_data):
    shared = getattr(model, "global_prior", None) is not None
    if isinstance(answer, list):
        answer = tuple(answer)
    if x is not None:
        x = structures.as_data(x, "x")
    if not shared:
        num_data = None
    elif num_data is None:
        num_data = structures.batch_size(x)
    else:
        whole("num_data", num_data)
    return Look(model, answer, x, num_data)


def _is_pair(answer):
    return isinstance(answer, tuple) and not isinstance(answer, Encoder)


def _is_encoder(answer):
    return isinstance(answer, Encoder) or not hasattr(answer, "sample")


def _called(answer, x):
    return answer(x) if _is_encoder(answer) else answer


def _name(check):
    return check.__name__.removeprefix("check_")


def _since(begin):
    return time.perf_counter() - begin
