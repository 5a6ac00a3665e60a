"""``run-assets runs compare|search|similar``: runs beside each other."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from run_assets.cli.output import FormatOption, write, write_tables
from run_assets.cli.run_source import (
    Fetching,
    ForceFetch,
    LocalOnly,
    RunArgument,
    RunArguments,
    lab_of,
    read_runs,
)
from run_assets.cli.runs import State, app, chosen_metrics, filtered
from run_assets.cli.selection import check_project, collected, in_project
from run_assets.cli.session import EVERYWHERE, Session, session
from run_assets.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from run_assets.lab import Lab
    from run_assets.reading.comparison import Aim
    from run_assets.reading.run import Run

_DIRECTIONS = ("lower", "higher")
_FOUND = ("run_path", "run_name", "run_state", "created_at", "run_group", "tags")


class _ManyMetrics(TyperCommand):
    """Lets ``--metrics`` take every word up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args, "--metrics"))


def spread(words: list[str], option: str) -> list[str]:
    """Words behind an option become options of their own.

    >>> spread(["a", "--metrics", "x", "y", "-m", "z"], "--metrics")
    ['a', '--metrics', 'x', '--metrics', 'y', '-m', 'z']
    """
    found: list[str] = []
    is_open = False
    for word in words:
        if word.startswith("-"):
            is_open = word == option
        elif is_open and found[-1] != option:
            found.append(option)
        found.append(word)
    return found


@app.command("compare", epilog=EVERYWHERE, cls=_ManyMetrics)
def compare(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    runs: RunArguments,
    *,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics", "-m", help="Names, wildcards or @groups; all where none is."
        ),
    ] = None,
    direction: Annotated[
        list[str] | None,
        typer.Option(help="METRIC=lower or METRIC=higher is better; repeatable."),
    ] = None,
    level: Annotated[
        list[str] | None,
        typer.Option(help="METRIC=VALUE: when was it reached? Repeatable."),
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="Of the differences' intervals.")
    ] = 0.95,
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
    output_format: FormatOption = "table",
) -> None:
    """Compare runs: last, best and mean values, levels reached, configs that differ."""
    from run_assets.reading.comparison import compared, config_differences, differences
    from run_assets.stats.options import check_confidence

    check_confidence(confidence)
    given = session(context)
    lab = lab_of(given, runs)
    named = read_runs(given, lab, runs, Fetching(local_only, force_fetch))
    found = list({run.path: run for run in named}.values())
    known = sorted({metric for run in found for metric in run.metrics})
    chosen = chosen_metrics(lab, metrics, known)
    aims = _aims(lab, found, chosen, direction or [], level or [])
    between = differences(found, chosen, confidence)
    apart = config_differences(found)
    write_tables(
        compared(found, aims),
        output_format,
        config_differences=_beside(apart) if output_format == "table" else apart,
        differences=between,
    )
    _explain(given, found, aims, between)


def _beside(differences: "pl.DataFrame") -> "pl.DataFrame":
    """One column a run: what people compare."""
    paths = differences["run_path"].unique(maintain_order=True)
    return differences.pivot(
        "run_path", on_columns=paths, index="key", values="value_json"
    )


def _aims(
    lab: "Lab",
    runs: "list[Run]",
    metrics: list[str],
    directions: list[str],
    levels: list[str],
) -> "dict[str, Aim]":
    """What is good of each metric: as asked for, else as declared."""
    from run_assets.reading.comparison import Aim, declared_direction

    goals = {name: goal for run in runs for name, goal in run.goals.items()}
    asked = _assignments(directions, metrics, "--direction", _DIRECTIONS)
    reach = _assignments(levels, metrics, "--level", None)
    configured = lab.config.rewards.training
    return {
        metric: Aim(
            asked.get(metric) or declared_direction(metric, goals, configured),
            reach.get(metric),
        )
        for metric in metrics
    }


def _assignments(
    texts: list[str], metrics: list[str], option: str, known: tuple[str, ...] | None
) -> "Mapping[str, Any]":
    """``METRIC=VALUE`` of an option, by metric."""
    from run_assets.errors import did_you_mean

    found: dict[str, Any] = {}
    for text in texts:
        metric, _, value = text.rpartition("=")
        if metric not in metrics:
            hint = did_you_mean(metric, metrics)
            msg = f"{option} {text!r}: no metric {metric!r} is compared{hint}"
            raise UsageError(msg)
        if known and value not in known:
            msg = f"{option} takes METRIC=lower or METRIC=higher, got {text!r}"
            raise UsageError(msg)
        found[metric] = value if known else _level(value, text)
    return found


def _level(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError:
        msg = f"--level takes METRIC=VALUE, such as loss=0.5, got {text!r}"
        raise UsageError(msg) from None


def _explain(
    given: Session,
    runs: "list[Run]",
    aims: "Mapping[str, Aim]",
    between: "pl.DataFrame",
) -> None:
    vague = [name for name, aim in aims.items() if aim.direction == "none"]
    if vague:
        some = ", ".join(vague[:3]) + (" …" if len(vague) > 3 else "")
        given.note(
            f"no best value of {some}: no direction is declared (define_metric's goal, "
            "`rewards` in run_assets.yaml, or --direction METRIC=higher)"
        )
    if len(runs) > 1 and between.is_empty():
        given.note(
            "no differences with intervals: they need two runs a side whose configs "
            "differ in the seed alone"
        )


@app.command("search", epilog=EVERYWHERE)
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


@app.command("similar", epilog=EVERYWHERE)
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
