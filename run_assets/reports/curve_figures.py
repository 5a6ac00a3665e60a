"""Plots of predicted training curves: fans, calibration, ablation, latent maps."""

from typing import Any

import altair as alt
import polars as pl

from run_assets.reports import palette
from run_assets.reports.composing import Plot, chart_of, in_grid, layered, step
from run_assets.reports.curve_content import (
    ALL,
    STACK,
    WITHOUT,
    CurveContent,
)
from run_assets.reports.drawing import WIDE, Chart, Variant
from run_assets.reports.figure import Figure, finite
from run_assets.reports.text import labels

SECTION = "training curves"
_MOST_FANS = 6
_MOST_ENVIRONMENTS = 40
_MOST_PLACES = 150
_BLUE, _ORANGE, _PURPLE = (one.light for one in palette.GROUPS[:3])
_GREY = palette.AXIS.light


def curve_figures(content: CurveContent) -> list[Figure]:
    """Every plot for which there is something to show."""
    plots = (ablation, calibration, forecast_fans, latent_map, latent_way)
    return [one for plot in plots if (one := plot(content)) is not None]


def forecast_fans(content: CurveContent) -> Figure | None:
    """What running runs have logged, and where they go; ``None`` without any."""
    rows = content.tables["curves.predictions"]
    paths = content.tables["curves.outlooks"]["run_path"].head(_MOST_FANS).to_list()
    if not paths:
        return None
    label = labels([one.rpartition("/")[2] for one in paths], 40)
    chosen = rows.filter(pl.col("run_path").is_in(paths))

    def chart(variant: Variant) -> Plot:
        panels = [
            _fan(
                chosen.filter(run_path=path),
                variant,
                title=label[path.rpartition("/")[2]],
            )
            for path in paths
        ]
        return in_grid(panels, variant.columns)

    confidence = f"{content.settings.model.confidence:.0%}"
    return _figure(
        "curve_forecasts",
        f"Running runs: what comes next, with {confidence} intervals",
        "Dots are logged, the line is expected, the band is where the curve will be "
        f"{confidence} of the time. Numbers: curves.predictions.",
        chart,
    )


def _fan(rows: pl.DataFrame, variant: Variant, *, title: str) -> Plot:
    columns = ("budget_fraction", "value", "predicted", "predicted_low")
    data = [
        {key: finite(row[key]) for key in (*columns, "predicted_high")}
        for row in rows.select(*columns, "predicted_high").iter_rows(named=True)
    ]
    base = chart_of(data)
    x = alt.X(
        "budget_fraction:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(title="share of the planned budget", format="%", tickCount=5),
    )
    y = alt.Y("predicted_low:Q", axis=alt.Axis(title=None, tickCount=5))
    band = base.mark_area(opacity=0.25, color=_BLUE).encode(
        x=x, y=y, y2=alt.Y2("predicted_high:Q")
    )
    line = base.mark_line(color=_BLUE, strokeWidth=2).encode(
        x=x, y=alt.Y("predicted:Q")
    )
    dots = base.mark_point(filled=True, size=16, color=_ORANGE, opacity=1).encode(
        x=x, y=alt.Y("value:Q")
    )
    width = variant.width // variant.columns - 70
    return layered(band, line, dots, width=width, height=170, title=title)


