"""Charts: from unconstrained coordinates onto the support of any distribution.

A chart is a bijector whose log-determinant belongs to the measure of the
distribution's own density, so that the density of its coordinates has mass 1. TFP's
default maps keep this for most distributions, and are used there; the others have a
chart of their own (`families.maps`), or are refused where the measure is not clear.

It is longer than most modules: which chart a distribution gets is one decision.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.distributions import (
    joint_distribution,
    markov_chain,
    sample,
)
from tensorflow_probability.python.experimental.distributions import (
    joint_distribution_pinned,
)

from elbo_tfp.families import maps
from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.ground.wrappers import unwrap

tfb, tfd = tfp.bijectors, tfp.distributions


def chart(distribution, name="z"):
    """The bijector from R^d onto the support of a distribution, joint ones included.

    Args:
        distribution: a TFP distribution, joint distribution or pin of one, or a family.
        name: what error messages call it.

    Returns:
        A TFP bijector. exp(log_prob(z) + log |dz / du|) integrates to 1 over the
        coordinates u.

    Raises:
        ValueError: if it is discrete or improper, or its support is not known.
    """
    d = unwrap(distribution, samples=False).base
    if hasattr(d, "sample_distributions") or hasattr(d, "pins"):
        return joint_chart(d)
    for kinds, make in _OWN.items():
        if isinstance(d, kinds):
            return make(d, name)
    if _holds(d, _OWN_MAP):
        raise _unknown(name, d)
    return _default(d, name)


def joint_chart(joint):
    """One chart per part where supports are fixed, else one map over the whole model.

    That one is TFP's, made of our charts: where one part's support depends on another.
    It compiles again for every seed if the model is AutoBatched.

    Args:
        joint: a TFP joint distribution or a pin of one.

    Returns:
        A bijector between structures like the joint's samples.

    Raises:
        ValueError: as `chart`, naming the part.
    """
    seeds = split_seed(0)
    names, first = parts(joint, seeds[0])
    charts, others = (
        [chart(d, repr(n)) for n, d in zip(names, some, strict=True)]
        for some in (first, parts(joint, seeds[1])[1])
    )
    same = [
        _alike(*found)
        for found in zip(map(repr, names), first, charts, others, strict=True)
    ]
    if all(same):
        return tfb.JointMap(joint._model_unflatten(charts))
    whole = joint_distribution._DefaultJointBijector
    if joint.use_vectorized_map:
        whole = (
            joint_distribution_pinned._DefaultJointBijectorAutoBatchedWithPins
            if hasattr(joint, "pins")
            else joint_distribution._DefaultJointBijectorAutoBatched
        )
    return whole(joint, bijector_fn=chart)


def parts(joint, seed) -> tuple[list, list]:
    """Names and distributions of the free parts, in the model's order, at one draw."""
    pins = getattr(joint, "pins", {})
    whole = joint.distribution if hasattr(joint, "pins") else joint
    distributions, _ = whole.sample_distributions(seed=seed, **pins)
    flat = whole._model_flatten(distributions)
    pairs = zip(whole._flat_resolve_names(), flat, strict=True)
    free = [(name, d) for name, d in pairs if name not in pins]
    return [name for name, _ in free], [d for _, d in free]


def _alike(name, d, one, other):
    """Whether a part has one support at two draws; its chart is tried on the way."""
    rng = np.random.default_rng(0)
    try:
        # not at 0, which (-a, a) maps to 0 whatever a is
        raw = tf.nest.map_structure(
            lambda shape, dtype: tf.constant(rng.normal(size=shape), dtype),
            one.inverse_event_shape(d.event_shape),
            d.dtype,
        )
        ranks = tf.nest.map_structure(lambda t: t.shape.rank, raw)
        z, log_det = one.forward(raw), one.forward_log_det_jacobian(raw, ranks)
        z, again = tf.nest.flatten(z), tf.nest.flatten(other.forward(raw))
    except Exception as error:
        raise _unknown(name, d) from error
    if not all(np.isfinite(t).all() for t in (*z, log_det)):
        raise wrong(
            f"{name} to have a proper density on a support with finite ends",
            f"{type(d).__name__} whose map is not finite",
            "Give it a proper prior, such as tfd.HalfNormal or a wide tfd.Normal.",
        )
    return all(np.array_equal(t, u) for t, u in zip(z, again, strict=True))


