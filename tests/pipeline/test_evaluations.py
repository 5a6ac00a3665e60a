"""Results through the whole pipeline: read, judged, estimated, shown, asked about."""

import contextlib
import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from run_assets.assets.evaluations import RAW
from run_assets.assets.results import key
from run_assets.cli.app import run
from run_assets.config import load_config, origins
from run_assets.contracts.tables import TABLES
from run_assets.definitions import build_definitions
from run_assets.errors import TryAgainError
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.refresh import Selection, plan_refresh, refresh
from tests.support.evaluations import (
    SWEEP,
    evaluation_lab,
    factorio_steps,
    write_sweep,
)
from tests.support.labs import make_lab, write_config
from tests.support.postgres import Step, sqlite_programs

PAGE = (Path(__file__).parents[2] / "docs" / "evaluations.md").read_text("utf-8")
PUZZLES = "puzzles_20260103_000000_ffff0000"
CANARY = "canary-81b7"
Call = Callable[..., tuple[int, str]]


def sweep_rows(n: int = 4) -> list[dict[str, object]]:
    """Trials of two models on one task, one that failed and one to come."""
    times = {
        "started_at": "2026-01-03T00:00:00+00:00",
        "finished_at": "2026-01-03T00:00:01.500+00:00",
    }
    done: list[dict[str, object]] = [
        {
            "model": model,
            "task": "sort",
            "trial": trial,
            "success": trial % 2 == 0,
            "reward": float(trial % 2 == 0),
            "tokens": 100 * trial,
            "cost": 0.01,
            "status": "successful",
            **times,
        }
        for model in ("gpt-4o", "gpt-4o-mini")
        for trial in range(n)
    ]
    failed: dict[str, object] = {
        "model": "gpt-4o",
        "task": "sort",
        "trial": n,
        "status": "failed_final",
    }
    return [
        *done,
        {**failed, "error_class": "Timeout"},
        {**failed, "trial": n + 1, "status": "pending"},
    ]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Refreshed: agents on Factorio in SQLite, and a sweep."""
    folder = tmp_path_factory.mktemp("evaluations")
    found = evaluation_lab(folder)
    write_sweep(folder, PUZZLES, sweep_rows())
    found.refresh()
    return found


@pytest.fixture
def ask(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    monkeypatch.chdir(lab.config.root)

    def called(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["run-assets", *words])
        with pytest.raises(SystemExit) as left:
            run()
        said = capfd.readouterr()
        return int(str(left.value.code)), said.out + said.err

    return called


def test_trials_are_those_of_the_steps_counted_by_hand(lab: Lab) -> None:
    steps = pl.DataFrame([one._asdict() for one in factorio_steps()])
    expected = (
        steps.group_by("model", "task", "version")
        .agg(
            pl.col("value").sort_by("depth").last().alias("final_reward"),
            pl.col("value").max().alias("max_reward"),
            pl.len().cast(pl.Int64).alias("n_steps"),
            pl.col("tokens").sum().alias("total_tokens"),
        )
        .with_columns(
            trial=pl.col("version").rank("dense").over("model", "task").cast(pl.Int64)
            - 1,
            is_success=pl.when(pl.col("task") == "unbounded")
            .then(pl.col("final_reward") > 0)
            .otherwise(pl.col("max_reward") >= 16),
        )
        .cast({"version": pl.String})
        .sort("model", "task", "trial")
    )
    found = lab.table("core.trials").filter(source="fle").collect()
    mine = found.select(expected.columns).sort("model", "task", "trial")
    assert mine.with_columns(pl.col("final_reward", "max_reward").round(4)).equals(
        expected.with_columns(pl.col("final_reward", "max_reward").round(4))
    )
    assert set(found["sweep_id"]) == {SWEEP}


def test_a_sweep_needs_no_configuration(lab: Lab) -> None:
    found = lab.table("core.trials").filter(sweep_id=PUZZLES).collect()
    assert set(found["source"]) == {f"sweeps/{PUZZLES}"}
    outcome = dict(found.filter(model="gpt-4o").select("trial", "is_success").rows())
    assert outcome == {0: True, 1: False, 2: True, 3: False, 4: False, 5: None}


def test_nothing_new_is_no_dagster_run(lab: Lab) -> None:
    assert lab.refresh().is_unchanged


def test_the_warehouse_answers(lab: Lab) -> None:
    (block,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    found = lab.sql(block)
    assert set(found["model"]) == {"gpt-4o", "gpt-4o-mini", "claude-3-5-sonnet"}


def test_the_report_shows_each_sweep(lab: Lab) -> None:
    latest = lab.reports / "latest"
    page = (latest / "report.html").read_text("utf-8")
    assert f"<bdi>{SWEEP}</bdi>" in page
    assert f"<bdi>{PUZZLES}</bdi>" in page
    assert "<h1>Evaluations</h1>" in page
    assert len(page.encode()) < 1_000_000
    twin = json.loads((latest / "report.json").read_text("utf-8"))
    shown = {one["sweep_id"] for one in twin["evaluations"]}
    assert shown == {SWEEP, PUZZLES}
    assert "any_success_rate" in twin["evaluations"][0]["success_rates"][0]
    assert "Tokens per success" in (latest / "report.md").read_text("utf-8")


def test_every_picture_is_drawn(lab: Lab) -> None:
    names = {file.stem for file in (lab.reports / "latest" / "figures").glob("*.svg")}
    kinds = {name.rpartition("-")[2] for name in names}
    assert kinds >= {
        *("model_comparison", "pass_at_k", "reward_distribution"),
        *("efficiency_scatter", "learning_curves", "task_heatmap"),
        *("success_classes", "task_difficulty"),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("recent", "--hours", "1000000"), "Timeout|gpt-4o-mini"),
        (("recent", "--since", "2026-01-03", "--limit", "2"), "sort"),
        (("compare",), "any_success_rate"),
        (("compare", "gpt-4o", "gpt-4o-mini", "--k", "2"), r"pass@2"),
        (("compare", "--pairs", "--task", "*_throughput"), "p_adjusted"),
        (("compare", "--min-trials", "17"), "gpt-4o"),
        (("tasks",), "difficulty"),
        (("tasks", "--by", "model", "--model", "gpt-4o"), "success_class"),
        (("tasks", "--sweep", PUZZLES), "sort"),
    ],
)
def test_every_question_is_answered(
    ask: Call, words: tuple[str, ...], said: str
) -> None:
    code, text = ask("evals", *words)
    assert code == 0, text
    assert re.search(said, text)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("compare", "gpt4o"), 5, "did you mean 'gpt-4o'"),
        (("compare", "x' OR '1'='1"), 5, "no trial of model"),
        (("tasks", "--task", "gold*"), 5, "no task matches"),
        (("report", "999999"), 5, "no trial of version '999999'"),
        (("recent", "--hours", "-1"), 2, "hours"),
    ],
)
def test_a_wrong_name_is_an_error_without_a_traceback(
    ask: Call, words: tuple[str, ...], code: int, said: str
) -> None:
    found, text = ask("evals", *words)
    assert (found, said in text) == (code, True), text
    assert "Traceback" not in text


def test_a_question_that_leaves_nothing_says_so(ask: Call) -> None:
    code, text = ask("evals", "recent", "--hours", "1")
    assert code == 0
    assert "none of" in text


def test_a_report_of_some_versions_is_files(ask: Call, tmp_path: Path) -> None:
    code, text = ask("evals", "report", "100", "101", "--output-dir", str(tmp_path))
    assert code == 0, text
    infos = pl.read_csv(tmp_path / "version_infos.csv")
    assert infos.columns == [
        *("version", "model", "task", "trial_number", "max_reward"),
        *("max_production_score", "completion_status", "task_success"),
    ]
    assert infos["version"].to_list() == [100, 101]
    summary = json.loads((tmp_path / "analysis_summary.json").read_text("utf-8"))
    assert summary["n_trials"] == 2
    assert {*text.split()} == {str(file) for file in tmp_path.iterdir()}
    assert (tmp_path / "analysis_pass_at_k.png").read_bytes().startswith(b"\x89PNG")


COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("run-assets ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_runs(ask: Call, line: str) -> None:
    code, text = ask(*shlex.split(line.replace("124 125", ""))[1:])
    assert code == 0, text


def test_every_block_of_python_of_the_page_runs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab.config.root)
    printed = io.StringIO()
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "docs/evaluations.md", "exec"), names)
    assert "gpt-4o: " in printed.getvalue()
    assert "analysis_task_heatmap.svg" in printed.getvalue()


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_every_configuration_of_the_page_is_valid(block: str, tmp_path: Path) -> None:
    write_config(tmp_path, **yaml.safe_load(block))
    assert load_config(tmp_path).evaluations.sources


SEED_WORDS = (
    *("get_results_by_model_and_task", "get_model_comparison", "get_task_breakdown"),
    *("get_recent_results", "get_trajectory_summaries", "calculate_metrics"),
    *("plot_model_comparison", "plot_pass_at_k", "create_comprehensive_report"),
    *("SweepManager", "SweepConfig", "WandBLogger", "any_success_rate"),
)


@pytest.mark.parametrize("word", SEED_WORDS)
def test_what_others_call_it_is_on_the_page(word: str) -> None:
    assert f"`{word}`" in PAGE


# --- what changes, and what must not --------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Lab:
    return make_lab(tmp_path, 1)


def test_a_lab_without_results_is_asked_nothing(bare: Lab) -> None:
    plan = plan_refresh(bare, now=datetime.now(UTC), selection=Selection())
    assert plan.results == ()
    refresh(bare)
    built = {name for name in TABLES if bare.lake.parts(name)}
    assert "marts.runs" in built
    assert not built & {"core.trials", "stats.success_rates", "raw.trials"}
    page = (bare.reports / "latest" / "report.html").read_text("utf-8")
    assert "Evaluation" not in page


def test_assets_of_a_lab_without_results_explain_themselves(bare: Lab) -> None:
    job = build_definitions(bare).resolve_job_def("refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, asset_selection=[key(name) for name in RAW]
        )
    (event, *_) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert "evaluations.sources" in str(metadata["empty"].value)


def test_no_results_is_a_message_of_the_commands(
    bare: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(bare.config.root)
    monkeypatch.setattr(sys, "argv", ["run-assets", "evals", "compare"])
    with pytest.raises(SystemExit):
        run()
    assert "`evaluations.sources` in run_assets.yaml" in capsys.readouterr().err


@pytest.fixture
def unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    url = f"postgresql://me:{CANARY}@127.0.0.1:1/results"
    monkeypatch.setenv("RUN_ASSETS_RESULTS_URL", url)
    source = {"kind": "programs", "name": "fle"}
    make_lab(tmp_path, 1, evaluations={"sources": [source]})
    return open_lab(tmp_path)


def test_a_database_that_cannot_be_read_fails_the_refresh(unreachable: Lab) -> None:
    with pytest.raises(TryAgainError, match="cannot be reached") as caught:
        unreachable.refresh()
    assert CANARY not in str(caught.value)


def test_no_secret_reaches_dagster(unreachable: Lab) -> None:
    job = build_definitions(unreachable).resolve_job_def("refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[key(name) for name in RAW],
            raise_on_error=False,
        )
        logged = [str(one) for one in instance.all_logs(result.run_id)]
    assert not result.success
    assert any("cannot be reached" in one for one in logged)
    assert not [one for one in logged if CANARY in one]


def test_no_secret_is_shown_with_the_configuration(unreachable: Lab) -> None:
    shown = origins(unreachable.config.root)
    assert ("RUN_ASSETS_RESULTS_URL", "****") in [one[:2] for one in shown]
    assert not [one for one in shown if CANARY in str(one)]


def test_local_only_asks_no_server(unreachable: Lab) -> None:
    selection = Selection(local_only=True)
    plan = plan_refresh(unreachable, now=datetime.now(UTC), selection=selection)
    assert plan.results == ()


def test_new_results_rebuild_only_what_depends_on_them(lab: Lab) -> None:
    """The last test: the lab of the others grows by a trial."""
    file = lab.config.root / "results.sqlite"
    sqlite_programs(file, [Step(999, "gpt-4o", "unbounded", 0, 5.0)])
    before = {
        part.table: lab.lake.header(part)
        for name in TABLES
        for part in lab.lake.parts(name)
    }
    read = lab.refresh()
    assert read.results == ("fle",)
    changed = {
        part.table
        for name in TABLES
        for part in lab.lake.parts(name)
        if lab.lake.header(part) != before.get(name)
    }
    assert changed >= {"core.trials", "stats.success_rates", "raw.trajectory_steps"}
    assert not {one for one in changed if one.startswith(("raw.runs", "derived."))}
    newest = lab.table("core.trials").filter(version="999").collect()
    assert newest["is_success"].to_list() == [True]
