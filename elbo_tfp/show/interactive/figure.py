"""A figure with sliders, described by data and formulas; no kernel, no network."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from elbo_tfp.show.interactive import look, page
from elbo_tfp.show.interactive.formula import evaluate, javascript


class Slider(NamedTuple):
    """A number that the reader moves."""

    name: str
    """Its name in formulas."""
    label: str
    """What stands before it."""
    low: float
    """Left end."""
    high: float
    """Right end."""
    start: float
    """Where it stands at first: `low` plus a multiple of `step`."""
    step: float = 0.05
    """How far one key press moves it."""


class Axis(NamedTuple):
    """A range of numbers to draw along."""

    low: float
    """Left or lower end."""
    high: float
    """Right or upper end."""
    label: str
    """Lower case, with the unit."""


class Curve(NamedTuple):
    """A line over the horizontal axis."""

    label: str
    """For the legend."""
    formula: str
    """Its height at `x`, in the names of sliders, constants and quantities."""
    color: str = "blue"
    """A name in `look.COLORS`."""
    dash: str = ""
    """SVG's stroke-dasharray; empty for a solid line."""


class Band(NamedTuple):
    """A bar along the ruler, from one number to another."""

    label: str
    """For the legend."""
    start: str
    """Formula of one end."""
    end: str
    """Formula of the other end."""
    color: str = "green"
    """A name in `look.COLORS`."""


class Mark(NamedTuple):
    """An upright line on the ruler."""

    label: str
    """For the legend."""
    formula: str
    """Where it stands."""
    color: str = "blue"
    """A name in `look.COLORS`."""
    dash: str = ""
    """SVG's stroke-dasharray; empty for a solid line."""


class SliderFigure:
    """Curves, and bands on a ruler, that follow sliders.

    It displays itself in a notebook and on the site; where scripts do not run, the
    first state remains as a picture. The same description gives the same HTML, byte
    for byte.

    Args:
        sliders: what the reader moves.
        quantities: name -> formula; each may use those before it.
        readout: label -> name of a quantity, a constant or a slider.
        alt: what one sees, for those who do not see it.
        constants: name -> number.
        curves: lines over `x_axis` and `y_axis`.
        x_axis: horizontal axis of the curves; None if there are none.
        y_axis: vertical axis of the curves.
        ruler: a horizontal axis below, in nats; None for none.
        bands: bars on the ruler.
        marks: upright lines on the ruler.
        unit: of the readout's numbers; empty if they have none.

    Raises:
        ValueError: if a formula is no arithmetic or uses an unknown name, the readout
            names none, a slider starts off its grid, or a colour is not in the palette.
    """

    def __init__(
        self,
        *,
        sliders,
        quantities,
        readout,
        alt,
        constants=None,
        curves=(),
        x_axis=None,
        y_axis=None,
        ruler=None,
        bands=(),
        marks=(),
        unit="nats",
    ):
        self.sliders, self.quantities = _floats(sliders), dict(quantities)
        self.readout, self.alt = dict(readout), alt
        self.suffix = f" {unit}" if unit else ""
        self.constants = {k: float(v) for k, v in (constants or {}).items()}
        self.x_axis, self.y_axis, self.ruler = _floats([x_axis, y_axis, ruler])
        self.curves, self.bands, self.marks = tuple(curves), tuple(bands), tuple(marks)
        for slider in self.sliders:
            _check_slider(slider)
        for thing in (*self.curves, *self.bands, *self.marks):
            look.color(thing.color)
        _check_readout(self.readout, self.values())
        self.id = "elbo-" + hashlib.sha256(self._description().encode()).hexdigest()[:8]
        self.html = page.render(self)

    def values(self, **positions) -> dict[str, float]:
        """All numbers of the figure with its sliders at `positions`.

        Args:
            **positions: slider name -> number; the others stand at their start.

        Returns:
            Name -> number: constants, sliders and quantities.

        Raises:
            ValueError: if a name is no slider's.
        """
        start = {slider.name: float(slider.start) for slider in self.sliders}
        unknown = set(positions) - set(start)
        if unknown:
            raise ValueError(
                f"expected sliders among {sorted(start)}; got {sorted(unknown)}."
            )
        found = {**self.constants, **start, **positions}
        for name, formula in self.quantities.items():
            found[name] = evaluate(formula, found)
        return found

    def script(self) -> str:
        """The figure's numbers as JavaScript: a function from positions to numbers."""
        lines = ",".join(
            f"[{json.dumps(name)},v=>{javascript(formula)}]"
            for name, formula in self.quantities.items()
        )
        return (
            f"p=>{{const v=Object.assign({json.dumps(self.constants)},p);"
            f"for(const [n,g] of [{lines}])v[n]=g(v);return v}}"
        )

    def _description(self) -> str:
        told = {k: v for k, v in vars(self).items() if (k, v) != ("suffix", " nats")}
        return json.dumps(told, sort_keys=True)

    def _repr_mimebundle_(self, include=None, exclude=None):
        found = self.values()
        shown = ", ".join(
            f"{label} = {page.number(found[name])}"
            for label, name in self.readout.items()
        )
        return {
            "text/html": self.html,
            "text/plain": f"A figure with sliders, to be moved in a browser ({shown})",
        }


def _floats(things):
    """The same sliders or axes with plain numbers, whatever tensors came."""
    return tuple(
        thing and type(thing)(*(v if isinstance(v, str) else float(v) for v in thing))
        for thing in things
    )


def _check_slider(slider):
    steps = (slider.start - slider.low) / slider.step
    if (
        not slider.low <= slider.start <= slider.high
        or abs(steps - round(steps)) > 1e-6
    ):
        raise ValueError(
            f"expected the slider {slider.name!r} to start between {slider.low} and "
            f"{slider.high}, a multiple of {slider.step} from the left; got "
            f"{slider.start}."
        )


def _check_readout(readout, values):
    unknown = sorted(set(readout.values()) - set(values))
    if unknown:
        raise ValueError(
            f"expected readout to name numbers among {sorted(values)}; got {unknown}."
        )
