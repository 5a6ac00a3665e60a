"""The ledger of a sweep: one row a trial, in a SQLite file that every manager shares.

A result and the status that goes with it are written in one transaction. In WAL mode a
kill at any instant loses nothing that was committed, and readers never wait.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from run_assets.errors import NotFoundError, SourceError, UsageError, did_you_mean
from run_assets.sweeps.config import SweepConfig, stored_values, sweep_config
from run_assets.sweeps.plan import SCHEMA_VERSION, Trial

_BUSY_SECONDS = 60.0
_SCHEMA = """
create table sweep (
    sweep_id text primary key,
    schema_version integer not null,
    config_json text not null,
    config_path text,
    root text not null,
    created_at text not null
) strict;

-- Every configuration that the sweep ever had, in order.
create table amendments (
    amended_at text not null,
    config_json text not null
) strict;

create table trials (
    trial_id text primary key,
    sweep_id text not null,
    model text not null,
    task text not null,
    trial integer not null,
    version integer,
    instance integer,
    reward real,
    max_reward real,
    success integer check (success in (0, 1)),
    steps integer,
    tokens integer,
    cost real,
    seconds real,
    status text not null check (status in (
        'pending', 'running', 'successful', 'will_retry', 'failed_final',
        'skipped_early_stop'
    )),
    error_class text,
    error text,
    started_at text,
    finished_at text,
    seed integer not null,
    position integer not null,
    attempts integer not null default 0,
    failures integer not null default 0,
    losses integer not null default 0,
    server text,
    manager_id text,
    lease_until real,
    not_before real not null default 0,
    output_json text,
    unique (model, task, trial)
) strict;
create index open_trials on trials (losses, position)
    where status in ('pending', 'will_retry');
create index running_trials on trials (model, server, manager_id)
    where status = 'running';

create table trial_steps (
    sweep_id text not null,
    model text not null,
    task text not null,
    trial integer not null,
    step integer not null,
    reward real,
    tokens integer,
    primary key (model, task, trial, step)
) strict, without rowid;

-- Append-only: a row is added when a trial starts and closed when it ends.
create table attempts (
    trial_id text not null,
    attempt integer not null,
    manager_id text not null,
    server text,
    status text not null check (status in (
        'running', 'successful', 'failed', 'lost', 'interrupted'
    )),
    error_class text,
    error text,
    started_at text not null,
    finished_at text,
    seconds real,
    tokens integer,
    cost real,
    published_as text,
    primary key (trial_id, attempt)
) strict, without rowid;
create unique index one_success on attempts (trial_id) where status = 'successful';
create index finished_attempts on attempts (finished_at);

