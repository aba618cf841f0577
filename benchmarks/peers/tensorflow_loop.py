"""Sums of gradients over many seeds in one compiled loop, for both TensorFlow peers."""

import tensorflow as tf


def runner(bound, variables, watched):
    """`run(seed, n)` for `problem.report`, from `bound(seed)`, a scalar to be raised.

    Args:
        bound: seed -> scalar tensor whose gradient is wanted.
        variables: all that are differentiated, the model's too.
        watched: how many of them, from the front, are q's and are reported.
    """

    @tf.function(autograph=False, jit_compile=True)
    def loop(seed, number):
        def step(i, totals):
            with tf.GradientTape() as tape:
                value = bound(tf.stack([seed, i]))
            found = tape.gradient(value, variables)
            # the model's gradient must be computed too: it ends in a sum that is used
            model = sum([tf.reduce_sum(g) for g in found[watched:]], 0.0)
            new = [v for g in found[:watched] for v in (g, g * g)]
            return i + 1, [*[a + b for a, b in zip(totals, new, strict=False)],
                           totals[-1] + model]  # fmt: skip

        zeros = [tf.zeros_like(v) for v in variables[:watched] for _ in range(2)]
        totals = [*zeros, tf.zeros([])]
        return tf.while_loop(lambda i, _: i < number, step, (0, totals))[1]

    def run(seed, number):
        *totals, _ = loop(tf.constant(seed), tf.constant(number))
        totals = [v.numpy() for v in totals]
        return totals[0::2], totals[1::2]

    return run
