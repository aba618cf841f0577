"""Ctrl-C ends a fit between two chunks, so that what has been done is kept."""

from __future__ import annotations

import contextlib
import signal
import threading


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
