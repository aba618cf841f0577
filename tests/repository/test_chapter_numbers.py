"""A chapter's number is its file's, however many chapters stand before it."""

import importlib.util
from types import SimpleNamespace

from docutils import nodes

from tools.settings import BOOK

spec = importlib.util.spec_from_file_location(
    "chapter_numbers", BOOK / "_ext" / "chapter_numbers.py"
)
chapter_numbers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(chapter_numbers)


def contents(*numbers):
    return nodes.bullet_list(
        "", *(nodes.reference(text="", secnumber=number) for number in numbers)
    )


def test_the_file_s_number_replaces_the_counted_one():
    chapter, page = "book/17_control", "book/which"
    env = SimpleNamespace(
        toc_secnumbers={
            chapter: {"": (13,), "#a": (13, 2), "#b": None},
            page: {"": (4,)},
        },
        tocs={chapter: contents([13], [13, 2], None), page: contents([4])},
        titles={chapter: nodes.title(secnumber=[13]), page: nodes.title(secnumber=[4])},
    )
    for _ in range(2):  # a second time changes nothing
        chapter_numbers._correct(env)
        assert env.toc_secnumbers[chapter] == {"": (17,), "#a": (17, 2), "#b": None}
        found = [node["secnumber"] for node in env.tocs[chapter]]
        assert found == [[17], [17, 2], None]
        assert env.titles[chapter]["secnumber"] == [17]
        assert env.toc_secnumbers[page] == {"": (4,)}
        assert env.titles[page]["secnumber"] == [4]
