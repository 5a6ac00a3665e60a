"""``run-assets evals``: questions to the trials of models on tasks.

Every command looks at the trials of the lake that its options leave; nothing is stored.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from run_assets.cli.output import FormatOption, emit, write
from run_assets.cli.questions import asking
from run_assets.cli.session import EVERYWHERE, Session

if TYPE_CHECKING:
    import polars as pl

    from run_assets.config_evaluations import Evaluations
    from run_assets.lab import Lab
    from run_assets.reports.evaluation_content import EvaluationContent

app = typer.Typer(no_args_is_help=True)

_RECENT = (
    *("ended_at", "model", "task", "trial", "version", "trial_status", "is_success"),
    *("reward", "n_steps", "total_tokens", "cost", "duration_seconds", "sweep_id"),
)


@dataclass(frozen=True)
class Trials:
    """Which trials are looked at; what is not given leaves all."""

    model: Annotated[
        list[str] | None, typer.Option(help="Only this model; repeatable.")
    ] = None
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only tasks that match; repeatable."),
    ] = None
    sweep: Annotated[
        list[str] | None, typer.Option(help="Only this sweep; repeatable.")
    ] = None
    version: Annotated[
        list[str] | None,
        typer.Option(help="Only this version of the source; repeatable."),
    ] = None
    since: Annotated[
        datetime | None, typer.Option(help="Only trials that ended then or later, UTC.")
    ] = None
    hours: Annotated[
        float | None, typer.Option(min=0, help="Only trials of the last hours.")
    ] = None
    min_trials: Annotated[
        int, typer.Option(min=0, help="Leave out models with fewer trials.")
    ] = 0


_asking = asking(Trials)


@app.command("recent", epilog=EVERYWHERE)
@_asking
def recent(
    given: Session,
    question: Trials,
    *,
    limit: Annotated[int, typer.Option(min=1, help="Trials to show.")] = 50,
    output_format: FormatOption = "table",
) -> None:
    """Show the trials that ended last, the last 24 hours by default."""
    import polars as pl

    lab = given.lab()
    is_dated = question.since is not None or question.hours is not None
    hours = None if is_dated else 24.0
    trials = _chosen(given, lab, question, hours)
    found = trials.sort("ended_at", "source", "trial", descending=True, nulls_last=True)
    write(found.select(_RECENT).head(limit), output_format)
    done = trials.filter(pl.col("is_success").is_not_null())
    n_done, n_good = done.height, int(done["is_success"].sum())
    share = f", {n_good / n_done:.1%} successful" if n_done else ""
    given.note(f"{trials.height} trials{share}; --limit shows more than {limit}")


@app.command("compare", epilog=EVERYWHERE)
@_asking
def compare(
    given: Session,
    question: Trials,
    *,
    models: Annotated[
        list[str] | None, typer.Argument(help="Models; all where none is named.")
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Test every pair instead.")
    ] = False,
    k: Annotated[
        list[int] | None, typer.Option("--k", min=1, help="For pass@k; repeatable.")
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Compare models: rates with intervals, pass@k, rewards, cost; or pair by pair."""
    import polars as pl

    lab = given.lab()
    trials = _chosen(given, lab, question, models=tuple(models or ()))
    changes = {"k": tuple(k)} if k else {}
    asked = lab.config.evaluations.model_copy(update=changes)
    if pairs:
        found = _statistic("stats.model_comparisons", asked, trials)
        write(found.sort("measure", "model_x", "model_y"), output_format)
        return
    rows = _models(asked, trials)
    write(
        rows.sort(pl.col("success_rate"), descending=True, nulls_last=True),
        output_format,
    )


@app.command("tasks", epilog=EVERYWHERE)
@_asking
def tasks(
    given: Session,
    question: Trials,
    *,
    by: Annotated[
        Literal["task", "model"],
        typer.Option(help="One row a task, or one a model and task."),
    ] = "task",
    output_format: FormatOption = "table",
) -> None:
    """Show how hard each task is, the hardest first, and who solves it."""
    from run_assets.store.trial_marts import trial_marts

    lab = given.lab()
    trials = _chosen(given, lab, question)
    if by == "model":
        cells = trial_marts(trials)["marts.model_tasks"].filter(sweep_id="*")
        shown = cells.drop("sweep_id").sort("task", "model")
        write(shown, output_format)
        return
    write(
        _statistic("stats.task_difficulty", lab.config.evaluations, trials),
        output_format,
    )


