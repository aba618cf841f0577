"""The four ways to the evidence, each with the options that it takes."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.evidence.annealed import Walks
from elbo_tfp.evidence.quadrature import integrate
from elbo_tfp.evidence.stream import log_mean
from elbo_tfp.ground.checks import real, whole, wrong
from elbo_tfp.ground.seeds import as_seed, split_seed


class Evidence(NamedTuple):
    """log p(x) per datum, in nats; what a method cannot give is None."""

    estimate: tf.Tensor
    """log p(x), `[B]`."""
    standard_error: tf.Tensor | None
    """Monte Carlo error of `estimate` by the delta method, `[B]`; None if exact. The
    estimate itself is low by about half its square; with few effective samples both
    are too small."""
    lower: tf.Tensor | None
    """A number whose expectation is at most log p(x), `[B]`: it exceeds log p(x) + b
    with probability at most exp(-b)."""
    upper: tf.Tensor | None
    """A number whose expectation is at least log p(x), `[B]`; falls below log p(x) - b
    with probability at most exp(-b)."""


class Quadrature(NamedTuple):
    """A sum over a grid: exact, for 1 to 3 latent dimensions.

    The grid follows each datum's posterior, but a hump much narrower than its distance
    from the others can hide between points.
    """

    sample_size: int | None = None
    """Points per dimension; None takes 2,001, 401 or 101."""

    name = "quadrature"

    def measure(self, problem, seed, jit_compile) -> Evidence:
        """The evidence of a `Problem`."""
        log_p = integrate(problem, self.sample_size, jit_compile)
        return Evidence(log_p, None, None, None)


class Importance(NamedTuple):
    """The mean weight of draws from q: on average too low, by what it cannot see."""

    sample_size: int = 1_000
    """Draws per datum."""
    chunk_size: int | None = None
    """Draws held at once; None chooses for the device. Memory does not grow with
    `sample_size`."""

    name = "importance"

    def measure(self, problem, seed, jit_compile) -> Evidence:
        """The evidence of a `Problem`."""
        problem.require_start(self.name)
        size = whole("sample_size", self.sample_size)
        mean, _ = log_mean(
            problem.weigher(jit_compile),
            tf.TensorSpec(problem.batch, problem.dtype),
            size,
            problem.chunk(size, self.chunk_size),
            as_seed(seed),
            jit_compile,
            arguments=(problem.data,),
        )
        _warn_if_collapsed(mean, size, stacklevel=4)
        return Evidence(mean.log_mean, mean.standard_error, mean.log_mean, None)


class Annealed(NamedTuple):
    """Walks from q to the posterior: too low on average, usually by far less.

    They pass `num_temperatures` geometric steps by Hamiltonian Monte Carlo.
    """

    num_temperatures: int = 100
    """T, the number of steps of a walk; at least 2."""
    num_leapfrog_steps: int = 5
    """Of each Hamiltonian transition."""
    step_size: float | None = None
    """None tunes one step size per temperature and datum, and one scale per dimension,
    in a pilot run with its own seed, then freezes them; a number is taken as it is."""
    sample_size: int = 16
    """Walks per datum."""
    chunk_size: int | None = None
    """Walks held at once; None chooses."""

    name = "annealed"

    def measure(self, problem, seed, jit_compile) -> Evidence:
        """The evidence of a `Problem`."""
        walks, steps, sizes, seeds = _tuned(self, problem, seed, jit_compile)
        down = walks.run(steps, *sizes, seeds[0])
        _warn_if_collapsed(down, sizes[0], stacklevel=4)
        return Evidence(down.log_mean, down.standard_error, down.log_mean, None)


class Bidirectional(NamedTuple):
    """Walks to the posterior, and back from an exact draw of it: bounds on both sides.

    Exact draws are at hand where the data were simulated, `z, x = model.sample(...)`.
    """

    posterior_sample: Any
    """One exact draw of p(z | x) per datum, `[B]` + event, a structure as the model's
    z; with a global prior the pair `(z, w)`."""
    num_temperatures: int = 100
    """As in `Annealed`."""
    num_leapfrog_steps: int = 5
    """As in `Annealed`."""
    step_size: float | None = None
    """As in `Annealed`."""
    sample_size: int = 16
    """Walks per datum, each way."""
    chunk_size: int | None = None
    """As in `Annealed`."""

    name = "bidirectional"

    def measure(self, problem, seed, jit_compile) -> Evidence:
        """The evidence of a `Problem`."""
        walks, steps, sizes, seeds = _tuned(self, problem, seed, jit_compile)
        exact = self.posterior_sample
        exact = list(exact)[::-1] if problem.shared else exact
        down = walks.run(steps, *sizes, seeds[0])
        up = walks.run(steps, *sizes, seeds[1], exact)
        # E[log mean w] <= log p(x) <= -E[log mean r], with E[w] = p(x), E[r] = 1 / p(x)
        lower, upper = down.log_mean, -up.log_mean
        errors = down.standard_error, up.standard_error
        error = tf.sqrt(tf.add_n([tf.square(e) for e in errors])) / 2
        return Evidence((lower + upper) / 2, error, lower, upper)


METHODS = {m.name: m for m in (Quadrature, Importance, Annealed, Bidirectional)}


def as_method(method, **options):
    """A method from its name and options, or one that carries its own.

    Raises:
        ValueError: if the method is unknown, or an option is not one of its own.
    """
    if isinstance(method, tuple(METHODS.values())):
        if options:
            raise wrong(
                f"the options of {type(method).__name__} inside it", sorted(options)
            )
        return method
    check_method(method)
    exact = options.get("posterior_sample") is not None
    if exact != (method == "bidirectional"):
        raise wrong(
            'posterior_sample, an exact draw of p(z | x), with "bidirectional" and '
            "with it only",
            f"method={method!r} and {'a draw' if exact else 'none'}",
            'Simulate the data, z, x = model.sample(...), or use "annealed".',
        )
    kind = METHODS[method]
    other = sorted(set(options) - set(kind._fields))
    if other:
        raise wrong(f"options of {method!r}, {', '.join(kind._fields)}", other)
    return kind(**options)


def check_method(method):
    """Raises ValueError unless `evidence` knows the method."""
    known = isinstance(method, str) and method in METHODS
    if not known and not isinstance(method, tuple(METHODS.values())):
        raise wrong(f"method to be one of {tuple(METHODS)}", repr(method))


def _tuned(method, problem, seed, jit_compile):
    """Walks, their step sizes, the sizes of a run and the seeds of both ways."""
    problem.require_start(method.name)
    whole("num_temperatures", method.num_temperatures, 2)
    whole("num_leapfrog_steps", method.num_leapfrog_steps)
    sizes = method.num_temperatures, method.num_leapfrog_steps
    walks = Walks(problem, *sizes, jit_compile)
    size = whole("sample_size", method.sample_size)
    pilot_seed, *seeds = split_seed(seed, 3)
    if method.step_size is None:
        steps = walks.pilot(pilot_seed)
    else:
        steps = walks.fixed(real("step_size", method.step_size))
    return walks, steps, (size, problem.chunk(size, method.chunk_size)), seeds


def _warn_if_collapsed(mean, sample_size, stacklevel):
    few = mean.effective_sample_size.numpy()
    limit = min(10.0, sample_size / 2)
    if sample_size > 1 and np.any(few < limit):
        warnings.warn(
            "importance weights collapsed: the effective sample size is "
            f"{few.min():.1f} of {sample_size} at worst and below {limit:.0f} for "
            f"{np.sum(few < limit)} of {few.size} data, so that estimate and error "
            "are too low. Use a surrogate posterior nearer to p(z | x), or "
            'method="annealed".',
            stacklevel=stacklevel,
        )
