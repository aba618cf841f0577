"""A masked array as a pin is refused where the mask can still be seen."""

import numpy as np
import pytest
import tensorflow_probability as tfp

from elbo_tfp.ground.pins import watch_pins

tfd = tfp.distributions


def joint():
    return tfd.JointDistributionNamed(
        {"mu": tfd.Normal(0.0, 1.0), "x": lambda mu: tfd.Sample(tfd.Normal(mu, 1.0), 3)}
    )


def test_masked_pins_are_refused_by_position_name_and_structure():
    masked = np.ma.masked_equal(np.float32([0.3, -999.0, 1.1]), -999.0)
    for pin in (
        lambda: joint().experimental_pin(x=masked),
        lambda: joint().experimental_pin({"x": masked}),
        lambda: tfp.experimental.distributions.JointDistributionPinned(
            joint(), x=masked
        ),
    ):
        with pytest.raises(ValueError, match=r"the pin without masked.*with 1 masked"):
            pin()


def test_other_pins_are_tfps():
    watch_pins()  # a second call wraps nothing
    values = np.ma.masked_array(np.float32([0.3, 0.5, 1.1]))  # nothing is masked
    pinned = joint().experimental_pin(x=values)
    np.testing.assert_array_equal(pinned.pins["x"], values.data)
    want = joint().log_prob(mu=0.2, x=values.data)
    np.testing.assert_allclose(pinned.unnormalized_log_prob(mu=0.2), want)
    init = tfp.experimental.distributions.JointDistributionPinned.__init__
    assert not hasattr(init.__wrapped__, "__wrapped__")
