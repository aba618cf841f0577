"""The house as drawn: arrows run one way, imports are cheap, no device is started."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "elbo_tfp"
FILES = sorted(HOUSE.rglob("*.py"))

WAIST = {"types", "ground", "targets", "draws"}
FLOOR = {"types", "ground", "distributions"}
# room: what it may import from the package; a room may come later than this table
ARROWS = {
    "types": set(),
    "ground": {"types"},
    "distributions": {"types", "ground"},
    "targets": {"types", "ground"},
    "draws": {"types", "ground", "targets"},
    "filtering": WAIST,
    "families": FLOOR,
    "models": FLOOR | {"families"},
    "convex": {"types", "ground"},
    "bounds": WAIST | {"convex"},
    "gradients": WAIST | {"bounds", "models", "families"},
    "marginals": FLOOR | {"models", "families"},
    "fitting": {"types", "ground"},
    "evidence": WAIST | {"distributions", "bounds", "models", "families"},
    "codes": WAIST | {"distributions", "bounds", "models", "families"},
    "data": {"ground"},
    "show": set(),
}
ARROWS["gaps"] = ARROWS["evidence"] | {"gradients", "marginals", "fitting", "evidence"}
ARROWS["applications"] = ARROWS["gaps"] | {"gaps", "convex"}
ARROWS["audit"] = ARROWS["applications"] | {"applications", "codes"}
FREE = {"__init__"}
LIGHT = {"numpy", "tensorflow", "tensorflow_probability"}


def room_of(path):
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def modules_in(node):
    """The modules that one import statement names, in full."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imports(source, everywhere=True):
    tree = ast.parse(source)
    nodes = ast.walk(tree) if everywhere else tree.body
    return [name for node in nodes for name in modules_in(node)]


def faults(room, source):
    """The arrows of one file that run the wrong way, as (from, to)."""
    rooms = [name.split(".") for name in imports(source)]
    found = {parts[1] for parts in rooms if parts[0] == "elbo_tfp"}
    return sorted((room, other) for other in found - {room} - ARROWS[room])


def test_every_room_has_its_arrows():
    rooms = {room_of(path) for path in FILES} - FREE
    assert rooms <= set(ARROWS), f"name the arrows of {rooms - set(ARROWS)} above"
    assert {"types", "draws", "bounds", "gradients", "models", "families"} <= rooms


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if room_of(p) not in FREE],
    ids=lambda p: str(p.relative_to(HOUSE)),
)
def test_arrows_run_one_way(path):
    assert not faults(room_of(path), path.read_text())


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("types", "from elbo_tfp import draws"),
        ("draws", "from elbo_tfp.bounds import elbo"),
        ("bounds", "import elbo_tfp.models"),
        ("bounds", "from elbo_tfp.families import Encoder"),
        ("gradients", "from elbo_tfp.fitting import fit"),
        ("codes", "from elbo_tfp import gradients"),
        ("show", "def f():\n    from elbo_tfp.types import Draws"),
        ("ground", "from elbo_tfp.families import Family"),
        ("fitting", "from elbo_tfp.gradients import reparameterized"),
        ("evidence", "from elbo_tfp.gaps import refine"),
        ("evidence", "from elbo_tfp.fitting import fit"),
        ("gaps", "from elbo_tfp.codes import code_length"),
        ("data", "import elbo_tfp"),
    ],
)
def test_a_wrong_arrow_is_seen(room, line):
    if line == "import elbo_tfp":
        with pytest.raises(IndexError):
            faults(room, line)
    else:
        assert faults(room, line)
    assert not faults("gradients", "from elbo_tfp.models import LatentVariableModel")


def test_arrows_make_no_circle():
    seen = set()
    while len(seen) < len(ARROWS):
        ready = {room for room, others in ARROWS.items() if others <= seen} - seen
        assert ready, f"a circle among {set(ARROWS) - seen}"
        seen |= ready


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_imports_are_light_and_known(path):
    source = path.read_text()
    everywhere = {name.split(".")[0] for name in imports(source)}
    assert not everywhere & {"book", "tests", "tools", "benchmarks", "conftest"}
    if room_of(path) != "show":
        assert "matplotlib" not in everywhere, "only show draws"
    top = {name.split(".")[0] for name in imports(source, everywhere=False)}
    heavy = top - LIGHT - {"elbo_tfp"} - sys.stdlib_module_names
    assert not heavy, f"import {heavy} inside the function that needs it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_autograph_can_read_every_function(path):
    """An assignment expression makes tf.function warn and run the code unconverted."""
    walruses = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.NamedExpr)
    ]
    assert not walruses, f"no := in lines {walruses}"


PROBE = """
import json, sys, time
import tensorflow as tf
import tensorflow_probability as tfp
tfp.distributions.Normal, tfp.bijectors.Softplus, tfp.math.softplus_inverse
from tensorflow.python.eager import context
before = set(sys.modules)
wall, start = time.perf_counter(), time.process_time()
import elbo_tfp
seconds = min(time.process_time() - start, time.perf_counter() - wall)
new = {name.split(".")[0] for name in set(sys.modules) - before}
started = context.context()._context_handle is not None
tf.constant(0.0)
works = context.context()._context_handle is not None
print(json.dumps([seconds, sorted(new), started, works]))
"""


def test_importing_is_cheap_and_starts_no_device():
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, cwd=HOUSE.parent
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    seconds, new, started, works = json.loads(done.stdout.splitlines()[-1])
    assert seconds < 1, f"import elbo_tfp takes {seconds:.2f} s beyond TFP"
    assert not set(new) & {"matplotlib", "sklearn", "keras", "pandas", "constriction"}
    assert works and not started, "importing ran an operation"


def code_lines(source):
    """Lines that are neither empty nor a comment nor part of a docstring."""
    said = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            said |= set(range(node.lineno, node.end_lineno + 1))
    lines = [line.strip() for line in source.splitlines()]
    return sum(
        bool(line) and line[0] != "#" and number not in said
        for number, line in enumerate(lines, 1)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_a_module_of_more_than_two_pages_says_why(path):
    source = path.read_text()
    why = ast.get_docstring(ast.parse(source)) or ""
    assert code_lines(source) <= 150 or "longer than most modules" in why


def test_lines_of_code_are_counted():
    lines = ['"""Says', 'this."""', "", "# why", "x = 1", "def f():", '    """And."""']
    assert code_lines("\n".join([*lines, "    return x"])) == 3
