"""API pages: one per room of ``elbo_tfp``, written from what exists.

Only the source is read, nothing is imported: a room's page is its docstring,
then its public names in the order of ``__all__``.
"""

import ast
from pathlib import Path
from typing import NamedTuple

from tools.settings import ROOT

# The order of the house: who may import whom.
ROOMS = (
    "types",
    "distributions",
    "targets",
    "draws",
    "filtering",
    "models",
    "families",
    "bounds",
    "convex",
    "gradients",
    "marginals",
    "fitting",
    "evidence",
    "gaps",
    "codes",
    "applications",
    "audit",
    "data",
    "show",
    "show.plots",
    "show.interactive",
)


class Room(NamedTuple):
    """A part of the package that answers one question."""

    name: str
    """Such as ``bounds``."""
    summary: str
    """First line of its docstring."""
    names: list[str]
    """Public names, in the order of ``__all__``, without parts that have a page."""
    classes: dict[str, list[str]]
    """Classes of the room's source and their own documented members."""
    constants: dict[str, str]
    """Constants of the room's source and the string below each."""


def _source(package: Path, room: str) -> Path | None:
    place = room.replace(".", "/")
    for path in (package / place / "__init__.py", package / f"{place}.py"):
        if path.exists() and path.read_text(encoding="utf-8").strip():
            return path
    return None


def _public_names(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
        ):
            return list(ast.literal_eval(node.value))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    ]


def _members(node: ast.ClassDef) -> list[str]:
    """Documented members that the class itself defines, not those it inherits."""
    found = []
    for here, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(here, ast.FunctionDef) and ast.get_docstring(here):
            found.append(here.name)
        elif isinstance(here, ast.AnnAssign) and (
            isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found.append(here.target.id)
    return [name for name in found if not name.startswith("_")]


def _classes(files: list[Path]) -> dict[str, list[str]]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    classes = [n for tree in trees for n in tree.body if isinstance(n, ast.ClassDef)]
    return {node.name: _members(node) for node in classes}


def _constants(files: list[Path]) -> dict[str, str]:
    found = {}
    for path in files:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for here, following in zip(body, [*body[1:], None], strict=True):
            said = isinstance(following, ast.Expr) and following.value
            if isinstance(here, ast.Assign) and isinstance(said, ast.Constant):
                names = [t.id for t in here.targets if isinstance(t, ast.Name)]
                found |= {name: " ".join(said.value.split()) for name in names}
    return found


def rooms(root: Path = ROOT) -> list[Room]:
    """The rooms that exist, in the order of the house."""
    package, found = root / "elbo_tfp", []
    for name in ROOMS:
        source = _source(package, name)
        if source is None:
            continue
        tree = ast.parse(source.read_text(encoding="utf-8"))
        docstring = ast.get_docstring(tree) or ""
        files = (
            list(source.parent.glob("*.py")) if source.stem == "__init__" else [source]
        )
        found.append(
            Room(
                name,
                docstring.split("\n", 1)[0],
                [n for n in _public_names(tree) if f"{name}.{n}" not in ROOMS],
                _classes(files),
                _constants(files),
            )
        )
    return found


def _entry(room: Room, name: str) -> str:
    target = f"elbo_tfp.{room.name}.{name}"
    if name in room.classes:
        members = ", ".join(room.classes[name])
        option = f"   :members: {members}\n" if members else ""
        return f".. autoclass:: {target}\n{option}"
    if name.isupper():
        # autodoc would show the docstring of the constant's type
        return f".. py:data:: {target}\n\n   {room.constants.get(name, '')}\n"
    return f".. autofunction:: {target}\n"


def page(room: Room) -> str:
    """The markdown page of one room."""
    entries = "\n".join(_entry(room, name) for name in room.names)
    return (
        f"# `{room.name}`\n\n```{{eval-rst}}\n"
        f".. automodule:: elbo_tfp.{room.name}\n   :no-members:\n\n{entries}```\n"
    )


def index(found: list[Room]) -> str:
    """The page that lists the rooms; its introduction is ``book/api/index.md``."""
    rows = "\n".join(
        f"| [`{room.name}`]({room.name}.md) | {room.summary} "
        f"| {', '.join(f'`{name}`' for name in room.names)} |"
        for room in found
    )
    return f"| room | question | names |\n|:--|:--|:--|\n{rows}\n"
