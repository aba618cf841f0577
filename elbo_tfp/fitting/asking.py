"""What `fit` is asked to do, checked: wrong input becomes a plain `ValueError`."""

from __future__ import annotations

import numbers

import tensorflow as tf

from elbo_tfp.fitting import checkpoint, convergence, schedules, stream
from elbo_tfp.fitting import feed as feeding
from elbo_tfp.fitting import held_out as holding
from elbo_tfp.fitting.step import Options
from elbo_tfp.ground.seeds import as_seed


def checkpoints(asked, mark: dict, num_steps: int):
    """The checkpoint writer, or None, and the steps between two checkpoints."""
    folder, every, resume, init = asked
    if folder is None:
        if every is not None or resume:
            raise ValueError(
                "checkpoint_every and resume need checkpoint_dir=, a folder."
            )
        return None, num_steps
    if init is not None:
        raise ValueError(
            "init and checkpoint_dir cannot be combined: go on from one of them."
        )
    every = max(1, num_steps // 10) if every is None else every
    every = count("checkpoint_every", every)
    return checkpoint.Checkpoints(folder, resume, mark), every


def seed(seed, init) -> tuple[int, int]:
    """The stateless seed as a pair; that of `init` if none is given."""
    if init is not None and seed is None:
        return init.seed
    seed = tuple(int(part) for part in as_seed(seed).numpy())
    if init is not None and seed != init.seed:
        raise ValueError(
            f"init was fitted with seed {init.seed}; got another one, {seed}. Leave "
            "seed out to continue that fit; for other noise, start a new one."
        )
    return seed


def count(name: str, value) -> int:
    """A positive integer."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"expected {name} to be an integer > 0; got {value!r}.")
    return int(value)


def feed(data, batch_size, seed, names):
    """Where the batches come from."""
    if data is None:
        if "batch" in names:
            raise ValueError(
                "the objective asks for a batch, but fit got no data. Pass data=, and "
                "batch_size= for minibatches."
            )
        if batch_size is not None:
            raise ValueError("fit got batch_size but no data. Pass data=.")
        return feeding.NoData()
    if "batch" not in names:
        raise ValueError(
            "fit got data, but the objective's signature names no batch. Write it as "
            "objective(batch, seed), or leave data out."
        )
    if isinstance(data, tf.data.Dataset):
        return stream.Stream(data, batch_size and count("batch_size", batch_size))
    data = feeding.as_tensors(data)
    n = feeding.length(data)
    if batch_size is None:
        return feeding.FullBatch(data)
    if count("batch_size", batch_size) > n:
        raise ValueError(
            f"expected batch_size to be at most the number of data, {n}; got "
            f"{batch_size}. Leave it out to use all data at every step."
        )
    if batch_size == n:
        return feeding.FullBatch(data)
    return feeding.Minibatches(data, int(batch_size), seed)


def schedule(names, kl_schedule, num_steps: int):
    """The KL schedule, or None."""
    if kl_schedule is None:
        return None
    if "kl_weight" not in names:
        raise ValueError(
            "fit got a kl_schedule, but the objective's signature names no kl_weight. "
            "Write it as objective(batch, seed, kl_weight) and use the weight."
        )
    schedule = schedules.as_schedule(kl_schedule)
    schedules.warn_if_never_one(schedule, num_steps)
    return schedule


def options(names, schedule, source, num_data, shards, trace_fn) -> Options:
    """What is compiled into a step."""
    shards = count("shards", shards)
    if source.batch_size is not None and source.batch_size % shards:
        raise ValueError(
            f"expected the batch, {source.batch_size} rows, to be {shards} equal "
            "shards. Choose a batch_size that the number of shards divides."
        )
    if trace_fn is not None and not callable(trace_fn):
        raise ValueError(f"expected trace_fn to be callable; got {trace_fn!r}.")
    num_data = source.num_data if num_data is None else count("num_data", num_data)
    if "num_data" in names and num_data is None:
        raise ValueError(
            "the objective asks for num_data, which this fit cannot know: pass "
            "num_data=, the size of the whole data set."
        )
    return Options(
        names=names,
        shards=shards,
        num_data=num_data,
        batch_size=source.batch_size,
        annealed=schedule is not None,
        trace_fn=trace_fn,
        dtype=_dtype(source),
    )


def _dtype(source) -> str:
    """The floating type of the KL weight: that of the data, else Keras' default."""
    import keras

    parts = tf.nest.flatten(source.spec)
    floating = [p.dtype.name for p in parts if p is not None and p.dtype.is_floating]
    return floating[0] if floating else keras.config.floatx()


def chosen(trainable_variables):
    """The variables to train as TensorFlow variables, or None to find them."""
    if trainable_variables is None:
        return None
    chosen = tf.nest.flatten(trainable_variables)
    for v in chosen:
        plain = v if isinstance(v, tf.Variable) else getattr(v, "value", None)
        if not isinstance(plain, tf.Variable):
            raise ValueError(
                "expected trainable_variables to be TensorFlow or Keras variables; got "
                f"{v!r}."
            )
    if not chosen:
        raise ValueError("trainable_variables is empty: there is nothing to train.")
    return tuple(v if isinstance(v, tf.Variable) else v.value for v in chosen)


def capacity(source, steps_per_call) -> int:
    """The largest number of steps in one call of the compiled loop."""
    if steps_per_call is not None:
        return min(count("steps_per_call", steps_per_call), source.capacity)
    return source.capacity


def evaluator(objective, options, program, asked, numbers_):
    """The held-out evaluator, or None, and the steps between two evaluations."""
    data, every = asked
    seed, num_steps = numbers_
    if data is None:
        if every is not None:
            raise ValueError("fit got held_out_every but no held_out data.")
        return None, num_steps
    if "batch" not in options.names:
        raise ValueError("held_out needs an objective whose signature names batch.")
    every = max(1, num_steps // 10) if every is None else every
    every = count("held_out_every", every)
    size = options.batch_size
    evaluator = holding.Evaluator(objective, options, program, data, (size, seed))
    return evaluator, every


def criterion(criterion, held_out):
    """The convergence criterion, or None."""
    if criterion is None or criterion is False:
        return None
    if criterion is True:
        return convergence.Convergence()
    if not callable(criterion):
        raise ValueError(
            "expected convergence_criterion to be Convergence(), EarlyStopping() or a "
            f"callable trace -> bool; got {criterion!r}."
        )
    if isinstance(criterion, convergence.EarlyStopping) and held_out is None:
        raise ValueError("EarlyStopping judges held-out data: pass held_out=.")
    return criterion
