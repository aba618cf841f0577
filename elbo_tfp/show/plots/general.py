"""Densities, images, repeated measurements, estimates against the exact value."""

from __future__ import annotations

from elbo_tfp.show.plots.style import COLORS, on_axes


@on_axes
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


@on_axes
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


@on_axes
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
