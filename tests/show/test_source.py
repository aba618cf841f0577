"""`show_source` prints what runs."""

import numpy as np
import pytest

from elbo_tfp import show_source
from tests.statistics import says


def documented(x):
    """A docstring
    of two lines.
    """
    # a comment stays
    return x + 1


def plain(x):
    return x + 1


def only_text():
    """Nothing else."""


class Thing:
    """A class."""

    def method(self):
        """A method."""
        return 1


# fmt: off
def on_one_line(): "text"; return 1  # noqa: E702, E704


def test_the_docstring_is_left_out_unless_asked_for(capsys):
    show_source(documented)
    expected = "def documented(x):\n    # a comment stays\n    return x + 1\n"
    assert capsys.readouterr().out == expected
    show_source(documented, docstring=True)
    assert "of two lines." in capsys.readouterr().out


def test_methods_are_dedented_and_classes_lose_their_own_docstring(capsys):
    show_source(Thing.method)
    assert capsys.readouterr().out == "def method(self):\n    return 1\n"
    show_source(Thing)
    shown = capsys.readouterr().out
    assert "A class." not in shown and '"""A method."""' in shown


@pytest.mark.parametrize("thing", [plain, only_text, on_one_line])
def test_nothing_else_is_removed(thing, capsys):
    show_source(thing, docstring=True)
    whole = capsys.readouterr().out
    show_source(thing)
    assert capsys.readouterr().out == whole


@pytest.mark.parametrize("thing", [np.add, len, 3, "text"])
def test_what_has_no_source_is_an_error(thing):
    with says("expected a function or class with Python source", repr(thing)):
        show_source(thing)


def test_a_fragment_is_an_error():
    with says("Python source"):
        show_source(
            sorted([1], key=lambda v: v) and (lambda v: v
            ))
