"""The report: what people read."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from run_assets import __version__
from run_assets.assets.results import OWNERS, keys, plots
from run_assets.config import Analysis
from run_assets.derived.metric_groups import DEFAULT_METRIC_GROUPS, match
from run_assets.digests import code_digest_of, digest_of
from run_assets.lab import Lab
from run_assets.reports.content import (
    ANALYSIS_TABLES,
    CURVE_COLUMNS,
    AnalysisContent,
    Direction,
    Provenance,
    ReportContent,
    changes_since,
)
from run_assets.reports.curve_content import CURVE_TABLES, CurveContent
from run_assets.reports.diagnosis_content import (
    POINT_COLUMNS,
    Diagnosis,
    drawn_findings,
    thinned,
)
from run_assets.reports.evaluation_content import (
    EVALUATION_TABLES,
    EvaluationContent,
    evaluation_of,
    shown_sweeps,
)
from run_assets.resources import LabResource

INPUTS = (
    "marts.runs",
    "raw.sync_state",
    "raw.metric_definitions",
    *ANALYSIS_TABLES,
    "derived.curve_grids",
    "derived.metric_curves",
    *EVALUATION_TABLES,
    "diagnostics.findings",
    "diagnostics.run_health",
    *CURVE_TABLES,
)


@dg.asset(
    key=["reports", "report"],
    group_name="reports",
    kinds={"html", "markdown", "json"},
    owners=OWNERS,
    deps=keys(INPUTS),
)
def report(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One self-contained page: verdicts, intervals, curves, coverage, provenance."""
    from run_assets.reports.render import write_report

    found = lab.lab
    now = datetime.now(UTC)
    latest = found.reports / "latest"
    digest = report_digest(found)
    is_new = _stored_digest(latest) != digest
    if is_new:
        content = report_content(found, digest, now, previous=latest)
        written = write_report(found.reports / now.date().isoformat(), content)
        _drop_old_figures(written)
        _point(latest, now.date().isoformat())
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(latest / "report.html")),
            "is_rewritten": is_new,
            "input_digest": digest,
            "summary": dg.MetadataValue.md((latest / "report.md").read_text("utf-8")),
            **plots(
                file.read_text(encoding="utf-8")
                for kind in ("interval_plot", "model_comparison")
                for file in sorted((latest / "figures").glob(f"*-{kind}.svg"))
            ),
        }
    )


