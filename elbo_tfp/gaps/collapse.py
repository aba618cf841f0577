"""The collapse report: which latents carry anything, and does the decoder listen?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.bounds import analytic_kl
from elbo_tfp.families import aggregated_posterior
from elbo_tfp.gaps.climb import in_chunks
from elbo_tfp.gaps.marginal import kl_per_dimension, posterior_means
from elbo_tfp.gaps.refine import _ERROR
from elbo_tfp.ground import measured as _per
from elbo_tfp.ground.checks import real, whole
from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.measured import PerDatum
from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.ground.tables import Table

_NUMBERS = 2**21


class CollapseReport(NamedTuple):
    """What the latents carry, on average over the data; nats."""

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
        """One row per latent dimension."""
        size = len(self.active)
        kl = [math.nan] * size
        kl = kl if self.kl_per_dimension is None else self.kl_per_dimension
        state = ["active" if a else "off" for a in self.active]
        rows = zip(self.mean_variance, kl, state, strict=True)
        return Table(
            f"{self.num_active} of {size} dimensions active "
            f"(variance of q's mean > {self.threshold:g})",
            ("variance", "KL, nats", ""),
            tuple((f"z[{d}]", row) for d, row in enumerate(rows)),
        )

    def __str__(self) -> str:
        return f"{self.table}\n\n{self.dimensions}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table._repr_html_() + self.dimensions._repr_html_()

    def _notes(self):
        yield (
            f"{self.num_active} of {len(self.active)} dimensions active; "
            f"decoder uses z: {'yes' if self.uses_z else 'no'}"
        )
        information = self.mutual_information.mean.value
        yield f"most that {len(self.kl.value)} data can show: {self.log_num_data:.3f}"
        if information > self.log_num_data - 0.1:
            yield "mutual information is at that limit: take more data"


def collapse_report(
    model, encoder, x, *, threshold=0.01, sample_size=100, jit_compile=True, seed
) -> CollapseReport:
    """Looks for posterior collapse: what do the latents tell, and who listens?

    Four views. A dimension is *active* if q's mean moves with x. The mean rate splits
    exactly into the mutual information between x and z (what z tells about which
    datum it is) and the marginal KL (how far all answers together are from the prior).
    The *swap test* decodes every datum from the z of another one: a decoder that
    ignores z does not notice.

    Mutual information is that of the given data: with N of them it is at most log N,
    and an estimate near that says only that N is too small.

    Args:
        model: a `LatentVariableModel` without a global prior.
        encoder: an `Encoder`, or any callable from x to a distribution of batch shape
            `[B]` over vectors z.
        x: data, `[B]` + event, at least 2; every z is compared with every datum.
        threshold: the variance of q's mean above which a dimension is active.
        sample_size: draws per datum.
        jit_compile: whether to compile with XLA.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        A `CollapseReport`; it prints as tables.

    Raises:
        ValueError: if there are fewer than 2 data or draws, the encoder does not give
            one distribution over a vector per datum, or the model has a global prior.

    Source: active units: Burda, Grosse and Salakhutdinov (2016), section 5.2; the
    split: Hoffman and Johnson (2016), equation 3.
    """
    x, q = _checked(model, encoder, x, threshold, sample_size)
    seeds = split_seed(seed, 4)
    kl, information, swap, log_q = _measured(
        model, encoder, x, sample_size, jit_compile, seeds
    )
    exact = analytic_kl(q, model.prior)
    if exact is not None:
        kl = np.broadcast_to(np.asarray(exact, np.float64), kl.shape)
    # KL = I + marginal KL, draw by draw
    rest = np.asarray(kl, np.float64) - information
    rounding = _per.rounding_of(log_q)
    rate = _per.mean_of(kl, 0.0 if exact is not None else rounding)
    means, noise = posterior_means(q, sample_size, seeds[2])
    variance, variance_error = _variance(means, noise)
    parts = kl_per_dimension(q, model.prior, sample_size, seeds[3])
    return CollapseReport(
        active=variance > threshold,
        mean_variance=variance,
        mean_variance_error=variance_error,
        kl_per_dimension=None if parts is None else parts.mean(0),
        kl_per_dimension_error=None
        if parts is None
        else parts.std(0, ddof=1) / math.sqrt(len(parts)),
        kl=rate,
        mutual_information=_per.mean_of(information, rounding),
        marginal_kl=_per.mean_of(rest, rounding),
        swap_loss=_per.mean_of(swap, 0.0),
        threshold=float(threshold),
    )


def _measured(model, encoder, x, sample_size, jit_compile, seeds):
    """log q(z|x) - log p(z), log q(z|x) - log q(z), swap loss, log q; `[S, B]`."""
    num, batch = x.shape[0], tuple(x.shape[:1])
    chunk = max(1, _NUMBERS // (num * x[0].shape.num_elements()))

    def program(x, draw_seed, partner_seed):
        q, target = encoder(x), model.log_joint(x)
        whole, partner = aggregated_posterior(encoder, x), _another(num, partner_seed)

        def once(seed, size):
            z = q.sample(size, seed=seed)
            log_q = q.log_prob(z)
            own, log_prior = target.log_parts(z, sample_ndims=1)
            other, _ = target.log_parts(tf.gather(z, partner, axis=1), sample_ndims=1)
            return log_q - log_prior, log_q - whole.log_prob(z), own - other, log_q

        return in_chunks(once, sample_size, chunk, batch, (q.dtype,) * 4, draw_seed)

    arguments = x, seeds[0], seeds[1]
    run = compiled(program, *arguments, jit_compile=jit_compile)
    return [v.numpy() for v in run(*arguments)]


def _another(num, seed) -> tf.Tensor:
    """For every datum another one: a random cycle through all of them, `[B]`."""
    order = tf.argsort(tf.random.stateless_uniform([num], seed))
    # the successor of order[i] in the cycle is order[i + 1]
    return tf.scatter_nd(order[:, tf.newaxis], tf.roll(order, -1, 0), [num])


def _variance(means, noise):
    """Variance over data of q's mean per dimension, and its standard error, `[D]`."""
    num = len(means)
    squares = (means - means.mean(0)) ** 2
    # Var(estimated mean) = Var(mean) + noise^2
    variance = squares.mean(0) - (noise**2).mean(0)
    return variance, squares.std(0, ddof=1) / math.sqrt(num)


def _checked(model, encoder, x, threshold, sample_size):
    if not hasattr(model, "log_joint") or not callable(encoder):
        raise ValueError(
            "expected a LatentVariableModel and an encoder, a callable x -> "
            f"distribution; got {type(model).__name__} and {type(encoder).__name__}."
        )
    whole("sample_size", sample_size, 2, _ERROR)
    real("threshold", threshold)
    x = model.log_joint(x).x
    q = encoder(x)
    rows = getattr(q, "batch_shape", None)
    if rows is None or getattr(q.event_shape, "rank", None) != 1:
        raise ValueError(
            "expected encoder(x) to be a distribution over vectors z; got "
            f"{type(q).__name__} of event shape {getattr(q, 'event_shape', None)}."
        )
    if tuple(rows) != tuple(x.shape[:1]) or x.shape[0] < 2:
        raise ValueError(
            "expected at least 2 data, and one distribution for each; got x of shape "
            f"{x.shape} and q of batch shape {rows}. A single datum varies with "
            "nothing, so that no latent can be seen to be active."
        )
    return x, q
