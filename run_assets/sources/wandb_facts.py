"""What the records of a run say together, history aside: a fold over records.

The facts are plain values, so that they can be saved beside a byte offset and the fold
taken up again when the file has grown.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

from run_assets.sources.wandb_records import (
    LARGEST_STEP,
    decode_value,
    item_path,
    parse_json,
    remove_at,
    set_at,
    timestamp_us,
)

INTERNAL = "_wandb"  # W&B's own branch of config and summary
LARGEST_SIZE = 2**63 - 1  # of a 64-bit column; sizes are what a stranger claims
GOALS = {1: "minimize", 2: "maximize"}  # MetricRecord.MetricGoal


class SystemSample(NamedTuple):
    """One value of a `StatsRecord`; `logged_at_us` counts microseconds since 1970."""

    metric: str
    logged_at_us: int | None
    value: float


@dataclass
class RunFacts:
    """What is known of a run so far; every field is JSON.

    Attributes:
        names: Text columns of `raw.runs`, for example `project`, as far as known.
        has_run_record: Without one nothing is known about the run's state.
        is_begun: The current file has had its first run record.
        created_us: Start of the (first) process, microseconds since 1970.
        heartbeat_us: Latest time stamp in any record, microseconds since 1970.
        starting_step: First step of the process that wrote the current file.
        exit_code: Of the current file; None while there is no exit record.
        exit_runtime_seconds: What the exit record says.
        logged_runtime_seconds: `_runtime` of the latest history record that has one.
        config: As a tree, without W&B's own branch.
        summary: As a tree, with W&B's own branch.
        metric_definitions: By pattern, as in `raw.metric_definitions`.
        artifacts: By identity, as in `raw.artifacts`, in the order of the records.
    """

    names: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    has_run_record: bool = False
    is_begun: bool = False
    created_us: int | None = None
    heartbeat_us: int | None = None
    starting_step: int = 0
    exit_code: int | None = None
    exit_runtime_seconds: int | None = None
    logged_runtime_seconds: float | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    metric_definitions: dict[str, dict[str, Any]] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def saw(self, instant_us: int | None) -> None:
        """Move the heartbeat."""
        if instant_us is not None:
            self.heartbeat_us = max(instant_us, self.heartbeat_us or instant_us)

    def to_dict(self) -> dict[str, Any]:
        """A copy of all fields; trees are sorted, so that equal facts look equal."""
        saved = {known.name: getattr(self, known.name) for known in fields(self)}
        trees = {"config": self.config, "summary": self.summary}
        copied: dict[str, Any] = json.loads(json.dumps(saved))
        copied.update(json.loads(json.dumps(trees, sort_keys=True)))
        return copied

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; shares nothing with `saved`."""
        return cls(**json.loads(json.dumps(saved)))


def begin_file(facts: RunFacts) -> None:
    """Forget what belongs to one process: a resumed run has not exited again yet."""
    facts.exit_code = facts.exit_runtime_seconds = None
    facts.starting_step = 0
    facts.is_begun = False


def fold(facts: RunFacts, record: Any) -> list[SystemSample]:
    """Take one `Record` message into the facts; system metrics are handed back."""
    kind = record.WhichOneof("record_type")
    if kind == "stats":
        return _system_samples(facts, record.stats)
    if change := _FOLDS.get(kind):
        change(facts, getattr(record, kind))
    return []


def _system_samples(facts: RunFacts, stats: Any) -> list[SystemSample]:
    instant = timestamp_us(stats.timestamp)
    facts.saw(instant)
    decoded = [(item.key, decode_value(item.value_json)) for item in stats.item]
    return [
        SystemSample(metric, instant, pair[0])
        for metric, pair in decoded
        if pair is not None and pair[0] is not None and not metric.startswith("_")
    ]


def _fold_run(facts: RunFacts, run: Any) -> None:
    _name(
        facts,
        entity=run.entity,
        project=run.project,
        run_id=run.run_id,
        run_name=run.display_name,
        run_group=run.run_group,
        job_type=run.job_type,
        notes=run.notes,
        sweep_name=run.sweep_id,
        host_name=run.host,
        git_commit=run.git.commit,
    )
    is_sane = 0 <= run.starting_step <= LARGEST_STEP
    facts.starting_step = run.starting_step if is_sane else 0
    _started(facts, timestamp_us(run.start_time))
    _fold_telemetry(facts, run.telemetry)
    if facts.is_begun:
        facts.tags = list(run.tags)
    else:
        facts.tags = list(run.tags) or facts.tags
        # Later run records of a file repeat what config and summary records say, with
        # integers rounded to doubles.
        _fold_config(facts, run.config)
        _fold_summary(facts, run.summary)
    facts.has_run_record = facts.is_begun = True


