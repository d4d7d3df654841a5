"""Processes that begin their work at one moment."""

import gc
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any

import django

PATIENCE = 600.0  # seconds

processes = get_context("spawn")


def together(prepare: Callable[..., Callable[[], object]], each: Sequence[tuple[Any, ...]]) -> float:
    """Run one process for each arguments; return the seconds from when they all began until the last ended.

    `prepare` is called in the process, with Django set up, and returns the work; it does not count. Ends the
    measurement if a process fails.
    """
    barrier, ended = processes.Barrier(len(each)), processes.SimpleQueue()
    crew = [processes.Process(target=_member, args=(prepare, arguments, barrier, ended)) for arguments in each]
    for process in crew:
        process.start()
    spans: list[tuple[float, float]] = []
    for process in crew:
        process.join(PATIENCE)
        if process.exitcode != 0:
            sys.exit(f"a process of {prepare.__name__} failed")
        spans.append(ended.get())
    return max(end for _, end in spans) - min(start for start, _ in spans)


def _member(
    prepare: Callable[..., Callable[[], object]], arguments: tuple[Any, ...], barrier: Barrier, ended: Any
) -> None:
    django.setup()
    work = prepare(*arguments)
    gc.collect()
    gc.freeze()  # as the server does: what is ready is no rubbish
    barrier.wait(PATIENCE)
    start = time.time()
    work()
    ended.put((start, time.time()))
