"""One question with two answers: the movable figure of chapter 13."""

from __future__ import annotations

from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)

_BELL = "exp(-(({0} - {1})/{2})**2/2)/({2}*sqrt(2*pi))"
_WIDTH = "0.4"


def two_answers(separation=1.5, *, chance=0.5) -> SliderFigure:
    """Move two answers apart; read what a Gaussian regression loses on average.

    The truth is N(d, 0.16) with the given chance and N(-d, 0.16) otherwise; the
    regression has its mean and its variance, and so the best expected log-likelihood
    of any Gaussian.

    Args:
        separation: where the slider of d starts, from 0 to 2, a multiple of 0.05.
        chance: where the slider of the chance of d starts, from 0.05 to 0.95, the same.

    Raises:
        ValueError: if a start is off its slider.
    """
    return SliderFigure(
        sliders=[
            Slider("d", "answers at -d and d", 0.0, 2.0, separation),
            Slider("w", "chance of d", 0.05, 0.95, chance),
        ],
        quantities=_quantities(),
        curves=[
            Curve("truth p(x | c)", _truth("x"), "blue"),
            Curve("regression", _BELL.format("x", "mean", "scale"), "orange", "9 5"),
        ],
        x_axis=Axis(-4.0, 4.0, "answer x"),
        y_axis=Axis(0.0, 1.1, "density"),
        ruler=Axis(-2.5, 0.0, "nats"),
        bands=[Band("loss", "regression", "truth", "green")],
        marks=[
            Mark("truth", "truth", "blue"),
            Mark("regression", "regression", "orange", "5 4"),
        ],
        readout={
            "mean log p, truth": "truth",
            "mean log p, regression": "regression",
            "loss": "loss",
        },
        alt=(
            "Two curves over the answer x: the truth with a bell at either answer, and "
            "one broad bell between them. Below, a ruler in nats with the expected "
            "log-likelihood of both, and the loss between them as a band."
        ),
    )


def _truth(x: str) -> str:
    high, low = _BELL.format(x, "d", _WIDTH), _BELL.format(x, "-d", _WIDTH)
    return f"(w*{high} + (1 - w)*{low})"


def _quantities() -> dict[str, str]:
    # a grid closer than the bells are wide: trapezoids are exact here
    grid = [0.1 * k for k in range(-45, 46)]
    densities = {f"p{i}": _truth(f"({x:.9g})") for i, x in enumerate(grid)}
    return densities | {
        # minus the entropy of the truth
        "truth": "0.1*(" + "+".join(f"{p}*log({p})" for p in densities) + ")",
        "mean": "(2*w - 1)*d",
        "scale": f"sqrt({_WIDTH}**2 + 4*w*(1 - w)*d**2)",
        # E log N(x; mean, scale^2) at its own mean and variance
        "regression": "-log(scale) - (log(2*pi) + 1)/2",
        "loss": "truth - regression",
    }
