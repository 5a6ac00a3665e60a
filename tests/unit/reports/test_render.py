import os
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from run_assets.reports.content import ReportContent
from run_assets.reports.figure import Figure
from run_assets.reports.figures import figures
from run_assets.reports.render import MAX_HTML_BYTES, render_html, write_report
from tests.support.report_content import (
    HOSTILE,
    NIGHT,
    navigation,
    nothing,
    question,
    runs,
)


class _Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page(night: ReportContent, drawn: Mapping[str, Figure]) -> _Page:
    return _Page(render_html(night, drawn))


def test_sections_stand_in_the_order_in_which_people_read(page: _Page) -> None:
    order = [
        "expected-sarsa leads, clearly ahead of 1 of 2 others: IQM 0.791",
        "What changed",
        "Comparison",
        "Score by group",
        "Pairwise comparisons",
        "Learning curves",
        "Performance profile",
        "Last sign of life",
        "Coverage and freshness",
        "Provenance",
    ]
    places = [page.text.index(one) for one in order]
    assert places == sorted(places)


def test_the_verdict_says_by_how_much_and_how_sure(page: _Page) -> None:
    assert "[0.721, 0.861] from 20 runs" in page.text
    assert "against q-learning : mean score +0.059" in page.text
    assert "adjusted p = 0.062" in page.text
    assert "IQM 0.780 → 0.791, within the intervals" in page.text


def test_skipped_bytes_are_shown_with_file_and_reason(page: _Page) -> None:
    assert "run-r061.wandb" in page.text
    assert "bad checksum" in page.text
    assert "at byte 32,768" in page.text
    assert "wrong header" in page.text
    assert "cut-off tail" in page.text


def test_the_page_needs_no_script_and_no_network(page: _Page) -> None:
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "form"}
    loading = {"src", "srcset", "data", "action", "background", "xlink:href"}
    assert not {key for _, key, _ in page.attributes} & loading
    links = {(tag, value) for tag, key, value in page.attributes if key == "href"}
    assert links == {("link", "data:,"), ("a", "#analysis-navigation")}


def test_the_style_loads_nothing(
    night: ReportContent, drawn: Mapping[str, Figure]
) -> None:
    html = render_html(night, drawn)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert not re.search(r"https?://", re.sub(r'xmlns="[^"]+"', "", html))


def test_the_same_content_gives_the_same_bytes(
    night: ReportContent, drawn: Mapping[str, Figure]
) -> None:
    assert render_html(night, drawn) == render_html(replace(night), dict(drawn))


def test_only_the_header_knows_when_it_was_made(
    night: ReportContent, drawn: Mapping[str, Figure]
) -> None:
    later = replace(night, generated_at=NIGHT + timedelta(hours=1))
    before = render_html(night, drawn).splitlines()
    after = render_html(later, drawn).splitlines()
    different = [one for one, two in zip(before, after, strict=True) if one != two]
    assert different == [
        '<p class="eyebrow">Run report · made 2026-11-20 02:00 UTC</p>'
    ]


def test_each_analysis_has_its_own_plots(night: ReportContent) -> None:
    other = navigation(question(name="second"), {"ppo": 0.7, "dqn": 0.5})
    content = replace(night, analyses=(night.analyses[0], other))
    html = render_html(content, figures(content))
    first, second = html.split('<section class="analysis"')[1:]
    assert first.count('class="plot wide"') == second.count('class="plot wide"') == 9
    for own, foreign, plots in (("sarsa", "ppo", first), ("ppo", "sarsa", second)):
        assert f">{own}</text>" in plots
        assert f">{foreign}</text>" not in plots


def test_hostile_names_stay_text(
    hostile: ReportContent, hostile_drawn: Mapping[str, Figure]
) -> None:
    html = render_html(hostile, hostile_drawn)
    page = _Page(html)
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "form"}
    assert not {key for _, key, _ in page.attributes if key.startswith("on")}
    assert not {value for _, key, value in page.attributes if key == "style"}
    hrefs = {value or "" for _, key, value in page.attributes if key == "href"}
    assert all(one.startswith(("#analysis-", "data:,")) for one in hrefs)
    assert HOSTILE[0] in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", html)


