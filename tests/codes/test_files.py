"""Files: lossless or a named error, whatever happens to them."""

import io
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import codes
from elbo_tfp.codes import container, files
from elbo_tfp.codes.bitsback import decode_block, encode_block
from elbo_tfp.codes.distributions import infer_num_values, prepare
from elbo_tfp.ground import compiled as cache
from tests.changing import kept
from tests.codes import network, toy
from tests.statistics import says

tfd = tfp.distributions
SMALL = {"block_size": 16, **toy.SETTINGS}


@pytest.fixture(scope="module")
def model():
    return toy.fitted()


def pack(x, model, **kwargs):
    return codes.compress(x, model, toy.encoder, **{**SMALL, **kwargs})


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint16", ">i2", ">u4"])
def test_the_data_come_back_with_their_dtype(model, dtype):
    x = toy.data(50).astype(dtype)
    again = codes.decompress(pack(x, model), model, toy.encoder)
    assert again.dtype == x.dtype.newbyteorder("=") and np.array_equal(again, x)


def random_data(rng):
    """From nothing but zeros to all seven values, a few rows."""
    low, high = np.sort(rng.integers(0, 8, 2))
    shape = rng.integers(1, 20) if rng.random() < 0.1 else rng.geometric(0.6), 3
    if low == high:
        return np.full(shape, min(low, 6))
    return rng.integers(low, high, shape)


def test_a_thousand_random_data_sets(model):
    settings = {**toy.SETTINGS, "num_values": 7, "jit_compile": True}
    coding = prepare(model, toy.encoder, (3,), **settings)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        x = random_data(rng)
        words, initial = encode_block(coding, x)
        assert np.array_equal(decode_block(coding, words, initial, x.shape), x)


@pytest.mark.filterwarnings("ignore:.*is the model trained")
def test_random_files(model):
    rng = np.random.default_rng(1)
    for _ in range(20):
        x = random_data(rng)
        again = codes.decompress(pack(x, model), model, toy.encoder)
        assert np.array_equal(again, x)


def test_a_stream_is_coded_block_by_block(model, tmp_path):
    parts = [toy.data(n, seed=n) for n in (3, 40, 16)]
    result = pack(iter(parts), model, path=tmp_path / "x.elbo")
    assert result.num_data == 59 and result.data is None
    assert result.num_bytes == (tmp_path / "x.elbo").stat().st_size
    blocks = list(codes.decompress_blocks(result, model, toy.encoder))
    assert [len(b) for b in blocks] == [3, 16, 16, 8, 16]
    assert np.array_equal(np.concatenate(blocks), np.concatenate(parts))
    assert np.array_equal(
        codes.decompress(tmp_path / "x.elbo", model, toy.encoder), np.concatenate(parts)
    )


def test_the_accounts_add_up(model):
    result = pack(toy.data(100), model)
    file = io.BytesIO(result.data)
    container.read_header(file)
    blocks = list(container.read_blocks(file))
    assert result.num_bytes == len(result.data)
    assert result.payload_bits == 32 * sum(len(b.words) for b in blocks)
    assert result.initial_bits == 32 * sum(b.num_initial for b in blocks)
    assert result.bits_per_datum == 8 * len(result.data) / 100
    net = (result.payload_bits - result.initial_bits) / 100
    assert result.net_bits_per_datum == net


# one block: most changes are found before a network is asked; three: it has decoded
@pytest.mark.parametrize("num_data,num_files", [(4, 10_000), (40, 200)])
def test_mutated_files(model, num_data, num_files, monkeypatch):
    good = pack(toy.data(num_data), model).data
    # the same networks every time: they need not be traced for every file
    made = []

    def prepared(*arguments, **settings):
        if not made:
            made.append(prepare(*arguments, **settings))
        return made[0]

    monkeypatch.setattr(files, "prepare", prepared)
    rng, outcomes = np.random.default_rng(num_data), set()
    for _ in range(num_files):
        bad = mutated(good, rng)
        if bad == good:
            continue
        with pytest.raises(codes.CodeError) as error:
            codes.decompress(bad, model, toy.encoder)
        outcomes.add(type(error.value).__name__)
    assert outcomes >= {"AlteredFile", "TruncatedFile", "ForeignFile"}


def mutated(good, rng):
    kind = rng.integers(4)
    at, length = rng.integers(len(good)), rng.integers(1, 9)
    if kind == 0:  # a flipped bit, in the header too
        bad = bytearray(good)
        bad[at] ^= 1 << rng.integers(8)
        return bytes(bad)
    if kind == 1:
        return good[:at]
    noise = rng.bytes(length)
    if kind == 2:  # inserted bytes
        return good[:at] + noise + good[at:]
    return good[:at] + noise + good[at + length :]


