"""The movable figures: their numbers against TFP, in Python and in JavaScript."""

import ast
import json
import os
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tensorflow_probability as tfp

from elbo_tfp.show import interactive, plots
from elbo_tfp.show.interactive import (
    Axis,
    Band,
    Curve,
    Mark,
    Slider,
    SliderFigure,
    drawing,
    formula,
    gaussian_elbo,
    look,
    page,
)

tfd = tfp.distributions
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
MEANS, SCALES = np.linspace(-1, 2, 13), np.linspace(0.1, 2.05, 14)


@pytest.fixture(scope="module")
def figure():
    return gaussian_elbo(0.5, 0.5**0.5, -1.515512, mean=0.0, scale=1.5)


@pytest.fixture(scope="module")
def tab():
    """A page of a headless Chromium, where there is one."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not here")
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        opened = browser.new_page()
        opened.errors = []
        opened.on("pageerror", lambda error: opened.errors.append(str(error)))
        yield opened
        browser.close()


def _positions():
    return [{"mean": float(m), "scale": float(s)} for m, s in product(MEANS, SCALES)]


def _run_in_node(figure, positions):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    code = f"const f={figure.script()};console.log(JSON.stringify(POSITIONS.map(f)))"
    code = code.replace("POSITIONS", json.dumps(positions))
    ran = subprocess.run([node, "-e", code], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_gap_is_the_divergence_of_tfp(figure, language):
    positions = _positions()
    if language == "python":
        found = [figure.values(**position) for position in positions]
    else:
        found = _run_in_node(figure, positions)
    q = tfd.Normal(
        np.array([p["mean"] for p in positions]),
        np.array([p["scale"] for p in positions]),
    )
    exact = tfd.kl_divergence(q, tfd.Normal(np.float64(0.5), 0.5**0.5)).numpy()
    assert len(found) == 182
    np.testing.assert_allclose([v["gap"] for v in found], exact, atol=1e-12)
    np.testing.assert_allclose(
        [v["elbo"] for v in found], -1.515512 - exact, atol=1e-12
    )


def test_start_is_fact_two(figure):
    found = figure.values()
    assert page.number(found["elbo"], 6) == "-2.763473"
    assert figure.values(mean=0.5, scale=0.5**0.5)["gap"] == pytest.approx(0, abs=1e-15)
    shown = figure._repr_mimebundle_()
    assert shown["text/html"] == figure.html
    assert "ELBO = -2.763, gap = 1.248" in shown["text/plain"]


def test_keys_move_the_figure_as_python_says(figure, tab):
    tab.set_content(figure.html)
    before = tab.locator(".curve").nth(1).get_attribute("d")
    for name, moves in {"mean": 7, "scale": -4}.items():
        tab.focus(f"input[name={name}]")
        for _ in range(abs(moves)):
            tab.keyboard.press("ArrowRight" if moves > 0 else "ArrowLeft")
    expected = figure.values(mean=0.35, scale=1.3)
    for name in figure.readout.values():
        shown = tab.inner_text(f"[aria-live=polite] [data-value={name}]")
        assert shown == page.number(expected[name])
    assert tab.locator("output").all_inner_texts() == ["0.35", "1.30"]
    elbo = tab.locator(".mark").nth(1)
    place = drawing._along(expected["elbo"], figure.ruler)
    assert float(elbo.get_attribute("x1")) == pytest.approx(place, abs=0.06)
    after = tab.locator(".curve").nth(1).get_attribute("d")
    moved = drawing._path(figure, figure.curves[1].formula, expected)
    assert before != after
    np.testing.assert_allclose(_numbers(after), _numbers(moved), atol=0.101)
    assert tab.errors == []


def test_script_changes_nothing_at_the_start(figure, tab):
    """What Python draws is what the browser draws: tell it apart from a still."""
    tab.set_content(re.sub(r"<script>.*</script>", "", figure.html, flags=re.S))
    still = [tab.inner_text(".readout"), tab.locator("svg.plot").inner_html()]
    tab.set_content(figure.html)
    assert tab.inner_text(".readout") == still[0]
    first, second = still[1], tab.locator("svg.plot").inner_html()
    np.testing.assert_allclose(_numbers(first), _numbers(second), atol=0.101)


def test_two_figures_on_one_page_do_not_disturb_each_other(figure, tab):
    other = gaussian_elbo(2.5, 0.5**0.5, -7.5155, mean=2.0, scale=1.0)
    tab.set_content(figure.html + other.html)
    tab.focus(f"#{other.id}-mean")
    tab.keyboard.press("ArrowRight")
    assert tab.inner_text(f"#{figure.id} .readout b >> nth=1") == "-2.763"
    expected = page.number(other.values(mean=2.05)["elbo"])
    assert tab.inner_text(f"#{other.id} .readout b >> nth=1") == expected


def test_fits_a_phone(figure, tab):
    tab.set_viewport_size({"width": 360, "height": 700})
    tab.set_content(f'<body style="margin:0">{figure.html}</body>')
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    size = tab.evaluate("parseFloat(getComputedStyle(document.querySelector('text'))"
                        ".fontSize) * document.querySelector('svg.plot')"
                        ".getBoundingClientRect().width / 640")  # fmt: skip
    assert size >= 12


def _numbers(text):
    return [float(v) for v in re.findall(r"-?\d+(?:\.\d+)?", text)]


# ---------------------------------------------------------------- what is written


def test_same_description_same_bytes(figure):
    again = gaussian_elbo(0.5, np.float64(0.5**0.5), -1.515512, mean=0, scale=1.5)
    assert again.html == figure.html
    assert gaussian_elbo(0.5, 0.7, -1.5).id != figure.id


def test_every_slider_has_a_label_and_the_picture_words(figure):
    html = figure.html
    for slider in figure.sliders:
        key = f"{figure.id}-{slider.name}"
        assert f'<label for="{key}">{slider.label}</label><input id="{key}"' in html
    assert 'role="img" aria-label="Two bell curves' in html
    assert html.count('aria-live="polite"') == 1
    assert "fill:currentColor" in html
    assert not re.search(r"https?://(?!www\.w3\.org)", html)


def test_labels_are_escaped():
    sliders = [Slider("a", "a & b", 0, 1, 0.5, 0.5), Slider("b", "b", 0, 2, 1, 0.5)]
    made = _small(alt='x < "y"', sliders=sliders)
    assert "a &amp; b" in made.html
    assert "x &lt; &quot;y&quot;" in made.html


def test_palette_is_the_books():
    assert plots.COLORS | {"amber": plots.AMBER} == look.COLORS


@pytest.mark.parametrize("paper", ["#ffffff", "#12171c"])
def test_every_colour_stands_out_on_both_papers(paper):
    for name, hue in look.COLORS.items():
        light, dark = sorted([_luminance(hue), _luminance(paper)], reverse=True)
        # lines need 3 : 1 (WCAG 1.4.11)
        assert (light + 0.05) / (dark + 0.05) >= 3, name


def _luminance(hue):
    part = [int(hue[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    part = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in part]
    return float(np.dot([0.2126, 0.7152, 0.0722], part))


def test_ticks_are_round():
    assert drawing.ticks(-8.0, -1.0, 7) == [-8, -7, -6, -5, -4, -3, -2, -1]
    assert drawing.ticks(0.0, 1.13, 3) == [0, 0.5, 1.0]
    assert drawing.ticks(0.03, 0.31, 3) == [0.1, 0.2, 0.3]


def test_numbers_have_no_negative_zero():
    assert page.number(-1e-9) == "0.000"
    assert page.number(-0.0006) == "-0.001"
    assert page.number(float("nan")) == "–"


def test_what_lies_outside_stays_inside():
    axis = Axis(0.0, 1.0, "")
    assert drawing._along(-5, axis) == look.LEFT
    assert drawing._along(5, axis) == look.WIDTH - look.RIGHT
    assert drawing._up(50, axis) == pytest.approx(look.TOP - 0.05 * 198)


# ---------------------------------------------------------------- formulas


FORMULAS = {
    "2*a - b/4": 2 * 0.3 - 1.7 / 4,
    "-a**2": -(0.3**2),
    "(-a)**2": 0.3**2,
    "a**-b": 0.3**-1.7,
    "2**a**b": 2 ** (0.3**1.7),
    "log(b) + exp(a) - sqrt(b)": np.log(1.7) + np.exp(0.3) - np.sqrt(1.7),
    "max(a, b) - min(a, b, 0.1) + abs(-b)": 1.7 - 0.1 + 1.7,
    "2*pi": 2 * np.pi,
}


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_in_python(text):
    assert formula.evaluate(text, {"a": 0.3, "b": 1.7}) == pytest.approx(FORMULAS[text])


def test_formulas_in_javascript():
    numbered = {f"f{k}": text for k, text in enumerate(FORMULAS)}
    figure = _small(quantities={"sum": "a + b"} | numbered)
    found = _run_in_node(figure, [{"a": 0.3, "b": 1.7}])[0]
    assert [found[f"f{k}"] for k in range(len(FORMULAS))] == pytest.approx(
        list(FORMULAS.values())
    )


@pytest.mark.parametrize(
    "text",
    ["a +", "a.b", "a[0]", "open('x')", "a if b else 1", "'a'", "a < b", "exp(x=1)"],
)
def test_more_than_arithmetic_is_an_error(text):
    with pytest.raises(ValueError, match="expected a formula of numbers"):
        formula.evaluate(text, {"a": 1, "b": 2})


def test_unknown_names_are_errors():
    with pytest.raises(ValueError, match=r"names among \['a'\].*got 'c'"):
        formula.evaluate("a + c", {"a": 1.0})
    with pytest.raises(ValueError, match=r"sliders among \['a', 'b'\]; got \['c'\]"):
        _small().values(c=1.0)


# ---------------------------------------------------------------- descriptions


def _small(**changes):
    given = {
        "sliders": [Slider("a", "a", 0, 1, 0.5, 0.5), Slider("b", "b", 0, 2, 1, 0.5)],
        "quantities": {"sum": "a + b"},
        "readout": {"sum": "sum"},
        "alt": "a bar",
        "ruler": Axis(0, 3, "nats"),
        "bands": [Band("sum", "0", "sum")],
    }
    return SliderFigure(**(given | changes))


def test_a_figure_may_have_no_curves_or_no_ruler():
    assert 'class="curve"' not in _small().html
    without = _small(
        ruler=None,
        bands=[],
        curves=[Curve("a line", "a*x")],
        x_axis=Axis(0, 1, "x"),
        y_axis=Axis(0, 1, "y"),
    )
    assert 'class="spot' not in without.html
    assert 'class="curve"' in without.html


def test_faulty_descriptions_are_errors():
    with pytest.raises(ValueError, match="slider 'a' to start between 0.0 and 1.0"):
        _small(sliders=[Slider("a", "a", 0, 1, 1.5, 0.5)])
    with pytest.raises(ValueError, match="a multiple of 0.5 from the left; got 0.3"):
        _small(sliders=[Slider("a", "a", 0, 1, 0.3, 0.5)])
    with pytest.raises(ValueError, match="expected a colour among .*; got 'red'"):
        _small(marks=[Mark("m", "a", "red")])
    with pytest.raises(ValueError, match=r"expected readout to name .*; got \['c'\]"):
        _small(readout={"see": "c"})
    with pytest.raises(ValueError, match="expected posterior_scale > 0; got -1"):
        gaussian_elbo(0.0, -1.0, -2.0)
    with pytest.raises(ValueError, match="slider 'mean' to start"):
        gaussian_elbo(0.0, 1.0, -2.0, mean=9.0)


def test_the_room_imports_nothing_else_of_the_package():
    room = Path(formula.__file__).parent
    for path in room.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("elbo_tfp"):
                assert node.module.startswith("elbo_tfp.show.interactive"), path


def test_numbers_without_a_unit_show_none():
    plain = interactive.count_zeros()
    assert "nats" not in plain.html.split('class="readout"')[1].split("</p>")[0]
    nats = interactive.two_humps().html.split('class="readout"')[1]
    assert "</b> nats</span>" in nats
