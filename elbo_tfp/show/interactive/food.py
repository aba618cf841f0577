"""A hidden size behind a squared signal: the movable figure of chapter 18."""

from __future__ import annotations

from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)


def food_size(signal=2.0, *, mean=1.5, scale=0.3) -> SliderFigure:
    """Move the signal u and a Gaussian q; read the ELBO and what a point keeps of it.

    The model is v ~ N(3, 1), u given v ~ N(v^2, 1), over the whole line.

    Args:
        signal: where the slider of u starts, from 0 to 6, a multiple of 0.05.
        mean: where the slider of q's mean starts, from 0 to 4, the same.
        scale: where the slider of q's standard deviation starts, from 0.05, the same.

    Raises:
        ValueError: if a start is off its slider.
    """
    bell = "exp(-((x - {0})/{1})**2/2)/({1}*sqrt(2*pi))"
    return SliderFigure(
        sliders=[
            Slider("u", "signal u", 0.0, 6.0, signal),
            Slider("mean", "mean of q", 0.0, 4.0, mean),
            Slider("scale", "scale of q", 0.05, 1.0, scale),
        ],
        quantities=_quantities(),
        curves=[
            Curve(
                "posterior p(v | u)",
                "exp(-((x - 3)**2 + (u - x**2)**2)/2 - log_evidence)/(2*pi)",
                "blue",
            ),
            Curve(
                "Laplace: mode and curvature",
                bell.format("mode", "laplace"),
                "green",
                "3 4",
            ),
            Curve("surrogate q(v)", bell.format("mean", "scale"), "orange", "9 5"),
        ],
        x_axis=Axis(0.0, 4.0, "size v"),
        y_axis=Axis(0.0, 2.2, "density"),
        ruler=Axis(-7.0, -1.0, "nats"),
        bands=[Band("gap", "elbo", "log_evidence", "green")],
        marks=[
            Mark("log p(u)", "log_evidence", "blue"),
            Mark("ELBO", "elbo", "orange", "5 4"),
            Mark("what a point keeps", "point", "purple", "2 3"),
        ],
        readout={
            "log p(u)": "log_evidence",
            "ELBO": "elbo",
            "gap": "gap",
            "log p(u, mean)": "point",
        },
        alt=(
            "Three bell curves over the size v: the exact posterior, a bit lopsided, "
            "Laplace's approximation at its mode, and the movable surrogate q. Below "
            "them a ruler in nats with log p(u), the ELBO of q to its left, the gap "
            "between them as a band, and a mark at what a point at q's mean keeps, "
            "which may lie to the right of log p(u)."
        ),
    )


def _quantities() -> dict[str, str]:
    # grid points far closer than the posterior is wide: trapezoids are exact here
    grid = [-3.6 + 0.08 * k for k in range(97)]
    terms = "+".join(
        f"exp(-({(v - 3) ** 2:.9g} + (u - {v * v:.9g})**2)/2)" for v in grid
    )
    found = {"log_evidence": f"log(0.08*({terms})/(2*pi))"}
    # Newton on 2 v^3 + (1 - 2 u) v - 3 = 0, the slope of the energy, from the right
    found["v0"] = "sqrt(u) + 1"
    for k in range(7):
        v = f"v{k}"
        found[f"v{k + 1}"] = f"(4*{v}**3 + 3)/(6*{v}**2 + 1 - 2*u)"
    return found | {
        "mode": "v7",
        # curvature of the energy: 6 v^2 + 1 - 2 u
        "laplace": "1/sqrt(6*mode**2 + 1 - 2*u)",
        "point": "-log(2*pi) - ((mean - 3)**2 + (u - mean**2)**2)/2",
        # E (v - 3)^2 and E (u - v^2)^2 under N(mean, scale^2), and the entropy
        "elbo": (
            "point - (scale**2*(1 - 2*u + 6*mean**2) + 3*scale**4)/2"
            " + log(scale) + (log(2*pi) + 1)/2"
        ),
        "gap": "log_evidence - elbo",
    }
