from pathlib import Path

import pytest

from run_assets import lab as lab_module
from run_assets.cli.app import hoisted
from run_assets.errors import (
    AuthenticationError,
    ContractError,
    NotFoundError,
    SourceError,
    TryAgainError,
    UsageError,
)

from .conftest import Answer, Call


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, call: Call) -> Call:
    """Run ``tables`` while opening the lab raises."""

    def called(error: BaseException, *words: str) -> Answer:
        def fail(*_: object) -> object:
            raise error

        monkeypatch.setattr(lab_module, "open", fail)
        return call("tables", *words)

    return called


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("sql q --quiet", "--quiet sql q"),
        ("refresh --config=a --full", "--config=a refresh --full"),
        ("runs list -q --project p -v", "-q --project p -v runs list"),
        ("sql -- --quiet", "sql -- --quiet"),
        ("-v dagster job list -v", "-v dagster job list -v"),
        ("dagster run list --project x", "dagster run list --project x"),
        ("tables dagster -q", "-q tables dagster"),
        ("--project dagster runs list -q", "--project dagster -q runs list"),
    ],
)
def test_global_options_move_before_the_command(words: str, wanted: str) -> None:
    assert hoisted(words.split()) == wanted.split()


def test_an_option_without_its_value_is_a_usage_error(call: Call) -> None:
    answer = call("refresh", "--project")
    assert answer.code == 2
    assert answer.err.startswith("error: --project needs a value")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceError("e"), 1),
        (ContractError("e"), 1),
        (OSError(13, "Permission denied", "/x"), 1),
        (UsageError("e"), 2),
        (AuthenticationError("e"), 4),
        (NotFoundError("e"), 5),
        (TryAgainError("e"), 75),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_class_of_error_has_its_exit_code(
    failing: Call, error: BaseException, code: int
) -> None:
    answer = failing(error)
    assert answer.code == code
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert "defect" not in answer.err


def test_a_defect_says_what_to_do_and_hides_its_traceback(failing: Call) -> None:
    answer = failing(ZeroDivisionError("division by zero"))
    assert answer.code == 1
    assert answer.err.startswith("error: ZeroDivisionError: division by zero\n")
    assert "This is a defect of run-assets" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), UsageError("x")])
def test_verbose_shows_the_traceback(failing: Call, error: Exception) -> None:
    answer = failing(error, "-v")
    assert "Traceback" in answer.err
    assert "in called" not in answer.err.splitlines()[-1]
    assert "in fail" in answer.err


def test_an_error_cannot_steer_the_terminal_or_show_the_key(
    failing: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "s3cr3t")
    answer = failing(SourceError("run \x1b[2J of s3cr3t\nsecond line"))
    assert answer.err == "error: run ·[2J of ****\nsecond line\n"


def test_a_mistyped_command_gets_a_suggestion(call: Call) -> None:
    answer = call("refesh")
    assert answer.code == 2
    assert "Did you mean 'refresh'" in answer.err


def test_an_unknown_option_is_a_usage_error(call: Call) -> None:
    answer = call("refresh", "--nope")
    assert (answer.code, answer.out) == (2, "")
    assert "--nope" in answer.err


def test_versions_are_listed(call: Call) -> None:
    answer = call("--version")
    assert answer.code == 0
    assert {line.split()[0] for line in answer.out.splitlines()} >= {
        "run-assets",
        "dagster",
        "duckdb",
    }


@pytest.mark.parametrize("words", [("--help",), ("runs", "-h"), ("refresh", "--help")])
def test_help_is_data(call: Call, words: tuple[str, ...]) -> None:
    answer = call(*words)
    assert (answer.code, answer.err) == (0, "")
    assert "Usage: run-assets" in answer.out


def test_no_lab_says_how_to_make_one(call: Call, tmp_path: Path) -> None:
    answer = call("tables", folder=Path(tmp_path.anchor))
    assert answer.code == 5
    assert "run-assets init FOLDER" in answer.err


def test_a_wrong_key_gets_a_suggestion(call: Call, tmp_path: Path) -> None:
    (tmp_path / "run_assets.yaml").write_text("sourcess: []\n")
    answer = call("tables", "--config", str(tmp_path))
    assert answer.code == 2
    assert "unknown key sourcess; did you mean 'sources'?" in answer.err
