"""Run by test_devices.py in a process of its own, with two logical processors.

It prints one line of JSON: what came of each fit and of each fault.
"""

import contextlib
import json
import os
import shutil
import sys
import warnings

import keras
import numpy as np
import tensorflow as tf

warnings.simplefilter("ignore")
DATA = np.random.default_rng(0).normal(1.0, 1.0, [30, 3]).astype(np.float32)


def build(keep=None):
    import elbo_tfp as et

    vae = et.models.vae(3, 1, hidden=(), likelihood="gaussian", seed=0)
    if keep is not None:
        keep["vae"] = vae

    def objective(batch, seed, kl_weight):
        target, q = vae.model.log_joint(batch), vae.encoder(batch)
        return et.gradients.reparameterized(target, q, seed=seed, kl_weight=kl_weight)

    return objective


def plain(batch, seed):
    """Without a variable: enough for faults that are found before."""
    return batch[:, 0]


def norm(traceable):
    return tf.linalg.global_norm(list(traceable.gradients))


def everything(**more):
    """Keywords of a fit that uses all that `fit` has."""
    from elbo_tfp.fitting import HoldOut, KLSchedule

    # a sum over replicas in place of a mean moves SGD, not Adam
    optimizer = keras.optimizers.SGD(
        0.05, momentum=0.9, weight_decay=0.01, global_clipnorm=0.5
    )
    keywords = {
        "num_steps": 12,
        "data": DATA,
        "batch_size": 12,
        "seed": 3,
        "optimizer": optimizer,
        "kl_schedule": KLSchedule.linear(8),
        "held_out": HoldOut(DATA[:7], 4),
        "trace_fn": norm,
    }
    return keywords | more


def numbers(result):
    """What two fits are compared by."""
    found = {
        "elbo": result.elbo,
        "standard_error": result.standard_error,
        "trace": result.trace,
        "held_out": result.held_out.elbo,
        "kl_weight": result.kl_weight,
        "variables": np.concatenate([v.numpy().ravel() for v in result.variables]),
    }
    return {name: np.asarray(part).tolist() for name, part in found.items()}


def said(function):
    """The kind and the text of an error."""
    try:
        function()
    except Exception as error:
        return [type(error).__name__, str(error)]
    return ["nothing", ""]


def devices():
    processor = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, two)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def faults(strategy, outside):
    """Each fault's error."""
    import elbo_tfp as et

    scale = keras.layers.BatchNormalization()

    def moving():
        scale.build([None, 3])
        return lambda batch: scale(batch, training=True)[:, 0]

    def late():
        layer = keras.layers.Dense(1)
        return lambda batch: layer(batch)[:, 0]

    def attempt(make=lambda: plain, **more):
        keywords = {"num_steps": 2, "data": DATA, "seed": 0, "strategy": strategy}
        return lambda: et.fit(make, **{**keywords, **more})

    class Own(keras.optimizers.SGD):
        pass

    cases = {
        "outside": attempt(lambda: lambda batch: outside * batch[:, 0]),
        "late": attempt(late),
        "moving": attempt(moving),
        "no build": attempt(plain),
        "no objective": attempt(lambda: None),
        "shards": attempt(shards=3),
        "batch": attempt(batch_size=7),
        "rows": attempt(data=DATA[:29]),
        "kind": attempt(strategy=tf.distribute.get_strategy()),
        "own optimizer": attempt(build_slope, optimizer=Own(0.1)),
    }
    return {name: said(case) for name, case in cases.items()}


@contextlib.contextmanager
def kept_at(step, folder):
    """A copy of the checkpoint of this step, as if the process had ended then."""
    from elbo_tfp.ground import files

    write = files.write

    def copied(path, kind, header, arrays):
        write(path, kind, header, arrays)
        if header["step"] == step:
            shutil.copytree(os.path.dirname(path), folder)

    files.write = copied
    try:
        yield
    finally:
        files.write = write


def build_slope():
    v = tf.Variable(0.0, name="slope")
    return lambda batch: v * batch[:, 0]


def build_pole():
    """Not finite from step 3 on."""
    v = tf.Variable(0.0, name="height")
    return lambda step: v + tf.math.log(2.5 - tf.cast(step, tf.float32))


def main(folder):
    strategy = devices()
    import elbo_tfp as et
    from elbo_tfp.fitting import Checkpoint, NonFiniteError

    outside = tf.Variable(1.0, name="outside")
    out, keep = {}, {}
    out["alone"] = numbers(et.fit(build(), **everything(shards=4)))
    asked = {"strategy": strategy, "shards": 4}
    with kept_at(6, f"{folder}/half"):
        file = Checkpoint(f"{folder}/whole", 6)
        several = et.fit(lambda: build(keep), **everything(checkpoint=file, **asked))
    assert os.listdir(f"{folder}/half")
    out["several"] = numbers(several)
    copies = [strategy.experimental_local_results(v) for v in several.variables]
    apart = [np.abs(a.numpy() - b.numpy()).max() for a, b in copies]
    out["copies apart"] = float(max(apart))
    # saved on two devices, loaded on one and back
    vae, path = keep["vae"], f"{folder}/vae.npz"
    et.save(path, model=vae.model, encoder=vae.encoder, x=DATA[:4])
    one = et.models.vae(3, 1, hidden=(), likelihood="gaussian", seed=1)
    et.load(path, model=one.model, encoder=one.encoder)
    out["loaded"] = float(one.encoder(DATA[:4]).mean().numpy().sum())
    out["saved"] = float(vae.encoder(DATA[:4]).mean().numpy().sum())
    for v in several.variables:
        v.assign(tf.zeros_like(v))
    et.load(path, model=vae.model, encoder=vae.encoder)
    copies = [strategy.experimental_local_results(v) for v in several.variables]
    out["loaded copies"] = [
        float(sum(abs(c[r].numpy()).sum() for c in copies)) for r in (0, 1)
    ]
    # from what a fit leaves that is killed half-way
    resume = Checkpoint(f"{folder}/half", 6, resume=True)
    again = et.fit(build, **everything(checkpoint=resume, **asked))
    out["resumed"] = numbers(again)
    try:
        et.fit(build_pole, num_steps=8, seed=0, strategy=strategy)
    except NonFiniteError as error:
        out["not finite"] = [error.step, error.result.steps, str(error)]
    out["faults"] = faults(strategy, outside)
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}  # never connected
    task = {"type": "worker", "index": 0}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    late = {"num_steps": 2, "strategy": tf.distribute.MultiWorkerMirroredStrategy}
    out["too late"] = said(lambda: et.fit(build_slope, **late))
    print(json.dumps(out))


if __name__ == "__main__":
    main(sys.argv[1])
