"""Running one attempt: a function in this thread, or a command in a process group."""

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from run_assets.errors import ContractError, UsageError
from run_assets.sweeps import leash
from run_assets.sweeps.attempts import Attempt
from run_assets.sweeps.command import filled
from run_assets.sweeps.config import SweepConfig
from run_assets.sweeps.results import BAD_RESULT, Failure, Outcome, failure, outcome_of

TIMEOUT = "timeout"
NO_RESULT = "no_result"
KILLED = "killed"
_TAIL_BYTES = 4_000

Work = Callable[[Attempt], Outcome]
"""Runs an attempt to its end; whatever goes wrong is an outcome, too."""


def function_work(config: SweepConfig) -> Work:
    """Attempts as calls of ``module:function``.

    Raises:
        UsageError: There is no such module or function.
    """
    function = _function(config)
    return _guarded(lambda attempt: _checked(function(attempt)))


def _guarded(run: Work) -> Work:
    """The outermost frame of a trial: whatever it raises is the trial's failure."""

    def work(attempt: Attempt) -> Outcome:
        try:
            return run(attempt)
        except BaseException as error:  # noqa: BLE001  # a thread must not end by it
            return failure(type(error).__name__, str(error) or repr(error))

    return work


def _function(config: SweepConfig) -> Callable[[Attempt], Any]:
    module, _, name = str(config.function).partition(":")
    folder = str(config.root.absolute())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        msg = (
            f"function {config.function}: {error}; modules are looked for in {folder} "
            "and among what is installed"
        )
        raise UsageError(msg) from None
    if not callable(found):
        msg = f"function {config.function} must be callable, got {type(found).__name__}"
        raise UsageError(msg)
    return found  # type: ignore[no-any-return]  # its result is checked


@dataclass
class Processes:
    """The process groups of running commands, so that they can be stopped.

    Attributes:
        folder: Where what they print is kept.
    """

    folder: Path
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _running: set[int] = field(default_factory=set)
    _is_stopped: bool = False

    def stop(self) -> None:
        """Kill what runs, and whatever would start from now on."""
        with self._lock:
            self._is_stopped = True
            for group in self._running:
                _kill(group)

    @contextlib.contextmanager
    def started(
        self, arguments: list[str], where: dict[str, Any]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A command in a process group of its own, dead at the end of the block."""
        with self._lock:
            process = subprocess.Popen(  # noqa: S603  # a list of words, no shell
                arguments,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **where,
            )
            self._running.add(process.pid)
            if self._is_stopped:
                _kill(process.pid)
        try:
            yield process
        finally:
            with self._lock:
                _kill(process.pid)  # what it left behind, too
                self._running.discard(process.pid)
            process.wait()


def command_work(config: SweepConfig, processes: Processes, lifeline: int) -> Work:
    """Attempts as commands; the last line that one prints is its result.

    Args:
        config: Of the sweep.
        processes: Told of each command that runs.
        lifeline: The end of a pipe whose other end dies with this process.

    Raises:
        UsageError: There is no such program, or no file with variables.
    """
    check_program(config)
    environment = {**os.environ, **variables(config)}
    keeper = [sys.executable, "-I", "-S", str(leash.__file__), str(lifeline)]

    def work(attempt: Attempt) -> Outcome:
        words = filled(str(config.command), _values(attempt))
        out, err = (log_file(processes.folder, attempt, one) for one in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            where = {
                "cwd": config.root,
                "env": environment,
                "pass_fds": (lifeline,),
                "stdout": stdout,
                "stderr": stderr,
            }
            with processes.started([*keeper, *words], where) as process:
                try:
                    code = process.wait(config.timeout_seconds)
                except subprocess.TimeoutExpired:
                    return _too_slow(config)
        outcome = _outcome(code, out, err)
        if not config.save_intermediate_results and not isinstance(outcome, Failure):
            out.unlink()
            err.unlink()
        return outcome

    return _guarded(work)


def check_program(config: SweepConfig) -> None:
    """Refuse a program that is not there before thousands of trials find out.

    Raises:
        UsageError: It is neither on the PATH nor a file below the sweep's folder.
    """
    example = Attempt("sweep", "0" * 64, "model", "task", 0, 0, 1, config.options)
    word = filled(str(config.command), _values(example))[0]
    is_path = "/" in word
    place = str(config.root / word) if is_path else "the PATH"
    if shutil.which(config.root / word if is_path else word) is None:
        msg = (
            f"command: there is no program {word!r} at {place}; a script needs its "
            "interpreter, such as `python solve.py`, or `./solve.py` where it is "
            "executable"
        )
        raise UsageError(msg)


def log_file(folder: Path, attempt: Attempt, kind: str) -> Path:
    """Where an attempt's output is kept; no name from outside becomes a path."""
    return folder / f"{attempt.trial_id[:16]}-{attempt.attempt}.{kind}"


def variables(config: SweepConfig) -> dict[str, str]:
    """What ``api_key_config_file`` adds to the environment of trials.

    Raises:
        UsageError: There is no such file.
    """
    if config.api_key_config_file is None:
        return {}
    file = config.root / Path(config.api_key_config_file).expanduser()
    if not file.is_file():
        msg = f"api_key_config_file: there is no file {file}"
        raise UsageError(msg)
    return {name: value for name, value in dotenv_values(file).items() if value}


def _values(attempt: Attempt) -> Mapping[str, Any]:
    return {**asdict(attempt), "server": attempt.server or ""}


def _too_slow(config: SweepConfig) -> Failure:
    return failure(TIMEOUT, f"no end after {config.timeout_seconds:g} seconds")


def _outcome(code: int, out: Path, err: Path) -> Outcome:
    if signalled := _signal_name(code):
        return failure(KILLED, f"{signalled}: {_tail(err)}".removesuffix(": "))
    line = _last_line(out)
    told = _parsed(line)
    if code != 0:
        # A trial that says why it failed may still leave with an error.
        if isinstance(told, Mapping) and "error" in told:
            return _checked(told)
        return failure(f"exit_{code}", _tail(err) or _tail(out))
    if told is None:
        return failure(NO_RESULT, f"the last line is no JSON: {line[:200]!r}")
    return _checked(told)


def _signal_name(code: int) -> str | None:
    """Which signal ended a command, as its exit code tells."""
    number = -code if code < 0 else code - 128
    known = {one.value: one.name for one in signal.Signals}
    return known.get(number)


def _checked(returned: Any) -> Outcome:
    try:
        return outcome_of(returned)
    except ContractError as error:
        return failure(BAD_RESULT, str(error))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _last_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "")


def _tail(file: Path) -> str:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _TAIL_BYTES))
        return stream.read().decode("utf-8", "replace").strip()


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
