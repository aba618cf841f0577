"""The error rate that a report of genes states, and the one that it has.

    python -m benchmarks.differential_expression [--sets 6] [--out]

Data sets are simulated, so the true folds are known: those between the types' mean
shares, read in every batch. A count VAE is trained on each, much as in chapter
19. Ways to state how sure a gene is:

- pairs: draws of z of pairs of cells, one of each type;
- means: the mean over each type of the decoder's shares, a draw of z a cell and cells
  drawn with repeats;
- means, folds: the same, and how common each fold is learned from all genes;
- counted: means with the last word given to the counts, but no learned folds;
- groups: both, what the package does;
- counts: no model; shares of the summed counts with the error that they have over
  cells, and learned folds;
- counts, no folds.

Each is asked for several rates. Errors are standard errors over data sets; a rate is a
sum over the 15 pairs of types.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np

import elbo_tfp as et
from benchmarks import harness
from elbo_tfp import applications
from elbo_tfp.applications import expression
from elbo_tfp.applications.folds import prior, surest
from elbo_tfp.ground.seeds import split_seed

LEVELS = (0.01, 0.05, 0.1, 0.2)
DELTAS = (0.5, 1.0)
TYPES, GENES, BATCHES = 6, 300, 2


def trained(data, seed):
    """A count VAE, stopped on validation cells."""
    model, encoder = et.models.count_vae(GENES, 8, num_batches=BATCHES, seed=seed)
    order = np.random.default_rng(seed).permutation(len(data["x"]))
    parts = np.split(order, [int(0.75 * len(order)), int(0.825 * len(order))])
    rows, valid = ({k: v[i] for k, v in data.items()} for i in parts[:2])

    def bound(batch, seed):
        target = model.log_joint(batch)
        return et.gradients.reparameterized(target, encoder(batch), seed=seed)

    et.fit(
        bound,
        num_steps=800,
        data=rows,
        batch_size=50,
        seed=seed,
        optimizer=keras.optimizers.Adam(3e-3),
        progress=False,
        held_out=et.fitting.HoldOut(valid, 100),
        convergence_criterion=et.fitting.EarlyStopping(),
    )
    return model, encoder


def true_shares(cells):
    """A type's mean share of each gene over the batches, `[types, G]`."""
    found = np.zeros((TYPES, BATCHES, GENES))
    for kind, batch in np.ndindex(TYPES, BATCHES):
        one = np.flatnonzero((cells.type == kind) & (cells.batch == batch))[0]
        found[kind, batch] = cells.mean[one] / cells.mean[one].sum()
    return found.mean(1)


def means(model, q, num=200):
    """Draws of the mean of a group's decoded shares: its cells drawn with repeats."""
    z = q.sample(seed=0)
    every = [model.shares(z, batch).numpy() for batch in range(BATCHES)]
    shares, rng = np.mean(every, 0), np.random.default_rng(0)
    count = rng.multinomial(len(shares), np.full(len(shares), 1 / len(shares)), num)
    return np.log2(count @ shares / len(shares))


def counts_alone(data, num=500, seed=0):
    """Draws of log2 shares of a group's counts, each gene's error taken over cells."""
    found = []
    for batch in range(BATCHES):
        x = data["x"][data["batch"] == batch].astype(np.float64)
        total = x.sum()
        share = (x.sum(0) + 0.5) / (total + GENES / 2)
        # variance of a sum over cells, of what is beside the share; a count at least
        beside = x - x.sum(1, keepdims=True) * share
        variance = np.maximum((beside**2).sum(0), share * total)
        found.append((share, variance / total**2))
    share, variance = (
        np.mean([f[0] for f in found], 0),
        np.sum([f[1] for f in found], 0) / len(found) ** 2,
    )
    sd = np.sqrt(variance) / share / np.log(2)
    noise = np.random.default_rng(seed).standard_normal((num, len(share)))
    return np.log2(share) + sd * noise


def beyond(ratio, delta, folds):
    """Probability of each gene, from draws of its log2 ratio."""
    weight = prior(ratio, min(0.1, delta / 5)) if folds else np.ones_like(ratio)
    return np.average(np.abs(ratio) > delta, 0, weight)


