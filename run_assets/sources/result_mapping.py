"""Which columns a SELECT for results may have, and what they become; no database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from run_assets.contracts.tables import table
from run_assets.digests import digest_of
from run_assets.errors import UsageError, did_you_mean

TRIALS, STEPS = "raw.trials", "raw.trajectory_steps"

# Names in a SELECT that differ from those in the tables.
_RENAMED = {
    "id": "row_id",
    "success": "has_succeeded",
    "steps": "n_steps",
    "tokens": "total_tokens",
    "seconds": "duration_seconds",
    "status": "trial_status",
    "finished_at": "ended_at",
    "error": "has_error",
    "meta": "meta_json",
    "achievements": "achievements_json",
    "created_at": "recorded_at",
}
_OURS = ("source", "has_early_stop")
_NEEDED = {TRIALS: ("model",), STEPS: ("reward",)}
_EITHER = {
    TRIALS: (("version", "trial"), ("task", "version_description")),
    STEPS: (("version", "trial"),),
}
_ALONE = (("model",), ("task", "version_description"))
"""What steps need, too, where nothing else says which trial they belong to."""
_ORDER = (
    *("sweep_id", "model", "task", "trial", "version", "instance", "step"),
    "created_at",
)


class Field(NamedTuple):
    """A column of a SELECT.

    Attributes:
        name: As the SELECT calls it.
        column: As the table calls it.
        kind: DuckDB type in the table.
        type: Type in the database, where it has one.
    """

    name: str
    column: str
    kind: str
    type: str


@dataclass(frozen=True)
class Query:
    """A SELECT for one of the raw tables.

    Attributes:
        source: Name of the result source.
        target: ``raw.trials`` or ``raw.trajectory_steps``.
        text: The SELECT.
        has_early_stop: Said of each of its rows.
        is_alone: No other SELECT of the source says what a trial is.
    """

    source: str
    target: str
    text: str
    has_early_stop: bool = False
    is_alone: bool = True

    @property
    def inner(self) -> str:
        """The SELECT as the body of a subquery, its last comment ended."""
        return f"(\n{self.text.strip().rstrip(';')}\n) as mapped"

    @property
    def digest(self) -> str:
        """Changes when rows that were read would now be read differently."""
        return digest_of(self.text, self.has_early_stop, table(self.target).digest)


def known_fields(target: str) -> dict[str, str]:
    """Column of the table by the name that a SELECT gives it.

    >>> known_fields("raw.trials")["success"]
    'has_succeeded'
    """
    names = {column: name for name, column in _RENAMED.items()}
    columns = [one for one in table(target).columns if one not in _OURS]
    return {names.get(column, column): column for column in columns}


def fields_of(query: Query, types: Mapping[str, str]) -> tuple[Field, ...]:
    """The columns of a SELECT, checked.

    Args:
        query: The SELECT.
        types: Type in the database by name of the column.

    Raises:
        UsageError: A column is unknown, missing or there twice; the message lists all.
    """
    known = known_fields(query.target)
    problems = [
        f"unknown column {name!r}{did_you_mean(name, known)}"
        for name in types
        if name not in known
    ]
    problems += [
        f"column {' or '.join(map(repr, names))} is missing"
        for names in _required(query)
        if not set(names) & set(types)
    ]
    if problems:
        what = "steps" if query.target == STEPS else "trajectories"
        msg = (
            f"the SELECT for {what} of result source {query.source!r}: "
            f"{'; '.join(problems)}. Rename with `as`; it may have: {', '.join(known)}"
        )
        raise UsageError(msg)
    kinds = table(query.target).types
    return tuple(
        Field(name, known[name], kinds[known[name]], kind)
        for name, kind in types.items()
    )


def _required(query: Query) -> Iterable[tuple[str, ...]]:
    yield from ((name,) for name in _NEEDED[query.target])
    yield from _EITHER[query.target]
    if query.target == STEPS and query.is_alone:
        yield from _ALONE


def order_of(fields: Iterable[Field]) -> list[str]:
    """The columns by which rows are read: the id, or what names a row."""
    names = [one.name for one in fields]
    return ["id"] if "id" in names else [one for one in _ORDER if one in names]
