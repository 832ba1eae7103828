"""Independent pieces of work, one after the other, on processes, or on Ray where one machine is not enough."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Literal, TypeVar

from facility.errors import EcoError

Item = TypeVar("Item")
Result = TypeVar("Result")
Backend = Literal["serial", "process", "ray"]


def run_all(
    fn: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    backend: Backend | None = None,
    workers: int | None = None,
    done: Callable[[int], None] | None = None,
) -> list[Result]:
    """``fn`` of every item, in order; ``done`` is told how many are finished.

    ``backend`` None takes processes for several items and none for a single one. ``fn`` and items must be picklable
    unless serial. Raises EcoError where Ray is asked for and not installed; an error of ``fn`` is passed on.
    """
    chosen = backend or ("process" if len(items) > 1 and workers != 1 else "serial")
    if chosen == "serial":
        return _collect(map(fn, items), done)
    if chosen == "ray":
        return _on_ray(fn, items, workers, done)
    # A fresh interpreter for each worker: a fork would copy threads' locks in an unknown state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=workers, mp_context=context) as pool:
        return _collect(pool.map(fn, items), done)


def _collect(results: Iterable[Result], done: Callable[[int], None] | None) -> list[Result]:
    collected: list[Result] = []
    for result in results:
        collected.append(result)
        if done is not None:
            done(len(collected))
    return collected


def _on_ray(
    fn: Callable[[Item], Result], items: Sequence[Item], workers: int | None, done: Callable[[int], None] | None
) -> list[Result]:
    try:
        import ray
    except ImportError as error:
        raise EcoError(
            "Ray is not installed", where="executor", hint="pip install 'eco-orchestrator[ray]', or use processes"
        ) from error
    if not ray.is_initialized():
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    remote = ray.remote(fn)
    handles = [remote.remote(item) for item in items]
    return _collect(map(ray.get, handles), done)
