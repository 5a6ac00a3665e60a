"""``diagnose``, ``explain`` and ``analyze``: what is wrong with a run, and why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from run_assets.cli.output import FormatOption, emit, json_document, write
from run_assets.cli.selection import check_project, collected, in_project, resolve_run
from run_assets.cli.session import EVERYWHERE, Session, session
from run_assets.cli.terminal import safe_message

if TYPE_CHECKING:
    import polars as pl

    from run_assets.diagnostics.playbook import Baseline
    from run_assets.lab import Lab

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
    output_format: FormatOption = "table",
) -> None:
    """Run the rules over runs and show what they find, the worst first."""
    import polars as pl

    from run_assets.diagnostics.health import worst_first
    from run_assets.diagnostics.model import is_at_least

    given = session(context)
    flags = {"diagnostics.select": select, "diagnostics.ignore": ignore}
    lab = given.lab({key: value for key, value in flags.items() if value})
    rows = _findings(given, lab, _paths(given, lab, run or []))
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
    run: Annotated[str, typer.Argument(help="Run path, run id or display name.")],
    *,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Compare with this run, or all of tag:TAG; repeatable."),
    ] = None,
    output_format: Annotated[
        Literal["markdown", "json"], typer.Option(help="How it is printed.")
    ] = "markdown",
) -> None:
    """Read a run by the playbook: twelve sections, findings, ranked hypotheses."""
    from run_assets.diagnostics.diagnose import settings
    from run_assets.diagnostics.gathering import runs_of
    from run_assets.diagnostics.playbook import analysis_of, document
    from run_assets.reports.run_analysis import as_markdown
    from run_assets.run_tables import run_tables

    given = session(context)
    lab = given.lab()
    path = resolve_run(lab.table("marts.runs"), run, given.project)
    others = _baselines(given, lab, baseline or [], path)
    asked = settings(lab.config.diagnostics)
    tables = run_tables(lab.lake, paths=[path, *others])
    by_path = {one.path: one for one in runs_of(tables, asked.parts)}
    row = collected(lab.table("marts.runs").filter(run_path=path)).to_dicts()[0]
    against: list[Baseline] = [by_path[one] for one in others]
    found = analysis_of(by_path[path], row, asked, against)
    if output_format == "json":
        emit(json_document([document(found)]))
    else:
        emit(safe_message(as_markdown(found)))


def _paths(given: Session, lab: "Lab", names: Sequence[str]) -> list[str]:
    """The runs that are meant; all of a project, or of the lab, without names."""
    runs = lab.table("marts.runs")
    if names:
        return [resolve_run(runs, name, given.project) for name in names]
    if given.project:
        known = collected(runs.select("entity", "project").unique())
        check_project(given.project, known.rows())
        runs = runs.filter(in_project(given.project))
    return collected(runs.select("run_path").sort("run_path"))["run_path"].to_list()


_RUNS_AT_ONCE = 50


def _findings(given: Session, lab: "Lab", paths: Sequence[str]) -> "pl.DataFrame":
    """What the rules say now, some runs at a time."""
    import polars as pl

    from run_assets.diagnostics.diagnose import FINDING_TYPES, findings, settings
    from run_assets.diagnostics.gathering import runs_of
    from run_assets.run_tables import run_tables

    asked = settings(lab.config.diagnostics)
    frames = [pl.DataFrame(schema=dict(FINDING_TYPES))]
    with given.progress(lab, "diagnosing"):
        for start in range(0, len(paths), _RUNS_AT_ONCE):
            some = paths[start : start + _RUNS_AT_ONCE]
            runs = runs_of(run_tables(lab.lake, paths=some), asked.parts)
            frames.append(findings(runs, asked))
            lab.progress("runs", start + len(some), len(paths))
    return pl.concat(frames)


def _baselines(
    given: Session, lab: "Lab", names: Sequence[str], path: str
) -> list[str]:
    """Runs to compare with: named ones, and those with a tag; never the run itself."""
    import polars as pl

    from run_assets.errors import NotFoundError

    runs = lab.table("marts.runs")
    found: dict[str, None] = {}
    for name in names:
        if not name.startswith("tag:"):
            found[resolve_run(runs, name, given.project)] = None
            continue
        tag = name.removeprefix("tag:")
        tagged = runs.filter(pl.col("tags").list.contains(tag))
        paths = collected(tagged.select("run_path").sort("run_path"))["run_path"]
        if paths.is_empty():
            msg = f"no run has the tag {tag!r}; `run-assets runs list` shows tags"
            raise NotFoundError(msg)
        found |= dict.fromkeys(paths.to_list())
    return [one for one in found if one != path]
