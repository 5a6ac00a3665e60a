"""Asset checks: one for the whole table each, whose metadata names what is bad."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from run_assets.assets.results import key
from run_assets.contracts.table import Table
from run_assets.contracts.tables import TABLES, table
from run_assets.errors import ContractError, SourceError
from run_assets.ingest import damaged_rows, read_state
from run_assets.ingest.results import TARGETS
from run_assets.lab import Lab
from run_assets.refresh import read_stamp
from run_assets.reports.markdown import inline
from run_assets.reports.views import Name
from run_assets.resources import LabResource, OpenLab
from run_assets.sources.runs import API, DELETED
from run_assets.stats import consistency
from run_assets.stats.answers import ANSWERS, is_asked
from run_assets.store.lake import Lake, Part, check_key, schema_of
from run_assets.sweeps.consistency import doubled, unfinished
from run_assets.sweeps.ledger import Ledger, ledger_path, open_ledger, sweep_ids

FRESH_FOR = timedelta(hours=26)
"""A nightly refresh, and two hours of patience."""
_LISTED = 20


def checks() -> list[dg.AssetChecksDefinition]:
    """Every asset check."""
    return [
        contracts,
        readable,
        complete,
        counted,
        fresh,
        scored,
        answered,
        intervals,
        counts,
        results_stored,
        trials_counted,
        undoubled,
        terminal,
    ]


_STORED = [one for one in TABLES.values() if one.layout not in ("view", "none")]


@dg.multi_asset_check(
    name="contracts",
    specs=[
        dg.AssetCheckSpec(
            "contract",
            asset=key(contract.name),
            description="Every file has the columns and types of the contract; "
            "keys are unique and never null.",
        )
        for contract in _STORED
    ],
    can_subset=True,
)
def contracts(
    context: dg.AssetCheckExecutionContext, lab: LabResource
) -> Iterator[dg.AssetCheckResult]:
    """Columns, types and key of every stored table."""
    lake = lab.lab.lake
    for name in _asked(context, [contract.name for contract in _STORED]):
        bad = dict(_violations(lake, table(name)))
        found = _result(bad, {"files": len(lake.parts(name))})
        yield found._replace(asset_key=key(name), check_name="contract")


@dg.asset_check(
    asset=key("raw.sync_state"),
    description="Nothing in the sources was unreadable.",
)
def readable(lab: LabResource) -> dg.AssetCheckResult:
    """Damaged files turn this red; the runs in them keep what could be read."""
    state = damaged_rows(read_state(lab.lab.lake))
    bad = {
        location: problem or f"{skipped:,} bytes skipped"
        for location, problem, skipped in state.select(
            "source_location", "problem", "skipped_bytes"
        ).iter_rows()
    }
    return _result(bad, {"damaged_locations": len(bad)})


@dg.asset_check(
    asset=key("raw.runs"),
    description="Every run that was read is stored, and its history with it.",
)
def complete(lab: LabResource) -> dg.AssetCheckResult:
    """Row counts against the source: runs, and values of the runs of each part."""
    lake = lab.lab.lake
    told = read_state(lake).filter(pl.col("content_digest").is_not_null())
    stored = lake.read("raw.runs").select("run_path", "history_rows")
    read = told.filter(pl.col("parts").list.len() > 0).unique("run_path")
    runs = read.join(stored, "run_path", how="left", suffix="_stored")
    wrong = runs.filter(
        pl.col("history_rows_stored").is_null()
        | pl.col("history_rows").ne_missing(pl.col("history_rows_stored"))
    )
    bad = {
        path: f"{rows} rows read, {found} stored"
        for path, rows, found in wrong.select(
            "run_path", "history_rows", "history_rows_stored"
        ).iter_rows()
    }
    bad |= dict(_wrong_counts(lake, read))
    return _result(bad, {"runs_read": runs.height, "runs_stored": stored.height})


def _wrong_counts(lake: Lake, read: pl.DataFrame) -> Iterable[tuple[str, str]]:
    """Parts of ``raw.history`` with more or fewer rows than were read into them."""
    stored: Counter[tuple[str, str, int]] = Counter()
    for part in lake.parts("raw.history"):
        if header := lake.header(part):
            key_of = (part.project_slug, part.day, header.first_part)
            stored[key_of] += header.rows
    told = read.group_by(
        "project_slug", pl.col("day").cast(pl.String), pl.col("parts").list.first()
    ).agg(pl.col("history_values").sum())
    for slug, day, number, values in told.sort("project_slug", "day", "parts").rows():
        found = stored[slug, day, number]
        if found != values:
            yield f"{day}|{slug} part {number}", f"{values} values read, {found} stored"


@dg.asset_check(
    asset=key("raw.history"),
    description="No run has fewer history rows than its server counts.",
)
def counted(lab: LabResource) -> dg.AssetCheckResult:
    """Row counts against the server's own, as it was last asked."""
    lake = lab.lab.lake
    told = read_state(lake).filter(
        pl.col("source") == API,
        pl.col("server_rows").is_not_null(),
        pl.col("problem").ne_missing(DELETED),
    )
    stored = lake.read("raw.runs").select("run_path", "history_rows")
    both = told.drop("history_rows").join(stored, "run_path", how="left")
    short = both.filter(pl.col("history_rows").fill_null(0) < pl.col("server_rows"))
    columns = short.select(
        "project_slug", "day", "run_path", "server_rows", "history_rows"
    )
    bad = {
        f"{day}|{slug} {path}": f"{rows or 0} of {counted} rows"
        for slug, day, path, counted, rows in columns.iter_rows()
    }
    return _result(bad, {"runs_on_servers": told.height})


