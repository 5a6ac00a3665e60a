"""The only writer to the outside: results as one W&B run of job type ``analysis``.

The SDK runs in a process of its own. Inside ours it would read a caller's WANDB_*
variables once for all, keep a service alive, and share both with runs that the caller
has open. An offline run and everything it needs for a later ``wandb sync`` lie in one
folder; nothing else is written.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from run_assets.digests import digest_of
from run_assets.errors import (
    AuthenticationError,
    SourceError,
    TryAgainError,
    UsageError,
)
from run_assets.store.lake import publish_file

Mode = Literal["offline", "online", "disabled"]

ARTIFACT = "processed_runs"
MOST_TABLE_ROWS = 200_000
"""W&B cuts longer tables off. Source: ``wandb.Table.MAX_ARTIFACT_ROWS``."""

_TIMEOUT_SECONDS = 900
_STATE = "last_publication.json"
_IN_FLIGHT = ".publishing"
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_PNG = b"\x89PNG\r\n\x1a\n"

# What an online run may take from the environment; everything else, such as a
# training job's WANDB_RUN_ID, is about another run.
_ONLINE_VARIABLES = {
    *("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_CONFIG_DIR", "WANDB_CREDENTIALS_FILE"),
    *("WANDB_HTTP_TIMEOUT", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_INIT_TIMEOUT"),
    "WANDB_INSECURE_DISABLE_SSL",
}


@dataclass(frozen=True)
class Publication:
    """What one W&B run shows.

    Attributes:
        tables: Frames by key, such as ``iqm_comparison``; each becomes a W&B table.
        images: PNG files' bytes by key.
        files: Parquet files by their name inside the artifact ``processed_runs``.
        summary: The run's summary.
        config: The run's config; ``run_assets: true`` and ``input_digest`` are added,
            so that no source ever takes the run for an experiment.
    """

    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Changes when anything that is shown changes."""
        return digest_of(
            {key: _frame_digest(frame) for key, frame in self.tables.items()},
            {key: sha256(image).hexdigest() for key, image in self.images.items()},
            {name: _file_digest(path) for name, path in self.files.items()},
            self.summary,
            self.config,
        )


class PublishedRun(NamedTuple):
    """A run that was published.

    Attributes:
        run_path: ``entity/project/run_id``; offline without an entity,
            ``project/run_id``.
        folder: The run's local files; ``wandb sync`` takes it.
        mode: ``offline`` or ``online``.
    """

    run_path: str
    folder: Path
    mode: Mode


@dataclass(frozen=True)
class _Target:
    mode: Mode
    project: str
    entity: str | None
    folder: Path
    name: str


def publish_if_changed(
    publication: Publication,
    *,
    mode: Mode,
    project: str,
    entity: str | None,
    folder: Path,
    name: str,
) -> PublishedRun | None:
    """As ``publish``, unless the same was last published to the same place.

    What was last published is in ``last_publication.json`` beside the folder.

    Returns:
        ``None`` where nothing was published.
    """
    if _is_disabled(mode):
        return None
    target = _Target(mode, project, entity, folder.absolute(), name)
    digest = digest_of(publication.digest, mode, project, entity)
    if _last(target.folder).get("digest") == digest:
        return None
    with _in_flight(publication, target) as published:
        state = {"digest": digest, **published._asdict(), "folder": published.folder}
        text = json.dumps(state, indent=1, default=str)
        publish_file(_state_file(target.folder), lambda path: _write(path, text))
        return published


def publish(
    publication: Publication,
    *,
    mode: Mode,
    project: str,
    entity: str | None,
    folder: Path,
    name: str,
) -> PublishedRun | None:
    """Log one W&B run and finish it. One process at a time may publish to a folder.

    Args:
        publication: What it shows.
        mode: ``offline`` needs no account and no network; ``online`` takes the key
            from WANDB_API_KEY or netrc. ``DISABLE_WANDB=true`` wins over both.
        project: W&B project.
        entity: W&B user or team; the account's default where ``None``.
        folder: Where offline runs go, ``<data_dir>/published/wandb``.
        name: Display name of the run.

    Returns:
        ``None`` where publishing is disabled.

    Raises:
        AuthenticationError: W&B wants a key, or another one.
        TryAgainError: W&B did not answer in time.
        SourceError: W&B or the disk refused; nothing counts as published.
        UsageError: An image is not a PNG file, or a table is too long.
    """
    if _is_disabled(mode):
        return None
    target = _Target(mode, project, entity, folder.absolute(), name)
    with _in_flight(publication, target) as published:
        return published


def _is_disabled(mode: Mode) -> bool:
    switch = os.environ.get("DISABLE_WANDB", "").lower()
    return mode == "disabled" or switch in ("1", "true", "yes")


# -- the parent: what is published is laid out in a folder that marks it as unfinished


