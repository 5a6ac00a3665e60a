"""Questions to the model of training curves that no table answers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from run_assets.errors import NotFoundError, UsageError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from run_assets.curves.examples import CurveTable
    from run_assets.curves.model import CurveModel
    from run_assets.lab import Lab


def current_model(lab: "Lab") -> "CurveModel":
    """The model of today's settings.

    Raises:
        UsageError: No curves are configured, or the model is of other settings.
        NotFoundError: None was trained yet.
    """
    from run_assets.assets.curves import is_current, settings_of, trained_model

    settings = settings_of(lab)
    model, _ = trained_model(lab)
    if not is_current(model, settings):
        msg = (
            "the model was trained for other settings of curves (metric, features, "
            "grid, budget or task); train it again with `run-assets curves train`"
        )
        raise UsageError(msg)
    return model


def asked_table(
    lab: "Lab",
    model: "CurveModel",
    run: str | None,
    settings: Sequence[str],
    project: str | None,
) -> "CurveTable":
    """One row: a run, or the median configuration, with some features replaced.

    Raises:
        NotFoundError: No such run, or it has no planned budget.
        UsageError: A feature is not known, or its value is of the wrong kind.
    """
    import numpy as np

    from run_assets.assets.curves import learning_tables
    from run_assets.cli.selection import resolve_run

    ended, running = learning_tables(lab, model.settings)
    if run is None:
        table = ended.rows(np.array([_most_typical(model, ended)]))
    else:
        path = resolve_run(lab.table("marts.runs"), run, project)
        found = [one.rows(one.run_paths == path) for one in (ended, running)]
        table = next((one for one in found if len(one)), ended.rows(np.zeros(0, int)))
        if not len(table):
            key = model.settings.budget.key
            msg = (
                f"{path} has no planned budget ({key}), so it has no curve; "
                "set curves.budget.default or ask for another run"
            )
            raise NotFoundError(msg)
    return _with_settings(model, table, ended, settings)


def predicted(
    lab: "Lab", model: "CurveModel", table: "CurveTable", *, is_blank: bool
) -> "pl.DataFrame":
    """The forecast of one row, as ``curves.predictions`` has it."""
    import numpy as np

    from run_assets.assets.curves import learning_tables
    from run_assets.curves.dataset import has_curve
    from run_assets.curves.examples import CurveTable
    from run_assets.curves.outlooks import predict_running, predictions

    if is_blank:
        blank = np.full(table.curves.shape, np.nan)
        table = CurveTable(
            table.run_paths, table.features, table.environments, table.tasks, blank
        )
    ended, _ = learning_tables(lab, model.settings)
    usable = has_curve(ended, model.settings) & (ended.run_paths != table.run_paths[0])
    prediction = predict_running(model, table, ended.rows(usable))
    confidence = model.settings.model.confidence
    told = predictions(table, prediction, confidence)
    return told.drop("run_path", "grid_point", "confidence")


def suggested(
    lab: "Lab", model: "CurveModel", count: int | None, max_budget: float | None
) -> "pl.DataFrame":
    """As ``curves.suggestions``, with another count or budget."""
    from run_assets.assets.curves import learning_tables, planned_budgets
    from run_assets.curves.suggestions import suggestions

    ended, _ = learning_tables(lab, model.settings)
    changes = {
        name: value
        for name, value in (("count", count), ("max_budget", max_budget))
        if value is not None
    }
    wanted = model.settings.suggestions.model_copy(update=changes)
    budgets = planned_budgets(ended, lab.lake.read("curves.features"))
    return suggestions(model, ended, budgets, wanted, model.settings.model.seed)


def _most_typical(model: "CurveModel", ended: "CurveTable") -> int:
    """The run whose encoded configuration lies nearest to the mean of all."""
    import numpy as np

    inputs = model.examples(ended).inputs
    return int(np.argmin(((inputs - inputs.mean(axis=0)) ** 2).sum(axis=1)))


def _with_settings(
    model: "CurveModel",
    table: "CurveTable",
    ended: "CurveTable",
    settings: Sequence[str],
) -> "CurveTable":
    import numpy as np
    import polars as pl

    from run_assets.curves.examples import CurveTable
    from run_assets.curves.model import environment_features

    environment = {one.name: one for one in environment_features(model.settings)}
    specs = environment | {one.name: one for one in model.settings.agent_features}
    features, environments = table.features, table.environments
    changed: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or name not in specs:
            hint = did_you_mean(name, specs)
            msg = f"--set takes FEATURE=VALUE, got {setting!r}{hint}"
            raise UsageError(msg)
        changed[name] = _value(name, text) if specs[name].kind == "number" else text
        column = pl.lit(changed[name]).cast(features[name].dtype).alias(name)
        features = features.with_columns(column)
    if changed.keys() & environment.keys():
        environments = np.array([_same_place(features, ended, list(environment))])
    tasks = features["task"].to_numpy().astype(np.str_)
    return CurveTable(table.run_paths, features, environments, tasks, table.curves)


def _same_place(features: "pl.DataFrame", ended: "CurveTable", names: list[str]) -> str:
    """The environment that has these features; a new one where none has."""
    asked = features.select(names).row(0)
    for name, row in zip(
        ended.environments.tolist(), ended.features.select(names).rows(), strict=True
    ):
        if row == asked:
            return str(name)
    return "a new environment"


def _value(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"--set {name} takes a number, got {text!r}"
        raise UsageError(msg) from None
