"""Semi-amortized training: the encoder starts, a few steps per datum finish."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp import bounds
from elbo_tfp.draws import draw
from elbo_tfp.gaps.climb import ascend
from elbo_tfp.gaps.start import as_encoder
from elbo_tfp.gradients import sticking_the_landing
from elbo_tfp.ground.checks import real, whole, wrong
from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.types import Estimate, with_gradient_of


def semi_amortized(
    model,
    encoder,
    *,
    family=None,
    num_steps=5,
    learning_rate=0.05,
    refine_sample_size=4,
    sample_size=1,
):
    """An objective for `fit` that refines every datum's q for a few steps first.

    The decoder (and prior) climb the ELBO at the refined q, so that they no longer
    adapt to the encoder's mistakes. The encoder climbs the ELBO at its own answer, at
    full strength however good the refinement. No gradient runs through the refinement
    itself.

        objective = gaps.semi_amortized(model, encoder, num_steps=5)
        et.fit(objective, data=x_train, batch_size=128, num_steps=2_000, seed=0)

    The trace shows the refined ELBO. After training, `refine(encoder, model, x,
    num_steps=5, max_rounds=1)` does to new data what training did to old; the
    encoder's ELBO alone is that of an ordinary encoder.

    Args:
        model: a `LatentVariableModel` without a global prior.
        encoder: an `Encoder`; or a callable from x to parameters, with `family`.
        family: of a bare encoder; None with an `Encoder`.
        num_steps: refinement steps per datum, as in `refine`.
        learning_rate: of the first refinement step, as in `refine`.
        refine_sample_size: draws per refinement step.
        sample_size: draws of the final ELBO.

    Returns:
        A function `(batch, seed, kl_weight=1.0) -> Estimate`.

    Raises:
        ValueError: if a bare encoder has no family, or a size or the learning rate is
            not positive.

    Source: Krishnan, Liang and Hoffman (2018), algorithm 1; through the refinement:
    Kim et al. (2018), which costs second derivatives.
    """
    if not hasattr(model, "log_joint"):
        raise wrong(
            "semi_amortized(model, encoder), a LatentVariableModel first",
            type(model).__name__,
        )
    encoder = as_encoder(encoder, family)
    num_steps = whole("num_steps", num_steps)
    whole("refine_sample_size", refine_sample_size)
    whole("sample_size", sample_size)
    real("learning_rate", learning_rate)

    def objective(batch, seed, kl_weight=1.0):
        target, start = model.log_joint(batch), encoder.network(batch)
        if hasattr(start, "log_prob"):
            raise wrong(
                "the network to return the family's parameters, which are what "
                "refinement moves",
                f"the distribution {type(start).__name__}",
            )
        refine_seed, own_seed, last_seed = split_seed(seed, 3)
        refined = ascend(
            target,
            encoder.family,
            tf.stop_gradient(start),
            num_steps=num_steps,
            learning_rate=learning_rate,
            sample_size=refine_sample_size,
            seed=refine_seed,
            block=num_steps,
            kl_weight=kl_weight,
        )
        q = encoder.family(tf.stop_gradient(refined))
        draws = draw(target, q, sample_size, seed=last_seed)
        value = bounds.elbo(draws, kl_weight=kl_weight)
        slope = _slope(target, encoder.family, start, sample_size, own_seed, kl_weight)
        # d / d theta at the refined q; d / d phi = (d L / d lambda) d lambda / d phi
        climbed = value + tf.reduce_sum(slope * start, -1)
        return Estimate(
            tf.stop_gradient(value),
            with_gradient_of(value, climbed),
            tf.stop_gradient(bounds.elbo(draws)),
        )

    return objective


def _slope(target, family, start, sample_size, seed, kl_weight):
    """d ELBO / d parameters at the encoder's own answer, a constant `[B, P]`."""
    start = tf.stop_gradient(start)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(start)
        made = sticking_the_landing(
            target,
            family(start),
            sample_size=sample_size,
            seed=seed,
            kl_weight=kl_weight,
        )
        total = tf.reduce_sum(made.surrogate)
    return tf.stop_gradient(tape.gradient(total, start))
