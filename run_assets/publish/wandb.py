"""The only writer to the outside: results as one W&B run of job type ``analysis``.

The SDK runs in a process of its own. Inside ours it would read a caller's WANDB_*
variables once for all, keep a service alive, and share both with runs that the caller
has open. An offline run and everything it needs for a later ``wandb sync`` lie in one
folder; nothing else is written.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
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
from run_assets.publish import wandb_run
from run_assets.publish.wandb_run import ARTIFACT, IN_FLIGHT, read_json, run_root
from run_assets.store.lake import publish_file

Mode = Literal["offline", "online", "disabled"]

MOST_TABLE_ROWS = 200_000
"""W&B cuts longer tables off. Source: ``wandb.Table.MAX_ARTIFACT_ROWS``."""

_TIMEOUT_SECONDS = 900
_STATE = "last_publication.json"
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
    shutil.rmtree(folder / IN_FLIGHT)


def _discard_unfinished(folder: Path) -> None:
    """Remove what an earlier call began and did not finish."""
    marker = folder / IN_FLIGHT
    if not marker.is_dir():
        return
    run_id = read_json(marker / "spec.json").get("run_id")
    finished = _last(folder).get("run_path", "").endswith(f"/{run_id}")
    if isinstance(run_id, str) and run_id.isalnum() and not finished:
        runs = [one for one in folder.glob(f"*-{run_id}") if not one.is_symlink()]
        for path in (*runs, _staging(folder, run_id)):
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(marker)


def _stage(publication: Publication, target: _Target, run_id: str) -> None:
    """Lay out everything the child needs; keys from outside never become paths."""
    marker = target.folder / IN_FLIGHT
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
    command = [sys.executable, "-P", "-m", wandb_run.__name__]
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
        "nothing counts as published, `run-assets refresh` tries again"
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
        "WANDB_DIR": run_root(target.folder),
        "WANDB_CACHE_DIR": target.folder / IN_FLIGHT / "cache",
        "WANDB_DATA_DIR": _staging(target.folder, run_id),
        "WANDB_ARTIFACT_DIR": target.folder / IN_FLIGHT / "artifacts",
        "WANDB_ERROR_REPORTING": "false",
    }
    if target.mode == "offline":
        ours["WANDB_CONFIG_DIR"] = target.folder / IN_FLIGHT / "config"
    return {**given, **{name: str(value) for name, value in ours.items()}}


def _staging(folder: Path, run_id: str) -> Path:
    """Copies of the artifacts' files; an offline run needs them until it is synced."""
    return folder / "staging" / run_id


def _state_file(folder: Path) -> Path:
    return folder.parent / _STATE


def _last(folder: Path) -> dict[str, Any]:
    return read_json(_state_file(folder))


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
