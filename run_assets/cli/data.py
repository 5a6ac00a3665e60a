"""``sql``, ``tables`` and ``report``: what was made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_assets.cli.output import FormatOption, export, write
from run_assets.cli.session import session

if TYPE_CHECKING:
    import polars as pl

    from run_assets.lab import Lab


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("sql")(sql)
    app.command("tables")(tables)
    app.command("report")(report)


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="One SELECT; - reads it from stdin.")],
    *,
    timeout: Annotated[float, typer.Option(help="Seconds.", min=0.1)] = 60,
    memory: Annotated[str, typer.Option(help="Memory limit, like 4GB.")] = "4GB",
    output_format: FormatOption = "table",
) -> None:
    """Query the published DuckDB file: read-only, nothing outside the lake."""
    text = typer.get_text_stream("stdin").read() if query == "-" else query
    lab = session(context).lab()
    frame = lab.sql(text, timeout_seconds=timeout, memory_limit=memory)
    write(frame, output_format)


def tables(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Address, schema.table.")] = None,
    *,
    to: Annotated[
        Path | None, typer.Option("--export", help="FILE.csv or FILE.parquet.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    output_format: FormatOption = "table",
) -> None:
    """List the tables, show the first rows of one, or export it."""
    from run_assets.errors import UsageError

    given = session(context)
    lab = given.lab()
    if name is None:
        if to is not None:
            msg = "--export needs the name of a table; `run-assets tables` lists them"
            raise UsageError(msg)
        write(_list_tables(lab), output_format)
    elif to is not None:
        export(lab.table(name), to)
        given.note(f"{name} is in {to}")
    else:
        write(lab.table(name).head(limit).collect(), output_format)


def report(
    context: typer.Context,
    *,
    path: Annotated[bool, typer.Option(help="Print only where it lies.")] = False,
) -> None:
    """Print the latest report as Markdown, or the path of the HTML file."""
    from run_assets.errors import NotFoundError

    given = session(context)
    latest = given.lab().reports / "latest"
    page = latest / "report.html"
    if not page.is_file():
        msg = f"no report at {page}; `run-assets refresh` writes one"
        raise NotFoundError(msg)
    if path:
        typer.echo(page)
        return
    typer.echo((latest / "report.md").read_text(encoding="utf-8"))
    given.note(f"the whole report: {page}")


def _list_tables(lab: "Lab") -> "pl.DataFrame":
    import polars as pl

    from run_assets.contracts.tables import TABLES

    rows = []
    for name, contract in TABLES.items():
        headers = [lab.lake.header(part) for part in lab.lake.parts(name)]
        stored = [header for header in headers if header]
        is_stored = contract.layout not in ("view", "none")
        count = sum(header.rows for header in stored) if is_stored else None
        rows.append((name, count, f"one row per {contract.grain}"))
    schema = {"table": pl.String, "rows": pl.Int64, "grain": pl.String}
    return pl.DataFrame(rows, schema, orient="row")
