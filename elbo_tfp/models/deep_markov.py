"""A deep Markov model: networks move a hidden state and turn it into data."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.normal import Normal
from elbo_tfp.families import Encoder, markov
from elbo_tfp.families.base import positive, raw_of_positive
from elbo_tfp.ground.checks import real, whole
from elbo_tfp.ground.training import call
from elbo_tfp.models.likelihoods import gaussian
from elbo_tfp.models.state_space import StateSpaceModel
from elbo_tfp.models.vae import VAE, _Layers, _likelihood, _on_rows

tfd = tfp.distributions


def deep_markov(
    num_steps: int,
    event_size: int,
    state_size: int,
    *,
    hidden=(32,),
    likelihood=None,
    scale=0.3,
    window=9,
    activation="tanh",
    dtype=tf.float32,
    seed,
) -> VAE:
    """A non-linear state space model, and an encoder that reads the whole series.

        z_1 ~ N(m, diag(s_1^2)),    z_t+1 ~ N(W z_t + f(z_t), diag(s^2)),
        x_t ~ likelihood(V z_t + g(z_t))

    f and g are networks, m, s_1 and s are learned; with `hidden=()` there are no
    networks and the model is linear. The encoder convolves over time and names a member
    of `families.markov`; beyond the end of a series it says N(0, I).

    Args:
        num_steps: T, the length of the longest series.
        event_size: D, how many numbers are seen at each step.
        state_size: K, the size of the hidden state.
        hidden: units of the hidden layers of f, of g and of the encoder.
        likelihood: a `Likelihood` of event shape `(D,)`; None is `gaussian` with one
            trained scale.
        scale: where s starts.
        window: how many steps each of the encoder's convolutions sees, odd.
        activation: of the hidden layers.
        dtype: of networks, latents and data.
        seed: int, pair of ints or tensor: where the weights start.

    Returns:
        A `VAE`: a `StateSpaceModel` and an `Encoder`. Data are `[B, T, D]`, or
        `{"x": ..., "lengths": ..., "mask": ...}`, of which both read all.

    Raises:
        ValueError: if sizes are not positive ints, or the likelihood's shape is not
            `(event_size,)`; as `StateSpaceModel` for the data.

    Source: Krishnan, Shalit and Sontag (2017).
    """
    steps, size = whole("num_steps", num_steps), whole("state_size", state_size)
    whole("event_size", event_size)
    likelihood = likelihood or gaussian(event_size, "shared", dtype=dtype)
    likelihood, make = _likelihood(likelihood, event_size), _Layers(seed, dtype)
    move = _line_and_network(make, size, size, hidden, activation)
    show = _line_and_network(make, size, likelihood.parameters_size, hidden, activation)
    raw = raw_of_positive(tf.fill([size], tf.constant(real("scale", scale), dtype)))
    raw_scale = tf.Variable(raw, name="raw_scale")
    start = tf.Variable(tf.zeros([2, size], dtype), name="start")

    def initial():
        return tfd.Independent(Normal(start[0], positive(start[1])), 1)

    def transition(_, z):
        return tfd.Independent(Normal(move(z), positive(raw_scale)), 1)

    def observation(_, z):
        return likelihood(show(z))

    problem = likelihood.problem
    model = StateSpaceModel(initial, transition, observation, steps, support=problem)
    family = markov(steps, size, dtype=dtype)
    each = family.parameters_size // steps
    layers = [
        *[
            make("Conv1D", n, window, padding="same", activation=activation)
            for n in hidden
        ],
        make("Conv1D", each, window, padding="same"),
    ]
    return VAE(model, Encoder(_Reader(model, layers, likelihood.largest), family))


class _Reader(tf.Module):
    """Convolutions over what is observed of a series; N(0, I) beyond its end."""

    def __init__(self, model, layers, largest):
        super().__init__(name="reader")
        self._model, self.layers, self._largest = model, layers, largest

    def __call__(self, data):
        data = data if isinstance(data, dict) else {"x": data}
        x, seen = data["x"], self._model._observed(data)
        seen = tf.ones_like(x, tf.bool) if seen is None else seen
        rows = tf.where(seen, x / self._largest, tf.zeros_like(x))
        rows = tf.concat([rows, tf.cast(seen, x.dtype)], -1)
        for layer in self.layers:
            rows = call(layer, rows)
        if "lengths" in data:
            goes_on = self._model._going_on(data)[..., tf.newaxis]
            # parameters of zero: mean 0, scale 1, no coupling
            rows = tf.where(goes_on, rows, tf.zeros_like(rows))
        shape = tf.concat([tf.shape(rows)[:1], [-1]], 0)
        flat = tf.reshape(rows, shape)
        return tf.ensure_shape(flat, [x.shape[0], rows.shape[1] * rows.shape[2]])


def _line_and_network(make, inputs, outputs, hidden, activation):
    """z -> W z + f(z); f is left out where it has no hidden layer."""
    import keras

    line = keras.Sequential([make.input((inputs,)), make("Dense", outputs)])
    if not hidden:
        return lambda z: _on_rows(line, z)
    layers = [make("Dense", n, activation=activation) for n in hidden]
    bend = keras.Sequential([make.input((inputs,)), *layers, make("Dense", outputs)])
    return lambda z: _on_rows(line, z) + _on_rows(bend, z)
