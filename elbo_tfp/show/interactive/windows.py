"""Convergence against noise: how long must one look to rule a rise out?"""

from __future__ import annotations

from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)


def window_and_noise(gap=5.0, memory=300.0) -> SliderFigure:
    """Move the length of a fit and its noise; read what its last two thirds can say.

    The expected trace is -`gap` exp(-t / `memory`), nats below the optimum; the noise
    is independent from step to step.

    Args:
        gap: distance from the optimum at the start, nats.
        memory: steps in which that falls by a factor e.

    Raises:
        ValueError: if one of them is not positive.
    """
    if not (gap > 0 and memory > 0):
        raise ValueError(f"expected gap > 0 and memory > 0; got {gap} and {memory}.")
    return SliderFigure(
        sliders=[
            Slider("log_steps", "log10 of the steps", 2.0, 5.0, 2.5),
            Slider("noise", "noise of a step, nats", 0.1, 4.0, 1.0, 0.1),
        ],
        constants={"c": float(gap), "tau": float(memory)},
        quantities={
            "third": "10**log_steps/3",
            # means of -c exp(-t / tau) over the last two thirds
            "before": "-c*tau/third*(exp(-third/tau) - exp(-2*third/tau))",
            "after": "-c*tau/third*(exp(-2*third/tau) - exp(-3*third/tau))",
            "rise": "after - before",
            # of the difference of two means of `third` entries
            "error": "noise*sqrt(2/third)",
            "limit": "noise/10",
            "low": "max(rise - 2*error, -1)",
            "high": "min(rise + 2*error, 2)",
        },
        curves=[
            Curve("expected trace", "-c*exp(-3*x*third/tau)", "blue"),
            Curve("one standard deviation", "-c*exp(-3*x*third/tau) + noise", "grey"),
            Curve("below", "-c*exp(-3*x*third/tau) - noise", "grey", "5 4"),
        ],
        x_axis=Axis(0.0, 1.0, "part of the run"),
        y_axis=Axis(-gap - 4.0, 4.5, "nats below the optimum"),
        ruler=Axis(-1.0, 2.0, "rise of the last third, nats"),
        bands=[Band("rise, two errors each way", "low", "high", "amber")],
        marks=[
            Mark("rise", "min(rise, 2)", "blue"),
            Mark("limit", "limit", "green", "5 4"),
        ],
        readout={"rise": "rise", "its error": "error", "limit": "limit"},
        alt=(
            "A trace that climbs and bends towards its optimum, with a band of noise. "
            "Below it a ruler: a bar for the rise of the last third with two errors on "
            "each side, and a mark at the limit. The climb is over once the whole bar "
            "lies to the left of the mark."
        ),
    )
