"""One try of a trial: what runs it is given, and what it came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from run_assets.sweeps.results import Outcome


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a trial, as the function or command that runs it sees it.

    Attributes:
        sweep_id: The sweep.
        trial_id: Digest that is the trial's identity.
        model: Who tries.
        task: What is tried.
        trial: Number of the trial within model and task, from 0.
        seed: For random numbers; the same for every model and every attempt.
        attempt: Number of the try, from 1.
        options: As the configuration has them.
        server: Address of the server that is reserved for it, if any.
    """

    sweep_id: str
    trial_id: str
    model: str
    task: str
    trial: int
    seed: int
    attempt: int
    options: Mapping[str, Any]
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt and what became of it.

    Attributes:
        attempt: The attempt.
        outcome: Result or failure.
        seconds: Wall time.
        at: When it ended, in seconds since 1970.
    """

    attempt: Attempt
    outcome: Outcome
    seconds: float
    at: float
