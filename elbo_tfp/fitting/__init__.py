"""How do I climb it, all the way up? The compiled loop, schedules, saving.

`fit` takes a bound and raises it: it compiles a chunk of steps into one loop that
gathers its minibatches on the device and comes back to Python only to look.

    result = et.fit(objective, num_steps=2_000, data=x, batch_size=128, seed=0)
    result.elbo    # nats per datum, true sign, no KL weight

What it promises: the same seed gives the same numbers, however the steps are cut
into calls; a non-finite step is an error that names step and variable and is undone;
convergence is judged against noise; one compilation serves all seeds. On a GPU it runs
in full float32; `with fitting.tf32():` trades digits of the training for time.
"""

from elbo_tfp.fitting.checkpoint import Checkpoint
from elbo_tfp.fitting.convergence import Convergence, EarlyStopping
from elbo_tfp.fitting.held_out import HoldOut
from elbo_tfp.fitting.loop import fit
from elbo_tfp.fitting.restarts import fit_restarts
from elbo_tfp.fitting.results import FitResult, HeldOut, NonFiniteError
from elbo_tfp.fitting.saving import load, save
from elbo_tfp.fitting.schedules import KLSchedule
from elbo_tfp.fitting.step import Traceable
from elbo_tfp.ground.precision import tf32

__all__ = [
    "Checkpoint",
    "Convergence",
    "EarlyStopping",
    "FitResult",
    "HeldOut",
    "HoldOut",
    "KLSchedule",
    "NonFiniteError",
    "Traceable",
    "fit",
    "fit_restarts",
    "load",
    "save",
    "tf32",
]
