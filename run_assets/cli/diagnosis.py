"""``diagnose``, ``explain`` and ``analyze``: what is wrong with a run, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from run_assets.cli.output import FormatOption, emit, json_document, write
from run_assets.cli.run_source import (
    Fetching,
    ForceFetch,
    LocalOnly,
    RunArgument,
    lab_of,
    run_paths,
)
from run_assets.cli.selection import check_project, collected, in_project
from run_assets.cli.session import EVERYWHERE, Session, session
from run_assets.cli.terminal import safe_message
from run_assets.errors import NotFoundError

if TYPE_CHECKING:
    import polars as pl

    from run_assets.diagnostics.diagnose import Settings
    from run_assets.diagnostics.model import Run
    from run_assets.lab import Lab
    from run_assets.reading.run import Run as ReadRun

    Meant = str | ReadRun  # a run path of the lake, or an export

_FOUND = 3
_SHOWN = (
    "run_path",
    "rule_code",
    "severity",
    "metric",
    "first_step",
    "last_step",
    "statistic",
    "threshold",
    "effect_size",
    "ci_low",
    "ci_high",
    "rule_name",
)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("analyze", epilog=EVERYWHERE)(analyze)
    app.command("diagnose", epilog=EVERYWHERE)(diagnose)
    app.command("explain", epilog=EVERYWHERE)(explain)


def diagnose(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    run: Annotated[
        list[str] | None,
        typer.Argument(help="Run paths, ids or display names; without one all runs."),
    ] = None,
    *,
    fail_on: Annotated[
        Literal["info", "warning", "error"] | None,
        typer.Option(help="Exit with 3 where a finding is this severe or worse."),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(help="Only these rules: codes, names, families; repeatable."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Not these rules; repeatable.")
    ] = None,
    outcome: Annotated[
        Literal["fired", "clear", "not_testable", "all"],
        typer.Option(help="Which outcomes are shown."),
    ] = "fired",
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
    output_format: FormatOption = "table",
) -> None:
    """Run the rules over runs and show what they find, the worst first."""
    import polars as pl

    from run_assets.diagnostics.health import worst_first
    from run_assets.diagnostics.model import is_at_least

    given = session(context)
    flags = {"diagnostics.select": select, "diagnostics.ignore": ignore}
    lab = given.lab({key: value for key, value in flags.items() if value})
    fetching = Fetching(local_only, force_fetch)
    rows = _findings(given, lab, _meant(given, lab, run or [], fetching))
    fired = worst_first(rows)
    others = rows.filter(pl.col("outcome") != "fired").sort("run_path", "rule_code")
    shown = pl.concat([fired, others])
    if outcome != "all":
        shown = shown.filter(outcome=outcome)
    if output_format == "table":
        reason = [] if outcome == "fired" else ["outcome", "reason"]
        shown = shown.select(*_SHOWN, *reason)
    write(shown, output_format)
    _note_counts(given, rows)
    if fail_on and any(is_at_least(one, fail_on) for one in fired["severity"]):
        raise typer.Exit(_FOUND)


def _note_counts(given: Session, rows: "pl.DataFrame") -> None:
    counts = {"fired": 0, "clear": 0, "not_testable": 0}
    counts |= dict(rows.group_by("outcome").len().rows())
    runs = rows["run_path"].n_unique()
    given.note(
        f"runs: {runs:,}. Tests: {counts['fired']:,} fired, {counts['clear']:,} clear, "
        f"{counts['not_testable']:,} not possible (--outcome not_testable says why)"
    )


def explain(
    rule: Annotated[str, typer.Argument(help="Code or name, such as RUN001.")],
) -> None:
    """Explain a rule: its test, thresholds, traps, and what to do when it fires."""
    from run_assets.diagnostics.explain import explained
    from run_assets.diagnostics.registry import rule as rule_of

    emit(explained(rule_of(rule)).removeprefix("### "))


def analyze(
    context: typer.Context,
    run: RunArgument,
    *,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Compare with this run, or all of tag:TAG; repeatable."),
    ] = None,
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
    output_format: Annotated[
        Literal["markdown", "json"], typer.Option(help="How it is printed.")
    ] = "markdown",
) -> None:
    """Read a run by the playbook: twelve sections, findings, ranked hypotheses."""
    from run_assets.diagnostics.diagnose import settings
    from run_assets.diagnostics.playbook import analysis_of, document
    from run_assets.reports.run_analysis import as_markdown

    given = session(context)
    lab = lab_of(given, [run])
    fetching = Fetching(local_only, force_fetch)
    asked = settings(lab.config.diagnostics)
    [mine] = _meant(given, lab, [run], fetching)
    against = _baselines(given, lab, baseline or [], fetching)
    others = [one for path, one in against.items() if path != _path(mine)]
    facts, *_ = _facts(lab, mine)
    subject, *compared = _runs(lab, [mine, *others], asked)
    found = analysis_of(subject, facts, asked, compared)
    if output_format == "json":
        emit(json_document([document(found)]))
    else:
        emit(safe_message(as_markdown(found)))


def _meant(
    given: Session, lab: "Lab", names: Sequence[str], fetching: Fetching
) -> "list[Meant]":
    """The runs that are meant; all of a project, or of the lab, without names."""
    from run_assets.exports import is_export, read_export

    if names:
        exports = {
            name: read_export(Path(name)) for name in names if is_export(Path(name))
        }
        others = [name for name in names if name not in exports]
        paths = run_paths(given, lab, others, fetching)
        return [exports.get(name) or paths[name] for name in names]
    runs = lab.table("marts.runs")
    if given.project:
        known = collected(runs.select("entity", "project").unique())
        check_project(given.project, known.rows())
        runs = runs.filter(in_project(given.project))
    return collected(runs.select("run_path").sort("run_path"))["run_path"].to_list()


def _facts(lab: "Lab", mine: "Meant") -> list[dict[str, Any]]:
    if not isinstance(mine, str):
        return [dict(mine.columns)]
    return collected(lab.table("marts.runs").filter(run_path=mine)).to_dicts()


def _runs(lab: "Lab", meant: "Sequence[Meant]", asked: "Settings") -> "list[Run]":
    """The runs with their series, in the order in which they are meant."""
    from run_assets.diagnostics.gathering import run_read, runs_of
    from run_assets.run_tables import run_tables

    paths = [one for one in meant if isinstance(one, str)]
    tables = run_tables(lab.lake, paths=paths) if paths else None
    stored = {one.path: one for one in runs_of(tables, asked.parts)} if tables else {}
    return [
        stored[one] if isinstance(one, str) else run_read(one, asked.parts)
        for one in meant
    ]


_RUNS_AT_ONCE = 50


def _findings(given: Session, lab: "Lab", meant: "Sequence[Meant]") -> "pl.DataFrame":
    """What the rules say now, some runs at a time."""
    import polars as pl

    from run_assets.diagnostics.diagnose import FINDING_TYPES, findings, settings

    asked = settings(lab.config.diagnostics)
    frames = [pl.DataFrame(schema=dict(FINDING_TYPES))]
    with given.progress(lab, "diagnosing"):
        for start in range(0, len(meant), _RUNS_AT_ONCE):
            some = meant[start : start + _RUNS_AT_ONCE]
            frames.append(findings(_runs(lab, some, asked), asked))
            lab.progress("runs", start + len(some), len(meant))
    return pl.concat(frames)


def _baselines(
    given: Session, lab: "Lab", names: Sequence[str], fetching: Fetching
) -> "dict[str, Meant]":
    """Runs to compare with, by run path: named ones, and those with a tag."""
    found: dict[str, Meant] = {}
    for name in names:
        tag = name.removeprefix("tag:")
        is_tag = tag != name
        some = _tagged(lab, tag) if is_tag else _meant(given, lab, [name], fetching)
        found |= {_path(one): one for one in some}
    return found


def _path(one: "Meant") -> str:
    return one if isinstance(one, str) else one.path


def _tagged(lab: "Lab", tag: str) -> list[str]:
    import polars as pl

    runs = lab.table("marts.runs").filter(pl.col("tags").list.contains(tag))
    paths = collected(runs.select("run_path").sort("run_path"))["run_path"]
    if paths.is_empty():
        msg = f"no run has the tag {tag!r}; `run-assets runs list` shows tags"
        raise NotFoundError(msg)
    return paths.to_list()
