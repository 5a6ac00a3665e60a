"""A column name means one thing: its DuckDB type, its unit and its meaning.

Types are DuckDB's spelling. A table may give one of its columns a meaning of its own
(``Table.own_columns``); everything else comes from here.
"""

from typing import NamedTuple


class Column(NamedTuple):
    """Type and meaning of a column.

    Attributes:
        type: DuckDB type, for example ``DOUBLE`` or ``VARCHAR[]``.
        meaning: One sentence with the unit; it becomes the column's COMMENT.
    """

    type: str
    meaning: str


COLUMNS: dict[str, Column] = {
    # who and what a run is
    "run_path": Column("VARCHAR", "entity/project/run_id: the key of a run everywhere"),
    "entity": Column("VARCHAR", "W&B user or team that owns the project"),
    "project": Column("VARCHAR", "W&B project; `uncategorized` where a file has none"),
    "run_id": Column("VARCHAR", "W&B run id, unique within a project"),
    "run_name": Column("VARCHAR", "Display name, chosen by a person or by W&B"),
    "run_group": Column("VARCHAR", "W&B group of the run"),
    "job_type": Column("VARCHAR", "W&B job type, such as train or eval"),
    "tags": Column("VARCHAR[]", "W&B tags"),
    "notes": Column("VARCHAR", "Free text of the run's author"),
    "run_state": Column(
        "VARCHAR",
        "running, finished, failed, crashed, killed or unknown, when last fetched",
    ),
    "created_at": Column("TIMESTAMPTZ", "Start of the run or of the artifact (UTC)"),
    "heartbeat_at": Column("TIMESTAMPTZ", "Last sign of life of the run (UTC)"),
    "ended_at": Column("TIMESTAMPTZ", "Last sign of life of a run that has ended"),
    "runtime_seconds": Column("DOUBLE", "Seconds since the start of the run"),
    "last_step": Column("BIGINT", "Last logged step"),
    "first_step": Column("BIGINT", "First logged step"),
    "history_rows": Column("BIGINT", "Logged history rows (calls of log)"),
    "server_rows": Column("BIGINT", "History rows that the server counted when listed"),
    "listing_digest": Column(
        "VARCHAR", "Digest of what the server said of the run when listed"
    ),
    "history_values": Column("BIGINT", "Rows of raw.history that were read"),
    "config_json": Column("VARCHAR", "The run's config as JSON with sorted keys"),
    "summary_json": Column("VARCHAR", "The run's summary as JSON with sorted keys"),
    "user_name": Column("VARCHAR", "User who started the run"),
    "host_name": Column("VARCHAR", "Machine the run was started on"),
    "program": Column("VARCHAR", "Script that was run"),
    "git_commit": Column("VARCHAR", "Commit of the code that was run"),
    "sdk_version": Column("VARCHAR", "Version of the wandb SDK that wrote the run"),
    "sweep_name": Column("VARCHAR", "W&B sweep the run belongs to"),
    "url": Column("VARCHAR", "Page of the run in W&B; null for local files"),
    "source": Column("VARCHAR", "Kind of source: wandb_files or wandb_api"),
    "source_location": Column("VARCHAR", "File or project the run was read from"),
    "is_deleted": Column("BOOLEAN", "The source says that the run was deleted"),
    "is_complete": Column("BOOLEAN", "The run has finished"),
    "fetched_at": Column("TIMESTAMPTZ", "When the stored state was read (UTC)"),
    # history
    "metric": Column("VARCHAR", "Name of the metric; nested keys joined with a dot"),
    "step": Column("BIGINT", "W&B step of the logged row"),
    "logged_at": Column("TIMESTAMPTZ", "When the row was logged (UTC)"),
    "value": Column("DOUBLE", "Logged number (NaN and infinities kept) or result"),
    "value_json": Column(
        "VARCHAR", "JSON text of what is not a number, a boolean or beyond 2^53"
    ),
    "x_metric": Column("VARCHAR", "Declared x axis of the metric; _step by default"),
    "x": Column("DOUBLE", "Value of x_metric where the value was logged"),
    "first_x": Column("DOUBLE", "Smallest x of the run's finite values"),
    "last_x": Column("DOUBLE", "Largest x of the run's finite values"),
    # artifacts
    "direction": Column("VARCHAR", "logged by the run or used by it"),
    "artifact_type": Column("VARCHAR", "Type of the artifact, such as dataset"),
    "artifact_name": Column("VARCHAR", "Name of the artifact without version"),
    "version": Column("VARCHAR", "Version of the artifact; null before an upload"),
    "aliases": Column("VARCHAR[]", "Aliases of the artifact, such as latest"),
    "files": Column(
        "STRUCT(name VARCHAR, size_bytes BIGINT)[]", "Files of the artifact"
    ),
    "size_bytes": Column("BIGINT", "Size in bytes"),
    "digest": Column("VARCHAR", "Digest of the artifact's content"),
    # define_metric
    "pattern": Column("VARCHAR", "Metric name, or a prefix that ends with *"),
    "step_metric": Column("VARCHAR", "Metric declared as x axis"),
    "summary": Column("VARCHAR", "Summaries asked for, joined with commas"),
    "goal": Column("VARCHAR", "maximize or minimize, where declared"),
    # sync state
    "modified_ns": Column("BIGINT", "Time of change of the file, in ns since 1970"),
    "project_slug": Column("VARCHAR", "The project's name as a folder and partition"),
    "day": Column("DATE", "UTC day under which the run is stored, for life"),
    "parts": Column(
        "BIGINT[]", "Numbers of the run's lake parts; the newest steps are in the first"
    ),
    "content_digest": Column(
        "VARCHAR", "Digest of what was read; null while a read is under way"
    ),
    "progress_json": Column("VARCHAR", "Where to read on in a growing file"),
    "skipped": Column(
        "STRUCT(start_byte BIGINT, size_bytes BIGINT, reason VARCHAR)[]",
        "What could not be read",
    ),
    "skipped_bytes": Column("BIGINT", "Bytes that could not be read"),
    "is_damaged": Column(
        "BOOLEAN", "Unreadable data was skipped; a cut-off tail is not damage"
    ),
    "problem": Column("VARCHAR", "Why the location was not read, or only in part"),
    "export_rows": Column("BIGINT", "Rows of the server's history export"),
    # configuration
    "key": Column("VARCHAR", "Config key, nested keys joined with a dot"),
    "value_double": Column("DOUBLE", "The value as a number; booleans are 1 and 0"),
    "value_text": Column("VARCHAR", "The value as text, without JSON's quotes"),
    # run summaries
    "n_points": Column("BIGINT", "Logged values that are numbers"),
    "n_nonfinite": Column("BIGINT", "How many of them are NaN or infinite"),
    "missing_rate": Column(
        "DOUBLE", "Share of the run's history rows without the metric, in [0, 1]"
    ),
    "mean": Column("DOUBLE", "Mean of the finite values"),
    "std": Column("DOUBLE", "Sample standard deviation of the finite values"),
    "min": Column("DOUBLE", "Smallest finite value"),
    "p25": Column("DOUBLE", "Lower quartile of the finite values (linear)"),
    "median": Column("DOUBLE", "Median of the finite values"),
    "p75": Column("DOUBLE", "Upper quartile of the finite values (linear)"),
    "max": Column("DOUBLE", "Largest finite value"),
    "first": Column("DOUBLE", "First logged value, which may be NaN or infinite"),
    "last": Column("DOUBLE", "Last logged value, which may be NaN or infinite"),
    "mean_last_10pct": Column(
        "DOUBLE", "Mean of the finite values among the last tenth of the points"
    ),
    "last_logged_at": Column("TIMESTAMPTZ", "When the metric was last logged (UTC)"),
    "summary_value": Column("DOUBLE", "The run summary's value, where a number"),
    # derived
    "null_reason": Column("VARCHAR", "Why there is no value"),
    "grid_x": Column("DOUBLE", "Lower edge of the bin, in the unit of x_metric"),
    "is_observed": Column("BOOLEAN", "False where the value is interpolated"),
    "bin_width": Column("DOUBLE", "Width of the bins, in the unit of x_metric"),
    # statistics
    "analysis": Column("VARCHAR", "Name of the analysis in run_assets.yaml"),
    "group_name": Column("VARCHAR", "What is compared, such as an algorithm"),
    "task": Column("VARCHAR", "Stratum of the run, such as a map; null without"),
    "score": Column("DOUBLE", "Score of the run, after normalization"),
    "raw_score": Column("DOUBLE", "Score of the run as logged"),
    "replicate": Column("VARCHAR", "Unit of replication"),
    "statistic": Column("VARCHAR", "Name of the statistic, such as iqm"),
    "estimate": Column("DOUBLE", "Point estimate"),
    "ci_low": Column("DOUBLE", "Lower end of the confidence interval"),
    "ci_high": Column("DOUBLE", "Upper end of the confidence interval"),
    "confidence": Column("DOUBLE", "Nominal coverage of the interval, in (0, 1)"),
    "method": Column("VARCHAR", "Interval method"),
    "n_runs": Column("BIGINT", "Runs"),
    "n_tasks": Column("BIGINT", "Tasks"),
    "min_runs_per_task": Column("BIGINT", "Runs of the task with the fewest"),
    "max_runs_per_task": Column("BIGINT", "Runs of the task with the most"),
    "resamples": Column("BIGINT", "Bootstrap resamples"),
    "seed": Column("BIGINT", "Seed of the resampling"),
    "threshold": Column("DOUBLE", "Score that is to be exceeded"),
    "fraction": Column("DOUBLE", "Share of runs above the threshold, in [0, 1]"),
    "kind": Column("VARCHAR", "Kind of profile: score or ratio"),
    "group_x": Column("VARCHAR", "First group of the pair"),
    "group_y": Column("VARCHAR", "Second group of the pair"),
    "test": Column("VARCHAR", "Hypothesis test"),
    "alternative": Column("VARCHAR", "What is tested for: two-sided, less or greater"),
    "p_value": Column("DOUBLE", "p-value of the test against its alternative"),
    "p_adjusted": Column("DOUBLE", "p-value corrected for all pairs of the analysis"),
    "correction": Column("VARCHAR", "Correction for multiple comparisons"),
    "mean_difference": Column("DOUBLE", "Mean of x minus mean of y"),
    "effect": Column("VARCHAR", "Name of the effect size"),
    "effect_size": Column("DOUBLE", "Effect size of x over y"),
    "band": Column("VARCHAR", "How the band was made: exact or bootstrap"),
    "rank": Column("DOUBLE", "Rank of the group, 1 is the best; ties share theirs"),
    "mean_rank": Column("DOUBLE", "Mean rank over the resamples"),
    "rank_low": Column("DOUBLE", "Best rank in the interval"),
    "rank_high": Column("DOUBLE", "Worst rank in the interval"),
    "probability_best": Column("DOUBLE", "Chance of being the best group, in [0, 1]"),
    "n_groups": Column("BIGINT", "Groups that were ranked"),
    "level": Column("DOUBLE", "Score that is to be reached"),
    "gap": Column("DOUBLE", "Mean distance below the optimum, as the score was logged"),
    "gap_rate": Column("DOUBLE", "The gap as a share of the optimum; 0 is perfect"),
    "rate_ci_low": Column("DOUBLE", "Lower end of the interval of gap_rate"),
    "rate_ci_high": Column("DOUBLE", "Upper end of the interval of gap_rate"),
    "optimum": Column("DOUBLE", "Best possible score of the task"),
    "n_x": Column("BIGINT", "Runs or pairs of x that entered the test"),
    "n_y": Column("BIGINT", "Runs or pairs of y that entered the test"),
    # rewards
    "part": Column("VARCHAR", "component, total, success_rate or training"),
    "trend_ratio": Column(
        "DOUBLE", "Mean of the second half minus the first's, over |the first's|"
    ),
    "trend_change": Column(
        "DOUBLE", "Rise of the fitted line over the run, in the metric's unit"
    ),
    "verdict": Column(
        "VARCHAR",
        "improving, worsening, rising, falling, constant, unclear or not_testable",
    ),
    "step_25": Column(
        "BIGINT", "First logged step at 25 % of the way from first to last"
    ),
    "step_50": Column(
        "BIGINT", "First logged step at 50 % of the way from first to last"
    ),
    "step_75": Column(
        "BIGINT", "First logged step at 75 % of the way from first to last"
    ),
    "step_90": Column(
        "BIGINT", "First logged step at 90 % of the way from first to last"
    ),
    "weight": Column("DOUBLE", "Weight of the component in the ledger"),
    "contribution": Column("DOUBLE", "Weight times mean value of the component"),
    "share": Column(
        "DOUBLE", "Size of the contribution as a share of all sizes, in [0, 1]"
    ),
    # diagnostics
    "rule_code": Column("VARCHAR", "Code of the rule, such as RUN001"),
    "rule_name": Column("VARCHAR", "Name of the rule, such as loss-spike"),
    "family": Column("VARCHAR", "Family of the rule, such as instability"),
    "outcome": Column("VARCHAR", "fired, clear or not_testable"),
    "severity": Column("VARCHAR", "info, warning or error, if it fired"),
    "evidence_json": Column("VARCHAR", "What the finding rests on, as JSON"),
    "hypothesis": Column("VARCHAR", "What may be behind it"),
    "suggestion": Column("VARCHAR", "What to do"),
    "reason": Column("VARCHAR", "Why it could not be tested, or is clear all the same"),
    # curves
    "feature": Column("VARCHAR", "Name of a feature of the configuration"),
    "role": Column("VARCHAR", "environment, agent, task, budget or environment_name"),
    "is_default": Column("BOOLEAN", "The run's config lacks the key: a default counts"),
    "grid_point": Column("BIGINT", "Number of the point on the budget's grid, from 0"),
    "budget_fraction": Column(
        "DOUBLE",
        "Share of the run's planned budget at the middle of the bin, in [0, 1]",
    ),
    "is_diverged": Column("BOOLEAN", "The run logged a reward that is not finite"),
    "situation": Column(
        "VARCHAR", "What was held out: runs of known environments, or new environments"
    ),
    "model": Column("VARCHAR", "A member, the stack, or a stack without a member"),
    "observed_fraction": Column(
        "DOUBLE", "Share of the planned budget that the run has trained, in [0, 1]"
    ),
    "environment": Column("VARCHAR", "Name of the environment"),
    "r_squared": Column(
        "DOUBLE", "Share of the squared error of the mean curve that is avoided"
    ),
    "mean_absolute_error": Column("DOUBLE", "Mean absolute error, in scaled reward"),
    "crps": Column("DOUBLE", "Continuous ranked probability score, in scaled reward"),
    "rank_correlation": Column(
        "DOUBLE",
        "Spearman correlation of final rewards inside environments, their mean",
    ),
    "coverage_rate": Column(
        "DOUBLE", "Share of points inside the intervals, in [0, 1]"
    ),
    "interval_width": Column("DOUBLE", "Mean width of the intervals, in scaled reward"),
    "predicted": Column("DOUBLE", "Predicted reward, in the unit of the metric"),
    "predicted_low": Column("DOUBLE", "Lower end of the prediction interval"),
    "predicted_high": Column("DOUBLE", "Upper end of the prediction interval"),
    "is_new_environment": Column(
        "BOOLEAN", "The model was trained on no run of the environment"
    ),
    "best_so_far": Column(
        "DOUBLE", "Best final reward of the ended runs of the environment"
    ),
    "probability_improvement": Column(
        "DOUBLE", "Chance that the final reward is better than best_so_far, in [0, 1]"
    ),
    "failure_rate": Column(
        "DOUBLE", "Share of ended runs with no curve to learn from, in [0, 1]"
    ),
    "observed_final": Column("DOUBLE", "Mean final reward of the ended runs"),
    "predicted_final": Column(
        "DOUBLE", "Predicted final reward, in the unit of the metric"
    ),
    "difficulty": Column(
        "DOUBLE",
        "1 minus the scaled final reward expected of the same agents; 0 is easy",
    ),
    "driver": Column(
        "VARCHAR", "Feature that makes the environment most unlike others"
    ),
    "driver_effect": Column(
        "DOUBLE", "Difficulty that goes when the driver gets its median value"
    ),
    "importance": Column(
        "DOUBLE",
        "Share of the variance of predicted finals lost by shuffling, in [0, 1]",
    ),
    "direction_correlation": Column(
        "DOUBLE", "Spearman correlation of the feature with the predicted final reward"
    ),
    "position": Column("BIGINT", "Place in the list, from 1"),
    "planned_budget": Column("DOUBLE", "Planned budget, on the metric's x axis"),
    "expected_improvement": Column(
        "DOUBLE", "Expected gain of the final reward over best_so_far"
    ),
    "support_distance": Column(
        "DOUBLE", "Distance to the nearest trained configuration, 1 is typical"
    ),
    "learning_progress": Column(
        "DOUBLE", "Predicted rise of the scaled reward over the budget"
    ),
    "item": Column("VARCHAR", "An environment, or the run that stands for an agent"),
    "dimension": Column("BIGINT", "Number of the latent, from 1"),
    "correlation": Column("DOUBLE", "Spearman correlation, in [-1, 1]"),
    "path_share": Column("DOUBLE", "Place between two items, 0 to 1"),
    "other_item": Column("VARCHAR", "Where the way through the latents ends"),
    # published
    "input_digest": Column("VARCHAR", "Digest of everything the file was made from"),
    "code_version": Column("VARCHAR", "Version of run_assets that made the file"),
}
