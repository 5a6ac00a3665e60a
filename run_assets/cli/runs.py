"""``run-assets runs``: which runs there are and what they logged."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from run_assets.cli.output import Format, FormatOption, emit, json_document, write
from run_assets.cli.selection import (
    check_project,
    collected,
    in_project,
    resolve_run,
)
from run_assets.cli.session import EVERYWHERE, Session, session

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from run_assets.lab import Lab

app = typer.Typer(no_args_is_help=True)

_STATES = ("running", "finished", "failed", "crashed", "killed", "unknown")
State = StrEnum("State", _STATES)  # type: ignore[misc]  # Typer takes no list of Literals
RunArgument = Annotated[str, typer.Argument(help="Run path, run id or display name.")]
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
# The names of columns here, and those that W&B uses for the same.
_AXES = {
    "step": "step",
    "_step": "step",
    "logged_at": "logged_at",
    "_timestamp": "logged_at",
    "runtime_seconds": "runtime_seconds",
    "_runtime": "runtime_seconds",
}


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
    import polars as pl

    given = session(context)
    runs = _on_servers(given) if remote else given.lab().table("marts.runs")
    known = collected(runs.select("entity", "project").unique())
    if given.project:
        check_project(given.project, known.rows())
        runs = runs.filter(in_project(given.project))
    for name in tag or ():
        runs = runs.filter(pl.col("tags").list.contains(name))
    if state:
        runs = runs.filter(pl.col("run_state").is_in(state))
    if group is not None:
        runs = runs.filter(pl.col("run_group") == group)
    order = runs.sort("created_at", "run_path", descending=[True, False])
    shown = _LISTED_REMOTE if remote else _LISTED
    found = collected(order.select(shown).head(limit + 1))
    write(found.head(limit), output_format)
    if known.is_empty():
        hint = "; `run-assets refresh` reads them from the sources"
        given.note("no runs on the servers" if remote else f"no runs yet{hint}")
    elif found.height > limit:
        given.note(f"only the youngest {limit}; --limit shows more")


@app.command("get", epilog=EVERYWHERE)
def get_run(
    context: typer.Context, run: RunArgument, *, output_format: FormatOption = "table"
) -> None:
    """Show everything known of a run: columns, config and summary."""
    import polars as pl

    given = session(context)
    lab = given.lab()
    path = resolve_run(lab.table("marts.runs"), run, given.project)
    row = collected(lab.table("raw.runs").filter(run_path=path))
    if output_format == "json":
        emit(json_document([_parsed(row)]))
    elif output_format == "table":
        rows = list(_lines(_parsed(row)))
        schema = {"key": pl.String, "value": pl.String}
        write(pl.DataFrame(rows, schema, orient="row"), "table")
    else:
        write(row, output_format)


@app.command("metrics", epilog=EVERYWHERE)
def show_metrics(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    run: RunArgument,
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="Name, wildcard or @group; repeatable."),
    ] = None,
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
    output_format: FormatOption = "table",
) -> None:
    """Show what a run logged: statistics of each metric, or every value."""
    import polars as pl

    given = session(context)
    if available:
        _show_available(given, run, output_format)
        return
    lab = given.lab()
    path = resolve_run(lab.table("marts.runs"), run, given.project)
    statistics = lab.table("marts.run_summaries").filter(run_path=path)
    summaries = collected(statistics.drop("run_path", "project").sort("metric"))
    known = summaries["metric"].to_list()
    chosen = _chosen(lab, metric, known)
    if not known:
        given.note(f"{path} logged no numbers")
    if not (values or x_axis or last_n_steps):
        shown = summaries.filter(pl.col("metric").is_in(chosen))
        is_table = output_format == "table"
        write(shown.select(_SHOWN_STATISTICS) if is_table else shown, output_format)
        return
    points = _points(lab, path, chosen)
    if last_n_steps is not None:
        points = points.group_by("metric", maintain_order=True).tail(last_n_steps)
    if x_axis is not None:
        points = _over(given, points, x_axis, _axis_points(lab, path, x_axis, known))
    write(points, output_format)


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


def _chosen(lab: "Lab", metric: list[str] | None, known: list[str]) -> list[str]:
    from run_assets.derived.metric_groups import expand

    if metric is None:
        return known
    return expand(metric, groups=lab.config.metric_groups, available=known)


def _points(lab: "Lab", path: str, metrics: list[str]) -> "pl.DataFrame":
    import polars as pl

    table = lab.table("core.metric_points")
    mine = table.filter(pl.col("run_path") == path, pl.col("metric").is_in(metrics))
    return collected(mine.sort("metric", "step").drop("run_path"))


def _axis_points(
    lab: "Lab", path: str, axis: str, known: list[str]
) -> "pl.DataFrame | None":
    """The values of a metric that is the x axis; none where a column is."""
    if axis in _AXES:
        return None
    from run_assets.errors import UsageError, did_you_mean

    if axis not in known:
        hint = did_you_mean(axis, [*_AXES, *known])
        msg = f"no column and no metric of this run is called {axis!r}{hint}"
        raise UsageError(msg)
    return _points(lab, path, [axis]).select("step", x="value")


def _over(
    given: Session, points: "pl.DataFrame", axis: str, values: "pl.DataFrame | None"
) -> "pl.DataFrame":
    """Each value with its place on the axis, in the order of the axis."""
    import polars as pl

    bare = points.drop("x", "x_metric").with_columns(x_axis=pl.lit(axis))
    if values is None:
        placed = bare.with_columns(x=pl.col(_AXES[axis]))
    else:
        placed = bare.join(values, on="step", how="left", validate="m:1")
    if missing := placed["x"].null_count():
        given.note(f"{missing} values have no {axis} at their step; they come last")
    order = placed.sort("metric", "x", "step", nulls_last=True)
    return order.select("metric", "x_axis", "x", "step", "value")


def _parsed(row: "pl.DataFrame") -> dict[str, Any]:
    """A run with config and summary as values instead of JSON text."""
    import json

    found = row.to_dicts()[0]
    config, summary = found.pop("config_json"), found.pop("summary_json")
    return {
        **found,
        "config": json.loads(config) if config else {},
        "summary": json.loads(summary) if summary else {},
    }


def _lines(values: dict[str, Any], before: str = "") -> "Iterator[tuple[str, str]]":
    from run_assets.cli.text_table import cell_text

    for name, value in values.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", cell_text(value)
