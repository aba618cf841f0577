"""The number of draws and the width of q: the movable figure of chapter 9."""

from __future__ import annotations

import numpy as np

from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)

SCALES = np.arange(3, 26) / 10
"""The positions of the slider of q's scale."""
DOUBLINGS = np.arange(11)
"""log2 K, the positions of the slider of the draws."""


def draws_and_width(doublings=4, *, scale=1.5) -> SliderFigure:
    """Move the number of draws K and the width of q; see what the bound still lacks.

    The posterior is N(1/2, 1/2), as of the small Gaussian story at x = 1, and q =
    N(1/2, scale^2). The gaps stand in a table: the formulas only look them up.

    Args:
        doublings: where the slider of log2 K starts, a whole number from 0 to 10.
        scale: where the slider of q's scale starts, from 0.3 to 2.5 in tenths.

    Raises:
        ValueError: if a start is off its slider.
    """
    table = np.log10(np.maximum(gaps(SCALES), 1e-6))
    columns = {f"g{k}": _look_up(table[:, k], "(scale - 0.3)/0.1") for k in DOUBLINGS}
    curve = _between([f"g{k}" for k in DOUBLINGS], "x")
    return SliderFigure(
        sliders=[
            Slider("k", "doublings of K", 0, 10, doublings, 1),
            Slider("scale", "scale of q", 0.3, 2.5, scale, 0.1),
        ],
        quantities={
            **columns,
            "draws": "2**k",
            "one": "10**g0",
            "gap": f"10**({_between(list(columns), 'k')})",
            # var(w) / p(x)^2 = rho^2 / sqrt(2 rho^2 - 1) - 1, rho^2 = 2 scale^2; it is
            # infinite from rho^2 = 1/2 down
            "v": "2*scale**2/sqrt(max(4*scale**2 - 1, 0.000001)) - 1",
            "law": "v/2/draws",
        },
        curves=[
            Curve("gap of the bound", curve, "orange"),
            Curve(
                "law var(w) / 2K", "log(max(v/2/2**x, 0.000001))/log(10)", "blue", "9 5"
            ),
        ],
        x_axis=Axis(0.0, 10.0, "log2 of K"),
        y_axis=Axis(-5.0, 1.0, "log10 of the gap, nats"),
        ruler=Axis(0.0, 2.0, "gap, nats"),
        bands=[Band("won by K draws", "gap", "one", "purple")],
        marks=[
            Mark("with K draws", "gap", "orange"),
            Mark("with one, the ELBO's", "one", "blue", "9 5"),
        ],
        unit="",
        readout={
            "K": "draws",
            "gap with one draw, nats": "one",
            "gap with K, nats": "gap",
            "law, nats": "law",
        },
        alt=(
            "A falling curve over the number of draws, the gap of the importance-"
            "weighted bound on logarithmic axes, and the straight line of the 1 over K "
            "law that it joins. Below, a ruler with the gap of one draw and of K. A q "
            "near the posterior's width lowers the curve; for a q much narrower the "
            "line leaves the picture and the curve hardly falls."
        ),
    )


def gaps(scales) -> np.ndarray:
    """log p(x) - L_K, nats, `[scales, 11]`, for K = 1, 2, 4, ..., 1024.

    A weight over p(x) is r = w / p(x). From log y = int (e^-t - e^-ty) / t dt, with
    phi(u) = E[e^(-u r)] of one weight and t = e^v,

        log p(x) - L_K = int (phi(e^v / K)^K - exp(-e^v)) dv,

    two sums over even grids.
    """
    scales = np.asarray(scales, np.float64)[:, np.newaxis]
    step = np.log(2) / 4  # log K is a whole number of steps
    v = np.arange(-240, 1_200) * step
    noise, h = np.linspace(-9, 9, 361, retstep=True)
    mass = h * np.exp(-(noise**2) / 2) / np.sqrt(2 * np.pi)
    # r = N(z; 1/2, 1/2) / q(z) at z = 1/2 + scale noise
    log_r = np.log(scales) + np.log(2) / 2 + (0.5 - scales**2) * noise**2
    with np.errstate(under="ignore", over="ignore"):
        phi = [mass @ np.exp(-np.exp(row[:, np.newaxis] + v)) for row in log_r]
        log_phi = np.log(np.maximum(phi, 1e-300))
        limit = np.exp(-np.exp(v))
        columns = []
        for k in DOUBLINGS:
            ahead = 4 * k  # phi(e^v / K): as many steps earlier
            early = np.pad(log_phi, ((0, 0), (ahead, 0)))[:, : len(v)]
            columns.append(step * (np.exp(2.0**k * early) - limit).sum(1))
    return np.stack(columns, 1)


def _look_up(column, at: str) -> str:
    """The entry of a column at a whole number, a straight line between two."""
    terms = (f"{v:.4f}*max(0, 1 - abs({at} - {i}))" for i, v in enumerate(column))
    return " + ".join(f"({term})" for term in terms)


def _between(names, at: str) -> str:
    terms = (f"{name}*max(0, 1 - abs({at} - {i}))" for i, name in enumerate(names))
    return " + ".join(terms)
