"""The movable figures of the book."""

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


def gaussian_elbo(
    posterior_mean, posterior_scale, log_evidence, *, mean=0.0, scale=1.0, name="z"
) -> SliderFigure:
    """Move a Gaussian q over a Gaussian posterior; read the ELBO and its gap.

    Args:
        posterior_mean: m, the mean of the exact posterior.
        posterior_scale: s, its standard deviation.
        log_evidence: log p(x), nats.
        mean: where the slider of q's mean starts, a multiple of 0.05.
        scale: where the slider of q's standard deviation starts, the same.
        name: of the latent, on the horizontal axis.

    Raises:
        ValueError: if a scale is not positive or a start is off its slider.
    """
    if posterior_scale <= 0:
        raise ValueError(f"expected posterior_scale > 0; got {posterior_scale}.")
    m, s, log_evidence = map(float, (posterior_mean, posterior_scale, log_evidence))
    reach = 2.1 * s
    return SliderFigure(
        sliders=[
            Slider("mean", "mean of q", _grid(m - reach), _grid(m + reach), mean),
            Slider("scale", "scale of q", 0.1, _grid(2.9 * s), scale),
        ],
        constants={"m": m, "s": s, "log_evidence": log_evidence},
        quantities={
            # KL(N(mean, scale^2) || N(m, s^2)), nats
            "gap": "((scale/s)**2 + ((mean - m)/s)**2 - 1)/2 - log(scale/s)",
            # ELBO = log p(x) - KL
            "elbo": "log_evidence - gap",
        },
        curves=[
            Curve(f"posterior p({name} | x)", _normal("m", "s"), "green"),
            Curve(f"surrogate q({name})", _normal("mean", "scale"), "purple", "9 5"),
        ],
        x_axis=Axis(m - 5 * s, m + 5 * s, name),
        y_axis=Axis(0.0, 0.8 / s, "density"),
        ruler=Axis(log_evidence - 6.5, log_evidence + 0.5, "nats"),
        bands=[Band("gap", "elbo", "log_evidence", "amber")],
        marks=[
            Mark("log p(x)", "log_evidence", "grey"),
            Mark("ELBO", "elbo", "blue", "5 4"),
        ],
        readout={"log p(x)": "log_evidence", "ELBO": "elbo", "gap": "gap"},
        alt=(
            "Two bell curves over one axis, the fixed posterior and the movable "
            "surrogate. Below them a ruler in nats: a fixed mark at log p(x), a moving "
            "mark at the ELBO to its left, and the gap between the two as a band."
        ),
    )


def _normal(mean, scale) -> str:
    return f"exp(-((x - {mean})/{scale})**2/2)/({scale}*sqrt(2*pi))"


def _grid(value) -> float:
    return math.floor(value / 0.05 + 0.5) * 5 / 100
