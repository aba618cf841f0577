"""What the gap report and the collapse report say, as pictures."""

from __future__ import annotations

from elbo_tfp.show.plots.style import COLORS, on_axes


@on_axes
def gap_ladder(report, *, ax=None):
    """From the evidence down to the encoder's ELBO, with the two gaps between.

    Args:
        report: a `gaps.gap_report` (with training data, both are drawn), or a dict from
            label to report.
        ax: axes to draw on; new ones if None.

    Raises:
        ValueError: if anything else is given, or an empty dict.

    Returns:
        The `Axes`: one column per report, mean nats per datum; a column's top is the
        evidence, the line inside it the best ELBO of the family, its foot the encoder's
        ELBO. Error bars are two Monte Carlo standard errors of the gap they stand at.
    """
    columns = _reports(report, "gap_report", "amortization_gap")
    if not isinstance(report, dict) and report.train is not None:
        columns = {"training data": report.train, "new data": report}
    at = range(len(columns))
    tops = [r.evidence.mean.value for r in columns.values()]
    middles = [r.evidence.mean.value - _gap(r, 0).value for r in columns.values()]
    looks = ((COLORS["blue"], ""), (COLORS["orange"], "///"))
    for i, (starts, name) in enumerate(zip((tops, middles), _GAPS, strict=True)):
        gaps = [_gap(r, i) for r in columns.values()]
        sizes, errors = [g.value for g in gaps], [2 * g.noise_error for g in gaps]
        foot = [start - size for start, size in zip(starts, sizes, strict=True)]
        color, hatch = looks[i]
        ax.bar(at, sizes, 0.55, foot, color=color, alpha=0.55, hatch=hatch, label=name)
        ax.errorbar(at, foot, errors, fmt="none", ecolor="black", capsize=4)
        for x, start, end, size in zip(at, starts, foot, sizes, strict=True):
            at_end = {"va": "top", "xytext": (0, -5)} if i else {"xytext": (0, 3)}
            spot = {"ha": "center", "textcoords": "offset points", **at_end}
            ax.annotate(f"{size:.2f}", (x, end if i else start), **spot)
    for x, top, middle in zip(at, tops, middles, strict=True):
        ax.hlines([top, middle], x - 0.275, x + 0.275, "black", linewidth=1.5)
    ax.set_xticks(list(at), list(columns))
    ax.set_xlim(-0.6, len(columns) - 0.4)
    ax.margins(y=0.12)
    ax.set_ylabel("nats per datum")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=11)


_GAPS = "approximation gap (above)", "amortization gap (below)"


def _gap(report, number):
    return (report.approximation_gap, report.amortization_gap)[number].mean


@on_axes
def collapse_panel(report, *, ax=None):
    """What each latent dimension tells: filled bars for active ones, empty others.

    Args:
        report: a `gaps.collapse_report`, or a dict of at most five from label to report
            (before and after a cure, say).
        ax: axes to draw on; new ones if None.

    Returns:
        The `Axes`: KL to the prior per dimension in nats, largest first (the variance
        of q's mean where the family's marginals are not known). The legend adds the
        number of active dimensions, the mutual information, and whether the decoder
        uses z.

    Raises:
        ValueError: if there are more than five reports, or something else is given.
    """
    import numpy as np

    reports = _reports(report, "collapse_report", "mean_variance")
    if len(reports) > 5:
        raise ValueError(f"expected at most five reports; got {len(reports)}.")
    known = all(r.kl_per_dimension is not None for r in reports.values())
    width = 0.8 / len(reports)
    hues = [COLORS[n] for n in ("blue", "orange", "green", "purple", "grey")]
    hatches = ("", "///", "...", "xxx", "\\\\\\")
    for i, (label, each) in enumerate(reports.items()):
        # of a path, every step's dimensions
        heights = np.ravel(each.kl_per_dimension if known else each.mean_variance)
        order = np.argsort(-np.asarray(heights))
        at = np.arange(len(order)) + (i - (len(reports) - 1) / 2) * width
        active = np.ravel(each.active)[order]
        bars = ax.bar(
            at,
            np.asarray(heights)[order],
            width * 0.9,
            edgecolor=hues[i],
            linewidth=1.2,
        )
        for bar, on in zip(bars, active, strict=True):
            bar.set(facecolor=hues[i] if on else "none", alpha=0.8)
            bar.set_hatch(hatches[i] if on else "")
        bars.set_label(_in_words(label, each))
    ax.set_xticks(range(len(order)))
    ax.set_xticklabels([str(d + 1) for d in range(len(order))])
    ax.set_xlabel("latent dimension, most telling first")
    ax.set_ylabel("KL to the prior, nats" if known else "variance of q's mean")
    ax.grid(axis="x", visible=False)
    handles = ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0)).legend_handles
    for i, handle in enumerate(handles):
        handle.set(facecolor=hues[i], hatch=hatches[i], alpha=0.8)


def _reports(report, maker, field):
    """label -> report, checked to come from the right function."""
    reports = dict(report) if isinstance(report, dict) else {"": report}
    found = [type(r).__name__ for r in reports.values() if not hasattr(r, field)]
    if found or not reports:
        raise ValueError(
            f"expected what gaps.{maker} returns, or a dict from label to it; got "
            f"{found[0] if found else 'an empty dict'}."
        )
    return reports


def _in_words(label, report):
    information = max(report.mutual_information.mean.value, 0.0)
    words = (
        f"{report.num_active} of {report.active.size} active, "
        f"I = {information:.1f} nats, z {'used' if report.uses_z else 'ignored'}"
    )
    return f"{label}: {words}" if label else words
