"""Where things are, and the one public address of the repository."""

import os
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
BUILD = ROOT / "_build"
RUN = BUILD / "run"  # what was executed: outputs, seconds, key
SITE = BUILD / "site"  # the sources as Sphinx sees them
HTML = SITE / "_build" / "html"


@cache
def config() -> dict:
    """The parsed ``_config.yml``."""
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


def repository_url() -> str:
    """The public address, such as ``https://github.com/owner/name``."""
    return config()["repository"]["url"].rstrip("/")


def branch() -> str:
    """The branch that Colab and pip install from."""
    return config()["repository"]["branch"]


def colab_url(path: str) -> str:
    """Where Colab opens the notebook at `path`, relative to the repository's root."""
    slug = repository_url().removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{slug}/blob/{branch()}/{path}"


def pip_address() -> str:
    """What ``pip install`` takes to install the package from the public address."""
    return f"git+{repository_url()}@{branch()}"


def chapters() -> list[Path]:
    """The chapters' notebooks, in reading order."""
    return sorted(BOOK.glob("[0-9][0-9]_*.ipynb"))


def kernel_environment() -> dict[str, str]:
    """Environment of every kernel: the package on the path, a quiet profile."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        "IPYTHONDIR": str(ROOT / ".ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
