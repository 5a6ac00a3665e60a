"""A sweep in W&B, by the unmodified SDK: offline files and a loopback server."""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from run_assets.errors import AuthenticationError, TryAgainError
from run_assets.lab import Lab
from run_assets.own_runs import is_own_run
from run_assets.sources.wandb_files import RunFile, read_run
from run_assets.sources.wandb_log import HEADER, Record, read_records
from run_assets.sources.wandb_records import protobufs
from run_assets.sweeps import Ran, resume_sweep, run_sweep, start_sweep
from tests.support.sweep_kills import resuming
from tests.support.sweeps import function, query, sweep_lab, toy
from tests.support.wandb_server import API_KEY, WandbServer, wandb_server
from tests.support.wandb_server.client import SdkClient, sdk_client

BODY = """
if attempt.task == "y" and attempt.model == "b":
    raise ConnectionError("model overloaded")
if attempt.attempt == 1 and attempt.trial == 0:
    return {"error": "429", "error_class": "rate_limit"}
steps = [{"reward": 0.5, "tokens": 5}, {"reward": float(attempt.trial), "tokens": 6}]
return {"trajectory": steps, "version": 7, "instance": 0}
"""
METRICS = {
    *("performance/success_rate", "performance/mean_reward"),
    *("by_model/a/success_rate", "by_model/a/mean_reward", "by_model/a/pass_at_1"),
    *("by_task/x/success_rate", "by_task/x/mean_reward"),
    *("efficiency/mean_tokens", "efficiency/mean_steps"),
    *("efficiency/tokens_per_success", "stats/num_trajectories", "stats/std_reward"),
    *("sweep/total_trajectories", "sweep/total_time_hours", "sweep/num_models"),
    *("sweep/num_tasks", "sweep/avg_time_per_trajectory", "sweep/best_model"),
    *("sweep/best_model_success_rate", "sweep/hardest_task"),
    *("sweep/hardest_task_success_rate", "sweep/failed_final", "sweep/successful"),
}
TRAJECTORY = {
    *("version", "instance", "step", "reward", "model", "task", "elapsed_time"),
    *("tokens_used", "tokens_per_step"),
}


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("WANDB_", "XDG_")) or name in (
            "DISABLE_WANDB",
            "ENABLE_WANDB",
        ):
            monkeypatch.delenv(name)


def sweep(lab: Lab, **changes: Any) -> Ran:
    root = lab.config.root
    values = {
        "function": function(root, BODY),
        "enable_wandb": True,
        "wandb_trials": True,
        "max_retries": 1,
        "k_values": [1, 2],
        **changes,
    }
    return run_sweep(lab, toy(root, **values))


def lab_in(folder: Path, mode: str) -> Lab:
    return sweep_lab(folder, publish={"wandb": {"mode": mode, "project": "evals"}})


def files(lab: Lab) -> list[Path]:
    found = lab.config.data_path / "published" / "sweeps"
    return sorted(found.glob("*/wandb/offline-run-*/run-*.wandb"))


def read(file: Path) -> RunFile:
    return read_run(file, now=datetime.now(UTC))


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Ran, list[RunFile]]:
    """A sweep that was published once, for the tests that only read it."""
    lab = lab_in(tmp_path_factory.mktemp("offline"), "offline")
    ran = sweep(lab)
    return lab, ran, [read(one) for one in files(lab)]


def of_type(runs: list[RunFile], job_type: str) -> list[RunFile]:
    return [one for one in runs if one.job_type == job_type]


def config(run: RunFile) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.config_json)
    return found


def test_the_sweep_is_one_run_with_the_names_of_the_dashboards(
    offline: tuple[Lab, Ran, list[RunFile]],
) -> None:
    _, ran, runs = offline
    (run,) = of_type(runs, "sweep")

    assert ran.publication_error is None
    assert ran.counts == {"successful": 6, "failed_final": 2}
    assert (run.run_state, run.run_name) == ("finished", ran.sweep_id)
    assert list(run.tags) == [f"sweep:{ran.sweep_id}"]
    about = config(run)
    assert about["sweep_id"] == ran.sweep_id
    assert about["is_resume"] is False
    assert about["completion_status"] == "failed_final"
    assert is_own_run(about)
    summary = json.loads(run.summary_json)
    assert set(summary) >= METRICS
    # One cell has no result at all: nobody knows what a mean over cells would be.
    assert "pass_at_k/pass_at_1" not in summary
    assert summary["performance/success_rate"] == pytest.approx(0.5)
    assert summary["sweep/total_trajectories"] == 8
    assert summary["sweep/failed_final"] == 2
    rows = run.history.filter(run.history["metric"] == "trajectory/reward")
    assert sorted(rows["value"].to_list()) == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    metrics = set(run.history["metric"])
    assert metrics >= {f"trajectory/{name}" for name in TRAJECTORY}


def test_each_attempt_is_a_run_that_the_documented_filters_find(
    offline: tuple[Lab, Ran, list[RunFile]],
) -> None:
    _, ran, runs = offline
    trials = of_type(runs, "trial")
    # a x, a y, b x: trial 0 fails once; b y fails for good, twice each.
    assert len(trials) == 6 + 3 + 4
    found: dict[str, int] = {}
    for one in trials:
        about = config(one)
        assert about["sweep_id"] == ran.sweep_id
        assert list(one.tags) == [f"sweep:{ran.sweep_id}"]
        assert is_own_run(about)
        found[about["completion_status"]] = found.get(about["completion_status"], 0) + 1
    assert found == {"successful": 6, "will_retry": 5, "failed_final": 2}
    retried = [one for one in trials if config(one)["retry_count"] == 1]
    assert len(retried) == 5
    names = {(one.run_name, one.run_state) for one in trials}
    assert ("a_x_trial00", "finished") in names
    assert ("b_y_trial01", "failed") in names


