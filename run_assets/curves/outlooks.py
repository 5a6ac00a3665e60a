"""Forecasts of running runs: the rest of each curve, and how it will end."""

import numpy as np
import polars as pl

from run_assets.curves.examples import CurveTable, Floats
from run_assets.curves.finals import (
    best_finals,
    final_mean,
    final_quantiles,
    probability_better,
)
from run_assets.curves.model import CurveModel, Prediction


def predict_running(
    model: CurveModel, running: CurveTable, ended: CurveTable
) -> Prediction:
    """Forecasts of running runs, by their configurations and their curves so far.

    Args:
        model: A fitted model.
        running: The runs, with what they have logged so far.
        ended: Runs that have ended; those of environments that the model has not seen
            inform the forecasts there.
    """
    fresh = ended.rows(model.is_new(ended))
    return model.predict(running, fresh if len(fresh) else None)


def predictions(
    running: CurveTable, prediction: Prediction, confidence: float
) -> pl.DataFrame:
    """One row per run and point: the columns of ``curves.predictions``."""
    runs, points = running.curves.shape
    low, high = prediction.interval(confidence)
    number = np.tile(np.arange(points), runs)
    return pl.DataFrame(
        {
            "run_path": np.repeat(running.run_paths, points).tolist(),
            "grid_point": number,
            "budget_fraction": (number + 0.5) / points,
            "is_observed": np.isfinite(running.curves).ravel(),
            "value": running.curves.ravel(),
            "predicted": prediction.mean.ravel(),
            "predicted_low": low.ravel(),
            "predicted_high": high.ravel(),
            "confidence": np.full(runs * points, confidence),
        },
        schema_overrides={"run_path": pl.String},
    ).with_columns(pl.col("value").fill_nan(None))


def outlooks(
    model: CurveModel, running: CurveTable, ended: CurveTable, prediction: Prediction
) -> pl.DataFrame:
    """One row per run: the columns of ``curves.outlooks``."""
    confidence = model.settings.model.confidence
    quantiles = final_quantiles(prediction)
    best = best_finals(ended, running.environments, model.scale.sign)
    tails = Prediction(
        final_mean(prediction)[:, None],
        quantiles[:, :, None],
        prediction.is_new_environment,
    )
    low, high = tails.interval(confidence)
    return pl.DataFrame(
        {
            "run_path": running.run_paths.tolist(),
            "environment": running.environments.tolist(),
            "task": running.tasks.tolist(),
            "is_new_environment": prediction.is_new_environment,
            "observed_fraction": observed_fraction(running.curves),
            "predicted_final": tails.mean[:, 0],
            "predicted_low": low[:, 0],
            "predicted_high": high[:, 0],
            "confidence": np.full(len(running), confidence),
            "best_so_far": best,
            "probability_improvement": probability_better(
                quantiles, best, model.scale.sign
            ),
        },
        schema_overrides=dict.fromkeys(("run_path", "environment", "task"), pl.String),
    ).with_columns(pl.col("best_so_far", "probability_improvement").fill_nan(None))


def observed_fraction(curves: Floats) -> Floats:
    """How far each run has come, as a share of its planned budget; 0 without points."""
    known = np.isfinite(curves)
    ends = curves.shape[1] - known[:, ::-1].argmax(axis=1)
    return np.where(known.any(axis=1), ends / curves.shape[1], 0.0)
