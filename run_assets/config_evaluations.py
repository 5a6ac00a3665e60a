"""The section ``evaluations``: where results come from, what success is, what is asked.

A password never stands in the file: a database is named by an environment variable.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

RESULTS_URL = "RUN_ASSETS_RESULTS_URL"

RewardKind = Literal["final", "max", "production_score"]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$", max_length=100)]
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Database(_Strict):
    name: _Name | None = None
    """What the source is called in the tables; its kind where null."""
    path: str | None = None
    """A SQLite file; else the database of ``connection``."""
    connection: _Variable = RESULTS_URL
    """Environment variable with the address, ``postgresql://`` or ``sqlite:///``."""
    has_early_stop: bool = False
    """Trials of a model on a task end with the first success."""


class ProgramsResults(_Database):
    """A table of programs, one row a step, as agents on Factorio write it."""

    kind: Literal["programs"]
    table: _Identifier = "programs"


class QueryResults(_Database):
    """Any schema: a SELECT for trajectories, one for steps, or either."""

    kind: Literal["query"]
    trajectories: str | None = None
    """One row a trial, or an agent of it."""
    steps: str | None = None
    """One row a step of a trial."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not (self.trajectories or self.steps):
            msg = "a source of kind query needs trajectories, steps, or both"
            raise ValueError(msg)
        return self


class WandbRunResults(_Strict):
    """Runs of the configured W&B sources that are trials themselves."""

    kind: Literal["wandb_runs"]
    name: _Name | None = None
    project: str | None = None
    """Only runs of this project, as ``entity/project`` or ``project``."""
    model_key: str = "model"
    """Key of the run's config; nested keys are joined with a dot."""
    task_key: str = "task"
    trial_key: str | None = None
    """By the order of creation where null."""
    sweep_key: str = "sweep_id"
    reward_key: str = "reward"
    """Key of the run's summary."""
    success_key: str | None = None
    tokens_key: str | None = None
    cost_key: str | None = None


ResultSource = Annotated[
    ProgramsResults | QueryResults | WandbRunResults, Field(discriminator="kind")
]


class SuccessRule(_Strict):
    """Which reward of a trial counts, and how much of it is a success."""

    reward: RewardKind = "final"
    threshold: float | None = None
    """A success lies above it; 0 where neither this nor quota is given."""
    quota: float | None = None
    """A success reaches it."""

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        if self.threshold is not None and self.quota is not None:
            msg = "give threshold (to be passed) or quota (to be reached), not both"
            raise ValueError(msg)
        return self

    @property
    def limit(self) -> float:
        """The number that the reward is compared with."""
        given = self.quota if self.quota is not None else self.threshold
        return 0.0 if given is None else given


class TaskRule(SuccessRule):
    """The rule of some tasks."""

    match: str = Field(min_length=1)
    """Wildcard over names of tasks."""


class Evaluations(_Strict):
    """Trials of models on tasks."""

    sources: tuple[ResultSource, ...] = ()
    success: SuccessRule = SuccessRule()
    tasks: tuple[TaskRule, ...] = ()
    """Other rules of success; the first that matches a task counts."""
    errors: Literal["fail", "leave_out"] = "fail"
    """What a trial is that ended with an error and has no reward."""
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 3, 5, 8), min_length=1)
    paired_by: Literal["task", "trial"] = "task"
    """Models are compared on tasks, or on trials with the same number."""
    correction: Literal["holm", "bonferroni", "bh", "none"] = "holm"
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(10_000, ge=100, le=10_000_000)
    seed: int = Field(0, ge=0)

    @field_validator("sources")
    @classmethod
    def _names_are_unique(
        cls, given: tuple[ResultSource, ...]
    ) -> tuple[ResultSource, ...]:
        names = [one.name or one.kind for one in given]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            msg = f"result sources need names of their own, got twice: {twice}"
            raise ValueError(msg)
        return given
