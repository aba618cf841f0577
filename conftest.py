"""The notebooks' test run doubles as their execution for the site.

With ``--keep-runs`` what nbval executed is stored below ``_build/run``; a notebook
of which any cell failed leaves nothing.
"""

import os
from collections import defaultdict
from pathlib import Path

from tools.settings import kernel_environment

_seconds = defaultdict(float)
_failed = set()


def pytest_addoption(parser):
    parser.addoption(
        "--keep-runs", action="store_true", help="store what nbval executed"
    )


def pytest_configure(config):
    if config.getoption("nbval_lax", False) or config.getoption("nbval", False):
        os.environ.update(kernel_environment())


def pytest_runtest_logreport(report):
    path = Path(report.fspath)
    if path.suffix == ".ipynb":
        if report.when == "call":
            _seconds[path.name] += report.duration
        if report.failed or report.skipped:
            _failed.add(path.name)


def pytest_sessionfinish(session):
    if not session.config.getoption("--keep-runs"):
        return
    from tools import runs

    ran = defaultdict(list)
    for item in session.items if hasattr(session, "items") else []:
        if getattr(item, "test_outputs", None) is not None:
            ran[item.path].append(item)
    environment = runs.environment_key()
    for path, items in ran.items():
        notebook = items[0].parent.nb
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        if path.name in _failed or len(items) != len(code):
            continue
        outputs = [item.test_outputs for item in items]
        key = runs.key_of(notebook, environment)
        runs.save(path, key, _seconds[path.name], outputs)
