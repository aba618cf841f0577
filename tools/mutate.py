"""Do the tests notice when the code is wrong? Mutation testing by forking.

    python -m tools.mutate elbo_tfp/draws.py elbo_tfp/targets.py -- tests/test_draws.py

Every mutant is one small change of the syntax tree: another comparison, sign, constant
or connective, a condition turned around, a statement left out, `return None`. Each
runs in a child process forked after TensorFlow was imported, with the tests that
reach its line only, quickest first, until one fails. A mutant that survives them meets
the other tests of their files too: a line that is traced once, or run by a fixture,
counts as reached by the first test only. Survivors are printed.

TensorFlow must not have run an operation before the fork (its threads would be
missing in the child), so test modules are collected in the child.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from pathlib import Path

OPPOSITE = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Mod: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def changes(node):
    """The mutations of one node: (what, function that makes a replacement)."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in OPPOSITE:
                yield _swap(node, op, lambda n, new, i=i: n.ops.__setitem__(i, new))
    joins = isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp))
    if joins and type(node.op) in OPPOSITE:
        yield _swap(node, node.op, lambda n, new: setattr(n, "op", new))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield f"drop {type(node.op).__name__}", lambda n: n.operand
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield "turn the condition around", _negated
    if isinstance(node, ast.Constant):
        yield from _constants(node)
    if (
        isinstance(node, ast.Return)
        and getattr(node.value, "value", node.value) is not None
    ):
        yield "return None", lambda n: ast.Return(ast.Constant(None))
    plain = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    if plain or isinstance(node, (ast.Raise, ast.AugAssign)):
        yield f"leave out {type(node).__name__.lower()}", lambda n: ast.Pass()


def _swap(node, op, put):
    new = OPPOSITE[type(op)]

    def make(n):
        put(n, new())
        return n

    return f"{type(op).__name__} -> {new.__name__}", make


def _negated(node):
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node


def _constants(node):
    value = node.value
    if isinstance(value, bool):
        yield f"{value} -> {not value}", lambda n: ast.Constant(not n.value)
    elif isinstance(value, (int, float)):
        yield f"{value} -> {value + 1}", lambda n: ast.Constant(n.value + 1)


def mutants(tree):
    """(line, what, mutated tree) for every change worth making."""
    for path in _places(tree, ()):
        for what, make in changes(_at(tree, path)):
            other = copy.deepcopy(tree)
            node = _at(other, path)
            new = ast.copy_location(make(node), node)
            _put(other, path, new)
            yield node.lineno, what, ast.fix_missing_locations(other)


def _places(node, path):
    """Paths to all nodes but annotations, decorators and the texts of errors."""
    if hasattr(node, "lineno"):
        yield path
    if isinstance(node, ast.Raise):
        return
    skipped = {"annotation", "returns", "decorator_list"}
    for field, value in ast.iter_fields(node):
        if field in skipped or isinstance(node, ast.JoinedStr):
            continue
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                step = (field, i) if isinstance(value, list) else (field, None)
                yield from _places(child, (*path, step))


def _at(node, path):
    for field, i in path:
        node = getattr(node, field) if i is None else getattr(node, field)[i]
    return node


def _put(tree, path, new):
    parent, (field, i) = _at(tree, path[:-1]), path[-1]
    if i is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[i] = new


# running


class Mutated(importlib.machinery.SourceFileLoader):
    """Loads a module from a tree instead of its file."""

    tree: ast.Module

    def get_code(self, fullname):
        """The compiled tree."""
        return compile(self.tree, self.path, "exec")


class Finder:
    """Finds the one module that is mutated."""

    def __init__(self, source, tree):
        self.name = ".".join(Path(source).with_suffix("").parts)
        self.name = self.name.removesuffix(".__init__")
        self.loader = Mutated(self.name, str(Path(source).resolve()))
        self.loader.tree = tree

    def find_spec(self, name, path=None, target=None):
        """The specification of that module, None for others."""
        if name == self.name:
            return importlib.util.spec_from_file_location(
                name, self.loader.path, loader=self.loader
            )
        return None


class Reach:
    """A pytest plugin: which lines each test reaches, and how long it takes."""

    def __init__(self, sources):
        import coverage

        self.cover = coverage.Coverage(
            include=sources, data_file=None, config_file=False
        )
        self.seconds = {}

    def pytest_runtest_logstart(self, nodeid):
        """Opens the context of one test."""
        self.cover.switch_context(nodeid)

    def pytest_runtest_logreport(self, report):
        """Adds up set-up, call and tear-down."""
        took = self.seconds.get(report.nodeid, 0)
        self.seconds[report.nodeid] = took + report.duration

    def lines(self):
        """Source -> line -> tests; "" stands for the import."""
        data, found = self.cover.get_data(), {}
        for source in data.measured_files():
            found[source] = data.contexts_by_lineno(source)
        return found


