"""Compiled programs: never stale, one an architecture, and what XLA refuses."""

import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.fitting import HoldOut, fit, held_out, program
from elbo_tfp.fitting.run import steps_per_call
from elbo_tfp.ground import compiled

ROOT = Path(__file__).parents[2]
DATA = np.random.default_rng(0).normal(1.0, 1.0, [12, 2]).astype(np.float32)
SLOPE = 1.0


def changes():
    """name -> (the slope of the bound in a variable, what makes it 3)."""
    entries, numbers, array = {"a": {"b": 1.0}}, [1.0], np.ones([], np.float32)
    holder = types.SimpleNamespace(inner=types.SimpleNamespace(slope=1.0))
    free, other = 1.0, types.SimpleNamespace(slope=1.0)

    def rebind():
        nonlocal free
        free = 3.0

    return {
        "dict": (lambda: entries["a"]["b"], lambda: entries["a"].update(b=3.0)),
        "list": (lambda: numbers[0], lambda: numbers.__setitem__(0, 3.0)),
        "array in place": (lambda: array, lambda: array.fill(3.0)),
        "attribute": (lambda: other.slope, lambda: setattr(other, "slope", 3.0)),
        "namespace": (
            lambda: holder.inner.slope,
            lambda: setattr(holder.inner, "slope", 3.0),
        ),
        "closure": (lambda: free, rebind),
        "global": (lambda: SLOPE, lambda: globals().update(SLOPE=3.0)),
    }


@pytest.mark.parametrize("name", changes())
def test_what_changed_between_two_fits_is_seen(name):
    slope, change = changes()[name]
    v = tf.Variable(0.0)

    def objective(batch):
        return v * slope() + 0.0 * batch[:, 0]

    keywords = {"num_steps": 1, "data": DATA, "seed": 0, "held_out": HoldOut(DATA, 1)}
    try:
        for expected in (1.0, 3.0):
            v.assign(0.0)
            result = fit(objective, optimizer=keras.optimizers.SGD(1.0), **keywords)
            assert v.numpy() == expected
            np.testing.assert_allclose(result.held_out.elbo, expected**2)
            change()
    finally:
        globals().update(SLOPE=1.0)


def test_one_architecture_is_one_program():
    compiled.clear()

    def once(seed, steps, model):
        vae = et.models.vae(2, 1, hidden=(3,), likelihood="gaussian", seed=model)

        def objective(batch, seed):
            target, q = vae.model.log_joint(batch), vae.encoder(batch)
            return et.gradients.reparameterized(target, q, seed=seed)

        optimizer = keras.optimizers.Adam(0.01 + 0.01 * seed)
        asked = HoldOut(DATA[:8], 2)
        keywords = {"batch_size": 4, "optimizer": optimizer, "held_out": asked}
        with steps_per_call(3):
            fit(objective, num_steps=steps, data=DATA, seed=seed, **keywords)

    once(0, 5, 0)
    count = compiled.count()
    assert count == 2  # the loop and the evaluation
    for seed, steps, model in ((1, 5, 0), (0, 8, 1), (2, 4, 2)):
        once(seed, steps, model)
    assert compiled.count() == count


@pytest.mark.parametrize(("rows", "jit"), [(64, False), (65, True)])
def test_a_few_held_out_batches_are_not_worth_xla(monkeypatch, rows, jit):
    v, seen = tf.Variable(0.0), []
    monkeypatch.setattr(
        held_out,
        "compiled",
        lambda *a, jit_compile: (
            seen.append(jit_compile) or compiled.compiled(*a, jit_compile=jit_compile)
        ),
    )
    x = np.linspace(0, 1, rows, dtype=np.float32)
    result = fit(
        lambda batch: batch - (v - 1) ** 2,
        num_steps=2,
        data=DATA[:, 0],
        batch_size=2,
        seed=0,
        held_out=HoldOut(x, 1),
        optimizer=keras.optimizers.SGD(0.25),
    )
    np.testing.assert_allclose(result.held_out.elbo, [0.25, 0.4375], rtol=1e-5)
    assert seen == [jit] * (1 + rows % 2)  # one program for each size of batch


