"""How certain of a drifting level: the movable figure of chapter 14."""

from __future__ import annotations

from elbo_tfp.show.interactive.figure import (
    Axis,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)


def drifting_level(log_ratio=-1.0) -> SliderFigure:
    """Move how fast a level drifts; see how certain mean field is of it, and truly is.

    The local level model far from both ends of a series: z_t+1 ~ N(z_t, r),
    x_t ~ N(z_t, 1), in units of the noise.

    Args:
        log_ratio: where the slider of log10 r starts, from -2 to 1, a multiple of 0.05.

    Raises:
        ValueError: if the start is off its slider.
    """
    bell = "exp(-(x/{0})**2/2)/({0}*sqrt(2*pi))"
    return SliderFigure(
        sliders=[Slider("u", "log10 of drift / noise", -2.0, 1.0, log_ratio)],
        quantities={
            "r": "10**u",
            # the precision's diagonal, and sqrt(a^2 - 4 / r^2), in units of the noise
            "a": "1 + 2/r",
            "b": "sqrt(1 + 4/r)",
            "exact": "1/sqrt(b)",
            "field": "1/sqrt(a)",
            "ratio": "exact/field",
            "memory": "r*(a - b)/2",
            "gap": "log(2*a/(a + b))/2",
            "most": "log(2)/2",
        },
        curves=[
            Curve("exact posterior of a year", bell.format("exact"), "blue"),
            Curve("best mean field", bell.format("field"), "orange", "9 5"),
        ],
        x_axis=Axis(
            -2.0, 2.0, "level minus its mean, standard deviations of the noise"
        ),
        y_axis=Axis(0.0, 6.0, "density"),
        ruler=Axis(0.0, 0.4, "nats lost per year"),
        marks=[
            Mark("gap per year, nats", "gap", "orange", "5 4"),
            Mark("never more", "most", "purple", "2 3"),
        ],
        unit="",
        readout={
            "exact deviation": "exact",
            "mean field's": "field",
            "too certain by the factor": "ratio",
            "correlation of neighbours": "memory",
            "gap per year, nats": "gap",
        },
        alt=(
            "Two bell curves around zero: the exact posterior of one year's level and "
            "the narrower mean-field one. Below them a ruler with the nats that mean "
            "field loses per year, left of a mark at half a bit. The slower the level "
            "drifts, the narrower the mean-field bell is beside the exact one."
        ),
    )
