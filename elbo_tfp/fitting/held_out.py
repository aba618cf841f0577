"""The bound on held-out data, with the same noise at every evaluation."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import feed
from elbo_tfp.fitting.program import Program, read, write
from elbo_tfp.fitting.step import Options, estimate
from elbo_tfp.ground.seeds import fold_in

_SEED = -1
"""The step number that no training step has."""


class Evaluator:
    """Calls the objective, weight 1 and not training, on all held-out data."""

    def __init__(self, objective, options: Options, program: Program, data, plan):
        self.data = feed.as_tensors(data, "held_out")
        self.size, self.seed = plan
        self.program = program
        self._objective = objective
        self._options = options._replace(shards=1, annealed=False, trace_fn=None)

    def __call__(self, state) -> np.ndarray:
        """The un-annealed ELBO of each held-out datum, `[N]`, nats.

        Whatever the evaluation changes (moving averages, dropout seeds) is put back.
        """
        trained = {id(v) for v in self.program.step.trained}
        others = [v for v in self.program.step.captured if id(v) not in trained]
        before = read(others)
        n, size = feed.length(self.data), self.size
        parts = [self._part(i, min(size, n - i)) for i in range(0, n, size)]
        write(others, before)
        return np.concatenate([np.broadcast_to(p, [s]) for p, s in parts])

    def _part(self, start: int, size: int):
        batch = tf.nest.map_structure(lambda x: x[start : start + size], self.data)
        seed = fold_in(fold_in(self.seed, _SEED), start)
        return self._function(size)(batch, seed).numpy().astype(np.float64), size

    def _function(self, size: int):
        key = (size, str(feed.specs(self.data, size)))
        known = self.program.evaluators
        if key not in known:
            objective = self._objective
            options = self._options._replace(batch_size=size)

            def elbo(batch, seed):
                one = tf.ones([], options.dtype)
                part = (batch, seed, tf.constant(0), one)
                return estimate(objective, options, part, training=False).elbo

            jit = self.program.compiled or None
            known[key] = tf.function(elbo, autograph=False, jit_compile=jit)
        return known[key]
