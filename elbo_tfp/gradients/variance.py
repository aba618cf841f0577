"""How noisy is my gradient? Per-sample gradients, and a report of signal and noise.

It is longer than most modules: what is measured and how it reads belong together.
"""

from __future__ import annotations

import html
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.seeds import as_seed, fold_in


class ParameterGradient(NamedTuple):
    """One parameter's gradient under one estimator, over independent samples."""

    estimator: str
    """The estimator's name."""
    name: str
    """The parameter's name."""
    mean: np.ndarray
    """The mean gradient, shape of the parameter."""
    standard_error: np.ndarray
    """The error of that mean: standard deviation of one sample / sqrt(n)."""
    snr: np.ndarray
    """Signal-to-noise ratio of one sample, |mean| / standard deviation, elementwise."""


class GradientReport(NamedTuple):
    """What `report` returns: one row per estimator and parameter."""

    rows: tuple[ParameterGradient, ...]
    """In the order of the estimators, then of the parameters."""
    num_samples: int
    """n, the number of independent gradients behind each row."""

    @property
    def snr_floor(self) -> float:
        """An SNR below 2 / sqrt(n) cannot be told from zero."""
        return 2 / np.sqrt(self.num_samples)

    def _cells(self):
        yield "estimator", "parameter", "shape", "|mean|", "|error|", "median SNR"
        for row in self.rows:
            snr = np.median(row.snr)
            shown = f"{snr:.3g}" if snr > self.snr_floor else f"< {self.snr_floor:.2g}"
            norms = (np.linalg.norm(v) for v in (row.mean, row.standard_error))
            shape = "x".join(map(str, row.mean.shape)) or "1"
            yield row.estimator, row.name, shape, *(f"{v:.4g}" for v in norms), shown

    def __str__(self):
        cells = list(self._cells())
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = (
            "  ".join(
                cell.ljust(w) if i < 3 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        )
        return "\n".join(lines)

    def _repr_html_(self):
        head, *body = (
            [html.escape(cell) for cell in row] for row in self._cells()
        )  # fmt: skip
        top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
        rows = ("".join(f"<td>{cell}</td>" for cell in row) for row in body)
        lines = "\n".join(f"<tr>{row}</tr>" for row in rows)
        return (
            f"<table><caption>Gradients over {self.num_samples} samples</caption>\n"
            f"<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>"
        )


def per_sample(
    estimator,
    target,
    surrogate_posterior,
    variables,
    *,
    num_samples=100,
    sample_size=1,
    importance_sample_size=1,
    seed,
    jit_compile=False,
    **options,
) -> list[tf.Tensor]:
    """Independent gradients of one estimator, so that its noise can be measured.

    Gradient number i is that of the batch mean of `estimator(..., seed=fold_in(seed,
    i)).surrogate`: its mean over i is the gradient that an optimiser climbs, and its
    spread is the noise of a single step.

    Args:
        estimator: one of this room's, for instance `gradients.reparameterized`.
        target: as in `draw`.
        surrogate_posterior: q, which must read `variables` at each use: a `Family`,
            or a callable that builds q, such as `lambda: encoder(x)`.
        variables: the parameters, a list of TensorFlow or Keras variables.
        num_samples: n, the number of gradients.
        sample_size: S of each of them.
        importance_sample_size: K of each of them.
        seed: int, pair of ints or integer tensor; stateless.
        jit_compile: whether XLA compiles the loop.
        **options: passed on to the estimator, such as `temperature`.

    Returns:
        One tensor per variable, `[num_samples, *variable.shape]`, in nats per unit;
        zeros where the bound does not depend on the variable.

    Raises:
        ValueError: if `variables` is empty or no list, or `num_samples` below 1.
    """
    variables = _as_list(variables)
    whole("num_samples", num_samples)
    gradient = _gradient_of(
        estimator,
        target,
        surrogate_posterior,
        {
            "sample_size": sample_size,
            "importance_sample_size": importance_sample_size,
            **options,
        },
    )

    def program(seed):
        return tf.map_fn(
            lambda i: gradient(variables, fold_in(seed, i)),
            tf.range(num_samples),
            fn_output_signature=[v.dtype for v in variables],
        )

    seed = as_seed(seed)
    return compiled(program, seed, jit_compile=jit_compile)(seed)


def report(
    estimators,
    target,
    surrogate_posterior,
    variables=None,
    *,
    num_samples=100,
    seed,
    **options,
) -> GradientReport:
    """Mean, standard error and signal-to-noise ratio of every parameter's gradient.

    It prints as a table, and shows as one in a notebook. All estimators see the same
    seeds. Large variables are summarised by norms and the median ratio; the rows hold
    every entry.

    Args:
        estimators: one estimator, a list of them, or a dict from a name to one.
        target: as in `draw`.
        surrogate_posterior: as in `per_sample`.
        variables: the parameters; None takes every trainable variable that the first
            estimator touches, in the order in which they were made.
        num_samples: n, at least 2.
        seed: int, pair of ints or integer tensor; stateless.
        **options: `sample_size`, `importance_sample_size`, `jit_compile` and those of
            the estimator, for all alike.

    Returns:
        A `GradientReport`.

    Raises:
        ValueError: if `num_samples` is below 2, or no variable is found.
    """
    whole("num_samples", num_samples, 2, "One gradient does not show its noise.")
    estimators = _named(estimators)
    if variables is None:
        first = next(iter(estimators.values()))
        variables = _watched(first, target, surrogate_posterior, seed, options)
    variables = _as_list(variables)
    rows = []
    for label, estimator in estimators.items():
        gradients = per_sample(
            estimator,
            target,
            surrogate_posterior,
            variables,
            num_samples=num_samples,
            seed=seed,
            **options,
        )
        rows += [
            _row(label, name, g.numpy())
            for name, g in zip(_names(variables), gradients, strict=True)
        ]
    return GradientReport(tuple(rows), num_samples)


def _row(label, name, gradients) -> ParameterGradient:
    gradients = gradients.astype(np.float64)
    mean, deviation = gradients.mean(0), gradients.std(0, ddof=1)
    # SNR = |E g| / sd(g); an exact gradient has no noise
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(mean == 0, 0.0, np.abs(mean) / deviation)
    error = deviation / np.sqrt(len(gradients))
    return ParameterGradient(label, name, mean, error, snr)


def _gradient_of(estimator, target, surrogate_posterior, options):
    def gradient(variables, seed):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            bound = _bound(estimator, target, surrogate_posterior, seed, options)
        found = tape.gradient(bound, variables, unconnected_gradients="zero")
        return [tf.convert_to_tensor(g) for g in found]

    return gradient


def _bound(estimator, target, surrogate_posterior, seed, options):
    q = surrogate_posterior
    # a callable without `sample` builds q, and the tape sees it do so
    q = q() if callable(q) and not hasattr(q, "sample") else q
    return tf.reduce_mean(estimator(target, q, seed=seed, **options).surrogate)


def _watched(estimator, target, surrogate_posterior, seed, options):
    options = {k: v for k, v in options.items() if k != "jit_compile"}
    with tf.GradientTape() as tape:
        _bound(estimator, target, surrogate_posterior, seed, options)
    return list(tape.watched_variables())


def _as_list(variables):
    if not isinstance(variables, (list, tuple)) or not variables:
        raise wrong(
            "variables to be a list of at least one variable",
            repr(variables),
            "If the surrogate posterior was built from variables once, pass a function "
            "that builds it.",
        )
    # a Keras variable holds TensorFlow's
    return [v if isinstance(v, tf.Variable) else v.value for v in variables]


def _named(estimators):
    if isinstance(estimators, dict):
        return estimators
    many = estimators if isinstance(estimators, (list, tuple)) else [estimators]
    return {getattr(e, "__name__", repr(e)): e for e in many}


def _names(variables):
    """Readable and distinct names: a repeated one gets a number."""
    plain = [getattr(v, "path", v.name).removesuffix(":0") for v in variables]
    return [
        f"{name}_{plain[:i].count(name)}" if plain.count(name) > 1 else name
        for i, name in enumerate(plain)
    ]
