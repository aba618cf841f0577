"""What `fit` is asked to do, checked: wrong input becomes a plain `ValueError`.

It is longer than most modules: every keyword of `fit` has its question here.
"""

from __future__ import annotations

import warnings

import tensorflow as tf

from elbo_tfp.fitting import checkpoint, convergence, schedules, stream
from elbo_tfp.fitting import feed as feeding
from elbo_tfp.fitting import held_out as holding
from elbo_tfp.fitting.step import Options
from elbo_tfp.ground import structures
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import as_seed


def checkpoints(asked, init, fitted, num_steps: int):
    """The checkpoint writer, or None."""
    if asked is None:
        return None
    if init is not None:
        raise ValueError(
            "init and checkpoint cannot be combined: go on from one of them."
        )
    if not isinstance(asked, checkpoint.Checkpoint):
        asked = checkpoint.Checkpoint(asked)
    mark = checkpoint.fingerprint(*fitted)
    return checkpoint.Checkpoints(asked, num_steps, mark)


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
        size = None if batch_size is None else whole("batch_size", batch_size)
        return stream.Stream(data, size)
    if hasattr(data, "batches"):
        size = whole("batch_size", batch_size, remedy="A stream is read in batches.")
        return stream.Stream(data, size, seed)
    data = feeding.checked(data)
    n = structures.batch_size(data)
    size = n if batch_size is None else whole("batch_size", batch_size)
    if size > n:
        raise wrong(
            f"batch_size to be at most the number of data, {n}",
            batch_size,
            "Leave it out to use all data at every step.",
        )
    if size == n:
        return feeding.FullBatch(data)
    return feeding.Minibatches(data, size, seed)


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


def shards(asked, source, strategy) -> int:
    """The number of equal parts of a batch: by default, one for each replica."""
    replicas = 1 if strategy is None else strategy.num_replicas_in_sync
    shards = replicas if asked is None else whole("shards", asked)
    if shards % replicas:
        raise wrong(
            f"shards to be a multiple of the number of replicas, {replicas}",
            shards,
            "Leave it out to give every replica one.",
        )
    if source.batch_size is not None and source.batch_size % shards:
        raise wrong(
            f"the batch, {source.batch_size} rows, to be equal shards",
            f"{shards} shards",
            "Choose a batch_size that the number of shards divides.",
        )
    return shards


def options(names, schedule, source, num_data, shards, extras) -> Options:
    """What is built into a step."""
    trace_fn, trainable_variables = extras
    if trace_fn is not None and not callable(trace_fn):
        raise wrong("trace_fn to be callable", repr(trace_fn))
    num_data = source.num_data if num_data is None else whole("num_data", num_data)
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
        chosen=chosen(trainable_variables),
    )


def warn_of_scale(options: Options, source, step) -> None:
    """Warns of a scalar bound on minibatches that does not know their share."""
    n, size = options.num_data, options.batch_size
    scaled = "num_data" in options.names or not step.scalar
    if scaled or size is None or n is None or size >= n:
        return
    warnings.warn(
        f"fit feeds {size} of {n} rows at a time to an objective that returns one "
        "number and does not ask for num_data. If it is log p of the rows and of a "
        "latent that they share, the rows count too little: name num_data in its "
        "signature and multiply their sum by num_data / batch size. If it is a mean "
        "over rows, return the rows' own bounds, [B].",
        stacklevel=3,
    )


def warn_of_order(source, state) -> None:
    """Warns if a fit is continued on a stream that does not repeat itself."""
    if not source.knows(state.step, state.mark):
        warnings.warn(
            "the stream gives other batches than before, so this is not one longer "
            f"fit. {stream.REPEATABLE}",
            stacklevel=3,
        )


def _dtype(source) -> str:
    """The floating type of the KL weight: that of the data, else Keras' default."""
    import keras

    parts = tf.nest.flatten(source.spec)
    floating = [p.dtype.name for p in parts if p.dtype.is_floating]
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


def evaluator(objective, options, program, asked, num_steps: int):
    """The held-out evaluator, or None."""
    if asked is None:
        return None
    if "batch" not in options.names:
        raise ValueError("held_out needs an objective whose signature names batch.")
    if not isinstance(asked, holding.HoldOut):
        asked = holding.HoldOut(asked)
    return holding.Evaluator(objective, options, program, asked, num_steps)


def watch(criterion, held_out):
    """What watches the fit."""
    watch = convergence.as_watch(criterion)
    if watch.held_out and held_out is None:
        raise ValueError("EarlyStopping judges held-out data: pass held_out=.")
    return watch
