"""Contracts of evaluation results: trials of models on tasks, from raw to stats."""

from run_assets.contracts.columns import Column
from run_assets.contracts.table import Layout, Table, declared

ALL_SWEEPS = "*"
"""Stands in ``sweep_id`` for the trials of all sweeps, and of none."""
ALL_TASKS = "*"
"""Stands in ``task`` for all tasks."""

_COLUMNS: dict[str, Column] = {
    # what a trial is
    "source": Column("VARCHAR", "Name of the result source; sweeps/<id> for a sweep"),
    "row_id": Column("BIGINT", "Id of the row in its source, ascending"),
    "sweep_id": Column("VARCHAR", "Sweep of the trial; empty without, * for all"),
    "model": Column("VARCHAR", "Model or agent that was evaluated"),
    "task": Column("VARCHAR", "Task it was evaluated on; * for all"),
    "trial": Column(
        "BIGINT", "Number of the trial, from 0 within sweep, model and task"
    ),
    "version": Column("VARCHAR", "The source's id of the trial, such as a job number"),
    "instance": Column("BIGINT", "Agent of a trial with several agents, from 0"),
    "trial_status": Column(
        "VARCHAR",
        "pending, running, successful (it ran), will_retry, failed_final, "
        "skipped_early_stop or unknown",
    ),
    "error_class": Column("VARCHAR", "Class of the error that ended the trial"),
    "started_at": Column("TIMESTAMPTZ", "Start of the trial (UTC)"),
    "ended_at": Column("TIMESTAMPTZ", "End of the trial (UTC)"),
    "updated_at": Column("TIMESTAMPTZ", "Last change of the row in its source (UTC)"),
    "recorded_at": Column("TIMESTAMPTZ", "When the step was recorded (UTC)"),
    # what came of it
    "step": Column("BIGINT", "Number of the step within the trial"),
    "reward": Column("DOUBLE", "Reward of the trial or step, in the task's unit"),
    "raw_reward": Column("DOUBLE", "Reward before the source's own adjustments"),
    "first_reward": Column("DOUBLE", "Finite reward of the first step that has one"),
    "final_reward": Column("DOUBLE", "Finite reward of the last step that has one"),
    "max_reward": Column("DOUBLE", "Largest finite reward of a step"),
    "production_score": Column("DOUBLE", "Production score; of a trial the largest"),
    "is_success": Column("BOOLEAN", "The trial succeeded; null without an outcome"),
    "has_succeeded": Column("BOOLEAN", "What the source itself says of success"),
    "has_error": Column("BOOLEAN", "The step ended with an error"),
    "has_early_stop": Column(
        "BOOLEAN", "The source's trials of a cell end with its first success"
    ),
    "is_stopped_early": Column(
        "BOOLEAN", "Trials of the cell (sweep, model, task) ended with a success"
    ),
    "n_steps": Column("BIGINT", "Steps of the trial"),
    "n_instances": Column("BIGINT", "Agents of the trial"),
    "n_error_steps": Column("BIGINT", "Steps that ended with an error"),
    "n_nonfinite": Column("BIGINT", "Rewards that are NaN or infinite"),
    "first_success_step": Column(
        "BIGINT", "First step whose reward is enough for success"
    ),
    "prompt_tokens": Column("BIGINT", "Tokens that the model was given"),
    "completion_tokens": Column("BIGINT", "Tokens that the model wrote"),
    "total_tokens": Column("BIGINT", "Tokens, given and written"),
    "cost": Column("DOUBLE", "Cost in the currency of the source"),
    "duration_seconds": Column("DOUBLE", "Duration of the trial"),
    "version_description": Column("VARCHAR", "Lines of key:value that name the task"),
    "meta_json": Column("VARCHAR", "Further facts as JSON text"),
    "achievements_json": Column("VARCHAR", "Achievements as JSON text"),
    # rules
    "position": Column("BIGINT", "Place of the rule; the first that matches counts"),
    "task_match": Column("VARCHAR", "Wildcard over names of tasks"),
    "task_pattern": Column("VARCHAR", "The wildcard as a regular expression"),
    "reward_kind": Column("VARCHAR", "final, max or production_score"),
    "success_threshold": Column("DOUBLE", "Reward that is to be passed"),
    "is_inclusive": Column("BOOLEAN", "Reaching the threshold is enough (a quota)"),
    "is_default": Column("BOOLEAN", "The rule of tasks that no other rule matches"),
    "is_error_failure": Column(
        "BOOLEAN", "A trial that ended with an error failed, instead of counting not"
    ),
    # state of the sources
    "target": Column("VARCHAR", "Table that the rows went to"),
    "row_count": Column("BIGINT", "Rows that are stored"),
    "last_row_id": Column("BIGINT", "Largest row_id that was read"),
    "last_updated_at": Column("TIMESTAMPTZ", "Largest updated_at that was read"),
    "mapping_digest": Column("VARCHAR", "Digest of how the rows were asked for"),
    "state_token": Column("VARCHAR", "What tells an unchanged source"),
    "parts": Column("BIGINT[]", "Numbers of the lake files that hold the rows"),
    # counts and rates
    "n_trials": Column("BIGINT", "Trials with an outcome"),
    "n_successes": Column("BIGINT", "Trials that succeeded"),
    "n_errors": Column("BIGINT", "Trials that ended with an error"),
    "n_open": Column("BIGINT", "Trials without an outcome yet, or skipped"),
    "n_models": Column("BIGINT", "Models with an outcome"),
    "n_solved": Column("BIGINT", "Models, or tasks, with a success in some trial"),
    "n_all": Column("BIGINT", "Tasks on which every trial succeeded"),
    "n_some": Column("BIGINT", "Tasks on which some trials succeeded, not all"),
    "n_none": Column("BIGINT", "Tasks on which no trial succeeded"),
    "success_class": Column("VARCHAR", "all, some or none of the trials succeeded"),
    "success_rate": Column(
        "DOUBLE", "Share of successful trials; over several tasks their mean, in [0, 1]"
    ),
    "any_success_rate": Column(
        "DOUBLE",
        "Share of tasks with any success; it grows with the trials and is no pass@1",
    ),
    "lower_bound": Column(
        "DOUBLE", "One-sided lower bound of the rate of a cell that was stopped early"
    ),
    "mean_reward": Column("DOUBLE", "Mean of the trials' rewards that count"),
    "median_reward": Column("DOUBLE", "Median of the trials' rewards that count"),
    "std_reward": Column("DOUBLE", "Sample standard deviation of the trials' rewards"),
    "min_reward": Column("DOUBLE", "Smallest of the trials' rewards"),
    "largest_reward": Column("DOUBLE", "Largest of the trials' rewards"),
    "mean_steps": Column("DOUBLE", "Mean steps of a trial"),
    "mean_tokens": Column("DOUBLE", "Mean tokens of a trial"),
    "mean_cost": Column("DOUBLE", "Mean cost of a trial"),
    "mean_seconds": Column("DOUBLE", "Mean duration of a trial, in seconds"),
    "first_started_at": Column("TIMESTAMPTZ", "Start of the first trial (UTC)"),
    "last_ended_at": Column("TIMESTAMPTZ", "End of the last trial (UTC)"),
    # statistics
    "k": Column("BIGINT", "Trials that are looked at together"),
    "statistic": Column("VARCHAR", "pass@k (any of k succeeds) or pass^k (all do)"),
    "min_trials": Column("BIGINT", "Trials of the task with the fewest"),
    "max_trials": Column("BIGINT", "Trials of the task with the most"),
    "method": Column("VARCHAR", "Interval method: wilson, or tasks as clusters"),
    "measure": Column("VARCHAR", "What is compared: success or reward"),
    "model_x": Column("VARCHAR", "First model of the pair"),
    "model_y": Column("VARCHAR", "Second model of the pair"),
    "estimate": Column("DOUBLE", "Point estimate"),
    "standard_error": Column("DOUBLE", "Standard error of the mean difference"),
    "unpaired_standard_error": Column("DOUBLE", "What it would be without pairing"),
    "correlation": Column("DOUBLE", "Correlation of the two models over the items"),
    "t_statistic": Column("DOUBLE", "Difference over its standard error"),
    "n_items": Column("BIGINT", "Items (tasks, or trials of them) that both have"),
    "n_clusters": Column("BIGINT", "Tasks that the items belong to"),
    "tokens_per_success": Column("DOUBLE", "Tokens of all trials, for each success"),
    "tokens_ci_low": Column(
        "DOUBLE", "Lower end of the interval of tokens_per_success"
    ),
    "tokens_ci_high": Column(
        "DOUBLE", "Upper end of the interval of tokens_per_success"
    ),
    "cost_per_success": Column("DOUBLE", "Cost of all trials, for each success"),
    "cost_ci_low": Column("DOUBLE", "Lower end of the interval of cost_per_success"),
    "cost_ci_high": Column("DOUBLE", "Upper end of the interval of cost_per_success"),
    "tokens_per_successful_trial": Column(
        "DOUBLE", "Mean tokens of the successful trials alone"
    ),
    "reward_per_token": Column("DOUBLE", "Rewards of all trials over their tokens"),
    "is_token_efficient": Column(
        "BOOLEAN", "No model has a higher success rate for as few tokens (Pareto front)"
    ),
    "is_cost_efficient": Column(
        "BOOLEAN", "No model has a higher success rate for as little cost"
    ),
    "difficulty": Column("DOUBLE", "1 - success_rate; 1 is the hardest"),
    "best_model": Column("VARCHAR", "Model with the highest rate; first of the tied"),
    "best_rate": Column("DOUBLE", "Its success rate"),
    "spread_rate": Column("DOUBLE", "Highest minus lowest success rate of the models"),
    "quantity": Column("VARCHAR", "reward, total_tokens, duration_seconds or n_steps"),
    "fence_low": Column("DOUBLE", "Lower quartile minus 1.5 interquartile ranges"),
    "fence_high": Column("DOUBLE", "Upper quartile plus 1.5 interquartile ranges"),
    "robust_z": Column(
        "DOUBLE", "Distance from the median over 1.4826 median absolute deviations"
    ),
    "is_beyond_fences": Column("BOOLEAN", "The value lies outside the fences"),
    "is_beyond_z": Column("BOOLEAN", "robust_z is beyond 3.5 or below -3.5"),
    "window_start_at": Column("TIMESTAMPTZ", "Start of the window (UTC)"),
    "window_seconds": Column("DOUBLE", "Length of the window"),
    "rank": Column("DOUBLE", "Rank of the model, 1 is the best; ties share theirs"),
    "probability_best": Column("DOUBLE", "Chance of being the best model, in [0, 1]"),
    "notes": Column("VARCHAR", "What a reader must know about the number"),
}


