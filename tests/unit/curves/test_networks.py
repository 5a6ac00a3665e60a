"""The torch modules: they learn, do not collapse, repeat themselves, and are kept."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.utils.data import DataLoader, random_split

from run_assets.curves import (
    MetaAnalysisModel,
    MetaAnalysisTrainer,
    TrainingCurveDataset,
    checkpoint,
)
from run_assets.curves.latents import latent_correlations, latent_paths, latents
from run_assets.curves.model import Fitted, fit_curve_model
from run_assets.errors import ContractError, UsageError
from tests.support.curve_tables import blank, settings, table

ENV = ["size", "doors"]
AGENT = ["learning_rate", "gamma", "noise"]
NATS = 0.1


def frame(runs: int = 160, points: int = 20) -> pl.DataFrame:
    """Curves that depend on one feature of each side; raw, unscaled features."""
    rng = np.random.default_rng(0)
    columns = {
        "size": rng.uniform(5, 50, runs),
        "doors": rng.integers(1, 9, runs).astype(float),
        "learning_rate": 10 ** rng.uniform(-5, -2, runs),
        "gamma": 1 - 10 ** rng.uniform(-3, -1, runs),
        "noise": rng.normal(size=runs),
    }
    height = 100 * (2 - columns["size"] / 50)
    speed = 2 + np.log10(columns["learning_rate"]) + 5
    at = np.linspace(0, 1, points)
    curves = height[:, None] * (1 - np.exp(-speed[:, None] * at))
    curves += rng.normal(0, 2, curves.shape)
    listed: list[list[float | None]] = curves.tolist()
    listed[0][-3:] = [None] * 3
    told = pl.DataFrame(columns).with_columns(training_curve=pl.Series(listed))
    return told.with_columns(
        pl.when(pl.int_range(pl.len()) == 1)
        .then(None)
        .otherwise("doors")
        .alias("doors")
    )


def loaders() -> tuple[DataLoader, DataLoader]:  # type: ignore[type-arg]
    dataset = TrainingCurveDataset(frame(), ENV, AGENT)
    parts = random_split(dataset, [120, 40], torch.Generator().manual_seed(1))
    return DataLoader(parts[0], 16, shuffle=True), DataLoader(parts[1], 40)


def trained(epochs: int = 40) -> tuple[MetaAnalysisTrainer, list[dict[str, float]]]:
    torch.manual_seed(0)
    model = MetaAnalysisModel(2, 3, 4, 4, curve_length=20, hidden_dim=32)
    trainer = MetaAnalysisTrainer(model, learning_rate=3e-3)
    return trainer, trainer.train(*loaders(), num_epochs=epochs)


@pytest.fixture(scope="module")
def trainer() -> MetaAnalysisTrainer:
    return trained()[0]


def test_the_architecture_is_the_known_one() -> None:
    model = MetaAnalysisModel(9, 12, 16, 16, curve_length=100, hidden_dim=128)
    assert sum(one.numel() for one in model.parameters()) == 184_249


def test_no_latent_collapses(trainer: MetaAnalysisTrainer) -> None:
    environment, agent = trainer.kl(loaders()[0])
    assert environment > NATS
    assert agent > NATS


def test_held_out_curves_are_predicted_in_units_of_the_reward(
    trainer: MetaAnalysisTrainer,
) -> None:
    train, held = loaders()
    env, agent, curves = next(iter(held))
    known = torch.isfinite(curves)
    found = trainer.predict_curve(env, agent)
    usual = torch.cat([one[2] for one in train]).nanmean(dim=0)
    error = ((found - curves)[known] ** 2).mean()
    assert found.shape == (40, 20)
    assert error < 0.3 * ((usual - curves)[known] ** 2).mean()


def test_one_row_is_enough(trainer: MetaAnalysisTrainer) -> None:
    agents = [[1e-3, 0.99, 0.0], [1e-5, 0.99, 0.0]]
    both = trainer.predict_curve([10.0, 2.0], agents)
    alone = trainer.predict_curve(torch.tensor([10.0, 2.0]), agents[0])
    assert both.shape == (2, 20)
    assert alone[0].numpy() == pytest.approx(both[0].numpy(), rel=1e-4)


def test_training_tells_its_losses_and_repeats_itself() -> None:
    first, history = trained(epochs=3)
    second, again = trained(epochs=3)
    assert history == again
    names = {"total_loss", "recon_loss", "kl_loss", "curve_loss"}
    assert set(history[0]) == names | {f"val_{one}" for one in names}
    asked = ([20.0, 3.0], [1e-3, 0.99, 0.0])
    assert torch.equal(first.predict_curve(*asked), second.predict_curve(*asked))


def test_a_trainer_is_kept_with_its_scalers(
    trainer: MetaAnalysisTrainer, tmp_path: Path
) -> None:
    trainer.save(tmp_path)
    again = MetaAnalysisTrainer.load(tmp_path)
    asked = ([20.0, float("nan")], [1e-3, 0.99, 0.0])
    assert torch.equal(again.predict_curve(*asked), trainer.predict_curve(*asked))
    (tmp_path / "meta_analysis.safetensors").write_bytes(b"other")
    with pytest.raises(ContractError, match="two models"):
        MetaAnalysisTrainer.load(tmp_path)


def test_latents_are_drawn_from_the_prior(trainer: MetaAnalysisTrainer) -> None:
    env, agent = trainer.sample_latent_space(num_samples=500)
    assert env.shape == agent.shape == (500, 4)
    assert abs(float(env.mean())) < 0.1
    curves = trainer.model.predict_curve(env[:3], agent[:3]).detach()
    assert curves.shape == (3, 20)
    assert float(curves.abs().max()) > 10  # rewards, not scaled ones


def test_a_parquet_file_is_as_good_as_a_frame(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "runs.parquet")
    read = TrainingCurveDataset(tmp_path / "runs.parquet", ENV, AGENT)
    given = TrainingCurveDataset(frame(), ENV, AGENT)
    assert len(read) == 160
    for mine, theirs in zip(read[0], given[0], strict=True):
        assert torch.equal(torch.nan_to_num(mine), torch.nan_to_num(theirs))


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match="lacks the features"):
        TrainingCurveDataset(frame(), ["height"], AGENT)
    with pytest.raises(UsageError, match="lacks the list column"):
        TrainingCurveDataset(frame().drop("training_curve"), ENV, AGENT)
    texts = frame().with_columns(size=pl.lit("large"))
    with pytest.raises(UsageError, match="must be numbers"):
        TrainingCurveDataset(texts, ENV, AGENT)
    model = MetaAnalysisModel(2, 3, 4, 4, curve_length=21)
    with pytest.raises(UsageError, match="curve_length == 21"):
        MetaAnalysisTrainer(model).train(loaders()[0], num_epochs=1)
    with pytest.raises(UsageError, match="no scalers yet"):
        MetaAnalysisTrainer(model).predict_curve([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit_curve_model(table(), settings(("extra_trees", "variational")))


def test_the_member_does_not_collapse_and_repeats_itself(fitted: Fitted) -> None:
    member = fitted.model.members["variational"]
    assert min(member.kl) > NATS  # type: ignore[attr-defined]
    again = fit_curve_model(table(), settings(("extra_trees", "variational")))
    assert checkpoint.to_bytes(again.model, {}) == checkpoint.to_bytes(fitted.model, {})


def test_the_member_learns_and_is_kept(fitted: Fitted, tmp_path: Path) -> None:
    arrays, state = checkpoint.to_bytes(fitted.model, {})
    (tmp_path / checkpoint.ARRAYS).write_bytes(arrays)
    (tmp_path / checkpoint.ABOUT).write_text(state, encoding="utf-8")
    again, _ = checkpoint.from_folder(tmp_path)
    asked = fitted.model.examples(blank(table(seed=3)))
    mine, theirs = (
        one.members["variational"].predict(asked) for one in (fitted.model, again)
    )
    assert (mine.mean == theirs.mean).all()
    truth = fitted.model.examples(table(seed=3)).targets
    usual = np.abs(truth - fitted.model.examples(table()).targets.mean(axis=0)).mean()
    assert np.abs(mine.mean - truth).mean() < 0.7 * usual


def test_latents_have_places_meanings_and_ways(fitted: Fitted) -> None:
    ended = table()
    places = latents(fitted.model, ended)
    assert set(places["role"]) == {"environment", "agent"}
    assert places.filter(role="environment")["item"].n_unique() == 10
    told = latent_correlations(fitted.model, ended)
    of_size = told.filter(role="environment", feature="size")["correlation"].abs()
    assert of_size.max() > 0.9  # type: ignore[operator]
    ways = latent_paths(fitted.model, ended).filter(role="environment")
    assert ways["path_share"].unique().sort().to_list() == pytest.approx(
        [0, 0.2, 0.4, 0.6, 0.8, 1]
    )
    last = ways.filter(grid_point=39).sort("path_share")["predicted"]
    assert last[0] > last[-1]


def test_without_the_member_there_are_no_latents() -> None:
    plain = fit_curve_model(table(environments=3), settings()).model
    assert latents(plain, table()).is_empty()
    assert latent_correlations(plain, table()).is_empty()
    assert latent_paths(plain, table()).is_empty()


def test_threads_are_as_before(fitted: Fitted) -> None:
    before = torch.get_num_threads()
    fitted.model.members["variational"].predict(fitted.model.examples(blank(table())))
    assert torch.get_num_threads() == before
