"""``run-assets stats``: questions to the statistics, configured or not.

A question starts from an analysis of the configuration, or from nothing; what is given
on the command line replaces its settings. Nothing is stored.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from run_assets.cli.output import FormatOption, write
from run_assets.cli.questions import asking
from run_assets.cli.session import EVERYWHERE, Session

if TYPE_CHECKING:
    import polars as pl

    from run_assets.config import Analysis
    from run_assets.lab import Lab

app = typer.Typer(no_args_is_help=True)

AD_HOC = "ad hoc"
_TABLES = (
    "marts.runs",
    "marts.run_summaries",
    "derived.run_metrics",
    "core.run_configs",
)
_Aggregate = Literal["last", "mean", "max", "min", "median", "mean_last_10pct"]
_Normalize = Literal["none", "bounds", "minmax", "zscore", "robust"]
Statistic = StrEnum("Statistic", ("iqm", "mean", "median", "optimality_gap"))
_Test = Literal["wilcoxon", "mannwhitney", "ttest", "welch", "permutation"]
_Correction = Literal["holm", "bonferroni", "bh", "none"]
_Effect = Literal["cohen_d", "cliffs_delta"]
_Alternative = Literal["two-sided", "less", "greater"]


@dataclass(frozen=True)
class Question:
    """What is asked of which runs; what is None stays as the analysis has it."""

    analysis: Annotated[
        str | None,
        typer.Argument(help="An analysis of run_assets.yaml to start from."),
    ] = None
    metric: Annotated[str | None, typer.Option("--metric", "-m", help="The score.")] = (
        None
    )
    aggregate: Annotated[
        _Aggregate | None, typer.Option(help="Which summary of the metric.")
    ] = None
    by: Annotated[
        str | None,
        typer.Option(help="What is compared: config.KEY, run_group, tag:PREFIX."),
    ] = None
    task: Annotated[str | None, typer.Option(help="The stratum, in the same way.")] = (
        None
    )
    replicate: Annotated[
        str | None, typer.Option(help="The unit of replication, in the same way.")
    ] = None
    state: Annotated[
        list[str] | None, typer.Option(help="Only runs in this state; repeatable.")
    ] = None
    normalize: Annotated[
        _Normalize | None, typer.Option(help="How tasks are put on one scale.")
    ] = None
    method: Annotated[str | None, typer.Option(help="Interval method.")] = None
    confidence: Annotated[
        float | None, typer.Option(help="Of the intervals, such as 0.95.")
    ] = None
    resamples: Annotated[int | None, typer.Option(help="Of the bootstrap.")] = None
    seed: Annotated[int | None, typer.Option(help="Of the bootstrap.")] = None

    @property
    def settings(self) -> dict[str, Any]:
        """What was given, by the dotted keys of an analysis."""
        keys = {
            "score.metric": self.metric,
            "score.aggregate": self.aggregate,
            "group": self.by,
            "task": self.task,
            "replicate": self.replicate,
            "runs.state": self.state or None,
            "normalize.method": self.normalize,
            "interval.method": self.method,
            "interval.confidence": self.confidence,
            "interval.resamples": self.resamples,
            "interval.seed": self.seed,
        }
        return {key: value for key, value in keys.items() if value is not None}


_asking = asking(Question)


@app.command("iqm", epilog=EVERYWHERE)
@_asking
def iqm(
    given: Session,
    question: Question,
    *,
    statistic: Annotated[
        list[Statistic] | None, typer.Option(help="Instead of iqm; repeatable.")
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Estimate each group's score, with intervals."""
    from run_assets.stats import answers

    changes = {"statistics": [str(one) for one in statistic or ("iqm",)]}
    analysis, scores = _scores(given, question, changes)
    write(answers.interval_estimates(analysis, scores), output_format)


@app.command("profiles", epilog=EVERYWHERE)
@_asking
def profiles(
    given: Session,
    question: Question,
    *,
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="Only at this score; repeatable. Without: 101 of them."),
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Show the share of runs above each score, with bands."""
    from run_assets.stats import answers

    analysis, scores = _scores(given, question)
    found = answers.performance_profiles(analysis, scores, threshold or None)
    write(found, output_format)


@app.command("compare", epilog=EVERYWHERE)
@_asking
def compare(  # noqa: PLR0913  # one parameter an option
    given: Session,
    question: Question,
    *,
    test: Annotated[_Test | None, typer.Option(help="Hypothesis test.")] = None,
    correction: Annotated[
        _Correction | None, typer.Option(help="For the number of pairs.")
    ] = None,
    paired_by: Annotated[
        Literal["task"] | None, typer.Option(help="What pairs scores.")
    ] = None,
    effect: Annotated[_Effect | None, typer.Option(help="Effect size.")] = None,
    alternative: Annotated[
        _Alternative | None, typer.Option(help="What is tested for.")
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Test every pair of groups, with corrected p-values and effect sizes."""
    from run_assets.stats import answers

    options = {
        "test": test,
        "correction": correction,
        "paired_by": paired_by,
        "effect": effect,
        "alternative": alternative,
    }
    changes = {f"comparison.{name}": one for name, one in options.items() if one}
    analysis, scores = _scores(given, question, changes)
    write(answers.comparisons(analysis, scores), output_format)


@app.command("improvement", epilog=EVERYWHERE)
@_asking
def improvement(
    given: Session, question: Question, *, output_format: FormatOption = "table"
) -> None:
    """Estimate how often a run of one group beats a run of another."""
    from run_assets.stats import answers

    analysis, scores = _scores(given, question)
    write(answers.probability_of_improvement(analysis, scores), output_format)