class Only:
    """A pytest plugin: some tests only, quickest first."""

    def __init__(self, seconds):
        self.seconds = seconds

    def pytest_collection_modifyitems(self, items):
        """Keeps and sorts."""
        items[:] = [item for item in items if item.nodeid in self.seconds]
        items.sort(key=lambda item: self.seconds[item.nodeid])


def in_child(work, limit):
    """Runs `work() -> exit code` in a forked child; the code, or None at the limit."""
    sys.stdout.flush()
    errors = os.fdopen(os.dup(2), "w")
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            code = int(work())
        except BaseException:
            print(traceback.format_exc()[-2_000:], file=errors, flush=True)
            code = 3
        os._exit(code)
    errors.close()
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


QUIET = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no"]
QUIET += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]


def measure(sources, tests, store):
    """Runs all tests once, unmutated; writes lines and seconds to `store`."""
    import pytest

    reach = Reach([str(Path(source).resolve()) for source in sources])
    reach.cover.start()
    code = pytest.main([*QUIET, *tests], plugins=[reach])
    reach.cover.stop()
    store.write_text(json.dumps([reach.lines(), reach.seconds]))
    return code


def judge(source, tree, seconds):
    """Runs the tests named in `seconds` against one mutant; 0 if it survives."""
    import pytest

    sys.meta_path.insert(0, Finder(source, tree))
    files = sorted({nodeid.split("::")[0] for nodeid in seconds})
    return pytest.main([*QUIET, *files], plugins=[Only(seconds)])


def warm_up():
    """Imports what is slow to import and starts no thread."""
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import tensorflow_probability as tfp
    from tensorflow.python.eager import context

    _ = tfp.distributions.Normal, tfp.bijectors.Exp, tfp.experimental.vi
    if context.context()._context_handle is not None:
        raise SystemExit("TensorFlow has run an operation: a fork would hang.")
    gc.collect()
    gc.freeze()  # what was imported is never garbage


def main():
    """Measures, mutates, judges and prints the score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", help="modules to mutate, then --")
    parser.add_argument("--sample", type=int, help="judge a random sample of this size")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--limit", type=float, default=120, help="seconds per mutant")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, tests = parser.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "reach.json"
        code = in_child(lambda: measure(options.sources, tests, store), 3_600)
        if code:
            raise SystemExit(
                f"the tests must pass before code is mutated (exit {code})"
            )
        lines, seconds = json.loads(store.read_text())
    report(options, lines, seconds)


def _outcome(source, tree, tests, limit):
    """The exit code of these tests against one mutant; None if it takes too long."""
    if not tests:
        return 0
    limit = max(limit, 3 * sum(tests.values()))
    return in_child(lambda: judge(source, tree, tests), limit)


def _beside(chosen, seconds):
    """The other tests in the files of those chosen, with their seconds."""
    files = {test.split("::")[0] for test in chosen}
    return {
        test: took
        for test, took in seconds.items()
        if test not in chosen and test.split("::")[0] in files
    }


def report(options, lines, seconds):
    """Judges the mutants of all sources, prints survivors and the score."""
    found = [
        (source, *mutant)
        for source in options.sources
        for mutant in mutants(ast.parse(Path(source).read_text()))
    ]
    print(f"{len(found)} mutants", flush=True)
    if options.sample and options.sample < len(found):
        found = random.Random(options.seed).sample(found, options.sample)
    tally, begin = defaultdict(int), time.monotonic()
    for source, line, what, tree in found:
        reaching = lines.get(str(Path(source).resolve()), {}).get(str(line), [])
        chosen = {t: seconds[t] for t in reaching if t in seconds}
        if "" in reaching:
            chosen = seconds
        code = _outcome(source, tree, chosen, options.limit)
        if code == 0:
            code = _outcome(source, tree, _beside(chosen, seconds), options.limit)
        outcome = {0: "survived", None: "timed out"}.get(code, "killed")
        tally[outcome] += 1
        if sum(tally.values()) % 20 == 0:
            print(f"... {dict(tally)}", flush=True)
        if outcome != "killed":
            text = Path(source).read_text().splitlines()[line - 1].strip()
            print(f"{outcome}: {source}:{line}: {what}: {text}", flush=True)
    killed = tally["killed"] + tally["timed out"]
    took = (time.monotonic() - begin) / max(len(found), 1)
    print(
        f"score {killed / max(len(found), 1):.1%}: {dict(tally)} of {len(found)} "
        f"judged, {took:.1f} s each"
    )


if __name__ == "__main__":
    main()