def test_a_trial_shows_its_steps(offline: tuple[Lab, Ran, list[RunFile]]) -> None:
    _, _, runs = offline
    one = next(run for run in runs if run.run_name == "a_x_trial01")
    rewards = one.history.filter(one.history["metric"] == "trajectory/reward")
    assert rewards["value"].to_list() == [0.5, 1.0]


def test_an_alert_tells_what_failed_for_good(
    offline: tuple[Lab, Ran, list[RunFile]],
) -> None:
    lab, _, _ = offline
    told = []
    for file in files(lab):
        with file.open("rb") as stream:
            items = list(read_records(stream, start=len(HEADER)))
        kept = [one.payload for one in items if isinstance(one, Record)]
        for payload in kept:
            record = protobufs().Record.FromString(payload)
            if record.WhichOneof("record_type") == "alert":
                told.append((record.alert.title, record.alert.level, record.alert.text))
    ((title, level, text),) = told
    assert (title, level) == ("2 trials failed for good", "ERROR")
    assert "ConnectionError 2" in text
    assert "model overloaded" in text


def test_nothing_is_sent_twice_and_a_resume_says_so(
    offline: tuple[Lab, Ran, list[RunFile]],
) -> None:
    lab, ran, runs = offline
    again = resume_sweep(lab, ran.sweep_id)
    assert again.counts == ran.counts
    later = [read(one) for one in files(lab)]
    assert len(of_type(later, "trial")) == len(of_type(runs, "trial"))
    both = of_type(later, "sweep")
    assert len({one.run_id for one in both}) == 1
    assert sorted(config(one)["is_resume"] for one in both) == [False, True]


def test_disabled_starts_no_process(tmp_path: Path) -> None:
    lab = lab_in(tmp_path, "disabled")
    assert sweep(lab).publication_error is None
    assert not (lab.config.data_path / "published").exists()
    other = lab_in(tmp_path / "other", "offline")
    sweep(other, enable_wandb=False)
    assert not (other.config.data_path / "published").exists()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with wandb_server(tmp_path / "sdk") as server:
        monkeypatch.setenv("HOME", server.settings["HOME"])
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", API_KEY)
        yield server


@pytest.fixture
def sdk(server: WandbServer) -> Iterator[SdkClient]:
    with sdk_client(server.environment) as client:
        yield client


def test_online_the_filters_find_runs_and_a_resume_is_the_same_run(
    server: WandbServer, sdk: SdkClient, tmp_path: Path
) -> None:
    lab = lab_in(tmp_path / "lab", "online")
    ran = sweep(lab)
    assert ran.publication_error is None

    def found(**filters: Any) -> int:
        named = {key.replace("__", "."): value for key, value in filters.items()}
        return len(sdk("names", project="me/evals", filters=named))

    assert found(config__sweep_id=ran.sweep_id) == 14
    assert found(config__completion_status="successful") == 6
    assert found(config__completion_status="will_retry") == 5
    assert found(config__completion_status="failed_final") == 3
    assert found(config__retry_count={"$gt": 0}) == 5
    assert found(tags=f"sweep:{ran.sweep_id}") == 14
    assert found(tags="sweep:another") == 0

    (run,) = [one for one in server.store.runs.values() if one.job_type == "sweep"]
    told = sdk("read", path="/".join(run.key))
    assert told["state"] == "finished"
    assert set(told["summary"]) >= METRICS
    assert told["config"]["is_resume"] is False
    assert [one["title"] for one in run.alerts] == ["2 trials failed for good"]

    assert resume_sweep(lab, ran.sweep_id).publication_error is None
    again = sdk("read", path="/".join(run.key))
    assert again["config"]["is_resume"] is True
    assert found(config__sweep_id=ran.sweep_id) == 14
    assert not server.requests.unknown


def test_without_a_key_the_sweep_is_run_and_the_error_says_what_is_missing(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    lab = lab_in(tmp_path / "lab", "online")
    ran = sweep(lab)

    assert ran.counts == {"successful": 6, "failed_final": 2}
    assert isinstance(ran.publication_error, AuthenticationError)
    assert f"run-assets sweep resume {ran.sweep_id}" in str(ran.publication_error)
    assert "0" * 40 not in str(ran.publication_error)

    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    assert resume_sweep(lab, ran.sweep_id).publication_error is None
    assert len(server.store.runs) == 14


def test_without_a_network_the_sweep_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    ran = sweep(lab_in(tmp_path, "online"))
    assert ran.counts == {"successful": 6, "failed_final": 2}
    assert isinstance(ran.publication_error, TryAgainError)
    unsent = "select count(*) from attempts where published_as is null"
    assert query(ran.ledger, unsent) == [(13,)]


@pytest.mark.timeout(90)
def test_a_killed_manager_leaves_a_run_that_says_it_will_be_resumed(
    tmp_path: Path,
) -> None:
    lab = lab_in(tmp_path, "offline")
    slow = function(tmp_path, "time.sleep(60)\nreturn {'reward': 1}")
    sweep_id = start_sweep(lab, toy(tmp_path, function=slow, enable_wandb=True))
    manager = resuming(lab, sweep_id)
    while not files(lab):
        time.sleep(0.1)
        assert manager.poll() is None
    time.sleep(1)  # the file is there before the run is
    manager.kill()
    manager.communicate()

    deadline = time.monotonic() + 30
    run = read(files(lab)[0])
    while run.run_state != "failed" and time.monotonic() < deadline:
        time.sleep(0.2)
        run = read(files(lab)[0])
    assert (run.run_state, run.run_name) == ("failed", sweep_id)
    assert config(run)["completion_status"] == "will_retry"
