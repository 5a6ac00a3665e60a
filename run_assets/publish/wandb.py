"""The only writer to the outside: results as one W&B run of job type ``analysis``.

The SDK runs in a process of its own. Inside ours it would read a caller's WANDB_*
variables once for all, keep a service alive, and share both with runs that the caller
has open. An offline run and everything it needs for a later ``wandb sync`` lie in one
folder; nothing else is written.

A publication counts once ``last_publication.json`` names it. An online run is noted in
``unfinished_publications.json`` before anything is sent; whatever of it a kill or a
fault leaves on the server is found again there, and deleted by the next publication.
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from run_assets.digests import digest_of
from run_assets.errors import SourceError, TryAgainError
from run_assets.own_runs import MARK
from run_assets.publish.child import BusyError, GarbledAnswerError, log_run
from run_assets.publish.content import Publication
from run_assets.publish.wandb_run import IN_FLIGHT, read_json, staging
from run_assets.store.lake import publish_file

Mode = Literal["offline", "online", "disabled"]

_TIMEOUT_SECONDS = 900.0
_MOST_ATTEMPTS = 10
_MOST_SILENCES = 3
_PAUSE_SECONDS = 1.0
_STATE = "last_publication.json"
_UNFINISHED = "unfinished_publications.json"


class PublishedRun(NamedTuple):
    """A run that was published.

    Attributes:
        run_path: ``entity/project/run_id``; offline without an entity,
            ``project/run_id``.
        folder: The run's local files; ``wandb sync`` takes it.
        mode: ``offline`` or ``online``.
        url: Address of an online run.
        is_new: Published just now; else there was nothing new to publish.
        inputs: How many artifacts it uses.
    """

    run_path: str
    folder: Path
    mode: Mode
    url: str | None = None
    is_new: bool = True
    inputs: int = 0


@dataclass(frozen=True)
class Target:
    """Where a publication goes, and under which names.

    Attributes:
        mode: ``offline`` needs no account and no network; ``online`` takes the key
            from WANDB_API_KEY or netrc. ``DISABLE_WANDB=true`` wins over both.
        project: W&B project.
        entity: W&B user or team; the account's default where ``None``.
        folder: Where runs go, ``<data_dir>/published/wandb``.
        name: Display name of the run.
        alias: Of the artifact's version, besides ``latest``: the day of the refresh.
    """

    mode: Mode
    project: str
    entity: str | None
    folder: Path
    name: str
    alias: str | None = None


def publish_if_changed(publication: Publication, target: Target) -> PublishedRun | None:
    """Log one W&B run and finish it, unless the same lies there already.

    One process at a time may publish to a folder. What was last published is in
    ``last_publication.json`` beside it; where that is lost, the digest in the metadata
    of the newest version of the artifact on the server decides.

    Returns:
        ``None`` where publishing is disabled.

    Raises:
        AuthenticationError: W&B wants a key, or another one.
        TryAgainError: W&B cannot be reached or did not answer in time.
        SourceError: W&B or the disk refused; nothing counts as published.
        UsageError: An image is not a PNG file, or a table is too long.
    """
    if is_disabled(target.mode):
        return None
    folder = target.folder.absolute()
    digest = digest_of(publication.digest, target.mode, target.project, target.entity)
    last = _last(folder)
    if last.get("digest") == digest:
        return _published(last, is_new=False)
    publication.check()
    with _in_flight(publication, target, folder) as published:
        state = {"digest": digest, **published._asdict()}
        _save(folder.parent / _STATE, state)
        return published


def is_disabled(mode: Mode) -> bool:
    """Nothing is published, whatever else says so."""
    switch = os.environ.get("DISABLE_WANDB", "").lower()
    return mode == "disabled" or switch in ("1", "true", "yes")


def _published(state: dict[str, Any], *, is_new: bool) -> PublishedRun:
    return PublishedRun(
        run_path=state["run_path"],
        folder=Path(state["folder"]),
        mode=state["mode"],
        url=state.get("url"),
        is_new=is_new,
        inputs=state.get("inputs", 0),
    )


@contextlib.contextmanager
def _in_flight(
    publication: Publication, target: Target, folder: Path
) -> Iterator[PublishedRun]:
    """Publish; whatever fails before the block ends, also by a kill, leaves nothing."""
    try:
        published = _until_taken(publication, target, folder)
        yield published
    except BaseException:
        _discard_unfinished(folder)
        raise
    if target.mode == "online":
        (folder.parent / _UNFINISHED).unlink(missing_ok=True)
        run_id = published.run_path.rpartition("/")[2]
        shutil.rmtree(staging(folder, run_id), ignore_errors=True)
    shutil.rmtree(folder / IN_FLIGHT, ignore_errors=True)


def _until_taken(
    publication: Publication, target: Target, folder: Path
) -> PublishedRun:
    """Begin again with a new run where the server answered nonsense in between.

    The SDK itself repeats requests that failed; an answer that is none it takes for
    the end, and at some places for a success. Once it has given a request up, too, a
    few times are enough.
    """
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    begun: list[str] = []
    patience = _MOST_SILENCES
    while True:
        begun.append(secrets.token_hex(4))
        timeout = deadline - time.monotonic()
        try:
            published = _attempt(publication, target, folder, begun[-1], timeout)
        except (GarbledAnswerError, BusyError) as error:
            patience -= isinstance(error, BusyError)
            is_late = time.monotonic() + _PAUSE_SECONDS > deadline
            if is_late or not patience or len(begun) >= _MOST_ATTEMPTS:
                raise TryAgainError(str(error)) from error
            time.sleep(_PAUSE_SECONDS)
        else:
            is_new = published.run_path.rpartition("/")[2] in begun
            return published._replace(is_new=is_new)


def _attempt(
    publication: Publication, target: Target, folder: Path, run_id: str, timeout: float
) -> PublishedRun:
    _discard_unfinished(folder)
    leftovers = _unfinished(folder) if target.mode == "online" else []
    _stage(publication, target, folder, {"run_id": run_id, "leftovers": leftovers})
    if target.mode == "online":
        own = {"entity": target.entity, "project": target.project, "run_id": run_id}
        _save(folder.parent / _UNFINISHED, {"runs": [*leftovers, own]})
    where = f"{target.entity or 'the default entity'}/{target.project}"
    answer = log_run(folder, run_id, where=where, mode=target.mode, timeout=timeout)
    return _published({**answer, "mode": target.mode}, is_new=True)


def _unfinished(folder: Path) -> list[dict[str, Any]]:
    """Online runs that were begun and do not count as published."""
    found = read_json(folder.parent / _UNFINISHED).get("runs", [])
    published = _last(folder).get("run_path", "").rpartition("/")[2]
    return [one for one in found if one["run_id"] != published]


def _discard_unfinished(folder: Path) -> None:
    """Remove the local files of what an earlier call began and did not finish."""
    marker = folder / IN_FLIGHT
    if not marker.is_dir():
        return
    run_id = read_json(marker / "spec.json").get("run_id")
    finished = _last(folder).get("run_path", "").endswith(f"/{run_id}")
    if isinstance(run_id, str) and run_id.isalnum() and not finished:
        runs = [one for one in folder.glob(f"*-{run_id}") if not one.is_symlink()]
        for path in (*runs, staging(folder, run_id)):
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(marker)


def _stage(
    publication: Publication, target: Target, folder: Path, more: dict[str, Any]
) -> None:
    """Lay out everything the child needs; keys from outside never become paths."""
    marker = folder / IN_FLIGHT
    tables = {key: f"{number}.parquet" for number, key in enumerate(publication.tables)}
    images = {key: f"{number}.png" for number, key in enumerate(publication.images)}
    about = {**publication.config, "input_digest": publication.digest}
    spec = {
        **asdict(target),
        **more,
        "config": {**about, **MARK},
        "metadata": about,
        "summary": publication.summary,
        "tables": tables,
        "images": images,
        "files": {key: path.absolute() for key, path in publication.files.items()},
        "inputs": [one._asdict() for one in publication.inputs],
    }
    try:
        marker.mkdir(parents=True)
        _write(marker / "spec.json", json.dumps(spec, default=str))
        for key, frame in publication.tables.items():
            frame.write_parquet(marker / tables[key])
        for key, image in publication.images.items():
            (marker / images[key]).write_bytes(image)
    except OSError as error:
        msg = f"{marker} could not be written: {error}; make room and publish again"
        raise SourceError(msg) from error


def _last(folder: Path) -> dict[str, Any]:
    return read_json(folder.parent / _STATE)


def _save(path: Path, state: dict[str, Any]) -> None:
    text = json.dumps(state, indent=1, default=str)
    publish_file(path, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
