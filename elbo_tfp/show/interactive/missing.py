"""A mean of what is left: the movable figure of chapter 15."""

from __future__ import annotations

import numpy as np

from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)


def lost_above(threshold=0.5, *, above=0.8, below=0.2) -> SliderFigure:
    """Lose values by chance, with one probability above a threshold, one below it.

    The values are N(0, 1). Where the two probabilities are equal, the mean of what is
    observed is right; else it is biased, by an exact formula.

    Args:
        threshold: where its slider starts, from -2 to 2, a multiple of 0.05.
        above: probability that a value above the threshold is missing, from 0 to
            0.95, a multiple of 0.05.
        below: the same below it.

    Raises:
        ValueError: if a start is off its slider.
    """
    step = "min(1, max(0, 1e9*(x - t)))"
    return SliderFigure(
        sliders=[
            Slider("t", "threshold", -2.0, 2.0, threshold),
            Slider("above", "missing above", 0.0, 0.95, above),
            Slider("below", "missing below", 0.0, 0.95, below),
        ],
        constants={"truth": 0.0},
        quantities=_quantities(),
        curves=[
            Curve("all values", "exp(-x**2/2)/sqrt(2*pi)", "blue"),
            Curve(
                "observed values",
                f"exp(-x**2/2)/sqrt(2*pi)*(1 - below + (below - above)*{step})/share",
                "orange",
                "9 5",
            ),
        ],
        x_axis=Axis(-4.0, 4.0, "x"),
        y_axis=Axis(0.0, 0.8, "density"),
        ruler=Axis(-2.0, 2.0, "mean of x"),
        bands=[Band("bias", "mean", "truth", "purple")],
        marks=[
            Mark("true mean", "truth", "blue"),
            Mark("mean of the observed", "mean", "orange", "5 4"),
        ],
        unit="",
        readout={
            "share missing": "lost",
            "mean of the observed": "mean",
            "their standard deviation": "spread",
        },
        alt=(
            "The bell curve of all values, and the density of the observed ones, which "
            "jumps at the threshold: lower above it where more is missing there. Below "
            "them a ruler with the true mean at 0, the mean of the observed values, "
            "and the bias as a band between the two."
        ),
    )


def _quantities() -> dict[str, str]:
    # Phi(t) = 1/2 + integral of the density from 0 to t, by Gauss and Legendre
    nodes, weights = np.polynomial.legendre.leggauss(12)
    terms = "+".join(
        f"{w / 2:.15g}*exp(-(t*{(1 + n) / 2:.15g})**2/2)"
        for n, w in zip(nodes, weights, strict=True)
    )
    return {
        "height": "exp(-t**2/2)/sqrt(2*pi)",
        "left": f"0.5 + t*({terms})/sqrt(2*pi)",
        "share": "(1 - below)*left + (1 - above)*(1 - left)",
        "lost": "1 - share",
        # E[x; x > t] = height = -E[x; x < t]
        "mean": "(below - above)*height/share",
        # E[x^2; x > t] = 1 - left + t height
        "square": "((1 - below)*(left - t*height) + (1 - above)*(1 - left + t*height))",
        "spread": "sqrt(square/share - mean**2)",
    }
