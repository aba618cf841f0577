"""How much faster with more devices? The movable figure of chapter 20."""

from __future__ import annotations

from elbo_tfp.show.interactive.figure import (
    Axis,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)


def ring_of_devices(
    row=10.0, fixed=50.0, message=100.0, log_rows=3.0, log_send=3.0
) -> SliderFigure:
    """Move the batch and the gradient's size; read what R devices are worth.

    A step of B rows on one device takes `fixed` + B `row`. R devices share the rows,
    then pass parts of the gradient around a ring: 2 (R - 1) messages, each of an R-th
    of the gradient and each with a delay of its own.

    Args:
        row: computing one row, microseconds.
        fixed: what a step costs whatever its batch, microseconds.
        message: delay of a message, microseconds.
        log_rows: where the slider of log10 B starts, from 1 to 5, a multiple of 0.05.
        log_send: the same for sending the whole gradient once, from 1 to 6.

    Raises:
        ValueError: if a time is not positive, or a start is off its slider.

    Source: Patarasuk and Yuan (2009).
    """
    if not (row > 0 and fixed > 0 and message > 0):
        raise ValueError(
            "expected row > 0, fixed > 0 and message > 0; got "
            f"{row}, {fixed} and {message}. Give times in microseconds."
        )
    # T(1) / T(R)
    share = "(fixed + work)/(fixed + work/({0}) + 2*({0} - 1)*(send/({0}) + delay))"
    return SliderFigure(
        sliders=[
            Slider("log_rows", "log10 of the batch", 1.0, 5.0, log_rows),
            Slider("log_send", "log10 of sending, us", 1.0, 6.0, log_send),
        ],
        constants={"row": row, "fixed": fixed, "delay": message},
        quantities={
            "work": "row*10**log_rows",
            "send": "10**log_send",
            "two": share.format("2"),
            "eight": share.format("8"),
            # T(R) = ... + (work - 2 send) / R + 2 delay R: least at the square root
            "most": "max(1, sqrt(max(work - 2*send, 0)/(2*delay)))",
            "best": share.format("most"),
            "shown": "min(most, 16)",
        },
        curves=[
            Curve("a ring of devices", share.format("x"), "blue"),
            Curve("perfect", "x", "grey", "5 4"),
        ],
        x_axis=Axis(1.0, 16.0, "devices"),
        y_axis=Axis(0.0, 16.0, "times as fast as one"),
        ruler=Axis(0.0, 16.0, "devices"),
        marks=[Mark("fastest number, at most 16", "shown", "orange", "5 4")],
        unit="",
        readout={
            "2 devices": "two",
            "8 devices": "eight",
            "fastest with": "most",
            "its speed-up": "best",
        },
        alt=(
            "The speed-up by 1 to 16 devices, below a straight line that would be "
            "perfect. With a large batch the curve follows the line; with a small one "
            "it bends, falls, and can drop below one. A mark on a ruler below shows "
            "the number of devices beyond which more of them are slower."
        ),
    )
