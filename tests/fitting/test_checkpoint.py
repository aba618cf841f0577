"""Checkpoints: bit-identical resume, atomic files, clear errors."""

import errno
import os
import resource
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.fitting import Checkpoint, EarlyStopping, HoldOut, fit
from elbo_tfp.fitting.run import steps_per_call
from elbo_tfp.ground import files as filing

DATA = np.random.default_rng(1).normal(2.0, 1.0, [24, 2]).astype(np.float32)
LOC = tf.Variable([0.0, 0.0], name="loc")


def objective(batch, seed, kl_weight):
    noise = tf.random.stateless_normal([2], seed)
    return (
        -tf.reduce_sum((batch - LOC - 0.1 * noise) ** 2, -1) - kl_weight * LOC[0] ** 2
    )


SETTINGS = {
    "data": DATA,
    "batch_size": 5,
    "seed": 4,
    "kl_schedule": lambda step: min(1.0, (step + 1) / 5),
    "trace_fn": lambda traced: {"loc": traced.parameters[0]},
    "held_out": HoldOut(DATA[:3], every=8),
}


def run(steps=40, **keywords):
    LOC.assign([0.0, 0.0])
    return fit(
        objective,
        num_steps=steps,
        **{**SETTINGS, "optimizer": keras.optimizers.Adam(0.1), **keywords},
    )


def assert_same(a, b):
    assert a.steps == b.steps
    np.testing.assert_array_equal(a.elbo, b.elbo)
    np.testing.assert_array_equal(a.standard_error, b.standard_error)
    np.testing.assert_array_equal(a.kl_weight, b.kl_weight)
    np.testing.assert_array_equal(a.trace["loc"], b.trace["loc"])
    for mine, theirs in zip(a.held_out, b.held_out, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(a.state.values, b.state.values, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_resume_is_bit_identical(tmp_path):
    whole = run()
    run(16, checkpoint=Checkpoint(tmp_path, 7))
    LOC.assign([9.0, 9.0])
    with steps_per_call(3):
        resumed = fit(
            objective,
            num_steps=40,
            **SETTINGS,
            optimizer=keras.optimizers.Adam(0.1),
            checkpoint=Checkpoint(tmp_path, resume=True),
        )
    assert_same(whole, resumed)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.npz"]
    # a finished fit comes back at once, with its state
    LOC.assign([9.0, 9.0])
    again = run(checkpoint=Checkpoint(tmp_path, resume=True))
    assert_same(whole, again)
    np.testing.assert_array_equal(
        LOC, whole.trace["loc"][-1] * 0 + whole.state.values[0]
    )


def test_init_continues_bit_identically_with_everything_recorded():
    whole = run()
    first = run(16)
    second = run(24, init=first, seed=None)
    assert_same(whole, second)


def test_checkpoints_are_written_at_the_steps_asked_for(tmp_path, monkeypatch):
    steps = []
    write = filing.write

    def spy(path, kind, header, arrays):
        steps.append(header["step"])
        write(path, kind, header, arrays)

    monkeypatch.setattr(filing, "write", spy)
    run(20, checkpoint=Checkpoint(tmp_path / "new", 6))
    assert steps == [6, 12, 18, 20]


def test_another_fit_is_refused(tmp_path):
    run(8, checkpoint=Checkpoint(tmp_path))
    with pytest.raises(ValueError, match="holds a checkpoint"):
        run(8, checkpoint=Checkpoint(tmp_path))
    for keywords, text in (
        ({"seed": 5}, r"seed was \[0, 4\] and is \[0, 5\]"),
        ({"batch_size": 4}, "batch_size was 5 and is 4"),
        ({"data": DATA + 1}, "checksum of the data"),
        ({"optimizer": keras.optimizers.Adam(0.1, beta_1=0.5)}, "optimizer was"),
        ({"optimizer": keras.optimizers.SGD(0.1)}, "optimizer's class was Adam"),
        ({"kl_schedule": 1.0}, "other KL weights"),
        ({"steps": 7}, "at step 8, beyond num_steps=7"),
    ):
        with pytest.raises(ValueError, match=text):
            resume = Checkpoint(tmp_path, resume=True)
            run(**{"steps": 20, **keywords}, checkpoint=resume)


def test_truncated_and_foreign_files_are_named(tmp_path):
    run(8, checkpoint=Checkpoint(tmp_path))
    path = tmp_path / "checkpoint.npz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:10], b"", b"hello" * 50):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="truncated, damaged or another kind"):
            run(8, checkpoint=Checkpoint(tmp_path, resume=True))
    flipped = bytearray(whole)
    flipped[whole.index(b"NUMPY") + 127] ^= 255  # the first byte of an array
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match="truncated, damaged|belongs to another"):
        run(8, checkpoint=Checkpoint(tmp_path, resume=True))
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ValueError, match="no checkpoint of elbo_tfp"):
        run(8, checkpoint=Checkpoint(tmp_path, resume=True))
    filing.write(path, "saved model", {}, {})
    with pytest.raises(ValueError, match="to be a checkpoint .*'saved model'"):
        run(8, checkpoint=Checkpoint(tmp_path, resume=True))


