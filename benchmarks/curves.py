"""Predicting training curves: our model beside every rival, in one run.

Each rival gets what the stack gets: the same encoded features and scaled rewards, its
own out-of-fold residuals, and conformal intervals from them. Only the stack shapes its
intervals by similar forecasts, which is a part of it; a row shows ExtraTrees with that,
too. Splits are fixed by their number; differences are bootstrapped over test runs,
paired.

``--ppo FILE`` is google/brax' ``brax_ppo_10_million_steps.tar.gz`` (or the JSON in it):
1,440 real PPO runs. The grid worlds are trained here, once, into ``benchmarks/data``.
Without lightgbm its row is left out and the table says so.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [p for p in sys.path if Path(p).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

from benchmarks.curve_data import (  # noqa: E402
    ppo_settings,
    ppo_table,
    random_table,
    world_settings,
    world_table,
)
from benchmarks.curve_rivals import NOT_RIVALS, RIVALS, SHOWN  # noqa: E402
from run_assets.curves.evaluation import (  # noqa: E402
    last_value_forward,
    last_value_gaps,
)
from run_assets.curves.examples import CurveTable, Floats, filled  # noqa: E402
from run_assets.curves.model import (  # noqa: E402
    KNOWN,
    NEW,
    CurveModel,
    Fitted,
    Trial,
    fit_curve_model,
    learn_situation,
)
from run_assets.curves.scores import (  # noqa: E402
    covered,
    crps,
    r_squared,
    rank_correlation_inside,
)
from run_assets.curves.settings import Curves, Model  # noqa: E402

STACK = "stack (ours)"
SHAPED = "ExtraTrees, our shapes"
HELD_OUT = 0.25
WORLDS, AGENTS = 80, 12
SMALL = 100
CUTS = (0.1, 0.25, 0.5)
RESAMPLES = 2_000


@dataclass(frozen=True)
class Judged:
    """Test forecasts of one model on one split, in scaled reward."""

    mean: Floats
    quantiles: Floats
    low: Floats
    high: Floats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ppo", type=Path, help="brax_ppo_10_million_steps.tar.gz")
    parser.add_argument("--splits", type=int, default=3, help="of each table")
    parser.add_argument("--quick", action="store_true", help="one split, few worlds")
    options = parser.parse_args()
    splits = 1 if options.quick else options.splits
    size = (24, 6) if options.quick else (WORLDS, AGENTS)
    print_missing()
    if options.ppo is not None:
        compare_ppo(ppo_table(options.ppo), ppo_settings(), splits)
    worlds, settings = world_table(*size), world_settings()
    contests = contests_of(worlds, settings, environment_splits(worlds, 4)[:splits])
    compare(f"grid worlds: {len(worlds)} runs, environments held out", contests)
    finished_runs(contests)
    prefixes("grid worlds, environments held out: the first part is known", contests)
    cost()


def compare_ppo(ppo: CurveTable, settings: Curves, splits: int) -> None:
    contests = contests_of(ppo, settings, random_splits(ppo, splits))
    compare(f"PPO (brax): {len(ppo)} runs, configurations held out", contests)
    prefixes("PPO (brax): the first part of each run is known", contests)
    small = contests_of(ppo, settings, small_splits(ppo, splits))
    compare(f"PPO (brax): {SMALL} training runs", small)
    parts = environment_splits(ppo, 5)[: min(splits, 2)]
    new = contests_of(ppo, settings, parts)
    compare("PPO (brax): one of 5 environments held out", new)


def print_missing() -> None:
    for name in SHOWN:
        needs = RIVALS[name].needs
        if needs and find_spec(needs) is None:
            print(f"{RIVALS[name].title} is left out: {needs} is not installed")


Split = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def random_splits(table: CurveTable, count: int) -> list[Split]:
    found = []
    for number in range(count):
        order = np.random.default_rng(number).permutation(len(table))
        held = int(HELD_OUT * len(table))
        found.append((order[held:], order[:held]))
    return found


def small_splits(table: CurveTable, count: int) -> list[Split]:
    return [(kept[:SMALL], held) for kept, held in random_splits(table, count)]


def environment_splits(table: CurveTable, parts: int) -> list[Split]:
    names = np.unique(table.environments)
    order = np.random.default_rng(0).permutation(names)
    found = []
    for part in np.array_split(order, parts):
        held = np.isin(table.environments, part)
        found.append((np.flatnonzero(~held), np.flatnonzero(held)))
    return found


@dataclass(frozen=True)
class Contest:
    """One split: the models that were fitted on one side, and the other side."""

    models: Mapping[str, CurveModel]
    test: CurveTable
    reference: Floats

    @property
    def truth(self) -> Floats:
        """Test curves on the scale of the models, shape ``(runs, points)``."""
        scale = self.models[STACK].scale
        return scale.scale(self.test.curves, self.test.tasks)


def contests_of(
    table: CurveTable, settings: Curves, splits: Sequence[Split]
) -> list[Contest]:
    """Fit every rival once; each alone and the stack share their forecasts."""
    return [contest(table, settings, kept, held) for kept, held in splits]


def contest(table: CurveTable, settings: Curves, kept: Any, held: Any) -> Contest:
    names = tuple(
        name
        for name in SHOWN
        if (needs := RIVALS[name].needs) is None or find_spec(needs) is not None
    )
    model = settings.model.model_copy(update={"members": names})
    fitted = fit_curve_model(
        table.rows(kept), settings.model_copy(update={"model": model}), RIVALS
    )
    models = {name: part_of(fitted, (name,)) for name in names}
    models[SHAPED] = part_of(fitted, ("extra_trees",), is_shaped=True)
    models[STACK] = part_of(fitted, Model().members)
    targets = fitted.model.examples(table.rows(kept)).targets
    reference = np.asarray(np.nanmean(filled(targets), axis=0))
    return Contest(models, table.rows(held), reference)


def part_of(
    fitted: Fitted, names: Sequence[str], *, is_shaped: bool = False
) -> CurveModel:
    """The model that these members alone would have made.

    Args:
        fitted: With all members.
        names: Those that count.
        is_shaped: Also give a single member the stack's shaped intervals.
    """
    is_whole = len(names) > 1

    def learned(kind: str) -> Any:
        trial = fitted.trials.get(kind)
        if trial is None:
            return None
        own = {name: trial.forecasts[name] for name in names}
        part = Trial(own, trial.folds, trial.names, trial.targets)
        by_environment = kind == NEW
        return learn_situation(
            part,
            by_environment=by_environment,
            has_prefixes=is_whole,
            is_shaped=is_whole or is_shaped,
        )

    members = {name: fitted.model.members[name] for name in names}
    known, new = learned(KNOWN), learned(NEW)
    return replace(fitted.model, members=members, known=known, new=new)


def judge(
    model: CurveModel, asked: CurveTable, tasks: Any, finished: CurveTable | None = None
) -> Judged:
    """A forecast on the scale of its model."""
    prediction = model.predict(asked, finished)

    def scaled(rewards: Floats) -> Floats:
        return model.scale.scale(rewards, tasks, is_clipped=False)

    low, high = prediction.interval(0.9)
    return Judged(
        scaled(prediction.mean),
        scaled(prediction.quantiles),
        scaled(low),
        scaled(high),
    )


def compare(title: str, contests: Sequence[Contest]) -> None:
    rows: dict[str, list[list[float]]] = {}
    per_run: dict[str, list[Floats]] = {}
    for one in contests:
        truth, places = one.truth, one.test.environments
        for name, model in one.models.items():
            found = judge(model, emptied(one.test), one.test.tasks)
            losses = crps(truth, found.quantiles)
            inside = covered(truth, found.low, found.high)
            by_place = [
                float(np.nanmean(inside[places == place]))
                for place in np.unique(places)
            ]
            scores = [
                float(np.nanmean(losses)),
                r_squared(truth, found.mean, one.reference),
                rank_correlation_inside(truth, found.mean, places),
                float(np.nanmean(inside)),
                float(np.mean(by_place)),
                float(np.min(by_place)),
            ]
            rows.setdefault(name, []).append(scores)
            per_run.setdefault(name, []).append(losses)
    print_table(title, len(contests), rows, per_run)


def print_table(
    title: str,
    splits: int,
    rows: Mapping[str, list[list[float]]],
    per_run: Mapping[str, list[Floats]],
) -> None:
    print(f"\n{title} ({splits} splits)\n")
    print(
        f"{'':<24}{'CRPS':>8}{'R2':>8}{'rank':>8}{'cover':>8}{'by env':>8}{'worst':>8}"
        "   CRPS against the stack, 95 % interval"
    )
    ours = np.concatenate(per_run[STACK])
    for name, values in rows.items():
        means = np.mean(values, axis=0)
        shown = RIVALS[name].title if name in RIVALS else name
        line = f"{shown:<24}{means[0]:>8.4f}{means[1]:>8.3f}{means[2]:>8.3f}"
        line += f"{means[3]:>8.3f}{means[4]:>8.3f}{means[5]:>8.2f}"
        if name != STACK:
            line += f"   {relative(ours, np.concatenate(per_run[name]))}"
        print(line)
    rivals = {
        name: np.mean(values, axis=0)[0]
        for name, values in rows.items()
        if name in RIVALS and name not in NOT_RIVALS
    }
    best = min(rivals, key=lambda name: rivals[name])
    gain = 1 - np.mean(rows[STACK], axis=0)[0] / rivals[best]
    print(f"CRPS {100 * gain:+.1f} % below the best rival, {RIVALS[best].title}")
    sys.stdout.flush()


def relative(ours: Floats, theirs: Floats) -> str:
    """How far below a rival's mean CRPS ours is; paired bootstrap over test runs."""
    known = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = ours[known], theirs[known]
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(ours), size=(RESAMPLES, len(ours)))
    ratios = 1 - ours[drawn].mean(axis=1) / theirs[drawn].mean(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    gain = 1 - ours.mean() / theirs.mean()
    return f"{100 * gain:+.1f} % [{100 * low:+.1f}, {100 * high:+.1f}]"


def finished_runs(contests: Sequence[Contest]) -> None:
    """Forecasts for a new environment, after some of its runs have finished."""
    print("\ngrid worlds: finished runs of the new environment\n")
    print(f"{'finished runs':<24}{'CRPS':>8}{'R2':>8}{'cover':>8}")
    found: dict[int, list[list[float]]] = {}
    for one in contests:
        order = within(one.test.environments)
        asked = one.test.rows(order >= 4)
        model = one.models[STACK]
        truth = model.scale.scale(asked.curves, asked.tasks)
        for count in (0, 1, 2, 4):
            finished = one.test.rows(order < count) if count else None
            told = judge(model, emptied(asked), asked.tasks, finished)
            scores = [
                float(np.nanmean(crps(truth, told.quantiles))),
                r_squared(truth, told.mean, one.reference),
                float(np.nanmean(covered(truth, told.low, told.high))),
            ]
            found.setdefault(count, []).append(scores)
    for count, values in found.items():
        means = np.mean(values, axis=0)
        print(f"{count:<24}{means[0]:>8.4f}{means[1]:>8.3f}{means[2]:>8.3f}")
    sys.stdout.flush()


def within(names: Any) -> np.ndarray[Any, Any]:
    """Number of each run among those of its environment."""
    seen: dict[str, int] = {}
    found = []
    for name in names.tolist():
        found.append(seen.get(name, 0))
        seen[name] = found[-1] + 1
    return np.array(found)


def prefixes(title: str, contests: Sequence[Contest]) -> None:
    found: dict[tuple[float, str], list[list[float]]] = {}
    losses: dict[tuple[float, str], list[Floats]] = {}
    for one in contests:
        for cut in CUTS:
            for name, scores, each in prefix_scores(one, cut):
                found.setdefault((cut, name), []).append(scores)
                losses.setdefault((cut, name), []).append(each)
    print(f"\n{title} ({len(contests)} splits)\n")
    print(
        f"{'':<24}{'known':>8}{'CRPS':>8}{'R2':>8}{'cover':>8}"
        "   CRPS of the stack against it, 95 % interval"
    )
    for (cut, name), values in found.items():
        means = np.mean(values, axis=0)
        line = f"{name:<24}{cut:>8.0%}{means[0]:>8.4f}{means[1]:>8.3f}{means[2]:>8.3f}"
        if name != STACK:
            ours = np.concatenate(losses[cut, STACK])
            line += f"   {relative(ours, np.concatenate(losses[cut, name]))}"
        print(line)
    sys.stdout.flush()


def prefix_scores(
    one: Contest, cut: float
) -> Iterator[tuple[str, list[float], Floats]]:
    """Of the stack, of the configuration alone, and of the last value held."""
    model, test, truth = one.models[STACK], one.test, one.truth
    known = max(round(cut * truth.shape[1]), 1)
    begun = emptied(test)
    begun.curves[:, :known] = test.curves[:, :known]
    # Its intervals come from the same held-out runs as those of the stack.
    situation = model.new if model.is_new(test).all() and model.new else model.known
    assert situation.conditioning is not None
    gaps = last_value_gaps(situation.conditioning.analogs.curves, known)
    mean = last_value_forward(truth, known)
    quantiles = np.repeat(mean[None], len(gaps), axis=0)
    quantiles[:, :, known:] += gaps[:, None]
    truth = truth.copy()
    truth[:, :known] = np.nan
    for name, told in (
        (STACK, judge(model, begun, test.tasks)),
        ("configuration alone", judge(model, emptied(test), test.tasks)),
        ("last value forward", Judged(mean, quantiles, quantiles[1], quantiles[-2])),
    ):
        each = crps(truth, told.quantiles)
        scores = [
            float(np.nanmean(each)),
            r_squared(truth, told.mean, one.reference),
            float(np.nanmean(covered(truth, told.low, told.high))),
        ]
        yield name, scores, each


def cost() -> None:
    """Seconds of a default fit on 2,000 runs, and of one prefix update."""
    table = random_table(2_000)
    started, cpu = time.perf_counter(), time.process_time()
    fitted = fit_curve_model(table, world_settings())
    wall, used = time.perf_counter() - started, time.process_time() - cpu
    one = table.rows(np.array([0]))
    one.curves[:, 30:] = np.nan
    update = min(seconds(lambda: fitted.model.predict(one)) for _ in range(20))
    print(f"\ndefault fit of 2,000 runs: {wall:.1f} s, {used:.1f} s of CPU")
    print(f"update of one running run: {1000 * update:.1f} ms")
    sys.stdout.flush()


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def emptied(table: CurveTable) -> CurveTable:
    curves = np.full(table.curves.shape, np.nan)
    return CurveTable(
        table.run_paths, table.features, table.environments, table.tasks, curves
    )


if __name__ == "__main__":
    main()
