"""What the objective trains besides the model and q."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.audit.climbing import caller
from elbo_tfp.audit.results import Finding
from elbo_tfp.fitting.objective import requested
from elbo_tfp.ground.seeds import split_seed


def check_own_variables(objective, look, result, seed):
    """Looks for trained numbers of the objective alone, such as a KL weight.

    `fit` trains every variable that it reads. A single number that neither the model
    nor q reads, and that the value depends on, goes where the value is largest: a KL
    weight to 0. A learned baseline moves no value and is left alone. Variables end as
    they were.
    """
    names = () if objective is None else requested(objective)
    if objective is None or ("batch" in names and look.x is None):
        return []
    rows, ask_seed = look.x if look.x is None else look.rows(20), split_seed(seed)[0]
    value = caller(objective, names, rows, look.num_data or look.size)
    with tf.GradientTape() as tape:
        look.draw(rows, 2, ask_seed)
    known = {id(v) for v in tape.watched_variables()}
    with tf.GradientTape() as tape:
        before = value(ask_seed)
    read = [v for v in tape.watched_variables() if id(v) not in known]
    if result is not None:
        trained = {id(v) for v in result.variables}
        read = [v for v in read if id(v) in trained]
    numbers = [v for v in read if v.shape.num_elements() == 1]
    moved = [v for v in numbers if _moves(v, lambda: value(ask_seed) - before)]
    if not moved or value(ask_seed) != before:  # one seed, two answers: another fault
        return []
    note = ", ".join(v.name for v in moved)
    cells = "trained besides model and q", len(moved)
    return [Finding("variables", "alarm", *cells, fault="own_weight", note=note)]


def _moves(variable, change):
    """Whether the value changes with a variable, which is put back."""
    old = variable.numpy()
    try:
        variable.assign(old + np.asarray(0.5, old.dtype))
        return change() != 0
    finally:
        variable.assign(old)