def _stored_digest(folder: Path) -> str | None:
    """What the last report was made from; ``None`` where there is none, or no whole."""
    if not all((folder / f"report.{kind}").is_file() for kind in ("html", "md")):
        return None
    try:
        stored = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return str(stored["provenance"]["input_digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _drop_old_figures(written: list[Path]) -> None:
    """Plots of an analysis that was renamed or removed since this morning."""
    for folder in {file.parent for file in written if file.suffix == ".svg"}:
        for file in set(folder.glob("*.svg")) - set(written):
            file.unlink()


def _point(link: Path, target: str) -> None:
    """Make ``latest`` the newest report, at no time pointing nowhere."""
    temporary = link.with_name(".latest")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def report_digest(lab: Lab) -> str:
    """Digest of every table and setting that the report shows."""
    lake = lab.lake
    headers = [lake.header(part) for name in INPUTS for part in lake.parts(name)]
    return digest_of(
        code_digest_of("run_assets.reports", "run_assets.diagnostics", __name__),
        [one.digest for one in headers if one],
        [one.model_dump(mode="json") for one in lab.config.analyses],
        lab.config.metric_groups,
        lab.config.curves and lab.config.curves.model_dump(mode="json"),
    )


def report_content(
    lab: Lab, digest: str, now: datetime, *, previous: Path
) -> ReportContent:
    """Everything the report is made from, out of the lake."""
    runs = lab.lake.read("marts.runs")
    state = lab.lake.read("raw.sync_state")
    analyses = tuple(_analysis(lab, analysis) for analysis in lab.config.analyses)
    before = previous / "report.json"
    text = before.read_text(encoding="utf-8") if before.is_file() else None
    data_as_of = runs["heartbeat_at"].max()
    return ReportContent(
        analyses=analyses,
        runs=runs,
        sync_state=state,
        changes=changes_since(text, runs, analyses),
        provenance=Provenance(
            code_version=__version__,
            config_digest=digest_of(lab.config.model_dump(mode="json")),
            input_digest=digest,
            data_as_of=data_as_of if isinstance(data_as_of, datetime) else None,
            warehouse=str(lab.warehouse),
        ),
        generated_at=now,
        evaluations=_evaluations(lab),
        diagnosis=_diagnosis(lab),
        curves=_predicted_curves(lab),
    )


def _evaluations(lab: Lab) -> tuple[EvaluationContent, ...]:
    sweeps = shown_sweeps(lab.lake.read("core.trials"))
    return tuple(evaluation_of(one, lab.lake.read) for one in sweeps)


def _diagnosis(lab: Lab) -> Diagnosis:
    """The findings, and the series of those that are drawn."""
    findings = lab.lake.read("diagnostics.findings")
    wanted = drawn_findings(findings).select("run_path", "metric").unique()
    points = (
        lab.lake.scan("core.metric_points")
        .select(list(POINT_COLUMNS))
        .join(wanted.lazy(), on=["run_path", "metric"], how="semi")
        .collect()
    )
    health = lab.lake.read("diagnostics.run_health")
    return Diagnosis(findings, health, thinned(points))


def _predicted_curves(lab: Lab) -> CurveContent | None:
    """The section on training curves; none where none are configured."""
    from run_assets.curves import checkpoint

    if lab.config.curves is None:
        return None
    about = checkpoint.about(lab.curve_model) or {}
    tables = {name: lab.lake.read(name) for name in CURVE_TABLES}
    left_out, clipped = about.get("left_out", {}), about.get("clipped_runs", [])
    return CurveContent(lab.config.curves, left_out, tables, clipped)


def _analysis(lab: Lab, analysis: Analysis) -> AnalysisContent:
    tables: dict[str, Any] = {
        name.partition(".")[2]: lab.lake.read(name).filter(analysis=analysis.name)
        for name in ANALYSIS_TABLES
    }
    return AnalysisContent(
        config=analysis,
        **tables,
        curves=_curves(lab, analysis, tables["scores"]),
        direction=_direction(lab, analysis.score.metric, tables["scores"]),
    )


def _direction(lab: Lab, metric: str, scores: pl.DataFrame) -> Direction:
    """The good direction that most runs declare for the score; larger by default."""
    goals = (
        lab.lake.scan("raw.metric_definitions")
        .filter(pl.col("pattern") == metric, pl.col("goal").is_not_null())
        .join(scores.lazy(), "run_path", how="semi")
        .collect()["goal"]
    )
    n_minimize = (goals == "minimize").sum()
    return "minimize" if n_minimize > goals.len() - n_minimize else "maximize"


def _curves(lab: Lab, analysis: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    """Curves of the analysis' metrics, for the runs that have a score."""
    grids = lab.lake.read("derived.curve_grids").select("metric", "x_metric")
    groups = {**DEFAULT_METRIC_GROUPS, **lab.config.metric_groups}
    asked = analysis.curves or (analysis.score.metric,)
    # a score may be a derived metric or have no finite value: then there is no curve
    names = match(asked, groups=groups, available=grids["metric"].unique()).metrics
    curves = lab.lake.scan("derived.metric_curves")
    chosen = curves.filter(pl.col("metric").is_in(names))
    labels = scores.select("run_path", "group_name", "task").lazy()
    axes = grids.unique("metric", keep="first", maintain_order=True).lazy()
    return (
        chosen.join(labels, "run_path")
        .join(axes, "metric")
        .select(list(CURVE_COLUMNS))
        .sort("metric", "group_name", "task", "run_path", "grid_x")
        .collect()
    )