@app.command("report", epilog=EVERYWHERE)
@_asking
def report(
    given: Session,
    question: Trials,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Sweeps or versions; all trials where none is named."),
    ] = None,
    output_dir: Annotated[
        Path, typer.Option(help="Folder for tables and pictures; created.")
    ] = Path("analysis_results"),
) -> None:
    """Write tables (CSV), a summary (JSON) and pictures (SVG, PNG) into a folder."""
    from run_assets.reports.evaluation_files import evaluation_files
    from run_assets.store.lake import publish_file

    lab = given.lab()
    trials = _chosen(given, lab, question, names=tuple(names or ()))
    files = evaluation_files(_content(lab, trials))
    for name, content in files.items():
        publish_file((output_dir / name).absolute(), partial(_write, content))
        emit(str(output_dir / name))


def _chosen(
    given: Session,
    lab: "Lab",
    question: Trials,
    hours: float | None = None,
    *,
    models: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
) -> "pl.DataFrame":
    """The trials that are asked for; a note where there are none."""
    from run_assets.cli.selection import collected
    from run_assets.stats.trial_selection import (
        TrialSelection,
        hours_before,
        select_trials,
    )

    given.ignore_project()
    trials = collected(lab.table("core.trials"))
    if trials.is_empty():
        _refuse_nothing(lab)
    sweeps = tuple(one for one in names if one in set(trials["sweep_id"]))
    past = question.hours if question.hours is not None else hours
    now = datetime.now(UTC)
    since = question.since and question.since.replace(tzinfo=UTC)
    selection = TrialSelection(
        models=(*models, *(question.model or ())),
        tasks=tuple(question.task or ()),
        sweeps=(*sweeps, *(question.sweep or ())),
        versions=(
            *(one for one in names if one not in sweeps),
            *(question.version or ()),
        ),
        since=since if past is None else hours_before(now, past),
        min_trials=question.min_trials,
    )
    found = select_trials(trials, selection)
    if found.is_empty():
        given.note(f"none of {trials.height} trials is left by these options")
    return found


def _refuse_nothing(lab: "Lab") -> NoReturn:
    from run_assets.errors import NotFoundError
    from run_assets.sources.results import has_results

    then = (
        "`run-assets refresh` reads them"
        if has_results(lab.config)
        else "name a database under `evaluations.sources` in run_assets.yaml"
    )
    msg = f"no trial has been read; {then}"
    raise NotFoundError(msg)


def _statistic(
    name: str, asked: "Evaluations", trials: "pl.DataFrame"
) -> "pl.DataFrame":
    """Rows over all chosen trials, without the column that says so."""
    from run_assets.stats.evaluation_answers import rows_of_all
    from run_assets.store.lake import empty

    found = rows_of_all(name, asked, trials)
    return found if found.width else empty(name).drop("sweep_id")


def _models(asked: "Evaluations", trials: "pl.DataFrame") -> "pl.DataFrame":
    """One row a model: what several tables know of it."""
    import polars as pl

    from run_assets.store.trial_marts import trial_marts

    rates = _statistic("stats.success_rates", asked, trials).filter(task="*")
    passed = _statistic("stats.pass_at_k", asked, trials).filter(task="*")
    wide = passed.select(
        "model",
        pl.col("statistic").str.replace("k", "", literal=True)
        + pl.col("k").cast(pl.String),
        "estimate",
    ).pivot("statistic", index="model", values="estimate")
    costs = _statistic("stats.efficiency", asked, trials)
    ranks = _statistic("stats.leaderboard", asked, trials).filter(measure="success")
    marts = trial_marts(trials)["marts.models"].filter(sweep_id="*")
    return (
        rates.select(
            "model",
            pl.col("estimate").alias("success_rate"),
            "ci_low",
            "ci_high",
            "any_success_rate",
            "n_trials",
            "n_tasks",
        )
        .join(wide, "model", how="left")
        .join(ranks.select("model", "rank", "probability_best"), "model", how="left")
        .join(
            marts.select(
                *("model", "mean_reward", "median_reward", "std_reward"),
                *("min_reward", pl.col("largest_reward").alias("max_reward")),
            ),
            "model",
            how="left",
        )
        .join(
            costs.select("model", "mean_steps", "mean_tokens", "tokens_per_success"),
            "model",
            how="left",
        )
    )


def _content(lab: "Lab", trials: "pl.DataFrame") -> "EvaluationContent":
    """What is known of some trials, computed now."""
    from run_assets.reports.evaluation_content import evaluation_of
    from run_assets.stats.evaluation_answers import evaluation_rows
    from run_assets.store.lake import empty
    from run_assets.store.trial_marts import trial_marts

    marts = trial_marts(trials)

    def read(name: str) -> "pl.DataFrame":
        if name == "core.trials":
            return trials
        if name in marts:
            return marts[name]
        rows = evaluation_rows(name, lab.config.evaluations, trials)
        return rows if rows.width else empty(name)

    return evaluation_of("*", read)


def _write(content: str | bytes, path: Path) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
