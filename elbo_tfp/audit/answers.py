"""Is the answer good: the noise, the weights, the latents, the gaps?"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from elbo_tfp.audit.results import Finding
from elbo_tfp.draws import evaluate
from elbo_tfp.evidence import k_hat
from elbo_tfp.gaps import collapse_report, gap_report
from elbo_tfp.ground.seeds import split_seed


def noise_of(look, x, q, seed):
    """Squared residuals over the variance that the likelihood says: 1 if both agree."""
    name, figure = "noise", "residual^2 / variance"
    if not look.local or not tf.is_tensor(look.x) or look.size < 2:
        note = "needs a local latent and data that are one tensor"
        return Finding(name, "not checked", note=note)
    z = q.sample(_DRAWS, seed=seed)
    try:
        p = look.model.likelihood(z)
        mean, variance = p.mean(), p.variance()
    except NotImplementedError:
        note = "the likelihood has no mean or no variance"
        return Finding(name, "not checked", note=note)
    square, scale = _sum((x - mean) ** 2), _sum(tf.broadcast_to(variance, mean.shape))
    if not (np.isfinite(scale).all() and scale.sum() > 0):
        return Finding(name, "not checked", note="an infinite or zero variance")
    ratio = square.sum() / scale.sum()
    # delta method over the data
    error = (square - ratio * scale).std(ddof=1) / scale.mean() / math.sqrt(len(x))
    if ratio - 3 * error > 3 or ratio + 3 * error < 1 / 3:
        return Finding(name, "alarm", figure, ratio, error, "noise")
    return Finding(name, "ok", figure, ratio, error)


_DRAWS = 20


def _sum(value):
    """Mean over draws of the sum over one datum, `[B]`."""
    value = np.asarray(value, np.float64)
    return value.reshape(*value.shape[:2], -1).sum(-1).mean(0)


def check_weights(look, tolerance, seed):
    """k-hat, the mean of five runs; of the largest tenth of the data."""
    name, runs = "weights", 5
    if look.num_data and look.num_data != look.size:
        note = "a shared latent needs all num_data data"
        return [Finding(name, "not checked", note=note)]
    rows = look.x if look.num_data or look.x is None else look.rows(50)
    found = []
    for one in split_seed(seed, runs):
        weights = np.asarray(look.draw(rows, 1_000, one).log_weights)
        # all data hang on one shared latent: their shares add up
        found.append(k_hat(weights.sum(1) if look.num_data else weights))
    k = np.maximum(np.reshape(found, (runs, -1)), -1)
    worst = np.argsort(k.mean(0))[int(0.9 * (k.shape[1] - 1))]
    value, error = k[:, worst].mean(), k[:, worst].std(ddof=1) / math.sqrt(runs)
    figure = "k-hat" if k.shape[1] == 1 else "k-hat, 90% quantile"
    if value > 0.7:
        return [Finding(name, "alarm", figure, value, error, "weights")]
    return [Finding(name, "ok", figure, value, error)]


def check_sandwich(look, tolerance, seed):
    """An upper and a lower bound on the evidence of data that the model makes."""
    name, figure, size = "sandwich", "width on simulated data", 100
    if not (look.local and look.encodes):
        return [Finding(name, "not checked", note="needs an encoder of a local latent")]
    x_seed, draw_seed = split_seed(seed)
    z, x = look.model.sample(200, seed=x_seed)
    q, target = look.q(x), look.model.log_joint(x)
    weights = np.asarray(look.draw(x, size, draw_seed).log_weights, np.float64)
    own = evaluate(target, q, tf.nest.map_structure(lambda t: t[tf.newaxis], z), 1)
    # the first of the draws gives its place to one of the posterior: the z of this x
    with_one = np.concatenate([np.asarray(own.log_weights, np.float64), weights[1:]])
    width = _log_mean(with_one) - _log_mean(weights)
    value, error = width.mean(), width.std(ddof=1) / math.sqrt(len(width))
    if value - 3 * error > tolerance:
        return [Finding(name, "alarm", figure, value, error, "sandwich")]
    return [Finding(name, "ok", figure, value, error)]


def check_collapse(look, tolerance, seed):
    """The collapse report: does a swapped z cost anything?"""
    name, figure = "collapse", "loss by swapped z"
    if not (look.local and look.encodes) or look.size < 2:
        return [Finding(name, "not checked", note="needs an encoder and 2 data")]
    x, options = look.rows(200), {"sample_size": 50, "jit_compile": False}
    try:
        report = collapse_report(look.model, look.q, x, **options, seed=seed)
    except ValueError as error:
        return [Finding(name, "not checked", note=str(error).split(";")[0])]
    loss = report.swap_loss.mean
    noise = max(loss.noise_error, loss.data_error)
    note = f"{report.num_active} of {np.size(report.active)} dimensions active"
    if not (report.uses_z and report.num_active):
        return [Finding(name, "alarm", figure, loss.value, noise, "collapse")]
    return [Finding(name, "ok", figure, loss.value, noise, note=note)]


def check_gaps(look, tolerance, seed):
    """What family and encoder cost; and the noise, seen by the best q that is known.

    A poor encoder leaves large residuals whatever the noise, so the refined q is asked.
    """
    gap_seed, noise_seed = split_seed(seed)
    names = "amortization", "family"
    rows = None if look.x is None else look.rows(32)
    note = "needs an Encoder, or a Family and a target that holds its data"
    if look.num_data is None and look.refines:
        options = {"sample_size": 500, "max_rounds": 5, "jit_compile": False}
        try:
            report = gap_report(look.model, look.answer, rows, **options, seed=gap_seed)
            best = report.surrogate_posterior
            return [*_gaps(report, tolerance), noise_of(look, rows, best, noise_seed)]
        except ValueError as error:
            note = str(error).split(";")[0]
    found = [Finding(n, "not checked", note=note) for n in names]
    q = look.q(rows) if look.local and rows is not None else None
    return [*found, noise_of(look, rows, q, noise_seed)]


def _gaps(report, tolerance):
    """Two findings. Without an encoder the first gap is steps that were not taken."""
    note = "" if report.converged.all() else "refinement did not converge everywhere"
    first, second = report.amortization_gap.mean, report.approximation_gap.mean
    return [
        _gap("amortization", "best - this q", first, tolerance, note),
        _gap("family", "evidence - best", second, tolerance, note),
    ]


def _gap(name, figure, gap, tolerance, note):
    cells = figure, gap.value, gap.noise_error
    if gap.value - 3 * gap.noise_error > tolerance:
        return Finding(name, "alarm", *cells, name, note)
    if gap.value > tolerance:
        note = f"above {tolerance:g} nats, but within three errors of it"
        return Finding(name, "unclear", *cells, note=note)
    return Finding(name, "ok", *cells, note=note)


def _log_mean(weights):
    top = weights.max(0)
    return top + np.log(np.exp(weights - top).mean(0))
