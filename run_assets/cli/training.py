"""Training the model of training curves from the command line, and its demo."""

from pathlib import Path
from typing import TYPE_CHECKING

from run_assets.errors import NotFoundError

if TYPE_CHECKING:
    from run_assets.cli.session import Session
    from run_assets.lab import Lab

_CONFIG = """\
# The demo of training curves: drawn grid worlds, drawn agents (examples/hearts).
data_dir: data
sources:
  - {kind: wandb_files, path: data/worlds/wandb, entity: local}
curves:
  metric: overview/reward
  environment: env
  environment_features:
    - {name: max_steps, key: trainer.env_overrides.game.max_steps}
    - {name: num_agents, key: trainer.env_overrides.game.num_agents}
    - {name: slip_rate, key: trainer.env_overrides.game.slip_rate}
    - {name: map_width, key: trainer.env_overrides.game.map_builder.width}
    - {name: map_height, key: trainer.env_overrides.game.map_builder.height}
    - {name: num_rooms, key: trainer.env_overrides.game.map_builder.num_rooms}
    - {name: num_altars, key: trainer.env_overrides.game.map_builder.objects.altar}
    - {name: num_mines, key: trainer.env_overrides.game.map_builder.objects.mine_red}
    - name: num_generators
      key: trainer.env_overrides.game.map_builder.objects.generator_red
    - {name: num_walls, key: trainer.env_overrides.game.map_builder.objects.wall}
  agent_features:
    - {name: algorithm, key: trainer.algorithm, kind: category}
    - {name: learning_rate, key: trainer.optimizer.learning_rate}
    - {name: gamma, key: trainer.gamma}
    - {name: epsilon_start, key: trainer.exploration.epsilon_start}
    - {name: epsilon_end, key: trainer.exploration.epsilon_end}
    - {name: exploration_fraction, key: trainer.exploration.fraction}
publish: {wandb: {mode: offline, project: metta-analysis}}
"""


def train_model(lab: "Lab") -> None:
    """Run the training job in this process, and publish the model.

    Raises:
        NotFoundError: Nothing was refreshed yet.
        TryAgainError: A refresh or another training is writing.
    """
    from run_assets.assets.curves import settings_of
    from run_assets.jobs import TRAIN, run_in_process
    from run_assets.refresh import Selection
    from run_assets.store.lock import lake_lock

    settings_of(lab)
    if not lab.lake.parts("curves.features"):
        msg = (
            "there are no curves to learn from yet; `run-assets refresh` collects them"
        )
        raise NotFoundError(msg)
    with lake_lock(lab.config.data_path):
        run_in_process(lab, Selection(), TRAIN)


def note_members(given: "Session", lab: "Lab") -> None:
    """Say which members are left out here, and why."""
    from run_assets.assets.curves import settings_of
    from run_assets.curves.model import available_members

    _, left_out = available_members(settings_of(lab).model.members)
    for name, reason in left_out.items():
        given.note(f"without the member {name}: {reason}")


def run_curve_demo(
    given: "Session", folder: Path, environments: int, agents: int
) -> "Lab":
    """Train agents in drawn worlds, refresh, train the model; what exists is kept."""
    from run_assets.config import FILE_NAME
    from run_assets.demo import example_module
    from run_assets.lab import open as open_lab
    from run_assets.scaffold import ensure_dagster_files

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / FILE_NAME).exists():
        (folder / FILE_NAME).write_text(_CONFIG, encoding="utf-8")
    ensure_dagster_files(folder)
    worlds = example_module("worlds")
    runs = environments * agents
    given.note(f"collect: training {runs} runs in {environments} drawn worlds ...")
    worlds.train_worlds(
        folder / "data" / "worlds", environments=environments, agents=agents
    )
    lab = open_lab(folder)
    given.note("collect: refreshing ...")
    given.refresh(lab)
    note_members(given, lab)
    given.note("train: fitting members, weights and intervals ...")
    with given.progress(lab, "training"):
        train_model(lab)
    given.note("predict: `run-assets curves predict`, `suggest`, `difficulty` ...")
    return lab
