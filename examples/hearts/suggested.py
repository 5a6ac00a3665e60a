"""Train what a model suggests, for real, beside random configurations.

``python -m examples.hearts.suggested --lab LAB`` takes the lab of ``run-assets curves
demo``, asks its model for configurations in each world, trains them and as many random
ones, and draws how well both end. Training takes seconds; nothing is logged.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from run_assets.errors import RunAssetsError

from .agents import LearnerParameters
from .environments import draw_learner, plan_drawn_run
from .learning import train

Floats = NDArray[np.float64]
_FIRST_SEED = 10_000
_LAST = 0.1


@dataclass(frozen=True)
class Trained:
    """Final rewards in one world.

    Attributes:
        world: Its number.
        best_so_far: Best final reward that the lab's runs reached there.
        suggested: Of each suggested configuration, shape ``(count,)``.
        random: Of as many random ones.
    """

    world: int
    best_so_far: float
    suggested: Floats
    random: Floats


def learner_of(config: Mapping[str, object]) -> LearnerParameters:
    """The agent of a suggestion, from its config keys."""
    known = {key: config[f"trainer.{key}"] for key in ("algorithm", "gamma")}
    rate = config["trainer.optimizer.learning_rate"]
    start, end, share = (
        config[f"trainer.exploration.{key}"]
        for key in ("epsilon_start", "epsilon_end", "fraction")
    )
    return LearnerParameters(
        algorithm=str(known["algorithm"]),
        learning_rate=_number(rate),
        gamma=_number(known["gamma"]),
        epsilon_start=_number(start),
        epsilon_end=_number(end),
        exploration_fraction=_number(share),
    )


def final_reward(job: tuple[int, LearnerParameters, int]) -> float:
    """Train one agent in one world: mean reward over the last tenth of its epochs."""
    world, learner, seed = job
    plan = plan_drawn_run(world, learner, seed)
    rewards = [one.get("overview/reward", np.nan) for one in train(plan.parameters)]
    last = max(round(_LAST * len(rewards)), 1)
    return float(np.nanmean(rewards[-last:]))


def train_both(lab: Path, count: int, workers: int) -> Iterator[Trained]:
    """For each world: the first suggestions, and as many random configurations."""
    import run_assets

    rows = run_assets.open(lab).table("curves.suggestions").collect()
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for name in rows["environment"].unique(maintain_order=True).to_list():
            world = int(name.rpartition("-")[2])
            mine = rows.filter(environment=name).sort("position").head(count)
            asked = [learner_of(json.loads(one)) for one in mine["config_json"]]
            rng = np.random.default_rng([world, 2])
            drawn = [draw_learner(rng) for _ in asked]
            seeds = range(_FIRST_SEED, _FIRST_SEED + len(asked))
            jobs = [
                (world, learner, seed)
                for learners in (asked, drawn)
                for learner, seed in zip(learners, seeds, strict=True)
            ]
            found = np.array(list(pool.map(final_reward, jobs)))
            best = mine["best_so_far"][0]
            yield Trained(
                world,
                float(best) if best is not None else np.nan,
                found[: len(asked)],
                found[len(asked) :],
            )


def summary(trained: list[Trained]) -> list[str]:
    """The table, and the mean difference with an interval over worlds."""
    head = f"{'world':>6}{'best so far':>13}{'suggested':>11}{'random':>9}"
    lines = [f"{head}{'best sugg.':>12}{'best random':>13}"]
    lines += [
        (
            f"{one.world:>6}{one.best_so_far:>13.3f}{one.suggested.mean():>11.3f}"
            f"{one.random.mean():>9.3f}{one.suggested.max():>12.3f}"
            f"{one.random.max():>13.3f}"
        )
        for one in sorted(trained, key=lambda one: one.world)
    ]
    for what in ("mean", "max"):
        pairs = [
            (getattr(one.suggested, what)(), getattr(one.random, what)())
            for one in trained
        ]
        gains = np.array([ours - theirs for ours, theirs in pairs])
        rng = np.random.default_rng(0)
        means = gains[rng.integers(len(gains), size=(5_000, len(gains)))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        lines.append(
            f"{what} of the suggested above the {what} of the random: "
            f"{gains.mean():+.3f} [{low:+.3f}, {high:+.3f}], larger in "
            f"{(gains > 0).sum()} of {len(gains)} worlds"
        )
    return lines


def draw(trained: list[Trained]) -> str:
    """Final rewards of both, world by world, as SVG."""
    import altair as alt

    from run_assets.reports import palette
    from run_assets.reports.composing import chart_of, layered
    from run_assets.reports.drawing import WIDE, drawn

    kinds = {"suggested": palette.GROUPS[1].light, "random": palette.GROUPS[0].light}
    rows = [
        {"world": f"{one.world}", "kind": kind, "reward": float(reward)}
        for one in trained
        for kind in kinds
        for reward in getattr(one, kind)
    ]
    order = [
        str(one.world) for one in sorted(trained, key=lambda one: one.random.mean())
    ]
    base = chart_of(rows)
    x = alt.X("world:N", sort=order, axis=alt.Axis(title="grid world", labelAngle=0))
    offset = alt.XOffset("kind:N", sort=list(kinds))
    color = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=list(kinds), range=list(kinds.values())),
        legend=alt.Legend(title=None, orient="top", symbolType="circle"),
    )
    y = alt.Y("reward:Q", axis=alt.Axis(title="final reward", tickCount=5))
    dots = base.mark_point(filled=True, size=26, opacity=0.6).encode(
        x=x, xOffset=offset, y=y, color=color
    )
    means = base.mark_tick(thickness=3, size=14).encode(
        x=x, xOffset=offset, y=alt.Y("mean(reward):Q"), color=color
    )
    chart = layered(dots, means, width=WIDE.width - 80, height=260)
    title = "Final rewards of suggested and of random configurations"
    return drawn(lambda _: chart, WIDE, "suggested", title)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hearts.suggested", description=__doc__)
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5, help="of each kind, in a world")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--figure", type=Path, help="an SVG or a PNG file")
    options = parser.parse_args(arguments)
    try:
        trained = list(train_both(options.lab, options.count, options.workers))
    except RunAssetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(summary(trained)))
    if options.figure is not None:
        from run_assets.reports.drawing import png

        svg = draw(trained)
        if options.figure.suffix == ".png":
            options.figure.write_bytes(png(svg))
        else:
            options.figure.write_text(svg, encoding="utf-8")
    return 0


def _number(value: object) -> float:
    return float(str(value))


if __name__ == "__main__":
    sys.exit(main())
