"""What a sweep runs, and how: the keys of ``sweep.yaml``.

The settings that decide *what* is run are the sweep's identity; how it is run (how many
at once, on which servers, with how much patience) may change at any time.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from run_assets.config import explain, read_values
from run_assets.errors import UsageError
from run_assets.sweeps.command import check_command

_Name = Annotated[str, Field(min_length=1, max_length=500)]
_FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"

WHAT = (
    *("name", "models", "tasks", "num_trials_per_config", "command", "function"),
    *("options", "seed", "early_stop_on_success", "success_threshold"),
)
"""Settings that a resumed sweep may only change with ``--amend``."""

OF_A_TRIAL = ("command", "function", "options", "seed")
"""Settings that are part of each trial's identity."""


class Server(BaseModel):
    """A place that some trials need, with room for a few of them at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    address: str = ""
    """What ``{server}`` in the command becomes; the name where empty."""
    models: tuple[str, ...] = ("*",)
    """Models that it serves; wildcards are allowed."""
    max_concurrent_processes: int = Field(1, ge=1)

    @property
    def place(self) -> str:
        """What a trial is told."""
        return self.address or self.name

    def serves(self, model: str) -> bool:
        """Trials of the model may run there."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)


class SweepConfig(BaseModel):
    """The whole of ``sweep.yaml``; ``root`` is the folder it lies in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Path = Field(Path(), exclude=True)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=32)
    description: str = ""
    models: tuple[_Name, ...] = Field(min_length=1)
    tasks: tuple[_Name, ...] = Field(min_length=1)
    num_trials_per_config: int = Field(8, ge=1, le=100_000)
    command: str | None = None
    """Runs one trial; ``{model}``, ``{task}`` … are replaced in each argument."""
    function: str | None = Field(None, pattern=_FUNCTION)
    """``module:function`` that runs one trial, in a thread of this process."""
    options: dict[str, Any] = {}
    """Handed to each trial: temperature, prompt, step limit … ."""
    seed: int = Field(0, ge=0)

    max_concurrent_processes: int = Field(4, ge=1, le=1_000)
    max_concurrent_per_model: dict[str, Annotated[int, Field(ge=1)]] = {}
    """By model; wildcards are allowed, the first that matches counts."""
    server_configs: tuple[Server, ...] = ()
    timeout_seconds: float | None = Field(None, gt=0)
    api_key_config_file: str | None = None
    """File of ``NAME=value`` lines that trials get as environment; never stored."""

    retry_failed_runs: bool = True
    max_retries: int = Field(2, ge=0)
    retry_delay_seconds: float = Field(1.0, ge=0)
    """Before the first retry; doubled for each further one, give or take half."""
    never_retry: tuple[str, ...] = ("bad_result", "TypeError", "NotImplementedError")
    """Classes of errors that no retry mends; wildcards are allowed."""

    shuffle_execution_order: bool = True
    task_inner_loop_mode: bool = False
    """First trial of every task, then the second: wins over shuffling."""
    early_stop_on_success: bool = False
    """Once a model solves a task, its later trials of that task are skipped."""
    success_threshold: float | None = None
    """A trial that does not say so itself succeeds with a reward above this; where
    null, the rules of ``evaluations`` in the lab's configuration judge."""
    max_cost: float | None = Field(None, gt=0)
    """No trial starts that would probably lead beyond, in the unit of ``cost``."""
    max_hours: float | None = Field(None, gt=0)
    """Wall time of one `run` or `resume` after which no trial starts."""

    enable_wandb: bool = True
    """Publish as ``publish.wandb.mode`` of the lab says."""
    wandb_project: str | None = None
    wandb_entity: str | None = None
    wandb_trials: bool = False
    """One W&B run for each attempt of a trial, besides the one for the sweep."""
    log_interval_minutes: float = Field(30, gt=0)
    output_dir: str | None = None
    """Reports and logs; ``<data_dir>/sweeps/<sweep_id>`` where null."""
    save_intermediate_results: bool = True
    """Keep what each trial printed; without it, only what failed ones did."""
    k_values: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 3, 5, 8))

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "api_keys" in given:
            msg = (
                "api_keys: keys never stand in a sweep file; trials inherit the "
                "environment, and api_key_config_file names a file of NAME=value lines"
            )
            raise ValueError(msg)
        return given

    @field_validator("models", "tasks", "server_configs")
    @classmethod
    def _each_once(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [getattr(one, "name", one) for one in given]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            msg = f"each may stand there once, got twice: {', '.join(twice)}"
            raise ValueError(msg)
        return given

    @model_validator(mode="after")
    def _one_way_to_run(self) -> Self:
        if (self.command is None) == (self.function is None):
            msg = (
                "a sweep needs either command (a program that prints a result) or "
                "function (module:function that returns one), "
                f"got {'neither' if self.command is None else 'both'}"
            )
            raise ValueError(msg)
        if self.command is not None:
            check_command(self.command, self.options)
        homeless = [m for m in self.models if not self.servers_of(m)]
        if self.server_configs and homeless:
            msg = f"server_configs: no server serves {', '.join(homeless)}"
            raise ValueError(msg)
        return self

    def servers_of(self, model: str) -> tuple[Server, ...]:
        """Servers that a model's trials may run on; none where none are configured."""
        return tuple(one for one in self.server_configs if one.serves(model))

    def limit_of(self, model: str) -> int:
        """How many trials of a model may run at the same time, over all managers."""
        limits = self.max_concurrent_per_model.items()
        found = (limit for one, limit in limits if fnmatchcase(model, one))
        return next(found, 1_000_000)

    @property
    def cells(self) -> int:
        """How many pairs of model and task there are."""
        return len(self.models) * len(self.tasks)


class Difference(NamedTuple):
    """A setting that two configurations of one sweep do not share.

    Attributes:
        key: Of ``sweep.yaml``.
        before: As the ledger has it.
        after: As the file has it now.
        needs_amend: It decides what is run, not only how.
    """

    key: str
    before: Any
    after: Any
    needs_amend: bool

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.before)} -> {_shown(self.after)}"


def load_sweep(file: Path) -> SweepConfig:
    """Read and check a ``sweep.yaml``.

    Raises:
        UsageError: It cannot be read, or a key or value is wrong; each is listed.
    """
    values = read_values(file)
    if "root" in values:
        msg = f"{file}: unknown key root; it is the folder of the file itself"
        raise UsageError(msg)
    return sweep_config(values, file.absolute().parent, file)


def sweep_config(
    values: Mapping[str, Any], root: Path, where: object = "sweep"
) -> SweepConfig:
    """The configuration that some values are.

    Raises:
        UsageError: A key or value is wrong; the message lists each of them.
    """
    try:
        return SweepConfig(**values, root=root)
    except ValidationError as error:
        raise UsageError(explain(error, where, SweepConfig)) from None


def stored_values(config: SweepConfig) -> dict[str, Any]:
    """A configuration as JSON-like values; it holds no secret."""
    return config.model_dump(mode="json")


def differences(before: SweepConfig, after: SweepConfig) -> list[Difference]:
    """What a resumed sweep would do otherwise than it began."""
    old, new = stored_values(before), stored_values(after)
    return [
        Difference(key, old[key], new[key], needs_amend=key in WHAT)
        for key in SweepConfig.model_fields
        if key != "root" and old[key] != new[key]
    ]


def _shown(value: Any) -> str:
    text = re.sub(r"\s+", " ", str(value))
    return text if len(text) <= 200 else f"{text[:199]}…"