create table managers (
    manager_id text primary key,
    host text not null,
    pid integer not null,
    process text not null,
    is_resume integer not null,
    started_at text not null,
    seen_at text not null,
    ended_at text
) strict;
"""


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as UTC text, as all times of the ledger are written."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


class Ledger:
    """An open ledger; one thread's connection to it.

    Attributes:
        path: The SQLite file.
        sweep_id: Of the one sweep in it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        with reading(path):
            row = connection.execute("select * from sweep").fetchone()
        if row is None or row["schema_version"] != SCHEMA_VERSION:
            found = "nothing" if row is None else f"version {row['schema_version']}"
            connection.close()
            msg = (
                f"{path} must hold a sweep of version {SCHEMA_VERSION}, got {found}; "
                "it was written by another version of run-assets"
            )
            raise SourceError(msg)
        self._row = dict(row)
        self.sweep_id: str = row["sweep_id"]

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def config(self) -> SweepConfig:
        """The sweep's configuration, with the last amendment."""
        (row,) = self.rows("select config_json, root from sweep")
        return sweep_config(
            json.loads(row["config_json"]), Path(row["root"]), self.path
        )

    @property
    def config_path(self) -> Path | None:
        """The file that the sweep was started from."""
        found = self._row["config_path"]
        return Path(found) if found else None

    @property
    def created_at(self) -> datetime:
        """When the sweep was planned."""
        return datetime.fromisoformat(self._row["created_at"])

    def rows(self, sql: str, parameters: Any = ()) -> list[sqlite3.Row]:
        """The rows of a query.

        Raises:
            SourceError: The file cannot be read.
        """
        with reading(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def value(self, sql: str, parameters: Any = ()) -> Any:
        """The only value of a query."""
        return self.rows(sql, parameters)[0][0]

    def columns(self, sql: str) -> list[str]:
        """Names of the columns of a query."""
        with reading(self.path):
            return [one[0] for one in self._connection.execute(sql).description]

    def counts(self) -> dict[str, int]:
        """How many trials have each status that occurs."""
        found = self.rows("select status, count(*) from trials group by status")
        return {row[0]: row[1] for row in found}

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the block is written, or nothing of it.

        Raises:
            SourceError: The file cannot be written.
        """
        with reading(self.path):
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """A ledger that cannot be used stops the sweep: it never counts as empty."""
    try:
        yield
    except sqlite3.Error as error:
        msg = (
            f"the ledger {path} cannot be used: {error}; the sweep stops here rather "
            "than start anew. Restore the file, or start another sweep"
        )
        raise SourceError(msg) from error


def create_ledger(
    path: Path,
    sweep_id: str,
    config: SweepConfig,
    trials: Iterable[Trial],
    config_path: Path | None = None,
) -> Ledger:
    """Write the ledger of a new sweep, whole or not at all.

    Raises:
        UsageError: There is one already.
        SourceError: The file cannot be written.
    """
    if path.exists():
        msg = f"{path} exists; `run-assets sweep resume {sweep_id}` goes on with it"
        raise UsageError(msg)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{path.parent} cannot be made: {error}"
        raise SourceError(msg) from error
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    text = json.dumps(stored_values(config))
    about = (sweep_id, SCHEMA_VERSION, text, config_path and str(config_path))
    with reading(path):
        connection = _connect(temporary, "rwc")
        connection.execute("pragma journal_mode = wal")
        connection.executescript(_SCHEMA)
        connection.execute("begin immediate")
        connection.execute(
            "insert into sweep values (?, ?, ?, ?, ?, ?)",
            (*about, str(config.root.absolute()), now),
        )
        connection.execute("insert into amendments values (?, ?)", (now, text))
        insert_trials(connection, sweep_id, trials)
        connection.execute("commit")
        connection.close()  # writes the WAL back and removes it
    temporary.rename(path)
    return open_ledger(path)


def insert_trials(
    connection: sqlite3.Connection, sweep_id: str, trials: Iterable[Trial]
) -> None:
    """Add trials that are not there yet; those that are keep what they have."""
    connection.executemany(
        "insert into trials (trial_id, sweep_id, model, task, trial, seed, position,"
        " status) values (?, ?, ?, ?, ?, ?, ?, 'pending')"
        " on conflict (trial_id) do update set position = excluded.position",
        (
            (
                *(one.trial_id, sweep_id, one.model, one.task, one.trial),
                *(one.seed, one.position),
            )
            for one in trials
        ),
    )


def open_ledger(path: Path, *, read_only: bool = False) -> Ledger:
    """A connection to a ledger that exists.

    Raises:
        NotFoundError: There is none.
        SourceError: It is no ledger, is damaged, or belongs to another version.
    """
    if not path.is_file():
        msg = f"no ledger at {path}; `run-assets sweep run FILE` starts a sweep"
        raise NotFoundError(msg)
    with reading(path):
        return Ledger(path, _connect(path, "ro" if read_only else "rw"))


def ledger_path(data_path: Path, sweep_id: str) -> Path:
    """Where the ledger of a sweep lies."""
    return data_path / "sweeps" / f"{sweep_id}.sqlite"


def sweep_ids(data_path: Path) -> list[str]:
    """Every sweep of a lab, the youngest first."""
    files = (data_path / "sweeps").glob("*.sqlite")
    ids = [file.stem for file in files if not file.name.startswith(".")]
    return sorted(ids, key=lambda one: one.rsplit("_", 3)[1:], reverse=True)


def find_sweep(data_path: Path, name: str | None = None) -> Path:
    """The ledger of a sweep by its id or name; of the youngest where none is named.

    Raises:
        NotFoundError: There is no such sweep.
    """
    known = sweep_ids(data_path)
    found = [one for one in known if name in (None, one, one.rsplit("_", 3)[0])]
    if not known:
        msg = (
            f"no sweep below {data_path / 'sweeps'} yet; "
            "`run-assets sweep run FILE` starts one"
        )
        raise NotFoundError(msg)
    if not found:
        hint = did_you_mean(str(name), known)
        msg = f"no sweep {name!r} below {data_path / 'sweeps'}{hint}"
        raise NotFoundError(msg)
    return ledger_path(data_path, found[0])


def amend(ledger: Ledger, config: SweepConfig, trials: Iterable[Trial]) -> None:
    """Let a sweep go on under another configuration.

    New trials are added. Of those that the configuration no longer has, the ones that
    never started disappear; what has been tried stays, and is not tried again.

    Raises:
        UsageError: Trials have run that would be other trials now.
    """
    wanted = list(trials)
    ids = json.dumps([one.trial_id for one in wanted])
    with ledger.transaction() as connection:
        gone = "trial_id not in (select value from json_each(?))"
        connection.execute(f"delete from trials where attempts = 0 and {gone}", (ids,))
        taken = connection.execute(
            f"select model, task, trial from trials where {gone}", (ids,)
        ).fetchall()
        cells = {(one.model, one.task, one.trial) for one in wanted}
        if clashes := [tuple(row) for row in taken if tuple(row) in cells]:
            model, task, trial = clashes[0]
            msg = (
                f"{len(clashes)} trials have run as they were configured before, such "
                f"as {model} on {task}, trial {trial}; command, function, options and "
                "seed can no longer change. Start another sweep"
            )
            raise UsageError(msg)
        connection.execute(
            "update trials set status = 'failed_final', error_class = 'withdrawn',"
            " error = 'the configuration no longer has it'"
            f" where status in ('pending', 'will_retry') and {gone}",
            (ids,),
        )
        insert_trials(connection, ledger.sweep_id, wanted)
        store_config(connection, config)


def store_config(connection: sqlite3.Connection, config: SweepConfig) -> None:
    """Keep a new configuration, and the old ones in the list of amendments."""
    text = json.dumps(stored_values(config))
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    root = str(config.root.absolute())
    connection.execute("update sweep set config_json = ?, root = ?", (text, root))
    connection.execute("insert into amendments values (?, ?)", (now, text))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """Statements commit by themselves outside of a transaction.

    With ``synchronous = normal`` a commit survives a kill of any process at once; a
    power cut may undo the last ones, and then those trials run again.
    """
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    connection.execute("pragma synchronous = normal")
    return connection


def as_mappings(rows: Iterable[sqlite3.Row]) -> list[Mapping[str, Any]]:
    """Rows as plain mappings."""
    return [dict(row) for row in rows]
