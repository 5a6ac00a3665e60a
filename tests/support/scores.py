"""Small frames of scores, written as the tests think of them."""

import polars as pl

SCHEMA = {
    "group_name": pl.String,
    "task": pl.String,
    "run_path": pl.String,
    "score": pl.Float64,
}


def scores(**groups: dict[str, list[float]]) -> pl.DataFrame:
    """One row per group, task and score; every score is of a run of its own."""
    rows = [
        (group, task, f"{group}/{task}/{index}", float(value))
        for group, tasks in groups.items()
        for task, values in tasks.items()
        for index, value in enumerate(values)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
