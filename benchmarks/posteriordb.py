"""Eight posteriors of posteriordb: means and widths against long runs of Stan, and the
ELBO against NumPyro's for the same model, family, start, steps and draws a step.

    .venv/bin/python benchmarks/posteriordb.py [--only arK-arK ...] [--seeds 3] [--out]

Ours is `families.mean_field_for` or `full_rank_for` and `fit`; NumPyro's is SVI under
`AutoNormal` or `AutoMultivariateNormal`, once with positive parameters in the same
coordinates as ours, so that the families are equal, and once in its own. Adam's rate
falls along a cosine. Seconds are a first fit's, compiling included. Data and references
ship with the package (`data.posteriordb`), and so does the table
(`data.posteriordb_fits`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from benchmarks import harness  # noqa: E402
from benchmarks.posteriors import problem  # noqa: E402

KINDS = ("mean_field", "full_rank")
SHIPPED = HERE.parent / "elbo_tfp" / "data" / "posteriordb_fits.json"


def mean_and_error(fits) -> tuple[float, float]:
    """The mean ELBO of some fits; its error, of the draws and between the fits."""
    values, errors = (np.array([f[k] for f in fits]) for k in ("elbo", "elbo_error"))
    between = values.var(ddof=1) if len(fits) > 1 else 0.0
    return values.mean(), float(((errors**2).mean() + between) / len(fits)) ** 0.5


def against_reference(fit, reference) -> dict:
    """The worst mean, in posterior standard deviations, and the range of widths."""
    mean, stddev = np.array(reference["mean"]), np.array(reference["stddev"])
    off = (np.array(fit["mean"]) - mean) / stddev
    ratio = np.array(fit["stddev"]) / stddev
    worst = int(np.argmax(abs(off)))
    return {
        "mean_off": off[worst],
        "mean_off_at": reference["names"][worst],
        "mean_off_rms": float((off**2).mean() ** 0.5),
        "stddev_ratio": [ratio.min(), ratio.max()],
    }


def row(name, kind, fits, reference) -> dict:
    """One line of the table, of the fits of each library."""
    ours, same, own = (fits.get(who, []) for who in ("ours", "same", "own"))
    found = {"posterior": name, "family": kind, "parameters": len(reference["mean"])}
    found["fits"] = len(ours)
    found["steps"] = problem.length(problem.SETTINGS[name].steps)
    found["elbo"], found["elbo_error"] = mean_and_error(ours)
    found |= against_reference(ours[0], reference)
    found["seconds"] = ours[0]["seconds"]
    if same:
        theirs, error = mean_and_error(same)
        found |= {"numpyro_elbo": theirs, "numpyro_elbo_error": error}
        found["difference"] = found["elbo"] - theirs
        found["difference_error"] = float(np.hypot(found["elbo_error"], error))
        found["numpyro_seconds"] = same[0]["seconds"]
    if own:
        found["numpyro_own_elbo"] = mean_and_error(own)[0]
    return found


def measure(name, seeds) -> tuple[list, dict]:
    """All fits of one posterior: its rows, and the versions."""
    stored = json.loads(problem.STORED.read_text(encoding="utf-8"))
    reference, folder = stored["posteriors"][name], HERE / "posteriors"
    tasks = [f"{name}:{kind}:{seed}" for kind in KINDS for seed in range(seeds)]
    said, versions = harness.ask(harness.OURS, folder / "with_elbo_tfp.py", tasks)
    try:
        charts = [f"{task}:same" for task in tasks]
        charts += [f"{name}:{kind}:0:own" for kind in KINDS]
        more, others = harness.ask(harness.PEERS, folder / "with_numpyro.py", charts)
        said, versions = said + more, others | versions
    except RuntimeError as error:
        print(f"NumPyro is left out: {error} See benchmarks/requirements.txt.")
    fits = {kind: {} for kind in KINDS}
    for one in said:
        _, kind, _, *chart = one["task"].split(":")
        fits[kind].setdefault(chart[0] if chart else "ours", []).append(one)
    return [row(name, kind, fits[kind], reference) for kind in KINDS], versions


def table(rows) -> str:
    """The rows as aligned text."""
    lines = [
        f"{'posterior':42}{'family':11}{'ELBO':>21}{'- NumPyro':>16}"
        f"{'own':>9}{'mean':>7}{'widths':>12}{'s':>6}{'NumPyro':>8}"
    ]
    for r in rows:
        low, high = r["stddev_ratio"]
        text = f"{r['posterior']:42}{r['family']:11}"
        text += f"{r['elbo']:12.3f} +- {r['elbo_error']:.3f}"
        if "difference" in r:
            text += f"{r['difference']:8.3f} +- {r['difference_error']:.3f}"
            text += f"{r['elbo'] - r['numpyro_own_elbo']:8.2f}"
        text += f"{r['mean_off']:8.2f}{low:6.2f} {high:5.2f}{r['seconds']:6.1f}"
        lines.append(text + f"{r.get('numpyro_seconds', float('nan')):7.1f}")
    return "\n".join(lines)


def store(rows, environment) -> Path:
    """Merges the rows into the stored table; a copy ships with the package."""
    path = HERE / "results" / "posteriordb.json"
    old = json.loads(path.read_text("utf-8"))["rows"] if path.exists() else []
    fresh = {r["posterior"] for r in rows}
    both = [r for r in old if r["posterior"] not in fresh] + rows
    both = [r for r in both if r["posterior"] in problem.SETTINGS]
    both.sort(key=lambda r: list(problem.SETTINGS).index(r["posterior"]))
    content = {"environment": environment, "draws_a_step": problem.SAMPLES}
    path = harness.save("posteriordb", content | {"rows": both})
    shutil.copy(path, SHIPPED)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(problem.SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", action="store_true", help="store the results")
    asked = parser.parse_args()
    rows, versions = [], {}
    for name in asked.only or problem.SETTINGS:
        some, versions = measure(name, asked.seeds)
        rows += some
        print(f"{name}: {len(rows)} rows", flush=True)
        if asked.out:
            found = harness.environment()
            store(some, found | {"versions": versions})
    print(table(rows))


if __name__ == "__main__":
    main()
