"""The evidence lower bound, measured and climbed.

For a model p(x, z) and any distribution q(z), log p(x) = ELBO + KL(q || p(z | x)).
The ELBO, E_q[log p(x, z) - log q(z)], is what one can compute; the KL is how far it
lies below the evidence. Everything here is a small function of draws from q:

    draws = et.draw(model.log_joint(x), q, sample_size=1_000, seed=0)
    et.bounds.elbo(draws)          # nats, one number per datum

One folder answers one question: `models` (what is p?), `families` (what may q be?),
`bounds` (which number?), `gradients` and `fitting` (how do I climb it?), `marginals`
(what can be integrated exactly?), `evidence` (how likely are the data?), `gaps` (how
far below am I?), `codes` (how many bits is that?), `applications` (what is it good
for?).

Importing switches TF32 off for the process (`ground.precision`): on a GPU it would move
an evidence by 0.01 nats. `fitting.tf32` allows it for the training of networks.
"""

from elbo_tfp import (
    applications,
    bounds,
    codes,
    convex,
    data,
    distributions,
    evidence,
    families,
    filtering,
    fitting,
    gaps,
    gradients,
    marginals,
    models,
    show,
)
from elbo_tfp.applications import posterior_summary, to_arviz
from elbo_tfp.audit import audit
from elbo_tfp.draws import draw
from elbo_tfp.families import Encoder
from elbo_tfp.filtering import particle_filter
from elbo_tfp.fitting import FitResult, KLSchedule, fit, fit_restarts, load, save
from elbo_tfp.ground import precision
from elbo_tfp.models import LatentVariableModel
from elbo_tfp.show import interactive, plots, show_source
from elbo_tfp.types import Draws, Estimate

__version__ = "0.1.0"
precision.full_by_default()

__all__ = [
    "Draws",
    "Encoder",
    "Estimate",
    "FitResult",
    "KLSchedule",
    "LatentVariableModel",
    "applications",
    "audit",
    "bounds",
    "codes",
    "convex",
    "data",
    "distributions",
    "draw",
    "evidence",
    "families",
    "filtering",
    "fit",
    "fit_restarts",
    "fitting",
    "gaps",
    "gradients",
    "interactive",
    "load",
    "marginals",
    "models",
    "particle_filter",
    "plots",
    "posterior_summary",
    "save",
    "show",
    "show_source",
    "to_arviz",
]