def _default(d, name):
    try:
        found = d.experimental_default_event_space_bijector()
    except Exception as error:
        raise _unknown(name, d) from error
    if found is None:
        raise _unknown(name, d)
    return found


def _unknown(name, d):
    return wrong(
        f"{name} to have a density on a support whose map is known",
        f"a {type(d).__name__}",
        "If it is discrete, sum it out first (marginals.enumerate_discrete); a density "
        "over Cholesky factors is tfd.CholeskyLKJ, not input_output_cholesky; else "
        "choose the map yourself: tfd.TransformedDistribution of a Gaussian.",
    )


def _holds(d, kinds):
    """Whether a distribution, or what it wraps, is of these kinds."""
    inner = getattr(d, "distribution", None)
    return isinstance(d, kinds) or inner is not None and _holds(inner, kinds)


def _sample(d, name):
    inner = chart(d.distribution, name)
    if d.distribution.batch_shape.rank == 0:
        return inner
    return sample._DefaultSampleBijector(
        d.distribution, d.sample_shape, tf.reduce_sum, bijector=inner
    )


def _transformed(d, name):
    plain = tfd.TransformedDistribution._default_event_space_bijector
    if type(d)._default_event_space_bijector is not plain:
        return _default(d, name)
    # TFP takes a bijector's full Jacobian, also where the support is a surface
    if not d.bijector._is_injective or _holds(d.distribution, _SURFACES):
        raise _unknown(name, d)
    return tfb.Chain([d.bijector, chart(d.distribution, name)])


def _mixture(d, name):
    """The components' chart, if it is one and the same."""
    inner = getattr(d, "components", None) or [d.components_distribution]
    found = [chart(component, name) for component in inner]
    if any(c != found[0] or c.experimental_batch_shape().rank for c in found):
        raise _unknown(name, d)
    return found[0]


def _chain(d, name):
    """One chart for all steps, or another at the first."""
    first = chart(d.initial_state_prior, name)
    state = d.initial_state_prior.sample(seed=split_seed(0)[0])
    rest = chart(d.transition_fn(0, state), name)
    if first == rest and not rest.experimental_batch_shape().rank:
        return rest
    return markov_chain._MarkovChainBijector(d, rest, chart)


def _matrix(make):
    def found(d, name):
        if d.input_output_cholesky:  # its density is that of the product
            raise _unknown(name, d)
        return make()

    return found


def _positive_definite():
    return tfb.Chain(
        [tfb.CholeskyOuterProduct(), tfb.FillScaleTriL(tfb.Softplus(), None)]
    )


def _correlations():
    return tfb.Chain([maps.CorrelationOuterProduct(), tfb.CorrelationCholesky()])


def _refused(d, name):
    raise _unknown(name, d)


_SIMPLEX = tfd.Dirichlet, tfd.RelaxedOneHotCategorical
_UNIT = tfd.VonMisesFisher, tfd.PowerSpherical, tfd.SphericalUniform
_SURFACES = *_SIMPLEX, *_UNIT, tfd.ExpRelaxedOneHotCategorical, tfd.LKJ, tfd.CholeskyLKJ
_OWN = {
    _SIMPLEX: lambda *_: maps.Simplex(),
    (tfd.ExpRelaxedOneHotCategorical,): lambda *_: tfb.Chain(
        [tfb.Log(), maps.Simplex()]
    ),
    (tfd.LKJ,): _matrix(_correlations),
    (tfd.WishartTriL, tfd.WishartLinearOperator): _matrix(_positive_definite),
    _UNIT: lambda *_: maps.Sphere(),
    (tfd.TruncatedNormal, tfd.TruncatedCauchy, tfd.Bates): lambda d, _: maps.Interval(
        d.low, d.high
    ),
    (tfd.InverseGaussian,): lambda *_: tfb.Softplus(),
    (tfd.Mixture, tfd.MixtureSameFamily): _mixture,
    (tfd.Blockwise, tfd.Autoregressive, tfd.BatchConcat): _refused,
    (tfd.Deterministic, tfd.VectorDeterministic): _refused,  # a point has no density
    (tfd.MarkovChain,): _chain,
    (tfd.Sample,): _sample,
    (tfd.TransformedDistribution,): _transformed,
}
_OWN_MAP = tuple(kind for kinds in list(_OWN)[:7] for kind in kinds)
