"""What one datum counts."""

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.ground.structures import per_datum
from tests.statistics import says

SHARED = tf.constant([1.0, 2.0])


def test_the_global_part_is_counted_once_over_the_data():
    local = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    share = per_datum(local, SHARED, 3)
    np.testing.assert_allclose(tf.reduce_sum(share, 1), [6 + 1, 15 + 2], rtol=1e-6)


@pytest.mark.parametrize("local", [SHARED, tf.zeros([2, 1, 3])])
def test_the_global_part_must_not_broadcast(local):
    with says("[S, B]", "[S]", str(local.shape), "(2,)", "row per datum"):
        per_datum(local, SHARED, 3)
