"""What a restriction forgets between two tasks: the movable figure of chapter 16."""

from __future__ import annotations

from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)


def forgetting(correlation=0.8, *, amount=10.0, value=2.0) -> SliderFigure:
    """Move the correlation that the first task's posterior holds; watch the second.

    Linear regression with prior N(0, I) and noise 1. The first task has ten data whose
    two features are correlated, from weights (1, 1); the second tells of w_1 alone.

    Args:
        correlation: of the first task's features, a multiple of 0.05 below 1.
        amount: of data in the second task, where the slider starts, 0 to 20.
        value: of w_1 that the second task tells, 0 to 3, a multiple of 0.05.

    Raises:
        ValueError: if a start is off its slider.
    """
    bell = "exp(-((x - {0})/{1})**2/2)/({1}*sqrt(2*pi))"
    return SliderFigure(
        sliders=[
            Slider("rho", "correlation of features", -0.95, 0.95, correlation),
            Slider("k", "data in task 2", 0.0, 20.0, amount, 1.0),
            Slider("v", "w_1 in task 2", 0.0, 3.0, value),
        ],
        constants={"zero": 0.0},
        quantities={
            # after task 1: precision [[a, b], [b, a]], pull (h, h), means m
            "a": "1 + 10",
            "b": "10*rho",
            "h": "10*(1 + rho)",
            "m": "h/(a + b)",
            # exact after task 2: precision [[a + k, b], [b, a]], pull (h + k v, h)
            "det": "(a + k)*a - b**2",
            "exact_1": "(a*(h + k*v) - b*h)/det",
            "exact_2": "((a + k)*h - b*(h + k*v))/det",
            "exact_scale": "sqrt((a + k)/det)",
            # restricted after each task: b is forgotten, and w_2 stays where it was
            "kept_1": "(a*m + k*v)/(a + k)",
            "kept_2": "m",
            "scale": "1/sqrt(a)",
            # KL(once || exact) = log(prod of the precision's diagonal / det) / 2
            "once": "log((a + k)*a/det)/2",
            "d1": "kept_1 - exact_1",
            "d2": "kept_2 - exact_2",
            # drift' precision drift / 2
            "drift": "((a + k)*d1**2 + 2*b*d1*d2 + a*d2**2)/2",
            "total": "once + drift",
        },
        curves=[
            Curve("exact posterior", bell.format("exact_2", "exact_scale"), "blue"),
            Curve("restricted once", bell.format("exact_2", "scale"), "green", "3 4"),
            Curve(
                "restricted each day", bell.format("kept_2", "scale"), "orange", "9 5"
            ),
        ],
        x_axis=Axis(-2.0, 3.0, "w_2"),
        y_axis=Axis(0.0, 1.6, "density"),
        ruler=Axis(0.0, 6.0, "nats"),
        bands=[
            Band("once: the family", "zero", "once", "green"),
            Band("drift: the sequence", "once", "total", "orange"),
        ],
        marks=[Mark("gap", "total", "purple")],
        readout={"gap": "total", "once": "once", "drift": "drift"},
        alt=(
            "Three bell curves over the second weight: the exact posterior, which the "
            "second task moves although it tells of the first weight only; the "
            "independent Gaussian nearest to it; and the one that was restricted after "
            "each task and stays where it was. Below them a ruler in nats with the gap "
            "as two bands, what the family costs and what the sequence adds."
        ),
    )