def test_a_full_disk_leaves_the_old_file_and_the_fit_goes_on(tmp_path, monkeypatch):
    run(8, checkpoint=Checkpoint(tmp_path))
    path = tmp_path / "checkpoint.npz"
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="step 12 could not be written.*No space"):
        result = run(12, checkpoint=Checkpoint(tmp_path, 12, resume=True))
    assert result.steps == 12
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_a_file_that_cannot_grow_leaves_the_old_one(tmp_path):
    path = tmp_path / "file.npz"
    filing.write(path, "saved model", {"a": 1}, {"x": np.arange(3)})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(OSError):
            filing.write(path, "saved model", {"a": 2}, {"x": np.arange(5000.0)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["file.npz"]


def test_files_return_what_they_got(tmp_path):
    path = tmp_path / "deep" / "file.npz"
    half = tf.constant([1.5, -2.0], tf.bfloat16).numpy()
    arrays = {"a": np.float64([[1.0, np.pi]]), "b/1": np.int64(7), "half": half}
    filing.write(path, "thing", {"n": [1, "two"]}, arrays)
    header, back = filing.read(path, "thing")
    assert header["n"] == [1, "two"]
    assert back.keys() == arrays.keys()
    for name in arrays:
        assert back[name].dtype == arrays[name].dtype
        np.testing.assert_array_equal(back[name], arrays[name])
    assert os.stat(path).st_mode & 0o400
    with pytest.raises(FileNotFoundError):
        filing.read(tmp_path / "none.npz", "thing")


def test_another_format_version_is_named(tmp_path, monkeypatch):
    path = tmp_path / "file.npz"
    monkeypatch.setattr(filing, "_VERSION", 2)
    filing.write(path, "thing", {}, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match="format version 2; .* reads 1"):
        filing.read(path, "thing")


def test_early_stopping_survives_a_resume(tmp_path):
    keywords = {
        "convergence_criterion": EarlyStopping(patience=2),
        "held_out": HoldOut(np.float32([[1.0, 1.0], [1.0, 1.2], [0.9, 1.0]]), 3),
        "kl_schedule": 0.0,
    }
    whole = run(60, **keywords)
    assert whole.converged and whole.steps < 60
    end = LOC.numpy()
    best = int(np.argmax(whole.held_out.elbo))
    assert whole.restored_step == whole.held_out.step[best]
    np.testing.assert_array_equal(end, whole.trace["loc"][whole.restored_step])
    run(whole.steps - 4, checkpoint=Checkpoint(tmp_path, 1), **keywords)
    resumed = run(60, checkpoint=Checkpoint(tmp_path, resume=True), **keywords)
    assert resumed.steps == whole.steps
    assert resumed.restored_step == whole.restored_step
    np.testing.assert_array_equal(LOC, end)
