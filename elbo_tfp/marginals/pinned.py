"""A joint distribution with pinned data as a model, so that latents can be integrated.

z = joint.experimental_pin(x=x)
small = marginals.enumerate_discrete(z, "k")    # a target, of what remains
small.model.conditional(draws, small.x)         # what was summed, given the rest
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.marginals.latents import named_parts, pack
from elbo_tfp.models import LatentVariableModel

_Pinned = tfp.experimental.distributions.JointDistributionPinned


def takes_pins(integrate):
    """Lets a function of a model and names also take a pinned joint distribution.

    The answer is then a target of what remains, with the pinned value as its data:
    `LogJoint`, of which `model` is the `Marginal` and `x` the pinned value.
    """

    @functools.wraps(integrate)
    def either(model, *args, **kwargs):
        if not isinstance(model, _Pinned):
            return integrate(model, *args, **kwargs)
        opened = PinnedModel(model)
        asked = inspect.signature(integrate).bind(opened, *args, **kwargs)
        names = next(name for name in asked.signature.parameters if "name" in name)
        only = opened.names
        if len(only) == 1 and asked.arguments.get(names) in (only[0], only):
            # a model of one latent does not know what a joint calls it
            asked.arguments[names] = None
        return integrate(*asked.args, **asked.kwargs).log_joint(opened.x)

    either.__signature__ = inspect.signature(integrate)
    return either


class PinnedModel(LatentVariableModel):
    """p(z) p(x | z) of a joint distribution whose one pinned part is x.

    Raises:
        ValueError: if several parts are pinned, or not all of a part.
    """

    def __init__(self, pin):
        pins = dict(pin.pins)
        if isinstance(pin.distribution.event_shape, (list, tuple)) and not hasattr(
            pin.distribution.event_shape, "_fields"
        ):
            # a list: TFP's pins have the names of arguments, ours are numbers
            order = [name for name, _ in pin.distribution.resolve_graph()]
            pins = {order.index(name): value for name, value in pins.items()}
        if len(pins) != 1:
            raise wrong(
                "one pinned part, the data, out of which to integrate a latent",
                f"pins of {sorted(map(str, pins))}",
                "Make what else is known (covariates, say) constants of the joint.",
            )
        ((self.name, x),) = pins.items()
        dtype = named_parts(pin.distribution.dtype)[self.name]
        self.x = tf.convert_to_tensor(x, dtype)
        event = named_parts(pin.distribution.event_shape)[self.name]
        if not self.x.shape.is_compatible_with(event):
            raise wrong(
                f"the pin of {self.name!r} to have the shape of that part, {event}",
                self.x.shape,
                "A smaller value would be repeated and count several times.",
            )
        prior = Unpinned(pin, self.name, self.x)
        self.names = prior.names
        # one latent alone has a distribution of its own
        super().__init__(
            prior if len(prior.names) > 1 else prior.alone,
            lambda z: prior.parts(z)[self.name],
        )


class Unpinned:
    """The joint distribution of all parts but the pinned one, given its value.

    Args:
        pin: a `JointDistributionPinned`.
        name: of the pinned part.
        x: its value.
    """

    def __init__(self, pin, name, x):
        self._pin, self._joint, self._name, self._x = pin, pin.distribution, name, x
        whole = named_parts(self._joint.event_shape)
        self.names = [n for n in whole if n != name]
        self.event_shape = self._packed(whole)
        self.dtype = self._packed(named_parts(self._joint.dtype))
        self.batch_shape = tf.TensorShape([])

    def _packed(self, parts):
        return pack(self.names, parts)

    def sample(self, sample_shape=(), *, seed):
        """Draws of the parts that are not pinned."""
        with _quietly():
            draws = named_parts(self._pin.sample_unpinned(sample_shape, seed=seed))
        return self._packed(draws)

    def parts(self, z):
        """name -> its distribution given the parts before it, at this z."""
        parts = _unpacked(self.names, z)
        name = self.names[0]
        event = named_parts(self._joint.event_shape)[name]
        lead = tf.shape(parts[name])[: parts[name].shape.rank - event.rank]
        # as many copies as there are draws, since TFP maps over all parts at once
        shape = named_parts(self._joint.event_shape)[self._name]
        parts[self._name] = tf.broadcast_to(self._x, tf.concat([lead, shape], 0))
        value = _like(self._joint.event_shape, parts)
        with _quietly():
            found = self._joint.sample_distributions(seed=(0, 0), value=value)[0]
        return named_parts(found)

    def alone(self):
        """The distribution of the only part."""
        return self.parts(self.sample(seed=(0, 0)))[self.names[0]]

    def sample_distributions(self, *, seed, value=None):
        """As of a TFP joint distribution: each part's own, and the value."""
        value = self.sample(seed=seed) if value is None else value
        parts = self.parts(value)
        return self._packed(parts), value

    def log_prob_parts(self, value):
        """log p of each part given those before it."""
        parts, values = self.parts(value), _unpacked(self.names, value)
        return self._packed({n: parts[n].log_prob(values[n]) for n in self.names})

    def log_prob(self, value):
        """log p(z), nats."""
        parts = self.log_prob_parts(value)
        return sum(_unpacked(self.names, parts).values())


@contextlib.contextmanager
def _quietly():
    """Without TFP's advice to draw from a global generator, which nothing here does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Saw Tensor seed")
        yield


def _unpacked(names, packed):
    return {names[0]: packed} if len(names) == 1 else dict(named_parts(packed))


def _like(template, parts):
    """The structure that TFP gives a value, from its parts by name."""
    if hasattr(template, "_fields"):
        return type(template)(**parts)
    if isinstance(template, dict):
        return parts
    return type(template)(parts[i] for i in range(len(template)))
