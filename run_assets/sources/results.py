"""The result sources of a lab: which there are, what has changed, and their rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import polars as pl

from run_assets.config import Config, environment_of
from run_assets.config_evaluations import (
    ProgramsResults,
    QueryResults,
    ResultSource,
    WandbRunResults,
)
from run_assets.errors import UsageError
from run_assets.sources.result_mapping import STEPS, TRIALS, Query
from run_assets.sources.result_rows import Database, Facts
from run_assets.sources.results_sqlite import SqliteDatabase

SWEEPS = "sweeps"
"""Folder in the data folder with one SQLite file a sweep, and a prefix of sources."""

# One row a step. The version is the job, the instance the agent; what the task and the
# sweep are is read from the description and the meta data later.
_PROGRAMS = """
select
    id,
    model,
    version,
    instance,
    depth as step,
    value as reward,
    raw_reward,
    prompt_token_usage as prompt_tokens,
    completion_token_usage as completion_tokens,
    token_usage as tokens,
    version_description,
    cast(meta as text) as meta,
    achievements_json as achievements,
    created_at
from {table}
"""
_SWEEP_TRIALS = """
    sweep_id model task trial version instance reward max_reward success steps tokens
    cost seconds status error_class started_at finished_at
"""
_SWEEP_STEPS = """
    sweep_id model task trial version instance step reward raw_reward production_score
    prompt_tokens completion_tokens tokens cost error created_at
"""


@dataclass(frozen=True)
class ResultDatabase:
    """One database with results.

    Attributes:
        name: What its rows are called in the tables.
        address: ``postgresql://…``, or a path of a SQLite file.
        queries: One for each table that it fills.
        is_server: Others may keep it, so that it has to be asked over a network.
    """

    name: str
    address: str | Path
    queries: tuple[Query, ...]

    @property
    def is_server(self) -> bool:
        """It is asked over a network."""
        return isinstance(self.address, str)


@dataclass(frozen=True)
class ChangedResults:
    """A table of a result source that has changed.

    Attributes:
        database: Where the rows are.
        query: What is asked.
        facts: What it says of itself now.
        is_reread: Everything is read again, whatever was read before.
    """

    database: ResultDatabase
    query: Query
    facts: Facts
    is_reread: bool = False


def result_databases(config: Config) -> list[ResultDatabase]:
    """The configured databases, and every sweep of the lab.

    Raises:
        UsageError: The address of a database is not in the environment.
    """
    configured = [
        ResultDatabase(_name(one), _address(one, config.root), _queries(one))
        for one in config.evaluations.sources
        if not isinstance(one, WandbRunResults)
    ]
    return [*configured, *_sweeps(config.data_path / SWEEPS)]


def _name(source: ResultSource) -> str:
    return source.name or source.kind


def _queries(source: ProgramsResults | QueryResults) -> tuple[Query, ...]:
    if isinstance(source, ProgramsResults):
        texts = {STEPS: _PROGRAMS.format(table=source.table)}
    else:
        given = {TRIALS: source.trajectories, STEPS: source.steps}
        texts = {target: text for target, text in given.items() if text}
    return tuple(
        Query(_name(source), target, text, source.has_early_stop, len(texts) == 1)
        for target, text in texts.items()
    )


def _sweeps(folder: Path) -> Iterator[ResultDatabase]:
    for path in sorted(folder.glob("*.sqlite")):
        database = SqliteDatabase(path)
        try:
            found = {
                TRIALS: _columns(database, "trials", _SWEEP_TRIALS),
                STEPS: _columns(database, "trial_steps", _SWEEP_STEPS),
            }
        finally:
            database.close()
        name = f"{SWEEPS}/{path.stem}"
        yield ResultDatabase(
            name,
            path,
            tuple(
                Query(name, target, text, is_alone=False)
                for target, text in found.items()
                if text
            ),
        )


def _columns(database: SqliteDatabase, name: str, known: str) -> str | None:
    """A SELECT of the columns that a sweep's table has; ``None`` without the table."""
    there = database.columns(name)
    listed = ", ".join(f'"{one}"' for one in known.split() if one in there)
    return f"select {listed} from {name}" if listed else None


