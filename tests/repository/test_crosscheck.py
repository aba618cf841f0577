"""The same numbers in other libraries; nothing stored is read.

SciPy and scikit-learn are asked in full, the others for their exact rows where
.venv-bench has them: `make crosscheck` asks for all.
"""

import numpy as np
import pytest

from benchmarks import crosscheck
from benchmarks.crosschecks import ours, problem

EXACT = {
    "statsmodels": ["negative_binomial_regression", "zero_inflated_regression"],
    "NumPyro": ["log_weights", "kl", "enumerated_log_joint"],
    "Pyro": ["log_weights", "kl", "enumerated_log_joint"],
}


@pytest.mark.parametrize(("library", "number"), [("SciPy", 10), ("scikit-learn", 7)])
def test_every_row_agrees(library, number):
    rows, _ = crosscheck.check([library])
    assert len(rows) == number
    assert not [row for row in rows if not row.agrees], crosscheck.table(rows)
    # an error of a tenth of a nat would be seen
    assert max(row.error for row in rows) < 0.025


@pytest.mark.parametrize("library", EXACT)
def test_exact_rows_of_the_peers_agree(library):
    said = []
    rows, versions = crosscheck.check([library], EXACT[library], said.append)
    if not rows:
        pytest.skip(f"{said[0]} make crosscheck installs it.")
    assert len(rows) == len(EXACT[library])
    assert not [row for row in rows if not row.agrees], crosscheck.table(rows)
    assert library.lower() in {name.removesuffix("-ppl") for name in versions}


def row(mine, its, my_error=0.0, its_error=0.0):
    pairs = (np.atleast_1d(mine), my_error), (np.atleast_1d(its), its_error)
    return crosscheck.compare("a number", "a library", *pairs)


def test_what_agrees():
    assert row(1.0, 1.0 + 9e-7).agrees and not row(1.0, 1.0 + 2e-6).agrees
    # four errors of the difference, 5 = |(3, 4)|
    assert row(0.0, 19.9, 3.0, 4.0).agrees and not row(0.0, -20.1, 3.0, 4.0).agrees
    assert not row(np.nan, 0.0).agrees and not row(np.nan, 0.0, 1.0).agrees
    found = row([1.0, 2.0, 3.0], [1.0, 2.5, 3.1])
    assert (found.difference, found.numbers, found.ours) == (-0.5, 3, 1.0)
    assert "DISAGREES" in crosscheck.table([found])


def test_rows_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="as many numbers from a library .* got 2 and"):
        row([1.0], [1.0, 2.0])


def test_a_row_that_disagrees_ends_the_command(monkeypatch, capsys):
    rows = [row(1.0, 1.0), row(1.0, 2.0)]
    monkeypatch.setattr(crosscheck, "check", lambda only: (rows, {}))
    monkeypatch.setattr("sys.argv", ["crosscheck.py"])
    with pytest.raises(SystemExit, match="1 of 2 rows disagree"):
        crosscheck.main()
    assert "2 rows, 1 disagree" in capsys.readouterr().out


def test_an_absent_library_is_named(monkeypatch):
    monkeypatch.setitem(crosscheck.PEERS, "Pyro", ("with_pyro", "/no/python"))
    said = []
    assert crosscheck.check(["Pyro"], ["kl"], said.append)[0] == []
    assert said[0].startswith("Pyro is left out: /no/python cannot be run")


def test_rows_have_a_name_of_their_own():
    functions = [f for f in vars(ours).values() if getattr(f, "is_row", False)]
    names = [f.__doc__ for f in functions]
    assert len(set(names)) == len(names) == 27
    assert all(len(name) < 50 for name in names)


def test_errors_of_means():
    mean, error = problem.mean([1.0, 2.0, 3.0, 6.0])
    assert mean == 3.0 and error == pytest.approx((14 / 3 / 4) ** 0.5)
