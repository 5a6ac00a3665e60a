"""The files that make a folder a lab."""

import json
from pathlib import Path

from run_assets.config import FILE_NAME
from run_assets.errors import SourceError, UsageError

CONFIG = """\
# What this lab reads and compares. `run-assets config show --origin` explains it.
data_dir: data
sources:
  # a wandb/ folder, or any folder above several of them
  - {{kind: wandb_files, path: {wandb}, entity: local}}
  # projects on a W&B server; the key comes from WANDB_API_KEY, .env or `wandb login`
  # - {{kind: wandb_api, projects: [my-team/my-project]}}

# "@name" wherever a metric is named; wildcards are allowed
metric_groups: {{}}

# safe expressions over metrics, run columns, config.<key> and constants
derived_metrics: {{}}
#  efficiency: "`overview/reward` / steps"

# which groups are compared, on which tasks, by which score
analyses: []
#  - name: algorithms
#    score: {{metric: eval/success_rate, aggregate: last}}
#    group: config.algorithm
#    task: config.env

publish: {{wandb: {{mode: offline, project: metta-analysis}}}}
schedule: {{cron: "0 2 * * *", timezone: UTC}}
"""

DAGSTER = """\
# Runs, events and schedules of this lab. DAGSTER_HOME is the folder of this file.
storage:
  sqlite:
    base_dir: data/dagster
local_artifact_storage:
  module: dagster.core.storage.root
  class: LocalArtifactStorage
  config:
    base_dir: data/dagster
compute_logs:
  module: dagster.core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config:
    base_dir: data/dagster/storage
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
"""

WORKSPACE = """\
load_from:
  - python_module:
      module_name: run_assets.definitions
      location_name: run_assets
"""


def create_lab(folder: Path, *, wandb: str) -> list[Path]:
    """Write the files of a lab that are not there yet.

    Args:
        folder: Made if need be.
        wandb: The folder with runs, absolute or from the lab's folder.

    Returns:
        The files that were written.

    Raises:
        UsageError: The folder is a lab already, or no folder; nothing was changed.
        SourceError: The disk refused.
    """
    config = folder / FILE_NAME
    if config.exists():
        msg = f"{config} exists; nothing was changed. Edit it, or choose another folder"
        raise UsageError(msg)
    if folder.exists() and not folder.is_dir():
        msg = f"a lab needs a folder, got the file {folder}; choose another name"
        raise UsageError(msg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(CONFIG.format(wandb=_yaml(wandb)), encoding="utf-8")
        return [config, *ensure_dagster_files(folder)]
    except OSError as error:
        msg = f"{folder} cannot be made a lab: {error}"
        raise SourceError(msg) from error


def ensure_dagster_files(folder: Path) -> list[Path]:
    """Write ``dagster.yaml`` and ``workspace.yaml`` where they are missing."""
    texts = {"dagster.yaml": DAGSTER, "workspace.yaml": WORKSPACE}
    missing = {folder / n: t for n, t in texts.items() if not (folder / n).exists()}
    for file, text in missing.items():
        file.write_text(text, encoding="utf-8")
    (folder / "data" / "dagster").mkdir(parents=True, exist_ok=True)
    return list(missing)


def _yaml(text: str) -> str:
    """Double-quoted, as JSON: any path is one scalar, commas and braces, too."""
    return json.dumps(text, ensure_ascii=False)
