"""The rules for a chapter, as far as a machine can see them.

`check` reads a stored notebook and returns what is wrong with it, one sentence per
fault. Nothing is executed.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

from tools.settings import BOOK, ROOT, colab_url, config, pip_address

# Every number that the rules use.
LIMITS = {
    "facts": 5,  # cells whose printed facts are compared, at least
    "kilobytes": 300,  # stored file, at most
    "words": (1500, 2500),  # of prose
    "code cells": 20,  # without the set-up and the solutions, at most
    "shown lines": 10,  # of code in a cell that the page shows, at most
    "line length": 74,  # of code that the page shows without scrolling, at most
    "alt text": 40,  # characters, at least: what one sees
    "caption": 20,  # characters, at least
    "words per figure": 600,  # a figure about every 400
    "exercises": 3,  # at least
    "reason": 20,  # characters, at least: why numbers stand without an error
    "bare cells": 0,  # that print numbers without an error and without a reason
}
# A chapter that needs more says so here, with its reason beside it.
EXCEPTIONS: dict[str, dict[str, object]] = {
    # one code cell more than others, which is a figure to move
    "01_the_integral": {"code cells": 21},
    # fit, look at q and draw: three cells; the rivals in three
    "03_tug_of_war": {"code cells": 24},
    # what moved the divergence stands apart from the figure of the step
    "02_one_identity": {"code cells": 21},
    # the programs of the rivals, their bounds, the sizes of files: a cell each
    "04_how_many_bits": {"code cells": 22},
    # one more, a figure to move, which brings a table of gaps
    "09_more_samples": {"code cells": 21, "kilobytes": 360},
    # six figures, one with a posterior's draws and one with the sliders' formulas;
    # two tables apart from their figures
    "05_approximation_gap": {"kilobytes": 400, "code cells": 22},
    # two maps of densities beside five other figures; tables apart from figures
    "10_a_prior_that_fits": {"kilobytes": 340, "code cells": 26},
    # the evidence's draws apart from the four bounds
    "12_a_convex_corner": {"code cells": 21},
    # three models, each with a table of its own
    "11_do_analytically_what_you_can": {"code cells": 23},
    # ranks and the ratio of errors: two tables
    "13_conditional_models": {"code cells": 21},
    # three data sets, each with its table; the map is one more
    "19_counting_genes": {"code cells": 21},
    # stored steps and what a call costs: two tables
    "20_fast_and_large": {"code cells": 21},
}

FACT = "nbval-check-output"
HIDDEN = {"hide-input", "hide-cell", "remove-cell", "remove-input"}
TAGS = HIDDEN | {FACT, "hide-output"}
CELL_KEYS = {
    "code": {"tags", "cellView", "mystnb", "no_errors"},
    "markdown": {"tags"},
}
NOTEBOOK_KEYS = {"kernelspec", "language_info", "accelerator", "colab"}
SECTIONS = ("Break it", "Summary", "Exercises", "Further reading")
# Known to the book's MathJax or to LaTeX packages, not to Colab's MathJax.
UNKNOWN_MACROS = {"bm", "mathbbm", "coloneqq", "argmax", "argmin", "Var", "Cov", "R"}
UNKNOWN_MACROS |= {"N", "given", "diag", "tr", "dd", "abs", "norm", "label", "eqref"}
ROLES = re.compile(r"\{(doc|ref|eq|cite(:\w+)?|numref|term|func|class|py:\w+)\}`")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
# A measured number (a count has no decimals), and what shows its error.
MEASURED = re.compile(r"\d\.\d|\d ?%")
UNMEASURED = re.compile(r"\(\d+\.\d+\)|\d+(\.\d+)?% of the data converged")
ERROR = re.compile(r"\+-|±|\bse\b|\berrors?\b")
ERROR_ROW = re.compile(r"\s*(data |noise |largest )*errors?\b")


def tags_of(cell) -> set[str]:
    """The tags of `cell`."""
    return set(cell.metadata.get("tags", []))


def code_cells(notebook) -> list:
    """The code cells of `notebook`, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _is_setup(cell, notebook) -> bool:
    return bool(code := code_cells(notebook)) and cell is code[0]


def _is_solution(cell) -> bool:
    return "hide-cell" in tags_of(cell)


def _prose(notebook) -> str:
    """All markdown; without the cells that only GitHub and Colab show."""
    return "\n\n".join(
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "markdown" and "remove-cell" not in tags_of(cell)
    )


