"""What is inside of `tfd.Independent` and `tfd.Sample`."""

import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.ground.wrappers import unwrap

tfd = tfp.distributions


def test_unwrap():
    base = tfd.Normal(tf.zeros([2, 3]), 1.0)
    assert unwrap(base) == (base, 0, ())
    wrapped = tfd.Sample(tfd.Independent(tfd.Independent(base, 1), 1), [5, 4])
    found = unwrap(wrapped)
    assert type(found.base) is tfd.Normal and found[1:] == (4, (5, 4))
    assert isinstance(unwrap(wrapped, samples=False).base, tfd.Sample)
    family = et.families.mean_field(3)
    assert isinstance(unwrap(family).base, tfd.Normal) and unwrap(family).ndims == 1
    # around our own distributions TFP returns an _Independent
    own = et.distributions.BetaBinomial(4, tf.zeros([3]), 0.1)
    assert unwrap(tfd.Independent(own, 1)).ndims == 1


def test_dimensions_are_counted_beside_those_of_the_base():
    base = tfd.MultivariateNormalDiag(tf.zeros([2, 3, 4]))
    found = unwrap(tfd.Independent(base, 1))
    assert type(found.base) is type(base) and found[1:] == (1, ())
