import fcntl
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from run_assets.config import WandbFiles, load_config
from run_assets.lab import Lab
from tests.support.labs import make_lab, write_config

from .conftest import Call


def path_of_runs(lab: Path) -> str:
    [source] = load_config(lab).sources
    assert isinstance(source, WandbFiles)
    return source.path


def test_init_makes_a_lab_and_says_what_is_next(call: Call, tmp_path: Path) -> None:
    (tmp_path / "wandb").mkdir()
    answer = call("init", "my lab", "--wandb", "../wandb", folder=tmp_path)
    assert (answer.code, answer.out) == (0, "")
    folder = tmp_path / "my lab"
    assert answer.err.splitlines() == [
        f"created {folder / 'run_assets.yaml'}",
        f"created {folder / 'dagster.yaml'}",
        f"created {folder / 'workspace.yaml'}",
        "next: cd 'my lab' && run-assets refresh",
    ]
    assert path_of_runs(folder) == "../wandb"


def test_init_without_a_folder_means_this_one(call: Call, tmp_path: Path) -> None:
    answer = call("init", folder=tmp_path)
    assert (tmp_path / "run_assets.yaml").is_file()
    assert "wandb is not there yet" in answer.err
    assert answer.err.endswith("next: run-assets refresh\n")


def test_init_keeps_the_files_of_an_existing_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("# mine")
    (tmp_path / "notes.txt").write_text("mine")
    answer = call("init", str(tmp_path))
    assert answer.code == 0
    assert "dagster.yaml" not in answer.err
    assert (tmp_path / "dagster.yaml").read_text() == "# mine"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_init_changes_nothing_in_a_lab(call: Call, tmp_path: Path) -> None:
    (tmp_path / "run_assets.yaml").write_text("# mine")
    answer = call("init", str(tmp_path))
    assert answer.code == 2
    assert "nothing was changed" in answer.err
    assert [one.name for one in tmp_path.iterdir()] == ["run_assets.yaml"]


def test_init_refuses_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    answer = call("init", str(tmp_path / "file"))
    assert answer.code == 2
    assert "needs a folder" in answer.err
    below = call("init", str(tmp_path / "file" / "lab"))
    assert below.code == 1
    assert "cannot be made a lab" in below.err


@pytest.mark.parametrize(
    "path",
    ["a, b", "{x}", "a: b # c", 'quo"te', "back\\slash", "日本", "*", "[]", "~/w"],
)
def test_any_path_of_runs_survives_the_file(
    call: Call, tmp_path: Path, path: str
) -> None:
    assert call("init", str(tmp_path), "--wandb", path).code == 0
    assert path_of_runs(tmp_path) == path


def test_an_unchanged_lab_is_not_refreshed_again_but_its_damage_is_told(
    call: Call, refreshed: Lab
) -> None:
    answer = call("refresh", "--config", str(refreshed.config.root))
    assert (answer.code, answer.out) == (1, "")
    assert "1 file holds data that cannot be read; everything else" in answer.err
    assert "run-damaged.wandb" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("--full", 8),
        ("", 0),
        ("--full --project lab/other", 3),
        ("--full --since 2026-01-03", 5),
        ("--full --project maze --local-only --since 2030-01-01", 0),
    ],
)
def test_a_dry_run_says_what_would_be_read_and_writes_nothing(
    ask: Call, refreshed: Lab, words: str, count: int
) -> None:
    stamp = refreshed.config.data_path / "last_refresh.json"
    before = stamp.stat().st_mtime_ns
    answer = ask("refresh", "--dry-run", *words.split(), "--output-format", "json")
    found = json.loads(answer.out)["rows"]
    assert answer.code == 0
    assert len(found) == count
    assert "nothing was written" in answer.err
    assert stamp.stat().st_mtime_ns == before


def test_a_dry_run_of_a_new_lab_makes_no_folder(call: Call, tmp_path: Path) -> None:
    make_lab(tmp_path, runs=1, data_dir="elsewhere")
    answer = call("refresh", "--dry-run", folder=tmp_path)
    assert "lab/maze/r0" in answer.out
    assert answer.err == "1 run would be read; nothing was written\n"
    assert not (tmp_path / "elsewhere").exists()


def test_a_refresh_of_an_unknown_project_is_not_found(ask: Call) -> None:
    answer = ask("refresh", "--project", "lab/mase")
    assert answer.code == 5
    assert "did you mean 'lab/maze'" in answer.err


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "2026-01-01T00:00:00"])
def test_a_day_that_is_none_is_a_usage_error(ask: Call, day: str) -> None:
    answer = ask("refresh", "--since", day)
    assert answer.code == 2
    assert day in answer.err


def test_a_missing_source_folder_is_not_found(call: Call, tmp_path: Path) -> None:
    write_config(tmp_path, sources=[{"kind": "wandb_files", "path": "nowhere"}])
    answer = call("refresh", folder=tmp_path)
    assert answer.code == 5
    assert "nowhere" in answer.err
    assert "correct its path" in answer.err


