"""The mutation tool makes the changes it says, and only where they mean something."""

import argparse
import ast

from tools import mutate

SOURCE = '''
def f(a, b: int = 2) -> bool:
    """Text."""
    if a < b and not a:
        raise ValueError(f"got {a + 1}")
    b += 1
    print(-a)
    return a * 3 if a is None else True


def g():
    return None
'''


def made():
    return {
        (line, what): ast.unparse(tree)
        for line, what, tree in mutate.mutants(ast.parse(SOURCE))
    }


def test_every_kind_of_change_is_made():
    found = made()
    expected = {
        (2, "2 -> 3"): "b: int=3",
        (4, "Lt -> LtE"): "a <= b",
        (4, "And -> Or"): "a < b or not a",
        (4, "drop Not"): "a < b and a:",
        (4, "turn the condition around"): "if not (a < b and (not a))",
        (5, "leave out raise"): "    pass",
        (6, "Add -> Sub"): "b -= 1",
        (6, "leave out augassign"): "pass\n",
        (7, "drop USub"): "print(a)",
        (7, "leave out expr"): "pass\n    return",
        (8, "Mult -> Div"): "a / 3",
        (8, "Is -> IsNot"): "a is not None",
        (8, "3 -> 4"): "a * 4",
        (8, "True -> False"): "else False",
        (8, "return None"): "return None",
    }
    for key, text in expected.items():
        assert text in found[key], (key, found[key])


def test_texts_annotations_and_docstrings_stay():
    original = ast.unparse(ast.parse(SOURCE))
    for text in made().values():
        assert text != original and '"""Text."""' in text and "-> bool" in text
    assert not [key for key in made() if key[0] == 5 and key[1] != "leave out raise"]


def test_a_return_of_nothing_stays():
    assert not [line for line, _ in made() if line >= 11]


def test_a_mutated_module_is_what_is_imported(tmp_path, monkeypatch):
    (tmp_path / "answer.py").write_text("VALUE = 41\n")
    monkeypatch.chdir(tmp_path)
    ((_, _, tree),) = mutate.mutants(ast.parse("VALUE = 41\n"))
    finder = mutate.Finder("answer.py", tree)
    spec = finder.find_spec("answer")
    module = mutate.importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.VALUE == 42 and finder.find_spec("other") is None


def test_children_report_and_are_stopped():
    assert mutate.in_child(lambda: 0, 10) == 0
    assert mutate.in_child(lambda: 1, 10) == 1
    assert mutate.in_child(lambda: 1 / 0, 10) == 3
    assert mutate.in_child(lambda: mutate.time.sleep(30), 0.2) is None


def test_a_survivor_meets_the_other_tests_of_its_files(tmp_path, monkeypatch, capsys):
    source = tmp_path / "one.py"
    source.write_text("a = 1\n")
    seconds = {"x.py::first": 1.0, "x.py::second": 2.0, "y.py::third": 1.0}
    asked = []

    def judged(_source, _tree, tests, limit):
        asked.append((sorted(tests), limit))
        return int("x.py::second" in tests)

    monkeypatch.setattr(mutate, "_outcome", judged)
    options = argparse.Namespace(sources=[str(source)], sample=None, seed=0, limit=9.0)
    mutate.report(options, {str(source): {"1": ["x.py::first"]}}, seconds)
    assert asked == [(["x.py::first"], 9.0), (["x.py::second"], 9.0)]
    assert "score 100.0%: {'killed': 1," in capsys.readouterr().out
