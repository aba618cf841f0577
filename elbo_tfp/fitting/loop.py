"""`fit`: climb a bound in one compiled loop."""

from __future__ import annotations

import numbers
import time

import tensorflow as tf

from elbo_tfp.fitting import convergence, feed, optimizers, schedules
from elbo_tfp.fitting import held_out as holding
from elbo_tfp.fitting import objective as calling
from elbo_tfp.fitting import program as programs
from elbo_tfp.fitting.progress import Bar
from elbo_tfp.fitting.results import FitResult
from elbo_tfp.fitting.run import _SECONDS_PER_CALL, Plan, Run, interruptible
from elbo_tfp.fitting.step import Options
from elbo_tfp.types import as_seed

_CAPACITY = 1000


def fit(
    objective,
    *,
    num_steps: int,
    data=None,
    batch_size: int | None = None,
    optimizer=None,
    seed=None,
    kl_schedule=None,
    trace_fn=None,
    held_out=None,
    held_out_every: int | None = None,
    convergence_criterion=None,
    trainable_variables=None,
    num_data: int | None = None,
    shards: int = 1,
    steps_per_call: int | None = None,
    jit_compile: bool = True,
    progress: bool | None = None,
    init: FitResult | None = None,
) -> FitResult:
    """Climbs a bound with stochastic gradients, in one compiled loop.

    Args:
        objective: the bound, to be raised. It is called with what its signature names
            among `seed` (stateless, new at every step), `batch`, `step` (from 0),
            `kl_weight`, `num_data` and `training` (False on held-out data), and
            returns an `Estimate`, a bound `[B]` in nats, or a scalar.
        num_steps: number of steps; with `init`, further steps.
        data: an array, or a tuple or dict of arrays, data along the first axis.
        batch_size: rows per step, freshly permuted every epoch; default all rows.
        optimizer: a Keras 3 optimizer, default `Adam(1e-3)`. It is a recipe: `fit`
            copies its settings, keeps the state in the result and leaves it as it is.
        seed: int, pair of ints or integer tensor; stateless.
        kl_schedule: a `KLSchedule`, a number, or a callable step -> weight.
        trace_fn: `Traceable` -> tensors to record at every step.
        held_out: data as in `data`, for the held-out ELBO.
        held_out_every: steps between evaluations, default a tenth of `num_steps`.
        convergence_criterion: `Convergence()`, `EarlyStopping()` or a callable that
            gets the trace `[steps]` and says whether to stop; default never.
        trainable_variables: the variables to train; default all that the objective
            reads, except those of frozen Keras layers.
        num_data: size of the data set, for the objective; default the rows of `data`.
        shards: equal parts of a batch, each with its own noise: shard r draws with
            `fold_in(step_seed, r)`. The parts' gradients are averaged.
        steps_per_call: steps between two looks from Python; default by time. It
            changes no number in the result.
        jit_compile: whether to use XLA.
        progress: whether to show a bar; default only to a person.
        init: a finished fit to continue; the result is that of one longer fit.

    Returns:
        `FitResult`; the variables hold the state after the last step. Ctrl-C ends the
        fit early and returns what there is.

    Raises:
        ValueError: for wrong input, in words.
        NonFiniteError: if a step is not finite; the last finite state is kept.
    """
    seed = _seed(seed, init)
    names = calling.requested(objective)
    if kl_schedule is None and calling.has_default(objective, "kl_weight"):
        names -= {"kl_weight"}
    start = init.steps if init is not None else 0
    num_steps = start + _count("num_steps", num_steps)
    source = _feed(data, batch_size, seed, names)
    schedule = _schedule(objective, names, kl_schedule, start, num_steps)
    options = _options(names, schedule, source, num_data, shards, trace_fn)
    optimizer = optimizers.check(optimizer)
    chosen = _chosen(trainable_variables)
    begin = time.perf_counter()
    settings = (_capacity(source, steps_per_call), bool(jit_compile))
    program = programs.program_for(
        objective, source, options, optimizer, chosen, settings
    )
    _start_optimizer(program, optimizer)
    evaluator, every = _held_out(
        objective, options, program, (held_out, held_out_every), (seed, num_steps)
    )
    plan = Plan(
        num_steps=num_steps,
        seed=seed,
        feed=source,
        schedule=schedule,
        criterion=_criterion(convergence_criterion, evaluator),
        steps_per_call=steps_per_call,
        held_out=evaluator,
        held_out_every=every,
        save=None,
        save_every=num_steps,
        dtype=options.dtype,
    )
    run = Run(program, plan)
    if init is not None:
        run.restore(init)
    run.prepare()
    run.compile_seconds = time.perf_counter() - begin
    return drive(run, progress)


def drive(run: Run, progress: bool | None) -> FitResult:
    """Takes chunks of steps until the fit is over."""
    plan, program = run.plan, run.program
    with Bar(plan.num_steps, run.step, progress) as bar, interruptible(run):
        while run.step < plan.num_steps and not (run.stop or run.interrupted):
            event = run.next_event()
            count = min(event - run.step, program.capacity, _steps(program, plan))
            begin = time.perf_counter()
            run.advance(count)
            took = time.perf_counter() - begin
            run.seconds += took
            program.seconds_per_step = took / count
            bar.update(count, run.chunks[-1].elbo)
            if run.step == event:
                run.look()
    return run.finish()