def test_a_run_is_linked_only_to_the_web(
    night: ReportContent, drawn: Mapping[str, Figure]
) -> None:
    url = "https://wandb.ai/lab/hearts/runs/r000"
    linked = replace(night, runs=night.runs.with_columns(url=pl.lit(url)))
    attributes = _Page(render_html(linked, drawn)).attributes
    assert ("a", "href", url) in attributes
    assert ("a", "rel", "noopener noreferrer") in attributes


def test_a_long_table_is_cut_and_says_where_the_rest_is() -> None:
    levels = {f"variant-{at:02}": 0.5 for at in range(40)}
    analysis = navigation(algorithms=levels)
    content = replace(nothing(), analyses=(analysis,), runs=runs(analysis))
    text = _Page(render_html(content, {})).text
    assert "200 of 800 rows shown; the table stats.scores has all of them" in text
    assert "200 of 780 rows shown; the table stats.comparisons" in text


def test_a_page_stays_small_however_much_there_is(
    night: ReportContent, drawn: Mapping[str, Figure]
) -> None:
    one = night.analyses[0]
    many = tuple(
        replace(one, config=question(name=f"analysis {at}")) for at in range(30)
    )
    plots = {
        f"{at}-{name}": replace(figure, name=f"{at}-{name}", analysis=f"analysis {at}")
        for at in range(30)
        for name, figure in drawn.items()
    }
    html = render_html(replace(night, analyses=many), plots)
    assert len(html.encode()) < MAX_HTML_BYTES
    text = _Page(html).text
    assert "figures/29-navigation-performance_profile.svg" in text
    assert "stats.scores has all of them" in text


def test_without_an_analysis_the_page_says_how_to_add_one() -> None:
    text = _Page(render_html(nothing(), {})).text
    assert "No analysis is configured" in text
    assert "group: config.trainer.algorithm" in text
    assert "No run has been read." in text
    assert "This is the first report" in text


def test_without_scores_the_page_says_what_to_check(night: ReportContent) -> None:
    one = night.analyses[0]
    empty = replace(
        one,
        scores=one.scores.clear(),
        interval_estimates=one.interval_estimates.clear(),
        comparisons=one.comparisons.clear(),
        performance_profiles=one.performance_profiles.clear(),
        curves=one.curves.clear(),
    )
    text = _Page(render_html(replace(night, analyses=(empty,)), {})).text
    assert "No verdict yet: no run has a value of eval_navigation/success_rate" in text


def test_one_run_a_group_is_reported_without_intervals(night: ReportContent) -> None:
    one = night.analyses[0]
    lonely = replace(
        one,
        interval_estimates=one.interval_estimates.with_columns(
            ci_low=None,
            ci_high=None,
            n_runs=1,
            notes=pl.lit("one run: no interval"),
        ),
        comparisons=one.comparisons.clear(),
    )
    text = _Page(render_html(replace(night, analyses=(lonely,)), {})).text
    assert "(no interval) from 1 run" in text
    assert "No clear winner." in text
    assert "without intervals to judge by" in text
    assert "a comparison needs two groups with at least two scores each" in text


def test_all_files_are_written_and_a_second_time_alike(
    tmp_path: Path, night: ReportContent
) -> None:
    paths = write_report(tmp_path / "2026-11-20", night)
    names = [str(one.relative_to(tmp_path / "2026-11-20")) for one in paths]
    assert names[:3] == ["report.html", "report.json", "report.md"]
    assert all(one.startswith("figures/navigation-") for one in names[3:])
    first = [one.read_bytes() for one in paths]
    assert [one.read_bytes() for one in write_report(paths[0].parent, night)] == first


def test_no_temporary_file_stays(tmp_path: Path, night: ReportContent) -> None:
    written = set(write_report(tmp_path, night))
    assert {one for one in tmp_path.rglob("*") if one.is_file()} == written
    mode = os.stat(tmp_path / "report.html").st_mode & 0o777  # noqa: PTH116
    assert mode == 0o644


def test_hostile_names_stay_inside_the_folder(
    tmp_path: Path, hostile: ReportContent
) -> None:
    folder = tmp_path / "report"
    paths = write_report(folder, hostile)
    assert all(one.resolve().is_relative_to(folder.resolve()) for one in paths)
    assert {one.name for one in tmp_path.iterdir()} == {"report"}
