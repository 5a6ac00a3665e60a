"""What leaves the lake: the DuckDB file, the W&B run and the stamp of the refresh."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from run_assets import __version__
from run_assets.assets.results import OWNERS, keys
from run_assets.contracts.tables import TABLES
from run_assets.lab import Lab
from run_assets.publish.wandb import Publication
from run_assets.refresh import write_stamp
from run_assets.resources import LabResource
from run_assets.store.models import models
from run_assets.store.warehouse import build_warehouse

REPORT = dg.AssetKey(["reports", "report"])
TABLE_KEYS = {
    "stats.interval_estimates": "iqm_comparison",
    "stats.performance_profiles": "performance_profiles",
    "stats.comparisons": "comparisons",
    "stats.probability_of_improvement": "probability_of_improvement",
    "stats.sample_efficiency": "sample_efficiency",
    "stats.rank_stability": "rank_stability",
    "stats.optimality_gaps": "optimality_gaps",
}
STATS = tuple(TABLE_KEYS)
_INPUTS = [name for name, one in TABLES.items() if one.layout != "none"]


@dg.asset(
    key=["published", "warehouse"],
    group_name="published",
    kinds={"duckdb"},
    owners=OWNERS,
    deps=keys(_INPUTS),
)
def warehouse(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The DuckDB file to query: a product that is replaced whole, never edited."""
    target = lab.lab.warehouse
    is_new = build_warehouse(lab.lab.lake, target, code_version=__version__)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(target)),
            "size_bytes": target.stat().st_size,
            "is_rebuilt": is_new,
            "views": len([one for one in models() if one.startswith("staging.")]),
        }
    )


@dg.asset(
    key=["published", "wandb"],
    group_name="published",
    kinds={"wandb"},
    owners=OWNERS,
    deps=[*keys([*STATS, "stats.scores", "marts.runs"]), REPORT],
)
def wandb(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One W&B run per change: comparison tables, plots and a dataset artifact."""
    from run_assets.publish.wandb import publish_if_changed

    found, target = lab.lab, lab.lab.config.publish.wandb
    published = publish_if_changed(
        publication(found),
        mode=target.mode,
        project=target.project,
        entity=target.entity,
        folder=found.config.data_path / "published" / "wandb",
        name="run_assets",
    )
    metadata: dict[str, Any] = {"mode": target.mode, "is_new": published is not None}
    if published is not None:
        metadata["run_path"] = published.run_path
        metadata["folder"] = dg.MetadataValue.path(str(published.folder))
    return dg.MaterializeResult(metadata=metadata)


def publication(lab: Lab) -> Publication:
    """What the W&B run shows: statistics, their plots and the tables behind them."""
    from run_assets.reports.drawing import png

    frames = {name: lab.lake.read(name) for name in (*STATS, "marts.runs")}
    figures = sorted((lab.reports / "latest" / "figures").glob("*.svg"))
    runs = frames["marts.runs"]
    return Publication(
        tables={TABLE_KEYS[name]: frames[name] for name in STATS},
        images={file.stem: png(file.read_text(encoding="utf-8")) for file in figures},
        files={
            f"{name}.parquet": lab.lake.path(part)
            for name in (*STATS, "stats.scores", "marts.runs")
            for part in lab.lake.parts(name)
        },
        summary={"runs": runs.height, "analyses": len(lab.config.analyses)},
        config={"run_assets_version": __version__},
    )


@dg.asset(
    key=["published", "last_refresh"],
    group_name="published",
    kinds={"json"},
    owners=OWNERS,
    deps=[*keys(["published.warehouse", "published.wandb"]), REPORT],
)
def last_refresh(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The stamp ``last_refresh.json``: everything is built from what is there now."""
    now = datetime.now(UTC)
    write_stamp(lab.lab, now, is_whole=lab.lab.asks_all)
    return dg.MaterializeResult(metadata={"refreshed_at": now.isoformat()})