def calibration(content: CurveContent) -> Figure | None:
    """Coverage of each environment's held-out runs; ``None`` with fewer than two."""
    rows = content.tables["curves.evaluation"].filter(
        pl.col("model") == STACK,
        pl.col("observed_fraction") == 0,
        pl.col("environment") != ALL,
    )
    names = rows["environment"].unique().sort().to_list()[:_MOST_ENVIRONMENTS]
    if len(names) < 2:
        return None
    label = labels(names, 24)
    data = [
        {
            "environment": label[row["environment"]],
            "situation": row["situation"],
            "coverage": row["coverage_rate"],
        }
        for row in rows.filter(pl.col("environment").is_in(names)).to_dicts()
    ]
    promised = content.settings.model.confidence

    def chart(variant: Variant) -> Plot:
        points = chart_of(data).mark_point(size=70, filled=True, opacity=1)
        scale = alt.Scale(
            domain=content.situations,
            range=[_BLUE, _ORANGE][: len(content.situations)],
        )
        drawn_points = points.encode(
            x=alt.X(
                "coverage:Q",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(title="points inside the interval", format="%"),
            ),
            y=alt.Y("environment:N", axis=alt.Axis(title=None)),
            color=alt.Color(
                "situation:N", scale=scale, legend=alt.Legend(title=None, orient="top")
            ),
            shape=alt.Shape("situation:N", legend=None),
        )
        rule = chart_of([{"promised": promised}]).mark_rule(
            strokeDash=[5, 3], color=_GREY
        )
        return layered(
            rule.encode(x=alt.X("promised:Q")),
            drawn_points,
            width=variant.width - 180,
            height=step(18),
        )

    return _figure(
        "curve_calibration",
        "Coverage of held-out runs, by environment",
        f"The dashed line is what the intervals promise: {promised:.0%} on average "
        "over environments, not in each of them. Numbers: curves.evaluation.",
        chart,
    )


def ablation(content: CurveContent) -> Figure | None:
    """Error of each member, of the stack, and of the stack without each member."""
    if not content.is_trained:
        return None
    data = [
        {
            "situation": situation,
            "model": row["model"],
            "crps": finite(row["crps"]),
            "kind": _kind(row["model"]),
        }
        for situation in content.situations
        for row in content.whole(situation).sort("crps", "model").to_dicts()
    ]

    def chart(variant: Variant) -> Plot:
        panels = [
            _bars([row for row in data if row["situation"] == one], variant, title=one)
            for one in content.situations
        ]
        return in_grid(panels, 1)

    return _figure(
        "curve_ablation",
        "What each member adds",
        "Continuous ranked probability score of held-out runs, in scaled reward; "
        "shorter is better. Numbers: curves.evaluation.",
        chart,
    )


def _kind(model: str) -> str:
    if model == STACK:
        return "stack"
    return "stack without one" if model.startswith(WITHOUT) else "member alone"


def _bars(data: list[dict[str, Any]], variant: Variant, *, title: str) -> Plot:
    kinds = ["stack", "stack without one", "member alone"]
    base = chart_of(data)
    y = alt.Y("model:N", sort=[row["model"] for row in data], axis=alt.Axis(title=None))
    color = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=kinds, range=[_ORANGE, _BLUE, _GREY]),
        legend=alt.Legend(title=None, orient="top"),
    )
    bars = base.mark_bar(height=11).encode(
        x=alt.X("crps:Q", axis=alt.Axis(title="CRPS", tickCount=5)), y=y, color=color
    )
    text = base.mark_text(align="left", dx=4).encode(
        x=alt.X("crps:Q"), y=y, text=alt.Text("crps:Q", format=".3f")
    )
    width = variant.width - 260 if variant is WIDE else 150
    return layered(bars, text, width=width, height=step(18), title=title)