def test_blocks_cannot_change_places(model):
    data = pack(toy.data(32), model).data
    file = io.BytesIO(data)
    container.read_header(file)
    cuts = [file.tell()]
    for block in container.read_blocks(file):
        # mark, three counts, check sum of the data; the words; their check sum
        cuts.append(cuts[-1] + 24 + 4 * len(block.words) + 8)
    head, first, second, tail = np.split(np.frombuffer(data, np.uint8), cuts)
    whole, swapped = (
        b"".join(map(bytes, parts))
        for parts in ([head, first, second, tail], [head, second, first, tail])
    )
    assert whole == data
    with pytest.raises(codes.AlteredFile, match="block at datum 0"):
        codes.decompress(swapped, model, toy.encoder)
    without = b"".join(map(bytes, (head, second, tail)))
    with pytest.raises(codes.AlteredFile, match="block at datum 0"):
        codes.decompress(without, model, toy.encoder)


def test_the_wrong_model_or_encoder_is_named(model):
    packed = pack(toy.data(20), model)
    with pytest.raises(codes.WrongModel, match="et.load"):
        codes.decompress(packed, toy.model(toy.WEIGHTS + 0.1), toy.encoder)
    with pytest.raises(codes.WrongModel):
        codes.decompress(packed, model, lambda x: toy.encoder(x, 0.3))
    with pytest.raises(codes.WrongModel, match="does not accept"):
        codes.decompress(packed, toy.model(np.ones([2, 4], "float32")), toy.encoder)


def test_other_last_bits_are_another_platform(model):
    packed = pack(toy.data(20), model)
    near = toy.model(toy.WEIGHTS * np.float32(1 + 2e-4))
    with pytest.raises(codes.OtherPlatform, match="decode it there"):
        codes.decompress(packed, near, toy.encoder)


def test_networks_that_do_not_repeat_themselves_are_refused(model):
    calls = []

    def moody(x):
        calls.append(1)
        drift = tf.py_function(lambda: 0.01 * len(calls), [], tf.float32)
        calls_seen = tf.py_function(lambda: calls.append(1) or 0.0, [], tf.float32)
        return toy.encoder(x, tf.reshape(drift + calls_seen, []))

    with pytest.raises(codes.OtherPlatform, match="did not repeat"):
        codes.compress(toy.data(20), model, moody, jit_compile=False, **SMALL)


WRONG_DATA = [
    (np.zeros((4, 3)), ("integer data", "float64", "astype")),
    (np.zeros(4, int), ("integer data", "(4,)")),
    (np.full((4, 3), 7), ("0 .. 6", "7 .. 7")),
    (np.full((4, 3), -1), ("0 .. 6", "-1 .. -1")),
    (np.zeros((0, 3), int), ("at least one datum",)),
    (np.ma.masked_equal(np.eye(3, dtype=int), 1), ("x without masked", "3 masked")),
    (np.zeros((4, 2), int), ("over data of shape (2,)", "event shape (3,)")),
    ([np.zeros((2, 3), int), np.zeros((2, 2), int)], ("like the first", "(2, 2)")),
    ([np.zeros((2, 3), int), np.zeros((2, 3), "uint8")], ("like the first", "uint8")),
]


@pytest.mark.parametrize("x,message", WRONG_DATA)
def test_wrong_data(model, x, message):
    with says(*message):
        pack(x, model)


@pytest.mark.parametrize(
    "name,value", [("block_size", 0), ("batch_size", 1.5), ("latent_bits", 1)]
)
def test_wrong_settings(model, name, value):
    with says(f"expected {name} to be an int", str(value)):
        pack(toy.data(3), model, **{name: value})


def test_models_that_cannot_be_coded(model):
    x = toy.data(3)
    full = et.families.full_rank(2, batch_shape=[8])
    with says("encoder's q", "product of normals", "one by one"):
        codes.compress(x, model, lambda x: full, **SMALL)
    mixed = tfd.MixtureSameFamily(
        tfd.Categorical([0.0, 0.0]), tfd.MultivariateNormalDiag(tf.zeros([2, 2]))
    )
    with says("the prior", "product of normals"):
        codes.compress(x, model.with_prior(mixed), toy.encoder, **SMALL)
    joint = et.LatentVariableModel(
        model.prior, lambda z: tfd.MultivariateNormalDiag(tf.pad(z, [[0, 0], [0, 1]]))
    )
    with says("independent given z"):
        codes.compress(x, joint, toy.encoder, num_values=7, **SMALL)
    counts = et.LatentVariableModel(
        model.prior, lambda z: tfd.Independent(tfd.Poisson(tf.exp(z)), 1)
    )
    with says("num_values", "Poisson"):
        codes.compress(x, counts, toy.encoder, **SMALL)


