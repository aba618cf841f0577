"""What happens if I move it?

Figures with sliders, for notebooks and for the site: an inline drawing, range inputs
that answer to mouse, finger and keyboard, and a readout that is spoken aloud. They
need no kernel and no network. What a figure computes is a handful of formulas, each
written once and run in both languages: Python draws the first state, the browser the
others. `SliderFigure` takes any such description, `GridFigure` shows agents in a world
of cells; the functions here are the book's.
"""

from elbo_tfp.show.interactive.answers import two_answers
from elbo_tfp.show.interactive.dimensions import dimensions_and_error
from elbo_tfp.show.interactive.draws import draws_and_width
from elbo_tfp.show.interactive.figure import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
)
from elbo_tfp.show.interactive.food import food_size
from elbo_tfp.show.interactive.forgetting import forgetting
from elbo_tfp.show.interactive.gaussian import gaussian_elbo
from elbo_tfp.show.interactive.gridworld import GridFigure
from elbo_tfp.show.interactive.humps import two_humps
from elbo_tfp.show.interactive.missing import lost_above
from elbo_tfp.show.interactive.river import drifting_level
from elbo_tfp.show.interactive.tug import tug_of_war
from elbo_tfp.show.interactive.units import noise_and_units
from elbo_tfp.show.interactive.windows import window_and_noise
from elbo_tfp.show.interactive.zeros import count_zeros

__all__ = [
    "Axis",
    "Band",
    "Curve",
    "GridFigure",
    "Mark",
    "Slider",
    "SliderFigure",
    "count_zeros",
    "dimensions_and_error",
    "draws_and_width",
    "drifting_level",
    "food_size",
    "forgetting",
    "gaussian_elbo",
    "lost_above",
    "noise_and_units",
    "tug_of_war",
    "two_answers",
    "two_humps",
    "window_and_noise",
]
