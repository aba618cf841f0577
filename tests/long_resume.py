"""Fifty kills: nothing saved is lost, every resumed run ends bit-identical.

Run it by hand: `python -m tests.long_resume [number of kills]`. A fit is killed with
SIGKILL at a uniformly random moment after its first checkpoint of that start, started
again, and so on; in the end it is resumed and compared, bit by bit, with a fit that
nobody disturbed.
"""

import sys
import tempfile

import numpy as np

from elbo_tfp.fitting import Checkpoint, HoldOut
from elbo_tfp.ground import files
from tests.fitting.test_checkpoint import DATA, assert_same, kill_until_done, run


def main(kills: int = 50) -> None:
    delays = np.random.default_rng(0).uniform(0.0, 0.3, kills)
    per_call = np.random.default_rng(1).integers(1, 60, kills)
    steps, saved = 10**6, 0
    with tempfile.TemporaryDirectory() as folder:
        for i, (delay, size) in enumerate(zip(delays, per_call, strict=True)):
            if kill_until_done(folder, steps, [delay], int(size)) != 1:
                raise AssertionError(f"start {i} was not killed")
            header, arrays = files.read(f"{folder}/checkpoint.npz", "checkpoint")
            if header["step"] < saved or header["step"] % 50:
                raise AssertionError(f"{saved} steps saved, then {header['step']}")
            saved = header["step"]
            print(f"kill {i + 1}: {saved} steps are safe", flush=True)
        total = saved + 75
        resumed = run(
            total,
            checkpoint=Checkpoint(folder, resume=True),
            held_out=HoldOut(DATA[:3], 100),
        )
    assert_same(run(total, held_out=HoldOut(DATA[:3], 100)), resumed)
    print(f"{kills} kills, {total} steps: identical to the bit")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