def _without_code(text: str) -> str:
    text = re.sub(r"^(`{3,}|~{3,}).*?^\1", "", text, flags=re.S | re.M)
    return re.sub(r"`[^`\n]+`", "code", text)


def words(text: str) -> int:
    """Words of prose; a formula counts as one, fences, tags and addresses as none."""
    text = re.sub(r"\$\$.*?\$\$", " formula ", _without_code(text), flags=re.S)
    text = re.sub(r"\$[^$\n]+\$", "formula", text)
    text = re.sub(r"\]\([^)]*\)|<[^>]+>|^:::.*$", " ", text, flags=re.M)
    return len(re.findall(r"[^\W_][\w’'.,-]*", text))


def formulas(text: str) -> Iterator[str]:
    """Every formula of `text`, displayed or inline."""
    text = _without_code(text)
    yield from re.findall(r"\$\$(.*?)\$\$", text, flags=re.S)
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.S)
    yield from re.findall(r"(?<!\\)\$([^$\n]+?)(?<!\\)\$", text)


def text_of(output) -> str:
    """What `output` prints, as text; empty for a picture."""
    if output.output_type == "stream":
        return output.text
    return output.get("data", {}).get("text/plain", "")


# ---------------------------------------------------------------- the rules


def _execution(notebook, _path, _limits) -> Iterator[str]:
    code = code_cells(notebook)
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        yield f"execution counts are {counts}, not 1 to {len(code)}: run it again"
    for number, cell in enumerate(code, 1):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"code cell {number} stores an error: {output.ename}"
            if output.get("name") == "stderr":
                yield f"code cell {number} prints to stderr: {output.text[:60]!r}"
            if ADDRESS.search(text_of(output)):
                yield f"code cell {number} prints a memory address; it changes each run"
        if cell.source.rstrip().endswith(";"):
            yield f"code cell {number} ends with ';': write `_ = ...` instead"


def _metadata(notebook, _path, _limits) -> Iterator[str]:
    if extra := set(notebook.metadata) - NOTEBOOK_KEYS:
        yield f"notebook metadata {sorted(extra)} is not allowed"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not python3"
    for number, cell in enumerate(notebook.cells, 1):
        if extra := set(cell.metadata) - CELL_KEYS.get(cell.cell_type, set()):
            yield f"cell {number} has metadata {sorted(extra)}, which is not allowed"
        if extra := tags_of(cell) - TAGS:
            yield f"cell {number} has tags {sorted(extra)}; allowed are {sorted(TAGS)}"
        if cell.cell_type == "code" and re.search(r"#\s*NBVAL_", cell.source):
            yield f"cell {number} steers nbval by a comment: use a tag"


def _facts(notebook, _path, limits) -> Iterator[str]:
    facts = [cell for cell in code_cells(notebook) if FACT in tags_of(cell)]
    if len(facts) < limits["facts"]:
        yield f"{len(facts)} cells print facts (tag {FACT}), of {limits['facts']}"


def without_error(text: str) -> list[str]:
    """Lines of `text` that show a measured number and no error.

    The error stands on the line; or the paragraph is a table, with errors named in its
    head (the first two lines, without numbers) or in a row of their own.
    """
    found = []
    for paragraph in re.split(r"\n\s*\n", UNMEASURED.sub("", text)):
        lines = [line for line in paragraph.splitlines() if line.strip()]
        head = [line for line in lines[:2] if not MEASURED.search(line)]
        if any(map(ERROR.search, head)) or any(map(ERROR_ROW.match, lines)):
            continue
        found += [ln for ln in lines if MEASURED.search(ln) and not ERROR.search(ln)]
    return found


def _errors(notebook, _path, limits) -> Iterator[str]:
    """What how_to_read promises: no random number without its error.

    A cell of facts is the same on any machine. Another one may say in its metadata
    why its numbers stand alone: ``no_errors="closed forms"``.
    """
    faults = []
    for number, cell in enumerate(code_cells(notebook), 1):
        reason = cell.metadata.get("no_errors")
        if reason is not None and len(reason) < limits["reason"]:
            least = limits["reason"]
            yield f"code cell {number}: no_errors says why in {least} letters or more"
        if FACT in tags_of(cell) or reason or "et.show_source(" in cell.source:
            continue
        drawn = {"image/png", "text/html"}
        printed = "\n".join(
            text_of(o) for o in cell.outputs if not drawn & set(o.get("data", {}))
        )
        if bare := without_error(printed):
            faults.append(
                f"code cell {number} prints numbers without their error, such as "
                f"{bare[0].strip()[:60]!r}: print it beside them, or say in the cell's "
                "metadata, no_errors, why there is none"
            )
    if len(faults) > limits["bare cells"]:
        yield from faults


