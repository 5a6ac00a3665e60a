"""Contracts of what went well or wrong in each run."""

from run_assets.contracts.columns import Column
from run_assets.contracts.table import declared

_FINDING = {
    "metric": Column("VARCHAR", "Metric that the finding is about; * is the whole run"),
    "first_step": Column("BIGINT", "First step that the finding is about"),
    "last_step": Column("BIGINT", "Last step that the finding is about"),
    "statistic": Column("DOUBLE", "What was compared with the threshold"),
    "threshold": Column("DOUBLE", "From where on the rule fires"),
    "n_points": Column("BIGINT", "Values that it was computed from"),
    "effect_size": Column("DOUBLE", "How large it is; the rule says in which unit"),
    "ci_low": Column("DOUBLE", "Lower end of the effect's 95 % interval"),
    "ci_high": Column("DOUBLE", "Upper end of the effect's 95 % interval"),
}

DIAGNOSTICS_TABLES = (
    declared(
        "diagnostics.reward_components",
        "run and metric that is a reward, a success rate or of training",
        "run_path metric",
        """
        run_path metric part prefix task direction n_points n_nonfinite mean median std
        min max first last trend_ratio trend_change ci_low ci_high confidence verdict
        step_25 step_50 step_75 step_90 weight contribution share notes
        """,
        "runs",
        own_columns={
            "direction": Column(
                "VARCHAR", "Declared good direction: higher, lower or none"
            ),
            "prefix": Column("VARCHAR", "What stands before the last / of the metric"),
            "task": Column("VARCHAR", "Task of a success rate"),
            "ci_low": Column("DOUBLE", "Lower end of the interval of trend_change"),
            "ci_high": Column("DOUBLE", "Upper end of the interval of trend_change"),
            "notes": Column("VARCHAR", "Why a number is missing"),
        },
    ),
    declared(
        "diagnostics.findings",
        "run, rule and metric: fired, clear or not testable",
        "run_path rule_code metric",
        """
        run_path rule_code rule_name family outcome severity metric first_step last_step
        statistic threshold n_points effect_size ci_low ci_high evidence_json hypothesis
        suggestion reason
        """,
        "runs",
        own_columns=_FINDING,
    ),
    declared(
        "diagnostics.run_health",
        "run: its worst finding and one sentence",
        "run_path",
        """
        run_path run_state worst_severity n_errors n_warnings n_infos n_clear
        n_not_testable sentence
        """,
        "runs",
        own_columns={
            "worst_severity": Column(
                "VARCHAR", "Worst severity of what fired; null where nothing did"
            ),
            "n_errors": Column("BIGINT", "Findings of severity error"),
            "n_warnings": Column("BIGINT", "Findings of severity warning"),
            "n_infos": Column("BIGINT", "Findings of severity info"),
            "n_clear": Column("BIGINT", "Tests that found nothing"),
            "n_not_testable": Column("BIGINT", "Tests that could not be made"),
            "sentence": Column("VARCHAR", "How the run is, in one sentence"),
        },
    ),
    declared(
        "diagnostics.scaling_fits",
        "scope, metric, form of the law and its term",
        "scope metric form term",
        """
        scope entity project metric form term exponent ci_low ci_high factor
        offset_value aicc aicc_behind n_runs n_points decades allocation notes
        """,
        "single",
        own_columns={
            "scope": Column("VARCHAR", "run_path of a run, or entity/project of all"),
            "form": Column(
                "VARCHAR",
                "power_law_with_offset, power_law or log_linear; best of them: "
                "aicc_behind is 0",
            ),
            "term": Column("VARCHAR", "compute, parameters or tokens"),
            "exponent": Column(
                "DOUBLE",
                "alpha in y = E + A x^-alpha; of log_linear the slope",
            ),
            "ci_low": Column("DOUBLE", "Lower end of the exponent's 95 % interval"),
            "ci_high": Column("DOUBLE", "Upper end of the exponent's 95 % interval"),
            "factor": Column("DOUBLE", "A; of log_linear the value at x = 1"),
            "offset_value": Column("DOUBLE", "E, in the unit of the metric"),
            "aicc": Column("DOUBLE", "Akaike's criterion for small samples"),
            "aicc_behind": Column("DOUBLE", "How far behind the best form"),
            "decades": Column("DOUBLE", "Decades that x spans"),
            "allocation": Column(
                "DOUBLE",
                "Exponent of compute with which this term grows where compute is "
                "spent best",
            ),
            "notes": Column("VARCHAR", "Why there is no fit"),
        },
    ),
)
