"""Contracts of training curves and of what a model expects of them."""

from run_assets.contracts.columns import Column
from run_assets.contracts.table import declared

CURVE_TABLES = (
    declared(
        "curves.features",
        "run and feature of its configuration",
        "run_path role feature",
        "run_path feature role key value_double value_text is_default",
        "runs",
        own_columns={
            "key": Column("VARCHAR", "Config key that was asked; null if computed")
        },
    ),
    declared(
        "curves.dataset",
        "run and point of the grid of planned budget shares",
        "run_path grid_point",
        """
        run_path grid_point budget_fraction value n_points is_observed is_diverged
        """,
        "runs",
        own_columns={
            "n_points": Column("BIGINT", "Finite values in the bin"),
            "value": Column("DOUBLE", "Reward: mean of the bin, or interpolated"),
        },
    ),
    declared(
        "curves.evaluation",
        "situation, share observed, model and environment",
        "situation observed_fraction model environment",
        """
        situation observed_fraction model environment n_runs r_squared
        mean_absolute_error crps rank_correlation coverage_rate interval_width
        confidence weight
        """,
        "single",
        own_columns={
            "environment": Column("VARCHAR", "Name of the environment; * is all"),
            "n_runs": Column("BIGINT", "Held-out runs"),
            "confidence": Column("DOUBLE", "Confidence of the intervals"),
            "weight": Column("DOUBLE", "Weight of the member in the stack, at least 0"),
        },
    ),
    declared(
        "curves.importances",
        "feature",
        "role feature",
        "role feature importance direction_correlation",
        "single",
    ),
    declared(
        "curves.difficulty",
        "environment",
        "environment",
        """
        environment task n_runs failure_rate observed_final predicted_final difficulty
        rank driver driver_effect
        """,
        "single",
        own_columns={
            "n_runs": Column("BIGINT", "Ended runs"),
            "rank": Column("DOUBLE", "Rank of the difficulty, 1 is the easiest"),
        },
    ),
    declared(
        "curves.curriculum",
        "environment, in the order in which to train on them",
        "position",
        "position environment task difficulty learning_progress",
        "single",
    ),
    declared(
        "curves.suggestions",
        "configuration worth trying next",
        "environment position",
        """
        environment position task config_json planned_budget predicted_final
        predicted_low predicted_high best_so_far expected_improvement
        probability_improvement support_distance
        """,
        "single",
        own_columns={
            "config_json": Column(
                "VARCHAR", "Agent features of the configuration as JSON, by config key"
            ),
            "position": Column("BIGINT", "Place in the environment's list, from 1"),
        },
    ),
    declared(
        "curves.latents",
        "environment or agent, and latent dimension",
        "role item dimension",
        "role item dimension value",
        "single",
        own_columns={"value": Column("DOUBLE", "Coordinate: mean of the latent")},
    ),
    declared(
        "curves.latent_correlations",
        "latent dimension and feature",
        "role dimension feature",
        "role dimension feature correlation",
        "single",
    ),
    declared(
        "curves.latent_paths",
        "place on the way between two items, and point of the grid",
        "role item other_item path_share grid_point",
        "role item other_item path_share grid_point budget_fraction predicted",
        "single",
    ),
    declared(
        "curves.predictions",
        "running run and point of the grid",
        "run_path grid_point",
        """
        run_path grid_point budget_fraction is_observed value predicted predicted_low
        predicted_high confidence
        """,
        "single",
        own_columns={
            "value": Column("DOUBLE", "Reward so far; null beyond"),
            "confidence": Column("DOUBLE", "Confidence of the intervals"),
            "is_observed": Column("BOOLEAN", "The run has come here already"),
        },
    ),
    declared(
        "curves.outlooks",
        "running run: how it will end",
        "run_path",
        """
        run_path environment task is_new_environment observed_fraction predicted_final
        predicted_low predicted_high confidence best_so_far probability_improvement
        """,
        "single",
        own_columns={
            "confidence": Column("DOUBLE", "Confidence of the intervals"),
        },
    ),
)
