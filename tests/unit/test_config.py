import os
from pathlib import Path

import pytest
import yaml

from run_assets.config import (
    Config,
    config_file,
    find_config_file,
    load_config,
    origins,
)
from run_assets.errors import NotFoundError, UsageError


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("RUN_ASSETS_", "WANDB_", "DAGSTER_")):
            monkeypatch.delenv(name)
    for name in ("ENABLE_WANDB", "DISABLE_WANDB"):
        monkeypatch.delenv(name, raising=False)


def lab(folder: Path, text: str = "", env: str | None = None) -> Path:
    (folder / "run_assets.yaml").write_text(text, encoding="utf-8")
    if env is not None:
        (folder / ".env").write_text(env, encoding="utf-8")
    return folder


def refused(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as error:
        load_config(lab(folder, text))
    return str(error.value)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_config(lab(tmp_path)) == Config(root=tmp_path)


def test_the_data_folder_is_meant_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert load_config(lab(tmp_path, "data_dir: d")).data_path == tmp_path / "d"
    absolute = lab(tmp_path, "data_dir: /var/x")
    assert load_config(absolute).data_path == Path("/var/x")


def test_each_source_of_a_value_beats_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cron(**flags: str) -> str:
        return load_config(tmp_path, flags).schedule.cron

    lab(tmp_path)
    assert cron() == "0 2 * * *"
    lab(tmp_path, "schedule: {cron: file}")
    assert cron() == "file"
    lab(tmp_path, "schedule: {cron: file}", "RUN_ASSETS_SCHEDULE__CRON=dotenv")
    assert cron() == "dotenv"
    monkeypatch.setenv("RUN_ASSETS_SCHEDULE__CRON", "environment")
    assert cron() == "environment"
    assert cron(**{"schedule.cron": "flag"}) == "flag"


def test_one_key_of_a_group_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab(tmp_path, "publish: {wandb: {mode: disabled, project: mine}}")
    monkeypatch.setenv("RUN_ASSETS_PUBLISH__WANDB__ENTITY", "team")
    found = load_config(tmp_path).publish.wandb
    assert (found.mode, found.project, found.entity) == ("disabled", "mine", "team")


def test_a_variable_holds_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN_ASSETS_CURVE_METRICS", "[reward, 'eval/*']")
    monkeypatch.setenv("RUN_ASSETS_LOCK_TIMEOUT", "5")
    found = load_config(lab(tmp_path))
    assert (found.curve_metrics, found.lock_timeout) == (("reward", "eval/*"), 5.0)


def test_a_wrong_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_ASSETS_CURVE_METRICS", "[reward")
    with pytest.raises(
        UsageError, match="environment RUN_ASSETS_CURVE_METRICS is not valid"
    ):
        load_config(lab(tmp_path))


def test_variables_of_others_are_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_ASSETS_CONFIG", str(tmp_path))
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    monkeypatch.setenv("RUN_ASSETS_SCHEDULE__CRON", "")
    assert load_config(lab(tmp_path)) == Config(root=tmp_path)


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "offline"),
        ({"ENABLE_WANDB": "true"}, "online"),
        ({"ENABLE_WANDB": "false"}, "offline"),
        ({"DISABLE_WANDB": "true"}, "disabled"),
        ({"DISABLE_WANDB": "1", "ENABLE_WANDB": "1"}, "disabled"),
        (
            {"DISABLE_WANDB": "YES", "RUN_ASSETS_PUBLISH__WANDB__MODE": "online"},
            "disabled",
        ),
        ({"DISABLE_WANDB": "0", "ENABLE_WANDB": "1"}, "online"),
    ],
)
def test_switches_of_publication(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    mode: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_config(lab(tmp_path)).publish.wandb.mode == mode


def test_disable_wandb_beats_even_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISABLE_WANDB", "true")
    found = load_config(lab(tmp_path), {"publish.wandb.mode": "online"})
    assert found.publish.wandb.mode == "disabled"
    (mode,) = [one for one in origins(tmp_path) if one.key == "publish.wandb.mode"]
    assert mode.origin == "environment DISABLE_WANDB"


def test_disable_wandb_in_dotenv_counts_too(tmp_path: Path) -> None:
    folder = lab(tmp_path, "publish: {wandb: {mode: online}}", "DISABLE_WANDB=true")
    assert load_config(folder).publish.wandb.mode == "disabled"


def test_every_value_has_its_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "data_dir: d\nmetric_groups: {}\nsources: [{kind: wandb_files, path: w}]"
    folder = lab(tmp_path, text, "WANDB_ENTITY=team")
    monkeypatch.setenv("WANDB_PROJECT", "results")
    found = {one.key: one for one in origins(folder, {"lock_timeout": 1})}
    file = str(tmp_path / "run_assets.yaml")
    assert {
        key: (found[key].value, found[key].origin)
        for key in ("data_dir", "lock_timeout", "schedule.cron", "metric_groups")
    } == {
        "data_dir": ("d", file),
        "lock_timeout": ("1.0", "flag"),
        "schedule.cron": ("0 2 * * *", "default"),
        "metric_groups": ("{}", file),
    }
    assert found["sources"].origin == file
    assert found["publish.wandb.project"].origin == "environment WANDB_PROJECT"
    assert found["publish.wandb.entity"].value == "team"


def test_a_secret_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "s3cr3t")
    rows = origins(lab(tmp_path))
    assert rows[-1] == ("WANDB_API_KEY", "****", "environment WANDB_API_KEY")
    assert "s3cr3t" not in str(rows)
    assert "s3cr3t" not in repr(load_config(tmp_path))


