"""Draws for ArviZ: what each of its majors is handed, by stand-ins for both."""

import importlib.util
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et

tfd = tfp.distributions


def stand_in(name, version, monkeypatch, others=()):
    """A module that keeps what `from_dict` was given, in the form of that version."""
    module = types.ModuleType(name)
    module.__version__ = version
    if version.startswith("0"):
        module.from_dict = lambda posterior=None, **_: ("0.x", posterior)
    else:
        module.from_dict = lambda data: ("1.x", data["posterior"])
    monkeypatch.setitem(sys.modules, name, module)
    for other in others:
        monkeypatch.setitem(sys.modules, other, None)


@pytest.mark.parametrize(
    ("name", "version", "other"),
    [("arviz", "0.22.0", "arviz_base"), ("arviz_base", "1.2.0", "arviz"),
     ("arviz", "1.0.0", "arviz_base")],
)  # fmt: skip
def test_both_majors(name, version, other, monkeypatch):
    stand_in(name, version, monkeypatch, [other])
    q = tfd.MultivariateNormalDiag(tf.zeros(3))
    form, posterior = et.to_arviz(q, sample_size=7, seed=(0, 1))
    again = (
        et.to_arviz(q, sample_size=7, seed=3)[1],
        et.to_arviz(q, sample_size=7, seed=3)[1],
    )
    np.testing.assert_array_equal(again[0]["z"], again[1]["z"])
    assert form == version[0] + ".x" and posterior["z"].shape == (1, 7, 3)
    np.testing.assert_array_equal(posterior["z"][0], q.sample(7, seed=(0, 1)))


def test_names(monkeypatch):
    stand_in("arviz_base", "1.0.0", monkeypatch)
    q = tfd.JointDistributionNamed(
        {"b": tfd.Normal(5.0, 0.01), "a": tfd.Normal(0.0, 0.01)}
    )
    _, posterior = et.to_arviz(q, sample_size=3, seed=(0, 1))
    assert posterior["b"].mean() > 4 > posterior["a"].mean()
    with pytest.raises(ValueError, match="2 different names"):
        et.to_arviz(q, names=["a", "a"], seed=(0, 1))


@pytest.mark.filterwarnings("ignore")
def test_arviz_itself():
    if not any(map(importlib.util.find_spec, ("arviz_base", "arviz"))):
        pytest.skip("needs arviz")
    q = tfd.JointDistributionNamed(
        {"b": tfd.Normal(5.0, 1.0), "a": tfd.Sample(tfd.Normal(0.0, 1.0), [2, 3])}
    )
    found = et.to_arviz(q, sample_size=7, seed=(0, 1))
    z, group = q.sample(7, seed=(0, 1)), found["posterior"]
    for name in ("a", "b"):
        part = group[name]
        assert part.dims[:2] == ("chain", "draw")
        np.testing.assert_array_equal(part.values[0], z[name])


def test_types_that_numpy_lacks_become_float32(monkeypatch):
    stand_in("arviz_base", "1.0.0", monkeypatch)
    q = tfd.Normal(tf.constant(1.5, tf.bfloat16), tf.constant(0.5, tf.bfloat16))
    _, posterior = et.to_arviz(q, sample_size=3, seed=(0, 1))
    assert posterior["z"].dtype == np.float32


def test_without_arviz(monkeypatch):
    for name in ("arviz", "arviz_base"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install arviz"):
        et.to_arviz(tfd.Normal(0.0, 1.0), seed=0)
    with pytest.raises(ValueError, match="Call an encoder"):
        et.to_arviz(lambda x: x, seed=0)