def _steps(program, plan: Plan) -> int:
    """Steps in the next call: as asked, or what takes about a fifth of a second."""
    if plan.steps_per_call is not None:
        return plan.steps_per_call
    if program.seconds_per_step is None:
        return 16
    return max(1, int(_SECONDS_PER_CALL / program.seconds_per_step))


def _start_optimizer(program, optimizer) -> None:
    """Resets the loop's optimizer, or gives it the state that the user's brings."""
    if program.optimizer is not optimizer:
        rate = optimizers.learning_rate(optimizer)
        if rate is not None:
            program.optimizer.learning_rate = rate
    values = program.fresh
    brings = optimizers.check_unbuilt(optimizer, program.step.trained)
    if brings and program.optimizer is not optimizer:
        values = programs.read(optimizers.variables(optimizer))
    programs.write(program.moments, values)


def _seed(seed, init) -> tuple[int, int]:
    if init is not None and seed is None:
        return init.seed
    seed = tuple(int(part) for part in as_seed(seed).numpy())
    if init is not None and seed != init.seed:
        raise ValueError(
            f"init was fitted with seed {init.seed}; got another one, {seed}. Leave "
            "seed out to continue that fit; for other noise, start a new one."
        )
    return seed


def _count(name: str, value) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"expected {name} to be an integer > 0; got {value!r}.")
    return int(value)


def _feed(data, batch_size, seed, names):
    if data is None:
        if "batch" in names:
            raise ValueError(
                "the objective asks for a batch, but fit got no data. Pass data=, and "
                "batch_size= for minibatches."
            )
        if batch_size is not None:
            raise ValueError("fit got batch_size but no data. Pass data=.")
        return feed.NoData()
    if "batch" not in names:
        raise ValueError(
            "fit got data, but the objective's signature names no batch. Write it as "
            "objective(batch, seed), or leave data out."
        )
    data = feed.as_tensors(data)
    n = feed.length(data)
    if batch_size is None:
        return feed.FullBatch(data)
    if _count("batch_size", batch_size) > n:
        raise ValueError(
            f"expected batch_size to be at most the number of data, {n}; got "
            f"{batch_size}. Leave it out to use all data at every step."
        )
    if batch_size == n:
        return feed.FullBatch(data)
    return feed.Minibatches(data, int(batch_size), seed)


def _schedule(objective, names, kl_schedule, start: int, num_steps: int):
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


def _options(names, schedule, source, num_data, shards, trace_fn) -> Options:
    shards = _count("shards", shards)
    if source.batch_size is not None and source.batch_size % shards:
        raise ValueError(
            f"expected the batch, {source.batch_size} rows, to be {shards} equal "
            "shards. Choose a batch_size that the number of shards divides."
        )
    if trace_fn is not None and not callable(trace_fn):
        raise ValueError(f"expected trace_fn to be callable; got {trace_fn!r}.")
    if num_data is not None:
        num_data = _count("num_data", num_data)
    return Options(
        names=names,
        shards=shards,
        num_data=source.num_data if num_data is None else num_data,
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


def _chosen(trainable_variables):
    if trainable_variables is None:
        return None
    chosen = tf.nest.flatten(trainable_variables)
    for v in chosen:
        if not isinstance(getattr(v, "value", v), tf.Variable) and not isinstance(
            v, tf.Variable
        ):
            raise ValueError(
                "expected trainable_variables to be TensorFlow or Keras variables; got "
                f"{v!r}."
            )
    if not chosen:
        raise ValueError("trainable_variables is empty: there is nothing to train.")
    return tuple(v if isinstance(v, tf.Variable) else v.value for v in chosen)


def _capacity(source, steps_per_call) -> int:
    if steps_per_call is not None:
        return _count("steps_per_call", steps_per_call)
    return _CAPACITY


def _held_out(objective, options, program, asked, numbers_):
    data, every = asked
    seed, num_steps = numbers_
    if data is None:
        if every is not None:
            raise ValueError("fit got held_out_every but no held_out data.")
        return None, num_steps
    if "batch" not in options.names:
        raise ValueError("held_out needs an objective whose signature names batch.")
    every = max(1, num_steps // 10) if every is None else every
    every = _count("held_out_every", every)
    size = options.batch_size
    evaluator = holding.Evaluator(objective, options, program, data, (size, seed))
    return evaluator, every


def _criterion(criterion, evaluator):
    if criterion is None or criterion is False:
        return None
    if criterion is True:
        return convergence.Convergence()
    if not callable(criterion):
        raise ValueError(
            "expected convergence_criterion to be Convergence(), EarlyStopping() or a "
            f"callable trace -> bool; got {criterion!r}."
        )
    if isinstance(criterion, convergence.EarlyStopping) and evaluator is None:
        raise ValueError("EarlyStopping judges held-out data: pass held_out=.")
    return criterion
