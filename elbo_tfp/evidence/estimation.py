"""The evidence, by the method that can give it: exactly, from below, or sandwiched."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp import draws as _draws
from elbo_tfp.evidence import annealed, quadrature
from elbo_tfp.evidence.problem import Problem, coordinates
from elbo_tfp.evidence.stream import Mean, log_mean
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


METHODS = ("quadrature", "importance", "annealed", "bidirectional")


def estimate(
    model,
    x=None,
    method="importance",
    *,
    surrogate_posterior=None,
    posterior_sample=None,
    sample_size=None,
    num_temperatures=100,
    num_leapfrog_steps=5,
    step_size=None,
    chunk_size=None,
    jit_compile=True,
    seed=None,
) -> Evidence:
    """Estimates log p(x) for every datum of a batch.

    `"quadrature"` sums over a grid: exact, for 1 to 3 latent dimensions; the grid
    follows each datum's posterior, but a hump much narrower than its distance from the
    others can hide between points. `"importance"` averages weights of draws from q:
    on average too low, by an amount it cannot see. `"annealed"` walks from q to the
    posterior through `num_temperatures` geometric steps with Hamiltonian Monte Carlo:
    also too low on average, usually far less. `"bidirectional"` walks back too, from
    an exact draw of the posterior, and so bounds log p(x) from both sides; exact draws
    are at hand where the data were simulated, `z, x = model.sample(...)`.

    Args:
        model: a `LatentVariableModel` with x; or, with `x=None`, what already holds
            the data: a `log_joint(x)`, a pinned joint distribution, or any function
            z -> log p(x, z).
        x: data, `[B]` + event.
        method: one of the four above.
        surrogate_posterior: where draws and walks start, batch shape `[B]`; None means
            the prior. A bare function or pin needs one.
        posterior_sample: one exact draw of p(z | x) per datum, `[B]` + event, a
            structure as the model's z; for `"bidirectional"` only.
        sample_size: number of draws or walks per datum (1,000 or 16 if None); for
            quadrature the points per dimension (2,001, 401 or 101).
        num_temperatures: T, the number of steps of a walk.
        num_leapfrog_steps: of each Hamiltonian transition.
        step_size: None tunes one step size per temperature and datum, and one scale
            per dimension, in a pilot run with its own seed, then freezes them; a
            number is taken as it is.
        chunk_size: draws or walks held in memory at once; None chooses. Memory does
            not grow with `sample_size`.
        jit_compile: whether to compile with XLA.
        seed: int, pair of ints or integer tensor; stateless. Quadrature needs none.

    Returns:
        An `Evidence`, each number `[B]`, nats.

    Raises:
        ValueError: if the method is unknown; the latents are too many for quadrature,
            discrete, or global; `"bidirectional"` has no exact draw; a walk rejects
            all its proposals; or log-weights are NaN.

    Source: Neal (2001), equation 11; Burda et al. (2016); Grosse, Ghahramani and Adams
    (2015), sections 3 and 4; error: Geweke (1989).
    """
    check_method(method)
    if (posterior_sample is None) == (method == "bidirectional"):
        raise ValueError(
            "expected posterior_sample, an exact draw of p(z | x), with "
            f'"bidirectional" and with it only; got method={method!r} and '
            f"{'none' if posterior_sample is None else 'a draw'}. Simulate the data, "
            'z, x = model.sample(...), or use "annealed".'
        )
    problem = Problem.of(model, x, surrogate_posterior)
    if method == "quadrature":
        log_p = quadrature.integrate(problem, sample_size, jit_compile)
        return Evidence(log_p, None, None, None)
    seed = as_seed(seed)
    if method == "importance":
        mean = _importance(problem, sample_size or 1_000, chunk_size, jit_compile, seed)
        return Evidence(mean.log_mean, mean.standard_error, mean.log_mean, None)
    problem.require_start(f'"{method}"')
    walks = annealed.Walks(
        problem, coordinates(problem), num_temperatures, num_leapfrog_steps, jit_compile
    )
    sizes = (_checked(sample_size or 16), chunk_size)
    return _annealed(walks, step_size, posterior_sample, sizes, seed)


def check_method(method):
    """Raises ValueError unless `evidence` knows the method."""
    if method not in METHODS:
        raise ValueError(f"expected method to be one of {METHODS}; got {method!r}.")


def _importance(problem, sample_size, chunk_size, jit_compile, seed):
    problem.require_start('"importance"')
    log_weights, arguments, programs = problem.weigher(jit_compile)
    mean, _ = log_mean(
        log_weights,
        _checked(sample_size),
        problem.chunk(sample_size, chunk_size),
        seed,
        jit_compile,
        arguments=arguments,
        programs=programs,
    )
    _warn_if_collapsed(mean, sample_size)
    return mean


def _annealed(walks, step_size, posterior_sample, sizes, seed):
    sample_size, chunk_size = sizes
    pilot_seed, forward_seed, reverse_seed = split_seed(seed, 3)
    steps = walks.pilot(pilot_seed) if step_size is None else walks.fixed(step_size)
    chunk = walks.problem.chunk(sample_size, chunk_size)
    down = walks.run(steps, sample_size, chunk, forward_seed)
    if posterior_sample is None:
        _warn_if_collapsed(down, sample_size)
        return Evidence(down.log_mean, down.standard_error, down.log_mean, None)
    up = walks.run(steps, sample_size, chunk, reverse_seed, posterior_sample)
    # E[log mean w] <= log p(x) <= -E[log mean r], with E[w] = p(x), E[r] = 1 / p(x)
    lower, upper = down.log_mean, -up.log_mean
    error = tf.sqrt(tf.square(down.standard_error) + tf.square(up.standard_error)) / 2
    return Evidence((lower + upper) / 2, error, lower, upper)


def _warn_if_collapsed(mean: Mean, sample_size):
    few = mean.effective_sample_size.numpy()
    limit = min(10.0, sample_size / 2)
    if sample_size > 1 and np.any(few < limit):
        warnings.warn(
            "importance weights collapsed: the effective sample size is "
            f"{few.min():.1f} of {sample_size} at worst and below {limit:.0f} for "
            f"{np.sum(few < limit)} of {few.size} data, so that estimate and error "
            "are too low. Use a surrogate posterior nearer to p(z | x), or "
            'method="annealed".',
            stacklevel=4,
        )


def _checked(sample_size):
    (size,) = _draws.lead_shape((sample_size,))
    return size
