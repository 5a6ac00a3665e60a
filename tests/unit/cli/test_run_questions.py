"""``runs`` and ``rewards`` on the playbook's lab: answers and refusals."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from run_assets.exports import read_export
from run_assets.lab import Lab
from run_assets.rewards.table import REWARD_COMPONENTS
from run_assets.stored_runs import stored_runs
from tests.support.labs import START, run_file
from tests.support.playbook_labs import ESCAPE, STEPS, TABLE

from .conftest import Call

JSON = ("--output-format", "json")


def document(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    assert found["schema_version"] == 1
    return found


def test_a_run_is_shown_with_history_and_artifacts(inquire: Call) -> None:
    words = ("runs", "get", "my-run", "--include-history", "--include-artifacts")
    [run] = document(inquire(*words, *JSON).out)["rows"]
    assert run["config"]["lora_rank"] == 16
    assert {one["artifact_name"] for one in run["artifacts"]} == {
        "eval-replays",
        "weights",
    }
    points = [one for one in run["history"] if one["metric"] == "benchmark/loss"]
    assert len(points) == STEPS
    table = inquire(*words).out
    assert "\nhistory\n" in table
    assert "\nartifacts\n" in table
    refused = inquire(*words, "--output-format", "csv")
    assert (refused.code, "holds one table" in refused.err) == (2, True)


def test_statistics_and_values_come_together(inquire: Call) -> None:
    answer = inquire("runs", "metrics", "my-run", "-m", "elo/challenger", *JSON)
    [row] = document(answer.out)["rows"]
    assert row["n_points"] == 4
    assert [(one["x"], one["value"]) for one in row["values"]] == [
        (step, 1000.0 + step) for step in (0, 10, 20, 30)
    ]


def test_sparse_values_stand_at_their_own_time(inquire: Call) -> None:
    words = (
        "runs",
        "metrics",
        "my-run",
        "-m",
        "elo/win_rate",
        "--x-axis",
        "_timestamp",
    )
    [row] = document(inquire(*words, *JSON).out)["rows"]
    wanted = [(START + timedelta(seconds=2 * at)).isoformat() for at in (0, 10, 20, 30)]
    assert [one["x"] for one in row["values"]] == wanted


def test_all_metrics_have_their_values(inquire: Call) -> None:
    rows = document(inquire("runs", "metrics", "my-run", "--all-metrics", *JSON).out)
    assert len(rows["rows"]) > 20
    assert all(row["values"] for row in rows["rows"])
    both = inquire("runs", "metrics", "my-run", "--all-metrics", "-m", "x")
    assert (both.code, "exclude" in both.err) == (2, True)


def test_without_a_choice_there_are_statistics_alone(inquire: Call) -> None:
    rows = document(inquire("runs", "metrics", "my-run", *JSON).out)["rows"]
    assert "values" not in rows[0]


def test_a_table_is_read_from_beside_the_run(inquire: Call) -> None:
    words = ("runs", "artifacts", "my-run", "--table", TABLE)
    rows = document(inquire(*words, *JSON).out)["rows"]
    assert rows[0] == {"opponent": "bot", "win_rate": 0.5, "note": "1"}
    assert rows[1]["win_rate"] is None
    csv = inquire(*words, "--output-format", "csv").out
    assert "'=cmd()" in csv
    assert inquire(*words, "--step", str(STEPS - 1)).code == 0
    early = inquire(*words, "--step", "3")
    assert (early.code, "it did at 39" in early.err) == (5, True)
    other = inquire("runs", "artifacts", "my-run", "--table", "eval/summry_table")
    assert (other.code, "did you mean 'eval/summary_table'" in other.err) == (5, True)


def test_artifacts_are_chosen_by_type(inquire: Call) -> None:
    answer = inquire("runs", "artifacts", "my-run", "--type", "rep*", *JSON)
    found = document(answer.out)
    assert [one["artifact_name"] for one in found["rows"]] == ["eval-replays"]
    assert [one["metric"] for one in found["logged_objects"]] == [TABLE]
    none = inquire("runs", "artifacts", "my-run", "--type", "video")
    assert "has no artifacts of type 'video'" in none.err


def test_a_table_that_was_changed_or_lost_is_refused(
    inquire: Call, playbook: Lab
) -> None:
    folder = run_file(playbook.config.root, "train2").parent / "files"
    [file] = folder.rglob("*.table.json")
    words = ("runs", "artifacts", "run-b", "--table", TABLE)
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace("bot", "bit"), encoding="utf-8")
    changed = inquire(*words)
    file.unlink()
    lost = inquire(*words)
    file.symlink_to("/etc/hostname")
    linked = inquire(*words)
    file.unlink()
    file.write_text(whole, encoding="utf-8")
    assert (changed.code, "SHA-256 differs" in changed.err) == (1, True)
    assert (lost.code, "moved or deleted" in lost.err) == (5, True)
    assert (linked.code, "moved or deleted" in linked.err) == (5, True)


def test_a_table_outside_of_the_runs_folder_is_not_read(inquire: Call) -> None:
    answer = inquire("runs", "artifacts", "run-c", "--table", ESCAPE)
    assert (answer.code, answer.out) == (1, "")
    assert "lies in the run's folder" in answer.err


def test_metrics_take_every_word_up_to_the_next_option(inquire: Call) -> None:
    words = ("runs", "compare", "run-a", "run-b", "--metrics", "benchmark/loss")
    answer = inquire(*words, "benchmark/kl", "--level", "benchmark/loss=0.1", *JSON)
    found = document(answer.out)
    assert [(row["metric"], row["run_name"]) for row in found["rows"]] == [
        ("benchmark/loss", "run-a"),
        ("benchmark/loss", "run-b"),
        ("benchmark/kl", "run-a"),
        ("benchmark/kl", "run-b"),
    ]
    assert found["rows"][0]["best"] == pytest.approx(1 / 40 + 0.01)
    assert found["rows"][0]["steps_to_level"] == 11
    assert "no best value of benchmark/kl" in answer.err
    keys = {one["key"] for one in found["config_differences"]}
    assert keys == {"env.size", "learning_rate", "seed"}
    assert found["differences"] == []


def test_replicates_get_an_interval_and_a_goal_its_direction(inquire: Call) -> None:
    names = ("my-run", "run-a", "run-b", "run-c")
    words = ("runs", "compare", *names, "-m", "benchmark/reward_mean")
    answer = inquire(*words, *JSON)
    found = document(answer.out)
    assert {row["direction"] for row in found["rows"]} == {"higher"}  # define_metric
    [between] = found["differences"]
    assert between["mean_difference"] == pytest.approx(-0.2)
    assert between["ci_low"] < -0.2 < between["ci_high"]
    table = inquire(*words).out
    assert "\nconfig differences\n" in table
    lower = inquire(*words, "--direction", "benchmark/reward_mean=lower", *JSON)
    assert document(lower.out)["rows"][0]["best_step"] == 0


def test_runs_that_logged_nothing_are_compared_all_the_same(inquire: Call) -> None:
    answer = inquire("runs", "compare", "empty", "my-run", "-m", "league/*", *JSON)
    assert {row["run_name"] for row in document(answer.out)["rows"]} == {"my-run"}
    alone = inquire("runs", "compare", "empty")
    assert (alone.code, "(no rows)" in alone.out) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--direction", "benchmark/loss=up"], "METRIC=lower or METRIC=higher"),
        (["--direction", "los=lower"], "no metric 'los' is compared"),
        (["--level", "benchmark/loss=low"], "METRIC=VALUE"),
        (["--level", "benchmark/kl=9"], "which direction is good"),
        (["--confidence", "1.5"], "confidence"),
        (["-m", "nothing"], "no run has a metric 'nothing'"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    inquire: Call, words: list[str], said: str
) -> None:
    answer = inquire("runs", "compare", "run-a", "run-b", *words)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--config", "lora_rank=16", "--tag", "baseline"], {"my-run"}),
        (["--config", "learning_rate>=5e-5"], {"run-b", "run-c"}),
        (["-c", "seed=0", "-c", "env.size=3..3"], {"my-run"}),
        (["--config", "base_model_id=Qwen/*", "--group", "nobody"], set()),
        (["--config=seed!=0"], {"run-a", "run-c"}),
        (["--state", "finished", "--limit", "2"], {"empty", "trainer"}),
    ],
)
def test_runs_are_found_by_their_config(
    inquire: Call, words: list[str], names: set[str]
) -> None:
    rows = document(inquire("runs", "search", *words, *JSON).out)["rows"]
    assert {row["run_name"] for row in rows} == names


def test_a_search_shows_what_it_asked_about(inquire: Call) -> None:
    answer = inquire("runs", "search", "--config", "env.size=4", *JSON)
    assert {row["config.env.size"] for row in document(answer.out)["rows"]} == {"4"}
    unknown = inquire("runs", "search", "--config", "lora_rnk=1")
    assert (unknown.code, "did you mean 'lora_rank'" in unknown.err) == (2, True)


def test_similar_runs_list_the_keys_that_differ(inquire: Call) -> None:
    words = ("runs", "similar", "my-run", "--differences", "1")
    [row] = document(inquire(*words, *JSON).out)["rows"]
    assert row["run_name"] == "run-a"
    assert row["differences"] == [{"key": "seed", "here": "0", "there": "1"}]
    assert "seed: 0 -> 1" in inquire(*words).out
    none = inquire("runs", "similar", "my-run", "--differences", "0")
    assert "--differences allows more" in none.err


def test_cache_statistics_are_sums(inquire: Call) -> None:
    answer = inquire("runs", "cache-stats", "my-run", *JSON)
    found = {row["statistic"]: row["value"] for row in document(answer.out)["rows"]}
    assert found["hit_rate"] == pytest.approx(sum(range(STEPS)) / STEPS / STEPS)
    wanted = sum(1000 * (step + 1) * step / STEPS for step in range(STEPS))
    assert found["tokens_saved"] == pytest.approx(wanted)
    assert found["batches"] is None
    none = inquire("runs", "cache-stats", "trainer")
    assert (none.code, "caching is off, or not logged" in none.err) == (0, True)


def test_an_export_stands_wherever_a_run_can(
    inquire: Call, call: Call, playbook: Lab, tmp_path: Path
) -> None:
    file, folder = tmp_path / "a.json", tmp_path / "folder"
    assert inquire("runs", "export", "my-run", "-o", str(file)).code == 0
    inquire("runs", "export", "my-run", "-o", str(folder), "--tables", "parquet")
    [run] = stored_runs(playbook, ["lab/diplomacy-grpo/train0"])
    for export in (file, folder):
        assert read_export(export).rows().equals(run.rows())
        for command in (
            ["get"],
            ["metrics", "-m", "elo/challenger"],
            ["artifacts"],
            ["cache-stats"],
            ["compare", "-m", "elo/win_rate"],
        ):
            words = ("runs", command[0], str(export), *command[1:], *JSON)
            outside = call(*words, folder=tmp_path)  # where there is no lab
            assert outside.code == 0, outside.err
            stored = inquire("runs", command[0], "my-run", *command[1:], *JSON)
            assert json.loads(outside.out) == json.loads(stored.out)
    near = inquire("runs", "similar", str(file), "--differences", "1", *JSON)
    assert document(near.out)["rows"][0]["run_name"] == "run-a"


def test_rewards_are_those_of_the_table(inquire: Call, playbook: Lab) -> None:
    answer = inquire("rewards", "29hn8w98", "--output-format", "csv")
    stored = playbook.lake.read("diagnostics.reward_components")
    mine = stored.filter(run_path="lab/diplomacy-grpo/29hn8w98")
    read = pl.read_csv(answer.out.encode(), schema=REWARD_COMPONENTS)
    assert read.equals(mine)


def test_rewards_of_two_runs_are_joined(inquire: Call) -> None:
    words = ("rewards", "--orchestrator-run", "29hn8w98", "--trainer-run", "7nikv4vp")
    first, second = document(inquire(*words, *JSON).out)["rows"]
    assert (first["role"], second["role"]) == ("orchestrator", "trainer")
    rare = next(one for one in first["components"] if one["metric"] == "reward/rare")
    assert (rare["step_25"], rare["step_90"]) == (15, 35)  # its own steps
    assert first["component_groups"]["reward"]
    assert first["ledger"]["largest_difference"] < 1e-12
    assert [one["task"] for one in first["success_rates"]] == ["maze"]
    verdicts = {one["metric"]: one["verdict"] for one in second["training"]}
    assert verdicts["perf/throughput"] == "improving"
    assert verdicts["optim/lr"] == "constant"
    assert verdicts["loss/mean"] == "improving"


def test_the_files_of_the_guide_are_written_and_can_be_analysed_again(
    inquire: Call, call: Call, tmp_path: Path
) -> None:
    words = ("rewards", "--orchestrator-run", "29hn8w98", "--trainer-run", "7nikv4vp")
    out = tmp_path / "wandb_analysis"
    written = inquire(*words, "--output-dir", str(out))
    assert written.code == 0
    names = {str(one.relative_to(out)) for one in out.rglob("*") if one.is_file()}
    assert names == {
        "reward_analysis_summary.json",
        "orchestrator_rewards.csv",
        "29hn8w98/29hn8w98_summary.json",
        "29hn8w98/29hn8w98_history.csv",
        "7nikv4vp/7nikv4vp_summary.json",
        "7nikv4vp/7nikv4vp_history.csv",
    }
    summary = (out / "reward_analysis_summary.json").read_text(encoding="utf-8")
    assert json.loads(summary) == json.loads(inquire(*words, *JSON).out)
    values = pl.read_csv(out / "orchestrator_rewards.csv")
    assert values.height == STEPS
    assert values["reward/rare"].null_count() == STEPS - 4
    again = call("rewards", str(out / "7nikv4vp"), "--local-only", folder=tmp_path)
    assert (again.code, "perf/throughput" in again.out) == (0, True)
    named = inquire("rewards", str(out / "29hn8w98"), *JSON)
    [row] = document(named.out)["rows"]
    assert (row["run_name"], row["run_state"]) == ("orchestrator", "finished")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--group", "sweep"], {"my-run", "run-a", "run-b", "run-c"}),
        (["--tag", "baseline"], {"my-run"}),
        (["--config", "seed=1"], {"run-a", "run-c"}),
        ([], {"my-run", "run-a", "run-b", "run-c", "orchestrator", "trainer", "empty"}),
    ],
)
def test_rewards_of_runs_by_group_tag_and_config(
    inquire: Call, words: list[str], names: set[str]
) -> None:
    rows = document(inquire("rewards", *words, *JSON).out)["rows"]
    assert {row["run_name"] for row in rows} == names


def test_a_wrong_run_id_names_similar_ones(inquire: Call) -> None:
    for words in ([], ["--local-only"]):
        answer = inquire("rewards", "29hn8w99", *words)
        assert (answer.code, answer.out) == (5, "")
        assert "did you mean '29hn8w98'" in answer.err
        assert ("--local-only asked no source" in answer.err) == bool(words)


def test_an_empty_history_is_said_and_is_no_analysis(inquire: Call) -> None:
    answer = inquire("rewards", "empty")
    assert (answer.code, answer.out) == (5, "")
    assert "empty history" in answer.err
    assert "never sampled" in answer.err
    both = inquire("rewards", "empty", "29hn8w98")
    assert both.code == 0
    assert "lab/diplomacy-grpo/empty logged no numbers" in both.err


def test_no_runs_are_no_data(call: Call, tmp_path: Path) -> None:
    (tmp_path / "run_assets.yaml").write_text("sources: []\n", encoding="utf-8")
    answer = call("rewards", folder=tmp_path)
    assert (answer.code, "no data available" in answer.err) == (5, True)
