"""The gap ladder and the collapse panel: what is drawn, and where."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt

from elbo_tfp.gaps import CollapseReport, GapReport, PerDatum
from elbo_tfp.show import plots
from tests.statistics import says


@pytest.fixture(autouse=True)
def closed():
    with mpl.rc_context():
        yield
    plt.close("all")


def gap_report(shift=0.0, train=None):
    def numbers(*values):
        return PerDatum(np.array(values) + shift, np.array([0.3, 0.4]))

    gaps = [PerDatum(np.array(v), np.array([0.3, 0.4])) for v in ([1, 1], [3, 5])]
    return GapReport(
        numbers(-10.0, -12.0),
        numbers(-11.0, -13.0),
        numbers(-14.0, -18.0),
        *gaps,
        PerDatum(gaps[0].value + gaps[1].value, gaps[0].standard_error),
        np.array([True, True]),
        np.array([50.0, 50.0]),
        100,
        "importance",
        None,
        train,
    )


def collapse_report(kl=(0.1, 2.0, 0.0), active=(True, True, False)):
    two = PerDatum(np.array([1.0, 2.0]), np.array([0.1, 0.1]))
    parts = None if kl is None else np.array(kl)
    variance = np.array([0.02, 0.9, 0.001])
    return CollapseReport(
        np.array(active), variance, variance / 9, parts, parts, two, two, two, two, 0.01
    )


def test_a_ladder_s_columns_run_from_the_evidence_to_the_encoder():
    ax = plots.gap_ladder(gap_report())
    upper, lower = ax.patches
    # means: evidence -11, best -12, encoder -16
    assert (upper.get_y(), upper.get_height()) == (-12, 1)
    assert (lower.get_y(), lower.get_height()) == (-16, 4)
    assert [t.get_text() for t in ax.texts] == ["1.00", "4.00"]
    assert lower.get_hatch() and not upper.get_hatch()
    levels = ax.collections[-1].get_segments()
    assert sorted(s[0][1] for s in levels) == [-12, -11]
    # two standard errors of the mean, 0.25 each
    bars = [c.get_segments()[0] for c in ax.collections[:2]]
    np.testing.assert_allclose([b[1][1] - b[0][1] for b in bars], [1.0, 1.0])
    assert ax.get_ylabel() == "nats per datum" and len(ax.get_legend().texts) == 2


def test_a_ladder_for_training_data_and_for_several_reports():
    ax = plots.gap_ladder(gap_report(train=gap_report(2.0)))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["training data", "new data"]
    assert [p.get_y() for p in ax.patches] == [-10, -12, -14, -16]
    own = plt.subplots()[1]
    ax = plots.gap_ladder({"a": gap_report(), "b": gap_report(1.0)}, ax=own)
    assert ax is own and len(ax.patches) == 4
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]


def test_a_panel_sorts_dimensions_and_empties_what_is_off():
    ax = plots.collapse_panel(collapse_report())
    assert [p.get_height() for p in ax.patches] == [2.0, 0.1, 0.0]
    assert [p.get_facecolor()[3] > 0 for p in ax.patches] == [True, True, False]
    assert ax.get_ylabel() == "KL to the prior, nats"
    (text,) = ax.get_legend().texts
    assert text.get_text() == "2 of 3 active, I = 1.5 nats, z ignored"


def test_a_panel_before_and_after():
    off = collapse_report((0.0, 0.0, 0.0), (False, False, False))
    ax = plots.collapse_panel({"before": off, "after": collapse_report()})
    assert len(ax.patches) == 6
    before, after = (t.get_text() for t in ax.get_legend().texts)
    assert before.startswith("before: 0 of 3") and after.startswith("after: 2 of 3")
    # legend entries are filled, whatever is drawn
    handles = ax.get_legend().legend_handles
    assert all(h.get_facecolor()[3] > 0 for h in handles)
    assert handles[0].get_hatch() != handles[1].get_hatch()


def test_a_panel_without_marginals_shows_the_means_variance():
    ax = plots.collapse_panel(collapse_report(kl=None))
    assert [p.get_height() for p in ax.patches] == [0.9, 0.02, 0.001]
    assert ax.get_ylabel() == "variance of q's mean"


def test_a_panel_holds_five_reports_at_most():
    with says("at most five reports; got 6"):
        plots.collapse_panel({str(i): collapse_report() for i in range(6)})


def test_a_ladder_may_have_no_label():
    ax = plots.gap_ladder({"": gap_report()})
    assert [t.get_text() for t in ax.get_xticklabels()] == [""]


def test_what_is_no_report():
    with says("what gaps.gap_report returns", "got CollapseReport"):
        plots.gap_ladder(collapse_report())
    with says("what gaps.gap_report returns", "got int"):
        plots.gap_ladder({"a": gap_report(), "b": 3})
    with says("what gaps.collapse_report returns", "got an empty dict"):
        plots.collapse_panel({})
    with says("what gaps.collapse_report returns", "got GapReport"):
        plots.collapse_panel(gap_report())
