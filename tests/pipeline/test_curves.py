"""Training curves in a lab: refreshed, trained apart, forecast, reported."""

import doctest
import json
import time
from pathlib import Path
from typing import Any

import pytest

from examples.hearts import curve_plots
from run_assets.cli.app import app
from run_assets.cli.curve_questions import current_model
from run_assets.curves import checkpoint
from run_assets.errors import NotFoundError, UsageError
from run_assets.jobs import TRAIN, run_in_process
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.publish.results import curve_publication, publication
from run_assets.refresh import Selection
from run_assets.reports.curve_content import CURVE_TABLES, CurveContent
from run_assets.reports.curve_views import ablation_sentence, curve_view
from run_assets.scaffold import ensure_dagster_files
from tests.support.labs import (
    append,
    make_lab,
    run_file,
    run_records,
    write_config,
)
from tests.support.wandb_log import history_record, log_bytes

STEPS = 40
# Silent runs count as crashed after some minutes; these log into the future.
STARTED = time.time() + 86_400
DOCS = Path(__file__).parents[2] / "docs" / "curves.md"
MEMBERS = ["mean_curve", "environment_mean", "nearest_configs", "extra_trees"]
CURVES: dict[str, Any] = {
    "metric": "reward",
    "points": 20,
    "budget": {"key": "steps"},
    "environment": "env",
    "environment_features": [{"name": "size", "key": "size"}],
    "agent_features": [{"name": "rate", "key": "lr"}],
    "model": {"members": MEMBERS, "folds": 3},
    "suggestions": {"count": 2, "candidates": 50},
}


def reward_row(step: int, size: int, rate: float) -> Any:
    """What a run logs; as of now, or it would not count as running."""
    return history_record(
        {
            "_step": step,
            "_timestamp": STARTED + step,
            "_runtime": float(step),
            "reward": (1 + size) * (1 - (1 - rate) ** step),
        }
    )


