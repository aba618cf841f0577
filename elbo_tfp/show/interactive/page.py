"""The HTML of a slider figure: drawing, legend, labelled inputs, readout, script."""

from __future__ import annotations

import json
import math
from html import escape

from elbo_tfp.show.interactive import drawing, look
from elbo_tfp.show.interactive.formula import javascript


def render(figure) -> str:
    """The HTML of a `SliderFigure` in its first state."""
    values = figure.values()
    style = look.STYLE.replace("@id@", figure.id).replace("\n", "")
    parts = [
        f'<figure class="elbo-fig" id="{figure.id}"><style>{style}</style>',
        drawing.draw(figure, values),
        f'<div class="legend">{_legend(figure)}</div>',
        *(_slider(figure, slider) for slider in figure.sliders),
        _readout(figure, values),
        f"<script>{_script(figure)}</script></figure>",
    ]
    return "\n".join(parts)


def number(value: float, digits: int = 3) -> str:
    """A number as both languages print it: no minus before a zero."""
    if not math.isfinite(value):
        return "–"
    return f"{0.0 if abs(value) < 0.5 * 10**-digits else value:.{digits}f}"


def _legend(figure) -> str:
    across, upright = 'x1="0" x2="34" y1="7" y2="7"', 'x1="17" x2="17" y1="0" y2="14"'
    things = [(curve, across, 3) for curve in figure.curves]
    things += [(band, across, 10) for band in figure.bands]
    things += [(mark, upright, 3) for mark in figure.marks]
    return "".join(
        '<span><svg aria-hidden="true" viewBox="0 0 34 14">'
        f"<line {place} {look.stroke(thing, width)}/></svg>{escape(thing.label)}</span>"
        for thing, place, width in things
    )


def _slider(figure, slider) -> str:
    key = f"{figure.id}-{slider.name}"
    return (
        f'<div class="slider"><label for="{key}">{escape(slider.label)}</label>'
        f'<input id="{key}" name="{slider.name}" type="range" min="{slider.low:g}" '
        f'max="{slider.high:g}" step="{slider.step:g}" value="{slider.start:g}" '
        f'autocomplete="off"><output for="{key}" data-of="{slider.name}" '
        f'aria-live="off">{number(slider.start, 2)}</output></div>'
    )


def _readout(figure, values) -> str:
    shown = "".join(
        f'<span>{escape(label)} = <b data-value="{name}">{number(values[name])}</b>'
        f"{escape(figure.suffix)}</span>"
        for label, name in figure.readout.items()
    )
    return f'<p class="readout" aria-live="polite">{shown}</p>'


def _script(figure) -> str:
    ranges = {"x": figure.x_axis, "y": figure.y_axis, "ruler": figure.ruler}
    config = {
        "left": look.LEFT,
        "right": look.WIDTH - look.RIGHT,
        "top": look.TOP,
        "base": look.BASE,
        "n": look.POINTS,
        **{name: axis[:2] if axis else [0, 1] for name, axis in ranges.items()},
    }
    curves = (f"v=>{javascript(curve.formula)}" for curve in figure.curves)
    spots = (
        f"[v=>{javascript(start)},v=>{javascript(end)}]"
        for (start, end), _, _ in drawing.spots(figure)
    )
    filled = {
        "@id@": figure.id,
        "@config@": json.dumps(config),
        "@state@": figure.script(),
        "@curves@": ",".join(curves),
        "@spots@": ",".join(spots),
    }
    script = look.SCRIPT
    for name, value in filled.items():
        script = script.replace(name, value)
    return script