def test_a_locked_lake_means_try_again_later(call: Call, tmp_path: Path) -> None:
    lab = make_lab(tmp_path, runs=1)
    lab.config.data_path.mkdir(exist_ok=True)
    with (lab.config.data_path / ".lock").open("w") as lock:
        # Another open file is another holder, even in the same process.
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write('{"pid": 4711, "started_at": "2026-01-02T03:04:05+00:00"}')
        lock.flush()
        answer = call("refresh", folder=tmp_path)
    assert answer.code == 75
    assert "pid 4711, since 2026-01-02T03:04:05" in answer.err


def test_the_configuration_says_where_each_value_came_from(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path)
    (tmp_path / ".env").write_text("WANDB_API_KEY=s3cr3t\nWANDB_ENTITY=team\n")
    monkeypatch.setenv("RUN_ASSETS_SCHEDULE__CRON", "5 4 * * *")
    answer = call(
        "config", "show", "--origin", "--output-format", "json", folder=tmp_path
    )
    found = {row["key"]: row for row in json.loads(answer.out)["rows"]}
    file = str(tmp_path / "run_assets.yaml")
    assert {
        key: (found[key]["value"], found[key]["origin"])
        for key in ("schedule.cron", "publish.wandb.entity", "first_day")
    } == {
        "schedule.cron": ("5 4 * * *", "environment RUN_ASSETS_SCHEDULE__CRON"),
        "publish.wandb.entity": ("team", "environment WANDB_ENTITY"),
        "first_day": ("'2020-01-01'", "default"),
    }
    assert found["publish.wandb.mode"]["origin"] == file
    assert found["WANDB_API_KEY"]["value"] == "****"
    assert "s3cr3t" not in answer.out + answer.err
    assert "origin" not in call("config", "show", folder=tmp_path).out


def test_the_doctor_finds_a_refreshed_lab_well(ask: Call) -> None:
    answer = ask("doctor", "--output-format", "json")
    found = {row["check"]: row for row in json.loads(answer.out)["rows"]}
    assert answer.code == 0
    assert {name for name, row in found.items() if row["result"] == "bad"} == set()
    assert "run-damaged.wandb" in found["unreadable data"]["detail"]
    assert "8 runs in" in found["warehouse"]["detail"]


def test_the_doctor_names_what_will_not_work(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(
        tmp_path,
        sources=[{"kind": "wandb_files", "path": "nowhere"}],
        publish={"wandb": {"mode": "online"}},
    )
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    answer = call("doctor", "--output-format", "json", folder=tmp_path)
    found = {row["check"]: row["result"] for row in json.loads(answer.out)["rows"]}
    assert answer.code == 1
    assert found["sources"] == "bad"
    assert found["W&B"] == "bad"
    assert "2 of 14 checks found something to mend:\n  sources: " in answer.err
    assert "nowhere" in answer.err


def test_the_doctor_finds_a_key_in_netrc_and_never_shows_it(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_lab(tmp_path, runs=1, publish={"wandb": {"mode": "online"}})
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.wandb.ai login user password s3cr3t\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    answer = call("doctor", folder=tmp_path)
    assert f"key from {netrc}" in answer.out
    assert "s3cr3t" not in answer.out + answer.err


def test_the_doctor_reports_a_broken_configuration(call: Call, tmp_path: Path) -> None:
    (tmp_path / "run_assets.yaml").write_text("nope: 1\n")
    answer = call("doctor", folder=tmp_path)
    assert answer.code == 1
    assert "unknown key nope" in answer.out
    assert "unknown key nope" in answer.err


class BecameError(Exception):
    """Stands for the process that another program has replaced."""


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("ui --port 3999", "dev -w workspace.yaml -p 3999 -h 127.0.0.1"),
        ("dagster job list -v --help", "job list -v --help"),
        ("--config . dagster", ""),
    ],
)
def test_dagster_runs_on_this_lab(
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    wanted: str,
) -> None:
    became: list[tuple[str, list[str], dict[str, str]]] = []

    def execve(path: str, argv: list[str], environment: dict[str, str]) -> None:
        became.append((path, argv, environment))
        raise BecameError

    write_config(tmp_path)
    monkeypatch.setattr(os, "execve", execve)
    call(*words.split(), folder=tmp_path)
    ((path, argv, environment),) = became
    assert path == sys.executable
    assert argv[2:] == ["-m", "dagster", *wanted.split()]
    assert environment["DAGSTER_HOME"] == str(tmp_path)
    assert environment["RUN_ASSETS_CONFIG"] == str(tmp_path / "run_assets.yaml")
    assert Path.cwd() == tmp_path
    assert yaml.safe_load((tmp_path / "dagster.yaml").read_text())["storage"]
