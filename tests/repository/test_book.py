"""The rules for a chapter, on every stored notebook; nothing is executed here."""

import json
import re
from collections import Counter

import pytest
import yaml

from tools import api, checks, facts
from tools.settings import BOOK, ROOT, chapters

CHAPTERS = chapters()


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_keeps_the_rules(path):
    assert checks.check(path) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_altered_fact_is_noticed(path):
    assert facts.altered_facts(path) == []


def labels(cells):
    """Names of figures, and numbers of equations: what one page of a book cites."""
    for cell in cells:
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        yield from [figure["name"]] if "name" in figure else []
        yield from re.findall(r"\\tag\{.*?\}", "".join(cell["source"]))


def test_no_two_figures_or_equations_have_one_label():
    cells = [c for path in CHAPTERS for c in json.loads(path.read_text())["cells"]]
    found = Counter(labels(cells))
    assert len(found) > 200
    assert [label for label, count in found.items() if count > 1] == []


def _listed(node):
    """Every document named in a table of contents."""
    if isinstance(node, dict):
        yield from [node[key] for key in ("root", "file") if key in node]
        for value in node.values():
            yield from _listed(value)
    elif isinstance(node, list):
        for value in node:
            yield from _listed(value)


def test_contents_and_files_agree():
    listed = set(_listed(yaml.safe_load((ROOT / "_toc.yml").read_text())))
    pages = {p for p in BOOK.rglob("*") if p.suffix in {".md", ".ipynb"}}
    pages = {p for p in pages if ".ipynb_checkpoints" not in p.parts}
    assert listed == {p.relative_to(ROOT).with_suffix("").as_posix() for p in pages}


def test_every_room_introduces_itself():
    rooms = api.rooms()
    assert {"types", "draws", "models", "families", "bounds"} <= {r.name for r in rooms}
    for room in rooms:
        assert room.summary, f"elbo_tfp.{room.name} has no docstring"
        assert room.names, f"elbo_tfp.{room.name} has no public names"
        assert len(set(room.names)) == len(room.names)


def test_every_room_of_the_package_has_a_page():
    package = ROOT / "elbo_tfp"
    found = {p.stem for p in package.glob("*.py") if not p.stem.startswith("_")}
    found |= {p.parent.name for p in package.glob("*/__init__.py")}
    assert found - {"ground"} <= set(api.ROOMS)  # the floor is for the rooms only