def latent_map(content: CurveContent) -> Figure | None:
    """Environments where the autoencoder puts them; ``None`` without latents."""
    rows = content.tables["curves.latents"].filter(role="environment")
    spread = rows.group_by("dimension").agg(pl.col("value").std().fill_null(0.0))
    axes = spread.sort("value", "dimension", descending=[True, False])["dimension"]
    if len(axes) < 2 or rows["item"].n_unique() < 3:
        return None
    first, second = axes[0], axes[1]
    wide = rows.filter(pl.col("dimension").is_in([first, second])).pivot(
        on="dimension", index="item", values="value"
    )
    told = wide.join(
        content.tables["curves.difficulty"].select("environment", "difficulty"),
        left_on="item",
        right_on="environment",
        how="left",
    ).sort("item")
    items = told["item"].head(_MOST_PLACES).to_list()
    label = labels(items, 18)
    data = [
        {
            "label": label[row["item"]],
            "x": row[str(first)],
            "y": row[str(second)],
            "difficulty": finite(row["difficulty"]),
        }
        for row in told.head(_MOST_PLACES).to_dicts()
    ]

    def chart(variant: Variant) -> Plot:
        base = chart_of(data)
        x = alt.X("x:Q", axis=alt.Axis(title=_meaning(content, first), tickCount=5))
        y = alt.Y("y:Q", axis=alt.Axis(title=_meaning(content, second), tickCount=5))
        color = alt.Color(
            "difficulty:Q",
            scale=alt.Scale(range=[_BLUE, palette.GRID.light, _ORANGE]),
            legend=alt.Legend(title="difficulty", orient="top", type="symbol"),
        )
        points = base.mark_point(
            size=90, filled=True, opacity=1, stroke=_GREY, strokeWidth=0.5
        ).encode(x=x, y=y, color=color)
        names = base.mark_text(align="left", dx=8, fontSize=variant.font - 3).encode(
            x=x, y=y, text=alt.Text("label:N")
        )
        shown = (points, names) if len(data) <= _MOST_ENVIRONMENTS else (points,)
        return layered(*shown, width=variant.width - 110, height=360)

    return _figure(
        "curve_latents",
        "Environments in the latent space",
        "The two latents in which environments differ most, each with the feature it "
        "goes with. Numbers: curves.latents, curves.latent_correlations.",
        chart,
    )


def _meaning(content: CurveContent, dimension: int) -> str:
    """A latent's number, and the feature it goes with most."""
    rows = content.tables["curves.latent_correlations"].filter(
        role="environment", dimension=dimension
    )
    if rows.is_empty():
        return f"latent {dimension}"
    strength = pl.col("correlation").abs()
    best = rows.sort(strength, "feature", descending=[True, False]).row(0, named=True)
    told = labels([best["feature"]], 30)[best["feature"]]
    return f"latent {dimension}: {told} ({best['correlation']:+.2f})"


def latent_way(content: CurveContent) -> Figure | None:
    """Curves on the way from the best environment to the worst; ``None`` without."""
    rows = content.tables["curves.latent_paths"].filter(role="environment")
    if rows.is_empty():
        return None
    ends = rows.select("item", "other_item").row(0)
    names = labels(list(ends), 30)
    columns = ("path_share", "budget_fraction", "predicted")
    data = [
        {key: finite(row[key]) for key in columns}
        for row in rows.select(columns).iter_rows(named=True)
    ]

    def chart(variant: Variant) -> Plot:
        color = alt.Color(
            "path_share:Q",
            scale=alt.Scale(range=[_BLUE, _PURPLE, _ORANGE]),
            legend=alt.Legend(
                title="share of the way", format="%", orient="top", type="symbol"
            ),
        )
        lines = (
            chart_of(data)
            .mark_line(strokeWidth=2)
            .encode(
                x=alt.X(
                    "budget_fraction:Q",
                    axis=alt.Axis(title="share of the planned budget", format="%"),
                ),
                y=alt.Y("predicted:Q", axis=alt.Axis(title=None, tickCount=5)),
                color=color,
                detail=alt.Detail("path_share:N"),
            )
        )
        return layered(lines, width=variant.width - 90, height=240)

    return _figure(
        "curve_interpolation",
        f"From {names[ends[0]]} to {names[ends[1]]} through the latent space",
        "Curves of the same agent on a straight way between two environments. "
        "Numbers: curves.latent_paths.",
        chart,
    )


def _figure(
    kind: str,
    title: str,
    caption: str,
    chart: Chart,
) -> Figure:
    name = kind.replace("_", "-")
    return Figure(
        name=name,
        kind=kind,
        analysis=SECTION,
        title=title,
        caption=caption,
        chart=chart,
    )