def _evaluation(
    name: str, grain: str, key: str, columns: str, layout: Layout = "single"
) -> Table:
    own = {one: _COLUMNS[one] for one in columns.split() if one in _COLUMNS}
    bulk = name == "raw.trajectory_steps"
    return declared(name, grain, key, columns, layout, own_columns=own, is_bulk=bulk)


_COUNTS = "n_trials n_successes n_errors n_open success_rate any_success_rate"
_MEANS = """
    mean_reward median_reward std_reward min_reward largest_reward mean_steps
    mean_tokens mean_cost mean_seconds total_tokens cost first_started_at last_ended_at
"""

EVALUATION_TABLES: tuple[Table, ...] = (
    _evaluation(
        "raw.success_rules",
        "rule of the configuration: what makes a trial of which tasks a success",
        "position",
        """
        position task_match task_pattern reward_kind success_threshold is_inclusive
        is_default is_error_failure
        """,
    ),
    _evaluation(
        "raw.trajectory_steps",
        "step of a trial, as its source has it",
        "source row_id",
        """
        source row_id sweep_id model task trial version instance step reward raw_reward
        production_score prompt_tokens completion_tokens total_tokens cost has_error
        has_early_stop version_description meta_json achievements_json recorded_at
        updated_at
        """,
        "batches",
    ),
    _evaluation(
        "raw.trials",
        "trial, or agent of a trial, as its source has it",
        "source row_id",
        """
        source row_id sweep_id model task trial version instance reward max_reward
        production_score has_succeeded n_steps prompt_tokens completion_tokens
        total_tokens cost duration_seconds trial_status error_class has_early_stop
        version_description meta_json started_at ended_at updated_at
        """,
        "batches",
    ),
    _evaluation(
        "raw.result_sources",
        "result source and table: what was last read from where",
        "source target",
        """
        source target row_count last_row_id last_updated_at mapping_digest state_token
        parts fetched_at
        """,
    ),
    _evaluation(
        "staging.trials",
        "trial, or agent of a trial, with sweep and task named",
        "source row_id",
        """
        source row_id sweep_id model task trial version instance reward max_reward
        production_score n_nonfinite has_succeeded n_steps prompt_tokens
        completion_tokens total_tokens cost duration_seconds trial_status error_class
        has_early_stop started_at ended_at
        """,
        "view",
    ),
    _evaluation(
        "staging.trajectory_steps",
        "step of a trial, with sweep, model, task and number named",
        "source row_id",
        """
        source row_id sweep_id model task trial version instance step reward
        production_score prompt_tokens completion_tokens total_tokens cost has_error
        has_early_stop recorded_at
        """,
        "view",
    ),
    _evaluation(
        "core.trajectories",
        "trajectory: an agent in a trial of a model on a task",
        "source sweep_id model task trial instance",
        """
        source sweep_id model task trial instance version trial_status error_class
        reward reward_kind success_threshold is_success first_reward final_reward
        max_reward production_score n_steps n_error_steps n_nonfinite
        first_success_step prompt_tokens completion_tokens total_tokens cost
        duration_seconds started_at ended_at has_early_stop
        """,
    ),
    _evaluation(
        "core.trials",
        "trial of a model on a task",
        "source sweep_id model task trial",
        """
        source sweep_id model task trial version instance n_instances trial_status
        error_class is_success reward reward_kind success_threshold first_reward
        final_reward max_reward production_score n_steps n_error_steps n_nonfinite
        first_success_step prompt_tokens completion_tokens total_tokens cost
        duration_seconds started_at ended_at is_stopped_early
        """,
    ),
    _evaluation(
        "marts.model_tasks",
        "sweep, model and task: a cell",
        "sweep_id model task",
        f"sweep_id model task {_COUNTS} success_class is_stopped_early {_MEANS}",
    ),
    _evaluation(
        "marts.models",
        "sweep and model",
        "sweep_id model",
        f"""
        sweep_id model n_tasks {_COUNTS} n_all n_some n_none is_stopped_early {_MEANS}
        """,
    ),
    _evaluation(
        "marts.tasks",
        "sweep and task",
        "sweep_id task",
        f"sweep_id task n_models n_solved {_COUNTS} is_stopped_early {_MEANS}",
    ),
    _evaluation(
        "stats.success_rates",
        "sweep, model and task, and one for all tasks",
        "sweep_id model task",
        """
        sweep_id model task estimate ci_low ci_high confidence method n_trials
        n_successes n_tasks any_success_rate is_stopped_early lower_bound notes
        """,
    ),
    _evaluation(
        "stats.pass_at_k",
        "sweep, model, task (and all tasks), statistic and k",
        "sweep_id model task statistic k",
        """
        sweep_id model task statistic k estimate ci_low ci_high confidence n_tasks
        min_trials max_trials any_success_rate is_stopped_early notes
        """,
    ),
    _evaluation(
        "stats.model_comparisons",
        "sweep, measure and unordered pair of models",
        "sweep_id measure model_x model_y",
        """
        sweep_id measure model_x model_y estimate ci_low ci_high confidence
        standard_error unpaired_standard_error correlation t_statistic p_value
        p_adjusted correction n_items n_clusters notes
        """,
    ),
    _evaluation(
        "stats.task_difficulty",
        "sweep and task",
        "sweep_id task",
        """
        sweep_id task difficulty success_rate ci_low ci_high confidence best_model
        best_rate spread_rate success_class n_models n_solved n_trials n_successes
        mean_reward is_stopped_early notes
        """,
    ),
    _evaluation(
        "stats.efficiency",
        "sweep and model",
        "sweep_id model",
        """
        sweep_id model success_rate tokens_per_success tokens_ci_low tokens_ci_high
        cost_per_success cost_ci_low cost_ci_high confidence tokens_per_successful_trial
        reward_per_token mean_reward mean_steps mean_tokens mean_cost mean_seconds
        is_token_efficient is_cost_efficient n_trials n_successes n_tasks
        is_stopped_early notes
        """,
    ),
    _evaluation(
        "stats.leaderboard",
        "sweep, measure and model",
        "sweep_id measure model",
        """
        sweep_id measure model rank rank_low rank_high probability_best mean_rank
        estimate confidence method n_models n_trials n_tasks min_trials max_trials
        resamples seed is_stopped_early notes
        """,
    ),
    _evaluation(
        "stats.trial_outliers",
        "trial and quantity in which it stands apart from its cell",
        "source sweep_id model task trial quantity",
        """
        source sweep_id model task trial quantity value fence_low fence_high robust_z
        is_beyond_fences is_beyond_z n_trials
        """,
    ),
    _evaluation(
        "stats.results_over_time",
        "sweep, model and window of time",
        "sweep_id model window_start_at",
        """
        sweep_id model window_start_at window_seconds n_trials n_successes success_rate
        ci_low ci_high confidence mean_reward std_reward is_stopped_early notes
        """,
    ),
)
