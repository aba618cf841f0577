"""Kills, broken folders and changed files over the whole package: one command.

    make faults, or python -m benchmarks.faults [PART ...] [--kills 34] [--files 10000]

Parts that are run replace their lines in `benchmarks/results/faults.json`.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks import harness
from benchmarks.faults import kills, places, readers, work

PARTS = {
    "kill fit": lambda given: kills.of_fit(given.kills),
    "kill save": lambda given: kills.of_writer(work.Saves, given.kills),
    "kill compress": lambda given: kills.of_writer(work.Codes, given.kills),
    "places": lambda given: places.every(),
    "fuzz saved model": lambda given: readers.saved_model(given.files),
    "fuzz checkpoint": lambda given: readers.checkpoint(given.files),
    "fuzz compressed": lambda given: readers.compressed(given.files),
}


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--kills", type=int, default=34)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--dry", action="store_true", help="store nothing")
    given = parser.parse_args(arguments)
    path = harness.HERE / "results" / "faults.json"
    stored = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    for name in given.parts or PARTS:
        found = stored["parts"][name] = in_child(name, given)
        print(f"{name}: {json.dumps(found, indent=1)}", flush=True)
        if not given.dry:
            place = harness.environment() | {"versions": harness.versions()}
            harness.save("faults", stored | {"environment": place})
    return int(any("FAILED" in found for found in stored["parts"].values()))


def in_child(name, given) -> dict:
    """A part in a process of its own: only there may TensorFlow run."""

    def task(say):
        say(json.dumps(PARTS[name](given)))

    part = kills.Victim(task)
    status = part.wait()
    text = part.said.decode().strip()
    return json.loads(text) if status == 0 else {"FAILED": f"exit {status}"}


if __name__ == "__main__":
    sys.exit(main())
