"""The unmodified SDK in a process of its own, driven call by call.

A process start costs a second, so one `SdkClient` makes many calls; each reading call
uses a fresh `Api`, since an `Api` object caches runs.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]
TIMEOUT_SECONDS = 20
CHECKOUT = Path(__file__).parents[3]


class SdkError(Exception):
    """The SDK raised; `kind` is the name of its exception's class."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class SdkClient:
    """The parent's end of the process; `sdk_client` makes one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, command: str, **arguments: Any) -> Any:
        """Run one of `COMMANDS` in the process.

        Raises:
            SdkError: The SDK raised an error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, arguments]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise SdkError(answer["error"], answer["message"])
        return answer["result"]


@contextmanager
def sdk_client(environment: Mapping[str, str]) -> Iterator[SdkClient]:
    """An SDK process with the given environment, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name],
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        cwd=environment["HOME"],  # the SDK downloads tables into the current folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield SdkClient(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=TIMEOUT_SECONDS)


def log(
    project: str,
    rows: list[JsonObject],
    defines: Mapping[str, JsonObject] | None = None,
    table: JsonObject | None = None,
    summary: JsonObject | None = None,
    exit_code: int = 0,
    **settings: Any,
) -> JsonObject:
    """Log rows to a run, online or offline, and finish it."""
    import wandb

    with tempfile.TemporaryDirectory() as scratch:
        run = wandb.init(project=project, **settings)
        for name, options in (defines or {}).items():
            run.define_metric(name, **options)
        for row in rows:
            step = row.get("_step")
            plain = {key: value for key, value in row.items() if key != "_step"}
            run.log(plain, step=step)
        if table:
            run.log({"table": wandb.Table(**table)})
            note = Path(scratch) / "note.txt"
            note.write_text("kept")
            run.save(str(note), base_path=scratch, policy="now")
        run.summary.update(summary or {})
        first = run.starting_step
        print("to the console")  # noqa: T201 - the console is streamed, too
        folder = str(Path(run.dir).parent)
        run.finish(exit_code=exit_code)
    return {"id": run.id, "folder": folder, "starting_step": first}


def read(path: str, page_size: int = 1000, *, use_cache: bool = False) -> JsonObject:
    """Everything that the API tells of a run."""
    import wandb

    run = wandb.Api(timeout=TIMEOUT_SECONDS).run(path)
    return {
        "config": dict(run.config),
        "summary": run.summary._json_dict,
        "state": run.state,
        "tags": list(run.tags),
        "group": run.group,
        "job_type": run.job_type,
        "name": run.name,
        "notes": run.notes,
        "last_step": run.lastHistoryStep,
        "keys": run.history_keys,
        "rows": list(run.scan_history(page_size=page_size, use_cache=use_cache)),
        "files": [file.name for file in run.files()],
    }


def rows(path: str, keys: list[str] | None = None, page_size: int = 1000) -> Any:
    """The history row by row."""
    import wandb

    run = wandb.Api(timeout=TIMEOUT_SECONDS).run(path)
    return list(run.scan_history(keys, page_size=page_size, use_cache=False))


def samples(path: str, count: int, keys: list[str] | None = None) -> Any:
    """Sampled history."""
    import wandb

    run = wandb.Api(timeout=TIMEOUT_SECONDS).run(path)
    return run.history(samples=count, keys=keys, pandas=False)


def system_metrics(path: str) -> Any:
    """The event stream."""
    import wandb

    run = wandb.Api(timeout=TIMEOUT_SECONDS).run(path)
    return run.history(stream="system", pandas=False)


def exports(path: str) -> list[JsonObject]:
    """Rows of the parquet files, downloaded by the SDK."""
    import polars as pl
    import wandb

    run = wandb.Api(timeout=TIMEOUT_SECONDS).run(path)
    with tempfile.TemporaryDirectory() as folder:
        result = run.download_history_exports(folder, require_complete_history=False)
        frames = [pl.read_parquet(file) for file in sorted(result.paths)]
        return [row for frame in frames for row in frame.to_dicts()]


def names(
    project: str,
    filters: JsonObject | None = None,
    order: str = "+created_at",
    per_page: int = 50,
    *,
    lazy: bool = True,
) -> list[Any]:
    """Run ids and configs of a listing; configs of an eager one cost no request."""
    import wandb

    runs = wandb.Api(timeout=TIMEOUT_SECONDS).runs(
        project, filters=filters, order=order, per_page=per_page, lazy=lazy
    )
    return [[run.id, None if lazy else dict(run.config)] for run in runs]


def viewer(timeout: int = TIMEOUT_SECONDS) -> str:
    """Who the key belongs to: the cheapest question."""
    import wandb

    return str(wandb.Api(timeout=timeout).viewer.username)


def edit(path: str, attributes: JsonObject, config: JsonObject, **summary: Any) -> None:
    """Change a run as a script does after the fact."""
    import wandb

    run = wandb.Api(timeout=TIMEOUT_SECONDS).run(path)
    for name, value in attributes.items():
        setattr(run, name, value)
    run.config.update(config)
    run.update()
    run.summary.update(summary)


def delete(path: str) -> None:
    """Delete a run."""
    import wandb

    wandb.Api(timeout=TIMEOUT_SECONDS).run(path).delete()


def log_artifact(project: str, name: str, text: str, aliases: list[str]) -> Any:
    """Log a dataset of one file; returns its version."""
    import wandb

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data.txt").write_text(text)
        artifact = wandb.Artifact(name, type="dataset", metadata={"length": len(text)})
        artifact.add_dir(folder)
        run = wandb.init(project=project)
        run.log_artifact(artifact, aliases=aliases).wait()
        run.finish()
        return {"run": run.id, "version": artifact.version}


def use_artifact(project: str, name: str) -> JsonObject:
    """Use and download a dataset; returns what it says of itself."""
    import wandb

    with tempfile.TemporaryDirectory() as folder:
        run = wandb.init(project=project)
        artifact = run.use_artifact(name)
        text = (Path(artifact.download(folder)) / "data.txt").read_text()
        run.finish()
    api = wandb.Api(timeout=TIMEOUT_SECONDS)
    found = api.artifact(f"{project}/{name}")
    logger = found.logged_by()
    return {
        "text": text,
        "version": found.version,
        "aliases": sorted(found.aliases),
        "metadata": found.metadata,
        "size": found.size,
        "logged_by": logger.id if logger else None,
        "used_by": [user.id for user in found.used_by()],
        "run": run.id,
        "used": [item.name for item in api.run(f"{project}/{run.id}").used_artifacts()],
    }


def table(path: str) -> JsonObject:
    """A logged table, read back through its artifact."""
    import wandb

    run = wandb.Api(timeout=TIMEOUT_SECONDS).run(path)
    [artifact] = [item for item in run.logged_artifacts() if item.type == "run_table"]
    found = artifact.get("table.table.json")
    return {"columns": found.columns, "data": found.data}


def publication(path: str, dataset: str) -> JsonObject:
    """What a run shows: its tables, media files, datasets and the artifacts it used."""
    import wandb

    run = wandb.Api(timeout=TIMEOUT_SECONDS).run(path)
    logged = list(run.logged_artifacts())
    with tempfile.TemporaryDirectory() as folder:
        media = {
            file.name: _digest(file.download(root=folder, replace=True).name)
            for file in run.files()
            if file.name.startswith("media/")
        }
    return {
        "state": run.state,
        "url": run.url,
        "job_type": run.job_type,
        "name": run.name,
        "config": dict(run.config),
        "summary": run.summary._json_dict,
        "media": media,
        "tables": dict(
            _table(artifact) for artifact in logged if artifact.type == "run_table"
        ),
        "versions": [_version(one) for one in logged if one.name.startswith(dataset)],
        "used": sorted(artifact.name for artifact in run.used_artifacts()),
    }


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _table(artifact: Any) -> tuple[str, JsonObject]:
    [name] = [name for name in artifact.manifest.entries if name.endswith(".json")]
    found = artifact.get(name)
    content = {"columns": found.columns, "data": found.data}
    return name.removesuffix(".table.json"), content


def _version(artifact: Any) -> JsonObject:
    with tempfile.TemporaryDirectory() as folder:
        artifact.download(root=folder, skip_cache=True)
        files = {
            str(path.relative_to(folder)): _digest(str(path))
            for path in Path(folder).rglob("*")
            if path.is_file()
        }
    return {
        "version": artifact.version,
        "type": artifact.type,
        "aliases": sorted(artifact.aliases),
        "metadata": artifact.metadata,
        "files": files,
    }


COMMANDS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(delete, edit, exports, log, log_artifact, names, publication, read),
        *(rows, samples, system_metrics, table, use_artifact, viewer),
    )
}


def _answer(line: str) -> JsonObject:
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    command, arguments = json.loads(line)
    try:
        return {"result": COMMANDS[command](**arguments)}
    except (wandb.Error, WandbApiFailedError, ValueError, OSError, TypeError) as error:
        return {"error": type(error).__name__, "message": str(error)}


def main() -> None:
    """Answer calls on stdin; the SDK's own output goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(line), default=str) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
