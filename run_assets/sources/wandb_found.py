"""Where `.wandb` files lie, and which of them belong to one run; no history is read."""

import logging
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from run_assets.errors import NotFoundError
from run_assets.own_runs import is_own_run
from run_assets.sources.wandb_facts import RunFacts, fold
from run_assets.sources.wandb_log import HEADER, Record, read_records
from run_assets.sources.wandb_records import parse_record

WRONG_HEADER = "wrong header: not a .wandb file of a known version"
HEAD_BYTES = 1024 * 1024  # the run record is among the first; search no further
COMPARED_BYTES = 1024 * 1024
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Folders that a run folder is known to have, with thousands of media files at times.
INSIDE_A_RUN = frozenset({"files", "logs", "tmp"})

_RUN_FOLDER = re.compile(r"(?:offline-)?run-(\d{8}_\d{6})-.+", re.ASCII)
_RUN_FILE = re.compile(r"run-(.+)\.wandb", re.DOTALL)
_logger = logging.getLogger(__name__)


class FoundFile(NamedTuple):
    """A `.wandb` file in a folder; `modified_ns` counts from 1970."""

    location: Path
    size: int
    modified_ns: int


@dataclass(frozen=True)
class RunHeader:
    """What the first records of a file say.

    Attributes:
        location: The file.
        size: In bytes.
        entity: None unless recorded; so are `project` and `started_at`.
        run_id: Of the record, else of the file's name.
        created_at: `started_at`, else the time in the folder's name (read as UTC),
            else the file's time of change; None if the file is gone.
        is_resumed: The process went on with a run that might have existed before.
        first_record_digest: SHA-256 of the records up to and including the run
            record, or of the first record if none is found; None without records.
        is_own: Its config says `run_assets: true`: we published it ourselves.
        problem: Why nothing can be read.
    """

    location: Path
    size: int
    entity: str | None
    project: str | None
    run_id: str
    started_at: datetime | None
    created_at: datetime | None
    is_resumed: bool
    first_record_digest: str | None
    is_own: bool
    problem: str | None


class Fragments(NamedTuple):
    """The files to read for one run, in order, and those that only repeat them."""

    files: tuple[RunHeader, ...]
    copies: tuple[RunHeader, ...]


def find_run_files(root: Path) -> Iterator[FoundFile]:
    """All `.wandb` files in a folder, or the file itself, sorted by path.

    `root` may be a run folder, a `wandb` folder or any parent of several. No file is
    found twice, neither through `latest-run` nor through links that form a loop. A
    folder that cannot be read is logged and left out.

    Raises:
        NotFoundError: There is no such file or folder.
    """
    if root.is_file():
        status = root.stat()
        return iter([FoundFile(root, status.st_size, status.st_mtime_ns)])
    if not root.is_dir():
        message = (
            f"there must be run files or a folder of them at {root}, found nothing; "
            "check the path of the source"
        )
        raise NotFoundError(message)
    return iter(sorted(_walk(root)))