def _figures(notebook, _path, limits) -> Iterator[str]:
    count = 0
    for number, cell in enumerate(code_cells(notebook), 1):
        kinds = {kind for o in cell.outputs for kind in o.get("data", {})}
        settings = cell.metadata.get("mystnb", {})
        if {"image/png", "image/svg+xml", "image/jpeg"} & kinds:
            count += 1
            alt = settings.get("image", {}).get("alt", "")
            if len(alt) < limits["alt text"]:
                yield (
                    f"code cell {number} draws a figure whose alt text has {len(alt)} "
                    f"characters of {limits['alt text']}: say what one sees"
                )
            figure = settings.get("figure", {})
            if len(figure.get("caption", "")) < limits["caption"]:
                yield f"code cell {number} draws a figure without a caption"
            if not figure.get("name", "").startswith("fig-"):
                yield f"code cell {number}: name its figure 'fig-...'"
        page = "".join(o.get("data", {}).get("text/html", "") for o in cell.outputs)
        if "<svg" in page:
            count += 1
            label = re.search(r'role="img"[^>]*aria-label="([^"]*)"', page)
            if not label or len(label[1]) < limits["alt text"]:
                yield f"code cell {number}: its drawing needs role='img', aria-label"
            if "elbo-fig" not in page:
                yield f"code cell {number}: its drawing is no figure.elbo-fig"
    needed = words(_prose(notebook)) // limits["words per figure"]
    if count < needed:
        yield f"{count} figures for its length; {needed} are the least"


def _setup(notebook, path, _limits) -> Iterator[str]:
    code = code_cells(notebook)
    if not code:
        yield "there is no code"
        return
    first = code[0]
    if not first.source.startswith("# @title "):
        yield "the set-up cell (the first code cell) does not start with '# @title '"
    if first.metadata.get("cellView") != "form" or not HIDDEN & tags_of(first):
        yield "the set-up cell needs cellView 'form' and the tag hide-input"
    if "google.colab" not in first.source or pip_address() not in first.source:
        yield f"the set-up cell does not install {pip_address()} in Colab"
    address = colab_url(f"book/{path.name}")
    opening = [c for c in notebook.cells[:2] if address in c.source]
    if not opening or "remove-cell" not in tags_of(opening[0]):
        yield f"no opening cell, tagged remove-cell, links to {address}"
    everything = "\n".join(cell.source for cell in notebook.cells)
    for found in re.findall(
        r"https://colab\.research\.google\.com[^\s)\"'>]*", everything
    ):
        if found.rstrip("/") != address:
            yield f"links to Colab at {found}, not {address}"


def _code_shape(notebook, _path, limits) -> Iterator[str]:
    body = [
        cell
        for cell in code_cells(notebook)
        if not _is_setup(cell, notebook) and not _is_solution(cell)
    ]
    if len(body) > limits["code cells"]:
        yield f"{len(body)} code cells; at most {limits['code cells']}"
    for number, cell in enumerate(code_cells(notebook), 1):
        lines = cell.source.splitlines()
        longest = max(map(len, lines), default=0)
        if longest > limits["line length"] and not _is_setup(cell, notebook):
            yield f"code cell {number} has a line of {longest} characters"
        shown = [ln for ln in lines if ln.strip() and not ln.strip().startswith("#")]
        if len(shown) > limits["shown lines"] and not HIDDEN & tags_of(cell):
            yield f"code cell {number} shows {len(shown)} lines of code"
        if not cell.source.strip():
            yield f"code cell {number} is empty"


def _text_shape(notebook, path, limits) -> Iterator[str]:
    prose = _prose(notebook)
    low, high = limits["words"]
    if not low <= (count := words(prose)) <= high:
        yield f"{count} words; between {low} and {high}"
    size = path.stat().st_size / 1024
    if size > limits["kilobytes"]:
        yield f"{size:.0f} KB; at most {limits['kilobytes']}"
    headings = re.findall(r"^(#+) +(.+?)\s*$", _without_code(prose), flags=re.M)
    if sum(marks == "#" for marks, _ in headings) != 1:
        yield "there is not exactly one title (a heading with one #)"
    titles = [title for marks, title in headings if marks == "##"]
    for section in SECTIONS:
        if not any(title.startswith(section) for title in titles):
            yield f"there is no section '## {section}'"
    if "{admonition} Objectives" not in prose:
        yield "there is no ':::{admonition} Objectives' box"


