"""Dispersion and added zeros of a count: the movable figure of chapter 19."""

from __future__ import annotations

from elbo_tfp.show.interactive.figure import Axis, Curve, Slider, SliderFigure


def count_zeros(log_dispersion=-0.5, *, inflation=0.2) -> SliderFigure:
    """Move dispersion and added zeros; read the zeros and variance for every mean.

    Args:
        log_dispersion: log10 of it, where its slider starts, -2 to 1, in steps of 0.05.
        inflation: probability of an added zero, from 0 to 0.9, the same.

    Raises:
        ValueError: if a start is off its slider.
    """
    return SliderFigure(
        sliders=[
            Slider("power", "log10 of dispersion", -2.0, 1.0, log_dispersion),
            Slider("zero", "added zeros", 0.0, 0.9, inflation),
        ],
        quantities={
            "a": "exp(power*log(10))",
            "poisson": "exp(-1)",
            # at mean 1: (1 + a)^(-1/a), and what the added zeros make of it
            "binomial": "exp(-log(1 + a)/a)",
            "inflated": "zero + (1 - zero)*binomial",
            "variance": "(1 - zero)*(1 + a + zero)",
        },
        curves=[
            Curve("Poisson", "exp(-x)", "blue"),
            Curve("negative binomial", "exp(-log(1 + a*x)/a)", "orange", "9 5"),
            Curve(
                "with added zeros",
                "zero + (1 - zero)*exp(-log(1 + a*x)/a)",
                "green",
                "3 4",
            ),
        ],
        x_axis=Axis(0.0, 5.0, "mean before zeros are added"),
        y_axis=Axis(0.0, 1.0, "share of zeros"),
        unit="",
        readout={
            "zeros, Poisson, mean 1": "poisson",
            "negative binomial": "binomial",
            "with added zeros": "inflated",
            "its variance": "variance",
        },
        alt=(
            "Three falling curves of the share of zeros over the mean, all 1 at mean "
            "0: Poisson falls fastest, negative binomial slower the larger the "
            "dispersion, and the third levels off at the share of added zeros."
        ),
    )
