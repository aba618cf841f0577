"""What a person sees and does while a fit runs: a bar, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

import numpy as np


class Bar:
    """A tqdm bar, or nothing; use it in a `with` statement."""

    def __init__(self, total: int, start: int, show: bool | None):
        self._bar = None
        if show or (show is None and wanted()):
            import tqdm

            delay = 0.0 if show else 1.0
            self._bar = tqdm.tqdm(total=total, initial=start, unit="step", delay=delay)

    def update(self, count: int, elbo: np.ndarray) -> None:
        """Moves the bar by `count` steps and shows the mean of their ELBO."""
        if self._bar is not None:
            self._bar.set_postfix_str(describe(elbo), refresh=False)
            self._bar.update(count)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()


def describe(elbo: np.ndarray) -> str:
    """Mean of some steps' ELBO with its standard error, as text."""
    if not len(elbo):
        return ""
    elbo = np.asarray(elbo, np.float64)
    error = elbo.std() / np.sqrt(len(elbo))
    return f"ELBO {elbo.mean():.3f} +- {error:.3f} nats"


def wanted() -> bool:
    """Whether someone watches: standard error is a terminal, or this is a notebook."""
    if "ipykernel" in sys.modules:
        from IPython import get_ipython

        return getattr(get_ipython(), "kernel", None) is not None
    return bool(sys.stderr is not None and sys.stderr.isatty())


@contextlib.contextmanager
def interruptible(run):
    """Turns the first Ctrl-C into a request to stop; a second one raises at once."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def handle(*_):
        if run.interrupted:
            raise KeyboardInterrupt
        run.interrupted = True

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
