"""What a gap report holds, and how it reads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from elbo_tfp.ground.measured import Average, PerDatum
from elbo_tfp.ground.tables import Table


class Generalization(NamedTuple):
    """What is lost from training to new data: `elbo = model + family + encoder`."""

    elbo: Average
    """ELBO on training data minus ELBO on new data, nats per datum."""
    model: Average
    """Evidence on training data minus evidence on new data: the model's own gap."""
    family: Average
    """Approximation gap on new data minus that on training data."""
    encoder: Average
    """Amortization gap on new data minus that on training data: the encoder's gap."""


class GapReport(NamedTuple):
    """From the evidence down to the encoder's ELBO, per datum, in nats."""

    evidence: PerDatum
    """log p(x)."""
    best: PerDatum
    """The ELBO of the best member of the family that refinement found."""
    amortized: PerDatum
    """The ELBO of the encoder's answer."""
    approximation_gap: PerDatum
    """`evidence - best`: what the family costs."""
    amortization_gap: PerDatum
    """`best - amortized`: what the encoder costs, paired draw by draw."""
    inference_gap: PerDatum
    """`evidence - amortized`, the sum of the two."""
    converged: np.ndarray
    """Whether refinement converged, `[B]`."""
    effective_sample_size: np.ndarray
    """Of the importance weights of the refined q, `[B]`."""
    sample_size: int
    """Draws per datum."""
    evidence_method: str
    """"exact", or the method of `gaps.evidence`."""
    surrogate_posterior: Any
    """The refined q, batch shape `[B]`."""
    train: GapReport | None = None
    """The same report on the training data, if they were given."""

    @property
    def lower_estimates(self) -> tuple[str, ...]:
        """The fields that are, on average, smaller than what they stand for.

        Importance sampling and annealing underestimate the evidence, so the inference
        gap comes out low. Refinement may miss the best member of the family, so the
        amortization gap comes out low. The approximation gap is that of the q found: an
        evidence that is too low lowers it, and a search that stops short raises it.
        """
        if self.evidence_method in ("exact", "quadrature", "given"):
            return ("best", "amortization_gap")
        return "evidence", "best", "amortization_gap", "inference_gap"

    @property
    def generalization(self) -> Generalization | None:
        """What new data lose against the training data; None without them."""
        old = self.train
        if old is None:
            return None
        return Generalization(
            old.amortized.mean - self.amortized.mean,
            old.evidence.mean - self.evidence.mean,
            self.approximation_gap.mean - old.approximation_gap.mean,
            self.amortization_gap.mean - old.amortization_gap.mean,
        )

    @property
    def table(self) -> Table:
        """The report as a table, for `str` and for notebooks."""
        columns = ("mean", "noise +-", "data +-")
        rows = _rows(self)
        if self.train is not None:
            rows = [
                (f"{len(self.converged)} new data", ()),
                *rows,
                (f"{len(self.train.converged)} training data", ()),
                *_rows(self.train),
                ("lost on new data", ()),
                *zip(_LOST, self.generalization, strict=True),
            ]
        title = f"Gap report, {len(self.converged)} data, nats per datum"
        return Table(title, columns, tuple(rows), tuple(_notes(self)))

    def __str__(self) -> str:
        return str(self.table)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


_NAMES = {
    "evidence": "evidence",
    "best": "best in the family",
    "amortized": "encoder's ELBO",
    "approximation_gap": "approximation gap",
    "amortization_gap": "amortization gap",
    "inference_gap": "inference gap",
}
_LOST = ("ELBO", "by the model", "by the family", "by the encoder")


def _rows(report):
    return [(text, getattr(report, name).mean) for name, text in _NAMES.items()]


def _num_collapsed(report):
    """Number of data whose importance weights are carried by a few draws."""
    limit = min(10, report.sample_size / 2)
    return int(np.sum(report.effective_sample_size < limit))


def _notes(report):
    method = {"exact": "exact", "given": "given"}.get(
        report.evidence_method, f"by {report.evidence_method}"
    )
    share = 100 * report.converged.mean()
    yield f"evidence {method}; {share:.1f}% of the data converged"
    if report.train is not None:
        yield f"(training data: {100 * report.train.converged.mean():.1f}%)"
    if report.evidence_method == "importance":
        for part, whose in ((report, ""), (report.train, "training ")):
            few = 0 if part is None else _num_collapsed(part)
            if few:
                yield f"importance weights collapsed for {few} {whose}data: too low"
    if "evidence" in report.lower_estimates:
        yield "lower estimates: evidence, best, amortization, inference gap"
    else:
        yield "lower estimates: best, amortization gap"