def write_curve(
    folder: Path, run_id: str, size: int, rate: float, steps: int, *, ended: bool
) -> None:
    """A run whose reward rises to a height set by the size, as fast as the rate."""
    config = {
        "env": f"env{size}",
        "size": size,
        "lr": rate,
        "steps": STEPS,
        "algorithm": "a",
    }
    begin, *end = run_records(
        run_id, steps=0, config=config, exit_code=0 if ended else None
    )
    rows = [reward_row(step, size, rate) for step in range(steps)]
    file = run_file(folder, run_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(log_bytes([begin, *rows, *end]))


def make(folder: Path, **config: Any) -> Lab:
    write_config(folder, analyses=[], derived_metrics={}, **config)
    ensure_dagster_files(folder)
    for number in range(14):
        rate = 0.02 + 0.01 * number
        write_curve(folder, f"r{number}", number % 7, rate, STEPS, ended=True)
    write_curve(folder, "crashed", 1, 0.05, 1, ended=True)
    write_curve(folder, "running", 2, 0.06, 15, ended=False)
    return open_lab(folder)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Refreshed, trained, refreshed again."""
    found = make(tmp_path_factory.mktemp("curves"), curves=CURVES)
    found.refresh()
    run_in_process(found, Selection(), TRAIN)
    found.refresh()
    return found


def rows(lab: Lab, name: str) -> Any:
    return lab.table(name).collect()


def command(lab: Lab, *words: str) -> None:
    app(["--config", str(lab.config.root), *words], standalone_mode=False)


def test_the_refresh_keeps_curves_and_features_of_every_run(lab: Lab) -> None:
    assert rows(lab, "curves.dataset")["run_path"].n_unique() == 16
    crashed = rows(lab, "curves.dataset").filter(run_path="lab/maze/crashed")
    assert crashed.height == 1
    told = rows(lab, "curves.features").filter(run_path="lab/maze/r3", feature="rate")
    assert told["value_double"].item() == pytest.approx(0.05)


def test_a_running_run_is_forecast_once_there_is_a_model(lab: Lab) -> None:
    ends = rows(lab, "curves.outlooks")
    assert ends["run_path"].to_list() == ["lab/maze/running"]
    assert ends["observed_fraction"].item() == pytest.approx(0.4, abs=0.06)
    # 3 * (1 - 0.94 ** 40) is where the run is going.
    assert ends["predicted_final"].item() == pytest.approx(2.7, abs=0.5)
    assert rows(lab, "curves.predictions").height == 20


def test_every_use_has_its_table(lab: Lab) -> None:
    counts = {
        name: rows(lab, f"curves.{name}").height
        for name in ("difficulty", "curriculum", "suggestions", "importances")
    }
    assert counts == {
        "difficulty": 7,
        "curriculum": 7,
        "suggestions": 14,
        "importances": 2,
    }
    failures = rows(lab, "curves.difficulty").filter(environment="env1")
    assert failures["failure_rate"].item() == pytest.approx(1 / 3)


def test_training_again_changes_nothing(lab: Lab) -> None:
    before = (lab.curve_model / "model.safetensors").stat().st_mtime_ns
    run_in_process(lab, Selection(), TRAIN)
    assert (lab.curve_model / "model.safetensors").stat().st_mtime_ns == before
    assert lab.refresh().is_unchanged


def test_the_report_has_a_section_with_plots(lab: Lab) -> None:
    page = (lab.reports / "latest" / "report.html").read_text(encoding="utf-8")
    text = (lab.reports / "latest" / "report.md").read_text(encoding="utf-8")
    twin = json.loads((lab.reports / "latest" / "report.json").read_text("utf-8"))
    drawn = {one.stem for one in (lab.reports / "latest" / "figures").glob("*.svg")}
    assert "Training curves, predicted" in page
    assert "Training curves, predicted" in text
    assert twin["curves"]["metric"] == "reward"
    assert {"curve-ablation", "curve-calibration", "curve-forecasts"} <= drawn


def test_the_report_says_it_where_the_variational_member_does_not_help() -> None:
    worse = {"stack": {"crps": 0.1}, "stack without variational": {"crps": 0.09}}
    assert "does not help" in ablation_sentence(worse)


def test_the_plots_of_the_page_come_from_a_command(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--lab", str(lab.config.root), "--folder", str(tmp_path / "images")]
    assert curve_plots.main(words) == 0
    drawn = {Path(line).stem for line in capsys.readouterr().out.splitlines()}
    # Maps need the networks, which this lab's model has not.
    assert drawn == {"curves_ablation", "curves_calibration", "curves_forecasts"}
    for name in drawn:
        assert (tmp_path / "images" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_plots_of_a_lab_without_curves_say_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_lab(tmp_path, runs=0)
    words = ["--lab", str(tmp_path), "--folder", str(tmp_path / "images")]
    assert curve_plots.main(words) == 5
    assert "run-assets curves demo" in capsys.readouterr().err


def test_runs_that_were_clipped_are_named(lab: Lab) -> None:
    assert lab.config.curves
    told = checkpoint.about(lab.curve_model)
    assert told
    assert told["clipped_runs"] == []
    tables = {name: rows(lab, name) for name in CURVE_TABLES}
    paths = [f"lab/maze/d{number}" for number in range(7)]
    view = curve_view(CurveContent(lab.config.curves, {}, tables, paths), 10)
    said = "".join(map(str, view.verdicts[-1]))
    assert said.startswith("Rewards of 7 runs lie far beyond those of the others")
    assert "lab/maze/d4" in said
    assert said.endswith(" and 2 more.")


def test_the_model_is_published_with_its_digest_and_scores(lab: Lab) -> None:
    told = publication(lab)
    state = json.loads((lab.curve_model / "model.json").read_text(encoding="utf-8"))
    assert {"curves.model.safetensors", "curves.model.json"} <= set(told.files)
    assert told.config["curve_model_sha256"] == state["sha256"]
    assert told.config["curve_data_digest"] == state["about"]["input_digest"]
    assert 0 < told.summary["curves/known environments/crps"] < 1
    assert "curve_evaluation" in told.tables


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("evaluate",), "extra_trees"),
        (("watch",), "lab/maze/running"),
        (("predict", "running"), "predicted_low"),
        (("predict", "--set", "rate=0.1", "--set", "size=3"), "predicted_high"),
        (("suggest", "--environment", "env3"), "env3"),
        (("suggest", "--count", "1"), "expected_improvement"),
        (("curriculum",), "learning_progress"),
        (("difficulty",), "driver"),
        (("explain",), "importance"),
    ],
)
def test_a_command_answers(
    lab: Lab,
    words: tuple[str, ...],
    expected: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    command(lab, "curves", *words)
    assert expected in capfd.readouterr().out


def test_mistakes_of_a_question_are_named(lab: Lab) -> None:
    with pytest.raises(UsageError, match="FEATURE=VALUE"):
        command(lab, "curves", "predict", "--set", "speed=1")
    with pytest.raises(UsageError, match="takes a number"):
        command(lab, "curves", "predict", "--set", "rate=fast")
    with pytest.raises(NotFoundError, match="no environment"):
        command(lab, "curves", "suggest", "--environment", "moon")
    with pytest.raises(NotFoundError, match="no run"):
        command(lab, "curves", "predict", "nobody")


def test_a_model_of_other_settings_is_not_used(lab: Lab) -> None:
    other = open_lab(lab.config.root, {"curves.points": 25})
    with pytest.raises(UsageError, match="other settings"):
        current_model(other)


def test_a_lab_without_curves_pays_nothing(tmp_path: Path) -> None:
    plain = make(tmp_path)
    plain.refresh()
    page = (plain.reports / "latest" / "report.html").read_text(encoding="utf-8")
    assert not list((plain.lake.root / "curves").glob("*"))
    assert "Training curves, predicted" not in page
    assert curve_publication(plain).tables == {}
    with pytest.raises(UsageError, match="no curves are configured"):
        command(plain, "curves", "train")


def test_the_code_of_the_page_runs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.config.root)
    result = doctest.testfile(str(DOCS), module_relative=False, verbose=False)
    assert result.attempted >= 10
    assert result.failed == 0


def test_a_run_that_goes_on_moves_its_forecast(lab: Lab) -> None:
    before = rows(lab, "curves.outlooks")["observed_fraction"].item()
    more = [reward_row(step, 2, 0.06) for step in range(15, 25)]
    append(run_file(lab.config.root, "running"), more)
    model = (lab.curve_model / "model.json").read_bytes()
    lab.refresh()
    assert rows(lab, "curves.outlooks")["observed_fraction"].item() > before
    assert (lab.curve_model / "model.json").read_bytes() == model
