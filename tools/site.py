"""Build the site: execute what changed, collect the sources, run Sphinx.

    python -m tools.site            # what `make book` does
    python -m tools.site --strict   # warnings are errors (continuous integration)

The sources are collected in ``_build/site``: notebooks with the outputs of their
last run, pages made from the package, MathJax. Files that did not change keep
their time stamps, so that Sphinx reads only what did.
"""

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import yaml

from tools import api, notebooks, runs, status
from tools.notebooks import write_if_changed
from tools.settings import BOOK, BUILD, HTML, ROOT, SITE, kernel_environment

MATHJAX = "sphinx-mathjax-offline/static/mathjax"
MATHJAX_UNUSED = ("*svg*", "*mml-chtml*", "node-main*", "*-full*", "latest.js")
LOG = BUILD / "log" / "site.txt"
IGNORED = {"__pycache__", ".ipynb_checkpoints"}
TEXT_SUFFIXES = {".md", ".bib", ".css", ".js", ".svg", ".py", ".yml", ".html"}


def stage() -> None:
    """Collect everything that Sphinx reads in ``_build/site``."""
    wanted = _book_files()
    found = api.rooms()
    index = wanted[Path("book/api/index.md")]
    wanted[Path("book/api/index.md")] = index + "\n" + api.index(found)
    for room in found:
        wanted[Path(f"book/api/{room.name}.md")] = api.page(room)
    wanted[Path("book/status.md")] = status.page(wanted[Path("book/status.md")])
    wanted[Path("_config.yml")] = (ROOT / "_config.yml").read_text(encoding="utf-8")
    wanted[Path("_toc.yml")] = _contents([room.name for room in found])
    for path, content in wanted.items():
        if isinstance(content, str):
            write_if_changed(SITE / path, content)
        elif not _same(SITE / path, content):
            (SITE / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(content, SITE / path)
    _remove_others(set(wanted))
    _vendor_mathjax()


def _same(target: Path, source: Path) -> bool:
    return target.exists() and target.read_bytes() == source.read_bytes()


def _book_files() -> dict[Path, str | Path]:
    """What the book's folder holds: text as text, notebooks with fresh outputs."""
    wanted: dict[Path, str | Path] = {}
    for path in sorted(BOOK.rglob("*")):
        if not path.is_file() or {"__pycache__", ".ipynb_checkpoints"} & set(
            path.parts
        ):
            continue
        name = path.relative_to(ROOT)
        if path.suffix == ".ipynb":
            notebook = notebooks.read(path)
            run = runs.load(path)
            if run is not None:
                notebook = runs.with_outputs(notebook, run.outputs)
            wanted[name] = notebooks.serialise(notebook)
        elif path.suffix in TEXT_SUFFIXES:
            wanted[name] = path.read_text(encoding="utf-8")
        else:
            wanted[name] = path
    return wanted


def _contents(rooms: list[str]) -> str:
    """``_toc.yml`` with the API's rooms below ``book/api/index``."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            if chapter["file"] == "book/api/index":
                chapter["sections"] = [{"file": f"book/api/{room}"} for room in rooms]
    return yaml.safe_dump(toc, sort_keys=False)


def _remove_others(wanted: set[Path]) -> None:
    for path in (SITE / "book").rglob("*"):
        if path.is_file() and path.relative_to(SITE) not in wanted:
            path.unlink()


def _vendor_mathjax() -> None:
    """Copy MathJax from its wheel: the site asks no other host for anything."""
    target = SITE / "_vendor" / "mathjax"
    if target.exists():
        return
    source = Path(sysconfig.get_path("purelib")) / MATHJAX
    if not source.exists():
        raise SystemExit("MathJax is missing: pip install -r requirements.txt")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*MATHJAX_UNUSED))


def sphinx(strict: bool) -> int:
    """Run Jupyter Book on what was collected; its exit status."""
    command = [
        *(str(Path(sysconfig.get_path("scripts")) / "jupyter-book"), "build"),
        *(str(SITE), "--quiet"),
        *(("-W", "--keep-going") if strict else ()),
    ]
    environment = kernel_environment() | {"TF_CPP_MIN_LOG_LEVEL": "3", "NO_COLOR": "1"}
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("w", encoding="utf-8") as log:
        code = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    lines = LOG.read_text(encoding="utf-8").splitlines()
    noted = [line for line in lines if re.search(r"\b(WARNING|ERROR|SEVERE):", line)]
    noted = [line for line in noted if "absl::InitializeLog" not in line]
    print("\n".join(noted or (lines[-40:] if code else [])))
    return code


def main(arguments: list[str] | None = None) -> int:
    """Execute, collect, build, and say where the site is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time")
    given = parser.parse_args(arguments)
    print("1/3  executing chapters that changed ...", flush=True)
    if notebooks.fresh(given.jobs):
        print("A chapter failed; the site was not built.", file=sys.stderr)
        return 1
    print("2/3  collecting the sources ...", flush=True)
    stage()
    print("3/3  building the pages ...", flush=True)
    start = time.perf_counter()
    if code := sphinx(given.strict):
        print("The build failed; the lines above say why.", file=sys.stderr)
        return code
    print(f"     {time.perf_counter() - start:.0f} s\n")
    print(f"The book is ready. Open\n\n  {(HTML / 'index.html').as_uri()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