@dg.asset_check(
    asset=key("raw.runs"),
    description="The sources were asked within the last 26 hours.",
)
def fresh(lab: LabResource) -> dg.AssetCheckResult:
    """Freshness of the whole lake, and of the partitions whose runs go on."""
    now = datetime.now(UTC)
    stamp = read_stamp(lab.lab)
    asked = _asked_at(lab.lab)
    running = read_state(lab.lab.lake).filter(
        pl.col("run_state") == "running", pl.col("fetched_at") < now - FRESH_FOR
    )
    bad = {
        f"{day}|{slug}": f"{path} was last read {at:%Y-%m-%d %H:%M} UTC"
        for path, slug, day, at in running.select(
            "run_path", "project_slug", "day", "fetched_at"
        ).iter_rows()
    }
    if asked is not None and now - asked > FRESH_FOR:
        bad["all partitions"] = (
            f"the sources were last asked {asked:%Y-%m-%d %H:%M} UTC"
        )
    return _result(bad, {"refreshed_at": (stamp or {}).get("refreshed_at", "never")})


@dg.asset_check(
    asset=key("stats.scores"),
    description="Every analysis has at least one usable score.",
)
def scored(lab: LabResource) -> dg.AssetCheckResult:
    """No analysis is empty in silence."""
    names = [one.name for one in lab.lab.config.analyses]
    bad = consistency.scoreless(lab.lab.lake.read("stats.scores"), names)
    return _result(bad, {"analyses": len(names)})


@dg.multi_asset_check(
    name="answered",
    specs=[
        dg.AssetCheckSpec(
            "answered",
            asset=key(name),
            description="Every analysis that has scores has rows.",
        )
        for name in ANSWERS
    ],
    can_subset=True,
)
def answered(
    context: dg.AssetCheckExecutionContext, lab: LabResource
) -> Iterator[dg.AssetCheckResult]:
    """No statistic leaves an analysis out in silence."""
    lake = lab.lab.lake
    scores = lake.read("stats.scores")
    for name in _asked(context, ANSWERS):
        names = [one.name for one in lab.lab.config.analyses if is_asked(name, one)]
        bad = consistency.unanswered(lake.read(name), scores, names)
        found = _result(bad, {"analyses": len(names)})
        yield found._replace(asset_key=key(name), check_name="answered")


@dg.multi_asset_check(
    name="intervals",
    specs=[
        dg.AssetCheckSpec(
            "intervals",
            asset=key(name),
            description="Every interval contains its estimate.",
        )
        for name in consistency.INTERVALS
    ],
    can_subset=True,
)
def intervals(
    context: dg.AssetCheckExecutionContext, lab: LabResource
) -> Iterator[dg.AssetCheckResult]:
    """Every interval contains its estimate."""
    for name in _asked(context, consistency.INTERVALS):
        rows = lab.lab.lake.read(name)
        columns = consistency.INTERVALS[name]
        bad = consistency.outside_their_intervals(rows, columns, table(name).key)
        found = _result(bad, {"intervals": rows.height})
        yield found._replace(asset_key=key(name), check_name="intervals")


@dg.asset_check(
    asset=key("stats.interval_estimates"),
    description="Runs and tasks are those of stats.scores.",
)
def counts(lab: LabResource) -> dg.AssetCheckResult:
    """Every estimate counts the runs and tasks that the scores have."""
    estimates = lab.lab.lake.read("stats.interval_estimates")
    bad = consistency.miscounted(estimates, lab.lab.lake.read("stats.scores"))
    return _result(bad, {"estimates": estimates.height})