@app.command("efficiency", epilog=EVERYWHERE)
@_asking
def efficiency(
    given: Session,
    question: Question,
    *,
    target: Annotated[
        float | None, typer.Option(help="After how many steps is this reached?")
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Show each group's score over training, the area below it, the first step."""
    from run_assets.cli.selection import collected
    from run_assets.errors import UsageError
    from run_assets.stats import answers

    changes = {} if target is None else {"target_score": target}
    analysis, scores = _scores(given, question, changes)
    curves = collected(given.lab().table("derived.metric_curves"))
    found = answers.sample_efficiency(analysis, scores, curves)
    if found.is_empty() and not scores.is_empty():
        msg = (
            f"no curve of {analysis.score.metric!r}: a derived metric has none, and "
            "`curves` in run_assets.yaml says which logged ones have"
        )
        raise UsageError(msg)
    write(found, output_format)


@app.command("gaps", epilog=EVERYWHERE)
@_asking
def gaps(
    given: Session,
    question: Question,
    *,
    optimal: Annotated[
        list[str] | None,
        typer.Option(help="TASK=SCORE; repeatable; `*=SCORE` for all other tasks."),
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Measure how far each group stays below the best possible score."""
    from run_assets.errors import UsageError
    from run_assets.stats import answers

    changes = {"optimal_scores": dict(map(_optimum, optimal))} if optimal else {}
    analysis, scores = _scores(given, question, changes)
    if not analysis.optimal_scores:
        msg = "gaps need optimal scores: --optimal TASK=SCORE, or in run_assets.yaml"
        raise UsageError(msg)
    write(answers.optimality_gaps(analysis, scores), output_format)


@app.command("pass-at-k", epilog=EVERYWHERE)
@_asking
def pass_at_k(  # one parameter an option
    given: Session,
    question: Question,
    *,
    k: Annotated[
        list[int] | None, typer.Option("--k", help="Trials; repeatable (1).")
    ] = None,
    success_at: Annotated[
        float | None,
        typer.Option(help="A run with at least this score succeeded."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every", help="All of k succeed, instead of any of k.")
    ] = False,
    output_format: FormatOption = "table",
) -> None:
    """Estimate the chance that one of k runs of a task succeeds."""
    import polars as pl

    from run_assets import stats
    from run_assets.errors import UsageError

    analysis, scores = _scores(given, question)
    score = pl.col("raw_score")
    if (
        success_at is None
        and not scores["raw_score"].drop_nulls().is_in([0.0, 1.0]).all()
    ):
        message = (
            f"{analysis.score.metric!r} of analysis {analysis.name!r} is no yes or no; "
            "say with --success-at SCORE from which score on a run succeeded"
        )
        raise UsageError(message)
    success = score if success_at is None else score >= success_at
    trials = scores.select(
        "group_name", pl.col("task").fill_null("(no task)"), success.alias("success")
    )
    rate = stats.pass_hat_k if every else stats.pass_at_k
    found = rate(
        trials,
        task="task",
        success="success",
        k=tuple(k or (1,)),
        group="group_name",
        confidence=analysis.interval.confidence,
    )
    write(found, output_format)


def _scores(
    given: Session, question: Question, changes: dict[str, Any] | None = None
) -> "tuple[Analysis, pl.DataFrame]":
    """The analysis that is asked for and its scores."""
    from run_assets.cli.selection import check_project, collected
    from run_assets.stats import answers

    lab = given.lab()
    settings = {**question.settings, **(changes or {})}
    frames = {name.partition(".")[2]: collected(lab.table(name)) for name in _TABLES}
    if given.project is not None:
        known = frames["runs"].select("entity", "project").unique().rows()
        check_project(given.project, known)
        settings["project"] = given.project
    analysis = asked_analysis(lab, question.analysis, settings)
    scores = answers.scores(analysis, **frames)
    if scores.is_empty():
        given.note(
            "no run has a group and is admitted; `run-assets refresh` reads runs"
        )
    return analysis, scores


def asked_analysis(
    lab: "Lab", name: str | None, settings: dict[str, Any]
) -> "Analysis":
    """An analysis of the configuration, or a new one, with some settings replaced.

    Args:
        lab: Whose configuration.
        name: An analysis; where None, the only one there is, unless metric and group
            are given.
        settings: By dotted key.

    Raises:
        UsageError: No such analysis, none to start from, or a setting has no meaning.
    """
    from pydantic import ValidationError

    from run_assets.config import Analysis
    from run_assets.errors import UsageError

    base = _base(lab, name, settings)
    for key, value in settings.items():
        *outer, last = key.split(".")
        place = base
        for one in outer:
            place = place.setdefault(one, {})
        place[last] = value
    try:
        return Analysis.model_validate(base)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, one['loc'])) or 'analysis'}: {one['msg']}"
            for one in error.errors()
        ]
        raise UsageError("; ".join(lines)) from None


def _base(lab: "Lab", name: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    from run_assets.errors import UsageError, did_you_mean

    known = {one.name: one for one in lab.config.analyses}
    if name is None and {"score.metric", "group"} <= set(settings):
        return {"name": AD_HOC}
    if name is None and len(known) == 1:
        name = next(iter(known))
    if name is None:
        msg = (
            "say which runs are compared: --metric and --by, or an analysis of "
            f"run_assets.yaml{did_you_mean('', known)}"
        )
        raise UsageError(msg)
    if name not in known:
        msg = f"no analysis {name!r} in run_assets.yaml{did_you_mean(name, known)}"
        raise UsageError(msg)
    return known[name].model_dump(mode="json")


def _optimum(text: str) -> tuple[str, float]:
    from run_assets.errors import UsageError

    task, _, score = text.rpartition("=")
    try:
        return task, float(score)
    except ValueError:
        msg = f"--optimal takes TASK=SCORE, such as maze=100, got {text!r}"
        raise UsageError(msg) from None
