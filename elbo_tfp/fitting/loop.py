"""`fit`: climb a bound in one compiled loop."""

from __future__ import annotations

import time

from elbo_tfp.fitting import asking, cache, checkpoint, optimizers
from elbo_tfp.fitting import objective as calling
from elbo_tfp.fitting import program as programs
from elbo_tfp.fitting.interrupts import interruptible
from elbo_tfp.fitting.progress import Bar
from elbo_tfp.fitting.restarts import best_of
from elbo_tfp.fitting.results import FitResult
from elbo_tfp.fitting.run import Plan, Run

_SECONDS_PER_CALL = 0.2


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
    checkpoint_dir=None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    restarts: int | None = None,
    initialize=None,
) -> FitResult:
    """Climbs a bound with stochastic gradients, in one compiled loop.

    Args:
        objective: the bound, to be raised. It is called with what its signature names
            among `seed` (stateless, new at every step), `batch`, `step` (from 0),
            `kl_weight`, `num_data` and `training` (False on held-out data), and
            returns an `Estimate`, a bound `[B]` in nats, or a scalar.
        num_steps: number of steps; with `init`, further steps.
        data: an array, or a tuple or dict of arrays, data along the first axis; or a
            `tf.data.Dataset`, which is streamed (of batches, or of data with
            `batch_size`).
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
        checkpoint_dir: folder for one checkpoint file, replaced atomically.
        checkpoint_every: steps between checkpoints, default a tenth of `num_steps`.
        resume: whether to go on from the checkpoint, if there is one; the result is
            that of an uninterrupted fit, to the bit.
        restarts: number of starts, of which the best is kept; needs `initialize`.
        initialize: seed -> None; assigns starting values to the variables.

    Returns:
        `FitResult`; the variables hold the state after the last step. Ctrl-C ends the
        fit early and returns what there is.

    Raises:
        ValueError: for wrong input, in words.
        NonFiniteError: if a step is not finite; the last finite state is kept.
    """
    if restarts is not None:
        given = {**locals(), "restarts": None, "initialize": None}
        return _restart(given, restarts, initialize)
    seed = asking.seed(seed, init)
    names = calling.requested(objective)
    if kl_schedule is None and calling.has_default(objective, "kl_weight"):
        names -= {"kl_weight"}
    criterion = asking.criterion(convergence_criterion, held_out)
    start = init.steps if init is not None else 0
    num_steps = start + asking.count("num_steps", num_steps)
    source = asking.feed(data, batch_size, seed, names)
    if source.num_data is None and calling.has_default(objective, "num_data"):
        names -= {"num_data"} if num_data is None else set()
    schedule = asking.schedule(names, kl_schedule, num_steps)
    options = asking.options(names, schedule, source, num_data, shards, trace_fn)
    optimizer = optimizers.check(optimizer)
    chosen = asking.chosen(trainable_variables)
    begin = time.perf_counter()
    settings = (asking.capacity(source, steps_per_call), bool(jit_compile))
    program = cache.program_for(objective, source, options, optimizer, chosen, settings)
    _start_optimizer(program, optimizer)
    evaluator, every = asking.evaluator(
        objective, options, program, (held_out, held_out_every), (seed, num_steps)
    )
    save, save_every = asking.checkpoints(
        (checkpoint_dir, checkpoint_every, resume, init),
        checkpoint.fingerprint(source, options, optimizer) if checkpoint_dir else {},
        num_steps,
    )
    plan = Plan(
        num_steps=num_steps,
        seed=seed,
        shards=options.shards,
        feed=source,
        schedule=schedule,
        criterion=criterion,
        steps_per_call=steps_per_call,
        held_out=evaluator,
        held_out_every=every,
        save=save,
        save_every=save_every,
        dtype=options.dtype,
    )
    run = Run(program, plan)
    if init is not None:
        run.restore(init)
    if save is not None:
        save.restore(run)
    run.prepare()
    run.compile_seconds = time.perf_counter() - begin
    try:
        return drive(run, progress)
    finally:
        # an optimizer that could not be copied leaves as it came
        programs.write(program.moments, program.fresh)


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
        if run.interrupted and plan.save is not None:
            plan.save(run)
    return run.finish()


def _restart(given: dict, count: int, initialize) -> FitResult:
    for name in ("init", "checkpoint_dir"):
        if given[name] is not None:
            raise ValueError(f"restarts and {name} cannot be combined.")

    def once(seed):
        return fit(**{**given, "seed": seed})

    seed = asking.seed(given["seed"], None)
    return best_of(once, asking.count("restarts", count), initialize, seed)


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
