"""What a collapse report holds, and how it reads."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from elbo_tfp.ground.measured import PerDatum
from elbo_tfp.ground.tables import Table


class CollapseReport(NamedTuple):
    """What the latents carry, on average over the data; nats.

    D is the event shape of z: `[T, K]` for a path of T states.
    """

    active: np.ndarray
    """Whether a latent dimension is active, `[D]`: `mean_variance > threshold`."""
    mean_variance: np.ndarray
    """Variance over the data (divided by N) of q's mean, per dimension, `[D]`."""
    mean_variance_error: np.ndarray
    """Its standard error from the spread over data, `[D]`."""
    kl_per_dimension: np.ndarray | None
    """KL of q's marginal in a dimension to the prior's, mean over data, `[D]`, nats;
    they add up to `kl` where q and prior are independent across dimensions. None if
    the family's marginals are not known."""
    kl_per_dimension_error: np.ndarray | None
    """Its standard error from the spread over data, `[D]`, nats."""
    kl: PerDatum
    """KL(q(z | x) || p(z)), the rate: mutual information + marginal KL."""
    mutual_information: PerDatum
    """Each datum's share of I(x; z): E_q[log q(z | x) - log q(z)], q(z) the mixture of
    all N encoders' answers; the mean is between 0 and log N."""
    marginal_kl: PerDatum
    """Each datum's share of KL(q(z) || p(z)): what a fitting prior would save."""
    swap_loss: PerDatum
    """Reconstruction with a datum's own z minus that with the z of another datum."""
    threshold: float
    """Above which variance a dimension counts as active."""

    @property
    def num_active(self) -> int:
        """Number of active dimensions."""
        return int(self.active.sum())

    @property
    def log_num_data(self) -> float:
        """log N, the most that `mutual_information` can be for these data, nats."""
        return math.log(len(self.kl.value))

    @property
    def uses_z(self) -> bool:
        """Whether the decoder's reconstruction suffers, beyond doubt, from a swap."""
        loss = self.swap_loss.mean
        # three errors, and no credit for differences that rounding makes
        return loss.value > 3 * max(loss.noise_error, loss.data_error)

    @property
    def table(self) -> Table:
        """The report as a table, for `str` and for notebooks."""
        size = len(self.kl.value)
        rows = [
            ("KL to the prior", self.kl.mean),
            ("  mutual information", self.mutual_information.mean),
            ("  marginal KL", self.marginal_kl.mean),
            ("loss by swapped z", self.swap_loss.mean),
        ]
        return Table(
            f"Collapse report, {size} data, nats per datum",
            ("mean", "noise +-", "data +-"),
            tuple(rows),
            tuple(self._notes()),
        )

    @property
    def dimensions(self) -> Table:
        """One row per latent dimension; of a path, all its steps together."""
        active = np.asarray(self.active)
        kl = self.kl_per_dimension
        kl = np.full(active.shape, math.nan) if kl is None else np.asarray(kl)
        steps = tuple(range(active.ndim - 1))
        rows = zip(
            np.mean(self.mean_variance, steps),
            kl.sum(steps),
            _states(active),
            strict=True,
        )
        path = ", mean over steps, KL their sum" if steps else ""
        return Table(
            f"{self.num_active} of {active.size} dimensions active "
            f"(variance of q's mean > {self.threshold:g}{path})",
            ("variance", "KL, nats", ""),
            tuple((f"z[{':, ' * len(steps)}{d}]", row) for d, row in enumerate(rows)),
        )

    def __str__(self) -> str:
        return f"{self.table}\n\n{self.dimensions}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table._repr_html_() + self.dimensions._repr_html_()

    def _notes(self):
        yield (
            f"{self.num_active} of {np.size(self.active)} dimensions active; "
            f"decoder uses z: {'yes' if self.uses_z else 'no'}"
        )
        information = self.mutual_information.mean.value
        yield f"most that {len(self.kl.value)} data can show: {self.log_num_data:.3f}"
        if information > self.log_num_data - 0.1:
            yield "mutual information is at that limit: take more data"


def _states(active):
    """A word per dimension of a vector, a count per dimension of a path."""
    if active.ndim == 1:
        return ["active" if a else "off" for a in active]
    size = active[..., 0].size
    return [f"active in {sum(a)} of {size}" for a in active.reshape(size, -1).T]