def test_a_secret_in_the_file_is_refused(tmp_path: Path) -> None:
    assert "unknown key api_key" in refused(tmp_path, "api_key: s3cr3t")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sourcess: []", "unknown key sourcess; did you mean 'sources'?"),
        ("schedule: {crom: x}", "schedule.crom; did you mean 'cron'?"),
        ("publish: {wandb: {modus: x}}", "publish.wandb.modus"),
        (
            "analyses: [{name: a, group: g, score: {metric: m, agregate: last}}]",
            "analyses.0.score.agregate; did you mean 'aggregate'?",
        ),
        ("analyses: [{group: g, score: {metric: m}}]", "analyses.0.name is missing"),
        ("publish: {wandb: {mode: ofline}}", "publish.wandb.mode: Input should be"),
        ("lock_timeout: -1", "lock_timeout: Input should be greater"),
        ("first_day: soon", "first_day: Input should be a valid date"),
        ("root: /", "unknown key root"),
    ],
)
def test_a_mistake_is_explained(tmp_path: Path, text: str, said: str) -> None:
    message = refused(tmp_path, text)
    assert said in message
    assert str(tmp_path / "run_assets.yaml") in message


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "nope: 1\nlock_timeout: x\nfirst_day: soon")
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize("text", ["- a", "word", "1", "[1, 2]"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    assert "must hold keys and values" in refused(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "data_dir: !!python/object/apply:os.system ['touch owned']",
        "data_dir: !!python/name:os.system",
        "constants: !!python/object/new:type {args: [x, [], {}]}",
        "a: [",
        "a: b: c",
        "\t- x",
        "a: *nothing",
        "[" * 5_000,
    ],
)
def test_yaml_runs_no_code_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is not valid YAML" in refused(tmp_path, text)
    assert not (tmp_path / "owned").exists()


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run_assets.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path)


def test_the_nearest_file_above_counts(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    lab(tmp_path)
    assert find_config_file(deep) == tmp_path / "run_assets.yaml"
    assert find_config_file(lab(deep)) == deep / "run_assets.yaml"


def test_no_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="run-assets init FOLDER"):
        find_config_file(Path(tmp_path.anchor))
    with pytest.raises(NotFoundError, match="no config file at"):
        load_config(tmp_path)


def test_a_flag_beats_the_variable_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        lab(folder)
    monkeypatch.chdir(one)
    assert config_file() == one / "run_assets.yaml"
    monkeypatch.setenv("RUN_ASSETS_CONFIG", str(other))
    assert config_file() == other / "run_assets.yaml"
    assert config_file(one / "run_assets.yaml") == one / "run_assets.yaml"


@pytest.mark.parametrize("bad", ["2026-01-02|x", "a\nb", "../../etc"])
def test_values_survive_showing_and_reading_again(tmp_path: Path, bad: str) -> None:
    folder = lab(tmp_path, yaml.safe_dump({"data_dir": bad}))
    (row,) = [one for one in origins(folder) if one.key == "data_dir"]
    assert yaml.safe_load(row.value) == bad
