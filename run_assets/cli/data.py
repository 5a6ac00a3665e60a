"""``sql``, ``tables`` and ``report``: what was made."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_assets.cli.output import Format, FormatOption, emit, export, write
from run_assets.cli.selection import check_project, collected, in_project
from run_assets.cli.session import EVERYWHERE, Session, session
from run_assets.cli.terminal import safe_message
from run_assets.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from run_assets.contracts.table import Table
    from run_assets.lab import Lab

_INTERRUPTED = "Query interrupted"  # DuckDB takes Ctrl-C for itself


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("sql", epilog=EVERYWHERE)(sql)
    app.command("tables", epilog=EVERYWHERE)(tables)
    app.command("report", epilog=EVERYWHERE)(report)


def sql(
    context: typer.Context,
    query: Annotated[
        str, typer.Argument(help="One SELECT; read from stdin where - or nothing.")
    ] = "-",
    *,
    timeout: Annotated[float, typer.Option(help="Seconds.", min=0.1)] = 60,
    memory: Annotated[str, typer.Option(help="Memory limit, like 4GB.")] = "4GB",
    output_format: FormatOption = "table",
) -> None:
    """Query the published DuckDB file: read-only, nothing outside the lake."""
    import polars as pl

    given = session(context)
    if given.project is not None:
        msg = "--project does not filter SQL; add `where project = '…'` to the query"
        raise UsageError(msg)
    text = _from_stdin() if query == "-" else query
    lab = given.lab()
    try:
        frame = lab.sql(text, timeout_seconds=timeout, memory_limit=memory)
    except pl.exceptions.DuplicateError as error:
        msg = f"two columns share a name; tell them apart with `as`: {error}"
        raise UsageError(msg) from error
    except RuntimeError as error:
        if str(error) == _INTERRUPTED:
            raise KeyboardInterrupt from error
        raise
    write(frame, output_format)


def tables(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Address, schema.table.")] = None,
    *,
    columns: Annotated[
        bool, typer.Option("--columns", help="Columns, types and what they mean.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--export", help="FILE.csv or FILE.parquet.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    output_format: FormatOption = "table",
) -> None:
    """List the tables, describe or show one, or export it whole."""
    given = session(context)
    lab = given.lab()
    if name is None and to is not None:
        msg = "--export needs the name of a table; `run-assets tables` lists them"
        raise UsageError(msg)
    if columns:
        write(_columns(name), output_format)
    elif name is None:
        given.ignore_project()
        write(_overview(lab), output_format)
    elif to is not None:
        export(_rows(given, lab, name), to)
        given.note(f"{name} is in {to}")
    else:
        _show(given, _rows(given, lab, name), limit, output_format)


def report(
    context: typer.Context,
    *,
    path: Annotated[
        bool, typer.Option("--path", help="Only where the HTML file lies.")
    ] = False,
) -> None:
    """Print the latest report as Markdown, or where the HTML file lies."""
    given = session(context)
    given.ignore_project()
    latest = given.lab().reports / "latest"
    page = latest / "report.html"
    if not page.is_file():
        msg = f"no report at {page}; `run-assets refresh` writes one"
        raise NotFoundError(msg)
    if path:
        emit(str(page))
        return
    emit(safe_message((latest / "report.md").read_text(encoding="utf-8").rstrip()))
    given.note(f"with plots: {page}")


def _from_stdin() -> str:
    if sys.stdin.isatty():
        msg = 'sql needs a query, as in `run-assets sql "select * from marts.runs"`'
        raise UsageError(msg)
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"stdin must be UTF-8 text: {error}"
        raise UsageError(msg) from None


def _show(given: Session, rows: "pl.LazyFrame", limit: int, form: Format) -> None:
    found = collected(rows.head(limit + 1))
    write(found.head(limit), form)
    if found.height > limit:
        given.note(f"the first {limit} rows; --limit shows more, --export has all")


def _rows(given: Session, lab: "Lab", name: str) -> "pl.LazyFrame":
    """A table, or what belongs to the project asked for."""
    from run_assets.contracts.tables import table

    contract = table(name)
    if _is_stored(contract) and not lab.lake.parts(name):
        given.note(f"{name} is not built yet; `run-assets refresh` builds it")
    rows = lab.table(name)
    return rows if given.project is None else _of_project(lab, rows, contract, given)


def _of_project(
    lab: "Lab", rows: "pl.LazyFrame", contract: "Table", given: Session
) -> "pl.LazyFrame":
    project = given.project or ""
    runs = lab.table("marts.runs")
    check_project(project, collected(runs.select("entity", "project").unique()).rows())
    if {"entity", "project"} <= set(contract.columns):
        return rows.filter(in_project(project))
    if "run_path" in contract.columns:
        mine = runs.filter(in_project(project)).select("run_path")
        return rows.join(mine, on="run_path", how="semi", maintain_order="left")
    msg = f"{contract.name} does not say which project its rows belong to"
    raise UsageError(msg)


def _columns(name: str | None) -> "pl.DataFrame":
    import polars as pl

    from run_assets.contracts.tables import TABLES, table

    contracts = list(TABLES.values()) if name is None else [table(name)]
    rows = [
        (one.name, column, one.column(column).type, one.column(column).meaning)
        for one in contracts
        for column in one.columns
    ]
    return pl.DataFrame(rows, ["table", "column", "type", "meaning"], orient="row")


def _overview(lab: "Lab") -> "pl.DataFrame":
    import polars as pl

    from run_assets.contracts.tables import TABLES

    rows = [
        (name, _count(lab, contract), f"one row per {contract.grain}")
        for name, contract in TABLES.items()
    ]
    schema = {"table": pl.String, "rows": pl.Int64, "grain": pl.String}
    return pl.DataFrame(rows, schema, orient="row")


def _is_stored(contract: "Table") -> bool:
    return contract.layout not in ("view", "none")


def _count(lab: "Lab", contract: "Table") -> int | None:
    """Rows in the files of a table; views have none."""
    if not _is_stored(contract):
        return None
    headers = map(lab.lake.header, lab.lake.parts(contract.name))
    return sum(header.rows for header in headers if header)
