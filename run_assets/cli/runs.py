"""``run-assets runs list|get|metrics``: which runs there are and what they logged."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from run_assets.cli.output import Format, FormatOption, emit, json_document, write
from run_assets.cli.run_source import (
    Fetching,
    ForceFetch,
    LocalOnly,
    RunArgument,
    lab_of,
    read_runs,
)
from run_assets.cli.selection import (
    check_project,
    collected,
    in_project,
    resolve_run,
)
from run_assets.cli.session import EVERYWHERE, Session, session
from run_assets.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from run_assets.lab import Lab
    from run_assets.reading.run import Run

app = typer.Typer(no_args_is_help=True)

_STATES = ("running", "finished", "failed", "crashed", "killed", "unknown")
State = StrEnum("State", _STATES)  # type: ignore[misc]  # Typer takes no list of Literals
_LISTED = (
    "run_path",
    "run_name",
    "run_state",
    "created_at",
    "last_step",
    "n_metrics",
    "runtime_seconds",
    "run_group",
    "tags",
)
_LISTED_REMOTE = (
    "run_path",
    "run_name",
    "run_state",
    "created_at",
    "history_rows",
    "runtime_seconds",
    "run_group",
    "tags",
    "is_stored",
)
_SHOWN_STATISTICS = (
    "metric",
    "n_points",
    "n_nonfinite",
    "first",
    "last",
    "min",
    "median",
    "max",
    "mean",
    "std",
    "mean_last_10pct",
    "first_step",
    "last_step",
)


@app.command("list", epilog=EVERYWHERE)
def list_runs(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    *,
    tag: Annotated[
        list[str] | None, typer.Option(help="Has this tag; repeated: all of them.")
    ] = None,
    state: Annotated[
        list[State] | None,
        typer.Option(help="Is in this state; repeated: one of them."),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Belongs to this group.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 50,
    remote: Annotated[
        bool, typer.Option("--remote", help="Ask the servers instead of the lake.")
    ] = False,
    output_format: FormatOption = "table",
) -> None:
    """List runs, youngest first."""
    given = session(context)
    runs = _on_servers(given) if remote else given.lab().table("marts.runs")
    known = collected(runs.select("entity", "project").unique())
    if given.project:
        check_project(given.project, known.rows())
        runs = runs.filter(in_project(given.project))
    runs = filtered(runs, tag, state, group)
    order = runs.sort("created_at", "run_path", descending=[True, False])
    shown = _LISTED_REMOTE if remote else _LISTED
    found = collected(order.select(shown).head(limit + 1))
    write(found.head(limit), output_format)
    if known.is_empty():
        hint = "; `run-assets refresh` reads them from the sources"
        given.note("no runs on the servers" if remote else f"no runs yet{hint}")
    elif found.height > limit:
        given.note(f"only the youngest {limit}; --limit shows more")


def filtered(
    runs: "pl.LazyFrame",
    tags: list[str] | None,
    states: "list[State] | None",
    group: str | None,
) -> "pl.LazyFrame":
    """The runs with all the tags, in one of the states, of the group."""
    import polars as pl

    for name in tags or ():
        runs = runs.filter(pl.col("tags").list.contains(name))
    if states:
        runs = runs.filter(pl.col("run_state").is_in(states))
    return runs if group is None else runs.filter(pl.col("run_group") == group)


@app.command("get", epilog=EVERYWHERE)
def get_run(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    run: RunArgument,
    *,
    include_history: Annotated[
        bool, typer.Option("--include-history", help="And every logged value.")
    ] = False,
    include_artifacts: Annotated[
        bool, typer.Option("--include-artifacts", help="And its artifacts.")
    ] = False,
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
    output_format: FormatOption = "table",
) -> None:
    """Show everything known of a run: columns, config and summary."""
    given = session(context)
    lab = lab_of(given, [run])
    [found] = read_runs(given, lab, [run], Fetching(local_only, force_fetch))
    more: dict[str, pl.DataFrame] = {}
    if include_history:
        more["history"] = found.rows()
    if include_artifacts:
        more["artifacts"] = found.artifacts
    if more and output_format in ("csv", "parquet"):
        msg = (
            f"{output_format} holds one table: --include-history and "
            "--include-artifacts need json or table; `runs export` writes files"
        )
        raise UsageError(msg)
    _show_run(found, more, output_format)


def _show_run(
    run: "Run", more: "dict[str, pl.DataFrame]", output_format: Format
) -> None:
    import polars as pl

    about = {**run.columns, "config": dict(run.config), "summary": dict(run.summary)}
    if output_format == "json":
        tables = {name: frame.to_dicts() for name, frame in more.items()}
        emit(json_document([{**about, **tables}]))
    elif output_format == "table":
        schema = {"key": pl.String, "value": pl.String}
        write(pl.DataFrame(list(_lines(about)), schema, orient="row"), "table")
        for name, frame in more.items():
            emit(f"\n{name}")
            write(frame, "table")
    else:
        write(_raw_row(run), output_format)


def _raw_row(run: "Run") -> "pl.DataFrame":
    """The run as one row: config and summary are JSON texts again."""
    import json

    import polars as pl

    texts = {
        name: json.dumps(dict(values), sort_keys=True, ensure_ascii=False)
        for name, values in (
            ("config_json", run.config),
            ("summary_json", run.summary),
        )
    }
    return pl.DataFrame([{**run.columns, **texts}], infer_schema_length=None)


@app.command("metrics", epilog=EVERYWHERE)
def show_metrics(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    run: RunArgument,
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="Name, wildcard or @group; repeatable."),
    ] = None,
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="All of them, with their values.")
    ] = False,
    values: Annotated[bool, typer.Option("--values", help="Every value.")] = False,
    x_axis: Annotated[
        str | None,
        typer.Option(
            help="Values over step, logged_at, runtime_seconds or another metric."
        ),
    ] = None,
    last_n_steps: Annotated[
        int | None, typer.Option(min=1, help="The last values of each metric.")
    ] = None,
    available: Annotated[
        bool,
        typer.Option("--available", help="Ask the server what there is; read none."),
    ] = False,
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
    output_format: FormatOption = "table",
) -> None:
    """Show what a run logged: statistics of each metric, and every value.

    JSON has both, once metrics are chosen; a table has the one or the other.
    """
    import polars as pl

    given = session(context)
    if available:
        _show_available(given, run, output_format)
        return
    lab = lab_of(given, [run])
    [found] = read_runs(given, lab, [run], Fetching(local_only, force_fetch))
    if metric and all_metrics:
        msg = "--all-metrics and -m exclude each other"
        raise UsageError(msg)
    chosen = chosen_metrics(lab, metric, found.metrics)
    if not found.metrics:
        given.note(f"{found.path} logged no numbers")
    statistics = found.statistics.filter(pl.col("metric").is_in(chosen))
    is_flat = bool(values or x_axis or last_n_steps)
    with_values = output_format == "json" and bool(metric or all_metrics)
    if not (is_flat or with_values):
        is_table = output_format == "table"
        shown = statistics.select(_SHOWN_STATISTICS) if is_table else statistics
        write(shown, output_format)
        return
    placed = _placed(given, found, chosen, x_axis or "step", last_n_steps)
    if output_format == "json":
        emit(json_document(list(_with_values(statistics, placed))))
    else:
        write(placed, output_format)


def chosen_metrics(lab: "Lab", metric: list[str] | None, known: list[str]) -> list[str]:
    """The metrics that names, wildcards and groups mean; all where there are none."""
    from run_assets.derived.metric_groups import expand

    if not metric:
        return known
    return expand(metric, groups=lab.config.metric_groups, available=known)


def _placed(
    given: Session, run: "Run", metrics: list[str], axis: str, last: int | None
) -> "pl.DataFrame":
    from run_assets.reading.axes import placed

    points = run.points(*metrics)
    if last is not None:
        points = points.group_by("metric", maintain_order=True).tail(last)
    found = placed(run, points, axis)
    if missing := found["x"].null_count():
        given.note(f"{missing} values have no {axis} at their step; they come last")
    return found


def _with_values(
    statistics: "pl.DataFrame", placed: "pl.DataFrame"
) -> "Iterator[dict[str, Any]]":
    """One row a metric, with its values, each at its own x."""
    by_metric = placed.partition_by("metric", as_dict=True)
    for row in statistics.rows(named=True):
        mine = by_metric.get((row["metric"],), placed.clear())
        axis = mine["x_axis"].first()
        yield {
            **row,
            "x_axis": axis,
            "values": mine.select("x", "step", "value").rows(named=True),
        }


def _on_servers(given: Session) -> "pl.LazyFrame":
    from run_assets.sources.remote import list_remote

    lab = given.lab()
    stored = set(collected(lab.table("raw.runs").select("run_path"))["run_path"])
    return list_remote(lab.config, stored, given.project).lazy()


def _show_available(given: Session, run: str, output_format: Format) -> None:
    """What a run logged, as its server counts it."""
    from run_assets.sources.remote import available_metrics

    lab = given.lab()
    is_path = run.count("/") == 2
    path = run if is_path else resolve_run(lab.table("marts.runs"), run, given.project)
    write(available_metrics(lab.config, path), output_format)


def _lines(values: dict[str, Any], before: str = "") -> "Iterator[tuple[str, str]]":
    from run_assets.cli.text_table import cell_text

    for name, value in values.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", cell_text(value)
