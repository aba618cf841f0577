"""The SVG of a slider figure in its first state: curves above, a ruler below."""

from __future__ import annotations

import math
from html import escape

from elbo_tfp.show.interactive.formula import evaluate
from elbo_tfp.show.interactive.look import BASE, LEFT, POINTS, RIGHT, TOP, WIDTH, stroke

HEIGHT, BAND = 296, 104  # of the curves with their axis, and of the ruler


def draw(figure, values) -> str:
    """The SVG of `figure` where its numbers are `values`."""
    height = HEIGHT * bool(figure.curves) + BAND * bool(figure.ruler)
    curves = _curves(figure, values) if figure.curves else ""
    ruler = _ruler(figure, values, height - 66) if figure.ruler else ""
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(figure.alt)}">{curves}{ruler}</svg>'
    )


def spots(figure):
    """What moves on the ruler: the formulas of both ends, the thing, its class."""
    for band in figure.bands:
        yield (band.start, band.end), band, "band"
    for mark in figure.marks:
        yield (mark.formula, mark.formula), mark, "mark"


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between `low` and `high`, at most `most` + 1 of them."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= least)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _curves(figure, values) -> str:
    low, high, label = figure.y_axis
    drawn = [_axis(figure.x_axis, BASE), f'<text x="4" y="18">{escape(label)}</text>']
    for tick in ticks(low, high, 3):
        y = _up(tick, figure.y_axis) + 5
        drawn.append(_text(LEFT - 8, round(y, 1), f"{tick:g}", "end"))
    for curve in figure.curves:
        path = _path(figure, curve.formula, values)
        drawn.append(f'<path class="curve" {stroke(curve)} d="{path}"/>')
    return "".join(drawn)


def _path(figure, formula, values) -> str:
    low, high, _ = figure.x_axis
    points = []
    for k in range(POINTS + 1):
        x = low + k * (high - low) / POINTS
        y = _up(evaluate(formula, {**values, "x": x}), figure.y_axis)
        points.append(f"{_along(x, figure.x_axis):.1f},{y:.1f}")
    return "M" + "L".join(points)


def _ruler(figure, values, y) -> str:
    drawn = [_axis(figure.ruler, y)]
    for ends, thing, kind in spots(figure):
        x1, x2 = (_along(evaluate(end, values), figure.ruler) for end in ends)
        y1, y2 = (y - 14, y - 14) if kind == "band" else (y - 30, y + 2)
        place = f'x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1}" y2="{y2}"'
        drawn.append(f'<line class="spot {kind}" {place} {stroke(thing)}/>')
    return "".join(drawn)


def _axis(axis, y) -> str:
    drawn = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>']
    for tick in ticks(axis.low, axis.high, 7):
        x = round(_along(tick, axis), 1)
        drawn.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{y}" y2="{y + 6}"/>')
        drawn.append(_text(x, y + 27, f"{tick:g}"))
    drawn.append(_text((LEFT + WIDTH - RIGHT) / 2, y + 53, axis.label))
    return "".join(drawn)


def _text(x, y, words, anchor="middle") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def _along(value, axis) -> float:
    inside = min(max(value, axis.low), axis.high)
    share = (inside - axis.low) / (axis.high - axis.low)
    return LEFT + share * (WIDTH - RIGHT - LEFT)


def _up(value, axis) -> float:
    # curves may leave through the top, a twentieth above it, as in the script
    share = (max(value, axis.low) - axis.low) / (axis.high - axis.low)
    return BASE - min(share, 1.05) * (BASE - TOP)
