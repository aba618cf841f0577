"""The recipes of CONTRIBUTING.md run, and its paths exist."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from tools.settings import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


def recipe(name):
    (block,) = [b for b in BLOCKS if f"def {name}(" in b]
    space = {}
    exec(compile(block, name, "exec"), space)
    return space[name]


def test_the_bound_runs():
    draws = et.draw(et.models.normal_normal().log_joint([1.0, 2.0]), NORMAL, 9, seed=0)
    found = recipe("my_bound")(draws)
    np.testing.assert_allclose(found, et.bounds.iwae(draws), rtol=1e-6)


def test_the_estimator_runs():
    target = et.models.normal_normal().log_joint([1.0, 2.0])
    made, gradients = [], []
    for estimator in (recipe("my_estimator"), et.gradients.reparameterized):
        loc = tf.Variable([0.3, 0.4])
        with tf.GradientTape() as tape:
            made.append(estimator(target, normal(loc), sample_size=5, seed=1))
        gradients.append(tape.gradient(made[-1].surrogate, loc))
    np.testing.assert_allclose(made[0].value, made[1].value, rtol=1e-6)
    np.testing.assert_allclose(*gradients, rtol=1e-5)


def normal(loc):
    return tfp.distributions.Normal(loc, 0.6)


NORMAL = normal([0.3, 0.4])


PATHS = sorted(set(re.findall(r"`((?:elbo_tfp|tests|tools|book)/[\w/.]*)`", TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_paths_exist(path):
    assert (ROOT / path).exists()


def test_there_are_paths_and_recipes():
    assert len(PATHS) >= 4 and len(BLOCKS) >= 3
