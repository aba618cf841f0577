"""Values that a distribution cannot give have probability zero.

TFP's densities are formulas: a Poisson "weighs" 1.5, a Bernoulli 255, an Exponential
-1, and what comes out bounds nothing. Here such values get log-density minus infinity
or, as data in eager mode, a `ValueError`. Known are the distributions whose support
does not depend on their parameters, and counts up to a total.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.wrappers import INDEPENDENT, SAMPLE

tfb, tfd = tfp.bijectors, tfp.distributions
# also around a distribution that is no composite tensor, as in `ground.wrappers`
MIXTURE = tfd.MixtureSameFamily.__bases__[0]


def impossible_data(distribution, x):
    """Where x cannot be under this likelihood; None where that is not known.

    Raises:
        ValueError: in eager mode, if there are such values.
    """
    found = _impossible(distribution, x)
    if found is None:
        return None
    bad, words, inner = found
    count = int(tf.math.count_nonzero(bad)) if tf.executing_eagerly() else 0
    if count:
        low, high = (float(f(tf.cast(x, tf.float64))) for f in _ENDS)
        raise wrong(
            f"data that a {inner} can give, {words}",
            f"{count} others among {tf.size(bad)}, values from {low:g} to {high:g}",
            "Rescale, round or binarise them, or choose another likelihood.",
        )
    return bad


def of_possible_latents(log_prob, prior, z) -> tf.Tensor:
    """log p(z), minus infinity where a continuous prior has no mass."""
    found = _impossible(prior, z)
    if found is None or not z.dtype.is_floating or found[1] not in _RANGES.values():
        return log_prob
    return none_outside(log_prob, prior, found[0])


_ENDS = tf.reduce_min, tf.reduce_max


def none_outside(log_prob, distribution, bad):
    """`log_prob`, minus infinity where any value of an event is impossible."""
    if bad is None or tf.executing_eagerly() and not tf.reduce_any(bad):
        return log_prob
    rank = distribution.event_shape.rank
    anything = tf.reduce_any(bad, list(range(bad.shape.rank - rank, bad.shape.rank)))
    return tf.where(anything, tf.constant(-float("inf"), log_prob.dtype), log_prob)


def _impossible(distribution, x):
    """Where x is impossible (of x's shape), the support in words, whose; or None."""
    inner, aligned = getattr(distribution, "current", distribution), True
    while isinstance(inner, (INDEPENDENT, SAMPLE, MIXTURE)):
        aligned &= isinstance(inner, INDEPENDENT)
        inner = getattr(inner, "components_distribution", None) or inner.distribution
    name = type(inner).__name__
    if (
        not tf.is_tensor(x)
        or x.dtype.is_bool
        or type(inner).__module__.startswith("elbo_tfp")
    ):
        return None  # the package's own distributions know
    for kinds, test, words in _DISCRETE:
        if isinstance(inner, kinds):
            return ~test(x, inner, aligned), words, name
    words = _RANGES.get(_range_of(inner))
    if words is None:
        return None
    bad = (x < 0) | (x > 1) if words == _RANGES["unit"] else x < 0
    return bad, words, name


def _range_of(inner):
    """What TFP's own bijector maps the real line onto, by name, or None."""
    if not isinstance(inner, tfd.Distribution) or inner.event_shape.rank != 0:
        return "unit" if isinstance(inner, tfd.Dirichlet) else None
    try:
        bijector = inner.experimental_default_event_space_bijector()
    except NotImplementedError:
        return None
    if isinstance(bijector, (tfb.Softplus, tfb.Exp)):
        return "positive"
    unit = isinstance(bijector, tfb.Sigmoid) and bijector.low is None
    return "unit" if unit else None


_RANGES = {"positive": "numbers >= 0", "unit": "numbers from 0 to 1"}


def _whole(x):
    return (x >= 0) & (tf.math.floor(x) == x if x.dtype.is_floating else True)


def _category(x, d, aligned):
    logits = d.probs if d.logits is None else d.logits
    return _whole(x) & (x < tf.cast(tf.shape(logits)[-1], x.dtype))


def _up_to_total(x, d, aligned):
    total = tf.cast(d.total_count, x.dtype)
    # under Sample or in a mixture a batch of totals has other axes than x
    return _whole(x) & (x <= total if aligned or not total.shape.rank else True)


def _sums_to(total_of):
    """The test of a vector: it holds of all its entries or of none."""

    def test(x, d, aligned):
        total = tf.cast(total_of(d), x.dtype)
        if total.shape.rank and not aligned:
            return _whole(x)
        sums = tf.reduce_sum(x, -1, keepdims=True)
        return _whole(x) & (sums == total[..., tf.newaxis])

    return test


_DISCRETE = (
    (tfd.Bernoulli, lambda x, *_: (x == 0) | (x == 1), "0s and 1s"),
    (
        (
            *(tfd.Poisson, tfd.NegativeBinomial, tfd.Geometric, tfd.Zipf),
            tfd.OrderedLogistic,
        ),
        lambda x, *_: _whole(x),
        "whole numbers >= 0",
    ),
    (tfd.Categorical, _category, "whole numbers below the number of categories"),
    (
        (tfd.Binomial, tfd.BetaBinomial),
        _up_to_total,
        "whole numbers from 0 to total_count",
    ),
    (
        (tfd.Multinomial, tfd.DirichletMultinomial),
        _sums_to(lambda d: d.total_count),
        "whole numbers >= 0 that sum to total_count",
    ),
    (tfd.OneHotCategorical, _sums_to(lambda d: 1), "a 1 among 0s"),
)
