"""The process in which the SDK logs a sweep: one message a line, one receipt each.

Started by ``run_assets.publish.wandb_sweeps``.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import wandb

from run_assets.publish import wandb_server as server
from run_assets.publish.wandb_run import run_root, sdk_settings

_PATIENCE_SECONDS = 60


class Sweep:
    """The run of a sweep, and the runs of its trials."""

    def __init__(self, spec: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self._spec = spec
        self._folder = Path(spec["folder"])
        self._api = server.log_in() if spec["mode"] == "online" else None
        self._run = self._begun(spec, config, "sweep")
        self._config = dict(config)
        self._run.define_metric("sweep/*", step_metric="sweep/total_time_hours")

    def log(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Add rows to the history."""
        for row in message["rows"]:
            self._run.log(row)
        return {"run_path": self._run.path}

    def alert(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Tell people."""
        self._run.alert(message["title"], message["text"], "ERROR", wait_duration=0.001)
        return {}

    def trial(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Log a trial whole: begun before and cut off by a kill, it is begun again."""
        given = message["run"]
        for left in self._local(given["run_id"]):
            shutil.rmtree(left)
        spec = {**self._spec, "run_id": given["run_id"], "name": given["name"]}
        run = self._begun(spec, given["config"], "trial")
        for row in given["history"]:
            run.log(row)
        run.summary.update(given["summary"])
        path = run.path
        run.finish(exit_code=given["exit_code"])
        return {"run_path": path}

    def finish(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """End the run, and see that the server has it so."""
        for row in message["rows"]:
            self._run.log(row)
        self._config |= message["config"]
        self._run.config.update(message["config"], allow_val_change=True)
        path, url = self._run.path, self._run.url
        self._run.finish()
        if self._api:
            server.insist(lambda: self._check(path, message["rows"][-1]))
        return {"run_path": path, "url": url if self._api else None}

    def give_up(self) -> None:
        """Nobody is there any more: whoever resumes the sweep goes on with the run."""
        self._run.config.update(
            {"completion_status": "will_retry"}, allow_val_change=True
        )
        self._run.finish(exit_code=1)

    def _check(self, path: str, summary: Mapping[str, Any]) -> None:
        """Read the end back: the SDK takes any page for a receipt."""
        assert self._api is not None  # noqa: S101
        self._api.flush()
        run = self._api.run(path)
        if run.state != "finished":
            what = f"the end of the run, it is {run.state}"
            raise server.NotKeptError(what)
        kept = {key: run.config.get(key) for key in self._config}
        if wrong := sorted(key for key in kept if kept[key] != self._config[key]):
            what = f"{wrong[0]!r} in the config, it is {kept[wrong[0]]!r}"
            raise server.NotKeptError(what)
        if missing := sorted(set(summary) - set(run.summary.keys())):
            what = f"{missing[0]!r} in the summary"
            raise server.NotKeptError(what)

    def _begun(
        self, spec: Mapping[str, Any], config: Mapping[str, Any], job_type: str
    ) -> Any:
        try:
            return wandb.init(
                project=spec["project"],
                entity=spec["entity"],
                name=spec["name"],
                group=spec["sweep_id"],
                tags=[f"sweep:{spec['sweep_id']}"[:64]],
                job_type=job_type,
                config=dict(config),
                allow_val_change=True,
                resume="allow" if self._api else None,
                reinit="create_new",
                settings=sdk_settings(spec, self._folder),
            )
        except wandb.errors.CommError as error:
            raise server.RefusedRunError(str(error)) from error

    def _local(self, run_id: str) -> Iterator[Path]:
        yield from (run_root(self._folder) / "wandb").glob(f"*run-*-{run_id}")


def main() -> int:
    """Answer messages until there are no more."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed is no answer
    sweep: Sweep | None = None
    for line in sys.stdin:
        message = json.loads(line)
        try:
            if message["do"] == "begin":
                sweep, answer = Sweep(message["spec"], message["config"]), {}
            else:
                answer = getattr(sweep, message["do"])(message)
        except server.REFUSALS as error:
            kind = server.kind_of(error)
            _tell(answers, {"error": kind, "message": str(error) or repr(error)})
            # At a usual end the SDK would finish the run as if it were whole.
            os._exit(1)
        _tell(answers, answer)
        if message["do"] == "finish":
            return 0
    if sweep is not None:
        sweep.give_up()
    return 0


def _tell(answers: int, answer: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is there: there is no more
        os.write(answers, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    raise SystemExit(main())
