"""A table in text and in HTML."""

import math

from elbo_tfp.ground.tables import Table

TABLE = Table(
    "Title, <nats>",
    ("mean", "noise +-"),
    (
        ("heading", ()),
        ("evidence", (-4.11719, 1234567.0)),
        ("nothing", (None, math.nan)),
        ("zero & word", (-0.0004, "exact")),
    ),
    ("one note", "a < b"),
)


def test_text_lines_up():
    assert str(TABLE).splitlines() == [
        "Title, <nats>",
        "                   mean    noise +-",
        "-" * 35,
        "heading",
        "evidence         -4.117 1234567.000",
        "nothing               -           -",
        "zero & word       0.000       exact",
        "-" * 35,
        "one note",
        "a < b",
    ]


def test_html_escapes_and_says_what_a_header_heads():
    page = TABLE._repr_html_()
    assert "<caption>Title, &lt;nats&gt;</caption>" in page
    assert '<th scope="col"></th><th scope="col">mean</th>' in page
    assert '<tr><th scope="row" colspan="3">heading</th></tr>' in page
    assert '<th scope="row">zero &amp; word</th><td>0.000</td><td>exact</td>' in page
    assert page.endswith("<p>one note<br>a &lt; b</p>")


def test_narrow_numbers_keep_a_column_of_ten():
    lines = str(Table("t", ("a",), (("row", (1.0,)),))).splitlines()
    assert lines[1:] == ["            a", "-" * 13, "row     1.000", "-" * 13]
