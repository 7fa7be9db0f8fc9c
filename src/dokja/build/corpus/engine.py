"""Where pieces of work run: in this process, in several of this machine, or on a Ray cluster. The results are the same.

Work is a function of a module and plain data; its results come in any order, so nothing may depend on it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ...errors import DokjaError

_AHEAD = 4  # tasks given to Ray for each of its processors before results are taken


class Engine(Protocol):
    """Runs a function on every task."""

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        """The results, each as soon as it is there."""
        ...


class _Here:
    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        return map(function, tasks)


class _Processes:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        from concurrent.futures import as_completed
        from concurrent.futures.process import BrokenProcessPool

        try:
            with _uninterrupted():
                running = [self._pool.submit(function, task) for task in tasks]
            for done in as_completed(running):
                yield done.result()
        except BrokenProcessPool:
            raise DokjaError("a worker process was killed, most often for want of memory; run the same command with "
                             "fewer --workers, and it goes on where it was") from None


class _Ray:
    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=2)(function)
        ahead = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        running: list[Any] = []
        for task in tasks:
            if len(running) >= ahead:
                (done,), running = ray.wait(running, num_returns=1)
                yield self._result(done)
            running.append(remote.remote(task))
        while running:
            (done,), running = ray.wait(running, num_returns=1)
            yield self._result(done)

    def _result(self, done: Any) -> Any:
        try:
            return self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None
        except self._ray.exceptions.RayError as error:
            raise DokjaError(f"Ray lost a piece of work ({str(error).splitlines()[0]}); run the same command again, "
                             "and it goes on where it was") from None


@contextmanager
def engine(name: str, workers: int) -> Iterator[Engine]:
    """The engine "local" with so many processes, or "ray": the cluster of RAY_ADDRESS, else one on this machine.

    On a cluster every machine needs the output folder and the sources at the same paths. Raises DokjaError for another
    name and where Ray is missing.
    """
    if name == "ray":
        try:
            import ray
        except ImportError:
            raise DokjaError("--engine ray needs Ray: `pip install dokja[ray]` brings it") from None
        ours = not ray.is_initialized()
        if ours:
            address = os.environ.get("RAY_ADDRESS")
            where: dict[str, Any] = {"address": address} if address else {"num_cpus": workers,
                                                                          "include_dashboard": False}
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **where)
        try:
            yield _Ray(ray)
        finally:
            if ours:
                ray.shutdown()
    elif name != "local":
        raise DokjaError(f"unknown engine {name!r}: choose local or ray")
    elif workers == 1:
        yield _Here()
    else:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        # Spawned, for threads of libraries do not survive a fork.
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)
        try:
            yield _Processes(pool)
        except KeyboardInterrupt:  # what they are at is done again
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold SIGINT back: processes that begin here never see it, not even while they import what they need, and none is
    left half begun. The mask is what they inherit; it does not keep another thread from taking the signal, for which
    Python then interrupts this one, so the handler waits as well.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield  # Windows; and interrupts come to the main thread alone
        return
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if came:
        raise KeyboardInterrupt


def _begin() -> None:
    """Of a worker process: one thread each, and interrupts are for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("TOKENIZERS_PARALLELISM", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "false" if name == "TOKENIZERS_PARALLELISM" else "1")
