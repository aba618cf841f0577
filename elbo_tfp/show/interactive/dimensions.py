"""Dimensions against error: the movable figure of chapter 1."""

from __future__ import annotations

from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)


def dimensions_and_error(dimensions=10, *, mean=0.4, scale=0.8) -> SliderFigure:
    """Move the number of latents, and q; see what an error of a tenth costs.

    The model is d copies of z ~ N(0, 1), x given z ~ N(z, 1), at x = 1, polled by d
    copies of q = N(mean, scale^2): S draws err by sqrt((r^d - 1) / S), relative to
    p(x), with r the second moment of one coordinate's weight over its squared mean.

    Args:
        dimensions: where the slider of d starts, a whole number from 1 to 60.
        mean: where the slider of q's mean starts, a multiple of 0.05.
        scale: where the slider of q's scale starts, a multiple of 0.05 of at least
            0.55: below sqrt(1/2), the posterior's, r may be infinite.

    Raises:
        ValueError: if a start is off its slider.
    """
    return SliderFigure(
        sliders=[
            Slider("d", "latent dimensions d", 1, 60, dimensions, 1),
            Slider("mean", "mean of q", -0.5, 1.5, mean),
            Slider("scale", "scale of q", 0.55, 1.5, scale),
        ],
        quantities=_QUANTITIES,
        curves=[
            Curve("grid of nine nodes per axis", "x*log(9)/log(10)", "green", "3 4"),
            Curve("draws from the prior", _needed("prior"), "blue", "9 5"),
            Curve("draws from q", _needed("own"), "orange"),
        ],
        x_axis=Axis(1.0, 60.0, "latent dimensions d"),
        y_axis=Axis(0.0, 20.0, "log10 of evaluations"),
        ruler=Axis(0.0, 20.0, "log10 of evaluations, at this d"),
        bands=[Band("saved by q", "ours", "polled", "purple")],
        marks=[
            Mark("grid", "grid", "green", "3 4"),
            Mark("prior", "polled", "blue", "9 5"),
            Mark("q", "ours", "orange"),
        ],
        unit="",
        readout={
            "r of q": "own",
            "log10 of grid points": "grid",
            "log10 of draws, prior": "polled",
            "log10 of draws, q": "ours",
        },
        alt=(
            "Three lines over the number of latent dimensions: the logarithm of the "
            "evaluations that an error of a tenth costs. A grid's rises steeply, that "
            "of draws from the prior less, that of draws from q least, as long as q is "
            "near the posterior. Below, a ruler with the three costs at the chosen d."
        ),
    )


def _needed(r: str) -> str:
    """log10 of the draws at which sqrt((r^x - 1) / S) is a tenth; one at least."""
    return f"log(max(100*({r}**x - 1), 1))/log(10)"


# with precision a = 2 - 1 / (2 s^2) (twice that of p(x, z)^2 / q(z)),
#   p(x, z)^2 / q(z) = s exp(-z^2 - (1 - z)^2 + (z - m)^2 / (2 s^2)) / (2 pi)^(3/2)
_QUANTITIES = {
    "a": "2 - 1/(2*scale**2)",
    "b": "1 - mean/(2*scale**2)",
    # where a is not positive the integral is infinite
    "log_r": (
        "log(scale/(2*pi)**1.5) - 1 + mean**2/(2*scale**2) + b**2/a + log(pi/a)/2"
        " + log(4*pi) + 0.5"
    ),
    "own": "exp(log_r)",
    "prior": "2*exp(1/6)/sqrt(3)",
    "grid": "d*log(9)/log(10)",
    "polled": "log(max(100*(prior**d - 1), 1))/log(10)",
    "ours": "log(max(100*(own**d - 1), 1))/log(10)",
}
