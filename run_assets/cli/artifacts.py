"""``run-assets runs artifacts|export|cache-stats``: the rest of what a run holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from run_assets.cli.output import FormatOption, write, write_tables
from run_assets.cli.run_source import (
    Fetching,
    ForceFetch,
    LocalOnly,
    RunArgument,
    lab_of,
    read_runs,
)
from run_assets.cli.session import EVERYWHERE, session
from run_assets.errors import NotFoundError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from run_assets.lab import Lab
    from run_assets.reading.run import Run


def register(app: typer.Typer) -> None:
    """Add the commands to ``runs``."""
    app.command("artifacts", epilog=EVERYWHERE)(show_artifacts)
    app.command("export", epilog=EVERYWHERE)(export_run)
    app.command("cache-stats", epilog=EVERYWHERE)(cache_stats)


def show_artifacts(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    run: RunArgument,
    *,
    kind: Annotated[
        str | None,
        typer.Option("--type", help="Only artifacts of this type; may hold wildcards."),
    ] = None,
    files: Annotated[
        bool, typer.Option("--files", help="One row for each file.")
    ] = False,
    table: Annotated[
        str | None, typer.Option(help="The rows of a logged Table, by its metric.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="The Table of this step; the last one without.")
    ] = None,
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
    output_format: FormatOption = "table",
) -> None:
    """Show a run's artifacts, the tables and media it logged, or one table's rows."""
    from run_assets.reading.tables import logged_objects

    given = session(context)
    lab = lab_of(given, [run])
    [found] = read_runs(given, lab, [run], Fetching(local_only, force_fetch))
    objects = logged_objects(found.objects())
    if table is not None:
        rows = _table(lab, found, objects, table, step, local_only=local_only)
        write(rows, output_format)
        return
    artifacts = _of_type(found.artifacts, kind)
    shown = _file_rows(artifacts) if files else _artifact_rows(artifacts, output_format)
    is_table = output_format == "table"
    media = objects.drop("sha256") if is_table else objects
    write_tables(shown, output_format, logged_objects=media)
    if artifacts.is_empty():
        which = "" if kind is None else f" of type {kind!r}"
        given.note(f"{found.path} has no artifacts{which}")
    if not objects.is_empty():
        given.note("--table METRIC shows the rows of a logged Table")


def _of_type(artifacts: "pl.DataFrame", kind: str | None) -> "pl.DataFrame":
    """Artifacts whose type a wildcard fits."""
    from fnmatch import fnmatchcase

    import polars as pl

    if kind is None:
        return artifacts
    types = artifacts["artifact_type"].unique()
    fitting = [one for one in types if one == kind or fnmatchcase(one, kind)]
    return artifacts.filter(pl.col("artifact_type").is_in(fitting))


def _artifact_rows(artifacts: "pl.DataFrame", form: str) -> "pl.DataFrame":
    """The files as a number for people, as they are for programs."""
    import polars as pl

    if form != "table":
        return artifacts
    counted = artifacts.with_columns(pl.col("files").list.len().alias("n_files"))
    return counted.select(
        *("artifact_name", "artifact_type", "version", "direction", "n_files"),
        *("size_bytes", "aliases", "created_at"),
    )


def _file_rows(artifacts: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    each = artifacts.select(
        *("artifact_name", "artifact_type", "version", "direction", "files")
    ).explode("files", empty_as_null=False)
    return each.with_columns(
        pl.col("files").struct.field("name").alias("file"),
        pl.col("files").struct.field("size_bytes").alias("size_bytes"),
    ).drop("files")


def _table(
    lab: "Lab",
    run: "Run",
    objects: "pl.DataFrame",
    name: str,
    step: int | None,
    *,
    local_only: bool,
) -> "pl.DataFrame":
    """The rows of a logged Table.

    Raises:
        NotFoundError: The run logged none of this name, or not at this step.
    """
    from run_assets.logged_files import logged_file
    from run_assets.reading.tables import TABLE, table_rows

    tables = objects.filter(kind=TABLE)
    mine = tables.filter(metric=name)
    if mine.is_empty():
        known = tables["metric"].unique()
        msg = f"{run.path} logged no Table {name!r}{did_you_mean(name, known)}"
        raise NotFoundError(msg)
    chosen = mine if step is None else mine.filter(step=step)
    if chosen.is_empty():
        steps = ", ".join(map(str, mine["step"].to_list()[-12:]))
        msg = f"{run.path} logged no Table {name!r} at step {step}; it did at {steps}"
        raise NotFoundError(msg)
    row = chosen.row(-1, named=True)
    content = logged_file(
        lab, run.path, row["path"] or "", digest=row["sha256"], local_only=local_only
    )
    return table_rows(content.decode("utf-8", "replace"), str(row["path"]))


def export_run(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    run: RunArgument,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="FILE.json, or a folder.")
    ],
    table_format: Annotated[
        Literal["csv", "parquet"],
        typer.Option("--tables", help="How a folder holds the history."),
    ] = "csv",
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Without the logged values.")
    ] = False,
    no_artifacts: Annotated[
        bool, typer.Option("--no-artifacts", help="Without the artifacts.")
    ] = False,
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
) -> None:
    """Write a run to a file or folder, which can then stand wherever a run can."""
    from run_assets.exports import write_document, write_folder

    given = session(context)
    lab = lab_of(given, [run])
    [found] = read_runs(given, lab, [run], Fetching(local_only, force_fetch))
    if output.suffix.lower() == ".json":
        write_document(
            found, output, has_history=not no_history, has_artifacts=not no_artifacts
        )
        written = [output]
    else:
        written = write_folder(
            found,
            output,
            None if no_history else table_format,
            has_artifacts=not no_artifacts,
        )
    for file in written:
        given.note(f"wrote {file}")


def cache_stats(
    context: typer.Context,
    run: RunArgument,
    *,
    prefix: Annotated[
        str, typer.Option(help="What the names of the cache's metrics begin with.")
    ] = "cache",
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
    output_format: FormatOption = "table",
) -> None:
    """Show what prefix caching did: hit rates, counts, tokens saved."""
    import polars as pl

    from run_assets.reading.cache import CacheStatistic, cache_statistics, is_logged

    given = session(context)
    lab = lab_of(given, [run])
    [found] = read_runs(given, lab, [run], Fetching(local_only, force_fetch))
    points = found.points(
        *(one for one in found.metrics if one.startswith(f"{prefix}/"))
    )
    schema = dict(
        zip(
            CacheStatistic._fields,
            (pl.String, pl.Float64, pl.Int64, pl.String),
            strict=True,
        )
    )
    rows = cache_statistics(points, prefix)
    write(pl.DataFrame(rows, schema=schema, orient="row"), output_format)
    if not is_logged(points, prefix):
        given.note(
            f"{found.path} logged no {prefix}/* metric: caching is off, or not logged"
        )
