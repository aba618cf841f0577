"""One Gaussian and two humps: the movable figure of chapter 5."""

from __future__ import annotations

import math

from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)


def two_humps(m=2.6, *, mean=0.0, scale=2.0) -> SliderFigure:
    """Move a Gaussian q, and the humps N(-m, 1)/2 + N(m, 1)/2 that it cannot fit.

    The gap KL(q || humps) is a sum over 97 nodes, right to 0.01 nats everywhere.

    Args:
        m: where the slider of the humps' distance starts, a multiple of 0.05.
        mean: where the slider of q's mean starts, the same.
        scale: where the slider of q's standard deviation starts, the same.

    Raises:
        ValueError: if a start is off its slider.
    """
    hump = "exp(-(x {0} m)**2/2)/(2*sqrt(2*pi))"
    return SliderFigure(
        sliders=[
            Slider("m", "humps at ±m", 0.5, 4.0, m),
            Slider("mean", "mean of q", -4.5, 4.5, mean),
            Slider("scale", "scale of q", 0.5, 4.0, scale),
        ],
        constants={"left_out": math.log(2), "zero": 0.0},
        quantities={
            "overlap": _overlap(),
            # KL(q || p) = log 2 - 1/2 - log s - E_q log(2 p sqrt(2 pi)), nats
            "gap": "left_out - 1/2 - log(scale)"
            " + (mean**2 + scale**2 + m**2)/2 - overlap",
        },
        curves=[
            Curve("posterior", f"{hump.format('-')} + {hump.format('+')}", "blue"),
            Curve(
                "surrogate q",
                "exp(-((x - mean)/scale)**2/2)/(scale*sqrt(2*pi))",
                "orange",
                "9 5",
            ),
        ],
        x_axis=Axis(-8.0, 8.0, "z"),
        y_axis=Axis(0.0, 0.6, "density"),
        ruler=Axis(0.0, 2.0, "nats"),
        bands=[Band("gap", "zero", "gap", "green")],
        marks=[Mark("log 2, one hump left out", "left_out", "purple", "5 4")],
        readout={"gap": "gap", "log 2": "left_out"},
        alt=(
            "Two equal humps and a movable Gaussian over one axis. Below them a ruler "
            "in nats: a band from zero to the gap of the Gaussian, and a fixed mark at "
            "log 2, the price of leaving one of two distant humps out."
        ),
    )


def _overlap(nodes=48, step=0.1) -> str:
    """E_q log(2 cosh(m z)) as a sum: |y| + log(1 + exp(-2 |y|)) at y = m z."""
    places = [k * step for k in range(-nodes, nodes + 1)]
    total = math.fsum(math.exp(-(e**2) / 2) for e in places)
    terms = []
    for e in places:
        y = f"abs(m*(mean + {e:.1f}*scale))"
        share = math.exp(-(e**2) / 2) / total
        terms.append(f"{share:.7g}*({y} + log(1 + exp(-2*{y})))")
    return " + ".join(terms)
