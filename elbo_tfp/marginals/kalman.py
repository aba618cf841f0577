"""Linear-Gaussian state space models: the path of states, integrated out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.base import Marginal
from elbo_tfp.marginals.chains import Chain, moved
from elbo_tfp.marginals.latents import Latents
from elbo_tfp.marginals.linear import MULTIVARIATE, moments

tfd, tfb = tfp.distributions, tfp.bijectors


def kalman(model, name=None) -> Marginal:
    """Integrates a Gaussian Markov chain z_1 ... z_T out of what is seen of it.

        z_t+1 ~ N(F_t z_t + b_t, Q_t),    x_t ~ N(H_t z_t + c_t, R_t)

    All matrices may change with time and depend on the other latents: regimes that
    switch, parameters with a prior. They are found by evaluating the model along paths
    that stay at zero or at a unit vector; filter and smoother are those of
    `tfd.LinearGaussianStateSpaceModel`, whose time grows linearly with T.

    Args:
        model: a `LatentVariableModel` whose latent is a `tfd.MarkovChain` of scalar or
            vector states, alone or in a TFP joint distribution in which nothing else
            depends on it. One datum is a series, `[T]` or `[T, D]`.
        name: the latent to integrate; None if there is only one.

    Returns:
        A `Marginal` over the latents that remain. Its `conditional(z, x)` is the exact
        p(z_1 ... z_T | rest, x), with `mean`, `stddev` and `covariance` per step,
        `sample` and `log_prob`.

    Raises:
        ValueError: if the latent is no chain, something is not Gaussian or not affine,
            a covariance depends on the state or is singular, a step's data depend on
            another step's state, or another latent depends on the chain.

    Source: Kalman (1960); sampling by Carter and Kohn (1994).
    """
    parts = _Parts(Chain(model, Latents(model, name)))
    parts.check()

    def likelihood(kept, *shared):
        return parts.of_data(parts.space(kept, shared))

    def conditional(z, x):
        return StatesGiven(parts, z, x)

    return parts.chain.marginal(likelihood, conditional)


class StatesGiven:
    """p(z_1 ... z_T | the other latents, x), a Gaussian over whole paths.

    Args:
        parts: the state space model as a function of the other latents.
        z: the other latents, `[S, B]` + event, and w if there is one.
        x: data, `[B, T]` or `[B, T, D]`.
    """

    def __init__(self, parts, z, x):
        self._parts, self._z, self._x = parts, z, x
        self._space = parts.space(z[0], z[1:])
        self._series = x if parts.data_event.rank == 2 else x[..., tf.newaxis]
        self.batch_shape, self.event_shape = self._space.batch_shape, parts.chain.event

    def sample(self, sample_shape=(), *, seed):
        """Paths, `sample_shape` + `[S, B, T]` + state: filter, then draw backwards.

        TFP's `posterior_sample` would smooth a simulated series for every draw.
        """
        offsets, gains, roots = self._backwards()
        extra = tf.cast(tf.reshape(sample_shape, [-1]), tf.int32)
        steps, lead = tf.split(tf.shape(offsets), [1, offsets.shape.rank - 1])
        shape, seed = tf.concat([steps, extra, lead], 0), split_seed(seed, 1)[0]
        noise = tf.random.stateless_normal(shape, seed, dtype=offsets.dtype)

        def before(later, step):
            offset, gain, root, e = step
            return offset + tf.linalg.matvec(gain, later) + tf.linalg.matvec(root, e)

        last = offsets[-1] + tf.linalg.matvec(roots[-1], noise[-1])
        steps = offsets[:-1], gains, roots[:-1], noise[:-1]
        earlier = tf.scan(before, steps, last, reverse=True)
        path = tf.concat([earlier, last[tf.newaxis]], 0)
        return self._as_states(moved(path, 0, -2))

    def _backwards(self):
        """z_t = offset_t + J_t z_t+1 + root_t noise, given the rest and x_1 ... x_t."""
        seen, f, _ = self._parts.matrices(self._z[0], self._z[1:])
        _, mean, cov, ahead, spread, _, _ = self._space.forward_filter(self._series)
        mean, ahead = moved(mean, -2, 0), moved(ahead, -2, 0)[:-1]
        cov, spread = moved(cov, -3, 0), moved(spread, -3, 0)[:-1]
        # J = P F' (F P F' + Q)^-1
        gain = tf.linalg.cholesky_solve(tf.linalg.cholesky(spread), f @ cov[:-1])
        gain = tf.linalg.matrix_transpose(gain)
        # Cov[z_t | z_t+1, x_1 ... x_t] = (I - J F) P (I - J F)' + J Q J'
        kept = tf.eye(f.shape[-1], dtype=f.dtype) - gain @ f
        left = tf.matmul(kept @ cov[:-1], kept, transpose_b=True)
        left += tf.matmul(gain @ seen.moves[1], gain, transpose_b=True)
        offsets = mean[:-1] - tf.linalg.matvec(gain, ahead)
        roots = tf.linalg.cholesky(tf.concat([left, cov[-1:]], 0))
        return tf.concat([offsets, mean[-1:]], 0), gain, roots

    def log_prob(self, path):
        """log p(path | rest, x), nats, `[..., S, B]`."""
        log_evidence = self._parts.of_data(self._space).log_prob(self._x)
        return self._parts.chain.log_posterior(path, self._z, self._x, log_evidence)

    def mean(self):
        """E[z_t | rest, x], `[S, B, T]` + state."""
        return self._as_states(self._space.posterior_marginals(self._series)[0])

    def covariance(self):
        """Cov[z_t | rest, x] of each step by itself, `[S, B, T, k, k]`."""
        return self._space.posterior_marginals(self._series)[1]

    def stddev(self):
        """The standard deviation of each state, `[S, B, T]` + state."""
        return self._as_states(tf.sqrt(tf.linalg.diag_part(self.covariance())))

    def _as_states(self, path):
        return path if self.event_shape.rank == 2 else path[..., 0]


class _Seen(NamedTuple):
    """Means `[..., k]` and covariances `[..., k, k]` along M paths."""

    start: tuple
    """Of the first state, `[M, S, B]`."""
    moves: tuple
    """Of each later state given the one before, `[T - 1, M, S, B]`."""
    data: tuple
    """Of the data of each step, `[T, M, S, B]`."""


class _Parts:
    """F, b, Q, H, c and R at given other latents, and the TFP model they make."""

    def __init__(self, chain):
        self.chain, self.data_event = chain, None
        if chain.event.rank > 2:
            raise ValueError(
                f"expected states that are scalars or vectors; got {chain.event[1:]}. "
                "Reshape them inside transition_fn and likelihood."
            )
        self._size = chain.event[1:].num_elements()

    def seen(self, kept, shared, paths):
        """What the model says along M paths, `[M, T]` + state."""
        chain, moves, x = self.chain.along(kept, shared, paths)
        batch = tf.concat([[paths.shape[0]], self.chain.latents.lead(kept)[0]], 0)
        steps, name = self.chain.steps, self.chain.name
        mean, covariance = _full(
            series_moments(x, steps), tf.concat([batch, [steps]], 0)
        )
        self.data_event = x.event_shape
        return _Seen(
            _full(moments(chain.initial_state_prior, name), batch),
            _full(moments(moves, name), tf.concat([[steps - 1], batch], 0)),
            (moved(mean, -2, 0), moved(covariance, -3, 0)),
        )

    def matrices(self, kept, shared):
        """`_Seen` at the path that stays at zero, and F and H, time leading."""
        eye = tf.eye(self._size, dtype=self.chain.dtype)
        points = tf.concat([tf.zeros_like(eye[:1]), eye], 0)
        points = tf.reshape(points, [self._size + 1, *self.chain.event[1:]])
        seen = self.seen(kept, shared, self.chain.constant(points))
        # a column: the mean at a unit vector minus the mean at zero
        columns = [
            tf.einsum("tm...d->t...dm", mean[:, 1:] - mean[:, :1])
            for mean in (seen.moves[0], seen.data[0])
        ]
        at_zero = _Seen(
            tuple(t[0] for t in seen.start),
            tuple(t[:, 0] for t in seen.moves),
            tuple(t[:, 0] for t in seen.data),
        )
        return at_zero, *columns

    def space(self, kept, shared):
        """The `tfd.LinearGaussianStateSpaceModel`, batch shape `[S, B]`."""
        ((mean, cov), (b, q), (c, r)), f, h = self.matrices(kept, shared)
        # TFP steps once beyond the end, where nobody looks
        last = tf.eye(self._size, dtype=cov.dtype) + tf.zeros_like(cov)[tf.newaxis]
        f, q = (tf.concat([t, last], 0) for t in (f, q))
        b = tf.concat([b, tf.zeros_like(mean)[tf.newaxis]], 0)
        root, q, r = (tf.linalg.cholesky(t) for t in (cov, q, r))
        operator = tf.linalg.LinearOperatorFullMatrix
        normal = tfd.MultivariateNormalTriL
        return tfd.LinearGaussianStateSpaceModel(
            self.chain.steps,
            transition_matrix=lambda t: operator(tf.gather(f, t)),
            transition_noise=lambda t: normal(tf.gather(b, t), tf.gather(q, t)),
            observation_matrix=lambda t: operator(tf.gather(h, t)),
            observation_noise=lambda t: normal(tf.gather(c, t), tf.gather(r, t)),
            initial_state_prior=normal(mean, root),
        )

    def of_data(self, space):
        """The distribution of x: `space` with the event shape of one datum."""
        if self.data_event.rank == 2:
            return space
        steps = self.chain.steps
        return tfd.TransformedDistribution(space, tfb.Reshape([steps], [steps, 1]))

    def check(self):
        """Raises ValueError where this is no linear-Gaussian state space model."""
        chain, (kept, shared) = self.chain, self.chain.some_latents()
        rows = np.random.default_rng(0).standard_normal([3, *chain.event])
        paths = tf.constant(rows, chain.dtype)
        seen = self.seen(kept, shared, paths)
        at_zero, f, h = self.matrices(kept, shared)
        z = tf.einsum("mtk->tmk", tf.reshape(paths, [3, chain.steps, -1]))
        for what, weights in (("moves", f), ("data", h)):
            (mean, cov), (offset, same) = getattr(seen, what), getattr(at_zero, what)
            line = tf.einsum("t...dk,tmk->tm...d", weights, z[: weights.shape[0]])
            line += offset[:, tf.newaxis]
            chain.check_same(mean, line, f"the mean of the {what} is not affine in")
            chain.check_same(
                cov, same[:, tf.newaxis], f"the covariance of the {what} depends on"
            )
        for what, (_, cov) in seen._asdict().items():
            values = tf.linalg.eigvalsh(cov)
            if values.shape[0] and not _positive(values):
                raise ValueError(
                    f"expected noise of full rank; got a singular covariance of the "
                    f"{what}. Give every part a small variance."
                )
        chain.check_kept(kept, paths)


def series_moments(x, steps):
    """Mean `[..., T, D]` and covariance `[..., T, D, D]` of independent steps.

    Raises:
        ValueError: if x is not Gaussian with one independent event per step.
    """
    base = x
    while isinstance(base, tfd.Independent):
        base = base.distribution
    event = x.event_shape
    rank = base.event_shape.rank
    known = isinstance(base, tfd.Normal) or isinstance(base, MULTIVARIATE) and rank == 1
    if not known or event.rank not in (rank + 1, 2) or event[0] != steps:
        raise ValueError(
            "expected the likelihood of a series, tfd.Independent over a first event "
            f"dimension of T={steps} steps around a tfd.Normal or MultivariateNormal; "
            f"got {type(base).__name__} with event shape {event}."
        )
    if rank == 1:
        return base.mean(), base.covariance()
    mean, variance = x.mean(), x.variance()
    if event.rank == 1:
        mean, variance = mean[..., tf.newaxis], variance[..., tf.newaxis]
    return mean, tf.linalg.diag(variance)


def _full(both, batch):
    """Mean and covariance, broadcast to a batch shape."""
    mean, covariance = both
    size = mean.shape[-1]
    return (
        tf.broadcast_to(mean, tf.concat([batch, [size]], 0)),
        tf.broadcast_to(covariance, tf.concat([batch, [size, size]], 0)),
    )


def _positive(values):
    tiny = 4 * np.finfo(values.dtype.as_numpy_dtype).eps
    return bool(tf.reduce_all(values > tiny * tf.reduce_max(values)))
