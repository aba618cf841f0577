"""The gap report: how far below the evidence, and whose fault it is.

It is longer than most modules: one ladder, from draws of its own or below an evidence.
"""

from __future__ import annotations

import numpy as np

from elbo_tfp.evidence.estimation import estimate as estimated
from elbo_tfp.evidence.methods import METHODS, Evidence, check_method
from elbo_tfp.gaps.gap_results import GapReport
from elbo_tfp.gaps.refine import _ERROR, paired, search
from elbo_tfp.gaps.start import begin
from elbo_tfp.ground import measured as _per
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.measured import PerDatum
from elbo_tfp.ground.seeds import as_seed, split_seed


def gap_report(
    model,
    encoder,
    x=None,
    *,
    x_train=None,
    family=None,
    evidence=None,
    sample_size=1_000,
    num_steps=200,
    max_rounds=10,
    learning_rate=0.05,
    tolerance=0.02,
    evidence_options=None,
    jit_compile=True,
    seed,
) -> GapReport:
    """Splits what inference loses into the family's part and the encoder's.

    For each datum three numbers are compared: the evidence, the ELBO of the best
    member of the family (`refine`, which says for each datum whether it converged) and
    the ELBO of the encoder's answer. Their differences are the approximation gap and
    the amortization gap; both come from the same draws, and so do their errors.

    Args:
        model: a `LatentVariableModel`; or a pin, as in `refine`. With a global prior
            all data have one evidence and one gap together, B = 1.
        encoder: an `Encoder`, a bare callable with `family`, or with a pin a family of
            one member, as in `refine`; with a global prior the pair (encoder, family
            of one member for the global latent).
        x: data, `[B]` + event, or a structure of such: held-out data if `x_train` is
            given.
        x_train: data that model and encoder were trained on (or some of them), to
            report the generalization gap of model and encoder as well.
        family: of a bare encoder; None with an `Encoder`.
        evidence: where log p(x) comes from: a method of `gaps.evidence` (its name, or
            an object with its options), numbers `[B]` or an `Evidence`; None takes the
            model's exact one, or else "importance" with the refined q and the same
            draws as the ELBO.
        sample_size: draws per datum.
        num_steps: of refinement, as in `refine`.
        max_rounds: of refinement, as in `refine`.
        learning_rate: of refinement, as in `refine`.
        tolerance: of refinement, as in `refine`, nats per datum.
        evidence_options: further arguments of `gaps.evidence`, a dict.
        jit_compile: whether to compile with XLA.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        A `GapReport`; it prints as a table.

    Raises:
        ValueError: as `refine` and `gaps.evidence`; if given evidence is not one finite
            number per datum; if there are options for evidence that is known.

    Source: Cremer, Li and Duvenaud (2018), equations 4 to 6; generalization: Zhang,
    Hayes and Barber (2022), section 3.
    """
    settings = {
        "family": family,
        "sample_size": sample_size,
        "evidence_options": evidence_options or {},
        "jit_compile": jit_compile,
        "num_steps": num_steps,
        "max_rounds": max_rounds,
        "learning_rate": learning_rate,
        "tolerance": tolerance,
    }
    if x_train is None:
        return _report(model, encoder, x, evidence, as_seed(seed), **settings)
    if not (evidence is None or isinstance(evidence, (str, *METHODS.values()))):
        raise wrong(
            "evidence to be a method or None with x_train, since one set of numbers "
            "cannot serve two sets of data",
            type(evidence).__name__,
            "Make two reports instead.",
        )
    seeds = split_seed(seed)
    old = _report(model, encoder, x_train, evidence, seeds[0], **settings)
    new = _report(model, encoder, x, evidence, seeds[1], **settings)
    return new._replace(train=old)


