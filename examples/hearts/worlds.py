"""Train many agents in many drawn worlds.

``python -m examples.hearts.worlds --out DIR``. The sweep of ``train`` compares
algorithms; these runs are for learning how configurations and training curves go
together. Runs that are there are not trained again.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from run_assets.errors import RunAssetsError

from .environments import draw_learner, plan_drawn_run
from .sweep import RunPlan
from .train import TrainingSummary, train_plans


def plan_worlds(environments: int, agents: int) -> list[RunPlan]:
    """Each world with agents of its own; the same numbers give the same runs."""
    return [
        plan_drawn_run(
            environment,
            draw_learner(np.random.default_rng([environment, number, 1])),
            number,
        )
        for environment in range(environments)
        for number in range(agents)
    ]


def train_worlds(
    out: Path, *, environments: int, agents: int, workers: int = 2
) -> TrainingSummary:
    """Train the runs that are missing, logged with wandb as ``train`` does.

    Args:
        out: Gets the folder ``wandb``.
        environments: Drawn worlds.
        agents: Runs in each.
        workers: Processes at the same time.
    """
    return train_plans(plan_worlds(environments, agents), out, workers=workers)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hearts.worlds", description="Train agents.")
    parser.add_argument("--out", type=Path, required=True, help="gets the folder wandb")
    parser.add_argument("--environments", type=int, default=12)
    parser.add_argument("--agents", type=int, default=8, help="in each (default 8)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args(arguments)
    try:
        summary = train_worlds(
            options.out,
            environments=options.environments,
            agents=options.agents,
            workers=options.workers,
        )
    except RunAssetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(summary, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
