"""Which runs a W&B project holds, and what the server says of each without its history.

One request per 1,000 runs, in the order of creation: a value that moves while one
pages would hide runs.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import cached_property
from typing import Any

from run_assets.config import WandbApi
from run_assets.digests import digest_of
from run_assets.errors import NotFoundError
from run_assets.own_runs import is_own_run
from run_assets.sources.wandb_api_client import WandbClient, web_address
from run_assets.sources.wandb_api_queries import RUNS, existence_query
from run_assets.sources.wandb_records import json_text

PAGE_RUNS = 1000
MOST_PASSES = 8
"""Times that a listing is repeated while the server says there are more runs."""
NAMES_PER_QUERY = 200
INTERNAL = "_wandb"

_STATES = {"preempting": "running", "preempted": "killed"}
_KNOWN_STATES = frozenset({"running", "finished", "failed", "crashed", "killed"})
_SOURCES_OF_RUNTIME = (("_wandb", "runtime"), ("_runtime",))


@dataclass(frozen=True)
class ListedRun:
    """A run as a listing shows it.

    Attributes:
        entity: As in the configuration.
        project: As in the configuration.
        node: What the server says, by its own names.
        base_url: The server.
    """

    entity: str
    project: str
    node: Mapping[str, Any] = field(repr=False)
    base_url: str

    @property
    def run_id(self) -> str:
        """W&B calls it the run's name."""
        return str(self.node["name"])

    @cached_property
    def run_path(self) -> str:
        """``entity/project/run_id``."""
        return "/".join(
            name.replace("/", "%2F")
            for name in (self.entity, self.project, self.run_id)
        )

    @property
    def url(self) -> str:
        """Where a person looks at the run."""
        web = web_address(self.base_url)
        return f"{web}/{self.entity}/{self.project}/runs/{self.run_id}"

    @property
    def created_at(self) -> datetime:
        """When it was started (UTC)."""
        return instant(self.node.get("createdAt")) or datetime.fromtimestamp(0, UTC)

    @property
    def heartbeat_at(self) -> datetime | None:
        """When it was last heard of (UTC)."""
        return instant(self.node.get("heartbeatAt"))

    @property
    def row_count(self) -> int:
        """History rows that the server counts."""
        return int(self.node.get("historyLineCount") or 0)

    @cached_property
    def digest(self) -> str:
        """Changes with anything that the listing shows."""
        return digest_of(self.node)

    @cached_property
    def raw_config(self) -> dict[str, Any]:
        """The config with W&B's own branch, its values unwrapped."""
        config = parsed(self.node.get("config"))
        return {key: _unwrapped(entry) for key, entry in config.items()}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The summary with W&B's own branch."""
        return parsed(self.node.get("summaryMetrics"))

    @property
    def is_own(self) -> bool:
        """We published it ourselves."""
        return is_own_run(self.raw_config)

    def columns(self) -> dict[str, Any]:
        """Columns of ``raw.runs`` that a listing knows."""
        node, config = self.node, self.raw_config
        internal = config.get(INTERNAL)
        about = internal if isinstance(internal, dict) else {}
        user = node.get("user") or {}
        return {
            "run_name": node.get("displayName"),
            "run_group": node.get("group") or None,
            "job_type": node.get("jobType") or None,
            "tags": [str(tag) for tag in node.get("tags") or ()],
            "notes": node.get("notes") or None,
            "run_state": run_state(node.get("state")),
            "created_at": self.created_at,
            "heartbeat_at": self.heartbeat_at,
            "runtime_seconds": _runtime_seconds(self.summary),
            "config_json": json_text(_without_internal(config)),
            "summary_json": json_text(_without_internal(self.summary)),
            "user_name": user.get("username"),
            "git_commit": node.get("commit") or None,
            "sdk_version": _text(about.get("cli_version")),
            "sweep_name": node.get("sweepName") or None,
            "url": self.url,
            "source_location": self.url,
        }


