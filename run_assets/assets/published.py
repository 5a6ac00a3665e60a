"""What leaves the lake: the DuckDB file, the W&B run and the stamp of the refresh."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from run_assets import __version__
from run_assets.assets.results import OWNERS, keys
from run_assets.contracts.tables import TABLES
from run_assets.publish.results import FILES, publish_results
from run_assets.refresh import write_stamp
from run_assets.resources import LabResource
from run_assets.store.models import models
from run_assets.store.warehouse import build_warehouse

REPORT = dg.AssetKey(["reports", "report"])
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
    deps=[*keys([*FILES, "raw.artifacts", "curves.evaluation"]), REPORT],
)
def wandb(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One W&B run per change: comparison tables, plots and a dataset artifact."""
    published = publish_results(lab.lab, datetime.now(UTC).date())
    metadata: dict[str, Any] = {"mode": lab.lab.config.publish.wandb.mode}
    metadata["is_new"] = published is not None and published.is_new
    if published is not None:
        metadata["run_path"] = published.run_path
        metadata["folder"] = dg.MetadataValue.path(str(published.folder))
        metadata["inputs"] = published.inputs
        if published.url:
            metadata["url"] = dg.MetadataValue.url(published.url)
    return dg.MaterializeResult(metadata=metadata)


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
