"""Training the two autoencoders and the predictor on raw configurations and curves.

The trainer fits its scalers on the training loader and keeps them, so that predictions
take raw features and give rewards.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from run_assets.curves.autoencoders import (
    MetaAnalysisModel,
    Predicted,
    kl_divergence,
)
from run_assets.curves.encoding import Encoder, fit_encoder
from run_assets.curves.settings import Feature
from run_assets.curves.threads import one_thread
from run_assets.errors import ContractError, UsageError

CURVE = "training_curve"
_WARM_UP = 0.5
_MOST_GRADIENT = 5.0
_WEIGHTS, _ABOUT = "meta_analysis.safetensors", "meta_analysis.json"
Item = tuple[Tensor, Tensor, Tensor]
Losses = dict[str, float]


class TrainingCurveDataset(Dataset[Item]):
    """Runs as raw environment features, raw agent features and curves.

    Args:
        table: One row a run: a column for each feature and a list column
            ``training_curve`` with the same number of points in each row, null or NaN
            where a run has none. A frame, or its parquet file.
        env_features: Columns that describe the environment.
        agent_features: Columns that describe the agent.

    Raises:
        UsageError: A column is missing or no number, or curves differ in length.
    """

    def __init__(
        self,
        table: pl.DataFrame | str | Path,
        env_features: Sequence[str],
        agent_features: Sequence[str],
    ) -> None:
        frame = table if isinstance(table, pl.DataFrame) else pl.read_parquet(table)
        self.env_features = tuple(env_features)
        self.agent_features = tuple(agent_features)
        self.env = _numbers(frame, self.env_features)
        self.agent = _numbers(frame, self.agent_features)
        self.curves = _curves(frame)

    def __len__(self) -> int:
        """How many runs."""
        return len(self.curves)

    def __getitem__(self, index: int) -> Item:
        """Environment features, agent features and curve of one run, unscaled."""
        return self.env[index], self.agent[index], self.curves[index]


class _Parts(NamedTuple):
    """The parts of a loss, each a mean over the batch."""

    recon: Tensor
    kl: Tensor
    curve: Tensor


class MetaAnalysisTrainer:
    """Trains a model, and predicts with it in the units of the data.

    Args:
        model: The modules.
        device: Where they are trained.
        learning_rate: Of Adam.
        beta: Weight of the KL divergence. It is averaged over the batch and divided by
            the number of values that are rebuilt and predicted, as these are averaged,
            too: 1 is the evidence lower bound for errors of variance 1/2.
        curve_weight: Weight of the curve's error beside that of the reconstructions.
        seed: Of everything random.
    """

    def __init__(  # the signature people know
        self,
        model: MetaAnalysisModel,
        device: str = "cpu",
        learning_rate: float = 1e-3,
        beta: float = 1.0,
        curve_weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.model = model.to(device)
        self.device = device
        self.learning_rate = learning_rate
        self.beta = beta
        self.curve_weight = curve_weight
        self.seed = seed
        self.encoders: tuple[Encoder, Encoder] | None = None

    def train(
        self,
        train_loader: DataLoader[Item],
        val_loader: DataLoader[Item] | None = None,
        num_epochs: int = 100,
    ) -> list[Losses]:
        """Fit scalers and weights; with a validation loader the best epoch's are kept.

        The KL divergence is warmed up over the first half of the epochs.

        Returns:
            For each epoch total_loss, recon_loss, kl_loss and curve_loss, and the same
            with ``val_`` before them where there is a validation loader.

        Raises:
            UsageError: The loader's features or curves do not fit the model.
        """
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._fit_scalers(train_loader)
            optimizer = torch.optim.Adam(self.model.parameters(), self.learning_rate)
            history: list[Losses] = []
            best: tuple[float, dict[str, Tensor]] | None = None
            for epoch in range(num_epochs):
                warmth = min(1.0, (epoch + 1) / max(_WARM_UP * num_epochs, 1))
                losses = self._epoch(train_loader, warmth, optimizer)
                if val_loader is not None:
                    judged = self._epoch(val_loader, 1.0, None)
                    losses |= {f"val_{name}": loss for name, loss in judged.items()}
                    if best is None or judged["curve_loss"] < best[0]:
                        best = (judged["curve_loss"], _copied(self.model))
                history.append(losses)
            if best is not None:
                self.model.load_state_dict(best[1])
            self.model.eval()
        return history

    def predict_curve(self, env_config: Any, agent_config: Any) -> Tensor:
        """Curves of raw configurations, in the unit of the training curves.

        Args:
            env_config: Raw features, one row or a batch; NaN where unknown.
            agent_config: As ``env_config``; one row of either goes with every row of
                the other.

        Returns:
            Shape ``(rows, curve_length)``.
        """
        env = self._scaled(env_config, 0)
        agent = self._scaled(agent_config, 1)
        rows = max(len(env), len(agent))
        if len(env) != len(agent) and 1 not in (len(env), len(agent)):
            msg = (
                f"predict_curve needs as many environments as agents, or one of them, "
                f"got {len(env)} and {len(agent)} rows"
            )
            raise UsageError(msg)
        self.model.eval()
        with one_thread(), torch.no_grad():
            latents = self.model.encode(env.expand(rows, -1), agent.expand(rows, -1))
            return self.model.predict_curve(*latents)

    def encode(self, env_config: Any, agent_config: Any) -> tuple[Tensor, Tensor]:
        """Mean latents of raw configurations."""
        self.model.eval()
        with one_thread(), torch.no_grad():
            return self.model.encode(
                self._scaled(env_config, 0), self._scaled(agent_config, 1)
            )

    def sample_latent_space(self, num_samples: int = 100) -> tuple[Tensor, Tensor]:
        """Latents of environments and agents, drawn from the prior.

        ``trainer.model.predict_curve(*latents)`` turns them into curves.
        """
        drawn = torch.Generator().manual_seed(self.seed)
        shape = self.model.shape
        return (
            torch.randn(num_samples, shape["env_latent_dim"], generator=drawn),
            torch.randn(num_samples, shape["agent_latent_dim"], generator=drawn),
        )

    def kl(self, loader: DataLoader[Item]) -> tuple[float, float]:
        """Nats that the latents of environment and agent carry, mean over runs."""
        self.model.eval()
        total, rows = np.zeros(2), 0
        with one_thread(), torch.no_grad():
            for env, agent, _ in loader:
                told = self.model(self._scaled(env, 0), self._scaled(agent, 1))
                both = (told.environment, told.agent)
                found = [float(kl_divergence(one.mu, one.logvar)) for one in both]
                total += np.array(found) * len(env)
                rows += len(env)
        environment, agent_kl = (total / rows).tolist()
        return environment, agent_kl

    def save(self, folder: Path) -> None:
        """Weights as safetensors, shape and scalers as JSON."""
        from safetensors.torch import save

        encoders = self._fitted_encoders()
        folder.mkdir(parents=True, exist_ok=True)
        body = save({k: v.contiguous() for k, v in self.model.state_dict().items()})
        about = {
            "shape": self.model.shape,
            "encoders": [encoder.state() for encoder in encoders],
            "learning_rate": self.learning_rate,
            "beta": self.beta,
            "curve_weight": self.curve_weight,
            "seed": self.seed,
            "sha256": sha256(body).hexdigest(),
        }
        (folder / _WEIGHTS).write_bytes(body)
        text = json.dumps(about, indent=1, sort_keys=True)
        (folder / _ABOUT).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What ``save`` wrote.

        Raises:
            ContractError: The two files are not of one model.
        """
        from safetensors.torch import load

        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        body = (folder / _WEIGHTS).read_bytes()
        if sha256(body).hexdigest() != about["sha256"]:
            msg = f"{folder} holds files of two models; train and save it again"
            raise ContractError(msg)
        model = MetaAnalysisModel(**about["shape"])
        model.load_state_dict(load(body))
        names = ("learning_rate", "beta", "curve_weight", "seed")
        trainer = cls(model.eval(), **{name: about[name] for name in names})
        environment, agent = (Encoder.from_state(one) for one in about["encoders"])
        trainer.encoders = (environment, agent)
        return trainer

    def _fit_scalers(self, loader: DataLoader[Item]) -> None:
        parts = [torch.cat(column) for column in zip(*loader, strict=True)]
        env, agent, curves = (one.double().numpy() for one in parts)
        names = _feature_names(loader, env.shape[1], agent.shape[1])
        shape = self.model.shape
        wanted = ("env_input_dim", "agent_input_dim", "curve_length")
        for name, values in zip(wanted, (env, agent, curves), strict=True):
            if values.shape[1] != shape[name]:
                msg = (
                    f"the model has {name} == {shape[name]}, the training loader gives "
                    f"{values.shape[1]} columns; make both the same"
                )
                raise UsageError(msg)
        environment = _numeric_encoder(env, names[0])
        self.encoders = (environment, _numeric_encoder(agent, names[1]))
        known = curves[np.isfinite(curves)]
        self.model.set_curve_scale(float(known.mean()), float(known.std()) or 1.0)

    def _epoch(
        self,
        loader: DataLoader[Item],
        warmth: float,
        optimizer: torch.optim.Optimizer | None,
    ) -> Losses:
        """One pass; without an optimizer nothing is learned."""
        self.model.train(optimizer is not None)
        sums, rows = np.zeros(4), 0
        with torch.set_grad_enabled(optimizer is not None):
            for env, agent, curves in loader:
                parts = self._losses(env, agent, curves)
                total = self._total(parts, warmth)
                if optimizer is not None:
                    optimizer.zero_grad()
                    total.backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(self.model.parameters(), _MOST_GRADIENT)
                    optimizer.step()
                found = [float(one.detach()) for one in (total, *parts)]
                sums += np.array(found) * len(env)
                rows += len(env)
        names = ("total_loss", "recon_loss", "kl_loss", "curve_loss")
        return dict(zip(names, (sums / max(rows, 1)).tolist(), strict=True))

    def _losses(self, env: Tensor, agent: Tensor, curves: Tensor) -> _Parts:
        env, agent = self._scaled(env, 0), self._scaled(agent, 1)
        told: Predicted = self.model(env, agent)
        targets = self.model.scaled_curves(curves.to(self.device).float())
        known = torch.isfinite(targets)
        missed = torch.where(known, told.curve - targets.nan_to_num(), 0.0)
        curve = (missed**2).sum() / known.sum().clamp(min=1)
        recon = ((told.environment.reconstruction - env) ** 2).mean()
        recon = recon + ((told.agent.reconstruction - agent) ** 2).mean()
        both = (told.environment, told.agent)
        kl = sum((kl_divergence(one.mu, one.logvar) for one in both), torch.zeros(()))
        return _Parts(recon, kl, curve)

    def _total(self, parts: _Parts, warmth: float) -> Tensor:
        shape = self.model.shape
        values = sum(
            shape[name] for name in ("env_input_dim", "agent_input_dim", "curve_length")
        )
        kl = warmth * self.beta * parts.kl / values
        return parts.recon + kl + self.curve_weight * parts.curve

    def _scaled(self, raw: Any, which: int) -> Tensor:
        """Raw features, one row or a batch, as the modules take them."""
        given = np.atleast_2d(np.asarray(raw, dtype=np.float64))
        encoder = self._fitted_encoders()[which]
        if given.shape[1] != len(encoder.columns):
            names = ", ".join(column.feature for column in encoder.columns)
            msg = (
                f"predict_curve takes {len(encoder.columns)} features here ({names}), "
                f"got {given.shape[1]}"
            )
            raise UsageError(msg)
        columns = [one.feature for one in encoder.columns]
        frame = pl.DataFrame(given, schema=dict.fromkeys(columns, pl.Float64))
        return torch.from_numpy(encoder.encode(frame)).float().to(self.device)

    def _fitted_encoders(self) -> tuple[Encoder, Encoder]:
        if self.encoders is None:
            msg = "the trainer has no scalers yet; call train() first, or load() one"
            raise UsageError(msg)
        return self.encoders


