"""A small sample of `make faults`: kills, broken places, changed files."""

import subprocess
import sys

import pytest

from benchmarks.faults import fuzz, places, readers, work
from tools.settings import ROOT


@pytest.mark.slow
def test_kills():
    parts = ["kill save", "kill compress", "kill fit"]
    command = [sys.executable, "-m", "benchmarks.faults", *parts, "--kills", "2"]
    done = subprocess.run(
        [*command, "--dry"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"kills": 2') == 3


@pytest.mark.parametrize("how", places.HOWS)
@pytest.mark.parametrize("make", [lambda: work.Saves(50_000), work.Codes])
def test_places_of_writers(make, how):
    found = places.of_writer(make(), how)
    if isinstance(found, str):
        pytest.skip(found)
    words = {"read-only": "Read-only", "full": "No space", "gone": "written"}
    assert words[how] in found["outcome"]


@pytest.mark.parametrize("how", places.HOWS)
def test_places_of_checkpoints(how):
    found = places.of_fit(how)
    if isinstance(found, str):
        pytest.skip(found)
    assert found["resumed to the bit"] and found["half files"] == 0


def test_changed_files():
    for found in (readers.saved_model(60), readers.checkpoint(60)):
        for tally in found.values():
            assert fuzz.sound(tally), tally


def test_a_wrong_content_is_counted():
    found = fuzz.tally(b"good" * 50, fuzz.changed_bytes, bytes, lambda _: False, 9, 0)
    assert found["outcomes"] == {"WRONG": 9} and not fuzz.sound(found)
