"""One sentence on each run, from its findings."""

import polars as pl

from run_assets.diagnostics.model import SEVERITIES, WHOLE_RUN
from run_assets.diagnostics.registry import rules

# More than one finding is named only by its number.
_COUNTED = {"error": "errors", "warning": "warnings", "info": "notes"}


def worst_first(findings: pl.DataFrame) -> pl.DataFrame:
    """What fired, the worst severity first, then what happened first."""
    rank = pl.col("severity").replace_strict(
        {name: place for place, name in enumerate(SEVERITIES)}, return_dtype=pl.Int64
    )
    return (
        findings.filter(outcome="fired")
        .with_columns(rank=rank)
        .sort(
            "rank",
            "first_step",
            "rule_code",
            "metric",
            "run_path",
            descending=[True, False, False, False, False],
            nulls_last=True,
        )
        .drop("rank")
    )


def run_health(findings: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """One row per run: worst severity, counts and a sentence.

    Args:
        findings: ``diagnostics.findings``.
        runs: ``run_path`` and ``run_state`` of every run.
    """
    fired = worst_first(findings)
    counts = findings.group_by("run_path").agg(
        *(
            ((pl.col("outcome") == "fired") & (pl.col("severity") == severity))
            .sum()
            .alias(f"n_{severity}s")
            for severity in SEVERITIES
        ),
        n_clear=(pl.col("outcome") == "clear").sum(),
        n_not_testable=(pl.col("outcome") == "not_testable").sum(),
    )
    first = fired.unique("run_path", keep="first", maintain_order=True).select(
        "run_path", "rule_code", "metric", "first_step", worst_severity="severity"
    )
    joined = runs.select("run_path", "run_state").join(counts, "run_path", how="left")
    rows = joined.join(first, "run_path", how="left").sort("run_path")
    sentences = [_sentence(row) for row in rows.iter_rows(named=True)]
    return rows.with_columns(
        pl.col("^n_.*$").fill_null(0), sentence=pl.Series(sentences, dtype=pl.String)
    ).drop("rule_code", "metric", "first_step")


def _sentence(row: dict[str, object]) -> str:
    clear, blind = row["n_clear"] or 0, row["n_not_testable"] or 0
    if row["rule_code"] is None or row["worst_severity"] == "info":
        notes = row["n_infos"] or 0
        told = f"Nothing wrong in {clear} tests"
        told += f", {notes} worth knowing" if notes else ""
        return f"{told}; {blind} could not be made."
    counted = [
        f"{row[f'n_{one}s']} {_COUNTED[one] if row[f'n_{one}s'] != 1 else one}"
        for one in ("error", "warning")
        if row[f"n_{one}s"]
    ]
    return f"{' and '.join(counted)}; worst: {told_briefly(row)}"


def told_briefly(row: dict[str, object]) -> str:
    """A finding in one sentence: what, where, by which rule.

    >>> told_briefly({"rule_code": "RUN001", "metric": "loss", "first_step": 7})
    'The loss jumps far above its own recent level (loss, step 7, RUN001).'
    """
    code = str(row["rule_code"])
    where = [] if row["metric"] == WHOLE_RUN else [str(row["metric"])]
    if row["first_step"] is not None:
        where.append(f"step {row['first_step']}")
    return f"{rules()[code].summary.rstrip('.')} ({', '.join([*where, code])})."
