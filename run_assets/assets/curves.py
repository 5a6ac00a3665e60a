"""Training curves: their grid, the model that predicts them, and what it is used for.

Features, curves and forecasts of running runs are part of the refresh. The model is
trained by a job of its own, and everything that only changes with it belongs there.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl

from run_assets.assets.results import (
    OWNERS,
    built,
    definition,
    key,
    keys,
    table_metadata,
)
from run_assets.curves import checkpoint, difficulty, latents, outlooks
from run_assets.curves.dataset import (
    RUNNING,
    budget_curves,
    curve_table,
    ended_runs,
    has_curve,
)
from run_assets.curves.evaluation import evaluation
from run_assets.curves.examples import Bools, CurveTable, Floats
from run_assets.curves.features import BUDGET, run_features
from run_assets.curves.model import CurveModel, available_members, fit_curve_model
from run_assets.curves.settings import Curves
from run_assets.curves.suggestions import suggestions
from run_assets.digests import code_digest_of, digest_of
from run_assets.errors import NotFoundError, UsageError
from run_assets.lab import Lab
from run_assets.resources import LabResource
from run_assets.store.build import Build, Recipe, make
from run_assets.store.lake import empty, publish_file

_KINDS = {"python", "polars", "parquet"}
_FEATURE_INPUTS = ("raw.runs", "core.run_configs")
_CURVE_INPUTS = ("core.metric_points", "curves.features")
_MODEL_INPUTS = ("marts.runs", "curves.features", "curves.dataset")
MODEL = key("curves.model")
_NO_CURVES = (
    "no curves are configured; add `curves: {metric: NAME}` to run_assets.yaml "
    "(docs/curves.md)"
)

REFRESHED = (
    "curves.features",
    "curves.dataset",
    "curves.predictions",
    "curves.outlooks",
)
"""What a refresh builds where curves are configured."""
TRAINED = (
    "curves.model",
    "curves.evaluation",
    "curves.importances",
    "curves.difficulty",
    "curves.curriculum",
    "curves.suggestions",
    "curves.latents",
    "curves.latent_correlations",
    "curves.latent_paths",
)
"""What training the model builds, before the forecasts."""


@dg.asset(**definition("curves.features", _KINDS, _FEATURE_INPUTS))
def features(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run and feature of its configuration, and what defaults stand for."""
    if lab.lab.config.curves is None:
        return _unasked("curves.features")
    found, settings = lab.lab, settings_of(lab.lab)

    def compute(build: Build) -> pl.DataFrame:
        runs = _read(found, build, "raw.runs").filter(~pl.col("is_deleted"))
        if settings.project is not None:
            full = pl.concat_str("entity", pl.lit("/"), "project")
            runs = runs.filter(full == settings.project)
        return run_features(runs, _read(found, build, "core.run_configs"), settings)

    used = {"project", "budget", "environment", "task"}
    used |= {"environment_features", "agent_features"}
    config = settings.model_dump(mode="json", include=used)
    return built(found, _recipe("curves.features", _FEATURE_INPUTS, config), compute)


