"""What a trial gives back: the contract of its result, in JSON or from a function."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from run_assets.config import explain
from run_assets.errors import ContractError

BAD_RESULT = "bad_result"
_Count = Annotated[int, Field(ge=0)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_MOST_TEXT = 2_000


class Step(BaseModel):
    """One step of a trajectory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reward: _Number | None = None
    tokens: _Count | None = None


class Result(BaseModel):
    """What a trial that ran came to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reward: _Number
    """Final reward."""
    max_reward: _Number | None = None
    """Highest reward; that of the trajectory, or the final one, where not given."""
    success: bool | None = None
    """Where not given, the reward is judged, see ``success``."""
    steps: _Count | None = None
    """Length of the trajectory where not given."""
    tokens: _Count | None = None
    """Sum over the trajectory where not given and each step says its own."""
    cost: _Amount | None = None
    """In one unit for the whole sweep, such as US dollars."""
    version: int | None = None
    instance: int | None = None
    trajectory: tuple[Step, ...] = ()
    output: Any = None
    """Anything else worth keeping: an answer, a path, a score sheet."""

    @model_validator(mode="before")
    @classmethod
    def _reward_of_the_trajectory(cls, given: Any) -> Any:
        """The last reward of the trajectory is the final one where none is given."""
        if not isinstance(given, Mapping) or given.get("reward") is not None:
            return given
        rewards = _rewards(given.get("trajectory"))
        return {**given, "reward": rewards[-1]} if rewards else given

    @model_validator(mode="after")
    def _highest_is_not_below_final(self) -> Self:
        if self.max_reward is not None and self.max_reward < self.reward:
            msg = f"max_reward {self.max_reward} is below reward {self.reward}"
            raise ValueError(msg)
        return self

    @property
    def highest_reward(self) -> float:
        """Highest reward of the trial."""
        if self.max_reward is not None:
            return self.max_reward
        told = [one.reward for one in self.trajectory if one.reward is not None]
        return max([self.reward, *told])

    @property
    def step_count(self) -> int | None:
        """Length of the trajectory, where known."""
        if self.steps is not None:
            return self.steps
        return len(self.trajectory) or None

    @property
    def token_count(self) -> int | None:
        """Tokens of the trial, where known."""
        told = [one.tokens for one in self.trajectory]
        if self.tokens is not None or not told or None in told:
            return self.tokens
        return sum(one for one in told if one is not None)


class Failure(BaseModel):
    """What a trial that could not run says; it may be tried again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: str
    error_class: str = Field("trial", min_length=1, max_length=100)
    """Decides about retries: ``rate_limit``, ``timeout``, an exception's name … ."""
    tokens: _Count | None = None
    cost: _Amount | None = None


Outcome = Result | Failure


def outcome_of(given: Any) -> Outcome:
    """The outcome that a trial's answer is.

    Args:
        given: What a function returned, or the JSON that a command printed.

    Raises:
        ContractError: It is no mapping, or a value is missing, unknown or impossible.

    >>> outcome_of({"reward": 1}).reward
    1.0
    >>> outcome_of({"error": "slow down", "error_class": "rate_limit"}).error_class
    'rate_limit'
    """
    if not isinstance(given, Mapping):
        msg = (
            "a trial returns a mapping such as {'reward': 1.0}, "
            f"got {type(given).__name__}"
        )
        raise ContractError(msg)
    kind: type[Outcome] = Failure if "error" in given else Result
    try:
        return kind.model_validate(_plain(given))
    except ValidationError as error:
        raise ContractError(explain(error, "result", kind)) from None


def failure(error_class: str, text: str) -> Failure:
    """A failure as the ledger keeps it: the last part of a long text counts."""
    short = text if len(text) <= _MOST_TEXT else f"…{text[-_MOST_TEXT:]}"
    return Failure(error=short, error_class=error_class)


def _plain(given: Mapping[str, Any]) -> Any:
    """The values as JSON knows them: numbers of numpy, tuples, and nothing else."""
    try:
        return json.loads(json.dumps(given, default=_scalar))
    except (TypeError, ValueError) as error:
        msg = f"result: {error}; a result holds what JSON can hold"
        raise ContractError(msg) from None


def _scalar(value: Any) -> Any:
    item = getattr(value, "item", None)
    if item is None:
        msg = f"{type(value).__name__} is no JSON value"
        raise TypeError(msg)
    return item()


def _rewards(trajectory: Any) -> list[Any]:
    if not isinstance(trajectory, list | tuple):
        return []
    told = [one.get("reward") for one in trajectory if isinstance(one, Mapping)]
    return [one for one in told if one is not None]
