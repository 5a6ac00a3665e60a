"""Fetching runs ahead of reading them: several at once, but never far ahead."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

from run_assets.sources.runs import ChangedRun

Arrival = Callable[[ChangedRun], None]
"""Waits until everything that a run's ``read`` needs is here; raises why it is not."""


@contextmanager
def fetched_ahead(changes: Sequence[ChangedRun], workers: int) -> Iterator[Arrival]:
    """Fetch runs in the order in which they will be read.

    At most twice as many as there are workers lie ahead, so that disk and memory stay
    bounded however many runs there are.

    Args:
        changes: In the order of reading; those without ``fetch`` are here already.
        workers: How many are fetched at the same time.
    """
    waiting = iter([change for change in changes if change.fetch])
    under_way: dict[str, Future[object]] = {}
    # not as a context: that would wait for a server that hangs before Ctrl-C counts
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")

    def send(count: int) -> None:
        for change in islice(waiting, count):
            if change.fetch:
                under_way[change.run_path] = pool.submit(change.fetch)

    def arrival(change: ChangedRun) -> None:
        future = under_way.pop(change.run_path, None)
        if future is not None:
            send(1)
            future.result()

    try:
        send(2 * workers)
        yield arrival
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
