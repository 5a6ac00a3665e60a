"""`run-assets sweep`: what it prints, writes and leaves with."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from run_assets import jobs
from run_assets.cli.sweeps import duration
from run_assets.lab import Lab
from run_assets.sweeps.ledger import ledger_path, sweep_ids
from tests.support.sweeps import function, statuses, sweep_lab
from tests.unit.cli.conftest import Call

BODY = """
if attempt.task == "bad" and attempt.trial == 1:
    return {"error": "no \\x1b[31m way", "error_class": "rate_limit", "cost": 0.5}
return {"reward": attempt.trial, "tokens": 10, "cost": 0.25}
"""
HOSTILE = "=cmd\x1b[31m|`x`<y>"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose Dagster is not told: that is another test's business."""
    monkeypatch.setattr(jobs, "record_sweep", lambda _lab, _sweep: "")
    return sweep_lab(tmp_path)


def write_sweep(lab: Lab, body: str = BODY, **changes: object) -> Path:
    root = lab.config.root
    values = {
        "name": "toy",
        "models": ["a", HOSTILE],
        "tasks": ["good"],
        "num_trials_per_config": 2,
        "function": function(root, body),
        "retry_delay_seconds": 0,
        "enable_wandb": False,
        **changes,
    }
    file = root / "sweep.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


def test_a_plan_is_printed_and_nothing_is_written(call: Call, lab: Lab) -> None:
    file = write_sweep(lab, shuffle_execution_order=False)
    told = call("sweep", "plan", str(file), "--output-format", "json")
    assert told.code == 0
    rows = json.loads(told.out)["rows"]
    assert [(one["model"], one["trial"]) for one in rows[:3]] == [
        ("a", 0),
        ("a", 1),
        (HOSTILE, 0),
    ]
    assert "2 models x 1 tasks x 2 trials = 4 trials" in told.err
    assert not (lab.config.data_path / "sweeps").exists()


def test_a_sweep_is_run_shown_reported_and_exported(call: Call, lab: Lab) -> None:
    file = write_sweep(lab)
    root = lab.config.root
    told = call("sweep", "run", str(file), folder=root)
    assert (told.code, told.out) == (0, "")
    assert "4 trials run; cost 1" in told.err

    shown = call("sweep", "status", folder=root)
    assert shown.code == 0
    assert "2/2  50%" in shown.out
    assert "40 tokens" in shown.out
    assert "\x1b" not in shown.out
    cells = json.loads(call("sweep", "status", "--output-format", "json").out)["rows"]
    assert {one["model"] for one in cells} == {"a", HOSTILE}

    report = call("sweep", "report", "toy", "--output-dir", str(root / "out"))
    assert report.code == 0
    assert "`=cmd" in report.out
    assert "<y>" not in report.out
    kept = json.loads((root / "out" / "sweep_report.json").read_text())
    assert kept["totals"]["successful"] == 4
    assert (root / "out" / "sweep_report.md").read_text() == report.out

    csv = call("sweep", "export", "--output-format", "csv")
    assert "'=cmd" in csv.out
    assert call("sweep", "export", "-o", "t.parquet").code == 0
    frame = pl.read_parquet(root / "t.parquet")
    assert frame.height == 4
    assert frame.schema["success"] == pl.Boolean
    assert frame.schema["started_at"] == pl.Datetime("us", "UTC")
    assert frame.sort("trial")["reward"].to_list() == [0.0, 0.0, 1.0, 1.0]
    attempts = call("sweep", "export", "--what", "attempts", "--output-format", "json")
    assert len(json.loads(attempts.out)["rows"]) == 4
    steps = call("sweep", "export", "--what", "steps", "--output-format", "json")
    assert json.loads(steps.out)["rows"] == []


