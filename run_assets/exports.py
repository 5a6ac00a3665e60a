"""Runs in files: one JSON document, or a folder with a table beside it.

A folder holds ``<name>_summary.json`` (everything but the history) and
``<name>_history.csv`` or ``.parquet``. Nobody's names become paths: files are called
after the run id where that is plain, and after its digest where it is not.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import polars as pl

from run_assets.digests import digest_of
from run_assets.errors import SourceError, UsageError
from run_assets.reading.documents import document, document_text, read_document
from run_assets.reading.run import HISTORY, Run
from run_assets.reading.spreadsheets import spreadsheet_safe, unguarded
from run_assets.store.lake import publish_file

Kind = Literal["csv", "parquet"]
SUMMARY, CSV, PARQUET = "_summary.json", "_history.csv", "_history.parquet"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def safe_names(runs: Iterable[Run]) -> dict[str, str]:
    """A name for the files of each run, by run path; no two share one.

    Ids that differ in case alone would meet on some disks.
    """
    paths = [run.path for run in runs]
    ids = {path: path.rpartition("/")[2] for path in paths}
    folded = [name.casefold() for name in ids.values()]
    return {
        path: name
        if _PLAIN.fullmatch(name) and folded.count(name.casefold()) == 1
        else f"{_readable(name)}-{digest_of(path)[:8]}"
        for path, name in ids.items()
    }


def _readable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "run"


def is_export(path: Path) -> bool:
    """The path is a JSON file, or a folder with a summary."""
    try:
        if path.is_dir():
            return any(path.glob(f"*{SUMMARY}"))
        return path.suffix.lower() == ".json" and path.is_file()
    except (OSError, ValueError):  # a name with a NUL, or longer than any path
        return False


def write_document(
    run: Run, target: Path, *, has_history: bool = True, has_artifacts: bool = True
) -> None:
    """Write a run as one JSON document; the old file stays until the new one is whole.

    Raises:
        SourceError: The disk refused.
    """
    content = document(run, has_history=has_history, has_artifacts=has_artifacts)
    write_text(target, document_text(content))


def write_folder(
    run: Run,
    folder: Path,
    kind: Kind | None,
    *,
    has_artifacts: bool = True,
    name: str = "",
) -> list[Path]:
    """Write a run as a folder: summary as JSON, history as a table.

    Args:
        run: The run.
        folder: Made where it is missing.
        kind: Of the table; None for none.
        has_artifacts: With what it logged and used.
        name: Of the files; made from the run id where none is given.

    Returns:
        The files.

    Raises:
        UsageError: The folder holds another run's export.
        SourceError: The disk refused.
    """
    name = name or safe_names([run])[run.path]
    summary = folder / f"{name}{SUMMARY}"
    others = [one for one in folder.glob(f"*{SUMMARY}") if one != summary]
    if others:
        msg = f"{folder} holds another run's export, {others[0].name}; name another one"
        raise UsageError(msg)
    content = document(run, has_history=False, has_artifacts=has_artifacts)
    tables = {"csv": folder / f"{name}{CSV}", "parquet": folder / f"{name}{PARQUET}"}
    if kind:
        _write_table(run.history.sort("metric", "step"), tables[kind], kind)
    write_text(summary, document_text(content))
    for other in set(tables) - {kind}:
        tables[other].unlink(missing_ok=True)
    return [summary, *([tables[kind]] if kind else [])]


def read_export(path: Path) -> Run:
    """The run of an export.

    Raises:
        SourceError: It is damaged or none.
    """
    if not path.is_dir():
        return read_document(_text(path), str(path))
    summaries = sorted(path.glob(f"*{SUMMARY}"))
    if len(summaries) != 1:
        names = ", ".join(one.name for one in summaries)
        msg = f"{path} must hold the export of one run, got {names}"
        raise UsageError(msg)
    name = summaries[0].name.removesuffix(SUMMARY)
    where = str(summaries[0])
    history = _history(path, name)
    return read_document(_text(_inside(path, summaries[0])), where, history)


def _history(folder: Path, name: str) -> pl.LazyFrame | None:
    """The table beside a summary; None where the run was exported without one."""
    parquet, csv = (folder / f"{name}{ending}" for ending in (PARQUET, CSV))
    if parquet.is_file():
        frame = pl.scan_parquet(_inside(folder, parquet), glob=False)
    elif csv.is_file():
        frame = _read_csv(_inside(folder, csv)).lazy()
    else:
        return None
    if frame.collect_schema() != HISTORY:
        msg = f"{folder}: the history must have the columns {', '.join(HISTORY)}"
        raise SourceError(msg)
    return frame


def _read_csv(path: Path) -> pl.DataFrame:
    texts = {name: pl.String for name, kind in HISTORY.items() if kind == pl.Datetime}
    try:
        found = pl.read_csv(path, schema={**HISTORY, **texts}, glob=False)
        return found.with_columns(
            pl.col("logged_at").str.to_datetime("%+", time_unit="us", time_zone="UTC"),
            *(unguarded(pl.col(one)) for one in ("metric", "value_json", "x_metric")),
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = f"{path} is not the history of an export: {error}"
        raise SourceError(msg) from error


def _inside(folder: Path, file: Path) -> Path:
    """The file, which no link leads out of its folder."""
    if not file.resolve().is_relative_to(folder.resolve()):
        msg = f"{file} is a link out of its folder; an export holds its own files"
        raise SourceError(msg)
    return file


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise SourceError(msg) from error


def write_text(target: Path, text: str) -> None:
    """Write a text; the old file stays until the new one is whole.

    Raises:
        SourceError: The disk refused.
    """
    publish_file(
        target.absolute(),
        lambda path: _stored(path, text.encode("utf-8", "replace")),
    )


def _stored(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _write_table(frame: pl.LazyFrame, target: Path, kind: Kind) -> None:
    def body(path: Path) -> None:
        if kind == "parquet":
            frame.sink_parquet(path)
        else:
            times = pl.col("logged_at").dt.to_string("%Y-%m-%dT%H:%M:%S%.6f+00:00")
            spreadsheet_safe(frame.with_columns(times)).sink_csv(path)

    publish_file(target.absolute(), body)
