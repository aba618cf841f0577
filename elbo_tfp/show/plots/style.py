"""The book's look: one palette, dashes, and figures that make their own axes.

The palette (Okabe and Ito 2008) survives greyscale and colour blindness; every series
differs in dash or marker as well as in hue.
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

AMBER = "#B0690A"
"""The gap, where evidence is grey and the ELBO blue."""

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


def on_axes(function):
    """Lets a figure function make its own axes when it is given none."""

    @functools.wraps(function)
    def wrapped(*args, ax=None, **kwargs):
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        function(*args, ax=ax, **kwargs)
        return ax

    return wrapped
