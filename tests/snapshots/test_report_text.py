"""The report's text, word for word: a change of wording is a change of this file.

To accept a new text, write ``render_markdown(night())`` over the file below.
"""

from pathlib import Path

from run_assets.reports.markdown import render_markdown
from tests.support.report_content import night

EXPECTED = Path(__file__).with_name("test_report_text.md")


def test_the_text_of_a_night_is_word_for_word_the_same() -> None:
    assert render_markdown(night()) == EXPECTED.read_text(encoding="utf-8")
