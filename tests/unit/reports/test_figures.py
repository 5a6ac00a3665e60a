import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from xml.etree import ElementTree as ET

import altair as alt
import polars as pl
import pytest

from run_assets.errors import ContractError
from run_assets.reports.content import ReportContent
from run_assets.reports.difference_figure import comparisons
from run_assets.reports.drawing import NARROW, WIDE, png, tidy_svg
from run_assets.reports.figure import MAX_GROUPS, Figure
from run_assets.reports.figures import (
    figures,
    interval_plot,
    learning_curves,
    performance_profile,
)
from run_assets.reports.history_figure import scores_over_time
from run_assets.reports.palette import GROUPS, MUTED
from run_assets.reports.rank_figure import rank_stability
from tests.support.report_content import (
    ALGORITHMS,
    HOSTILE,
    MAPS,
    METRIC,
    NIGHT,
    navigation,
)

SVG = "{http://www.w3.org/2000/svg}"


def _texts(svg: str) -> list[str]:
    return [one.text or "" for one in ET.fromstring(svg).iter(f"{SVG}text")]


def test_every_plot_of_an_analysis_is_drawn_in_order(
    drawn: Mapping[str, Figure],
) -> None:
    kinds = [figure.kind for figure in drawn.values()]
    assert kinds == [
        "interval_plot",
        "learning_curves",
        "performance_profile",
        "comparisons",
        "probability_of_improvement",
        "rank_stability",
        "sample_efficiency",
        "optimality_gaps",
        "scores_over_time",
    ]


@pytest.mark.parametrize("is_narrow", [False, True])
def test_plots_name_groups_axes_and_values(
    *, drawn: Mapping[str, Figure], is_narrow: bool
) -> None:
    texts = {
        one.kind: _texts(one.narrow_svg if is_narrow else one.svg)
        for one in drawn.values()
    }
    intervals, curves, profile = (
        texts[one]
        for one in ("interval_plot", "learning_curves", "performance_profile")
    )
    matrix = texts["probability_of_improvement"]
    efficiency, gaps = texts["sample_efficiency"], texts["optimality_gaps"]
    assert {*ALGORITHMS, "IQM", "Mean", "Median", "0.791"} <= set(intervals)
    assert {*ALGORITHMS, *MAPS, METRIC, "step"} <= set(curves)
    assert {*ALGORITHMS, "score threshold", "share of runs above it"} <= set(profile)
    assert set(ALGORITHMS) <= set(matrix)
    assert sum("%" in one for one in matrix) == 12  # 6 ordered pairs, each with ends
    assert {*ALGORITHMS, METRIC, "step"} <= set(efficiency)
    assert {*ALGORITHMS, *MAPS, "all tasks", "share of the optimum"} <= set(gaps)
    assert {*ALGORITHMS, "80% first", "rank"} <= set(texts["rank_stability"])
    assert {*ALGORITHMS, *MAPS, METRIC} <= set(texts["scores_over_time"])
    assert "+0.191  (p < 0.001)" in texts["comparisons"]
    assert len([one for one in texts["comparisons"] if " \u2212 " in one]) == 3


def test_the_best_group_is_on_top(drawn: Mapping[str, Figure]) -> None:
    texts = _texts(next(iter(drawn.values())).svg)
    places = [texts.index(name) for name in ALGORITHMS]
    assert places == sorted(places)


def test_groups_differ_by_dash_and_shape_too(drawn: Mapping[str, Figure]) -> None:
    curves = list(drawn.values())[1]
    root = ET.fromstring(curves.svg)
    dashes = {one.get("stroke-dasharray") for one in root.iter(f"{SVG}path")}
    assert len(dashes - {None}) == len(ALGORITHMS)


def test_every_chart_is_valid_vega_lite(drawn: Mapping[str, Figure]) -> None:
    for figure in drawn.values():
        for variant in (WIDE, NARROW):
            alt.Chart.from_dict(figure.chart(variant), validate=True)


def test_a_narrow_plot_fits_a_phone(drawn: Mapping[str, Figure]) -> None:
    for figure in drawn.values():
        assert float(ET.fromstring(figure.narrow_svg).get("width", "inf")) <= 400
        assert float(ET.fromstring(figure.svg).get("width", "inf")) <= 992


def test_drawing_twice_gives_the_same_bytes(
    night: ReportContent, drawn: Mapping[str, Figure]
) -> None:
    again = figures(night)
    assert list(again) == list(drawn)
    for name, figure in drawn.items():
        assert again[name].svg == figure.svg
        assert again[name].narrow_svg == figure.narrow_svg


def test_another_process_draws_the_same_bytes(drawn: Mapping[str, Figure]) -> None:
    program = (
        "from hashlib import sha256\n"
        "from run_assets.reports.figures import figures\n"
        "from tests.support.report_content import night\n"
        "for one in figures(night()).values():\n"
        "    print(sha256((one.svg + one.narrow_svg).encode()).hexdigest())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    expected = [
        sha256((one.svg + one.narrow_svg).encode()).hexdigest()
        for one in drawn.values()
    ]
    assert done.stdout.split() == expected


