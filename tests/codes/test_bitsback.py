"""The coder itself: what comes back, what it costs, where it ends."""

import numpy as np
import pytest

import elbo_tfp as et
from elbo_tfp.codes import bitsback, code_length, latents
from elbo_tfp.codes.distributions import prepare
from tests.codes import toy

SETTINGS = {**toy.SETTINGS, "num_values": 7, "jit_compile": True}


@pytest.fixture(scope="module")
def coding():
    return prepare(toy.fitted(), toy.encoder, (3,), **SETTINGS)


@pytest.mark.parametrize("num", [1, 2, 5, 8, 9, 100])
def test_a_block_comes_back(coding, num):
    x = toy.data(num, seed=num)
    words, initial = bitsback.encode_block(coding, x)
    assert np.array_equal(bitsback.decode_block(coding, words, initial, x.shape), x)


def test_the_slices_cover_the_data_once_and_grow_slowly():
    for num in (1, 7, 1000):
        parts = bitsback.batches(num, 16)
        covered = np.concatenate([np.arange(p.start, p.stop) for p in parts])
        assert np.array_equal(covered, np.arange(num))
        for p in parts:
            assert 1 <= p.stop - p.start <= max(1, min(16, p.start // 4))
    assert [p.stop - p.start for p in bitsback.batches(300, 16)][-2] == 16


def test_the_cost_is_the_elbo(coding):
    x = toy.data(2000, seed=3)
    words, initial = bitsback.encode_block(coding, x)
    net = 32 * (len(words) - initial) / len(x)
    floats = x.astype("float32")
    draws = et.draw(toy.fitted().log_joint(floats), toy.encoder(floats), 500, seed=1)
    length = code_length(draws)
    # one draw of z per datum: its spread is the data error of a single sample
    noise = float(np.std(draws.log_weights[0])) / np.log(2) / np.sqrt(len(x))
    assert abs(net - float(length.mean)) < 4 * noise + 0.01 * float(length.mean)
    assert 8 * noise < 0.05 * float(length.mean)  # a fault of 5 per cent would show


def test_initial_bits_are_those_of_one_datum(coding):
    for num in (1, 30, 300):
        assert bitsback.encode_block(coding, toy.data(num))[1] <= 6


def test_other_words_or_initial_bits_are_noticed(coding):
    x = toy.data(40)
    words, initial = bitsback.encode_block(coding, x)
    assert bitsback.decode_block(coding, words, initial + 1, x.shape) is None
    assert bitsback.decode_block(coding, words[:-1], initial, x.shape) is None
    assert bitsback.decode_block(coding, words[:0], initial, x.shape) is None
    zero = np.append(words, np.uint32(0))
    assert bitsback.decode_block(coding, zero, initial, x.shape) is None


def test_missing_constriction_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ImportError, match="pip install constriction"):
        bitsback.stack()


def test_no_latent_comes_from_nowhere():
    AnsCoder, _, _ = bitsback.stack()
    rng, size = np.random.default_rng(0), 50_000
    words = rng.integers(2**32, size=size, dtype=np.uint32)
    coder, grid = AnsCoder(words, True), 4096
    mean = rng.integers(-16 * 900, 16 * 900, size) / 16
    scale = 2.0 ** rng.integers(-2, 9, size)
    z = latents.pop(coder, mean, scale, grid)
    far = np.abs(z - mean) / scale
    # with one window of 4,096 points, 12 of them would lie anywhere
    assert np.abs(z).max() < grid // 2
    assert np.max(far - 0.5 / scale) <= 12 and np.mean(far > 6) < 1e-3
    latents.push(coder, z, mean, scale, grid)
    assert np.array_equal(coder.get_compressed()[:size], words)


def test_windows_stay_on_the_grid():
    AnsCoder, _, _ = bitsback.stack()
    words = bitsback.initial_words(100)
    for grid in (4, 16, 256):
        coder = AnsCoder(words, True)
        mean, scale = np.array([-500.0, 0.0, 500.0]), np.array([0.25, 1e3, 3.0])
        z = latents.pop(coder, mean, scale, grid)
        assert z.min() >= -(grid // 2) and z.max() <= grid // 2 - 1
        latents.push(coder, z, mean, scale, grid)
        assert np.array_equal(coder.get_compressed()[:100], words)


def test_a_latent_outside_its_window_is_noticed():
    coder = bitsback.stack()[0](bitsback.initial_words(4), True)
    with pytest.raises(latents.OutOfWindow):
        latents.push(coder, np.array([90]), np.array([0.0]), np.array([1.0]), 256)
