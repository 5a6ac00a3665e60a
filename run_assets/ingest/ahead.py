"""Fetching runs ahead of reading them: several at once, but never far ahead."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from threading import Thread

from run_assets.sources.runs import ChangedRun

Arrival = Callable[[ChangedRun], None]
"""Waits until everything that a run's ``read`` needs is here; raises why it is not."""

Fetch = Callable[[], object]
_LOOK_UP_SECONDS = 0.2
Order = tuple[Future[object], Fetch]


@contextmanager
def fetched_ahead(changes: Sequence[ChangedRun], workers: int) -> Iterator[Arrival]:
    """Fetch runs in the order in which they will be read.

    At most twice as many as there are workers lie ahead, so that disk and memory stay
    bounded however many runs there are. A request under way when the reading ends
    (Ctrl-C, an expired key) is not waited for, nor does the process wait for it.

    Args:
        changes: In the order of reading; those without ``fetch`` are here already.
        workers: How many are fetched at the same time.
    """
    waiting = ((one.run_path, one.fetch) for one in changes if one.fetch)
    under_way: dict[str, Future[object]] = {}
    orders: SimpleQueue[Order | None] = SimpleQueue()
    # not an executor: that would wait for a server that hangs before the process ends
    for number in range(workers):
        Thread(
            target=_work, args=(orders,), name=f"fetch-{number}", daemon=True
        ).start()

    def send(count: int) -> None:
        for run_path, fetch in islice(waiting, count):
            under_way[run_path] = Future()
            orders.put((under_way[run_path], fetch))

    def arrival(change: ChangedRun) -> None:
        future = under_way.pop(change.run_path, None)
        if future is not None:
            send(1)
            _wait_for(future)

    try:
        send(2 * workers)
        yield arrival
    finally:
        for future in under_way.values():
            future.cancel()
        for _ in range(workers):
            orders.put(None)


def _wait_for(future: Future[object]) -> None:
    # Ctrl-C may wake another thread; it counts when this one looks up.
    while not wait([future], timeout=_LOOK_UP_SECONDS).done:
        pass
    future.result()


def _work(orders: SimpleQueue[Order | None]) -> None:
    while (order := orders.get()) is not None:
        future, fetch = order
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(fetch())
            except BaseException as error:  # noqa: BLE001  # whoever waits raises it
                future.set_exception(error)
