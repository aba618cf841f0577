"""The notebook tool: text and back, ids, kept runs, the rules, altered facts."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import api, checks, facts, notebooks, runs
from tools.settings import colab_url, pip_address

TEXT = """\
# %% [markdown]
# # A title
#
# Words and $x$.

# %% tags=["hide-input"] cellView="form"
# @title Set-up
import math

# %% tags=["nbval-check-output"]
print(f"{math.pi:.3f}")
"""


def _stored(text=TEXT, outputs=("", "3.142\n")):
    notebook = notebooks.from_text(text, None, "x")
    streams = [[new_output("stream", text=o)] if o else [] for o in outputs]
    return runs.with_outputs(notebook, streams)


def test_text_round_trip_is_lossless():
    stored = _stored()
    again = notebooks.from_text(notebooks.to_text(stored), stored, "x")
    assert notebooks.serialise(again) == notebooks.serialise(stored)


def test_ids_do_not_depend_on_the_run_and_survive_an_edit():
    first, second = _stored(), _stored()
    assert [c.id for c in first.cells] == [c.id for c in second.cells]
    edited = notebooks.from_text(TEXT.replace("Words", "More words"), first, "x")
    assert [c.id for c in edited.cells] == [c.id for c in first.cells]
    assert edited.cells[2].outputs == first.cells[2].outputs


def test_equal_cells_get_different_ids():
    twice = notebooks.from_text(
        TEXT + "\n# %%\nprint(1)\n\n# %%\nprint(1)\n", None, "x"
    )
    ids = [cell.id for cell in twice.cells]
    assert len(set(ids)) == len(ids)


def test_metadata_is_clean_and_accelerator_is_kept():
    notebook = _stored()
    notebook.metadata["widgets"] = {"state": {}}
    notebook.metadata["accelerator"] = "GPU"
    notebook.cells[1].metadata["execution"] = {"iopub.status.busy": "now"}
    clean = notebooks.normalise(notebook, "x")
    assert set(clean.metadata) == {"kernelspec", "language_info", "accelerator"}
    assert set(clean.cells[1].metadata) == {"tags", "cellView"}
    again = notebooks.from_text(notebooks.to_text(clean), clean, "x")
    assert again.metadata["accelerator"] == "GPU"


def test_prose_is_not_part_of_the_key_and_code_is():
    notebook = _stored()
    key = runs.key_of(notebook, "environment")
    notebook.cells[0].source += " More."
    assert runs.key_of(notebook, "environment") == key
    assert runs.key_of(notebook, "another environment") != key
    notebook.cells[2].source += "\nprint(1)"
    assert runs.key_of(notebook, "environment") != key


@pytest.mark.parametrize("changed", ["elbo_tfp/bounds/elbo.py", "requirements.txt"])
def test_key_notices_the_package_and_the_pins(tmp_path, changed):
    for name in ("elbo_tfp/__init__.py", "elbo_tfp/bounds/elbo.py", "requirements.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    before = runs.environment_key(tmp_path)
    (tmp_path / "elbo_tfp" / "__pycache__").mkdir()
    (tmp_path / "elbo_tfp" / "__pycache__" / "x.pyc").write_text("noise")
    assert runs.environment_key(tmp_path) == before
    (tmp_path / changed).write_text("2\n")
    assert runs.environment_key(tmp_path) != before


def test_kept_runs_come_back_and_damaged_ones_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUN", tmp_path)
    path = tmp_path / "01_x.ipynb"
    assert runs.load(path) is None
    runs.save(path, "key", 1.234, [[], [{"output_type": "stream"}]])
    assert runs.load(path) == ("key", 1.23, [[], [{"output_type": "stream"}]])
    (tmp_path / "01_x.json").write_text("{")
    assert runs.load(path) is None


def test_outputs_of_another_notebook_are_refused():
    with pytest.raises(ValueError, match="1 outputs for 2 code cells"):
        runs.with_outputs(_stored(), [[]])


# ---------------------------------------------------------------- the rules


def _chapter():
    """A notebook that keeps every rule but the length of its prose."""
    figure = {
        "image": {"alt": "A parabola that opens upward and is lowest at zero."},
        "figure": {"caption": "A parabola, lowest at zero.", "name": "fig-parabola"},
    }
    badge = f"[Open in Colab]({colab_url('book/01_x.ipynb')})"
    setup = (
        "# @title Set-up\nimport sys\nif 'google.colab' in sys.modules:\n"
        f"    %pip install -q {pip_address()}"
    )
    opening = (
        "# A title\n\n:::{admonition} Objectives\n\nMuch.\n\n:::\n\n" + "word " * 1500
    )
    cells = [
        new_markdown_cell(badge, metadata={"tags": ["remove-cell"]}),
        new_markdown_cell(opening),
        new_code_cell(setup, metadata={"tags": ["hide-input"], "cellView": "form"}),
    ]
    for k in range(5):
        output = [new_output("stream", text=f"value {k}.25\n")]
        tags = {"tags": ["nbval-check-output"]}
        cells.append(new_code_cell(f"print('{k}')", metadata=tags, outputs=output))
    for _ in range(3):
        picture = [new_output("display_data", {"image/png": "aGk="})]
        cells.append(new_code_cell("draw()", metadata={"mystnb": figure}))
        cells[-1].outputs = picture
    cells.append(new_markdown_cell("## Break it\n\n## Summary\n\n## Exercises"))
    for k in range(1, 4):
        cells.append(new_markdown_cell(f"### Exercise {k} (easy)\n\n#### Solution {k}"))
        hidden = {"tags": ["hide-cell"], "cellView": "form"}
        cells.append(new_code_cell(f"# @title Solution {k}\n1 + 1", metadata=hidden))
    cells.append(new_markdown_cell("## Further reading"))
    notebook = notebooks.normalise(new_notebook(cells=cells), "01_x")
    for count, cell in enumerate(checks.code_cells(notebook), 1):
        cell.execution_count = count
    return notebook


def _faults(tmp_path, notebook):
    path = tmp_path / "01_x.ipynb"
    nbformat.write(notebook, path)
    return "\n".join(checks.check(path))


def _code(notebook, number):
    return checks.code_cells(notebook)[number - 1]


def _say(notebook, text):
    notebook.cells[1].source += f"\n\n{text}\n"


BREAKS = {
    "execution counts": lambda n: _code(n, 2).update(execution_count=9),
    "stores an error": lambda n: _code(n, 2).outputs.append(
        new_output("error", ename="E", evalue="", traceback=[])
    ),
    "prints to stderr": lambda n: _code(n, 2).outputs.append(
        new_output("stream", name="stderr", text="W")
    ),
    "memory address": lambda n: _code(n, 2).outputs.append(
        new_output("stream", text="<x at 0x7fe63ba47790>")
    ),
    "ends with ';'": lambda n: _code(n, 2).update(source="plot();"),
    "allowed are": lambda n: _code(n, 2).metadata.tags.append("nbval-skip"),
    "by a comment": lambda n: _code(n, 2).update(source="# NBVAL_SKIP\nf()"),
    "metadata \\['widgets'\\]": lambda n: n.metadata.update(widgets={}),
    "4 cells print facts": lambda n: _code(n, 2).metadata.pop("tags"),
    "without their error": lambda n: _code(n, 7).outputs.insert(
        0, new_output("stream", text="gap 0.25 nats\n")
    ),
    "no_errors says": lambda n: _code(n, 7).metadata.update(no_errors="exact"),
    "without a caption": lambda n: _code(n, 7).metadata.mystnb.pop("figure"),
    "say what one sees": lambda n: _code(n, 7).metadata.mystnb.image.update(alt="x"),
    "tag hide-input": lambda n: _code(n, 1).metadata.pop("cellView"),
    "does not install": lambda n: _code(n, 1).update(source="# @title Set-up"),
    "no opening cell": lambda n: n.cells[0].update(source="hello"),
    "line of 80": lambda n: _code(n, 2).update(source="x" * 80),
    "shows 11 lines": lambda n: _code(n, 2).update(source="x\n" * 11),
    "21 code cells": lambda n: n.cells.extend(
        new_code_cell("f()", id=f"copy{k}") for k in range(13)
    ),
    "words; between": lambda n: n.cells[1].update(source="# A title"),
    "exactly one title": lambda n: _say(n, "# Another"),
    "'## Summary'": lambda n: n.cells[11].update(source="## Break it\n\n## Exercises"),
    "each exercise needs both": lambda n: n.cells.pop(13),
    "without a grade": lambda n: n.cells[12].update(
        source="### Exercise 1\n\n#### Solution 1"
    ),
    "Colab does not know": lambda n: _say(n, r"$\KL(q)$"),
    "fail in the book": lambda n: _say(n, "$$\na \\\\ b \\tag{1.1}\n$$"),
    "raw text in Colab": lambda n: _say(n, r"\begin{align} a \end{align}"),
    "use a plain link": lambda n: _say(n, "{cite:t}`burda2016`"),
    "grey code in Colab": lambda n: _say(n, "```{note}\nhi\n```"),
    "not understood": lambda n: _say(n, "> [!NOTE]\n> hi"),
    "leads nowhere": lambda n: _say(n, "[there](99_nowhere.ipynb)"),
    "lines of its own": lambda n: _say(n, "so $$ a = b $$ holds"),
}


def test_a_chapter_that_keeps_the_rules_passes(tmp_path):
    assert _faults(tmp_path, _chapter()) == ""


@pytest.mark.parametrize("message", BREAKS)
def test_each_rule_can_fail(tmp_path, message):
    notebook = _chapter()
    BREAKS[message](notebook)
    assert re.search(message, _faults(tmp_path, notebook))


def test_a_number_has_its_error_on_its_line_or_in_the_head_of_its_table():
    table = "family   gap  +- data\nflow  0.25  0.01\nbell  1.25  0.02"
    closing = "family   gap\nflow  0.25\nbell  1.25\ndata error  0.02"
    for text in ("gap 0.25 +- 0.01", "350 steps", table, closing, "see (6.1)"):
        assert checks.without_error(text) == []
    loose = "gap 0.25 +- 0.01\nloss 1.5"
    for text in (loose, table + "\n\nloss 1.5"):
        assert checks.without_error(text) == ["loss 1.5"]
    assert checks.without_error("right: 52%") == ["right: 52%"]


def test_numbers_may_stand_alone_for_a_reason(tmp_path):
    notebook = _chapter()
    _code(notebook, 7).outputs.insert(0, new_output("stream", text="gap 0.25 nats\n"))
    _code(notebook, 7).metadata.update(no_errors="a closed form, without draws")
    assert _faults(tmp_path, notebook) == ""


def test_words_are_prose_only():
    text = (
        "Two words $a + b$ here.\n\n$$\nx = 1\n$$\n\n```python\nno = 1\n```\n[so](x.md)"
    )
    assert checks.words(text) == 6


# ---------------------------------------------------------------- altered facts


def test_options_may_stand_before_the_paths(monkeypatch, tmp_path):
    path, seen = tmp_path / "01_x.ipynb", []
    path.write_text("")
    monkeypatch.setattr(notebooks, "run", lambda *given: seen.append(given) or 0)
    notebooks.main(["run", "--jobs", "1", str(path)])
    assert seen == [([path.resolve()], False, 1)]


def test_altered_facts_are_noticed(tmp_path):
    path = tmp_path / "01_x.ipynb"
    nbformat.write(_chapter(), path)
    assert facts.altered_facts(path) == []


def test_a_fact_that_is_only_a_picture_is_a_fault(tmp_path):
    notebook, path = _chapter(), tmp_path / "01_x.ipynb"
    _code(notebook, 2).outputs = [new_output("display_data", {"image/png": "aGk="})]
    nbformat.write(notebook, path)
    assert "prints no number" in facts.altered_facts(path)[0]


def test_comparison_is_exact_for_text_and_blind_for_pictures():
    def printed(text):
        return [new_output("stream", text=text)]

    assert facts.same_outputs(printed("1.25\n"), printed("1.25\n"))
    assert not facts.same_outputs(printed("1.25\n"), printed("1.26\n"))
    assert not facts.same_outputs(printed("1.25\n"), [])
    picture = [new_output("display_data", {"image/png": data}) for data in "ab"]
    assert facts.same_outputs(picture[:1], picture[1:])


# ---------------------------------------------------------------- API pages


def test_api_pages_follow_all_and_tell_classes_from_functions(tmp_path):
    room = tmp_path / "elbo_tfp" / "bounds"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text(
        '"""Which number?"""\n__all__ = ["B", "elbo", "ALL"]\n'
    )
    (room / "elbo.py").write_text(
        "class B(C):\n    x: int\n    'X.'\n    y: int\n\ndef elbo(): pass\n"
        "ALL = {}\n'All of them.'\n"
    )
    (found,) = api.rooms(tmp_path)
    names, said = ["B", "elbo", "ALL"], {"ALL": "All of them."}
    assert found == ("bounds", "Which number?", names, {"B": ["x"]}, said)
    page = api.page(found)
    assert "py:data:: elbo_tfp.bounds.ALL\n\n   All of them.\n" in page
    assert ":members: x\n" in page
    assert page.index("autoclass:: elbo_tfp.bounds.B") < page.index(
        "autofunction:: elbo_tfp.bounds.elbo"
    )
    assert "[`bounds`](bounds.md) | Which number?" in api.index([found])