def _exercises(notebook, _path, limits) -> Iterator[str]:
    exercises, solutions, solved = [], [], 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            exercises += re.findall(r"^#{3,} +(Exercise\b.*)$", cell.source, re.M)
            solutions += re.findall(r"^#{3,} +(Solution\b.*)$", cell.source, re.M)
        elif _is_solution(cell):
            solved += 1
            if cell.metadata.get("cellView") != "form":
                yield "a solution cell lacks cellView 'form' (Colab would show it)"
            if not cell.source.startswith("# @title "):
                yield "a solution cell does not start with '# @title '"
    if len(exercises) < limits["exercises"]:
        yield f"{len(exercises)} headings 'Exercise ...' of {limits['exercises']}"
    if not len(exercises) == len(solutions) <= solved:
        yield (
            f"{len(exercises)} exercises, {len(solutions)} headings 'Solution ...' and "
            f"{solved} cells tagged hide-cell: each exercise needs both"
        )
    if ungraded := [title for title in exercises if "(" not in title]:
        yield f"exercises without a grade such as '(easy)': {ungraded}"


def _markup(notebook, _path, _limits) -> Iterator[str]:
    prose = _prose(notebook)
    plain = _without_code(prose)
    macros = set(config()["sphinx"]["config"]["mathjax3_config"]["tex"]["macros"])
    for formula in formulas(prose):
        short = " ".join(formula.split())[:50]
        used = set(re.findall(r"\\([A-Za-z]+)", formula))
        if bad := used & (macros | UNKNOWN_MACROS):
            yield f"Colab does not know {sorted(bad)} in ${short}$"
        if r"\tag" in formula and r"\\" in formula:
            yield rf"\tag and \\ in one formula fail in the book: ${short}$"
    outside = re.sub(r"\$\$.*?\$\$", "", plain, flags=re.S)
    if re.search(r"\\begin\{(align|equation|gather)", outside):
        yield r"\begin{align} outside $$ is raw text in Colab"
    if found := re.search(r"^[^\n$]*\S[^\n$]*\$\$|\$\$[^\n$]+\$\$", plain, flags=re.M):
        yield f"$$ stands on lines of its own: {found[0][:50]!r}"
    if role := ROLES.search(prose):
        yield f"the role {role[0]!r} is raw text in Colab: use a plain link"
    if re.search(r"^`{3,}\{", prose, flags=re.M):
        yield "a fence of backticks with a directive is grey code in Colab: use :::"
    if re.search(r"^> \[!", prose, flags=re.M):
        yield "'> [!NOTE]' is not understood by the book: use '> **Note.**'"
    if found := re.search(r"\]\([^)]+\)[^\s.,;:)][^\n]{0,3}\$|\]\([^)]+\)\$", plain):
        yield f"leave a space between a link and a formula: {found[0][-20:]!r}"
    if re.search(r"^(:::\{.*)\n(?!\s*\n|:)", prose, flags=re.M):
        yield "leave a blank line after ':::{...}', or Colab runs it into the text"


def _links(notebook, _path, _limits) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(_prose(notebook))):
        file = target.split("#")[0]
        if re.match(r"[a-z]+:", target) or not file:
            continue
        # made by the build: one page per room of the package
        room = re.fullmatch(r"api/(\w+)\.md", file)
        source = (BOOK / file).resolve()
        package = ROOT / "elbo_tfp"
        if room and any((package / f"{room[1]}{s}").exists() for s in ("", ".py")):
            continue
        if not source.exists():
            yield f"the link to {target} leads nowhere"


RULES = (
    _execution,
    _metadata,
    _facts,
    _errors,
    _figures,
    _setup,
    _code_shape,
    _text_shape,
    _exercises,
    _markup,
    _links,
)


def check(path: Path) -> list[str]:
    """What is wrong with the chapter at `path`, one sentence per fault."""
    notebook = nbformat.read(path, as_version=4)
    limits = LIMITS | EXCEPTIONS.get(path.stem, {})
    faults = [fault for rule in RULES for fault in rule(notebook, path, limits)]
    return [f"{path.name}: {fault}" for fault in faults]
