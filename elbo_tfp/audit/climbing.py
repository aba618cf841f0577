"""Is what was climbed the ELBO, and is the climb over?

It is longer than most modules: its checks share what they look at.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from elbo_tfp.audit.results import Finding
from elbo_tfp.fitting.convergence import rise
from elbo_tfp.fitting.objective import as_estimate, requested
from elbo_tfp.ground import structures
from elbo_tfp.ground.seeds import split_seed

_RUNS, _ERRORS = 20, 4


def check_objective(objective, look, seed):
    """Compares the objective with the ELBO of this model and this q, in nats.

    Args:
        objective: as in `fit`, or None.
        look: a `Look` at model, q and data.
        seed: a pair of ints.
    """
    if objective is None:
        return [Finding("objective", "not checked", note="pass objective=")]
    names = requested(objective)
    minibatch = "batch" in names
    if minibatch and look.x is None:
        return [Finding("objective", "not checked", note="it asks for a batch: pass x")]
    # a third: with half, N / B = 2 would look like a KL that is counted twice
    size = max(1, look.size // 3) if minibatch else look.size
    rows = look.rows(min(size, 200)) if minibatch else look.x
    ask_seed, own_seed, other_seed = split_seed(seed, 3)
    value = caller(objective, names, rows, look.num_data or look.size)
    seeds = split_seed(ask_seed, _RUNS)
    first, again = value(seeds[0]), value(seeds[0])
    if first != again:
        gap = abs(first - again)
        return [Finding("objective", "alarm", "same seed, twice", gap, fault="seed")]
    values = np.array([first, *(value(s) for s in seeds[1:])])
    parts = _parts(look.draw(rows, 400, own_seed))
    mean, error = values.mean(), _error(values)
    known, noise = parts[0].mean(), _error(parts[0])
    gap, error = mean - known, math.hypot(error, noise)
    figure = ("objective - ELBO", gap, error)
    if abs(gap) <= _ERRORS * error + 1e-5 * abs(known):
        return [Finding("objective", "ok", *figure)]
    if gap > 0 and mean <= _above(look, rows, own_seed) + _ERRORS * error:
        return [Finding("objective", "ok", *figure, note="a tighter bound")]
    fault = _nearest(mean, error, parts, look, rows, other_seed)
    if fault == "total":
        return [Finding("objective", "ok", *figure, note="a multiple of the ELBO")]
    return [Finding("objective", "alarm", *figure, fault)]


def caller(objective, names, rows, num_data):
    """The objective as seed -> nats, called as `fit` calls it."""
    known = {"batch": rows, "step": tf.constant(10**6), "kl_weight": 1.0}
    known |= {"num_data": num_data, "training": False}
    given = {name: known[name] for name in names if name in known}

    def value(seed):
        seeds = {"seed": seed} if "seed" in names else {}
        found = as_estimate(objective(**given, **seeds), None).value
        return float(np.mean(found, dtype=np.float64))

    return value


def _parts(draws):
    """ELBO, likelihood and KL draw by draw, each `[S]`: means over the data."""
    weights = _mean(draws.log_weights)
    if draws.log_likelihood is None:
        return weights, None, None
    return (
        weights,
        _mean(draws.log_likelihood),
        _mean(draws.log_q) - _mean(draws.log_prior),
    )


def _mean(density):
    density = np.asarray(density, np.float64)
    return density.reshape(len(density), -1).mean(1)


def _error(samples):
    return samples.std(ddof=1) / math.sqrt(len(samples))


def _above(look, rows, seed):
    """An importance-weighted bound on the evidence, nats per datum."""
    if look.num_data:
        return -math.inf  # a datum's share of a weight bounds nothing
    weights = np.asarray(look.draw(rows, 1_000, seed).log_weights, np.float64)
    top = weights.max(0)
    return float(np.mean(top + np.log(np.exp(weights - top).mean(0))))


def _nearest(mean, error, parts, look, rows, seed):
    """The fault whose formula explains the number, or "objective"."""
    elbo, likelihood, kl = parts
    batch = structures.batch_size(rows) if rows is not None else 1
    num = look.num_data or batch
    candidates = [
        ("total", batch * elbo),
        ("total", num * elbo),
        ("total", elbo / batch),
    ]
    if likelihood is not None:
        size, latents = look.sizes
        means = {1 / size, 1 / (size * batch)} - {1.0}
        candidates += [("reduce", c * likelihood - kl) for c in means]
        if latents > 1:
            candidates += [("reduce", likelihood - kl / latents)]
            candidates += [("reduce", likelihood / size - kl / latents)]
        candidates += [("kl_twice", likelihood - 2 * kl)]
    if look.num_data and look.num_data != batch:
        one = _parts(look.draw(rows, 400, seed, num_data=batch))[0]
        candidates += [("minibatch", one), ("minibatch", batch * one)]
    found = []
    for fault, samples in candidates:
        miss = abs(mean - samples.mean())
        limit = _ERRORS * math.hypot(error, _error(samples)) + 1e-3 * abs(mean)
        found.append((miss / limit, fault))
    score, fault = min(found)
    return fault if score <= 1 else "objective"


def check_trace(result):
    """Looks at the variables, the KL weight and the trace of a fit."""
    names = "variables", "KL weight", "convergence"
    if result is None:
        return [Finding(n, "not checked", note="pass result=") for n in names]
    found = [_finite(result), _weight(result)]
    trace = np.asarray(result.elbo, np.float64)
    if result.kl_weight is not None:
        moves = np.flatnonzero(np.diff(result.kl_weight))
        trace = trace[moves[-1] + 1 if len(moves) else 0 :]
    return [*found, judge(trace)]


def judge(trace) -> Finding:
    """Convergence against noise: is a rise seen, ruled out, or neither?

    Args:
        trace: the ELBO of each step, `[steps]`, nats, under one and the same KL weight.
    """
    if len(trace) < 90:
        note = f"needs 90 steps under one KL weight; got {len(trace)}"
        return Finding("convergence", "not checked", note=note)
    found = rise(trace)
    figure = ("rise of the last third", found.rise, found.standard_error)
    limit = max(0.1 * found.noise, 1e-6 * abs(trace[-1]))
    sure = 3 * found.standard_error
    if found.rise - sure > limit:
        return Finding("convergence", "alarm", *figure, "rising")
    if -found.rise - sure > limit:
        return Finding("convergence", "alarm", *figure, "falling")
    if max(found.rise, 0) + 2 * found.standard_error < limit:
        return Finding("convergence", "ok", *figure)
    note = f"neither seen nor ruled out: a rise of {limit:.2g} nats"
    return Finding("convergence", "unclear", *figure, note=note)


def _finite(result):
    tensors = [np.asarray(v) for v in result.variables]
    bad = sum(np.count_nonzero(~np.isfinite(t)) for t in tensors if t.dtype.kind == "f")
    bad += np.count_nonzero(~np.isfinite(result.elbo))
    if bad:
        return Finding("variables", "alarm", "not finite", bad, fault="non_finite")
    return Finding("variables", "ok", "not finite", 0)


def _weight(result):
    if result.kl_weight is None:
        return Finding("KL weight", "ok", "at the end", 1.0, note="no schedule")
    last = float(result.kl_weight[-1])
    if abs(last - 1) > 1e-6:
        return Finding("KL weight", "alarm", "at the end", last, fault="annealing")
    return Finding("KL weight", "ok", "at the end", last)


def check_starts(result, another, seed):
    """Compares the end of a fit with the ends of others."""
    name, figure = "another start", "other - this"
    if callable(another):
        another = another(seed)
    others = another if isinstance(another, list) else [another]
    if result is None or another is None:
        note = "pass result= and another=, a fit from another start"
        return [Finding(name, "not checked", note=note)]
    (mine, noise), ends = _end(result), [_end(other) for other in others]
    gap, error = max((end - mine, math.hypot(e, noise)) for end, e in ends)
    if gap > 3 * error + 0.1:
        return [Finding(name, "alarm", figure, gap, error, "local_optimum")]
    return [Finding(name, "ok", figure, gap, error)]


def _end(result):
    """Mean of the last tenth of a trace and its error, nats."""
    last = np.asarray(result.elbo, np.float64)[-max(2, result.steps // 10) :]
    return last.mean(), _error(last)
