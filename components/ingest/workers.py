"""Where batches are worked on: in this process, in processes beside it, or on the Ray cluster that RAY_ADDRESS names.

Results come back in the order of the batches, and only a few batches are under way at a time: memory does not grow with
the data, and what is made does not hang on where it was made.
"""

import importlib.util
import logging
import multiprocessing
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from modelmill.errors import ModelmillError, UserError
from modelmill.home import share_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

# Between two looks at whether the parent is still there.
_LOOK_SECONDS = 0.5
# Batches under way for each worker: one in work and one that waits for it.
_AHEAD = 2


class Workers(Protocol):
    """Whoever does the work."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the function's results in the order of the items."""


class Here:
    """This process: for little work, and where there is one core."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the function's results in the order of the items."""
        return map(function, items)


class Beside:
    """Processes of this machine."""

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self._pool = pool
        self._most = _AHEAD * count

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the function's results in the order of the items.

        Raises:
            ModelmillError: a worker was killed.
        """
        return _in_order(lambda item: self._pool.submit(function, item), _result, items, self._most)


class OnRay:
    """The workers of a Ray cluster."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._most = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the function's results in the order of the items; Ray does again what a lost node had in work."""
        remote = self._ray.remote(num_cpus=1, max_retries=3)(_apply)
        # Sent once, not with every batch.
        there = self._ray.put(function)
        return _in_order(lambda item: remote.remote(there, item), self._ray.get, items, self._most)


@contextmanager
def workers(*, little: bool, cores: int) -> Iterator[Workers]:
    """Give the workers for a piece of work: those of Ray if RAY_ADDRESS is set, none beside this one if it is little.

    Raises:
        UserError: RAY_ADDRESS is set and Ray is not installed.
        ModelmillError: the cluster cannot be reached.
    """
    address = os.environ.get("RAY_ADDRESS")
    if address:
        with _ray(address) as found:
            yield found
    elif little or cores < 2:
        yield Here()
    else:
        # Not forked: threads of Arrow would be lost halfway.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(cores, mp_context=context, initializer=_begin, initargs=(os.getpid(),)) as pool:
            try:
                yield Beside(pool, cores)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _begin(parent: int) -> None:
    """Make ready a process beside this one, which must not outlive it: a killed parent says no goodbye."""
    share_cores()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


@contextmanager
def _ray(address: str) -> Iterator[Workers]:
    if importlib.util.find_spec("ray") is None:
        way_out = "pip install 'modelmill[ray]', or unset it"
        raise UserError(f"RAY_ADDRESS is {address!r}, and Ray is not installed: {way_out}")
    import ray

    own = not ray.is_initialized()
    try:
        if own:
            with warnings.catch_warnings():
                # Ray warns of what the error below says.
                warnings.simplefilter("ignore", UserWarning)
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        # Half a connection would be in the way of the next one.
        ray.shutdown()
        first = str(error).strip().splitlines()[0]
        said = f"RAY_ADDRESS {address}: no Ray cluster answers there: {first}; correct or unset it"
        raise ModelmillError(said) from error
    try:
        yield OnRay(ray)
    finally:
        if own:
            ray.shutdown()


def _apply(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def _in_order(
    submit: Callable[[Any], Any], result: Callable[[Any], Any], items: Iterable[Any], most: int
) -> Iterator[Any]:
    under_way: deque[Any] = deque()
    for item in items:
        under_way.append(submit(item))
        if len(under_way) >= most:
            yield result(under_way.popleft())
    while under_way:
        yield result(under_way.popleft())


def _result(future: Any) -> Any:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise ModelmillError(
            "a worker process of ingest was killed (most often for memory: see the machine's log); give it more "
            "memory, or run again with fewer cores"
        ) from error
