"""The results of a lab as one W&B run: what the asset and the command publish."""

import json
from datetime import date
from typing import Any

import polars as pl

from run_assets import __version__
from run_assets.digests import digest_of
from run_assets.errors import NotFoundError
from run_assets.lab import Lab
from run_assets.publish.content import InputArtifact, Publication
from run_assets.publish.wandb import PublishedRun, Target, publish_if_changed

TABLE_KEYS = {
    "stats.interval_estimates": "iqm_comparison",
    "stats.performance_profiles": "performance_profiles",
    "stats.comparisons": "comparisons",
    "stats.probability_of_improvement": "probability_of_improvement",
    "stats.sample_efficiency": "sample_efficiency",
    "stats.rank_stability": "rank_stability",
    "stats.optimality_gaps": "optimality_gaps",
}
FILES = (*TABLE_KEYS, "stats.scores", "marts.runs")

MODEL_FILES = ("model.safetensors", "model.json")
"""Of the model of training curves."""
_MEASURES = ("r_squared", "crps", "coverage_rate")

MOST_INPUTS = 100
"""Artifacts that a published run uses at most: each costs two requests or three."""

# What W&B logs by itself and no analysis reads.
_BOOKKEEPING = ("code", "job", "run_table")
# Settings that change where, when and how something is done, but no result.
_NO_RESULT = {"data_dir", "lock_timeout", "publish", "schedule", "sources"}


def publish_results(lab: Lab, refreshed_on: date) -> PublishedRun | None:
    """Publish what is built now, unless the same was published last.

    Args:
        lab: The lab; its configuration says where results go.
        refreshed_on: UTC day of the refresh, an alias of the artifact.

    Returns:
        ``None`` where publishing is disabled.

    Raises:
        NotFoundError: Nothing has been built yet.
        SourceError: As `publish_if_changed`.
    """
    target = lab.config.publish.wandb
    if target.mode == "disabled":
        return None
    return publish_if_changed(
        publication(lab),
        Target(
            mode=target.mode,
            project=target.project,
            entity=target.entity,
            folder=lab.config.data_path / "published" / "wandb",
            name="run_assets",
            alias=refreshed_on.isoformat(),
        ),
    )


def publication(lab: Lab) -> Publication:
    """What the W&B run shows: statistics, their plots and the tables behind them.

    Raises:
        NotFoundError: A table has not been built yet.
    """
    from run_assets.reports.drawing import png

    for name in FILES:
        if not lab.lake.parts(name):
            msg = f"{name} is not built yet; `run-assets refresh` builds it"
            raise NotFoundError(msg)
    frames = {name: lab.lake.read(name) for name in (*TABLE_KEYS, "marts.runs")}
    figures = sorted((lab.reports / "latest" / "figures").glob("*.svg"))
    curves = curve_publication(lab)
    return Publication(
        tables={
            **{key: frames[name] for name, key in TABLE_KEYS.items()},
            **curves.tables,
        },
        images={file.stem: png(file.read_text(encoding="utf-8")) for file in figures},
        files={
            **{
                f"{name}.parquet": lab.lake.path(part)
                for name in FILES
                for part in lab.lake.parts(name)
            },
            **curves.files,
        },
        summary={
            "runs": frames["marts.runs"].height,
            "analyses": len(lab.config.analyses),
            **curves.summary,
        },
        config={
            "run_assets_version": __version__,
            "config_digest": _digest(lab),
            **curves.config,
        },
        inputs=input_artifacts(lab),
    )


def curve_publication(lab: Lab) -> Publication:
    """The model of training curves, its data's digest and its scores; or nothing."""
    state = lab.curve_model / MODEL_FILES[1]
    if lab.config.curves is None or not state.is_file():
        return Publication()
    told = json.loads(state.read_text(encoding="utf-8"))
    scores = lab.lake.read("curves.evaluation")
    whole = scores.filter(model="stack", environment="*", observed_fraction=0.0)
    return Publication(
        tables={"curve_evaluation": scores},
        files={f"curves.{name}": lab.curve_model / name for name in MODEL_FILES},
        summary={
            f"curves/{situation}/{measure}": value
            for situation, *values in whole.select("situation", *_MEASURES).iter_rows()
            for measure, value in zip(_MEASURES, values, strict=True)
        },
        config={
            "curve_model_sha256": told["sha256"],
            "curve_data_digest": told["about"]["input_digest"],
        },
    )


def input_artifacts(lab: Lab) -> tuple[InputArtifact, ...]:
    """What the runs behind the scores logged as artifacts, the youngest first."""
    scored = lab.lake.scan("stats.scores").select("run_path").unique()
    urls = lab.lake.scan("marts.runs").select("run_path", "url")
    rows = (
        lab.lake.scan("raw.artifacts")
        .filter(
            pl.col("direction") == "logged",
            pl.col("artifact_type").is_in(_BOOKKEEPING).not_(),
            pl.col("version").is_not_null() | pl.col("digest").is_not_null(),
        )
        .join(scored, on="run_path", how="semi")
        .join(urls, on="run_path", how="left")
        .sort(
            "created_at",
            *("run_path", "artifact_type", "artifact_name", "sequence"),
            descending=[True, *[False] * 4],
            nulls_last=True,
        )
        .head(MOST_INPUTS)
        .collect()
    )
    return tuple(_input(row) for row in rows.iter_rows(named=True))


def _input(row: dict[str, Any]) -> InputArtifact:
    return InputArtifact(
        run_path=row["run_path"],
        type=row["artifact_type"],
        name=row["artifact_name"],
        version=row["version"],
        digest=row["digest"],
        url=row["url"],
    )


def _digest(lab: Lab) -> str:
    """Of the settings that the results depend on."""
    return digest_of(lab.config.model_dump(mode="json", exclude=_NO_RESULT))