def _walk(root: Path) -> Iterator[FoundFile]:
    """Real folders first: what a link also leads to is found where it really lies."""
    seen: set[tuple[int, int]] = set()
    waiting, links = [str(root)], list[str]()
    while waiting or links:
        if not waiting:
            links.sort(reverse=True)
            waiting.append(links.pop())
        path = waiting.pop()
        status = _status(path)
        if status is None or (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        if stat.S_ISDIR(status.st_mode):
            for entry in _listed(path):
                (links if entry.is_symlink() else waiting).append(entry.path)
        elif stat.S_ISREG(status.st_mode) and path.endswith(".wandb"):
            yield FoundFile(Path(path), status.st_size, status.st_mtime_ns)


def _status(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except OSError as error:
        _log_left_out(error)
        return None


def _listed(folder: str) -> list[os.DirEntry[str]]:
    """Entries worth a look, sorted; inside a run folder only its run files."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(filter(_is_of_interest, entries), key=_name_of)
    except OSError as error:
        _log_left_out(error)
        return []
    is_run = bool(_RUN_FOLDER.fullmatch(Path(folder).name)) or any(
        entry.name.endswith(".wandb") for entry in listed
    )
    skipped = INSIDE_A_RUN if is_run else frozenset[str]()
    return [entry for entry in listed if entry.name not in skipped]


def _is_of_interest(entry: os.DirEntry[str]) -> bool:
    is_folder = entry.is_symlink() or entry.is_dir(follow_symlinks=False)
    return is_folder or entry.name.endswith(".wandb")


def _name_of(entry: os.DirEntry[str]) -> str:
    return entry.name


def _log_left_out(error: OSError) -> None:
    """A link to nowhere, or a run that was just deleted, is not worth a warning."""
    level = logging.DEBUG if isinstance(error, FileNotFoundError) else logging.WARNING
    _logger.log(level, "left out, it cannot be read: %s", error)


def read_header(path: Path) -> RunHeader:
    """Read the first records of a file, those that begin in `HEAD_BYTES`.

    A file that cannot be read has a header, too, with a `problem`.
    """
    status = None
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            problem = header_problem(stream)
            head = _EMPTY_HEAD if problem else _read_head(stream)
    except OSError as error:
        head, problem = _EMPTY_HEAD, f"cannot be read: {error.strerror}"
    modified_at = instant(status.st_mtime_ns // 1000) if status else None
    return RunHeader(
        location=path,
        size=status.st_size if status else 0,
        entity=head.facts.names.get("entity"),
        project=head.facts.names.get("project"),
        run_id=head.facts.names.get("run_id") or id_in_name(path),
        started_at=instant(head.facts.created_us),
        created_at=created_at(head.facts, path, modified_at),
        is_resumed=head.is_resumed,
        first_record_digest=head.digest,
        is_own=is_own_run(head.facts.config),
        problem=problem,
    )


def header_problem(stream: BinaryIO) -> str | None:
    """What is wrong with the first bytes; an empty file or a cut-off header is fine."""
    stream.seek(0)
    start = stream.read(len(HEADER))
    return None if HEADER.startswith(start) else WRONG_HEADER


class _Head(NamedTuple):
    facts: RunFacts
    digest: str | None
    is_resumed: bool


_EMPTY_HEAD = _Head(RunFacts(), None, is_resumed=False)


def _read_head(stream: BinaryIO) -> _Head:
    facts = RunFacts()
    first, upto_run = None, sha256()
    for item in read_records(stream, start=len(HEADER)):
        if not isinstance(item, Record):
            continue
        if item.offset > HEAD_BYTES:
            break
        upto_run.update(item.payload)
        first = first or upto_run.hexdigest()
        record = parse_record(item.payload)
        if record is None:
            continue
        fold(facts, record)
        if record.HasField("run"):
            is_resumed = record.run.resume or record.run.resumed
            return _Head(facts, upto_run.hexdigest(), is_resumed)
    return _Head(facts, first, is_resumed=False)


def id_in_name(path: Path) -> str:
    """The run id that a file's name claims, else the name.

    >>> id_in_name(Path("offline-run-20260102_030405-ab12/run-ab12.wandb"))
    'ab12'
    """
    match = _RUN_FILE.fullmatch(path.name)
    return printable(match[1] if match else path.stem)


def printable(text: str | Path) -> str:
    """A path as UTF-8 text; bytes of a file name that are none are escaped."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def created_at(
    facts: RunFacts, path: Path, modified_at: datetime | None
) -> datetime | None:
    """When a run was created: as recorded, else as its folder or file tells.

    The name of a folder has the local time of an unknown place; it is read as UTC.
    """
    recorded = instant(facts.created_us)
    return recorded or _time_in_name(path.parent.name) or modified_at


def instant(microseconds: int | None) -> datetime | None:
    """Microseconds since 1970 as a time in UTC."""
    if microseconds is None:
        return None
    return EPOCH + timedelta(microseconds=microseconds)


def _time_in_name(folder: str) -> datetime | None:
    match = _RUN_FOLDER.fullmatch(folder)
    if not match:
        return None
    try:
        return datetime.strptime(match[1], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # the 99th of a month
        return None


def fragments(headers: Sequence[RunHeader]) -> Fragments:
    """Tell the fragments of one run from copies of the same run folder.

    Two files are copies when they begin with the same run record, which holds the
    start of the process to the microsecond, and the shorter is how the longer begins;
    the longest counts. All others are fragments (a run that was resumed offline has
    one for each process), in the order in which they were started.

    Args:
        headers: Of all files with the run's entity, project and id.
    """
    longest_first = sorted(headers, key=lambda header: (-header.size, header.location))
    files: list[RunHeader] = []
    copies: list[RunHeader] = []
    for header in longest_first:
        is_copy = any(_is_copy(header, longer) for longer in files)
        (copies if is_copy else files).append(header)
    return Fragments(tuple(sorted(files, key=_start_order)), tuple(copies))


def _start_order(header: RunHeader) -> tuple[bool, datetime, Path]:
    started_at = header.created_at
    return started_at is None, started_at or EPOCH, header.location


def _is_copy(shorter: RunHeader, longer: RunHeader) -> bool:
    if shorter.problem or longer.problem:
        return False
    if shorter.first_record_digest != longer.first_record_digest:
        return False
    return _is_prefix(shorter, longer)


def _is_prefix(shorter: RunHeader, longer: RunHeader) -> bool:
    left = shorter.size
    try:
        with shorter.location.open("rb") as a, longer.location.open("rb") as b:
            while left > 0:
                n_bytes = min(left, COMPARED_BYTES)
                if a.read(n_bytes) != b.read(n_bytes):
                    return False
                left -= n_bytes
    except OSError:  # reading the file will say why
        return False
    return True
