"""Data: shapes, stratified splits, laws of the generated, errors offline."""

import numpy as np
import pytest

from elbo_tfp import data
from tests.statistics import assert_mean, says


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_digits_are_counts_split_by_class(dtype):
    split = data.digits(dtype=dtype)
    assert split.x_train.shape == (1437, 64) and split.x_test.shape == (360, 64)
    assert split.y_train.shape == (1437,) and split.y_test.shape == (360,)
    assert split.x_train.dtype == dtype
    assert set(np.unique(split.x_train)) == set(range(17))
    # 178 to 183 images of every class, a fifth of each held out
    assert set(np.bincount(split.y_test)) <= {35, 36, 37}


def test_a_split_depends_on_the_seed_alone():
    one, again, other = data.digits(), data.digits(seed=0), data.digits(seed=1)
    np.testing.assert_array_equal(one.x_test, again.x_test)
    assert not np.array_equal(one.x_test, other.x_test)
    both = np.concatenate([one.x_train, one.x_test])
    assert both.sum() == np.concatenate([other.x_train, other.x_test]).sum()


@pytest.mark.parametrize("size", [0, -1, 1797, 2000])
def test_a_split_has_two_parts(size):
    with says("test_size between 1 and 1796", f"got {size}"):
        data.digits(test_size=size)


def test_iris_is_fisher_s():
    x = data.iris()
    assert x.shape == (150, 4) and x.dtype == np.float64
    np.testing.assert_allclose(
        x.mean(0), [5.843333, 3.057333, 3.758, 1.199333], atol=1e-6
    )
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    np.testing.assert_allclose(
        values, [4.200053, 0.241053, 0.077688, 0.023676], atol=5e-7
    )
    assert data.iris(dtype="float32").dtype == np.float32


def test_eight_schools():
    y, sigma = data.eight_schools(dtype="float64")
    assert y.tolist() == [28, 8, -3, 7, -1, 1, 18, 12]
    assert sigma.tolist() == [15, 10, 16, 11, 9, 11, 10, 18]
    assert data.eight_schools().y.dtype == np.float32


def test_the_nile_and_the_sunspots_are_as_published():
    years, flow = data.nile(dtype="float64")
    assert years.tolist() == list(range(1871, 1971)) and flow.dtype == np.float64
    assert flow[:3].tolist() == [1120, 1160, 963] and flow.sum() == 91935
    # the level falls after 1898 (Durbin and Koopman 2012)
    assert flow[years < 1899].mean() - flow[years >= 1899].mean() > 240
    years, spots = data.sunspots()
    assert years.tolist() == list(range(1700, 2009)) and spots.dtype == np.float32
    assert spots.min() == 0 and spots[years == 1957] == np.float32(190.2)


def test_two_humps_has_the_moments_of_its_mixture():
    x = data.two_humps(40_000, distance=2.0, dtype="float64")
    assert x.shape == (40_000,) and x.dtype == np.float64
    # E x = 0, E x^2 = m^2 + 1, E x^4 = m^4 + 6 m^2 + 3
    assert_mean(x, 0.0, fault=0.1)
    assert_mean(x**2, 5.0, fault=0.25)
    assert_mean(x**4, 43.0, fault=4.0)
    np.testing.assert_array_equal(data.two_humps(5), data.two_humps(5, seed=0))
    assert not np.array_equal(data.two_humps(5), data.two_humps(5, seed=1))
    assert data.two_humps().dtype == np.float32 and len(data.two_humps()) == 1_000


def test_mnist_is_flat_counts(monkeypatch):
    import keras

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, [5, 28, 28], np.uint8)
    y = np.arange(5, dtype=np.uint8)
    monkeypatch.setattr(
        keras.datasets.mnist, "load_data", lambda: ((x, y), (x[:2], y[:2]))
    )
    split = data.mnist()
    np.testing.assert_array_equal(split.x_train, x.reshape(5, 784))
    assert split.x_test.shape == (2, 784) and split.x_train.dtype == np.float32
    assert split.y_test.tolist() == [0, 1] and split.y_train.dtype == int


def test_mnist_offline_offers_the_digits(monkeypatch):
    import keras

    def fail():
        raise OSError("no network")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with says("expected MNIST", "network", "got OSError", "et.data.digits()"):
        data.mnist()
