"""The programs to export: fits' chunks of steps, and estimators.

    python benchmarks/gpu/programs.py FOLDER [--dry] [name ...]

writes name.mlir and name.npz of each. With `--dry` no program runs: its outputs are
not known then, and a fit's chunk has no step in it.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "steps"), str(HERE.parent)]

import export  # noqa: E402
import keras  # noqa: E402
import problem as p  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_probability as tfp  # noqa: E402
import with_elbo_tfp as steps  # noqa: E402

import elbo_tfp as et  # noqa: E402
from elbo_tfp.fitting.run import steps_per_call  # noqa: E402
from elbo_tfp.ground import compiled  # noqa: E402

tfd = tfp.distributions
STEPS = 10
"""Steps whose numbers are compared."""
WEIGHTS = 512
"""Importance weights per datum."""


def fit_of(objective, rate, **options):
    """One chunk of a fit."""
    with steps_per_call(STEPS):
        et.fit(objective, num_steps=STEPS, seed=0, progress=False,
               optimizer=keras.optimizers.Adam(rate), **options)  # fmt: skip


def vae(name):
    objective, x = steps.vae_objective(name)
    fit_of(objective, p.RATE_VAE, data=x, batch_size=p.SIZES[name].batch)


def schools():
    fit_of(steps.schools_objective(""), p.RATE_SCHOOLS)


def flow():
    """Eight schools with a spline flow for q."""
    q = et.families.flow(10, seed=0)

    def objective(seed):
        return et.gradients.sticking_the_landing(
            steps.log_joint, q, sample_size=p.SAMPLES, seed=seed
        )

    fit_of(objective, p.RATE_SCHOOLS)


def digits():
    """A VAE that nobody trained, and a hundred images that it made."""
    model, encoder = et.models.vae(64, 2, hidden=[64], seed=0)
    return model, encoder, model.sample(100, seed=0)[1]


def evidence():
    model, encoder, x = digits()
    with warnings.catch_warnings(action="ignore"):  # its weights are poor
        et.evidence.estimate(model, x, surrogate_posterior=encoder(x),
                             sample_size=WEIGHTS, seed=0)  # fmt: skip


def refine():
    model, encoder, x = digits()
    et.gaps.refine(encoder, model, x, num_steps=50, max_rounds=1, seed=0,
                   evaluation_size=100)  # fmt: skip


def kalman():
    """The exact evidence of the Nile under a drifting level, and its gradient."""
    y = et.data.nile(dtype="float64").y

    one, drift, noise = (tf.Variable(v, dtype=tf.float64) for v in (1, 38.3, 122.9))
    model = et.LatentVariableModel(
        lambda: tfd.MarkovChain(
            tfd.Normal(1000 * one, 300 * one), lambda t, z: tfd.Normal(z, drift), 100
        ),
        lambda z: tfd.Independent(tfd.Normal(z, noise), 1),
    )
    exact = et.marginals.kalman(model)

    def slope():
        with tf.GradientTape() as tape:
            value = exact.log_evidence(y)
        return value, tape.gradient(value, (drift, noise))

    compiled.compiled(slope)()


PROGRAMS = {
    **{name: functools.partial(vae, name) for name in ("small", "large", "big")},
    **{f.__name__: f for f in (schools, flow, evidence, refine, kalman)},
}


def exported(name, dry=False) -> export.Exported:
    """The longest program of a call: its work, not its preparation."""
    found = export.record(PROGRAMS[name], dry)
    return max(found, key=lambda program: len(program.text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--dry", action="store_true")
    asked = parser.parse_args()
    for name in asked.names or PROGRAMS:
        export.save(exported(name, asked.dry), asked.folder / name)
        print(name, flush=True)


if __name__ == "__main__":
    main()