def list_runs(client: WandbClient, source: WandbApi, path: str) -> list[ListedRun]:
    """The runs of a project that pass the source's filter, oldest first.

    With ``max_runs`` only the youngest ones.

    Raises:
        NotFoundError: There is no such project, or the key may not see it.
    """
    entity, _, project = path.partition("/")
    found: dict[str, ListedRun] = {}
    for _ in range(MOST_PASSES):
        promised = 0
        for node, count in _pages(client, source, entity, project):
            promised = count
            listed = ListedRun(entity, project, node, client.base_url)
            found[listed.run_id] = listed
            if len(found) == source.max_runs:
                break
        # Runs of the same second may change places between two pages.
        if len(found) >= min(promised, source.max_runs or promised):
            break
    return sorted(found.values(), key=lambda one: (one.created_at, one.run_id))


def _pages(
    client: WandbClient, source: WandbApi, entity: str, project: str
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Each run of a listing, and how many the server counts."""
    cursor = None
    variables = {
        "entity": entity,
        "project": project,
        "perPage": min(PAGE_RUNS, source.max_runs or PAGE_RUNS),
        "order": "-created_at" if source.max_runs else "+created_at",
        "filters": json.dumps(run_filter(source)),
    }
    while True:
        answer = client.query("Runs", RUNS, {**variables, "cursor": cursor})
        found = answer.get("project")
        if not found:
            msg = (
                f"no project {entity}/{project} on {client.base_url}, or the API key "
                "may not see it; correct `projects` in run_assets.yaml"
            )
            raise NotFoundError(msg)
        for edge in found["runs"]["edges"]:
            yield edge["node"], int(found.get("runCount") or 0)
        info = found["runs"]["pageInfo"]
        if not (info["hasNextPage"] and info["endCursor"]):
            return
        cursor = info["endCursor"]


def run_filter(source: WandbApi) -> dict[str, Any]:
    """The source's conditions as one filter in W&B's (MongoDB's) language."""
    parts: list[dict[str, Any]] = [dict(source.filters)] if source.filters else []
    if source.tags:
        parts.append({"tags": {"$in": list(source.tags)}})
    if source.groups:
        parts.append({"group": {"$in": list(source.groups)}})
    if source.states:
        parts.append({"state": {"$in": list(source.states)}})
    if source.created_after:
        midnight = datetime.combine(source.created_after, time(), UTC)
        parts.append({"created_at": {"$gte": midnight.isoformat()}})
    return {"$and": parts} if len(parts) > 1 else (parts or [{}])[0]


def vanished_runs(
    client: WandbClient, entity: str, project: str, run_ids: Iterable[str]
) -> set[str]:
    """Those of some runs that the server no longer has; it is asked for each."""
    names = sorted(run_ids)
    gone: set[str] = set()
    for first in range(0, len(names), NAMES_PER_QUERY):
        some = names[first : first + NAMES_PER_QUERY]
        variables = {f"r{number}": name for number, name in enumerate(some)}
        answer = client.query(
            "RunsByName",
            existence_query(len(some)),
            {"entity": entity, "project": project, **variables},
        )
        found = answer.get("project") or {}
        gone.update(
            name for key, name in variables.items() if found.get(key, 0) is None
        )
    return gone


def run_state(state: Any) -> str:
    """W&B's word for a state as one of ours.

    >>> run_state("preempted"), run_state("pending")
    ('killed', 'unknown')
    """
    known = _STATES.get(state, state)
    return known if known in _KNOWN_STATES else "unknown"


def instant(text: Any) -> datetime | None:
    """A time as the API writes it; without a zone it is UTC.

    >>> instant("2026-01-02T03:04:05").isoformat()
    '2026-01-02T03:04:05+00:00'
    """
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def parsed(text: Any) -> dict[str, Any]:
    """A JSON object that the API sends as text; nothing where it is something else."""
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _unwrapped(entry: Any) -> Any:
    return entry.get("value") if isinstance(entry, dict) and "value" in entry else entry


def _without_internal(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key != INTERNAL}


def _runtime_seconds(summary: Mapping[str, Any]) -> float | None:
    for place in _SOURCES_OF_RUNTIME:
        value: Any = summary
        for key in place:
            value = value.get(key) if isinstance(value, dict) else None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and math.isfinite(value):
            return float(value)
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