@dg.asset_check(
    asset=key("raw.result_sources"),
    description="Every row that a result source counts is stored.",
)
def results_stored(lab: LabResource) -> dg.AssetCheckResult:
    """Row counts against the databases, as they were when last read."""
    lake = lab.lab.lake
    state = lake.read("raw.result_sources")
    stored = [
        lake.scan(target)
        .group_by("source")
        .agg(pl.len().alias("rows"))
        .collect()
        .with_columns(target=pl.lit(target))
        for target in TARGETS
    ]
    bad = consistency.uncounted_rows(state, pl.concat(stored))
    return _result(bad, {"sources": state["source"].n_unique()})


@dg.asset_check(
    asset=key("stats.success_rates"),
    description="Every trial with an outcome is in the rate of its model.",
)
def trials_counted(lab: LabResource) -> dg.AssetCheckResult:
    """No statistic of trials leaves a model or trials out in silence."""
    rates = lab.lab.lake.read("stats.success_rates")
    bad = consistency.uncounted_trials(rates, lab.lab.lake.read("core.trials"))
    return _result(bad, {"models": rates["model"].n_unique()})


_RESULTS = dg.AssetKey(["sweeps", "results"])


@dg.asset_check(
    asset=_RESULTS,
    description="No trial of a sweep has two results, and none ran after it had one.",
)
def undoubled(open_lab: OpenLab) -> dg.AssetCheckResult:
    """One result a trial, in every ledger."""
    return _checked_ledgers(open_lab.lab, doubled)


@dg.asset_check(
    asset=_RESULTS,
    description="Every trial of every sweep is terminal.",
)
def terminal(open_lab: OpenLab) -> dg.AssetCheckResult:
    """No sweep was left half-done."""
    return _checked_ledgers(open_lab.lab, unfinished)


def _checked_ledgers(
    lab: Lab, look: Callable[[Ledger], str | None]
) -> dg.AssetCheckResult:
    ids, bad = sweep_ids(lab.config.data_path), {}
    for one in ids:
        path = ledger_path(lab.config.data_path, one)
        try:
            with open_ledger(path, read_only=True) as ledger:
                found = look(ledger)
        except SourceError as error:
            found = str(error)
        if found:
            bad[one] = found
    return _result(bad, {"sweeps": len(ids)})


def _asked(
    context: dg.AssetCheckExecutionContext, names: Iterable[str]
) -> Iterator[str]:
    asked = {check.asset_key for check in context.selected_asset_check_keys}
    return (name for name in names if key(name) in asked)


def _asked_at(lab: Lab) -> datetime | None:
    """The last refresh: its stamp, or the youngest row it read."""
    stamp = read_stamp(lab)
    read_at: Any = read_state(lab.lake)["fetched_at"].max()
    stamped = datetime.fromisoformat(stamp["refreshed_at"]) if stamp else None
    return max((at for at in (stamped, read_at) if at), default=None)


def _violations(lake: Lake, contract: Table) -> Iterable[tuple[str, str]]:
    parts = lake.parts(contract.name)
    wanted = dict(schema_of(contract))
    for part in parts:
        try:
            found = dict(pl.read_parquet_schema(lake.path(part)))
        except (OSError, pl.exceptions.PolarsError) as error:
            yield str(lake.path(part)), str(error)
            continue
        if found != wanted:
            yield str(lake.path(part)), f"columns {found}, contract {wanted}"
    if not contract.is_bulk:  # keys of bulk tables are checked when a part is written
        yield from _key_violations(lake, contract, parts)


def _key_violations(
    lake: Lake, contract: Table, parts: list[Part]
) -> Iterable[tuple[str, str]]:
    try:
        keys = lake.scan(contract.name, parts).select(contract.key).collect()
        check_key(keys, table(contract.name))
    except (ContractError, SourceError, pl.exceptions.PolarsError) as error:
        yield contract.name, str(error)


def _result(bad: dict[str, str], counts: dict[str, Any]) -> dg.AssetCheckResult:
    lines = [
        f"- {inline(Name(name))}: {inline(what)}"
        for name, what in list(bad.items())[:_LISTED]
    ]
    if len(bad) > _LISTED:
        lines.append(f"- and {len(bad) - _LISTED} more")
    listed = {"bad": dg.MetadataValue.md("\n".join(lines))} if bad else {}
    return dg.AssetCheckResult(
        passed=not bad,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(bad)} found, the first is {next(iter(bad))}"
        if bad
        else None,
        metadata={**counts, **listed},
    )
