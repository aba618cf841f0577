"""Linear-Gaussian state space models: the path of states, integrated out."""

from __future__ import annotations

from typing import final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.marginals.base import STEP, Marginal, centre_of
from elbo_tfp.marginals.chains import Chained
from elbo_tfp.marginals.gaussians import PartlySeen, moments
from elbo_tfp.marginals.latents import moved
from elbo_tfp.marginals.pinned import takes_pins
from elbo_tfp.marginals.states import Moments, StatesGiven, full, series_moments

tfd, tfb = tfp.distributions, tfp.bijectors


@takes_pins
def kalman(model, name=None) -> Marginal:
    """Integrates a Gaussian Markov chain z_1 ... z_T out of what is seen of it.

        z_t+1 ~ N(F_t z_t + b_t, Q_t),    x_t ~ N(H_t z_t + c_t, R_t)

    All matrices may change with time and depend on the other latents: regimes that
    switch, parameters with a prior. They are found by evaluating the model along paths
    that stay where the first state is expected, or some way from it; filter and
    smoother are those of `tfd.LinearGaussianStateSpaceModel`, whose time grows linearly
    with T. Steps, or coordinates of steps, that `tfd.Masked` hides are left out
    exactly; what stands in the data there does not matter.

    Args:
        model: a `LatentVariableModel`, or a joint distribution with its data pinned,
            whose latent is a `tfd.MarkovChain` of scalar or vector states, alone or in
            a TFP joint distribution in which nothing else depends on it. One datum is a
            series, `[T]` or `[T, D]`.
        name: the latent to integrate; None if there is only one.

    Returns:
        A `Marginal` over the latents that remain; with a pin, its target. Its
        `conditional(z, x)` is the exact p(z_1 ... z_T | rest, x), with `mean`, `stddev`
        and `covariance` per step, `sample` and `log_prob`.

    Raises:
        ValueError: if the latent is no chain, something is not Gaussian or not affine,
            a covariance depends on the state or is singular, a step's data depend on
            another step's state, or another latent depends on the chain.

    Source: Kalman (1960); sampling by Carter and Kohn (1994).
    """
    return Kalman(model, name)


@final
class Kalman(Chained):
    """The marginal over paths of Gaussian states."""

    def __init__(self, model, name):
        super().__init__(model, name)
        if self.event.rank > 2:
            raise wrong(
                "states that are scalars or vectors",
                self.event[1:],
                "Reshape them inside transition_fn and likelihood.",
            )
        self._size = self.event[1:].num_elements()
        self._check(self._examples())

    def _given(self, rest):
        space, (_, _, _, seen, event), _, offset = self.space(rest)
        space = tfd.TransformedDistribution(space, tfb.Shift(offset))
        if event.rank == 1:
            steps = self.steps
            reshape = tfb.Reshape([steps], [steps, 1])
            space = tfd.TransformedDistribution(space, reshape)
            seen = None if seen is None else seen[..., 0]
        return space if seen is None else PartlySeen(space, seen)

    def _conditional(self, rest, x):
        return StatesGiven(self, rest, x)

    def moments(self, rest, paths):
        """What the model says along M paths, `[M, T]` + state."""
        start, moves, x = self.along(rest, paths)
        batch = tf.concat([[paths.shape[0]], self._latents.lead(rest[0])[0]], 0)
        later = tf.concat([[self.steps - 1], batch], 0)
        mean, covariance, seen = series_moments(self, x, batch)
        return Moments(
            full(start, self.name, batch),
            full(moves, self.name, later),
            (moved(mean, -2, 0), moved(covariance, -3, 0)),
            seen,
            x.event_shape,
        )

    def matrices(self, rest):
        """`Moments` along the path that stays at the centre, F, H, and the centre."""
        eye = tf.eye(self._size, dtype=self.dtype)
        zero = tf.zeros([1, *self.event], self.dtype)
        centre = centre_of(moments(self.along(rest, zero)[0], self.name)[0])
        points = centre + STEP * tf.concat([tf.zeros_like(eye[:1]), eye], 0)
        points = tf.reshape(points, [self._size + 1, *self.event[1:]])
        found = self.moments(rest, self.constant(points))
        # a column: the mean a step along an axis minus the mean at the centre
        columns = [
            tf.einsum("tm...d->t...dm", mean[:, 1:] - mean[:, :1]) / STEP
            for mean in (found.moves[0], found.data[0])
        ]
        at_centre = found._replace(
            start=tuple(t[0] for t in found.start),
            moves=tuple(t[:, 0] for t in found.moves),
            data=tuple(t[:, 0] for t in found.data),
            seen=None if found.seen is None else found.seen[0],
        )
        return at_centre, *columns, centre

    def space(self, rest):
        """A `tfd.LinearGaussianStateSpaceModel`, batch `[S, B]`, and `Moments`.

        Its states are the model's less the centre, its data those less the offset,
        `[S, B, T, D]`, both of which follow.
        """
        at_centre, f, h, centre = self.matrices(rest)
        (mean, cov), (b, q), (c, r), *_ = at_centre
        mean, b = mean - centre, b - centre
        # TFP steps once beyond the end, where nobody looks
        last = tf.eye(self._size, dtype=cov.dtype) + tf.zeros_like(cov)[tf.newaxis]
        f, q = (tf.concat([t, last], 0) for t in (f, q))
        b = tf.concat([b, tf.zeros_like(mean)[tf.newaxis]], 0)
        root, q, r = (tf.linalg.cholesky(t) for t in (cov, q, r))
        operator = tf.linalg.LinearOperatorFullMatrix
        normal = tfd.MultivariateNormalTriL
        space = tfd.LinearGaussianStateSpaceModel(
            self.steps,
            transition_matrix=lambda t: operator(tf.gather(f, t)),
            transition_noise=lambda t: normal(tf.gather(b, t), tf.gather(q, t)),
            observation_matrix=lambda t: operator(tf.gather(h, t)),
            observation_noise=lambda t: normal(tf.zeros_like(c[0]), tf.gather(r, t)),
            initial_state_prior=normal(mean, root),
        )
        return space, at_centre, centre, moved(c, 0, -2)

    def _check(self, rest):
        """Raises ValueError where this is no linear-Gaussian state space model."""
        rows = np.random.default_rng(0).standard_normal([3, self.steps, self._size])
        at_centre, f, h, centre = self.matrices(rest)
        paths = centre + tf.constant(rows, self.dtype)
        z = tf.einsum("mtk->tmk", paths - centre)
        paths = tf.reshape(paths, [3, *self.event])
        found = self.moments(rest, paths)
        for what, weights in (("moves", f), ("data", h)):
            (mean, cov), (offset, same) = getattr(found, what), getattr(at_centre, what)
            line = tf.einsum("t...dk,tmk->tm...d", weights, z[: weights.shape[0]])
            line += offset[:, tf.newaxis]
            name = f"of the {what}", repr(self.name)
            bent = "the mean {} is not affine in {}".format(*name)
            self._same(mean, line, bent, centre)
            same = same[:, tf.newaxis]
            self._same(cov, same, "the covariance {} depends on {}".format(*name))
        for what in ("start", "moves", "data"):
            values = tf.linalg.eigvalsh(getattr(found, what)[1])
            tiny = 4 * np.finfo(values.dtype.as_numpy_dtype).eps
            full_rank = values > tiny * tf.reduce_max(values)
            if values.shape[0] and not bool(tf.reduce_all(full_rank)):
                raise wrong(
                    "noise of full rank",
                    f"a singular covariance of the {what}",
                    "Give every part a small variance.",
                )
        self.check_kept(rest, paths)
