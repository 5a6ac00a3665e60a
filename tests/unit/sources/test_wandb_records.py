"""What one record says, whoever wrote it."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from run_assets.sources.wandb_facts import RunFacts, begin_file, fold
from run_assets.sources.wandb_records import (
    HistoryRow,
    SummaryChanges,
    canonical_json,
    decode_value,
    history_row,
    json_text,
    parse_json,
    parse_record,
    protobufs,
    remove_at,
    set_at,
)
from tests.support.wandb_log import (
    artifact_record,
    config_record,
    history_record,
    metric_record,
    raw_history_record,
    run_record,
    stats_record,
    summary_record,
    typed_history_record,
)


def row_of(record: Any) -> HistoryRow:
    return history_row(record.history)


def folded(*records: Any) -> RunFacts:
    facts = RunFacts()
    for record in records:
        fold(facts, record)
    return facts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", (1.0, None)),
        ("-0", (-0.0, None)),
        ("0.1", (0.1, None)),
        ("1e-400", (0.0, None)),
        ("1e400", (math.inf, None)),
        (" 2 ", (2.0, None)),
        ("-Infinity", (-math.inf, None)),
        ("Infinity", (math.inf, None)),
        ("false", (0.0, "false")),
        ("9007199254740992", (2.0**53, None)),
        ("-9007199254740993", (-(2.0**53), "-9007199254740993")),
        ("1" * 5000, (math.inf, "1" * 5000)),
        ("9007199254740993.0", (2.0**53, None)),
        ('"NaN"', (None, '"NaN"')),
        ("[1, 2]", (None, "[1, 2]")),
        ('{"_type": "histogram"}', (None, '{"_type": "histogram"}')),
        ("null", None),
        ("", None),
        # Not JSON, though Python would take some of them for numbers.
        ("1_000", (None, "1_000")),
        ("nan", (None, "nan")),
        ("01", (None, "01")),
        ("1.", (None, "1.")),
        ("\u0661", (None, "\u0661")),
    ],
)
def test_a_logged_text_is_a_value_or_a_json_text(
    text: str, expected: tuple[float | None, str | None] | None
) -> None:
    assert decode_value(text) == expected


def test_nan_is_a_number() -> None:
    pair = decode_value("NaN")
    assert pair is not None
    assert pair[0] is not None
    assert math.isnan(pair[0])
    assert pair[1] is None


def test_keys_may_be_flat_or_paths_and_dots_are_kept() -> None:
    record = raw_history_record(
        [("flat", "1"), (("n", "x"), "2"), (("dot.key",), "3"), (("f/g",), "4")]
    )
    assert row_of(record).values == {
        "flat": (1.0, None),
        "n.x": (2.0, None),
        "dot.key": (3.0, None),
        "f/g": (4.0, None),
    }


def test_the_last_of_two_equal_names_counts() -> None:
    record = raw_history_record([(("a", "b"), "1"), (("a.b",), "2")])
    assert row_of(record).values == {"a.b": (2.0, None)}


def test_a_last_none_takes_the_value_away() -> None:
    assert row_of(raw_history_record([("a", "1"), ("a", "null")])).values == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"number": 0.5}, (0.5, None)),
        ({"number": math.inf}, (math.inf, None)),
        ({"integer": 3}, (3.0, None)),
        ({"integer": 2**60 + 1}, (2.0**60, str(2**60 + 1))),
        ({"boolean": False}, (0.0, "false")),
        ({"text": 'say "é"'}, (None, '"say \\"é\\""')),
        ({"json": "[1]"}, (None, "[1]")),
        ({"value_json": "4"}, (4.0, None)),
    ],
)
def test_typed_values_read_like_their_json(
    value: dict[str, Any], expected: tuple[float | None, str | None]
) -> None:
    assert row_of(typed_history_record("a", **value)).values == {"a": expected}


def test_a_typed_none_and_no_value_at_all_are_no_values() -> None:
    assert row_of(typed_history_record("a", none=0)).values == {}
    assert row_of(typed_history_record("a")).values == {}


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("5", 5), ("-5", -5), ("999999999999999999", 10**18 - 1),
        ("1000000000000000000", None), ('"5"', None), ("5.5", None), ("5.0", None),
        ("null", None), ("true", None), ("[1]", None), ("NaN", None),
    ],
)  # fmt: skip
def test_only_an_integer_of_a_sane_size_is_a_step(text: str, step: int | None) -> None:
    assert row_of(raw_history_record([("_step", text)])).logged_step == step


def test_the_first_of_two_steps_counts_as_for_the_server() -> None:
    record = raw_history_record([("_step", "5"), (("_step",), "9")])
    assert row_of(record).logged_step == 5


def test_the_step_beside_the_items_is_ignored() -> None:
    record = history_record({"a": 1})
    record.history.step.num = 77
    assert row_of(record).logged_step is None


def test_times_are_columns_and_not_metrics() -> None:
    row = row_of(history_record({"_timestamp": 1.25, "_runtime": 3, "a": 1}))
    assert (row.logged_at_us, row.runtime_seconds) == (1_250_000, 3.0)
    assert set(row.values) == {"a"}


@pytest.mark.parametrize("text", ["1e300", "-1e300", "NaN", "Infinity", '"now"', "[]"])
def test_a_time_that_no_clock_shows_is_none(text: str) -> None:
    row = row_of(raw_history_record([("_timestamp", text), ("_runtime", "NaN")]))
    assert (row.logged_at_us, row.runtime_seconds) == (None, None)


def test_json_for_other_readers_is_strict_sorted_and_exact() -> None:
    tree = parse_json('{"z": [NaN, -Infinity], "a": 123456789012345678901234567890}')
    text = json_text(tree)
    assert text == '{"a": 123456789012345678901234567890, "z": ["NaN", "-Infinity"]}'
    assert json.loads(text, parse_constant=pytest.fail)


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert json_text(parse_json('"\\ud800 \\ud83d\\ude00"')) == '"? 😀"'


@pytest.mark.parametrize(
    ("text", "strict"),
    [
        ('{"b":1,"a":[]}', '{"a": [], "b": 1}'),
        ('{"b":1.0,"a":null}', '{"b": 1}'),
        ("9007199254740993", "9007199254740993"),
        ('{"a": [NaN]}', '{"a": ["NaN"]}'),
        ('"NaN"', '"NaN"'),
        ("{oops", '"{oops"'),
        ("[" * 100_000, json.dumps("[" * 100_000)),
        ("[" * 500 + "]" * 500, json.dumps("[" * 500 + "]" * 500)),
    ],
)
def test_value_json_is_always_json(text: str, strict: str) -> None:
    assert canonical_json(parse_json(text)) == strict


def test_what_is_no_json_is_kept_as_text() -> None:
    facts = folded(config_record([(("a",), "{broken"), (("b",), "[" * 10_000)]))
    assert facts.config == {"a": "{broken", "b": "[" * 10_000}


def test_a_path_of_absurd_depth_is_one_key() -> None:
    facts = folded(config_record([(("a",) * 100_000, "1")]))
    assert list(facts.config.values()) == [1]
    assert json.loads(json_text(facts.config)) == facts.config


def test_config_changes_apply_in_order() -> None:
    facts = folded(
        run_record(config={"lr": 0.1, "model": {"layers": 2, "width": 8}}),
        config_record([(("lr",), "0.2"), (("model", "layers"), "3")]),
        config_record(remove=[("model", "width")]),
        config_record([(("new", "deep"), "true")]),
    )
    assert facts.config == {"lr": 0.2, "model": {"layers": 3}, "new": {"deep": True}}


def test_a_repeated_run_record_does_not_undo_or_round_the_config() -> None:
    facts = folded(
        run_record(config={"big": 2**70, "gone": 1}, tags=["a"]),
        config_record(remove=[("gone",)]),
        run_record(config={"big": float(2**70), "gone": 1}, tags=[]),
    )
    assert facts.config == {"big": 2**70}
    assert facts.tags == []


def test_a_resumed_process_adds_its_config_and_keeps_older_tags() -> None:
    facts = folded(run_record(config={"a": 1, "b": 1}, tags=["x"]))
    begin_file(facts)
    fold(facts, run_record(config={"b": 2}))
    assert facts.config == {"a": 1, "b": 2}
    assert facts.tags == ["x"]


def test_of_the_internal_branch_only_the_version_is_kept() -> None:
    facts = folded(
        config_record([(("_wandb",), '{"cli_version": "0.12.1", "t": {"1": [1]}}')])
    )
    assert facts.config == {}
    assert facts.names == {"sdk_version": "0.12.1"}


def test_summary_changes_reduce_to_their_effect() -> None:
    records = [
        summary_record([(("a", "x"), "1"), (("b",), "1")]),
        summary_record([(("a",), "5")]),
        summary_record([(("a", "y"), "2")], remove=[("b",)]),
        summary_record([(("b",), "3"), (("c",), "4")]),
        summary_record(remove=[("c",)]),
    ]
    changes = SummaryChanges()
    for record in records:
        changes.add(record.summary)
    reduced = [parse_record(payload) for payload in changes.payloads()]
    assert folded(*reduced).summary == folded(*records).summary
    assert folded(*records).summary == {"a": {"y": 2}, "b": 3}


def test_removing_what_is_not_there_changes_nothing() -> None:
    tree = {"a": 1, "b": {"c": 2}}
    for path in [("x",), ("a", "b"), ("b", "x"), ("b", "c", "d")]:
        remove_at(tree, path)
    assert tree == {"a": 1, "b": {"c": 2}}


def test_a_leaf_may_replace_a_branch() -> None:
    tree: dict[str, Any] = {}
    set_at(tree, ("a", "b"), 1)
    set_at(tree, ("a",), 2)
    assert tree == {"a": 2}


def test_metric_definitions_are_merged_by_pattern() -> None:
    pb = protobufs()
    facts = folded(
        metric_record(glob_name="train/*", step_metric="epoch"),
        metric_record(
            glob_name="train/*", summary=pb.MetricSummary(min=True, last=True), goal=1
        ),
        metric_record(name="acc", goal=2),
        metric_record(name="train/loss", expanded_from_glob=True),
        metric_record(name="odd", goal=99),
    )
    assert facts.metric_definitions == {
        "train/*": {"step_metric": "epoch", "summary": "min,last", "goal": "minimize"},
        "acc": {"step_metric": None, "summary": None, "goal": "maximize"},
        "odd": {"step_metric": None, "summary": None, "goal": None},
    }


def test_overwriting_a_definition_forgets_the_older_one() -> None:
    control = protobufs().MetricControl(overwrite=True)
    facts = folded(
        metric_record(name="acc", step_metric="epoch"),
        metric_record(name="acc", goal=2, _control=control),
    )
    definition = {"step_metric": None, "summary": None, "goal": "maximize"}
    assert facts.metric_definitions == {"acc": definition}


def test_artifacts_keep_direction_files_and_size() -> None:
    pb = protobufs()
    logged = artifact_record("model", [3, 4], type="model", digest="d1")
    used = pb.UseArtifactRecord(name="team/data:v3", type="dataset")
    facts = folded(logged, logged,
                   pb.Record(use_artifact=used))  # fmt: skip
    first, second = facts.artifacts.values()
    assert first["files"] == [
        {"name": "0.bin", "size_bytes": 3},
        {"name": "1.bin", "size_bytes": 4},
    ]
    assert (first["direction"], first["size_bytes"], first["digest"]) == (
        "logged", 7, "d1",
    )  # fmt: skip
    assert (second["direction"], second["artifact_name"], second["version"]) == (
        "used", "team/data", "v3",
    )  # fmt: skip


def test_who_where_and_with_what_is_read_from_several_records() -> None:
    pb = protobufs()
    version = pb.VersionInfo(producer="0.31.0+15f8cbc581")
    environment = pb.EnvironmentRecord(
        username="ann", host="gpu-1", program="train.py",
        git=pb.GitRepoRecord(commit="c0ffee"),
    )  # fmt: skip
    partial = pb.EnvironmentRecord(cpu_count=2)
    facts = folded(
        pb.Record(header=pb.HeaderRecord(version_info=version)),
        run_record(host="login-node"),
        pb.Record(environment=environment),
        pb.Record(environment=partial),
    )
    assert facts.names == {
        "run_id": "r1", "sdk_version": "0.31.0", "user_name": "ann",
        "host_name": "gpu-1", "program": "train.py", "git_commit": "c0ffee",
    }  # fmt: skip


def test_without_a_start_in_the_run_record_the_process_tells_it() -> None:
    record = protobufs().Record()
    record.environment.started_at.FromSeconds(1_700_000_000)
    assert folded(record).created_us == 1_700_000_000_000_000


def test_system_metrics_are_numbers_with_a_time() -> None:
    facts = RunFacts()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    record = stats_record(at, {"cpu": 0.5, "name": "A100", "none": None, "_wandb": 1})
    at_us = round(at.timestamp() * 1e6)
    assert fold(facts, record) == [("cpu", at_us, 0.5)]
    assert facts.heartbeat_us == at_us


def test_records_of_no_interest_and_of_the_future_are_passed_over() -> None:
    pb = protobufs()
    assert folded(pb.Record(footer=pb.FooterRecord()), pb.Record()) == RunFacts()


def test_facts_survive_json() -> None:
    facts = folded(run_record(config={"a": [1]}), config_record([(("n",), "NaN")]))
    saved = json.loads(json.dumps(facts.to_dict()))
    again = RunFacts.from_dict(saved)
    assert math.isnan(again.config.pop("n"))
    assert math.isnan(facts.config.pop("n"))
    assert again == facts