@contextlib.contextmanager
def _in_flight(publication: Publication, target: _Target) -> Iterator[PublishedRun]:
    """Publish; whatever fails before the block ends, also by a kill, leaves nothing."""
    folder = target.folder
    _discard_unfinished(folder)
    run_id = secrets.token_hex(4)
    try:
        _stage(publication, target, run_id)
        yield _run_child(target, run_id)
    except BaseException:
        _discard_unfinished(folder)
        raise
    if target.mode == "online":
        shutil.rmtree(_staging(folder, run_id), ignore_errors=True)
    shutil.rmtree(folder / _IN_FLIGHT)


def _discard_unfinished(folder: Path) -> None:
    """Remove what an earlier call began and did not finish."""
    marker = folder / _IN_FLIGHT
    if not marker.is_dir():
        return
    run_id = _read_json(marker / "spec.json").get("run_id")
    finished = _last(folder).get("run_path", "").endswith(f"/{run_id}")
    if isinstance(run_id, str) and run_id.isalnum() and not finished:
        runs = [one for one in folder.glob(f"*-{run_id}") if not one.is_symlink()]
        for path in (*runs, _staging(folder, run_id)):
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(marker)


def _stage(publication: Publication, target: _Target, run_id: str) -> None:
    """Lay out everything the child needs; keys from outside never become paths."""
    marker = target.folder / _IN_FLIGHT
    tables = {key: f"{number}.parquet" for number, key in enumerate(publication.tables)}
    images = {key: f"{number}.png" for number, key in enumerate(publication.images)}
    config = {**publication.config, "run_assets": True}
    config["input_digest"] = publication.digest
    spec = {
        **asdict(target),
        "run_id": run_id,
        "config": config,
        "summary": publication.summary,
        "tables": tables,
        "images": images,
        "files": {key: path.absolute() for key, path in publication.files.items()},
    }
    try:
        marker.mkdir(parents=True)
        _write(marker / "spec.json", json.dumps(spec, default=str))
        for key, frame in publication.tables.items():
            _check_table(key, frame)
            frame.write_parquet(marker / tables[key])
        for key, image in publication.images.items():
            _check_image(key, image)
            (marker / images[key]).write_bytes(image)
    except OSError as error:
        msg = f"{marker} could not be written: {error}; make room and publish again"
        raise SourceError(msg) from error