def one_set(num, seed) -> tuple[list, dict]:
    """Rates of one data set: a row for each way, delta and level."""
    cells = et.data.simulated_cells(num, GENES, seed=seed)
    data = {"x": cells.x, "batch": cells.batch}
    model, encoder = trained(data, seed)
    mine = [{k: v[cells.type == t] for k, v in data.items()} for t in range(TYPES)]
    q, wanted = [encoder(each) for each in mine], np.log2(true_shares(cells))
    logs = [means(model, each) for each in q]
    alone = [counts_alone(each, seed=t) for t, each in enumerate(mine)]
    last = [
        [
            np.log2(expression._group(model, each, data, 500, part))
            for each, data in zip(q, mine, strict=True)
        ]
        for part in split_seed(0)
    ]
    sums = {}
    for a in range(TYPES):
        for b in range(a):
            for delta in DELTAS:
                real = np.abs(wanted[a] - wanted[b]) > delta
                ask = {"delta": delta, "num_pairs": 500, "seed": 0}
                both = {"cells": (mine[a], mine[b])}
                decoded, summed = logs[a] - logs[b], alone[a] - alone[b]
                counted = last[0][a] - last[1][b]
                ways = {
                    "pairs": applications.differential_expression(
                        model, q[a], q[b], **ask
                    ).probability,
                    "means": beyond(decoded, delta, False),
                    "means, folds": beyond(decoded, delta, True),
                    "counted": beyond(counted, delta, False),
                    "groups": applications.differential_expression(
                        model, q[a], q[b], **both, **ask
                    ).probability,
                    "counts": beyond(summed, delta, True),
                    "counts, no folds": beyond(summed, delta, False),
                }
                assert np.array_equal(ways["groups"], beyond(counted, delta, True))
                for way, p in ways.items():
                    for level in LEVELS:
                        chosen, stated = surest(p, level)
                        sums[way, delta, level] = sums.get((way, delta, level), 0) + (
                            np.array(
                                [
                                    chosen.sum(),
                                    stated * chosen.sum(),
                                    np.sum(chosen & ~real),
                                    np.sum(chosen & real),
                                    real.sum(),
                                ]
                            )
                        )
    rows = [
        (*key, v[1] / max(v[0], 1), v[2] / max(v[0], 1), v[3] / v[4])
        for key, v in sums.items()
    ]
    decoded = np.array([each.mean(0) for each in logs]) - wanted
    counted = np.log2([_pooled(each) for each in mine]) - wanted
    off = {
        name: float(np.sqrt(np.mean(e**2)))
        for name, e in (("decoder", decoded), ("counts", counted))
    }
    return rows, off


def _pooled(data):
    """Shares of the counts themselves, the mean over batches; half a count more."""
    each = [data["x"][data["batch"] == b].sum(0) + 0.5 for b in range(BATCHES)]
    return np.mean([total / total.sum() for total in each], 0)


def _measured(values) -> dict:
    values = np.asarray(values)
    error = values.std(ddof=1) / len(values) ** 0.5
    return {"mean": round(float(values.mean()), 4), "error": round(float(error), 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=6)
    parser.add_argument("--cells", type=int, nargs="+", default=[4_000, 1_000])
    parser.add_argument("--out", action="store_true", help="store the results")
    asked = parser.parse_args()
    found = []
    for num in asked.cells:
        sets = [one_set(num, seed) for seed in range(asked.sets)]
        off = {k: _measured([s[1][k] for s in sets]) for k in ("decoder", "counts")}
        rows = []
        for same in zip(*(s[0] for s in sets), strict=True):
            stated, wrong, power = (_measured([r[i] for r in same]) for i in (3, 4, 5))
            way, delta, level = same[0][:3]
            rows.append(
                {
                    "way": way,
                    "delta": delta,
                    "level": level,
                    "stated": stated,
                    "wrong": wrong,
                    "found": power,
                }
            )
            print(
                f"{num:5d} cells, {way:16} delta {delta}, asked {level:.2f}: stated"
                f" {stated['mean']:.4f}, wrong {wrong['mean']:.4f} +-"
                f" {wrong['error']:.4f}, found {power['mean']:.3f}",
                flush=True,
            )
        print(off, flush=True)
        found.append({"cells": num, "error of log2 shares": off, "rates": rows})
    if asked.out:
        what = "python -m benchmarks.differential_expression --out"
        environment = harness.environment() | {"versions": harness.versions()}
        content = {"what": what, **environment, "sets": asked.sets, "sizes": found}
        harness.save("differential_expression", content)


if __name__ == "__main__":
    main()
