import json
from pathlib import Path

from run_assets.sweeps import claims
from run_assets.sweeps.overview import (
    exported,
    is_reported,
    overview,
    report_of,
    write_report,
)
from run_assets.sweeps.report import markdown
from tests.support.sweeps import ended, toy_ledger


def test_a_report_is_of_now_until_something_happens(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        assert not is_reported(ledger, tmp_path)
        write_report(ledger, tmp_path)
        assert is_reported(ledger, tmp_path)
        manager = claims.join(ledger, 0.0, is_resume=False)
        claims.exchange(ledger, manager, ledger.config, [], slots=1, now=0.0)
        assert not is_reported(ledger, tmp_path)
        (tmp_path / "sweep_report.json").write_text("[]")
        assert not is_reported(ledger, tmp_path)


def test_an_overview_counts_every_attempt(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        manager = claims.join(ledger, 100.0, is_resume=False)
        first, second, _ = claims.exchange(
            ledger, manager, ledger.config, [], slots=3, now=100.0
        )
        done = [
            ended(first, 104.0, reward=1, cost=0.5, tokens=3),
            ended(second, 104.0, error="x", cost=0.25, tokens=4),
        ]
        claims.exchange(ledger, manager, ledger.config, done, slots=0, now=104.0)
        found = overview(ledger, now=105.0)

    assert found.counts == {
        "successful": 1,
        "will_retry": 1,
        "running": 1,
        "pending": 5,
    }
    assert (found.attempts, found.cost, found.tokens) == (3, 0.75, 7)
    assert found.managers == 1
    assert not found.is_over
    # Six trials of half a second each, four at a time; the seventh is overdue.
    assert found.seconds_left == 6 * 0.5 / 4


def test_exports_have_types_even_without_rows(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        frames = {what: exported(ledger, what) for what in ("attempts", "steps")}
        assert {name: one.height for name, one in frames.items()} == {
            "attempts": 0,
            "steps": 0,
        }
        assert "Datetime" in str(frames["attempts"].schema["finished_at"])
        assert exported(ledger, "trials").height == 8


def test_an_empty_report_is_valid_and_says_so(tmp_path: Path) -> None:
    with toy_ledger(tmp_path, description="a|b <i>") as ledger:
        report = report_of(ledger)
    text = markdown(report)
    json.dumps(report, allow_nan=False)
    assert "0 trials run" in text
    assert "8 open" in text
    assert "<i>" not in text
    assert "no trial has a result yet" in text