def _run_child(target: _Target, run_id: str) -> PublishedRun:
    # The child ends with us, even by a kill: it watches the other end of this pipe.
    read_end, write_end = os.pipe()
    command = [sys.executable, "-P", "-m", __spec__.name]
    try:
        process = subprocess.Popen(  # noqa: S603  # our own module, no shell
            [*command, str(target.folder), str(read_end)],
            cwd=target.folder,
            env=_environment(target, run_id),
            pass_fds=(read_end,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        os.close(read_end)
        try:
            out, err = process.communicate(timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            msg = (
                f"W&B did not take the run {target.name!r} in {_TIMEOUT_SECONDS} s; "
                "nothing was published, try again or publish offline"
            )
            raise TryAgainError(msg) from None
    finally:
        os.close(write_end)
    return _answer(target, process.returncode, out, err)


def _answer(target: _Target, code: int, out: str, err: str) -> PublishedRun:
    try:
        answer = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        answer = {"error": f"exit code {code}", "message": err[-1_000:].strip()}
    if "error" not in answer:
        folder = Path(answer["folder"])
        return PublishedRun(answer["run_path"], folder, target.mode)
    text = _without_key(f"{answer['error']}: {answer['message']}")
    where = f"{target.entity or 'the default entity'}/{target.project}"
    if answer["error"] == "AuthenticationError" or "API key" in text:
        msg = (
            f"W&B refused to publish to {where}: {text}; set WANDB_API_KEY or run "
            "`wandb login`, or set publish.wandb.mode to offline"
        )
        raise AuthenticationError(msg)
    msg = (
        f"publishing to W&B project {where} ({target.mode}) failed: {text}; "
        "nothing counts as published, `run-assets publish` tries again"
    )
    raise SourceError(msg)


def _environment(target: _Target, run_id: str) -> dict[str, str]:
    kept = _ONLINE_VARIABLES if target.mode == "online" else set()
    given = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WANDB_") or name in kept
    }
    ours = {
        "WANDB_DIR": _root(target.folder),
        "WANDB_CACHE_DIR": target.folder / _IN_FLIGHT / "cache",
        "WANDB_DATA_DIR": _staging(target.folder, run_id),
        "WANDB_ARTIFACT_DIR": target.folder / _IN_FLIGHT / "artifacts",
        "WANDB_ERROR_REPORTING": "false",
    }
    if target.mode == "offline":
        ours["WANDB_CONFIG_DIR"] = target.folder / _IN_FLIGHT / "config"
    return {**given, **{name: str(value) for name, value in ours.items()}}


def _root(folder: Path) -> Path:
    """The SDK puts runs into a folder ``wandb`` of this one."""
    return folder.parent if folder.name == "wandb" else folder


def _staging(folder: Path, run_id: str) -> Path:
    """Copies of the artifacts' files; an offline run needs them until it is synced."""
    return folder / "staging" / run_id


def _state_file(folder: Path) -> Path:
    return folder.parent / _STATE


def _last(folder: Path) -> dict[str, Any]:
    return _read_json(_state_file(folder))


def _read_json(path: Path) -> dict[str, Any]:
    """What a file holds; nothing where it is missing or was cut off by a kill."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _without_key(text: str) -> str:
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "****") if key else text


def _check_table(key: str, frame: pl.DataFrame) -> None:
    if frame.height > MOST_TABLE_ROWS:
        msg = (
            f"table {key!r} has {frame.height:,} rows, W&B shows {MOST_TABLE_ROWS:,}; "
            f"publish it as a file of the artifact {ARTIFACT} instead"
        )
        raise UsageError(msg)


def _check_image(key: str, image: bytes) -> None:
    if not image.startswith(_PNG):
        msg = f"image {key!r} must be a PNG file, got bytes that begin {image[:8]!r}"
        raise UsageError(msg)


def _frame_digest(frame: pl.DataFrame) -> str:
    return digest_of(list(map(str, frame.dtypes)), frame.columns, frame.rows())


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        msg = f"{path} cannot be published: {error}; `run-assets refresh` rebuilds it"
        raise SourceError(msg) from error


# -- the child: the only place where the SDK runs


def _child_main(folder: Path, lifeline: int) -> int:
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    import wandb

    spec = _read_json(folder / _IN_FLIGHT / "spec.json")
    try:
        answer = _log_run(spec, folder)
    except (wandb.errors.Error, OSError, ValueError, TypeError) as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return int("error" in answer)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


def _log_run(spec: Mapping[str, Any], folder: Path) -> dict[str, str]:
    import wandb

    run = wandb.init(
        project=spec["project"],
        entity=spec["entity"],
        name=spec["name"],
        job_type="analysis",
        config=spec["config"],
        settings=_settings(spec, folder),
    )
    marker = folder / _IN_FLIGHT
    tables = {_safe(key): _table(marker / one) for key, one in spec["tables"].items()}
    images = {
        _safe(key): _image(run, _safe(key), marker / one)
        for key, one in spec["images"].items()
    }
    if tables or images:
        run.log({**tables, **images})
    if spec["files"]:
        artifact = wandb.Artifact(ARTIFACT, type="dataset")
        for name, path in spec["files"].items():
            artifact.add_file(path, name=_safe(name))
        logged = run.log_artifact(artifact)
        if spec["mode"] == "online":
            logged.wait()
    run.summary.update(spec["summary"])
    answer = {"run_path": run.path, "folder": str(Path(run.dir).parent)}
    run.finish()
    return answer


def _settings(spec: Mapping[str, Any], folder: Path) -> Any:
    import wandb

    return wandb.Settings(
        mode=spec["mode"],
        run_id=spec["run_id"],
        root_dir=str(_root(folder)),
        use_dot_wandb=False,
        console="off",
        silent=True,
        save_code=False,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


def _table(path: Path) -> Any:
    import wandb

    frame = pl.read_parquet(path)
    rows = [[_cell(value) for value in row] for row in frame.iter_rows()]
    return wandb.Table(columns=frame.columns, data=rows, allow_mixed_types=True)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return (
        json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)
    )


def _image(run: Any, key: str, path: Path) -> dict[str, Any]:
    """Store a PNG file and describe it as ``wandb.Image`` does, which needs Pillow."""
    image = path.read_bytes()
    digest = sha256(image).hexdigest()
    name = f"media/images/{key}_0_{digest[:20]}.png"
    stored = Path(run.dir, name)
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes(image)
    run.save(str(stored), base_path=run.dir, policy="now")
    width, height = struct.unpack(">II", image[16:24])
    return {
        "_type": "image-file",
        "sha256": digest,
        "size": len(image),
        "path": name,
        "format": "png",
        "width": width,
        "height": height,
    }


def _safe(key: str) -> str:
    """A key that is safe as a path; names that differ never meet.

    >>> _safe("plots/iqm"), _safe("../x")
    ('plots/iqm', 'x-d6b96a97')
    """
    if _SAFE.fullmatch(key) and len(key) <= 100:
        return key
    digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", key).strip("-")[:80]
    return f"{readable}-{digest}".strip("-")


if __name__ == "__main__":
    raise SystemExit(_child_main(Path(sys.argv[1]), int(sys.argv[2])))