def test_failed_trials_are_told_and_are_no_success(call: Call, lab: Lab) -> None:
    file = write_sweep(lab, models=["a"], tasks=["good", "bad"], max_retries=1)
    told = call("sweep", "run", str(file), folder=lab.config.root)
    assert told.code == 1
    assert "1 trials failed for good; everything else was run" in told.err
    shown = call("sweep", "status", folder=lab.config.root)
    assert "rate_limit" in shown.out
    assert "2/2   0% 1 failed" in shown.out
    assert "\x1b" not in shown.out


def test_a_budget_that_is_spent_is_told(call: Call, lab: Lab) -> None:
    file = write_sweep(lab, max_cost=0.5, max_concurrent_processes=1)
    told = call("sweep", "run", str(file), folder=lab.config.root)
    assert told.code == 1
    assert "max_cost is reached" in told.err
    text = file.read_text().replace("max_cost: 0.5", "max_cost: 9")
    file.write_text(text)
    again = call("sweep", "resume", folder=lab.config.root)
    assert again.code == 0
    assert "changed: max_cost: 0.5 -> 9" in again.err


def test_a_resume_refuses_another_plan_unless_told(call: Call, lab: Lab) -> None:
    file = write_sweep(lab)
    call("sweep", "run", str(file), folder=lab.config.root)
    file.write_text(file.read_text().replace("- good", "- good\n- other"))

    refused = call("sweep", "resume", folder=lab.config.root)
    assert refused.code == 2
    assert "tasks: ['good'] -> ['good', 'other']" in refused.err
    assert "--amend" in refused.err
    assert "Traceback" not in refused.err
    assert call("sweep", "resume", "--amend", folder=lab.config.root).code == 0
    (sweep_id,) = sweep_ids(lab.config.data_path)
    path = ledger_path(lab.config.data_path, sweep_id)
    assert statuses(path) == {"successful": 8}


def test_a_log_file_gets_a_line_at_times(call: Call, lab: Lab) -> None:
    body = "time.sleep(0.3 + attempt.trial)\nreturn {'reward': 1}"
    file = write_sweep(lab, body, log_interval_minutes=0.001)
    told = call("sweep", "run", str(file), folder=lab.config.root)
    assert "2 running, 2 successful" in told.err


def test_watching_ends_with_the_sweep(call: Call, lab: Lab) -> None:
    call("sweep", "run", str(write_sweep(lab)), folder=lab.config.root)
    told = call("sweep", "status", "--watch", "--interval", "0.1")
    assert told.code == 0
    assert "4/4" in told.out


def test_a_sweep_that_nobody_works_on_says_so(call: Call, lab: Lab) -> None:
    from run_assets.sweeps import load_sweep, start_sweep

    start_sweep(lab, load_sweep(write_sweep(lab)))
    told = call("sweep", "status", folder=lab.config.root)
    assert "0/4" in told.out
    assert "nobody works on it" in told.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("status",), 5, "`run-assets sweep run FILE` starts one"),
        (("resume", "nope"), 5, "no sweep"),
        (("report",), 5, "no sweep"),
        (("run", "missing.yaml"), 2, "missing.yaml cannot be read"),
        (("plan", "run_assets.yaml"), 2, "unknown key"),
        (("export", "--what", "nothing"), 2, "nothing"),
    ],
)
def test_a_mistake_has_a_message_and_a_code(
    call: Call, lab: Lab, words: tuple[str, ...], code: int, said: str
) -> None:
    told = call("sweep", *words, folder=lab.config.root)
    assert told.code == code
    assert said in told.err
    assert "Traceback" not in told.err


def test_a_damaged_ledger_starts_nothing(call: Call, lab: Lab) -> None:
    call("sweep", "run", str(write_sweep(lab)), folder=lab.config.root)
    (sweep_id,) = sweep_ids(lab.config.data_path)
    path = ledger_path(lab.config.data_path, sweep_id)
    path.write_bytes(b"x" * 8_192)
    for words in (("resume",), ("status",), ("export",)):
        told = call("sweep", *words, folder=lab.config.root)
        assert told.code == 1
        assert "rather than start anew" in told.err


def test_durations_are_short() -> None:
    assert duration(59.6) == "1 min 00 s"
