"""Tasks on an executor, any of PEP 3148, and processes that end when the work does.

A task is a function of its arguments alone, so that where it runs does not change its result.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
)
from queue import SimpleQueue
from typing import Any, TypeVar

from tinyreg.study.store import Store
from tinyreg.validate import describe

T = TypeVar("T")
R = TypeVar("R")
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


def check_executor(executor: object) -> None:
    """None, or an object with `submit`."""
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor must be a PEP 3148 executor, got {describe(executor)}")


def run_all(
    work: Callable[..., R],
    tasks: Sequence[T],
    executor: Executor | None,
    store: Store,
    take: Callable[[T, R], None],
    lost: Callable[[T, Exception], R],
) -> None:
    """`take(task, work(task))` for each task as it ends; without an executor here, in their order.

    A task has a setup, a method and a seed. One that was cancelled, or whose worker died, has the
    result that `lost` gives it. Where one raises, those after it are cancelled and the others come
    to their end: what is raised then is the first error in the order of the tasks, as it is here.
    """
    if executor is None:
        for task in tasks:
            take(task, work(task, store.progress))
        return
    places: dict[Future[Any], int] = {}
    errors: dict[int, Exception] = {}
    ended: SimpleQueue[Future[Any]] = SimpleQueue()  # `as_completed` waits for cancelled ones
    with store.shared():
        try:
            for i, task in enumerate(tasks):
                future = _submit(executor, work, task)
                places[future] = i
                future.add_done_callback(ended.put)
            for _ in tasks:
                future = ended.get()
                i = places.pop(future)  # with its result
                if i > min(errors, default=i) and (future.cancelled() or future.exception()):
                    continue
                try:
                    result = _result(future, tasks[i], lost)
                except Exception as e:
                    errors[i] = e
                    _cancel(other for other, place in places.items() if place > i)
                else:
                    try:
                        store.progress(f"{name(tasks[i])} done")
                    finally:  # what has ended is kept, whatever is made of the news
                        take(tasks[i], result)
        finally:
            if not isinstance(executor, Workers):  # whose processes are ended
                _cancel(places)
    if errors:
        raise errors[min(errors)]


def run_alone(work: Callable[..., R], task: Any) -> R:
    """The result of a task, in a process of its own."""
    with Workers(1) as executor:
        result, error = executor.submit(_attempt, work, task).result()
    if error is not None:
        raise error
    return result


def name(task: Any) -> str:
    """As messages call it."""
    return f"{task.method}, seed {task.seed}"


def _attempt(work: Callable[..., R], task: Any) -> tuple[R | None, Exception | None]:
    """Result or error: an error of the task is none of the executor."""
    try:
        task.setup.data.read()  # what cannot be read is an error, not the failure of a walk
        return work(task), None
    except Exception as e:
        told = f"{name(task)}, in a worker:\n{traceback.format_exc()}"
        try:
            pickle.loads(pickle.dumps(e))
        except Exception:  # there it would break the pool
            e = RuntimeError(f"{type(e).__name__}: {e}")
        e.add_note(told)
        return None, e


def _submit(executor: Executor, work: Callable[..., R], task: Any) -> Future[Any]:
    try:
        return executor.submit(_attempt, work, task)
    except BrokenExecutor as e:  # by one of the tasks before
        future: Future[Any] = Future()
        future.set_exception(e)
        return future
    except RuntimeError as e:
        raise ValueError(f"executor must be one that takes tasks, this one says: {e}") from e


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for future in [*futures]:
        future.cancel()


def _result(future: Future[Any], task: T, lost: Callable[[T, Exception], R]) -> R:
    try:
        result, error = future.result()
    except OSError:  # of the file of the data
        raise
    except (TypeError, AttributeError, pickle.PicklingError) as e:
        wanted = "one that can run a task; loss, penalty and optimizer go to processes by pickle"
        came = f"{type(e).__name__} at {name(task)}: {e}"
        raise TypeError(f"executor must be {wanted}; got {came}") from e
    except Exception as e:  # each engine has its own for a worker that died
        return lost(task, e)
    if error is not None:
        raise error
    return result
