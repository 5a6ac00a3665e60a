"""The whole model without torch: fit, predict, condition, keep."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from run_assets.curves import checkpoint, difficulty, model
from run_assets.curves.evaluation import evaluation
from run_assets.curves.finals import (
    best_finals,
    expected_improvement,
    final_quantiles,
    probability_better,
)
from run_assets.curves.members import MEMBERS
from run_assets.curves.model import Fitted, available_members, fit_curve_model
from run_assets.curves.outlooks import outlooks, predict_running, predictions
from run_assets.curves.scores import LEVELS
from run_assets.curves.settings import Suggestions
from run_assets.curves.suggestions import suggestions
from run_assets.curves.trees import fit_boosted_trees, fit_extra_trees
from run_assets.errors import ContractError, UsageError
from tests.support.curve_tables import TORCH_FREE, blank, settings, table


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit_curve_model(table(), settings())


def test_the_same_runs_give_the_same_model(fitted: Fitted) -> None:
    again = fit_curve_model(table(), settings())
    assert checkpoint.to_bytes(again.model, {}) == checkpoint.to_bytes(fitted.model, {})


def test_a_model_survives_its_files(fitted: Fitted, tmp_path: Path) -> None:
    arrays, state = checkpoint.to_bytes(fitted.model, {"runs": 80})
    (tmp_path / checkpoint.ARRAYS).write_bytes(arrays)
    (tmp_path / checkpoint.ABOUT).write_text(state, encoding="utf-8")
    again, about = checkpoint.from_folder(tmp_path)
    asked = blank(table())
    asked.curves[:5, :10] = table().curves[:5, :10]
    first, second = fitted.model.predict(asked), again.predict(asked)
    assert about == {"runs": 80}
    assert (first.mean == second.mean).all()
    assert (first.quantiles == second.quantiles).all()


def test_files_of_two_models_are_refused(fitted: Fitted, tmp_path: Path) -> None:
    arrays, state = checkpoint.to_bytes(fitted.model, {})
    (tmp_path / checkpoint.ARRAYS).write_bytes(arrays)
    told = json.loads(state) | {"sha256": "0"}
    (tmp_path / checkpoint.ABOUT).write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ContractError, match="two models"):
        checkpoint.from_folder(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / checkpoint.ABOUT).write_text("{", encoding="utf-8")
    with pytest.raises(ContractError, match="train the model again"):
        checkpoint.about(tmp_path)
    assert checkpoint.about(tmp_path / "nowhere") is None


def test_held_out_curves_are_predicted_and_covered(fitted: Fitted) -> None:
    fresh = table(seed=1)
    prediction = fitted.model.predict(blank(fresh))
    error = np.abs(prediction.mean - fresh.curves).mean()
    usual = np.abs(fresh.curves - table().curves.mean(axis=0)).mean()
    low, high = prediction.interval(0.9)
    inside = ((fresh.curves >= low) & (fresh.curves <= high)).mean()
    assert error < 0.6 * usual
    assert 0.8 < inside < 0.99
    assert (np.diff(prediction.quantiles, axis=0) >= -1e-9).all()


def test_a_new_environment_is_told_and_its_finished_runs_help(fitted: Fitted) -> None:
    fresh = table(environments=10, seed=2)
    moved = np.char.add(fresh.environments, "-new")
    shifted = fresh.curves + 4.0
    new = type(fresh)(fresh.run_paths, fresh.features, moved, fresh.tasks, shifted)
    first = np.arange(len(new)) % 8 == 0
    asked = blank(new).rows(~first)
    alone = fitted.model.predict(asked)
    helped = fitted.model.predict(asked, new.rows(first))
    truth = shifted[~first]
    assert alone.is_new_environment.all()
    assert np.abs(helped.mean - truth).mean() < np.abs(alone.mean - truth).mean()


def test_a_minimized_metric_has_ascending_quantiles() -> None:
    given = table(environments=3)
    turned = type(given)(
        given.run_paths, given.features, given.environments, given.tasks, -given.curves
    )
    less = settings().model_copy(update={"goal": "minimize"})
    found = fit_curve_model(turned, less).model.predict(blank(turned))
    more = fit_curve_model(given, settings()).model.predict(blank(given))
    assert (np.diff(found.quantiles, axis=0) >= -1e-9).all()
    assert found.mean == pytest.approx(-more.mean, abs=0.5)


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 10 runs"):
        fit_curve_model(table(1, 5), settings())


def test_few_environments_give_no_model_of_new_ones() -> None:
    found = fit_curve_model(table(environments=3), settings()).model
    assert found.new is None
    assert found.predict(blank(table(environments=4))).is_new_environment.sum() == 8


def test_a_member_without_its_package_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        model, "find_spec", lambda name: None if name == "torch" else name
    )
    usable, left_out = available_members(tuple(MEMBERS))
    assert usable == list(TORCH_FREE)
    assert "pip install" in left_out["variational"]
    with pytest.raises(UsageError, match="torch is missing"):
        available_members(("variational",))


def test_without_torch_the_other_members_are_fitted_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = builtins.__import__

    def refusing(name: str, *more: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", refusing)
    found = fit_curve_model(table(environments=3), settings())
    arrays, state = checkpoint.to_bytes(found.model, {})
    (tmp_path / checkpoint.ARRAYS).write_bytes(arrays)
    (tmp_path / checkpoint.ABOUT).write_text(state, encoding="utf-8")
    again, _ = checkpoint.from_folder(tmp_path)
    assert set(again.members) == set(TORCH_FREE)


def test_trees_are_followed_as_scikit_learn_follows_them() -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    found = fit_curve_model(table(), settings()).model
    examples = found.examples(table())
    ours = fit_extra_trees(examples, settings().model, 0)
    grown = ExtraTreesRegressor(
        len(ours.forest.roots), max_features=0.6, random_state=0
    )
    grown.fit(examples.inputs, ours.components.scores(examples.targets))
    asked = found.examples(blank(table(seed=4)))
    theirs = ours.components.curves(grown.predict(asked.inputs))
    assert ours.predict(asked).mean == pytest.approx(theirs, abs=1e-5)


def test_boosted_trees_are_summed_as_scikit_learn_sums_them() -> None:
    from sklearn.ensemble import GradientBoostingRegressor

    found = fit_curve_model(table(), settings(("mean_curve",))).model
    examples = found.examples(table())
    ours = fit_boosted_trees(examples, settings().model, 3)
    scores = ours.components.scores(examples.targets) - ours.first
    asked = found.examples(blank(table(seed=4)))
    theirs = [
        GradientBoostingRegressor(
            n_estimators=80,
            learning_rate=0.1,
            max_depth=4,
            min_samples_leaf=4,
            subsample=0.5,
            max_features=0.5,
            init="zero",
            random_state=3 + place,
        )
        .fit(examples.inputs, column)
        .predict(asked.inputs)
        for place, column in enumerate(scores.T)
    ]
    told = ours.components.curves(np.stack(theirs, axis=1) + ours.first)
    assert ours.predict(asked).mean == pytest.approx(told, abs=1e-5)
    assert (ours.predict(asked).sd > 0).all()


def test_evaluation_has_every_rival_and_both_situations(fitted: Fitted) -> None:
    rows = evaluation(fitted, 0.9)
    models = set(rows.filter(observed_fraction=0.0)["model"])
    assert {"stack", *TORCH_FREE, "stack without extra_trees"} <= models
    assert set(rows["situation"]) == {"known environments", "new environments"}
    known = rows.filter(situation="known environments", environment="*")
    r2 = dict(known.filter(observed_fraction=0.0).select("model", "r_squared").rows())
    assert r2["stack"] > r2["mean_curve"] + 0.3
    late = known.filter(observed_fraction=0.5)
    errors = dict(late.select("model", "crps").rows())
    assert errors["stack"] < errors["last value carried forward"]


def test_running_runs_are_forecast_from_where_they_are(fitted: Fitted) -> None:
    running = table(environments=2, seed=6)
    running.curves[:, 20:] = np.nan
    running.curves[0] = np.nan
    told = predict_running(fitted.model, running, table())
    rows = predictions(running, told, 0.9)
    seen = rows.filter("is_observed")
    assert rows.height == 16 * 40
    assert (seen["predicted"] - seen["value"]).abs().to_numpy().max() < 1e-9
    assert (rows["predicted_low"] <= rows["predicted_high"]).all()
    ends = outlooks(fitted.model, running, table(), told)
    assert ends["observed_fraction"].to_list() == [0.0] + [0.5] * 15
    assert ends["probability_improvement"].is_between(0, 1).all()


def test_nothing_running_gives_tables_without_rows(fitted: Fitted) -> None:
    none = table().rows(np.zeros(0, int))
    told = predict_running(fitted.model, none, table())
    assert predictions(none, told, 0.9).is_empty()
    assert outlooks(fitted.model, none, table(), told).is_empty()


def test_expected_improvement_is_that_of_the_normal() -> None:
    from scipy.stats import norm

    quantiles = norm.ppf(LEVELS, loc=1.0)[:, None]
    # Source: Jones et al. 1998, equation 15, with best 0.5 and unit variance.
    exact = 0.5 * norm.cdf(0.5) + norm.pdf(0.5)
    found = expected_improvement(quantiles, np.array([0.5]), 1)[0]
    assert found == pytest.approx(exact, rel=0.05)
    assert probability_better(quantiles, np.array([0.5]), 1)[0] == pytest.approx(
        norm.cdf(0.5), abs=0.01
    )
    assert np.isnan(probability_better(quantiles, np.array([np.nan]), 1)[0])


def test_the_best_is_by_environment_and_by_direction() -> None:
    given = table(environments=2, agents=3)
    best = best_finals(given, np.array(["env0", "env1", "elsewhere"]), 1)
    least = best_finals(given, np.array(["env0"]), -1)
    assert best[0] > best[1]
    assert np.isnan(best[2])
    assert least[0] < best[0]


def test_suggestions_are_diverse_affordable_and_near_what_was_tried(
    fitted: Fitted,
) -> None:
    ended = table()
    budgets = np.full(len(ended), 100.0)
    wanted = Suggestions(count=4, candidates=500)
    rows = suggestions(fitted.model, ended, budgets, wanted, 0)
    assert rows.height == 10 * 4
    configs = [json.loads(one) for one in rows["config_json"]]
    rates = ended.features["learning_rate"]
    assert all(rates.to_numpy().min() <= one["lr"] <= 0.1 for one in configs)
    assert {one["algorithm"] for one in configs} <= {"a", "b"}
    assert (rows["support_distance"] <= 2).all()
    for _, mine in rows.group_by("environment"):
        assert mine["config_json"].n_unique() == 4
    # Fast learners reach more within the budget.
    assert np.median([one["lr"] for one in configs]) > float(np.median(rates))
    none = Suggestions(count=4, candidates=500, max_budget=50)
    assert suggestions(fitted.model, ended, budgets, none, 0).is_empty()


def test_difficulty_follows_what_makes_environments_hard(fitted: Fitted) -> None:
    ended = table()
    has_curve = np.ones(len(ended), np.bool_)
    has_curve[0] = False
    rows = difficulty.environment_difficulty(fitted.model, ended, has_curve, 0)
    ordered = rows.sort("rank")["environment"].to_list()
    assert ordered.index("env0") < ordered.index("env5") < ordered.index("env9")
    assert rows.filter(environment="env0")["failure_rate"].item() == 1 / 8
    assert set(rows["driver"]) == {"size"}
    hardest = rows.filter(environment="env9")["driver_effect"].item()
    easiest = rows.filter(environment="env0")["driver_effect"].item()
    assert hardest > 0 > easiest
    plan = difficulty.curriculum(fitted.model, ended, rows, 0)
    assert plan["position"].to_list() == list(range(1, 11))
    assert plan["difficulty"].is_sorted()


def test_importances_find_the_features_that_matter(fitted: Fitted) -> None:
    rows = difficulty.importances(fitted.model, table(), 0)
    found = dict(rows.select("feature", "importance").rows())
    directions = dict(rows.select("feature", "direction_correlation").rows())
    assert found["size"] > found["algorithm"]
    assert directions["size"] < -0.3
    assert directions["algorithm"] is None


def test_final_quantiles_average_the_last_tenth(fitted: Fitted) -> None:
    told = fitted.model.predict(blank(table()))
    expected = told.quantiles[:, :, -4:].mean(axis=2)
    assert (final_quantiles(told) == expected).all()
