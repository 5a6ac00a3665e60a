"""The marts of some trials, by the SQL models that make those of all."""

import duckdb
import polars as pl

from run_assets.store.lake import conform
from run_assets.store.models import model

MARTS = ("marts.model_tasks", "marts.models", "marts.tasks")


def trial_marts(trials: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Rows of each mart over trials, by table.

    Args:
        trials: Rows of ``core.trials``.
    """
    found: dict[str, pl.DataFrame] = {}
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("create schema core")
        connection.execute("create schema marts")
        connection.register("chosen", trials.to_arrow())
        connection.execute("create view core.trials as from chosen")
        for name in MARTS:
            connection.execute(f"create table {name} as {model(name).sql}")
            frame = connection.sql(f"from {name}").pl()
            found[name] = conform(frame, model(name).contract)
    return found