def _address(source: ProgramsResults | QueryResults, root: Path) -> str | Path:
    if source.path is not None:
        return root / Path(source.path).expanduser()
    environment = environment_of(root)
    url = environment.get(source.connection) or _skills_url(environment)
    if url is None:
        msg = (
            f"result source {_name(source)!r} has no address: set {source.connection} "
            "(postgresql://user:password@host/database or sqlite:///path), or "
            "SKILLS_DB_HOST, SKILLS_DB_PORT, SKILLS_DB_NAME, SKILLS_DB_USER and "
            "SKILLS_DB_PASSWORD, or its path in run_assets.yaml"
        )
        raise UsageError(msg)
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return root / unquote(url.removeprefix("sqlite:///"))
    if scheme not in ("postgresql", "postgres"):
        msg = (
            f"{source.connection} must begin with postgresql:// or sqlite:///, got "
            f"{scheme or 'no scheme'!r}"
        )
        raise UsageError(msg)
    return url


def _skills_url(environment: Mapping[str, str]) -> str | None:
    """The address that the variables of the Factorio environment spell."""
    given = {
        one: environment.get(f"SKILLS_DB_{one}")
        for one in ("HOST", "PORT", "NAME", "USER", "PASSWORD")
    }
    if given["HOST"] is None and given["NAME"] is None:
        file = environment.get("SQLITE_DB_FILE")
        return f"sqlite:///{quote(file)}" if file else None
    user = quote(given["USER"] or "postgres", safe="")
    password = f":{quote(given['PASSWORD'], safe='')}" if given["PASSWORD"] else ""
    host = quote(given["HOST"] or "localhost", safe="")  # or the folder of a socket
    name = quote(given["NAME"] or "postgres", safe="")
    return f"postgresql://{user}{password}@{host}:{given['PORT'] or 5432}/{name}"


@contextmanager
def opened(database: ResultDatabase) -> Iterator[Database]:
    """A database in one read-only snapshot, closed at the end.

    Raises:
        SourceError: It cannot be read; a class of it says why.
    """
    address = database.address
    found: Database
    if isinstance(address, Path):
        found = SqliteDatabase(address)
    else:
        from run_assets.sources.results_db import PostgresDatabase

        found = PostgresDatabase(address)
    try:
        yield found
    finally:
        found.close()


def changed_results(
    config: Config,
    state: pl.DataFrame,
    *,
    reread: bool = False,
    local_only: bool = False,
) -> list[ChangedResults]:
    """Ask every database what has changed; reads no row.

    Args:
        config: The sources.
        state: ``raw.result_sources``.
        reread: Everything counts as changed.
        local_only: Ask no server.

    Raises:
        SourceError: A database cannot be read: that is never "no results".
        UsageError: A SELECT lacks a column, or an address is missing.
    """
    known = {
        (source, target): (digest, token)
        for source, target, digest, token in state.select(
            "source", "target", "mapping_digest", "state_token"
        ).iter_rows()
    }
    return [
        replace(one, is_reread=reread)
        for database in result_databases(config)
        if not (local_only and database.is_server)
        for one in _asked(database)
        if reread
        or known.get((database.name, one.query.target))
        != (one.query.digest, one.facts.token)
    ]


def _asked(database: ResultDatabase) -> list[ChangedResults]:
    if not database.queries:
        return []
    with opened(database) as found:
        return [
            ChangedResults(database, query, found.facts(query))
            for query in database.queries
        ]


def wandb_sources(config: Config) -> list[WandbRunResults]:
    """Sources whose trials are W&B runs."""
    sources = config.evaluations.sources
    return [one for one in sources if isinstance(one, WandbRunResults)]


def has_results(config: Config) -> bool:
    """Something is configured, or the lab has sweeps."""
    return bool(config.evaluations.sources) or any(
        (config.data_path / SWEEPS).glob("*.sqlite")
    )
