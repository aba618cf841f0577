"""`fit`: climb a bound in one compiled loop."""

from __future__ import annotations

import time

from elbo_tfp.fitting import asking, devices, older, optimizers, sharing
from elbo_tfp.fitting import objective as calling
from elbo_tfp.fitting.program import OneDevice
from elbo_tfp.fitting.rehearsal import rehearse
from elbo_tfp.fitting.results import FitResult
from elbo_tfp.fitting.run import Plan, Run
from elbo_tfp.fitting.step import trace_step


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
    convergence_criterion=None,
    trainable_variables=None,
    num_data: int | None = None,
    shards: int | None = None,
    checkpoint=None,
    init: FitResult | None = None,
    jit_compile: bool = True,
    progress: bool | None = None,
    strategy=None,
    **older_names,
) -> FitResult:
    """Climbs a bound with stochastic gradients, in one compiled loop.

    The objective is traced at every call, so it counts as it is now; what is compiled
    is shared by all fits of one architecture, whatever the weights, seeds and numbers
    of steps. Such a further call costs 0.5 s of processor time for a small VAE before
    its first step, most of it the trace. Before that the objective is called once in
    eager mode, where an index out of range and data outside the support are seen;
    what this changes is put back.

    Args:
        objective: the bound, to be raised. It is called with what its signature names
            among `seed` (stateless, new at every step), `batch`, `step` (from 0),
            `kl_weight`, `num_data` and `training` (False on held-out data), and
            returns an `Estimate`, a bound `[B]` in nats, or a scalar.
        num_steps: number of steps; with `init`, further steps.
        data: an array, or a tuple or dict of arrays, data along the first axis; or
            what is streamed, every row used: `data.shards(folder)`, or a
            `tf.data.Dataset` (of batches, or of data with `batch_size`).
        batch_size: rows per step, freshly permuted every epoch; default all rows.
        optimizer: a Keras 3 optimizer, default `Adam(1e-3)`. It is a recipe: `fit`
            copies its settings, keeps the state in the result and leaves it as it is.
        seed: int, pair of ints or integer tensor; stateless.
        kl_schedule: a `KLSchedule`, a number, or a callable step -> weight.
        trace_fn: `Traceable` -> tensors to record at every step.
        held_out: a `HoldOut`, or data as in `data`, for the held-out ELBO.
        convergence_criterion: `Convergence()`, `EarlyStopping()` or a callable that
            gets the trace `[steps]` and says whether to stop; default never.
        trainable_variables: the variables to train; default all that the objective
            reads, except those of frozen Keras layers.
        num_data: size of the data set, for the objective; default the rows of `data`.
        shards: equal parts of a batch, each with its own noise: shard r draws with
            `fold_in(step_seed, r)`. The parts' gradients are averaged. Default one,
            or one for each replica of `strategy`.
        checkpoint: a `Checkpoint`, or a folder.
        init: a finished fit to continue; the result is that of one longer fit.
        jit_compile: whether to use XLA.
        progress: whether to show a bar; default only to a person.
        strategy: a `tf.distribute.MirroredStrategy`, to use several devices, or
            `MultiWorkerMirroredStrategy`, several processes (or its class, if nothing
            has run before). `objective` is then a function of no arguments that
            makes the model and returns the objective; it is called in the strategy's
            scope. The numbers are those of one device with as many `shards`, to
            rounding: a batch's parts go to the replicas, XLA compiles each one's
            gradient, and all else (KL weights, traces, held-out data, criteria,
            checkpoints) is as on one device. Every worker calls `fit` alike, with all
            of the data (a stream: in the same order), takes its own rows of each
            batch and returns the same result; the chief writes the checkpoints, in a
            folder that all see. An objective that itself changes a variable (the
            moments of BatchNormalization) is refused.
        **older_names: names of the first edition; they work, with a warning.

    Returns:
        `FitResult`; the variables hold the state after the last step. Ctrl-C ends the
        fit early and returns what there is.

    Raises:
        ValueError: for wrong input, in words.
        NonFiniteError: if a step is not finite; the last finite state is kept.
        RuntimeError: if another worker has gone, or cannot be connected.
    """
    if older_names:
        given = {k: v for k, v in locals().items() if k != "older_names"}
        return older.fit(fit, given, older_names)
    begin = time.perf_counter()
    if strategy is not None:
        strategy = sharing.checked(strategy)  # before anything else runs
        objective = sharing.build(objective, strategy)
    seed = asking.seed(seed, init)
    names = calling.requested(objective)
    watch = asking.watch(convergence_criterion, held_out)
    num_steps = asking.whole("num_steps", num_steps) + (init.steps if init else 0)
    feed = asking.feed(data, batch_size, seed, names)
    names = calling.without_defaults(objective, names, kl_schedule, num_data, feed)
    schedule = asking.schedule(names, kl_schedule, num_steps)
    extras = trace_fn, trainable_variables
    shards = asking.shards(shards, feed, strategy)
    options = asking.options(names, schedule, feed, num_data, shards, extras)
    optimizer = optimizers.check(optimizer)
    if strategy is None:
        step = trace_step(objective, feed.spec, options)
    else:
        own, spec = devices.part_of(options, feed.spec, strategy)
        step = trace_step(objective, spec, own, part=True)
    asking.warn_of_scale(options, feed, step)
    first = init.steps if init else 0
    rehearse(objective, options, step, (feed, seed, first, schedule))
    asked = step, options, optimizer, feed, bool(jit_compile)
    if strategy is None:
        program = OneDevice(*asked)
    else:
        program = devices.Mirrored(strategy, *asked)
    mark = feed, options, optimizer
    plan = Plan(
        num_steps=num_steps,
        seed=seed,
        shards=options.shards,
        dtype=options.dtype,
        feed=feed,
        schedule=schedule,
        rate=optimizers.rate(optimizer),
        held_out=asking.evaluator(objective, options, program, held_out, num_steps),
        save=asking.checkpoints(checkpoint, init, mark, num_steps),
    )
    run = Run(program, plan, watch)
    if init is not None:
        run.restore(init)
        asking.warn_of_order(feed, init.state)
    if plan.save is not None:
        plan.save.restore(run)
    if strategy is not None:
        sharing.check_same(program, sharing.marks(run, mark))
    compile_seconds = time.perf_counter() - begin
    try:
        result = run.drive(progress)
    finally:
        program.leave()
        feed.leave()
    return result._replace(compile_seconds=compile_seconds)
