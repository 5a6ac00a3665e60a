import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from run_assets.reports.content import ReportContent
from run_assets.reports.markdown import inline, render_markdown
from run_assets.reports.views import name
from tests.support.report_content import nothing


@given(st.text())
def test_a_name_is_one_code_span_whatever_it_is(text: str) -> None:
    span = inline(name(text))
    assert span.startswith("`")
    assert span.endswith("`")
    assert span.count("`") == 2
    assert not set("|<>\n\r") & set(span)


def test_tables_keep_their_shape_with_hostile_names(hostile: ReportContent) -> None:
    lines = render_markdown(hostile).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    widths = [line.count("|") for line in tables]
    heads = [at for at, line in enumerate(tables) if line.startswith("| ---")]
    assert len(heads) == 5
    for head in heads:
        assert widths[head - 1] == widths[head] == widths[head + 1]


def test_hostile_names_stand_only_in_code_spans(hostile: ReportContent) -> None:
    outside = re.sub(r"`[^`\n]*`", "", render_markdown(hostile))
    for sign in ("<", ">", "@", "javascript", "onerror", "](", "**c**"):
        assert sign not in outside
    headings = [one for one in outside.splitlines() if one.startswith("#")]
    assert len(headings) == 6


def test_the_verdict_comes_first(night: ReportContent) -> None:
    lines = render_markdown(night).splitlines()
    assert lines[4].startswith("**`navigation`**: `expected-sarsa` leads")
    assert lines[5].startswith("- **unclear** against `q-learning`: mean score +0.059")


def test_an_empty_lab_gets_a_text_too() -> None:
    text = render_markdown(nothing())
    assert "No analysis is configured" in text
    assert "No run has been read" in text


def test_the_same_content_gives_the_same_text(night: ReportContent) -> None:
    assert render_markdown(night) == render_markdown(replace(night))
