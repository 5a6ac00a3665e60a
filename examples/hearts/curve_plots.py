"""Draw what a lab knows of its training curves, and forecasts of runs cut short.

``python -m examples.hearts.curve_plots --lab LAB --folder FOLDER`` takes the lab of
``run-assets curves demo``. Plots of the model are those of its report. No run of that
lab is running, so for the forecasts one run of each of six worlds is held out and cut
after 30 % of its budget; a model is fitted to the others.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from run_assets.errors import NotFoundError, RunAssetsError
from run_assets.lab import Lab

FORECASTS = 6
KNOWN = 0.3
_TOLD = ("curves.predictions", "curves.outlooks")


def forecasts(lab: Lab) -> dict[str, pl.DataFrame]:
    """``curves.predictions`` and ``curves.outlooks`` of runs as if they were running.

    Raises:
        NotFoundError: The lab has no curves.
    """
    from run_assets.curves.dataset import curve_table, ended_runs, has_curve
    from run_assets.curves.model import fit_curve_model
    from run_assets.curves.outlooks import outlooks, predict_running, predictions

    settings = lab.config.curves
    if settings is None:
        msg = "the lab has no `curves:`; make one with `run-assets curves demo lab`"
        raise NotFoundError(msg)
    runs, features, curves = (
        lab.table(name).collect()
        for name in ("marts.runs", "curves.features", "curves.dataset")
    )
    table = curve_table(ended_runs(runs), features, curves, settings)
    table = table.rows(has_curve(table, settings))
    _, firsts = np.unique(table.environments, return_index=True)
    count = min(FORECASTS, len(firsts), len(table) // 4)
    chosen = firsts[np.linspace(0, len(firsts) - 1, count).round().astype(int)]
    held = np.isin(np.arange(len(table)), chosen)
    cut, others = table.rows(held), table.rows(~held)
    begun = replace(cut, curves=cut.curves.copy())
    begun.curves[:, round(KNOWN * table.points) :] = np.nan
    model = fit_curve_model(others, settings).model
    told = predict_running(model, begun, others)
    shown = replace(begun, curves=cut.curves)  # the truth, as dots
    rows = predictions(shown, told, settings.model.confidence)
    ends = outlooks(model, begun, others, told)
    return dict(zip(_TOLD, (rows, ends), strict=True))


def draw(lab: Lab, folder: Path) -> list[Path]:
    """Write each plot as a PNG file; returns their paths."""
    from run_assets.reports.curve_content import CURVE_TABLES, CurveContent
    from run_assets.reports.curve_figures import curve_figures
    from run_assets.reports.drawing import png

    told = forecasts(lab)
    stored = {one: lab.table(one).collect() for one in CURVE_TABLES if one not in told}
    assert lab.config.curves is not None  # noqa: S101  # forecasts has looked
    content = CurveContent(lab.config.curves, {}, {**stored, **told})
    written = []
    for figure in curve_figures(content):
        path = folder / f"{figure.kind.replace('curve_', 'curves_')}.png"
        path.write_bytes(png(figure.svg))
        written.append(path)
    return written


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    import run_assets

    parser = argparse.ArgumentParser(prog="hearts.curve_plots", description=__doc__)
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        print(*draw(run_assets.open(options.lab), options.folder), sep="\n")
    except RunAssetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