def test_values_are_inferred_from_the_likelihood(model):
    def with_likelihood(base):
        return et.LatentVariableModel(
            model.prior, lambda z: tfd.Independent(base(z), 1)
        )

    assert infer_num_values(model) == 7
    assert infer_num_values(with_likelihood(lambda z: tfd.Bernoulli(logits=z))) == 2
    beta = with_likelihood(lambda z: tfd.BetaBinomial(16.0, tf.exp(z), 1.0))
    assert infer_num_values(beta) == 17
    table = with_likelihood(lambda z: tfd.Categorical(logits=z[..., None] * tf.ones(5)))
    assert infer_num_values(table) == 5
    logistic = et.models.discretized_logistic(1, 9)
    assert infer_num_values(et.LatentVariableModel(model.prior, logistic)) == 9
    chances = with_likelihood(lambda z: tfd.Categorical(probs=tf.fill([1, 2, 4], 0.25)))
    assert infer_num_values(chances) == 4


def test_a_broken_model_is_refused(model):
    with says("finite networks", "NaN"):
        pack(toy.data(3), toy.model(toy.WEIGHTS * np.nan))


def test_an_untrained_model_is_lossless_and_warns(model):
    x = np.tile(np.array([[0, 6, 0]], "uint8"), (200, 1))
    untrained = toy.model(-3 * toy.WEIGHTS)
    with pytest.warns(UserWarning, match="is the model trained"):
        packed = pack(x, untrained)
    assert np.array_equal(codes.decompress(packed, untrained, toy.encoder), x)


def test_one_datum(model):
    x = toy.data(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed = pack(x, model)
    assert np.array_equal(codes.decompress(packed, model, toy.encoder), x)


def test_newer_formats_are_foreign(model):
    file = io.BytesIO()
    container.Writer(file, {"version": 99})
    with pytest.raises(codes.ForeignFile, match="version 1; got 99"):
        codes.decompress(file.getvalue(), model, toy.encoder)


def test_a_failure_leaves_the_old_file(model, tmp_path):
    path = tmp_path / "x.elbo"
    pack(toy.data(5), model, path=path)
    before = path.read_bytes()

    def broken():
        yield toy.data(20)
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="the source failed"):
        pack(broken(), model, path=path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.elbo"]


OTHER = """
import sys
from elbo_tfp import codes
from tests.codes import network
vae, x = network.loaded(sys.argv[1]), network.data()
codes.compress(x, *vae, sys.argv[2])
def endless():
    while True:
        yield x
        print("block", flush=True)
codes.compress(endless(), *vae, sys.argv[3])
"""


@pytest.fixture(scope="module")
def other_process(tmp_path_factory):
    """Files of a process with another thread count, killed in the midst of one."""
    folder = tmp_path_factory.mktemp("other")
    vae = network.saved(folder / "vae.npz")
    (folder / "half.elbo").write_bytes(b"the old file")
    names = [str(folder / n) for n in ("vae.npz", "whole.elbo", "half.elbo")]
    threads = "2" if os.environ.get("TF_NUM_INTRAOP_THREADS") == "1" else "1"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", OTHER, *names],
        stdout=subprocess.PIPE,
        env={**os.environ, "TF_NUM_INTRAOP_THREADS": threads, "PYTHONPATH": "."},
    )
    with process:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGKILL)
    assert lines == [b"block\n"] * 2
    return folder, vae


def test_another_thread_count_gives_the_data_or_says_so(other_process):
    folder, vae = other_process
    try:
        x = codes.decompress(folder / "whole.elbo", *vae)
    except codes.OtherPlatform:
        return
    assert np.array_equal(x, network.data())


def test_sigkill_leaves_no_half_file_under_the_final_name(other_process):
    folder, _ = other_process
    assert (folder / "half.elbo").read_bytes() == b"the old file"
    assert len(list(folder.glob(".half.elbo.*.part"))) == 1


@pytest.mark.filterwarnings("ignore:.*is the model trained")
@pytest.mark.parametrize("place", ["attribute", "dict", "array"])
def test_a_decoder_that_changed_is_not_taken_for_the_old_one(place):
    read, change = kept(place)
    weights = toy.WEIGHTS

    def likelihood(z):
        logits = tf.matmul(z, weights) * tf.constant(read(), tf.float32)
        return tfd.Independent(tfd.Binomial(6.0, logits=logits), 1)

    model = et.LatentVariableModel(toy.fitted().prior, likelihood)
    x = toy.data(16)
    old = pack(x, model, jit_compile=False).data
    change(0.5)
    with pytest.raises(codes.WrongModel):
        codes.decompress(old, model, toy.encoder)
    new = pack(x, model, jit_compile=False).data
    assert np.array_equal(codes.decompress(new, model, toy.encoder), x)
    change(1.0)
    assert np.array_equal(codes.decompress(old, model, toy.encoder), x)


def test_other_weights_of_one_architecture_compile_nothing():
    cache.clear()
    for factor in (1.0, 1.1, 0.9):
        model = toy.model(np.float32(factor) * toy.WEIGHTS)
        pack(toy.data(16), model)
        assert cache.count() == 2