def test_a_further_fit_traces_its_step_and_not_the_loop(monkeypatch):
    compiled.clear()
    traces, traced = [], compiled.traced
    monkeypatch.setattr(
        compiled, "traced", lambda f, *like: traces.append(f) or traced(f, *like)
    )
    start, other = np.float32([3, 1]), np.float32([1, 3])

    def once(optimizer, trained=2, num_traces=2):
        u, v = tf.Variable(start), tf.Variable(other)
        data, chosen = np.ones([4, 2], np.float32), [u, v][:trained]

        def objective(batch):
            return -tf.reduce_sum(batch**2 * (u**2 + v**2), -1)

        keywords = {"optimizer": optimizer, "trainable_variables": chosen}
        traces.clear()
        fit(objective, num_steps=3, data=data, seed=0, **keywords)
        assert len(traces) == num_traces
        return u.numpy(), v.numpy()

    sgd = keras.optimizers.SGD
    u, v = once(sgd(0.1))
    np.testing.assert_allclose(u, start * 0.8**3, rtol=1e-6)
    np.testing.assert_allclose(v, other * 0.8**3, rtol=1e-6)
    u, v = once(sgd(0.2), num_traces=1)  # another rate, other variables
    np.testing.assert_allclose(u, start * 0.6**3, rtol=1e-6)
    # what determines the loop: what is trained, the settings, a class of one's own
    np.testing.assert_array_equal(once(sgd(0.2), trained=1)[1], other)
    np.testing.assert_allclose(once(sgd(0.2, clipvalue=0.5))[0], start - 0.3, rtol=1e-5)

    class Backwards(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(-gradient, variable, learning_rate)

    for _ in range(2):  # the class may change: it is traced every time
        np.testing.assert_allclose(once(Backwards(0.1))[0], start * 1.2**3, rtol=1e-6)


def test_other_numbers_in_a_closure_are_arguments():
    compiled.clear()
    for shift in (1.0, 2.0):
        v, rows = tf.Variable([0.0, 0.0]), DATA + np.float32(shift)

        def objective(v=v, rows=rows):
            return -tf.reduce_sum((rows - v) ** 2)

        fit(objective, num_steps=1, seed=0, optimizer=keras.optimizers.SGD(0.5 / 12))
        np.testing.assert_allclose(v, rows.mean(0), rtol=1e-5)
    assert compiled.count() == 1


COUNTED = """
    import numpy as np, tensorflow as tf, keras
    import tensorflow_probability as tfp
    from elbo_tfp.fitting import fit
    from elbo_tfp.fitting.run import steps_per_call
    from elbo_tfp.ground import compiled
    tfd = tfp.distributions

    @tfd.JointDistributionCoroutineAutoBatched
    def model():
        mu = yield tfd.Normal(0.0, 5.0, name="mu")
        tau = yield tfd.HalfCauchy(0.0, 5.0, name="tau")
        yield tfd.Sample(tfd.Normal(mu, tau), 3, name="y")

    pin = model.experimental_pin(y=tf.constant([2.0, 8.0, 3.0]))
    q = tfp.experimental.vi.build_factored_surrogate_posterior(
        pin.event_shape, bijector=pin.experimental_default_event_space_bijector())

    def joint(seed):
        z = q.sample(4, seed=seed)
        return tf.reduce_mean(pin.unnormalized_log_prob(z) - q.log_prob(z))

    def plain():
        v = tf.Variable([0.0, 0.0])

        def objective(batch, seed):
            noise = tf.random.stateless_normal([2], seed)
            turns = tf.while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, a + v),
                                  (0, noise), maximum_iterations=2)[1]
            return -tf.reduce_sum((batch - turns) ** 2, -1)

        return objective

    data = np.random.default_rng(0).normal(size=[10, 2]).astype(np.float32)
    batches = {"data": data, "batch_size": 3}
    with steps_per_call(7):
        for seed in range(3):
            fit(joint, num_steps=20, seed=seed)
            fit(plain(), num_steps=20 + seed, seed=seed, **batches)
        fit(joint, num_steps=7, seed=9)
    print("programs", compiled.count())
"""


def test_one_compilation_across_chunks_seeds_fits_and_models():
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TF_CPP_VMODULE": "device_compiler=2",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(COUNTED)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "programs 2" in done.stdout
    # XLA's own count: one of each objective's loop, whatever is compiled besides
    logged = done.stderr.splitlines()
    lines = [s for s in logged if "cache entry hit: 0" in s]
    lines = lines or [s for s in logged if "Compilation of XLA executable" in s]
    loops = [line for line in lines if "program" in line]
    assert len(loops or lines) == 2, "\n".join(lines)


def refused():
    v = tf.Variable(0.5)

    def objective(seed):
        draws = tfp.distributions.NegativeBinomial(5.0, probs=0.5).sample(3, seed=seed)
        return -(v**2) + 0.0 * tf.reduce_mean(draws)

    return v, objective


def test_an_op_that_xla_refuses_falls_back_with_its_name(monkeypatch):
    compiled.clear()
    keywords = {"num_steps": 3, "seed": 0, "optimizer": keras.optimizers.SGD(0.1)}
    tries = []
    runner = compiled._runner
    monkeypatch.setattr(
        compiled, "_runner", lambda g, jit: tries.append(jit) or runner(g, jit)
    )
    for _ in range(2):  # the second time it is known
        v, objective = refused()
        match = r"XLA cannot compile .*op \w+.*jit_compile"
        with pytest.warns(UserWarning, match=match):
            result = fit(objective, **keywords)
        assert not result.compiled
        np.testing.assert_allclose(v, 0.5 * 0.8**3, rtol=1e-6)
    assert tries == [True, False]
    plain = fit(objective, **keywords, jit_compile=False)
    assert not plain.compiled


def test_a_graph_that_takes_long_gets_a_hint(monkeypatch):
    monkeypatch.setattr(program, "_PATIENCE", 0.0)
    monkeypatch.setattr(program, "_LARGE", 300)
    v = tf.Variable(0.1)

    def objective():
        total = v
        for _ in range(100):
            total = tf.sin(total)
        return total

    with pytest.warns(UserWarning, match=r"trace and compile.*tf.while_loop"):
        fit(objective, num_steps=1, seed=0)
    fit(lambda: -(v**2), num_steps=1, seed=0)  # a small one is nobody's fault


def test_variables_without_decay_have_none():
    def trained(**excluded):
        kept = tf.Variable(2.0, name="bias")
        decayed = tf.Variable(2.0, name="kernel")
        optimizer = keras.optimizers.SGD(0.5, weight_decay=0.5)
        if excluded.pop("listed", False):
            excluded["var_list"] = [kept]
        if excluded:
            optimizer.exclude_from_weight_decay(**excluded)
        fit(lambda: 0.0 * (kept + decayed), num_steps=1, seed=0, optimizer=optimizer)
        return kept.numpy(), decayed.numpy()

    for _ in range(2):
        assert trained() == (1.5, 1.5)  # v - rate * decay * v
        assert trained(var_names=["bias"]) == (2.0, 1.5)
        assert trained(listed=True) == (2.0, 1.5)


def test_a_variables_constraint_counts_as_it_is_now():
    for bound in (1.0, 0.5):
        v = tf.Variable(2.0, constraint=lambda x, b=bound: tf.minimum(x, b))
        fit(
            lambda v=v: -(v**2),
            num_steps=1,
            seed=0,
            optimizer=keras.optimizers.SGD(0.0),
        )
        assert v.numpy() == bound
