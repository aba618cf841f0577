"""Continual learning: yesterday's posterior is today's prior.

p(w | D_1, D_2) is proportional to p(w | D_1) p(D_2 | w), so what was learned from D_1
enters today as a prior, and D_1 itself may go. A surrogate posterior takes the place of
the exact one; what it left out is then gone for good.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.applications.freezing import freeze
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import as_seed
from elbo_tfp.models import LatentVariableModel
from elbo_tfp.models.priors import check_same_event


def carry_over(model, surrogate_posterior) -> LatentVariableModel:
    """Tomorrow's model: today's q, frozen, in place of the global prior.

    Args:
        model: a model with a global prior, whose latent outlives the task.
        surrogate_posterior: q of the global latent, of any family.

    Returns:
        The same model under the new prior; exact answers do not carry over. Training q
        further does not move it.

    Raises:
        ValueError: if the model has no global latent, or q is not of the prior's event
            shape and dtype, has a batch shape, or as `freeze`.

    Source: Nguyen et al. (2018), equation 2.
    """
    if getattr(model, "global_prior", None) is None:
        raise wrong(
            "a model with a global prior, whose latent today and tomorrow share",
            type(model).__name__,
            "Latents of single data say nothing about the next ones; use "
            "LatentVariableModel(prior, likelihood, global_prior).",
        )
    prior = freeze(surrogate_posterior)
    check_same_event(prior, model.global_prior)
    if prior.batch_shape != model.global_prior.batch_shape:
        raise wrong(
            f"a q of batch shape {model.global_prior.batch_shape}, as the prior's",
            f"{prior.batch_shape}",
            "All data share one w.",
        )
    return model._with_global_prior(prior)


def split_tasks(labels, tasks) -> list[np.ndarray]:
    """The rows of each task.

    Args:
        labels: the class of each row, `[N]`, whole numbers.
        tasks: the classes of each task, such as `[(0, 1), (2, 3)]`.

    Raises:
        ValueError: if a task has fewer than two classes, or a class without a row.
    """
    labels, tasks = np.asarray(labels), _checked_tasks(tasks)
    for classes in tasks:
        empty = [c for c in classes if not np.any(labels == c)]
        if empty:
            raise wrong(
                f"data of every class of the task {classes}",
                f"no row of class {empty[0]}",
                "Leave the empty task out.",
            )
    return [np.flatnonzero(np.isin(labels, classes)) for classes in tasks]


def multi_head(logits, task, tasks) -> tf.Tensor:
    """Logits of a network with one head for each task: others' classes get -infinity.

    A head is the outputs of its task's classes, so a dense last layer of all classes
    holds all heads. Without this function they are a single head, and all compete.

    Args:
        logits: `[..., C]`.
        task: the number of the task, scalar or such that it broadcasts with `[...]`;
            someone must know it, at test time too. Where it is known only at run time
            (in a graph), logits of a task that does not exist are NaN.
        tasks: the classes of each task, whole numbers below C.

    Raises:
        ValueError: if a task has fewer than two classes, or one that is not below C,
            there is not one task number for each row of logits, or no task of a number.
    """
    logits, task = tf.convert_to_tensor(logits), tf.convert_to_tensor(task)
    if not (logits.dtype.is_floating and task.dtype.is_integer):
        raise wrong(
            "floating logits and whole numbers of tasks",
            f"{logits.dtype.name} and {task.dtype.name}",
        )
    tasks, num_classes = _checked_tasks(tasks), logits.shape[-1]
    largest = max(map(max, tasks))
    if largest >= num_classes:
        raise wrong(f"classes below {num_classes}, one logit each", largest)
    _check_rows(logits, task)
    task = tf.cast(task, tf.int32)
    known, exists = tf.get_static_value(task), (task >= 0) & (task < len(tasks))
    if known is not None and not np.all((known >= 0) & (known < len(tasks))):
        raise wrong(f"tasks 0 to {len(tasks) - 1}", known, "Tasks count from 0.")
    own = np.zeros([len(tasks), num_classes], bool)
    for row, classes in zip(own, tasks, strict=True):
        row[list(classes)] = True
    # XLA would take the nearest task there is
    mine = tf.gather(tf.constant(own), tf.where(exists, task, tf.zeros_like(task)))
    out = tf.where(exists, tf.constant(-np.inf, logits.dtype), np.nan)[..., tf.newaxis]
    return tf.where(mine & exists[..., tf.newaxis], logits, out)


def _check_rows(logits, task):
    lead = logits.shape[:-1]
    if task.shape.rank is None or lead.rank is None:
        return
    try:
        fits = task.shape.rank <= lead.rank
        fits = fits and tf.broadcast_static_shape(task.shape, lead)
    except ValueError:
        fits = False
    if fits is False:
        raise wrong(
            f"task to be one number, or one for each row of logits {logits.shape}",
            f"shape {task.shape}",
            "Row i of logits belongs to task[i].",
        )


def _checked_tasks(tasks):
    tasks = [tuple(whole("a class", c, 0) for c in classes) for classes in tasks]
    few = [classes for classes in tasks if len(set(classes)) < 2]
    if few or not tasks:
        raise wrong(
            "tasks of at least two classes",
            few[0] if few else "no task",
            "With one class there is nothing to tell apart: its probability is 1.",
        )
    return tasks


def coreset(x, size, *, method="random", seed) -> np.ndarray:
    """Rows to keep of a task.

    Args:
        x: data of the task, `[N]` + event.
        size: how many rows to keep.
        method: "random"; or "k-centre", greedy: each next row is the one farthest
            (Euclidean) from those kept.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        Row numbers, `[size]`, all different, in the order in which they were chosen.

    Raises:
        ValueError: if the task is empty or smaller than the coreset, or the method
            unknown.

    Source: Nguyen et al. (2018), section 2.2; k-centre: Gonzalez (1985).
    """
    x, size = np.asarray(x, np.float64), whole("size", size)
    if not x.ndim or size > len(x):
        raise wrong(
            "a coreset no larger than its task",
            f"size {size} of {len(x) if x.ndim else 0} rows",
            "Keep all of a small task.",
        )
    if not np.isfinite(x).all():
        raise wrong("finite x", "NaN or infinity", "No row is near or far of those.")
    noise = tf.random.stateless_uniform([len(x)], as_seed(seed)).numpy()
    if method == "random":
        return np.argsort(noise, kind="stable")[:size]
    if method != "k-centre":
        raise wrong('method to be "random" or "k-centre"', repr(method))
    x = x.reshape(len(x), -1)
    kept, far = [int(noise.argmin())], np.full(len(x), np.inf)
    while len(kept) < size:
        # distance of each row to the nearest one kept; those kept are out
        far = np.minimum(far, np.sum((x - x[kept[-1]]) ** 2, 1))
        far[kept] = -1
        kept.append(int(far.argmax()))
    return np.array(kept)
