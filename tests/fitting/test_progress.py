"""The progress bar: off unless someone watches, and right when it is on."""

import sys
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import fit
from elbo_tfp.fitting.progress import describe, wanted


def test_the_bar_shows_elbo_error_and_speed(capsys):
    v = tf.Variable(0.0)
    fit(lambda: v * 0.0 - 3.5, num_steps=40, seed=0, progress=True)
    shown = capsys.readouterr().err
    assert "40/40" in shown and "ELBO -3.500 +- 0.000 nats" in shown
    assert "step/s" in shown or "s/step" in shown


def test_the_bar_is_off_outside_a_terminal(capsys):
    v = tf.Variable(0.0)
    fit(lambda: v * 0.0, num_steps=4, seed=0)
    fit(lambda: v * 0.0, num_steps=4, seed=0, progress=False)
    assert capsys.readouterr().err == ""


def test_a_terminal_or_a_notebook_wants_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    for answer in (True, False):
        stream = SimpleNamespace(isatty=lambda answer=answer: answer)
        monkeypatch.setattr(sys, "stderr", stream)
        assert wanted() is answer
    monkeypatch.setattr(sys, "stderr", None)
    assert wanted() is False
    shell = SimpleNamespace(kernel=object())
    notebook = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    assert wanted() is True
    monkeypatch.setattr(notebook, "get_ipython", lambda: None)
    assert wanted() is False


def test_description_by_hand():
    assert describe(np.float32([1.0, 3.0])) == "ELBO 2.000 +- 0.707 nats"
    assert describe(np.zeros([0])) == ""
