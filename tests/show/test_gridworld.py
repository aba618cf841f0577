"""Agents on a grid: what Python draws is what the browser computes."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from elbo_tfp.show.interactive import GridFigure
from tests.show.test_interactive import tab  # noqa: F401
from tests.statistics import says

ROWS = ["S.X", "..G"]
STOPS = [0.5, 1.0, 10.0]
RNG = np.random.default_rng(0)
POLICY = RNG.dirichlet(np.ones(4), (3, 6))
VISITS = RNG.uniform(0.1, 4, (3, 6))
READOUT = {"return, bold": [-1.26, -2.0, -30.04], "timid": [0.0, 1.0, 2.0]}


def small(**changes):
    given = {
        "agents": {"bold": (POLICY, VISITS), "timid": (POLICY[::-1], VISITS[::-1])},
        "readout": READOUT,
        "label": "temperature",
        "alt": 'a < "b"',
        "start": 1,
    }
    return GridFigure(ROWS, STOPS, **(given | changes))


@pytest.fixture(scope="module")
def figure():
    return small()


def test_state_is_policy_and_visits(figure):
    state = figure.state(2)
    assert state["at"] == "10" and state["readout"] == ["-30.0", "2.0"]
    floor = [0, 1, 3, 4]  # neither the goal nor the hazard
    for k, (policy, visits) in enumerate(
        ((POLICY[2], VISITS[2]), (POLICY[0], VISITS[0]))
    ):
        shade = 0.75 * (visits[floor] / visits[floor].max()) ** 0.5
        np.testing.assert_allclose(
            state["visits"][4 * k : 4 * k + 4], shade, atol=0.0051
        )
        arms = np.array(state["arms"][16 * k : 16 * k + 16]).reshape(4, 4, 2)
        for a, move in enumerate([(0, -1), (1, 0), (0, 1), (-1, 0)]):
            expected = 42 * policy[floor, a, None] * move
            np.testing.assert_allclose(arms[:, a], expected, atol=0.51)


def test_javascript_says_the_same(figure):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    code = f"console.log(JSON.stringify([0,1,2].map({figure.script()})))"
    ran = subprocess.run([node, "-e", code], capture_output=True, text=True, check=True)
    for stop, found in enumerate(json.loads(ran.stdout)):
        assert found == figure.state(stop)


def lines(tab):  # noqa: F811
    return tab.eval_on_selector_all(
        "line", "ls => ls.map(e => ['x1','x2','y1','y2'].map(a => +e.getAttribute(a)))"
    )


def test_keys_move_the_figure(figure, tab):  # noqa: F811
    tab.set_content(re.sub(r"<script>.*</script>", "", figure.html, flags=re.S))
    still = lines(tab), tab.inner_text(".readout")
    tab.set_content(figure.html)
    assert (lines(tab), tab.inner_text(".readout")) == still
    tab.focus("input")
    tab.keyboard.press("ArrowRight")
    state = figure.state(2)
    assert tab.inner_text("output") == "10"
    assert tab.locator("[data-value]").all_inner_texts() == state["readout"]
    arms = [[x2 - x1, y2 - y1] for x1, x2, y1, y2 in lines(tab)]
    np.testing.assert_allclose(arms, state["arms"], atol=1e-9)
    shades = tab.eval_on_selector_all(
        ".visits", "rs => rs.map(e => +e.getAttribute('fill-opacity'))"
    )
    np.testing.assert_allclose(shades, state["visits"], atol=1e-9)
    tab.set_viewport_size({"width": 360, "height": 700})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.errors == []


def test_it_is_labelled_and_repeatable(figure):
    assert small().html == figure.html and small(start=0).html != figure.html
    assert 'aria-label="a &lt; &quot;b&quot;"' in figure.html
    assert f'<label for="{figure.id}-stop">temperature</label>' in figure.html
    plain = figure._repr_mimebundle_()["text/plain"]
    assert "return, bold = -2.0, timid = 1.0" in plain


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"agents": {"bold": (POLICY[:2], VISITS)}}, ("(3, 6, 4)", "(2, 6, 4)")),
        ({"agents": {"bold": (POLICY, VISITS[:, :5])}}, ("(3, 6)", "(3, 5)")),
        ({"readout": {"return": [1.0]}}, ("readouts of 3", "[1, 3]")),
        ({"start": 3}, ("start below", "3")),
    ],
)
def test_errors(change, parts):
    with says("expected rows of one length", *parts):
        small(**change)
