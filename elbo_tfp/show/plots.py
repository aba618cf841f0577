"""Figures: `plots.<figure>(result) -> Axes`. The only place that imports matplotlib.

One palette (Okabe and Ito 2008) that survives greyscale and colour blindness; every
series differs in dash or marker as well as in hue.
"""

from __future__ import annotations

import functools

COLORS = {
    "blue": "#0072B2",
    "orange": "#D55E00",
    "green": "#009E73",
    "purple": "#AA4499",
    "grey": "#666666",
}
"""The book's palette; lines have a contrast of at least 3 : 1 on white."""

DASHES = ["-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1))]


def use_style() -> None:
    """Sets the book's look for all later figures: size, palette, quiet axes."""
    import matplotlib as mpl
    from cycler import cycler

    hues = [COLORS[n] for n in ("blue", "orange", "green", "purple", "grey")]
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": 100,
            "savefig.dpi": 110,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "axes.prop_cycle": cycler(color=hues) + cycler(linestyle=DASHES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "font.size": 12,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "image.cmap": "gray_r",
        }
    )


def _on_axes(function):
    """Lets a figure function make its own axes when it is given none."""

    @functools.wraps(function)
    def wrapped(*args, ax=None, **kwargs):
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        function(*args, ax=ax, **kwargs)
        return ax

    return wrapped


@_on_axes
def density(distribution, low, high, *, ax=None, num=400, **style):
    """The density of a scalar distribution between `low` and `high`.

    Args:
        distribution: anything with `log_prob` over scalars.
        low: left end.
        high: right end.
        ax: axes to draw on; new ones if None.
        num: number of points.
        **style: passed on to `Axes.plot`.

    Returns:
        The `Axes`.
    """
    import numpy as np

    grid = np.linspace(low, high, num).astype(distribution.dtype.as_numpy_dtype)
    ax.plot(grid, np.exp(distribution.log_prob(grid)), **style)
    ax.set(xlabel="z", ylabel="density")


def images(x, *, shape=(8, 8), rows=1, largest=16.0, gap=1):
    """A sheet of small images, for instance digits.

    Args:
        x: `[N, pixels]`; N is a multiple of `rows`.
        shape: height and width of one image.
        rows: number of rows.
        largest: the pixel value drawn as black.
        gap: white pixels between images.

    Returns:
        The `Axes`.

    Raises:
        ValueError: if x does not hold a multiple of `rows` images of that shape.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    x = np.asarray(x)
    if x.ndim == 0 or x[:1].size != shape[0] * shape[1] or len(x) % rows:
        raise ValueError(
            f"expected images [N, {shape[0] * shape[1]}], N a multiple of rows={rows}; "
            f"got shape {x.shape}. Pass shape=(height, width) of one image."
        )
    cells = np.pad(x.reshape(-1, *shape), [(0, 0), (0, gap), (0, gap)]).reshape(
        rows, -1, shape[0] + gap, shape[1] + gap
    )
    sheet = np.concatenate([np.concatenate(list(row), 1) for row in cells], 0)
    height, width = sheet.shape
    figure, ax = plt.subplots(figsize=(6.4, max(0.6, 6.4 * height / width)))
    ax.imshow(sheet[: height - gap, : width - gap], vmin=0, vmax=largest)
    ax.set_axis_off()
    return ax


@_on_axes
def band(x, values, *, ax=None, low=5, high=95, **style):
    """The median of repeated measurements, in a band between two percentiles.

    Args:
        x: where the measurements were made, `[N]`.
        values: the repeats at each x, `[N, R]`, R >= 2.
        ax: axes to draw on; new ones if None.
        low: lower percentile of the band.
        high: upper percentile of the band.
        **style: passed on to `Axes.plot` for the median.

    Returns:
        The `Axes`.

    Raises:
        ValueError: if `values` does not have one row of repeats per x.
    """
    import numpy as np

    x, values = np.asarray(x), np.asarray(values)
    if values.ndim != 2 or len(values) != len(x) or values.shape[1] < 2:
        raise ValueError(
            f"expected values [N, R] with N = {len(x)}, one row of at least 2 repeats "
            f"per x; got shape {values.shape}."
        )
    lower, median, upper = np.percentile(values, [low, 50, high], axis=1)
    (line,) = ax.plot(x, median, **{"marker": "o", "markersize": 4} | style)
    ax.fill_between(x, lower, upper, color=line.get_color(), alpha=0.2, linewidth=0)


@_on_axes
def against_exact(exact, estimates, *, ax=None):
    """Estimates of a quantity against its exact value; on the diagonal both agree.

    Args:
        exact: the exact values, `[N]`.
        estimates: a dict from label to estimates, `[N]` each, at most five of them.
        ax: axes to draw on; new ones if None.

    Returns:
        The `Axes`, with a legend.

    Raises:
        ValueError: if an estimate has another shape than `exact`, or there are too
            many to tell apart.
    """
    import numpy as np

    exact = np.asarray(exact)
    if len(estimates) > 5:
        raise ValueError(f"expected at most five estimates; got {len(estimates)}.")
    for (label, values), marker in zip(estimates.items(), "ox^sD", strict=False):
        if np.shape(values) != exact.shape:
            raise ValueError(
                f"expected estimates of shape {exact.shape}, one per exact value; got "
                f"{np.shape(values)} for {label!r}."
            )
        ax.plot(exact, values, marker, markersize=5, alpha=0.8, label=label)
    ends = [exact.min(), exact.max()]
    ax.plot(ends, ends, "-", color=COLORS["grey"], linewidth=1, label="exact")
    ax.set(xlabel="exact", ylabel="estimate")
    ax.legend()


@_on_axes
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


@_on_axes
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
        heights = each.kl_per_dimension if known else each.mean_variance
        order = np.argsort(-np.asarray(heights))
        at = np.arange(len(order)) + (i - (len(reports) - 1) / 2) * width
        active = np.asarray(each.active)[order]
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
        f"{int(sum(report.active))} of {len(report.active)} active, "
        f"I = {information:.1f} nats, z {'used' if report.uses_z else 'ignored'}"
    )
    return f"{label}: {words}" if label else words
