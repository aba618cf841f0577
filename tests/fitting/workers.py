"""Run by test_devices.py as one of two workers, each a process of its own.

    python -m tests.fitting.workers FOLDER VICTIM [resume]

TF_CONFIG says which worker it is. It prints lines of JSON. The victim says when it may
be killed: at step 10 of a fit, while the other one waits for it.
"""

import json
import sys
import time

import tensorflow as tf

from tests.fitting.mirrored import (
    DATA,
    build,
    build_slope,
    everything,
    numbers,
    said,
)


def say(**what):
    print(json.dumps(what), flush=True)


def main(folder, victim, *resume):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    import elbo_tfp as et
    from elbo_tfp.fitting import Checkpoint

    me = strategy.cluster_resolver.task_id

    def pause(trace):
        say(ready=len(trace))
        time.sleep(100 if me == int(victim) else 0)
        return False

    pause.min_steps = 10
    asked = {"strategy": strategy, "shards": 4, "progress": False}
    endless = asked | {"num_steps": 1000, "convergence_criterion": pause}
    if resume:
        file = Checkpoint(folder, 6, resume=True)
        say(resumed=numbers(et.fit(build, **everything(checkpoint=file, **asked))))
        # one variable will do where only the workers matter
        small = {"data": DATA, "batch_size": 12}
        apart = asked | small | {"num_steps": 2, "seed": me}
        say(apart=said(lambda: et.fit(build_slope, **apart)))
        say(error=said(lambda: et.fit(build_slope, **endless, **small, seed=0)))
    else:
        endless |= {"checkpoint": Checkpoint(folder, 6)}
        say(error=said(lambda: et.fit(build, **everything(**endless))))


if __name__ == "__main__":
    main(*sys.argv[1:])
