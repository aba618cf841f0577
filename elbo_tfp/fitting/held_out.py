"""The bound on held-out data, with the same noise at every evaluation."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import feed
from elbo_tfp.fitting.program import Program
from elbo_tfp.fitting.state import read, write
from elbo_tfp.fitting.step import Options, estimate
from elbo_tfp.ground import structures
from elbo_tfp.ground.checks import whole
from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.precision import tf32
from elbo_tfp.ground.seeds import fold_in

_SEED = -1
"""The step number that no training step has."""
_FEW = 32
"""Batches in an evaluation up to which XLA would take longer than it can save: a
second or more for every size of batch, against milliseconds a call."""


@dataclasses.dataclass(frozen=True)
class HoldOut:
    """Data to evaluate the bound on, and how often: `fit(held_out=HoldOut(x, 100))`."""

    x: Any
    """Data like those that are fitted: an array, or a tuple or dict of arrays."""
    every: int | None = None
    """Steps between two evaluations; default a tenth of the fit."""

    def __post_init__(self):
        if self.every is not None:
            whole("held_out's every", self.every)
        object.__setattr__(self, "x", feed.checked(self.x, "held_out"))


class Evaluator:
    """Calls the objective, weight 1 and not training, on all held-out data."""

    def __init__(
        self, objective, options: Options, program: Program, asked, num_steps: int
    ):
        self.data = asked.x
        self.every = max(1, num_steps // 10) if asked.every is None else asked.every
        self.program = program
        self._objective, self._functions = objective, {}
        self._options = options._replace(shards=1, annealed=False, trace_fn=None)
        batches = structures.batch_size(self.data) / options.batch_size
        # by the data alone: a fit that is continued evaluates in the same way
        self._jit_compile = program.compiled and batches > _FEW

    def __call__(self, seed) -> np.ndarray:
        """The un-annealed ELBO of each held-out datum, `[N]`, nats.

        Whatever the evaluation changes (moving averages, dropout seeds) is put back.
        """
        trained = {id(v) for v in self.program.trained}
        others = [v for v in self.program.state if id(v) not in trained]
        before = read(others)
        n, size = structures.batch_size(self.data), self._options.batch_size
        parts = [self._part(seed, i, min(size, n - i)) for i in range(0, n, size)]
        write(others, before)
        return np.concatenate([np.broadcast_to(p, [s]) for p, s in parts])

    def _part(self, seed, start: int, size: int):
        batch = tf.nest.map_structure(lambda x: x[start : start + size], self.data)
        seed = fold_in(fold_in(seed, _SEED), start)
        if size not in self._functions:
            self._functions[size] = self._traced(batch, seed, size)
        return self._functions[size](batch, seed).numpy().astype(np.float64), size

    def _traced(self, batch, seed, size: int):
        options = self._options._replace(batch_size=size)

        def elbo(batch, seed):
            one = tf.ones([], options.dtype)
            part = (batch, seed, tf.constant(0), one)
            return estimate(self._objective, options, part, training=False).elbo

        with tf32(False):  # a number to report, however the network is trained
            run = compiled(elbo, batch, seed, jit_compile=self._jit_compile)
        run.settle(batch, seed)
        return run
