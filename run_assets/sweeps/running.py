"""Starting a sweep, going on with one, and what came of it."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from run_assets.errors import RunAssetsError, UsageError
from run_assets.lab import Lab
from run_assets.sweeps import claims
from run_assets.sweeps.config import Difference, SweepConfig, differences, load_sweep
from run_assets.sweeps.engine import Ending, Pool, Stop, Tell
from run_assets.sweeps.ledger import (
    Ledger,
    amend,
    create_ledger,
    find_sweep,
    ledger_path,
    open_ledger,
    store_config,
)
from run_assets.sweeps.plan import new_sweep_id, planned
from run_assets.sweeps.policy import OPEN
from run_assets.sweeps.publishing import Say, published
from run_assets.sweeps.success import judge_of
from run_assets.sweeps.workers import (
    Processes,
    Work,
    check_program,
    command_work,
    function_work,
    variables,
)


def _nobody(_told: object) -> None: ...


class SweepFailedError(RunAssetsError):
    """A sweep ended with trials that failed for good, or before its end."""


@dataclass(frozen=True)
class Ran:
    """What one `run` or `resume` came to.

    Attributes:
        sweep_id: The sweep.
        ledger: Its ledger.
        ending: Why this process stopped working on it.
        counts: How many trials have which status now.
        cost: Of all attempts so far.
        folder: Where reports and logs of the sweep lie.
        publication_error: Why W&B does not have everything; ``None`` where it has.
    """

    sweep_id: str
    ledger: Path
    ending: Ending
    counts: dict[str, int]
    cost: float
    folder: Path
    publication_error: RunAssetsError | None = None

    @property
    def n_open(self) -> int:
        """Trials that are still to be run."""
        return sum(self.counts.get(status, 0) for status in (*OPEN, "running"))


def start_sweep(
    lab: Lab,
    config: SweepConfig,
    *,
    file: Path | None = None,
    now: datetime | None = None,
    sweep_id: str | None = None,
) -> str:
    """Write the plan of a new sweep; nothing runs yet.

    Args:
        lab: Where it belongs.
        config: What to run.
        file: Where the configuration came from; `resume` looks there for changes.
        now: For the id.
        sweep_id: Instead of a new one.

    Returns:
        The sweep's id.

    Raises:
        UsageError: The function or program does not exist.
    """
    _check(config)
    sweep_id = sweep_id or new_sweep_id(config.name, now or datetime.now(UTC))
    path = ledger_path(lab.config.data_path, sweep_id)
    create_ledger(
        path, sweep_id, config, planned(config, sweep_id), file and file.absolute()
    ).close()
    return sweep_id


def run_sweep(
    lab: Lab, config: SweepConfig, *, stop: Stop | None = None, tell: Tell = _nobody
) -> Ran:
    """Run every trial of a new sweep; see `resume_sweep` for the arguments."""
    return work_on(lab, start_sweep(lab, config), stop=stop, tell=tell)


def resume_sweep(
    lab: Lab,
    sweep: str | None = None,
    config: SweepConfig | None = None,
    *,
    allow_amend: bool = False,
    stop: Stop | None = None,
    tell: Tell = _nobody,
) -> Ran:
    """Go on with a sweep: run what is not terminal, and nothing that has succeeded.

    Args:
        lab: Where it belongs.
        sweep: Id or name; the youngest where ``None``.
        config: Its configuration now; that of the file it was started from where
            ``None``.
        allow_amend: What is run may differ from what was planned.
        stop: Where signals arrive.
        tell: Told how many trials have which status.

    Raises:
        NotFoundError: There is no such sweep.
        SourceError: The ledger cannot be read.
        UsageError: The configuration differs; the message shows how.
    """
    path = find_sweep(lab.config.data_path, sweep)
    with open_ledger(path) as ledger:
        reconfigure(ledger, config, allow_amend=allow_amend)
        sweep_id = ledger.sweep_id
    return work_on(lab, sweep_id, stop=stop, tell=tell, is_resume=True)


def reconfigure(
    ledger: Ledger, config: SweepConfig | None, *, allow_amend: bool
) -> list[Difference]:
    """Let a sweep go on as its configuration is now.

    Returns:
        What differs from before.

    Raises:
        UsageError: What is run differs, and that is not allowed.
    """
    file = ledger.config_path
    if config is None and (file is None or not file.is_file()):
        return []
    now = config or load_sweep(Path(str(file)))
    found = differences(ledger.config, now)
    if any(one.needs_amend for one in found) and not allow_amend:
        lines = [f"  {one}" for one in found]
        msg = (
            f"{ledger.sweep_id} was planned otherwise:\n" + "\n".join(lines) + "\n"
            "Nothing was run. Put it back, start another sweep, or go on with --amend"
        )
        raise UsageError(msg)
    _check(now)
    if any(one.needs_amend for one in found):
        amend(ledger, now, planned(now, ledger.sweep_id))
    elif found or now.root.absolute() != ledger.config.root:
        with ledger.transaction() as connection:
            store_config(connection, now)
    return found


def work_on(
    lab: Lab,
    sweep_id: str,
    *,
    stop: Stop | None = None,
    tell: Tell = _nobody,
    say: Say = _nobody,
    is_resume: bool = False,
) -> Ran:
    """Be a manager of a sweep until nothing is left to do, or a signal comes.

    Any number of processes may do so at the same time; they share the trials.

    Args:
        lab: Where it belongs.
        sweep_id: The sweep.
        stop: Where signals arrive.
        tell: Told how many trials have which status.
        say: Told what people should know at once.
        is_resume: It was worked on before.
    """
    path = ledger_path(lab.config.data_path, sweep_id)
    stop = stop or Stop()
    with open_ledger(path) as ledger:
        config = ledger.config
        folder = output_folder(lab, ledger)
        publication = published(lab, ledger, say, is_resume=is_resume)
        with publication, _working(config, folder, stop) as work:
            manager = claims.join(ledger, time.time(), is_resume=is_resume)
            try:
                judge = judge_of(config, lab.config.evaluations)
                pool = Pool(ledger, config, manager, work, judge, stop, tell)
                stop.wake = pool.wake
                ending = pool.run()
            finally:
                claims.leave(ledger, manager, time.time())
        return Ran(
            sweep_id=sweep_id,
            ledger=path,
            ending=ending,
            counts=ledger.counts(),
            cost=ledger.value("select coalesce(sum(cost), 0.0) from attempts"),
            folder=folder,
            publication_error=publication.error,
        )


def output_folder(lab: Lab, ledger: Ledger) -> Path:
    """Where reports and logs of a sweep lie."""
    config = ledger.config
    if config.output_dir is None:
        return lab.config.data_path / "sweeps" / ledger.sweep_id
    return config.root / Path(config.output_dir).expanduser() / ledger.sweep_id


@contextlib.contextmanager
def signals(stop: Stop, said: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM drain the sweep, a second one stops it, a third gives up W&B.

    Args:
        stop: Of the sweep.
        said: Called at each of them.
    """

    def received(_number: int, _frame: object) -> None:
        if stop.is_stopping:
            raise KeyboardInterrupt
        stop.ask()
        said()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        one: signal.signal(one, received) for one in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextlib.contextmanager
def _working(config: SweepConfig, folder: Path, stop: Stop) -> Iterator[Work]:
    if config.function is not None:
        with _environment(variables(config)):
            yield function_work(config)
        return
    logs = folder / "trials"
    logs.mkdir(parents=True, exist_ok=True)
    processes = Processes(logs)
    read_end, write_end = os.pipe()
    stop.kill = processes.stop
    try:
        yield command_work(config, processes, read_end)
    finally:
        processes.stop()
        os.close(write_end)
        os.close(read_end)


@contextlib.contextmanager
def _environment(added: dict[str, str]) -> Iterator[None]:
    """Variables that functions see while the sweep runs."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check(config: SweepConfig) -> None:
    """Refuse what no trial could start with."""
    variables(config)
    if config.function is None:
        check_program(config)
    else:
        function_work(config)
