"""Which trials a sweep consists of, who they are, and in which order they run."""

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import product

from run_assets.sweeps.config import OF_A_TRIAL, SweepConfig, stored_values

SCHEMA_VERSION = 1
"""Of the ledger, and of what a trial's identity is made from."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One repetition of a task by a model.

    Attributes:
        trial_id: Digest of everything that makes it another trial.
        model: Who tries.
        task: What is tried.
        trial: Number within model and task, from 0; an identity, never a count.
        seed: For its random numbers; models share it, so that they can be paired.
        position: Place in the order of the sweep, from 0.
    """

    trial_id: str
    model: str
    task: str
    trial: int
    seed: int
    position: int


def new_sweep_id(name: str, now: datetime) -> str:
    """``<name>_<YYYYmmdd>_<HHMMSS>_<8 hex digits>``, in UTC."""
    return f"{name}_{now:%Y%m%d_%H%M%S}_{secrets.token_hex(4)}"


def planned(config: SweepConfig, sweep_id: str) -> list[Trial]:
    """Every trial of the sweep, in the order in which they are to start.

    Within a model and task trials run by number, whatever the order of the rest: what
    an early stop leaves out is then always the end.
    """
    identity = identity_digest(config)
    return [
        Trial(
            trial_id=_digest(sweep_id, model, task, trial, identity, SCHEMA_VERSION),
            model=model,
            task=task,
            trial=trial,
            seed=trial_seed(config.seed, task, trial),
            position=position,
        )
        for position, (model, task, trial) in enumerate(_ordered(config))
    ]


def identity_digest(config: SweepConfig) -> str:
    """Digest of the settings that change what a trial does.

    How it is run is left out: another number of retries or servers is no other trial.
    """
    values = stored_values(config)
    return _digest({key: values[key] for key in OF_A_TRIAL})


def trial_seed(seed: int, task: str, trial: int) -> int:
    """A number below 2^32 that differs by task and trial, but not by model."""
    return int(_digest(seed, task, trial)[:8], 16)


def _ordered(config: SweepConfig) -> Iterator[tuple[str, str, int]]:
    trials = range(config.num_trials_per_config)
    if config.task_inner_loop_mode:
        cells = list(product(config.models, config.tasks))
        yield from ((model, task, n) for n in trials for model, task in cells)
    elif config.shuffle_execution_order:
        yield from _shuffled(product(config.models, config.tasks, trials), config.seed)
    else:
        by_task = product(config.tasks, config.models, trials)
        yield from ((model, task, n) for task, model, n in by_task)


def _shuffled(
    trials: Iterable[tuple[str, str, int]], seed: int
) -> Iterator[tuple[str, str, int]]:
    """Random places, given to the trials of each model and task by number.

    The place comes from a digest, so that more models, tasks or trials do not turn the
    order of the others around.
    """
    seen: Counter[tuple[str, str]] = Counter()
    for model, task, _ in sorted(trials, key=lambda one: _digest(seed, *one)):
        yield model, task, seen[model, task]
        seen[model, task] += 1


def _digest(*values: object) -> str:
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return sha256(text.encode()).hexdigest()
