"""Figures: `plots.<figure>(result) -> Axes`. The only place that imports matplotlib.

One palette that survives greyscale and colour blindness; every series differs in dash
or marker as well as in hue.
"""

from elbo_tfp.show.plots.general import against_exact, band, density, images
from elbo_tfp.show.plots.reports import collapse_panel, gap_ladder
from elbo_tfp.show.plots.style import AMBER as AMBER
from elbo_tfp.show.plots.style import COLORS as COLORS
from elbo_tfp.show.plots.style import DASHES as DASHES
from elbo_tfp.show.plots.style import use_style

__all__ = [
    "against_exact",
    "band",
    "collapse_panel",
    "density",
    "gap_ladder",
    "images",
    "use_style",
]