def test_ids_of_all_plots_in_a_page_differ(drawn: Mapping[str, Figure]) -> None:
    pages = [svg for one in drawn.values() for svg in (one.svg, one.narrow_svg)]
    ids = [one.get("id") for svg in pages for one in ET.fromstring(svg).iter()]
    known = [one for one in ids if one is not None]
    assert len(known) == len(set(known))


def test_hostile_names_are_text_in_every_plot(
    hostile_drawn: Mapping[str, Figure],
) -> None:
    tags = set()
    for figure in hostile_drawn.values():
        for svg in (figure.svg, figure.narrow_svg):
            elements = list(ET.fromstring(svg).iter())
            tags |= {one.tag.removeprefix(SVG) for one in elements}
            attributes = {key for one in elements for key in one.attrib}
            assert not {key for key in attributes if key.startswith("on")}
    assert tags <= {"svg", "g", "path", "text", "tspan", "rect", "line", "defs"}
    wide = next(iter(hostile_drawn.values())).svg
    assert any(one.startswith("</script>") for one in _texts(wide))
    assert all(name not in wide for name in HOSTILE[:2])


def test_an_svg_with_more_than_shapes_and_text_is_refused() -> None:
    head = '<svg xmlns="http://www.w3.org/2000/svg">'
    for inner in ("<script>1</script>", '<path href="http://x"/>', "<image/>"):
        with pytest.raises(ContractError, match="shapes and text"):
            tidy_svg(f"{head}{inner}</svg>", "name", "title")


def test_tidy_ids_do_not_depend_on_the_counter_of_the_process() -> None:
    def drawn_with(clip: str) -> str:
        return (
            '<svg xmlns="http://www.w3.org/2000/svg"><defs><clipPath id="'
            f'{clip}"><rect/></clipPath></defs><g clip-path="url(#{clip})"/></svg>'
        )

    first, second = (tidy_svg(drawn_with(one), "a", "b") for one in ("c1", "c77"))
    assert first == second
    assert 'id="a-0"' in first
    assert "url(#a-0)" in first


def test_numbers_that_are_not_finite_leave_a_gap_not_a_crash() -> None:
    analysis = navigation()
    gone = pl.when(pl.col("group_name") == "sarsa").then(float("nan"))
    estimates = analysis.interval_estimates.with_columns(
        gone.otherwise("estimate").alias("estimate"),
        ci_low=None,
        ci_high=pl.lit(float("inf")),
    )
    plot = interval_plot(replace(analysis, interval_estimates=estimates))
    assert plot is not None
    assert "sarsa" in _texts(plot.svg)


def test_scores_over_time_take_the_longest_period_with_more_than_one() -> None:
    analysis = navigation()
    minutes = pl.lit(NIGHT) + pl.duration(minutes=pl.int_range(pl.len()) % 3)
    for instants, period in ((minutes, "minute"), (pl.lit(NIGHT), None)):
        scores = analysis.scores.with_columns(created_at=instants)
        plot = scores_over_time(replace(analysis, scores=scores))
        assert (plot is None) == (period is None)
        assert plot is None or f"runs of a {period}" in plot.caption


def test_a_pair_without_a_verdict_is_grey() -> None:
    analysis = navigation()
    undecided = analysis.comparisons.with_columns(p_adjusted=pl.lit(0.5))
    plot = comparisons(replace(analysis, comparisons=undecided))
    assert plot is not None
    assert MUTED.light in plot.svg
    assert GROUPS[0].light not in plot.svg


def test_without_data_there_is_no_plot() -> None:
    analysis = navigation()
    empty = replace(
        analysis,
        interval_estimates=analysis.interval_estimates.clear(),
        performance_profiles=analysis.performance_profiles.clear(),
        curves=analysis.curves.clear(),
        comparisons=analysis.comparisons.clear(),
        rank_stability=analysis.rank_stability.clear(),
        scores=analysis.scores.clear(),
    )
    assert interval_plot(empty) is None
    assert comparisons(empty) is None
    assert rank_stability(empty) is None
    assert scores_over_time(empty) is None
    assert performance_profile(empty) is None
    assert learning_curves(empty, METRIC) is None


def test_more_groups_than_can_be_told_apart_are_left_out_and_counted() -> None:
    levels = {f"variant-{at}": 0.9 - at / 50 for at in range(MAX_GROUPS + 3)}
    plot = learning_curves(navigation(algorithms=levels), METRIC)
    assert plot is not None
    assert "3 more groups are not drawn" in plot.caption
    assert sum(one.startswith("variant-") for one in _texts(plot.svg)) == MAX_GROUPS


def test_many_tasks_are_pooled_into_one_panel() -> None:
    analysis = navigation()
    tasks = pl.col("run_path").str.tail(1)
    plot = learning_curves(
        replace(analysis, curves=analysis.curves.with_columns(task=tasks)), METRIC
    )
    assert plot is not None
    assert "maze" not in _texts(plot.svg)
    assert _texts(plot.svg).count("step") == 1


def test_a_png_is_a_picture_of_the_plot(drawn: Mapping[str, Figure]) -> None:
    image = png(next(iter(drawn.values())).svg)
    assert image.startswith(b"\x89PNG\r\n")
    width = int.from_bytes(image[16:20])
    assert width > 1_500
