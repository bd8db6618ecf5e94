"""Many calls of one function at once: plain data in, plain data out, in any order.

The function is named by a string, so that the same work can be sent to another machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

Plain = dict[str, Any]


def named(function_name: str) -> Callable[[Plain], Plain]:
    """``package.module:function``."""
    module, name = function_name.split(":")
    return getattr(importlib.import_module(module), name)


def each(items: Iterable[Plain], function_name: str, workers: int) -> Iterator[Plain]:
    """What the function gives for each item, in whatever order they are done.

    Items are taken when there is room for them, so that few are in memory at once. The work itself
    is done by processes that the function talks to; threads here only wait for them.
    """
    function = named(function_name)
    waiting: set[Future[Plain]] = set()
    source = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="grade") as pool:
        try:
            while True:
                while len(waiting) < workers + 2:
                    item = next(source, None)
                    if item is None:
                        break
                    waiting.add(pool.submit(function, item))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:  # also if whoever takes the results stops taking them
            for future in waiting:
                future.cancel()
