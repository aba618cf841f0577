"""The benchmarks' arithmetic: what is set apart, what is a ratio, what is shuffled."""

import json

import numpy as np
import pytest

from benchmarks import harness
from benchmarks.steps import problem


def runs(*seconds, steps=10, cpu=1.0):
    return [harness.Run(steps, s, cpu * s, -1.0) for s in seconds]


def test_first_run_is_set_apart():
    found = harness.summarize({"ours": runs(9.0, 1.0, 3.0, 2.0)}, "ours")[0]
    assert found.first == 9.0 - 2.0
    assert (found.median, found.best) == pytest.approx((2e5, 1e5))
    assert (found.ratio, found.best_ratio) == (1.0, 1.0)


def test_ratios_are_paired_within_rounds():
    # the machine slows threefold in the second round: the ratio does not move
    both = {"ours": runs(5.0, 1.0, 3.0), "theirs": runs(5.0, 2.0, 6.0, cpu=2.0)}
    ours, theirs = harness.summarize(both, "ours")
    assert (ours.name, theirs.name) == ("ours", "theirs")
    assert theirs.ratio == pytest.approx(2.0)
    assert theirs.cpu == pytest.approx(2 * theirs.median)


def test_steps_count():
    both = {"ours": runs(0.0, 1.0, steps=100), "theirs": runs(0.0, 1.0, steps=10)}
    assert harness.summarize(both, "ours")[1].ratio == pytest.approx(10.0)


def test_unequal_rounds_are_refused():
    with pytest.raises(ValueError, match="argument 2"):
        harness.summarize({"a": runs(1, 1, 1), "b": runs(1, 1)}, "a")


class Fake:
    def __init__(self, name, log, dies_at=99):
        self.name, self.log, self.dies_at = name, log, dies_at

    def run(self):
        if self.log.count(self.name) == self.dies_at:
            raise RuntimeError("gone")
        self.log.append(self.name)
        return harness.Run(1, 1.0, 1.0, 0.0)


def test_workers_take_turns_and_a_dead_one_is_left_out():
    log, said = [], []
    workers = [Fake("a", log), Fake("b", log, dies_at=1), Fake("c", log)]
    found = harness.interleave(workers, 2, said.append)
    assert log == ["a", "b", "c", "a", "c", "a", "c"]
    assert {name: len(done) for name, done in found.items()} == {"a": 3, "c": 3}
    assert any("left out: b" in line for line in said)


def test_a_worker_process_answers_when_asked(tmp_path):
    script = tmp_path / "quick.py"
    script.write_text("from harness import serve\nserve(lambda: (4, [1., 2., 3., 4.]))")
    worker = harness.Worker("quick", harness.sys.executable, script, threads=1)
    try:
        assert "python" in worker.versions
        run = worker.run()
    finally:
        worker.close()
    # the mean of the last half
    assert (run.steps, run.elbo) == (4, 3.5)
    assert 0 <= run.seconds < 5


def test_a_script_that_fails_is_an_error(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="broken stopped"):
        harness.Worker("broken", harness.sys.executable, script)


def test_the_same_threads_for_all():
    found = harness._environment(2, 5)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    assert {found[name] for name in names} == {"2"}
    assert found["BENCH_LENGTH"] == "5"


def test_table_environment_and_json(tmp_path, monkeypatch):
    text = harness.table(harness.summarize({"ours": runs(2.0, 1.0)}, "ours"))
    assert len(text.splitlines()) == 2
    found = harness.environment()
    assert found["cores"] >= 1
    assert found["date"] in harness.describe(found)
    monkeypatch.setattr(harness, "HERE", tmp_path)
    path = harness.save("some", {"environment": found})
    assert json.loads(path.read_text()) == {"environment": found}


def test_every_epoch_has_its_own_order():
    size = problem.SIZES["small"]
    per_epoch = size.num_data // size.batch
    order = problem.rows(np.random.default_rng(0), size, 2 * per_epoch)
    assert order.shape == (2 * per_epoch, size.batch)
    first, second = order[:per_epoch].ravel(), order[per_epoch:].ravel()
    assert (np.sort(first) == np.arange(size.num_data)).all()
    assert (np.sort(second) == np.arange(size.num_data)).all()
    assert not (first == second).all()


def test_batches_fill_epochs():
    for size in problem.SIZES.values():
        assert size.num_data % size.batch == 0
        assert size.steps * size.batch == size.epochs * size.num_data


def test_two_lengths_tell_steps_from_what_a_call_costs():
    # 3 s a call, 2 s a step; the first run compiles
    short = [harness.Run(10, s, s, -1.0) for s in (99.0, 23.0, 23.0)]
    long = [harness.Run(50, s, s, -2.0) for s in (199.0, 103.0, 103.0)]
    found = harness.beyond(short, long)
    assert found[0] == short[0]
    assert found[1:] == [harness.Run(40, 80.0, 80.0, -2.0, 3.0)] * 2
    summary = harness.summarize({"a": found}, "a")[0]
    assert (summary.median, summary.call, summary.first) == (2e6, 3e3, 79.0)


def test_a_script_is_asked_and_its_chatter_not_heard(tmp_path):
    script = tmp_path / "asked.py"
    script.write_text(
        "import sys\nfrom harness import say\nprint('chatter')\n"
        "say({'n': int(sys.argv[1])})\nsay({'versions': {'a': '1'}})"
    )
    found = harness.ask(harness.sys.executable, script, [7])
    assert found == ([{"n": 7}], {"a": "1"})
    script.write_text("raise OSError('the reason')")
    with pytest.raises(RuntimeError, match="asked.py failed: OSError: the reason"):
        harness.ask(harness.sys.executable, script)
    with pytest.raises(RuntimeError, match="/no/python cannot be run"):
        harness.ask("/no/python", script)