def _numeric_encoder(values: "np.ndarray[Any, Any]", names: Sequence[str]) -> Encoder:
    """One column a feature, so that the model's input is as wide as the raw data."""
    frame = pl.DataFrame(values, schema=dict.fromkeys(names, pl.Float64))
    fitted = fit_encoder(frame, [Feature(name=name, key=name) for name in names])
    return Encoder(tuple(replace(one, has_missing=False) for one in fitted.columns))


def _feature_names(
    loader: DataLoader[Item], env: int, agent: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of the data set, also behind a ``Subset``; else numbers."""
    for dataset in _unwrapped(loader.dataset):
        if isinstance(dataset, TrainingCurveDataset):
            return dataset.env_features, dataset.agent_features
    return (
        tuple(f"environment{number}" for number in range(env)),
        tuple(f"agent{number}" for number in range(agent)),
    )


def _unwrapped(dataset: Any) -> Iterator[Any]:
    while dataset is not None:
        yield dataset
        dataset = getattr(dataset, "dataset", None)


def _numbers(frame: pl.DataFrame, names: Sequence[str]) -> Tensor:
    if missing := [name for name in names if name not in frame.columns]:
        msg = f"the table lacks the features {missing}; it has {frame.columns}"
        raise UsageError(msg)
    texts = [name for name in names if not _is_number(frame.schema[name])]
    if texts:
        msg = (
            f"features must be numbers, got {texts} of other types; encode categories "
            "as numbers, or use run-assets curves, which does"
        )
        raise UsageError(msg)
    values = frame.select(pl.col(name).cast(pl.Float64) for name in names).to_numpy()
    return torch.from_numpy(np.array(values, dtype=np.float64))


def _is_number(kind: pl.DataType) -> bool:
    return kind.is_numeric() or kind in (pl.Boolean, pl.Null)


def _curves(frame: pl.DataFrame) -> Tensor:
    if CURVE not in frame.columns:
        msg = f"the table lacks the list column {CURVE}; it has {frame.columns}"
        raise UsageError(msg)
    rows = [
        [np.nan if value is None else float(value) for value in row]
        for row in frame[CURVE].to_list()
    ]
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        msg = f"curves must be of one length, got {lengths}; put them on one grid"
        raise UsageError(msg)
    return torch.from_numpy(np.array(rows, dtype=np.float64).reshape(len(rows), -1))


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
