"""Processes to train in, which end when the work does, however that ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Workers(ProcessPoolExecutor):
    """A pool of processes: Ctrl-C is their parent's to hear, and none outlives it or an error."""

    def __init__(self, n: int) -> None:
        self._others = set(multiprocessing.active_children())
        super().__init__(n, initializer=_serve)

    def submit(self, *arguments: Any, **more: Any) -> Future[Any]:
        """As every executor has it."""
        with _signals_wait():
            return super().submit(*arguments, **more)

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is not None:  # nobody waits any more for what they do
            for process in set(multiprocessing.active_children()) - self._others:
                process.kill()
        self.shutdown()


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Signals are heard at the end: what a handler raises during a fork, Python would drop."""
    if threading.current_thread() is not threading.main_thread():  # where none are handled
        yield
        return
    parent, came = os.getpid(), []

    def hear(number: int, frame: Any) -> None:
        if os.getpid() != parent:  # in a worker that was just made
            os._exit(128 + number)
        came.append(number)

    handlers = {number: signal.signal(number, hear) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for late in came:
            signal.raise_signal(late)


def _serve() -> None:
    def end_with_parent() -> None:  # one that was killed cannot end its workers
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
