"""A run on its way from a fetched folder into the lake."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import polars as pl

from run_assets.digests import digest_of
from run_assets.sources.runs import API, RunContent
from run_assets.sources.wandb_api_fetch import Fetched, KnownHistory
from run_assets.sources.wandb_api_listing import INTERNAL, ListedRun, instant
from run_assets.sources.wandb_api_rows import (
    Decoder,
    export_pieces,
    json_rows,
    row_digest,
)
from run_assets.sources.wandb_facts import GOALS
from run_assets.sources.wandb_files import (
    ARTIFACTS,
    METRIC_DEFINITIONS,
    SYSTEM_METRICS,
)
from run_assets.sources.wandb_history import HISTORY

PIECE_VALUES = 1_000_000
LINES_AT_ONCE = 20_000
_SYSTEM = "system."


@dataclass
class ApiReading:
    """A run being read; see ``RunReading``.

    Attributes:
        listed: What the listing says of it.
        fetched: Everything else, on disk.
        known: What the lake holds of its history.
    """

    listed: ListedRun
    fetched: Fetched
    known: KnownHistory | None
    _last: KnownHistory = field(init=False)
    _decoded: list[pl.DataFrame] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._last = KnownHistory(self.fetched.rows, -1, "")
        if self.is_continued and self.known:
            self._last = self.known._replace(rows=self.fetched.rows)

    @property
    def is_continued(self) -> bool:
        """The rows come after those that the lake holds."""
        return self.fetched.is_continued

    def decode_if_small(self) -> None:
        """Decode now, in this thread, what takes little memory."""
        if self.fetched.rows * len(self.fetched.counts) <= PIECE_VALUES:
            self._decoded = list(self.history())

    def history(self) -> Iterator[pl.DataFrame]:
        """Pieces of history in the order of their steps."""
        if self._decoded is not None:
            decoded, self._decoded = self._decoded, None
            yield from decoded
            return
        decoder = Decoder(self.fetched.counts)
        pieces = (
            self._mixed(decoder) if self.fetched.is_mixed else self._pieces(decoder)
        )
        for piece, last_step in pieces:
            if last_step >= self._last.last_step:
                digest = row_digest(piece, last_step)
                self._last = KnownHistory(self.fetched.rows, last_step, digest)
            yield piece

    def _pieces(self, decoder: Decoder) -> Iterator[tuple[pl.DataFrame, int]]:
        """Exports first, then the rows that were not in them."""
        for path in self.fetched.export_paths:
            yield from export_pieces(path, decoder, piece_values=PIECE_VALUES)
        lines = self.fetched.lines()
        while some := list(islice(lines, LINES_AT_ONCE)):
            rows = json_rows(some, decoder)
            yield rows.history, max(rows.steps)

    def _mixed(self, decoder: Decoder) -> Iterator[tuple[pl.DataFrame, int]]:
        """Exports that overlap or are out of order have to be sorted as a whole."""
        pieces = list(self._pieces(decoder))
        whole = pl.concat([HISTORY.to_frame(), *(piece for piece, _ in pieces)])
        once = whole.unique(["metric", "step"], keep="last", maintain_order=True)
        last_step = max((step for _, step in pieces), default=-1)
        yield once.sort("step", maintain_order=True), last_step

    def finish(self) -> RunContent:
        """Everything but the history."""
        listed, fetched = self.listed, self.fetched
        is_empty = self._last.last_step < 0
        system = _system_metrics(fetched.events, listed.created_at)
        return RunContent(
            run={
                **dict.fromkeys(("host_name", "program")),
                **listed.columns(),
                **_machine(fetched.metadata, listed),
                "last_step": None if is_empty else self._last.last_step,
                "history_rows": fetched.rows,
            },
            system_metrics=system,
            artifacts=_artifacts(fetched.artifacts),
            metric_definitions=_metric_definitions(listed.raw_config),
            content_digest=digest_of(API, listed.run_path, listed.digest, self._last),
            skipped={},
            problems=self._problems(),
            damaged=frozenset(),
            progress_json=None if is_empty else json.dumps(self._last._asdict()),
            source=API,
            export_rows=fetched.export_rows,
        )

    def _problems(self) -> dict[str, str]:
        missing = self.fetched.promised_events - len(self.fetched.events)
        if missing <= 0:
            return {}
        what = f"the server sent {len(self.fetched.events)} of "
        what += f"{self.fetched.promised_events} samples of system metrics"
        return {self.listed.url: what}

    def release(self) -> None:
        """The run is stored: what was fetched is no longer needed."""
        shutil.rmtree(self.fetched.folder, ignore_errors=True)


def known_history(progress_json: str | None) -> KnownHistory | None:
    """What an earlier ``ApiReading`` said that the lake holds."""
    if progress_json is None:
        return None
    try:
        return KnownHistory(**json.loads(progress_json))
    except (ValueError, TypeError):
        return None


def _machine(metadata: dict[str, Any], listed: ListedRun) -> dict[str, Any]:
    """What the SDK wrote about the process in ``wandb-metadata.json``."""
    git = metadata.get("git")
    commit = git.get("commit") if isinstance(git, dict) else None
    told = {
        "host_name": metadata.get("host"),
        "program": metadata.get("program"),
        "git_commit": listed.node.get("commit") or commit,
    }
    return {key: value for key, value in told.items() if isinstance(value, str)}


def _system_metrics(events: list[str], started: datetime) -> pl.DataFrame:
    if not events:
        return SYSTEM_METRICS.to_frame()
    samples = []
    for line in events:
        event = json.loads(line)
        moment = event.get("_timestamp")
        if not isinstance(moment, int | float):
            continue
        at = round(moment * 1e6)
        runtime = (at - round(started.timestamp() * 1e6)) / 1e6
        samples += [
            (key.removeprefix(_SYSTEM), at, runtime, float(value))
            for key, value in event.items()
            if not key.startswith("_") and isinstance(value, int | float)
        ]
    kinds = {**SYSTEM_METRICS, "logged_at": pl.Int64()}
    frame = pl.DataFrame(samples, schema=kinds, orient="row")
    return frame.cast({"logged_at": SYSTEM_METRICS["logged_at"]})


def _artifacts(nodes: dict[str, list[Any]]) -> pl.DataFrame:
    rows = [
        {
            "direction": direction,
            "artifact_type": node["artifactType"]["name"],
            "artifact_name": node["artifactSequence"]["name"],
            "version": f"v{node['versionIndex']}",
            "aliases": sorted(one["alias"] for one in node.get("aliases") or ()),
            "files": [
                {"name": edge["node"]["name"], "size_bytes": edge["node"]["sizeBytes"]}
                for edge in (node.get("files") or {}).get("edges") or ()
            ],
            "size_bytes": node.get("size"),
            "digest": node.get("digest"),
            "created_at": instant(node.get("createdAt")),
        }
        for direction, found in nodes.items()
        for node in found
    ]
    frame = pl.DataFrame(rows, schema=ARTIFACTS) if rows else ARTIFACTS.to_frame()
    return frame.with_row_index("sequence")


def _metric_definitions(config: dict[str, Any]) -> pl.DataFrame:
    """What ``define_metric`` left in W&B's own branch of the config.

    There a definition is a record whose keys are the numbers of its fields.

    Source: wandb 0.31, ``MetricRecord`` in wandb_internal.proto.
    """
    internal = config.get(INTERNAL)
    told = internal.get("m") if isinstance(internal, dict) else None
    records = [one for one in told or () if isinstance(one, dict)]
    names = [one.get("1") or one.get("2") for one in records]
    rows = {}
    for record, name in zip(records, names, strict=True):
        # an x axis that nobody defined has a record, too, to be pointed at
        is_defined = "2" in record or _DEFINED in (record.get("6") or ())
        if isinstance(name, str) and name and is_defined:
            rows[name] = {
                "pattern": name,
                "step_metric": _step_metric(record, names),
                "summary": _summary_kinds(record.get("7")),
                "goal": GOALS.get(record.get("8") or 0),
            }
    return pl.DataFrame(list(rows.values()), schema=METRIC_DEFINITIONS)


def _step_metric(record: dict[str, Any], names: list[Any]) -> str | None:
    named, index = record.get("4"), record.get("5")
    if isinstance(named, str) and named:
        return named
    if isinstance(index, int) and 0 < index <= len(names):
        found = names[index - 1]
        return found if isinstance(found, str) else None
    return None


_DEFINED = 3
"""Field number in ``MetricOptions``. Source: wandb 0.31, wandb_internal.proto."""

_SUMMARIES = dict(
    enumerate(("min", "max", "mean", "best", "last", "none", "copy", "first"), start=1)
)
"""Field numbers of ``MetricSummary``. Source: wandb 0.31, wandb_internal.proto."""


def _summary_kinds(numbers: Any) -> str | None:
    if not isinstance(numbers, list):
        return None
    kinds = [_SUMMARIES[one] for one in numbers if one in _SUMMARIES]
    return ",".join(kinds) or None
