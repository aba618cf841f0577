"""The status page: which versions built this site, and seconds per chapter."""

import platform
from importlib.metadata import PackageNotFoundError, version

from tools import runs
from tools.settings import chapters

PACKAGES = (
    "tensorflow",
    "tensorflow-probability",
    "tf_keras",
    "keras",
    "numpy",
    "scipy",
    "matplotlib",
    "scikit-learn",
    "jupyter-book",
    "nbval",
)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def versions() -> str:
    """A table of the versions in use."""
    rows = [("Python", platform.python_version())]
    rows += [(package, _version(package)) for package in PACKAGES]
    return "| | version |\n|:--|--:|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows)


def _title(path) -> str:
    from tools.notebooks import read

    for cell in read(path).cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.startswith("# "):
                return line[2:].strip()
    return path.stem


def seconds() -> str:
    """A table of the wall-clock seconds of each chapter's last run."""
    rows, total = [], 0.0
    for path in chapters():
        run = runs.load(path)
        total += run.seconds if run else 0.0
        spent = f"{run.seconds:.0f}" if run else "not run"
        rows.append(f"| [{_title(path)}]({path.name}) | {spent} |")
    rows.append(f"| all together | {total:.0f} |")
    return "| chapter | seconds |\n|:--|--:|\n" + "\n".join(rows)


def page(template: str) -> str:
    """`template` with its two marks replaced by the tables."""
    return template.replace("<!-- versions -->", versions()).replace(
        "<!-- seconds -->", seconds()
    )