def _report(
    model,
    encoder,
    x,
    evidence,
    seed,
    *,
    family,
    sample_size,
    evidence_options,
    jit_compile,
    **refinement,
):
    """The report on one set of data."""
    sample_size = whole("sample_size", sample_size, 2, _ERROR)
    refine_seed, draw_seed, evidence_seed = split_seed(seed, 3)
    start = begin(encoder, model, x, family)
    method, found = _evidence_of(model, start, evidence)
    if evidence_options and (found is not None or hasattr(method, "measure")):
        raise wrong(
            "evidence_options beside the name of a method of gaps.evidence only",
            f"{sorted(evidence_options)} where the evidence is {method}",
            'Leave them out, or name the method, evidence="annealed" say.',
        )
    climber = start.climber(jit_compile)
    best, converged, _ = search(start, climber, seed=refine_seed, **refinement)
    # common noise: the same seed draws both
    first = start.log_weights(climber, sample_size, draw_seed)
    last = climber.log_weights(best, sample_size, draw_seed)
    ladder = _ladder(first, last)
    size = _per.effective_sample_size(last)
    if found is None and (method != "importance" or evidence_options):
        found = estimated(
            model,
            x,
            method,
            surrogate_posterior=start.member(best),
            seed=evidence_seed,
            **evidence_options,
        )
    if found is not None:
        ladder = _under(found, first, last, ladder)
    return GapReport(
        **ladder,
        converged=converged,
        effective_sample_size=size,
        sample_size=sample_size,
        evidence_method=getattr(method, "name", method),
        surrogate_posterior=start.member(best),
    )


def _evidence_of(model, start, evidence):
    """The method, and the evidence if it is known already."""
    if evidence is None and getattr(model, "_log_evidence", None) is not None:
        return "exact", Evidence(model.log_evidence(start.data), None, None, None)
    if evidence is None or isinstance(evidence, (str, *METHODS.values())):
        # before the long search, not after it
        check_method("importance" if evidence is None else evidence)
        return evidence or "importance", None
    if not isinstance(evidence, Evidence):
        evidence = Evidence(np.asarray(evidence), None, None, None)
    if tuple(evidence.estimate.shape) != start.batch:
        raise wrong(
            f"one evidence per datum, shape {list(start.batch)}",
            list(evidence.estimate.shape),
        )
    bad = np.sum(~np.isfinite(evidence.estimate))
    if bad:
        raise wrong(
            "finite evidence, nats per datum",
            f"NaN or infinity for {bad} of {start.batch[0]} data",
        )
    return "given", evidence


def _ladder(first, last) -> dict:
    """All of it from two sets of log-weights, importance evidence included."""
    rounding = _per.rounding_of(last)
    approximation = _per.jensen_gap_of(last, rounding)
    amortization = paired(last, first)
    return {
        "evidence": _per.log_mean_of(last, rounding),
        "best": _per.mean_of(last, rounding),
        "amortized": _per.mean_of(first, rounding),
        "approximation_gap": approximation,
        "amortization_gap": amortization,
        "inference_gap": _sum(approximation, amortization, last, first, rounding),
    }


def _sum(approximation, amortization, last, first, rounding):
    """The inference gap, its error from the influence of each draw on both parts."""
    top = last.max(0)
    weights = np.exp(np.asarray(last, np.float64) - top)
    influence = weights / weights.mean(0) - np.asarray(first, np.float64)
    error = _per.mean_of(influence, rounding).standard_error
    return PerDatum(approximation.value + amortization.value, error, rounding)


def _under(found, first, last, ladder) -> dict:
    """The same ladder below an evidence that came from elsewhere."""
    rounding = _per.rounding_of(last)
    # a pin's evidence is one number
    level = np.reshape(np.asarray(found.estimate, np.float64), rounding.shape)
    error = 0.0 if found.standard_error is None else np.asarray(found.standard_error)
    noise = np.broadcast_to(error, rounding.shape)
    evidence = PerDatum(level, np.maximum(noise, rounding), rounding)

    def below(elbo):
        error = np.hypot(elbo.standard_error, noise)
        return PerDatum(level - elbo.value, error, rounding)

    return {
        **ladder,
        "evidence": evidence,
        "approximation_gap": below(ladder["best"]),
        "inference_gap": below(ladder["amortized"]),
    }
