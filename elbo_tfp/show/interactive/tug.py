"""Reconstruction against rate: the movable figure of chapter 3."""

from __future__ import annotations

from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)


def tug_of_war(x=2.0, noise_scale=0.5, *, mean=0.5, scale=0.8) -> SliderFigure:
    """Move q between the prior and the likelihood, under a KL weight of your choice.

    The model is z ~ N(0, 1), x given z ~ N(z, t^2). The likelihood pulls q to x and
    makes it narrow, the prior pulls it to 0 and makes it wide; beta says how strong
    the prior is.

    Args:
        x: the datum, between -3 and 3.
        noise_scale: t, at least 0.25: how far x lies from z.
        mean: where the slider of q's mean starts, a multiple of 0.05.
        scale: where the slider of q's standard deviation starts, the same.

    Raises:
        ValueError: if `x` or `noise_scale` is out of range, or a start off its slider.
    """
    if not -3 <= x <= 3:
        raise ValueError(f"expected x between -3 and 3; got {x}.")
    if not noise_scale >= 0.25:
        raise ValueError(f"expected noise_scale of at least 0.25; got {noise_scale}.")
    bell = "exp(-((x - {0})/{1})**2/2)/({1}*sqrt(2*pi))"
    return SliderFigure(
        sliders=[
            Slider("mean", "mean of q", -3.0, 3.0, mean),
            Slider("scale", "scale of q", 0.1, 2.0, scale),
            Slider("beta", "weight β", 0.1, 8.0, 1.0, 0.1),
        ],
        constants={"datum": x, "t": noise_scale},
        quantities=_QUANTITIES,
        curves=[
            Curve("prior p(z)", bell.format("0", "1"), "green", "3 4"),
            Curve("likelihood p(x | z)", bell.format("datum", "t"), "blue"),
            Curve("surrogate q(z)", bell.format("mean", "scale"), "orange", "9 5"),
        ],
        x_axis=Axis(-4.0, 4.0, "z"),
        y_axis=Axis(0.0, 1.2, "density"),
        ruler=Axis(-12.0, 1.0, "nats"),
        bands=[Band("lost", "bound", "best", "purple")],
        marks=[
            Mark("best bound at this β", "best", "blue"),
            Mark("bound", "bound", "orange", "5 4"),
        ],
        readout={
            "reconstruction": "reconstruction",
            "rate": "rate",
            "reconstruction − β rate": "bound",
            "best": "best",
        },
        alt=(
            "Three bell curves over one axis: the wide prior at 0, the narrow "
            "likelihood at the datum, and the movable surrogate q. Below them a ruler "
            "in nats with a mark at the best bound for the chosen weight, a moving "
            "mark at the bound of q to its left, and q's loss as a band between them."
        ),
    )


_QUANTITIES = {
    # E_q log N(x; z, t^2), nats
    "reconstruction": "-((datum - mean)**2 + scale**2)/(2*t**2) - log(t*sqrt(2*pi))",
    # KL(N(mean, scale^2) || N(0, 1)), nats
    "rate": "(mean**2 + scale**2 - 1)/2 - log(scale)",
    "bound": "reconstruction - beta*rate",
    # the best q has precision 1 + 1 / (beta t^2) and mean x / (1 + beta t^2)
    "m": "datum/(1 + beta*t**2)",
    "v": "beta*t**2/(1 + beta*t**2)",
    "best": (
        "-((datum - m)**2 + v)/(2*t**2) - log(t*sqrt(2*pi))"
        " - beta*((m**2 + v - 1)/2 - log(v)/2)"
    ),
}
