"""The same work on a Dask cluster: plain data out, plain data back, in any order.

Each worker keeps one engine (sandboxes and judges) of as many sandboxes as the worker has threads.
The secret, the gradebook and the course's folder stay where the grader runs: what is sent is a
submission's plan, its files, and the assignment's sealed word. A worker that dies loses what it was
doing, and the scheduler gives that to another.

Whoever can reach a Dask scheduler can run code on its workers. Keep it in a network of its own, or
use TLS (https://distributed.dask.org/en/stable/tls.html).
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any

from roofline.course.folder import CourseError
from roofline.course.pool import Plain, named

PATIENCE = 15  # seconds for the scheduler to answer, and for a first worker to come


def each(items: Iterable[Plain], function_name: str, address: str) -> Iterator[Plain]:
    """What the function gives for each item, computed by the workers of the scheduler at
    ``address``. Items are taken when there is room for them. Raises :class:`CourseError`."""
    distributed = _distributed()
    with _client(distributed, address) as client:
        room = 2 * _threads(client, address)
        source = iter(items)
        running = distributed.as_completed(loop=client.loop)
        sent: dict[Any, Plain] = {}
        suspects: list[Plain] = []

        def submit(item: Plain) -> Any:
            return client.submit(
                *(_on_worker, function_name, item), pure=False, retries=1, key=_key(item)
            )

        def send() -> None:
            while len(sent) < room:
                item = next(source, None)
                if item is None:
                    return
                future = submit(item)
                sent[future] = item
                running.add(future)

        send()
        try:
            while sent:
                future = next(running)
                item = sent.pop(future)
                done = _outcome(distributed, future, item)
                if done is None:
                    suspects.append(item)
                else:
                    yield done
                send()
            # A worker's death is blamed on all that it held. One at a time, on its own cause.
            for item in suspects:
                done = _outcome(distributed, submit(item), item)
                yield done or _failed(item, "several workers of the cluster died over it")
        finally:  # also if whoever takes the results stops taking them
            client.cancel(list(sent))


def _key(item: Plain) -> str:
    """A name for the dashboard; unique, for a key that is known already isn't computed again."""
    return f"grade-{item.get('student', 'one')}-{uuid.uuid4().hex}"


def _on_worker(function_name: str, item: Plain) -> Plain:
    """Runs on a worker: the function, with as many sandboxes as the worker has threads."""
    from distributed import get_worker

    if "setup" in item:
        item = {**item, "setup": {**item["setup"], "count": get_worker().state.nthreads}}
    return named(function_name)(item)


def _outcome(distributed: Any, future: Any, item: Plain) -> Plain | None:
    """The result, or why there is none: then the next run tries again. None where more workers died
    over it than Dask's allowed-failures, 3 unless the scheduler is told otherwise.

    A result that was lost with its worker is waited for: the scheduler has it made again.
    """
    try:
        return future.result()
    except distributed.KilledWorker:
        return None
    except CancelledError as error:
        return _failed(item, f"the cluster lost it ({error})")
    except Exception as error:
        return _failed(item, f"a worker of the cluster failed: {type(error).__name__}: {error}")


def _failed(item: Plain, why: str) -> Plain:
    return {"student": item.get("student", ""), "notebooks": {}, "failed": " ".join(why.split())}


def _client(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise CourseError(
            f"no Dask scheduler answers at {address!r} ({type(error).__name__}): expected an "
            "address such as tcp://host:8786, where `dask scheduler` runs"
        ) from None


def _threads(client: Any, address: str) -> int:
    """How many submissions the cluster runs at once, once every worker is known to be like us."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise CourseError(
            f"the scheduler at {address} has no workers: start some with "
            f"`dask worker {address} --nthreads 1`"
        ) from None
    own = _own_versions()
    for worker, theirs in client.run(versions).items():
        if theirs != own:
            other = ", ".join(f"{k} {theirs.get(k)}" for k in own if theirs.get(k) != own[k])
            here = ", ".join(f"{k} {own[k]}" for k in own if theirs.get(k) != own[k])
            raise CourseError(
                f"the worker {worker} has {other}, here is {here}: scores could differ, install "
                "the same on all machines"
            )
    return max(1, sum(client.nthreads().values()))


def versions() -> dict[str, str]:
    """What has to be the same everywhere for scores to be the same."""
    import torch

    import roofline
    from roofline.course.fingerprint import code_version

    return {
        "roofline": f"{roofline.__version__} ({code_version()[:12]})",
        "torch": str(torch.__version__),
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }


def _own_versions() -> dict[str, str]:
    return versions()


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise CourseError('Dask is not installed: pip install "roofline[cluster]"') from None
    return distributed