def _name(facts: RunFacts, **names: str) -> None:
    facts.names.update({column: text for column, text in names.items() if text})


def _started(facts: RunFacts, instant_us: int | None) -> None:
    facts.saw(instant_us)
    if instant_us is not None:
        facts.created_us = min(instant_us, facts.created_us or instant_us)


def _fold_config(facts: RunFacts, config: Any) -> None:
    for item in config.update:
        path, value = item_path(item), parse_json(item.value_json)
        if path[0] == INTERNAL:
            _fold_internal(facts, path[1:], value)
        else:
            set_at(facts.config, path, value)
    for item in config.remove:
        remove_at(facts.config, item_path(item))


def _fold_internal(facts: RunFacts, path: tuple[str, ...], value: Any) -> None:
    """Of W&B's own branch of the config only the SDK's version is of interest."""
    version = value.get("cli_version") if isinstance(value, dict) else value
    if path in {(), ("cli_version",)} and isinstance(version, str):
        _name(facts, sdk_version=version)


def _fold_summary(facts: RunFacts, summary: Any) -> None:
    for item in summary.update:
        set_at(facts.summary, item_path(item), parse_json(item.value_json))
    for item in summary.remove:
        remove_at(facts.summary, item_path(item))


def _fold_telemetry(facts: RunFacts, telemetry: Any) -> None:
    _name(facts, sdk_version=telemetry.cli_version)


def _fold_header(facts: RunFacts, header: Any) -> None:
    version, _, _commit = header.version_info.producer.partition("+")
    if version:
        facts.names.setdefault("sdk_version", version)


def _fold_environment(facts: RunFacts, environment: Any) -> None:
    _name(
        facts,
        user_name=environment.username,
        host_name=environment.host,
        program=environment.program,
        git_commit=environment.git.commit,
    )
    if facts.created_us is None:
        _started(facts, timestamp_us(environment.started_at))


def _fold_exit(facts: RunFacts, exit_record: Any) -> None:
    facts.exit_code = exit_record.exit_code
    facts.exit_runtime_seconds = exit_record.runtime or None


def _fold_metric(facts: RunFacts, metric: Any) -> None:
    pattern = metric.glob_name or metric.name
    if not pattern or metric.expanded_from_glob:
        return
    said = {
        "step_metric": metric.step_metric or None,
        "summary": ",".join(
            option.name
            for option, value in metric.summary.ListFields()
            if value is True
        )
        or None,
        "goal": GOALS.get(metric.goal),
    }
    is_new = metric._control.overwrite  # noqa: SLF001 - so named in wandb.proto
    known = {} if is_new else facts.metric_definitions.get(pattern, {})
    definition = dict.fromkeys(said) | known
    definition.update({key: value for key, value in said.items() if value})
    facts.metric_definitions[pattern] = definition


def _fold_artifact(facts: RunFacts, artifact: Any) -> None:
    files = [
        {"name": entry.path, "size_bytes": max(0, entry.size)}
        for entry in artifact.manifest.contents
    ]
    _add_artifact(
        facts,
        direction="logged",
        artifact_type=artifact.type,
        artifact_name=artifact.name,
        version=None,  # the server counts versions
        aliases=list(artifact.aliases),
        files=files,
        size_bytes=min(sum(entry["size_bytes"] for entry in files), LARGEST_SIZE),
        digest=artifact.digest or None,
    )


def _fold_use_artifact(facts: RunFacts, used: Any) -> None:
    name, _, version = used.name.rpartition(":")
    _add_artifact(
        facts,
        direction="used",
        artifact_type=used.type,
        artifact_name=name or used.name,
        version=version if name else None,
        aliases=[],
        files=[],
        size_bytes=None,
        digest=None,
    )


def _add_artifact(facts: RunFacts, **artifact: Any) -> None:
    parts = ("direction", "artifact_type", "artifact_name", "version", "digest")
    identity = json.dumps([artifact[part] for part in parts])
    facts.artifacts[identity] = artifact


_FOLDS: dict[str | None, Callable[[RunFacts, Any], None]] = {
    "run": _fold_run,
    "config": _fold_config,
    "summary": _fold_summary,
    "telemetry": _fold_telemetry,
    "header": _fold_header,
    "environment": _fold_environment,
    "exit": _fold_exit,
    "metric": _fold_metric,
    "artifact": _fold_artifact,
    "use_artifact": _fold_use_artifact,
}
