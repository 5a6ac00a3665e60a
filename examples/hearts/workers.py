"""Worker processes: each trains one run after the other, and may die of one.

Starting Python and wandb costs a second, so a process serves many runs; the death of
one shows as the end of its pipe.
"""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import cast

from run_assets.errors import SourceError, UsageError

from .sweep import RunPlan

# A run and the number of its epoch that was logged last.
ReportEpoch = Callable[[RunPlan, int], None]


@dataclass(frozen=True)
class RunEnd:
    """How a run ended: its exit code, negative if a signal of that number ended it."""

    plan: RunPlan
    exit_code: int


@dataclass
class Worker:
    """A process, the pipe to it, and the run that it trains."""

    process: SpawnProcess
    connection: Connection
    plan: RunPlan

    def begin(self, plan: RunPlan) -> None:
        """Hand over the next run."""
        self.plan = plan
        self.connection.send(plan)

    def receive(self) -> int | RunEnd:
        """The epoch that was logged, or the end of the run.

        Raises:
            SourceError: The process died, and not because the run was to end it.
        """
        try:
            return cast(int | RunEnd, self.connection.recv())
        except EOFError:
            self.process.join()
            exit_code = self.process.exitcode or 0
        if self.plan.mishap.ends_process:
            return RunEnd(self.plan, exit_code)
        msg = (
            f"the process that trained {self.plan.run_id} died with exit code "
            f"{exit_code}; call again: what is trained is kept"
        )
        raise SourceError(msg)

    def stop(self) -> None:
        """Let the process end, which it does at the next use of its pipe."""
        self.connection.close()
        self.process.join(timeout=10)
        self.process.terminate()
        self.process.join()


def train_runs(
    plans: Iterable[RunPlan],
    out: Path,
    scratch: Path,
    workers: int,
    report_epoch: ReportEpoch,
) -> Iterator[RunEnd]:
    """Train runs in worker processes.

    Args:
        plans: The runs, started in this order.
        out: The folder that holds ``wandb``.
        scratch: A folder that may be thrown away after training.
        workers: Processes at the same time.
        report_epoch: Called for each epoch that was logged.

    Yields:
        Each run's end as it comes.

    Raises:
        SourceError: A process died, and not because a run was to end it.
    """
    waiting = deque(plans)
    busy: dict[Connection, Worker] = {}
    idle: list[Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                plan = waiting.popleft()
                worker = idle.pop() if idle else _start_worker(plan, out, scratch)
                busy[worker.connection] = worker
                worker.begin(plan)
            for connection in cast(list[Connection], wait(list(busy))):
                worker = busy[connection]
                message = worker.receive()
                if isinstance(message, int):
                    report_epoch(worker.plan, message)
                    continue
                del busy[connection]
                if worker.process.exitcode is None:
                    idle.append(worker)
                yield message
    finally:
        for worker in (*busy.values(), *idle):
            worker.stop()


def _start_worker(plan: RunPlan, out: Path, scratch: Path) -> Worker:
    # Spawned, not forked: wandb and numpy start threads, which a fork would lose.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, out, scratch), daemon=True)
    process.start()
    # While this side is open too, the death of the process would not end the pipe.
    theirs.close()
    return Worker(process, ours, plan)


def serve(connection: Connection, out: Path, scratch: Path) -> None:
    """Train the runs that come through the pipe, until it is closed."""
    # Ctrl-C is the parent's business; it reaches all processes of the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from .recording import record_run, use_private_settings

    use_private_settings(scratch)
    try:
        while True:
            plan: RunPlan = connection.recv()
            exit_code = 0
            try:
                record_run(plan, out, connection.send)
            except UsageError:
                # The environment failed; wandb has recorded exit code 1.
                exit_code = 1
            connection.send(RunEnd(plan, exit_code))
    except (EOFError, BrokenPipeError):
        return  # The parent is gone, or needs nothing more.
