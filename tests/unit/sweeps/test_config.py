from pathlib import Path
from typing import Any

import pytest

from run_assets.errors import UsageError
from run_assets.sweeps.config import differences, load_sweep, stored_values
from tests.support.sweeps import toy

SEED_NAMES = (
    *("name", "description", "models"),
    *("tasks", "num_trials_per_config", "api_key_config_file"),
    *("server_configs", "max_concurrent_processes", "shuffle_execution_order"),
    *("retry_failed_runs", "max_retries", "task_inner_loop_mode"),
    *("early_stop_on_success", "enable_wandb", "wandb_project"),
    *("log_interval_minutes", "output_dir", "save_intermediate_results"),
)


def test_the_names_and_defaults_are_those_people_know() -> None:
    values = stored_values(toy(retry_delay_seconds=1, enable_wandb=True))

    assert set(SEED_NAMES) <= set(values)
    assert values["max_concurrent_processes"] == 4
    assert values["max_retries"] == 2
    assert values["retry_failed_runs"] is True
    assert values["early_stop_on_success"] is False
    assert values["log_interval_minutes"] == 30
    assert stored_values(toy(num_trials_per_config=8))["num_trials_per_config"] == 8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_retrys": 3}, "unknown key max_retrys; did you mean 'max_retries'?"),
        ({"api_keys": ["secret"]}, "keys never stand in a sweep file"),
        ({"models": ["a", "b", "a"]}, "got twice: a"),
        ({"models": []}, "models"),
        ({"name": "../x"}, "name"),
        ({"name": "n" * 33}, "name"),
        ({"function": "solve:run", "command": "true"}, "got both"),
        ({"command": None}, "got neither"),
        ({"command": "solve {modle}"}, "unknown placeholder {modle}; did you mean"),
        ({"command": "solve 'x"}, "No closing quotation"),
        ({"command": ""}, "it is empty"),
        ({"command": "solve {model"}, "expected '}'"),
        ({"server_configs": [{"name": "s", "models": ["a"]}]}, "no server serves b"),
        ({"max_cost": 0}, "max_cost"),
        ({"num_trials_per_config": 0}, "num_trials_per_config"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        toy(**changes)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_file_is_read_with_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "name: eval\nmodels: [gpt-4o]\ntasks: [iron_ore]\ncommand: solve {options.n}\n"
        "options: {n: 3}\n",
        encoding="utf-8",
    )

    config = load_sweep(file)

    assert config.root == tmp_path
    assert config.cells == 1
    assert config.num_trials_per_config == 8


def test_the_folder_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("root: /\n", encoding="utf-8")
    with pytest.raises(UsageError, match="unknown key root"):
        load_sweep(tmp_path / "sweep.yaml")


def test_differences_tell_what_is_run_from_how() -> None:
    found = differences(toy(), toy(max_retries=5, tasks=["x"]))

    assert [(one.key, one.needs_amend) for one in found] == [
        ("tasks", True),
        ("max_retries", False),
    ]
    assert str(found[1]) == "max_retries: 2 -> 5"
    assert differences(toy(Path("/a")), toy(Path("/b"))) == []


def test_limits_go_by_the_first_pattern_that_matches() -> None:
    config = toy(max_concurrent_per_model={"a": 1, "*": 3})

    assert [config.limit_of(model) for model in ("a", "b")] == [1, 3]
    assert toy().limit_of("a") >= 1_000
