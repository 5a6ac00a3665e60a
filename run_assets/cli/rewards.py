"""``run-assets rewards``: what rewards did, in one run or over several joined."""

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_assets.cli.output import (
    Format,
    FormatOption,
    emit,
    export,
    json_document,
    write,
)
from run_assets.cli.run_source import (
    Fetching,
    ForceFetch,
    LocalOnly,
    lab_of,
    read_runs,
)
from run_assets.cli.runs import filtered
from run_assets.cli.searching import matching, runs_of
from run_assets.cli.selection import collected
from run_assets.cli.session import EVERYWHERE, Session, session
from run_assets.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from run_assets.lab import Lab
    from run_assets.reading.run import Run
    from run_assets.rewards.summary import AnalysedRun

_SHOWN = (
    *("metric", "verdict", "first", "last", "mean", "std", "trend_change"),
    *("ci_low", "ci_high", "trend_ratio", "step_50", "step_90", "share", "part"),
    *("n_points", "step_25", "step_75"),
)
_ORCHESTRATOR, _TRAINER, _RUN = "orchestrator", "trainer", "run"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("rewards", epilog=EVERYWHERE)(rewards)


def rewards(  # noqa: PLR0913  # one parameter an option
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs or exports; all of the lab where none is."),
    ] = None,
    *,
    orchestrator_run: Annotated[
        str | None, typer.Option(help="The run that has the rewards.")
    ] = None,
    trainer_run: Annotated[
        str | None, typer.Option(help="The run that has the training metrics.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Runs of this group.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Runs with this tag; repeatable.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option("--config", help="Runs whose config fits, as in `runs search`."),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder for the summary and the values.")
    ] = None,
    local_only: LocalOnly = False,
    force_fetch: ForceFetch = False,
    output_format: FormatOption = "table",
) -> None:
    """Analyse rewards: components, trends, milestones, shares, success rates."""
    given = session(context)
    named = [
        *((one, _RUN) for one in runs or ()),
        *((one, _ORCHESTRATOR) for one in [orchestrator_run] if one),
        *((one, _TRAINER) for one in [trainer_run] if one),
    ]
    lab = lab_of(given, [name for name, _ in named])
    selected = _selected(given, lab, group, tag, config)
    if selected is None and not named:
        selected = collected(runs_of(given, lab))["run_path"].sort().to_list()
    asked = [*named, *((path, _RUN) for path in selected or ())]
    names, roles = [name for name, _ in asked], [role for _, role in asked]
    read = read_runs(given, lab, names, Fetching(local_only, force_fetch))
    found = _analysed(lab, read, roles)
    _check(found)
    for one in found:
        if one.rows.is_empty():
            what = "no numbers" if not one.run.metrics else "nothing that is a reward"
            given.note(f"{one.run.path} logged {what}")
    if output_dir is not None:
        _write_files(given, lab, output_dir, found)
    _show(lab, found, output_format)


def _selected(
    given: Session,
    lab: "Lab",
    group: str | None,
    tags: list[str] | None,
    conditions: list[str] | None,
) -> list[str] | None:
    """Runs by group, tag and config; None where none of them is asked for."""
    import polars as pl

    if group is None and not tags and not conditions:
        return None
    runs = collected(filtered(runs_of(given, lab), tags, None, group))
    fits, _ = matching(collected(lab.table("core.run_configs")), conditions or [])
    if fits is not None:
        runs = runs.filter(pl.col("run_path").is_in(fits))
    if runs.is_empty():
        msg = "no run has this group, these tags and this config; see `runs search`"
        raise NotFoundError(msg)
    return runs["run_path"].sort().to_list()


def _analysed(lab: "Lab", runs: "list[Run]", roles: list[str]) -> "list[AnalysedRun]":
    """Each run with its rows; the points of all stored ones are read at once."""
    import polars as pl

    from run_assets.diagnostics.roles import declared_parts
    from run_assets.rewards.components import parts_of
    from run_assets.rewards.summary import AnalysedRun
    from run_assets.rewards.table import reward_components
    from run_assets.stored_runs import stored_points

    settings, groups = lab.config.rewards, lab.config.metric_groups
    declared = declared_parts(lab.config.diagnostics)
    parts = [parts_of(run.metrics, settings, groups, declared) for run in runs]
    wanted = set(chain(*parts))
    stored = stored_points(lab, {run.path for run in runs if not run.is_export}, wanted)
    by_run = stored.partition_by("run_path", as_dict=True)
    found = []
    for run, mine, role in zip(runs, parts, roles, strict=True):
        points = (
            run.points(*wanted).with_columns(pl.lit(run.path).alias("run_path"))
            if run.is_export
            else by_run.get((run.path,), stored.clear())
        )
        rows = reward_components(points, mine, settings)
        found.append(AnalysedRun(run, role, mine, points, rows))
    return found


def _check(found: "list[AnalysedRun]") -> None:
    """Refuse an analysis of nothing, and say what to do.

    Raises:
        NotFoundError: No run, a run that was asked for logged nothing, or no run has
            anything that counts as a reward.
    """
    if not found:
        msg = "no data available: the lab has no runs; `run-assets refresh` reads them"
        raise NotFoundError(msg)
    if all(not one.run.metrics for one in found):
        rows = ", ".join(
            f"{one.run.path} ({one.run.columns.get('run_state')}, "
            f"{one.run.columns.get('history_rows') or 0} history rows)"
            for one in found[:5]
        )
        msg = (
            f"empty history: no number was logged by {rows}; nothing was left out, "
            "histories are never sampled. --force-fetch reads a run again"
        )
        raise NotFoundError(msg)
    if all(one.rows.is_empty() for one in found):
        logged = sorted({name for one in found for name in one.run.metrics})
        msg = (
            "no metric looks like a reward: name them in `rewards.components` of "
            f"run_assets.yaml; logged: {', '.join(logged[:12])}"
            + (", …" if len(logged) > 12 else "")
        )
        raise UsageError(msg)


def _show(lab: "Lab", found: "list[AnalysedRun]", output_format: Format) -> None:
    import polars as pl

    if output_format == "json":
        emit(_document(lab, found))
        return
    rows = pl.concat([one.rows for one in found])
    write(_for_people(rows, found) if output_format == "table" else rows, output_format)


def _for_people(rows: "pl.DataFrame", found: "list[AnalysedRun]") -> "pl.DataFrame":
    """What fits a terminal first; the run's name where there are several."""
    import polars as pl

    names = {one.run.path: one.run.name for one in found}
    shown = rows.select(pl.col("run_path").replace_strict(names).alias("run"), *_SHOWN)
    return shown if len(names) > 1 else shown.drop("run")


def _document(lab: "Lab", found: "list[AnalysedRun]") -> str:
    from run_assets.rewards.summary import run_summaries

    return json_document(run_summaries(found, lab.config.rewards))


def _write_files(
    given: Session, lab: "Lab", folder: Path, found: "list[AnalysedRun]"
) -> None:
    """The guide's files; each run's folder is an export that can stand for the run."""
    from run_assets.exports import safe_names, write_folder, write_text
    from run_assets.rewards.summary import reward_values

    write_text(folder / "reward_analysis_summary.json", f"{_document(lab, found)}\n")
    of_rewards = [one for one in found if one.role != _TRAINER] or found
    export(reward_values(of_rewards).lazy(), folder / "orchestrator_rewards.csv")
    names = safe_names(one.run for one in found)
    for one in found:
        name = names[one.run.path]
        write_folder(one.run, folder / name, "csv", name=name)
    given.note(
        f"wrote {folder / 'reward_analysis_summary.json'} and what belongs to it"
    )