@dg.asset(**definition("curves.dataset", _KINDS, _CURVE_INPUTS))
def dataset(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run and point of the grid of planned budget shares."""
    if lab.lab.config.curves is None:
        return _unasked("curves.dataset")
    found, settings = lab.lab, settings_of(lab.lab)

    def compute(build: Build) -> pl.DataFrame:
        parts = build.inputs["core.metric_points"]
        mine = found.lake.scan("core.metric_points", parts).filter(
            pl.col("metric") == settings.metric
        )
        if settings.x_metric is not None:
            mine = mine.filter(pl.col("x_metric") == settings.x_metric)
        points = mine.select("run_path", "x", "value").collect()
        return budget_curves(points, _read(found, build, "curves.features"), settings)

    used = {"metric", "x_metric", "points"}
    config = settings.model_dump(mode="json", include=used)
    return built(found, _recipe("curves.dataset", _CURVE_INPUTS, config), compute)


@dg.multi_asset(
    name="curve_model",
    specs=[
        dg.AssetSpec(
            MODEL,
            deps=keys(_MODEL_INPUTS),
            group_name="curves",
            kinds={"python", "safetensors"},
            owners=OWNERS,
            description="The model that predicts training curves, "
            "as safetensors and JSON.",
        ),
        dg.AssetSpec(
            key("curves.evaluation"),
            deps=[MODEL],
            group_name="curves",
            kinds=_KINDS,
            owners=OWNERS,
            description="One row per situation, model and environment: "
            "how good forecasts of held-out runs are.",
        ),
    ],
)
def curve_model(lab: LabResource) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Train and judge; not again where neither data nor settings nor code differ."""
    if lab.lab.config.curves is None:
        yield from map(_unasked, ("curves.model", "curves.evaluation"))
        return
    found, settings = lab.lab, settings_of(lab.lab)
    wanted = training_digest(found)
    about = checkpoint.about(found.curve_model)
    is_new = about is None or about["input_digest"] != wanted
    if is_new:
        about = _train(found, settings, wanted)
    assert about is not None  # noqa: S101  # either it was there or it was trained
    folder = dg.MetadataValue.path(str(found.curve_model))
    told = {name: value for name, value in about.items() if not isinstance(value, dict)}
    yield dg.MaterializeResult(
        asset_key=MODEL, metadata={"path": folder, "is_new": is_new, **told}
    )
    yield dg.MaterializeResult(
        asset_key=key("curves.evaluation"),
        metadata=table_metadata(found, "curves.evaluation", _MODEL_INPUTS),
    )


def _unasked(name: str) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
    """Nothing, and why: whoever materializes all of a lab has asked for no curves."""
    return dg.MaterializeResult(asset_key=key(name), metadata={"empty": _NO_CURVES})


class _Use(NamedTuple):
    """What a use of the model works on."""

    model: CurveModel
    ended: CurveTable
    has_curve: Bools
    runs: pl.DataFrame
    features: pl.DataFrame
    curves: pl.DataFrame
    seed: int


def _use(
    name: str, description: str, compute: Callable[[_Use], pl.DataFrame]
) -> dg.AssetsDefinition:
    """An asset that is made from the model and the runs that have ended."""

    @dg.asset(
        **{
            **definition(name, _KINDS, _MODEL_INPUTS),
            "deps": [MODEL, *keys(_MODEL_INPUTS)],
        },
        description=description,
    )
    def use(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
        if lab.lab.config.curves is None:
            return _unasked(name)
        return built(
            lab.lab,
            _use_recipe(lab.lab, name),
            lambda build: _used(lab.lab, build, compute),
        )

    return use  # type: ignore[no-any-return]  # the decorator is untyped


def _running(use: _Use) -> CurveTable:
    running = use.runs.filter(run_state=RUNNING)
    return curve_table(running, use.features, use.curves, use.model.settings)


def _predictions(use: _Use) -> pl.DataFrame:
    running = _running(use)
    if not len(running):
        return empty("curves.predictions")
    told = outlooks.predict_running(use.model, running, use.ended.rows(use.has_curve))
    return outlooks.predictions(running, told, use.model.settings.model.confidence)


def _outlooks(use: _Use) -> pl.DataFrame:
    running, ended = _running(use), use.ended.rows(use.has_curve)
    if not len(running):
        return empty("curves.outlooks")
    told = outlooks.predict_running(use.model, running, ended)
    return outlooks.outlooks(use.model, running, ended, told)


importances = _use(
    "curves.importances",
    "One row per feature: how much predicted final rewards depend on it.",
    lambda use: difficulty.importances(use.model, use.ended, use.seed),
)
environment_difficulty = _use(
    "curves.difficulty",
    "One row per environment: how hard it is, and what makes it so.",
    lambda use: difficulty.environment_difficulty(
        use.model, use.ended, use.has_curve, use.seed
    ),
)
curriculum = _use(
    "curves.curriculum",
    "One row per environment, from easy to hard.",
    lambda use: difficulty.curriculum(
        use.model,
        use.ended,
        difficulty.environment_difficulty(
            use.model, use.ended, use.has_curve, use.seed
        ),
        use.seed,
    ),
)
suggested = _use(
    "curves.suggestions",
    "One row per configuration worth trying next.",
    lambda use: suggestions(
        use.model,
        use.ended,
        planned_budgets(use.ended, use.features),
        use.model.settings.suggestions,
        use.seed,
    ),
)
latent_places = _use(
    "curves.latents",
    "One row per environment or agent and latent: where it lies.",
    lambda use: latents.latents(use.model, use.ended),
)
latent_correlations = _use(
    "curves.latent_correlations",
    "One row per latent and feature: how they go together.",
    lambda use: latents.latent_correlations(use.model, use.ended),
)
latent_paths = _use(
    "curves.latent_paths",
    "One row per place on the way between two items: the curve there.",
    lambda use: latents.latent_paths(use.model, use.ended),
)
predictions = _use(
    "curves.predictions",
    "One row per running run and point of the grid: forecast with interval.",
    _predictions,
)
run_outlooks = _use(
    "curves.outlooks",
    "One row per running run: how it will end, and whether it beats the best.",
    _outlooks,
)


def settings_of(lab: Lab) -> Curves:
    """What the lab says about curves.

    Raises:
        UsageError: It says nothing.
    """
    if lab.config.curves is None:
        raise UsageError(_NO_CURVES)
    return lab.config.curves


def trained_model(lab: Lab) -> tuple[CurveModel, dict[str, Any]]:
    """The lab's model, and what was said about it.

    Raises:
        NotFoundError: None was trained yet.
        ContractError: Its files are damaged.
    """
    if checkpoint.about(lab.curve_model) is None:
        msg = "no model was trained yet; `run-assets curves train` trains one"
        raise NotFoundError(msg)
    return checkpoint.from_folder(lab.curve_model)


def is_current(model: CurveModel, settings: Curves) -> bool:
    """The model was trained for the features, the grid and the metric of today."""
    other = {"model", "suggestions", "cron", "anchors"}
    return model.settings.model_dump(exclude=other) == settings.model_dump(
        exclude=other
    )


def learning_tables(lab: Lab, settings: Curves) -> tuple[CurveTable, CurveTable]:
    """Runs that have ended, also those without a curve, and runs that are running."""
    read = {name: lab.lake.read(name) for name in _MODEL_INPUTS}
    runs = read["marts.runs"]
    return tuple(  # type: ignore[return-value]  # two
        curve_table(one, read["curves.features"], read["curves.dataset"], settings)
        for one in (ended_runs(runs), runs.filter(run_state=RUNNING))
    )


def planned_budgets(table: CurveTable, told: pl.DataFrame) -> Floats:
    """Planned budget of each run, shape ``(runs,)``."""
    known = told.filter(role=BUDGET).select("run_path", "value_double")
    asked = pl.DataFrame({"run_path": table.run_paths.tolist()})
    joined = asked.join(known, "run_path", how="left", maintain_order="left")
    return np.asarray(joined["value_double"].to_numpy(), dtype=np.float64)


def training_digest(lab: Lab) -> str:
    """Digest of everything that a model is trained from."""
    settings = settings_of(lab)
    headers = [
        header.digest
        for name in ("curves.features", "curves.dataset")
        for part in lab.lake.parts(name)
        if (header := lab.lake.header(part))
    ]
    ended = ended_runs(lab.lake.read("marts.runs"))["run_path"].sort().to_list()
    usable, _ = available_members(settings.model.members)
    config = settings.model_dump(mode="json", exclude={"suggestions", "cron"})
    return digest_of(_code(), headers, ended, usable, config)


def _train(lab: Lab, settings: Curves, wanted: str) -> dict[str, Any]:
    ended, _ = learning_tables(lab, settings)
    usable = has_curve(ended, settings)
    table = ended.rows(usable)
    fitted = fit_curve_model(table, settings, progress=lab.progress)
    judged = evaluation(fitted, settings.model.confidence)
    stack = fitted.model.known.stack
    clipped = fitted.model.scale.is_clipped(table.curves, table.tasks)
    about = {
        "input_digest": wanted,
        "metric": settings.metric,
        "runs": len(table),
        "runs_without_curve": int((~usable).sum()),
        "clipped_runs": table.run_paths[clipped].tolist(),
        "environments": len(fitted.model.environments),
        "weights": dict(zip(stack.members, stack.weights.tolist(), strict=True)),
        "left_out": dict(fitted.model.left_out),
    }
    arrays, state = checkpoint.to_bytes(fitted.model, about)
    folder = lab.curve_model
    # The table first: a model counts as trained once its JSON is there.
    recipe = _recipe("curves.evaluation", (), wanted)
    make(lab.lake, recipe, lambda _: judged)
    publish_file(folder / checkpoint.ARRAYS, lambda path: _write(path, arrays))
    publish_file(folder / checkpoint.ABOUT, lambda path: _write(path, state.encode()))
    return about


def _write(path: Any, content: bytes) -> None:
    path.write_bytes(content)


def _used(
    lab: Lab, build: Build, compute: Callable[[_Use], pl.DataFrame]
) -> pl.DataFrame:
    """What a use computes; nothing where there is no model of today's settings."""
    name, settings = build.part.table, settings_of(lab)
    if checkpoint.about(lab.curve_model) is None:
        return empty(name)
    model, _ = checkpoint.from_folder(lab.curve_model)
    if not is_current(model, settings):
        return empty(name)
    runs, told, curves = (_read(lab, build, one) for one in _MODEL_INPUTS)
    everything = curve_table(ended_runs(runs), told, curves, settings)
    use = _Use(
        model,
        everything,
        has_curve(everything, settings),
        runs,
        told,
        curves,
        settings.model.seed,
    )
    return compute(use)


def _use_recipe(lab: Lab, name: str) -> Recipe:
    about = checkpoint.about(lab.curve_model)
    digest = None if about is None else about["input_digest"]
    config = [settings_of(lab).model_dump(mode="json"), digest]
    return _recipe(name, _MODEL_INPUTS, config)


def _recipe(name: str, reads: tuple[str, ...], config: Any) -> Recipe:
    return Recipe(name, reads, _code(), config)


def _code() -> str:
    return code_digest_of("run_assets.curves", __name__)


def _read(lab: Lab, build: Build, name: str) -> pl.DataFrame:
    return lab.lake.read(name, build.inputs[name])
