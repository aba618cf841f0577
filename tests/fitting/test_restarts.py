"""Several starts: the best is kept; and the spellings of the first edition."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.fitting import EarlyStopping, HoldOut, fit, fit_restarts

DATA = np.random.default_rng(0).normal(1.0, 1.0, [12, 2]).astype(np.float32)


def humps():
    v = tf.Variable(0.0, name="v")

    def objective():
        # two humps: at -1 (height 0) and at 2 (height 1)
        return tf.maximum(-((v + 1) ** 2), 1 - (v - 2) ** 2)

    starts = iter([-1.5, 2.5, -0.5])
    return v, objective, lambda seed: v.assign(next(starts))


def test_restarts_keep_the_best_start():
    v, objective, start = humps()
    result = fit_restarts(
        objective,
        restarts=3,
        initialize=start,
        num_steps=40,
        seed=0,
        optimizer=keras.optimizers.SGD(0.2),
    )
    np.testing.assert_allclose(result.restarts, [0.0, 1.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(v, 2.0, atol=1e-4)
    np.testing.assert_allclose(result.elbo[0], 0.75, rtol=1e-6)


def test_restarts_differ_in_their_seeds():
    v = tf.Variable(0.0)
    seeds = []
    result = fit_restarts(
        lambda seed: 0.0 * v + tf.random.stateless_normal([], seed),
        restarts=3,
        initialize=seeds.append,
        num_steps=1,
        seed=3,
    )
    assert len(set(result.restarts)) == 3
    assert len({tuple(seed.numpy()) for seed in seeds}) == 3
    assert result.elbo[-1] == result.restarts.max()


def test_the_best_start_comes_back_to_its_best_evaluation():
    v = tf.Variable(0.0)
    result = fit_restarts(
        lambda batch: v - v**2 + 0.0 * batch[:, 0],  # best at 1/2, ever further away
        restarts=2,
        initialize=lambda seed: v.assign(0.0),
        num_steps=20,
        data=DATA,
        seed=0,
        optimizer=keras.optimizers.SGD(1.05),
        held_out=HoldOut(DATA, 1),
        convergence_criterion=EarlyStopping(patience=30),
    )
    assert result.restored_step == 1
    np.testing.assert_allclose(v - v**2, result.held_out.elbo.max(), rtol=1e-4)


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"initialize": None}, "restarts need one; got None"),
        ({"restarts": 0}, "restarts to be a positive int; got 0"),
        ({"checkpoint": "x"}, "restarts and checkpoint cannot"),
        ({"init": 1}, "restarts and init cannot"),
    ],
)
def test_wrong_restarts(keywords, text):
    v, objective, start = humps()
    keywords = {"restarts": 2, "initialize": start, "num_steps": 1, **keywords}
    with pytest.raises(ValueError, match=text):
        fit_restarts(objective, seed=0, **keywords)


@pytest.mark.filterwarnings("ignore:fit's:DeprecationWarning")
def test_names_of_the_first_edition_work_and_warn(tmp_path):
    v = tf.Variable([0.0, 0.0])

    def objective(batch, seed):
        return -tf.reduce_sum((batch - v) ** 2, -1)

    def run(**keywords):
        v.assign([0.0, 0.0])
        return fit(objective, num_steps=9, data=DATA, seed=0, **keywords)

    plain = run(held_out=HoldOut(DATA, 4))
    with pytest.warns(DeprecationWarning, match=r"held_out_every will go.*HoldOut"):
        old = run(held_out=DATA, held_out_every=4)
    np.testing.assert_array_equal(old.held_out.step, plain.held_out.step)
    folder = tmp_path / "old"
    with pytest.warns(DeprecationWarning, match=r"checkpoint_dir will go.*Checkpoint"):
        run(checkpoint_dir=folder, checkpoint_every=3)
    with pytest.warns(DeprecationWarning, match="resume will go"):
        again = run(checkpoint_dir=folder, resume=True)
    np.testing.assert_array_equal(again.elbo, plain.elbo)
    with pytest.warns(DeprecationWarning, match="steps_per_call will go"):
        cut = run(steps_per_call=2)
    np.testing.assert_array_equal(cut.elbo, plain.elbo)
    with pytest.warns(DeprecationWarning, match=r"restarts will go.*fit_restarts"):
        best = run(restarts=2, initialize=lambda seed: v.assign([1.0, 1.0]))
    assert best.restarts.shape == (2,) and best.elbo[0] > plain.elbo[0]


@pytest.mark.filterwarnings("ignore:fit's:DeprecationWarning")
@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"held_out_every": 3}, "held_out_every but no held_out data"),
        ({"checkpoint_every": 3}, "need checkpoint_dir="),
        ({"resume": True}, "need checkpoint_dir="),
    ],
)
def test_older_names_that_contradict_each_other(keywords, text):
    v, objective, _ = humps()
    with pytest.raises(ValueError, match=text):
        fit(objective, num_steps=1, seed=0, **keywords)


def test_a_name_that_never_was_one():
    v, objective, _ = humps()
    with pytest.raises(TypeError, match="unexpected keyword argument 'epochs'"):
        fit(objective, num_steps=1, seed=0, epochs=3)
