"""The chi upper bound: above the evidence exactly, not when it is estimated."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp.bounds.monte_carlo import local_log_weights
from elbo_tfp.bounds.renyi import finite_number, log_power_mean
from elbo_tfp.ground.checks import wrong


def cubo(draws, order=2, *, axis=0) -> tf.Tensor:
    """The estimate of the chi upper bound of order n >= 1, nats.

    CUBO_n = (1 / n) log E_q[w^n] is at least log p(x) and rises with n. What is
    guaranteed of this number, though, is the other side only: its expectation is at
    most CUBO_n, and may lie on either side of log p(x) (with one sample it is the
    ELBO). So alone it certifies nothing. A q that misses a part of the posterior never
    draws the large weights, and then the estimate, too, falls short of the evidence;
    where E_q[w^n] does not exist, it grows with K for ever. A certified upper estimate
    needs exact posterior samples: `gaps.evidence(..., method="bidirectional")`.

    Args:
        draws: `Draws`, or log-weights `[K, B]`; `[S, K, B]` with `axis=1`.
        order: n, a finite number >= 1; at 1 it is `iwae`.
        axis: the axis (or axes) of the importance samples, which is reduced.

    Raises:
        ValueError: if `order` is below 1 (that is a lower bound: `renyi`) or no finite
            number, or the draws carry a global latent.

    Source: Dieng, Tran, Ranganath, Paisley and Blei (2017), equation 5.
    """
    log_weights = local_log_weights(draws, axis)
    order = finite_number(order, "order")
    if order < 1:
        remedy = (
            "Below 1 the power mean is a lower bound: use "
            f"renyi(draws, alpha={1 - order:g})."
        )
        raise wrong("order >= 1", order, remedy)
    # CUBO_n = (1 / n) log E_q[w^n]
    return log_power_mean(log_weights, order, axis)
