"""What the pages before the chapters claim: the drawing's numbers, the code."""

import re

import numpy as np

from tools.settings import BOOK


def _page(name):
    return (BOOK / name).read_text(encoding="utf-8")


def _exact_elbo(mean, variance, x=1.0):
    """E_q[log N(z; 0, 1) + log N(x; z, 1)] + entropy of q = N(mean, variance)."""
    log_p = -np.log(2 * np.pi) - (mean**2 + (x - mean) ** 2 + 2 * variance) / 2
    return log_p + np.log(2 * np.pi * np.e * variance) / 2


def test_landing_page_draws_bars_of_the_right_length():
    page = _page("index.md")
    bars = re.findall(r'<rect x="10" .*?width="([\d.]+)" .*?data-elbo="(\S+)"', page)
    gaps = re.findall(r'<rect x="([\d.]+)" y="\S+\.5" width="([\d.]+)"', page)
    evidence = -np.log(4 * np.pi) / 2 - 1 / 4
    members = [(0, 1.5**2), (0.2, 0.3), (0.5, 0.5)]
    assert len(bars) == 3 and len(gaps) == 2
    for (width, stated), member in zip(bars, members, strict=True):
        elbo = _exact_elbo(*member)
        assert abs(float(stated) - elbo) < 1e-6
        # 246 pixels per nat from -3 nats on
        assert abs(float(width) - 246 * (elbo + 3)) < 0.1
        gap = f"{evidence - elbo:.2f}".replace("0.00", "0")
        assert f"ELBO −{-elbo:.2f}, gap {gap}</text>" in page
    for (start, width), member in zip(gaps, members[:2], strict=True):
        assert abs(float(width) - 246 * (evidence - _exact_elbo(*member))) < 0.1
        assert abs(float(start) - 10 - 246 * (_exact_elbo(*member) + 3)) < 0.1


def test_code_for_a_notebook_of_ones_own_gives_the_number_it_promises(capsys):
    page = _page("how_to_read.md")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(compile(code, "how_to_read.md", "exec"), {})
    printed = re.findall(r"-?\d\.\d+", capsys.readouterr().out)
    value, error = map(float, printed)
    exact = float(re.search(r"# exact: (\S+) nats", code)[1])
    assert abs(exact - _exact_elbo(0.2, 0.3)) < 1e-6
    # a wrong sign, scale or density would move the bound by 0.01 nats or more
    assert abs(value - exact) < 4 * error + 5e-4 and 0 < error < 0.003
