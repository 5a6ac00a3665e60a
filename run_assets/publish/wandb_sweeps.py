"""A sweep as a W&B run that is written while it goes on, in a process of its own.

The parent sends one message a line and waits for its receipt. When the parent dies, the
process ends the run as one that is to be resumed.
"""

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

from run_assets.errors import AuthenticationError, SourceError, TryAgainError
from run_assets.own_runs import MARK
from run_assets.publish.child import environment, without_keys
from run_assets.publish.wandb_run import IN_FLIGHT

_TIMEOUT_SECONDS = 300.0
_CHILD = "run_assets.publish.wandb_sweep_child"
_LOG = "wandb_process.log"


@dataclass(frozen=True)
class SweepTarget:
    """Where the runs of a sweep go.

    Attributes:
        sweep_id: Name, group and tag ``sweep:<id>`` of the runs.
        mode: ``offline``, ``online``, or ``disabled``: nothing is sent.
        project: W&B project.
        entity: W&B user or team; the account's default where ``None``.
        folder: Where runs go; no other process writes there.
    """

    sweep_id: str
    mode: Literal["offline", "online", "disabled"]
    project: str
    entity: str | None
    folder: Path

    @property
    def run_id(self) -> str:
        """The same for every session of a sweep: a resumed sweep is the same run."""
        return sha256(self.sweep_id.encode()).hexdigest()[:16]


class WandbSweep:
    """The run of a sweep, from its begin to its end.

    Whatever method raises, raises one of

    - `AuthenticationError`: W&B wants a key, or another one,
    - `TryAgainError`: W&B cannot be reached or did not answer in time,
    - `SourceError`: W&B or the disk refused.
    """

    def __init__(self, target: SweepTarget, config: Mapping[str, Any]) -> None:
        self._target = target
        folder = target.folder
        with _disk(folder):
            (folder / IN_FLIGHT).mkdir(parents=True, exist_ok=True)
            log = (folder.parent / _LOG).open("wb")
        with log:
            self._process = subprocess.Popen(  # noqa: S603  # our own module, no shell
                [sys.executable, "-P", "-m", _CHILD],
                cwd=folder,
                env=environment(folder, target.run_id, target.mode),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        spec = {**asdict(target), "run_id": target.run_id, "name": target.sweep_id}
        try:
            self._send("begin", spec=spec, config={**config, **MARK})
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to the run's history."""
        if rows:
            self._send("log", rows=rows)

    def log_trial(self, run: Mapping[str, Any]) -> str:
        """Log a trial as a run of its own and finish it.

        Args:
            run: ``run_id, name, config, history, summary, exit_code``.

        Returns:
            Its run path.
        """
        about = {**run, "config": {**run["config"], **MARK}}
        return str(self._send("trial", run=about)["run_path"])

    def alert(self, title: str, text: str) -> None:
        """Have W&B tell people."""
        self._send("alert", title=title, text=text)

    def finish(self, summary: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Add a last row, change the config and end the run."""
        self._send("finish", rows=[summary], config=config)

    def _send(self, do: str, **what: Any) -> dict[str, Any]:
        text = json.dumps({"do": do, **what}, default=str)
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None and answers is not None  # noqa: PT018, S101
        with contextlib.suppress(BrokenPipeError):  # its answer says why
            pipe.write(text.encode() + b"\n")
            pipe.flush()
        ready, _, _ = select.select([answers], [], [], _TIMEOUT_SECONDS)
        line = answers.readline() if ready else b""
        answer = json.loads(line) if line else self._silence(is_late=not ready)
        if "error" in answer:
            raise self._error(answer["error"], without_keys(answer["message"]))
        return dict(answer)

    def _silence(self, *, is_late: bool) -> dict[str, str]:
        if is_late:
            return {"error": "busy", "message": "no answer in time"}
        log = (self._target.folder.parent / _LOG).read_text("utf-8", "replace")
        return {"error": "failed", "message": log[-1_000:].strip()}

    def _error(self, kind: str, text: str) -> SourceError:
        target = self._target
        msg = (
            f"W&B project {target.entity or 'of the default entity'}/{target.project} "
            f"({target.mode}) did not take all of {target.sweep_id}: {text}; the "
            f"ledger has it, `run-assets sweep resume {target.sweep_id}` sends the rest"
        )
        if kind in ("key", "forbidden"):
            return AuthenticationError(msg)
        if kind in ("unreachable", "busy", "garbled"):
            return TryAgainError(msg)
        return SourceError(msg)

    def _end(self) -> None:
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None and answers is not None  # noqa: PT018, S101
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
        try:
            self._process.wait(_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        answers.close()


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{folder} could not be written: {error}; make room and resume the sweep"
        raise SourceError(msg) from error
