"""Files that a run logged: beside its ``.wandb`` file, or on its server."""

from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl

from run_assets.errors import NotFoundError, SourceError
from run_assets.ingest import read_state
from run_assets.sources.runs import API, FILES

if TYPE_CHECKING:
    from run_assets.lab import Lab

_LARGEST = 256 * 2**20


def logged_file(
    lab: "Lab", run_path: str, name: str, *, digest: str | None, local_only: bool
) -> bytes:
    """The content of a file of a run.

    Args:
        lab: The lab.
        run_path: The run.
        name: The file, as the history names it, such as ``media/table/t.table.json``.
        digest: SHA-256 that the history gives of it, where it does.
        local_only: Ask no server.

    Raises:
        SourceError: The name leads out of the run's folder, the file is too large or
            not the one that was logged.
        NotFoundError: The file is neither here nor on the server.
    """
    _refuse_outside(name)
    state = read_state(lab.lake).filter(pl.col("run_path") == run_path)
    folders = [
        (Path(one).parent / "files").resolve()
        for one in state.filter(source=FILES)["source_location"]
    ]
    for folder in folders:
        file = (folder / name).resolve()
        if file.is_file() and file.is_relative_to(folder):
            return _checked(file, name, digest)
    if state.filter(source=API).is_empty() or local_only:
        where = ", ".join(map(str, folders)) or "the lake"
        asked = "; --local-only asks no server" if local_only else ""
        msg = f"{name} is not in {where}{asked}: the run's files were moved or deleted"
        raise NotFoundError(msg)
    return _downloaded(lab, run_path, name, digest)


def _refuse_outside(name: str) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        msg = f"a file of a run lies in the run's folder, got {name!r}"
        raise SourceError(msg)


def _downloaded(lab: "Lab", run_path: str, name: str, digest: str | None) -> bytes:
    from run_assets.sources.remote import download_run_file

    with TemporaryDirectory(prefix="run_assets_file_") as folder:
        target = Path(folder) / "file"
        download_run_file(lab.config, run_path, name, target)
        return _checked(target, name, digest)


def _checked(file: Path, name: str, digest: str | None) -> bytes:
    size = file.stat().st_size
    if size > _LARGEST:
        msg = f"{name} has {size:,} bytes, more than {_LARGEST:,} are not read"
        raise SourceError(msg)
    content = file.read_bytes()
    if digest and sha256(content).hexdigest() != digest:
        msg = f"{name} is not the file that was logged: its SHA-256 differs"
        raise SourceError(msg)
    return content
