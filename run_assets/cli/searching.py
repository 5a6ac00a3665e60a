"""``run-assets runs search|similar``: runs by what their configs say."""

from typing import TYPE_CHECKING, Annotated

import typer

from run_assets.cli.output import FormatOption, write
from run_assets.cli.run_source import (
    Fetching,
    ForceFetch,
    LocalOnly,
    RunArgument,
    lab_of,
    read_runs,
)
from run_assets.cli.runs import State, filtered
from run_assets.cli.selection import check_project, collected, in_project
from run_assets.cli.session import EVERYWHERE, Session, session

if TYPE_CHECKING:
    import polars as pl

    from run_assets.lab import Lab

_FOUND = ("run_path", "run_name", "run_state", "created_at", "run_group", "tags")


def register(app: typer.Typer) -> None:
    """Add the commands to ``runs``."""
    app.command("search", epilog=EVERYWHERE)(search)
    app.command("similar", epilog=EVERYWHERE)(similar)


def search(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    *,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config", "-c", help="KEY=VALUE, KEY>=NUMBER, KEY=LOW..HIGH; repeatable."
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Has this tag; repeated: all of them.")
    ] = None,
    state: Annotated[
        list[State] | None,
        typer.Option(help="Is in this state; repeated: one of them."),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Belongs to this group.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 50,
    output_format: FormatOption = "table",
) -> None:
    """Find runs by what their config says, their tags, state and group."""
    import polars as pl

    given = session(context)
    lab = given.lab()
    runs = runs_of(given, lab)
    configs = _configs(lab, runs)
    fits, keys = matching(configs, config or [])
    found = collected(
        filtered(runs, tag, state, group).sort(
            "created_at", "run_path", descending=[True, False]
        )
    )
    if fits is not None:
        found = found.filter(pl.col("run_path").is_in(fits))
    shown = found.select(_FOUND)
    for key in keys:
        values = configs.filter(key=key).select(
            "run_path", pl.col("value_text").alias(f"config.{key}")
        )
        shown = shown.join(values, on="run_path", how="left", maintain_order="left")
    write(shown.head(limit), output_format)
    if shown.height > limit:
        given.note(f"only the youngest {limit} of {shown.height}; --limit shows more")


def matching(
    configs: "pl.DataFrame", conditions: list[str]
) -> "tuple[list[str] | None, list[str]]":
    """Runs that fit every condition (None without any), and the keys asked about."""
    from run_assets.reading.conditions import condition, fitting_runs

    asked = [condition(text) for text in conditions]
    fitting = [set(fitting_runs(configs, one)) for one in asked]
    known = set(configs["key"])
    keys = [one.key for one in asked if one.key in known]
    return (
        sorted(set.intersection(*fitting)) if fitting else None,
        list(dict.fromkeys(keys)),
    )


def runs_of(given: Session, lab: "Lab") -> "pl.LazyFrame":
    """The runs of the lab, or of the project asked for."""
    runs = lab.table("marts.runs")
    if given.project is None:
        return runs
    known = collected(runs.select("entity", "project").unique()).rows()
    check_project(given.project, known)
    return runs.filter(in_project(given.project))


def _configs(lab: "Lab", runs: "pl.LazyFrame") -> "pl.DataFrame":
    configs = lab.table("core.run_configs")
    return collected(configs.join(runs.select("run_path"), on="run_path", how="semi"))


def similar(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    run: RunArgument,
    *,
    differences: Annotated[
        int, typer.Option(help="Config keys that may differ.", min=0)
    ] = 3,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 20,
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
    output_format: FormatOption = "table",
) -> None:
    """Find runs with the same config but for a few keys, and list those."""
    import polars as pl

    from run_assets.reading.run import flat
    from run_assets.reading.similarity import similar_runs

    given = session(context)
    lab = lab_of(given, [run])
    [target] = read_runs(given, lab, [run], Fetching(local_only, force_fetch))
    runs = collected(runs_of(given, lab)).filter(pl.col("run_path") != target.path)
    configs = lab.table("core.run_configs").select("run_path", "key", "value_json")
    theirs = runs.select("run_path").join(collected(configs), on="run_path", how="left")
    own = pl.DataFrame(
        list(flat(target.config).items()),
        {"key": pl.String, "value_json": pl.String},
        orient="row",
    )
    near = similar_runs(own, theirs, differences)
    named = near.join(runs, on="run_path", maintain_order="left").select(
        "run_path", "run_name", "run_state", "n_differences", _shown(output_format)
    )
    write(named.head(limit), output_format)
    if near.is_empty():
        given.note(
            f"no run differs from {target.path} in {differences} config keys or fewer; "
            "--differences allows more"
        )
    elif near.height > limit:
        given.note(f"only the nearest {limit} of {near.height}; --limit shows more")


def _shown(output_format: str) -> "pl.Expr":
    """The differences as ``lr: 0.1 -> 0.2`` for people, as they are for programs."""
    import polars as pl

    if output_format != "table":
        return pl.col("differences")
    one = pl.element().struct
    text = pl.concat_str(
        one.field("key"),
        pl.lit(": "),
        one.field("here").fill_null("-"),
        pl.lit(" -> "),
        one.field("there").fill_null("-"),
    )
    return pl.col("differences").list.eval(text).list.join(", ")
