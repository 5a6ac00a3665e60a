import os
import sys

import pytest

from run_assets.cli.terminal import (
    is_styled,
    isolated,
    printable,
    safe_message,
    terminal_width,
)


@pytest.mark.parametrize(
    "attack", ["\x1b[2J", "\x9b31m", "\x07", "\u202e", "\u2066", "\r", "\n", "\x7f"]
)
def test_nothing_that_steers_a_terminal_gets_through(attack: str) -> None:
    assert printable(f"a{attack}b")[1] == "·"
    assert not set(printable(attack)) & set("\x1b\x9b\x07\u202e\u2066\r\n\x7f")


def test_emoji_and_accents_stay_whole() -> None:
    assert (
        printable("👩\u200d👩\u200d👧 e\u0301 日本")
        == "👩\u200d👩\u200d👧 e\u0301 日本"
    )


def test_a_message_keeps_its_lines_and_masks_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "s3cr3t")
    assert safe_message("one\n\ttwo s3cr3t\x1b[0m") == "one\n\ttwo ****·[0m"


def test_text_from_right_to_left_is_isolated() -> None:
    hebrew = "\u05e9\u05dc\u05d5\u05dd"
    assert isolated(hebrew) == f"\u2068{hebrew}\u2069"
    assert isolated("plain") == "plain"


class FakeTerminal:
    def isatty(self) -> bool:
        return True


def test_style_needs_a_terminal_and_no_objection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not is_styled()
    monkeypatch.setattr(sys, "stdout", FakeTerminal())
    assert is_styled()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not is_styled()
    monkeypatch.setenv("NO_COLOR", "")
    assert is_styled()
    monkeypatch.setenv("TERM", "dumb")
    assert not is_styled()


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert terminal_width() is None
    monkeypatch.setattr(sys, "stdout", FakeTerminal())
    assert terminal_width() == 72
    assert os.environ["COLUMNS"] == "72"
