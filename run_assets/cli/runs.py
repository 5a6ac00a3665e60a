"""``run-assets runs``: which runs there are and what they logged."""

from typing import TYPE_CHECKING, Annotated

import typer

from run_assets.cli.output import FormatOption, write
from run_assets.cli.session import session

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(no_args_is_help=True)

RunArgument = Annotated[str, typer.Argument(help="run_path, run id or display name.")]
_LISTED = (
    "run_path",
    "run_name",
    "run_state",
    "run_group",
    "tags",
    "created_at",
    "runtime_seconds",
    "last_step",
    "n_metrics",
)


@app.command("list")
def list_runs(
    context: typer.Context,
    *,
    tag: Annotated[list[str] | None, typer.Option(help="Has this tag.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Is in this state.")] = None,
    group: Annotated[str | None, typer.Option(help="Belongs to this group.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 50,
    output_format: FormatOption = "table",
) -> None:
    """List runs, youngest first."""
    import polars as pl

    given = session(context)
    frame = given.lab().table("marts.runs")
    for name in tag or ():
        frame = frame.filter(pl.col("tags").list.contains(name))
    if state:
        frame = frame.filter(pl.col("run_state").is_in(state))
    if group is not None:
        frame = frame.filter(pl.col("run_group") == group)
    if given.project:
        frame = frame.filter(_in_project(given.project))
    found = frame.sort("created_at", "run_path", descending=[True, False]).select(
        _LISTED
    )
    rows = found.head(limit + 1).collect()
    write(rows.head(limit), output_format)
    if rows.height > limit:
        given.note(f"more than {limit} runs; --limit shows more")
    if rows.is_empty():
        given.note("no runs; `run-assets refresh` reads them from the sources")


@app.command("get")
def get_run(
    context: typer.Context, run: RunArgument, *, output_format: FormatOption = "table"
) -> None:
    """Show everything known of a run: columns, config and summary."""
    import polars as pl

    given = session(context)
    lab = given.lab()
    path = resolve_run(lab.table("marts.runs"), run, given.project)
    row = lab.lake.scan("raw.runs").filter(run_path=path).collect()
    if output_format == "table":
        values = [(name, _text(row[name].item())) for name in row.columns]
        write(pl.DataFrame(values, ["column", "value"], orient="row"), "table")
    else:
        write(row, output_format)


@app.command("metrics")
def show_metrics(
    context: typer.Context,
    run: RunArgument,
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option("-m", "--metric", help="Name, wildcard or @group; repeatable."),
    ] = None,
    values: Annotated[bool, typer.Option(help="Every value, not statistics.")] = False,
    last_n_steps: Annotated[
        int | None, typer.Option(min=1, help="Only the last steps of each metric.")
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Show what a run logged: statistics of each metric, or every value."""
    import polars as pl

    from run_assets.derived.metric_groups import DEFAULT_METRIC_GROUPS, expand

    given = session(context)
    lab = given.lab()
    path = resolve_run(lab.table("marts.runs"), run, given.project)
    summaries = lab.table("marts.run_summaries").filter(run_path=path).collect()
    groups = {**DEFAULT_METRIC_GROUPS, **lab.config.metric_groups}
    known = summaries["metric"].to_list()
    names = expand(metric, groups=groups, available=known) if metric else known
    if not values and last_n_steps is None:
        shown = summaries.filter(pl.col("metric").is_in(names)).drop("project")
        write(shown.sort("metric").drop("run_path"), output_format)
        return
    points = (
        lab.table("core.metric_points")
        .filter(pl.col("run_path") == path, pl.col("metric").is_in(names))
        .sort("metric", "step")
        .drop("run_path")
    )
    if last_n_steps is not None:
        points = points.group_by("metric", maintain_order=True).tail(last_n_steps)
    write(points.collect(), output_format)


def resolve_run(runs: "pl.LazyFrame", name: str, project: str | None = None) -> str:
    """The run path of a run named by path, id or display name.

    Raises:
        NotFoundError: No run has this name; similar ones are listed.
        UsageError: Several have; they are listed.
    """
    import polars as pl

    from run_assets.errors import NotFoundError, UsageError, did_you_mean

    frame = runs if project is None else runs.filter(_in_project(project))
    known = frame.select("run_path", "run_id", "run_name").collect()
    for column in ("run_path", "run_id", "run_name"):
        paths = known.filter(pl.col(column) == name)["run_path"].sort().to_list()
        if len(paths) == 1:
            return str(paths[0])
        if paths:
            listed = "\n  ".join(paths[:20])
            msg = (
                f"{name!r} names {len(paths)} runs; say which by run path:\n  {listed}"
            )
            raise UsageError(msg)
    names = {one for row in known.rows() for one in row if one}
    msg = f"no run {name!r}{did_you_mean(name, names)}"
    raise NotFoundError(msg)


def _in_project(project: str) -> "pl.Expr":
    import polars as pl

    full = pl.concat_str(pl.col("entity"), pl.lit("/"), pl.col("project"))
    return (full == project) | (pl.col("project") == project)


def _text(value: object) -> str:
    return "" if value is None else str(value)
