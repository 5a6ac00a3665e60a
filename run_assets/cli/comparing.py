"""``run-assets runs compare``: runs beside each other."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from run_assets.cli.output import FormatOption, write_tables
from run_assets.cli.run_source import (
    Fetching,
    ForceFetch,
    LocalOnly,
    RunArguments,
    lab_of,
    read_runs,
)
from run_assets.cli.runs import chosen_metrics
from run_assets.cli.session import EVERYWHERE, Session, session
from run_assets.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from run_assets.lab import Lab
    from run_assets.reading.comparison import Aim
    from run_assets.reading.run import Run

_DIRECTIONS = ("lower", "higher")


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


def register(app: typer.Typer) -> None:
    """Add the commands to ``runs``."""
    app.command("compare", epilog=EVERYWHERE, cls=_ManyMetrics)(compare)


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
    rows, apart = compared(found, aims), config_differences(found)
    if output_format == "table":
        rows, apart = _for_people(rows), _beside(apart)
    write_tables(rows, output_format, config_differences=apart, differences=between)
    _explain(given, found, aims, between)


def _for_people(rows: "pl.DataFrame") -> "pl.DataFrame":
    """Runs by name, and no column that says nothing."""
    silent = [one.name for one in rows if rows.height == one.null_count() > 0]
    return rows.drop("run_path", *silent)


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
    from run_assets.diagnostics.roles import declared_parts
    from run_assets.reading.comparison import Aim, direction_of

    goals = {name: goal for run in runs for name, goal in run.goals.items()}
    asked = _assignments(directions, metrics, "--direction", _DIRECTIONS)
    reach = _assignments(levels, metrics, "--level", None)
    parts = declared_parts(lab.config.diagnostics)
    aims = {
        metric: Aim(
            asked.get(metric)
            or direction_of(goals.get(metric), parts.direction(metric)),
            reach.get(metric),
        )
        for metric in metrics
    }
    for metric, aim in aims.items():
        if aim.level is not None and aim.direction == "none":
            msg = (
                f"--level of {metric!r} needs to know which direction is good; add "
                f"--direction {metric}=higher or {metric}=lower"
            )
            raise UsageError(msg)
    return aims


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
