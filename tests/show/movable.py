"""The numbers of a movable figure at several positions, in both of its languages."""

import json
import shutil
import subprocess

import pytest


def in_python(figure, positions):
    """As Python computes them, for the first state."""
    return [figure.values(**position) for position in positions]


def in_javascript(figure, positions):
    """As a browser computes them; skipped where there is no node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    code = f"{json.dumps(positions)}.map({figure.script()})"
    command = [node, "-e", f"console.log(JSON.stringify({code}))"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)
