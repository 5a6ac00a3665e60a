"""Models that predict training curves and are not ours, beside those that are.

Each follows the members' protocol, so that it is folded, stacked and calibrated alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from run_assets.curves.components import Components, fit_components
from run_assets.curves.examples import Examples, Floats, Forecast, filled
from run_assets.curves.members import MEMBERS, SMALLEST_SD, MemberKind, scatter
from run_assets.curves.settings import Model


@dataclass(frozen=True)
class Boosted:
    """LightGBM, one model for each component."""

    boosters: tuple[Any, ...]
    components: Components
    sd: Floats

    def predict(self, examples: Examples) -> Forecast:
        scores = [one.predict(examples.inputs) for one in self.boosters]
        mean = self.components.curves(np.stack(scores, axis=1))
        return Forecast(mean, np.tile(self.sd, (len(mean), 1)))

    def state(self) -> tuple[Mapping[str, Any], dict[str, Any]]:
        return {}, {}


def fit_boosted(samples: Sequence[Examples], _: Model, seed: int) -> list[Boosted]:
    import lightgbm

    fitted = []
    for sample in samples:
        curves = filled(sample.targets)
        components = fit_components(curves, 8)
        scores = components.scores(curves)
        boosters = [
            lightgbm.train(
                {
                    "objective": "regression",
                    "learning_rate": 0.05,
                    "num_leaves": 15,
                    "min_data_in_leaf": max(min(20, len(sample) // 10), 2),
                    "verbosity": -1,
                    "num_threads": 1,
                    "seed": seed,
                    "deterministic": True,
                },
                lightgbm.Dataset(sample.inputs, column),
                num_boost_round=200,
            )
            for column in scores.T
        ]
        told = np.stack([one.predict(sample.inputs) for one in boosters], axis=1)
        sd = scatter(sample.targets - components.curves(told))
        fitted.append(Boosted(tuple(boosters), components, sd))
    return fitted


@dataclass(frozen=True)
class PowerLaw:
    """Networks that say the parameters of ``a - b t^-c`` (Kadra et al. 2023)."""

    networks: tuple[Any, ...]
    points: int

    def predict(self, examples: Examples) -> Forecast:
        import torch

        inputs = torch.from_numpy(examples.inputs).float()
        with torch.no_grad():
            told = [power_law(net(inputs), self.points) for net in self.networks]
        curves = torch.stack(told).double().numpy()
        sd = np.maximum(curves.std(axis=0), SMALLEST_SD)
        return Forecast(curves.mean(axis=0), sd)

    def state(self) -> tuple[Mapping[str, Any], dict[str, Any]]:
        return {}, {}


def power_law(told: Any, points: int) -> Any:
    import torch

    at = (torch.arange(points) + 1.0) / points
    rate = torch.nn.functional.softplus(told[:, 2:3])
    return told[:, :1] - told[:, 1:2] * at ** (-rate)


def fit_power_law(samples: Sequence[Examples], _: Model, seed: int) -> list[PowerLaw]:
    import torch

    torch.set_num_threads(1)
    fitted = []
    for sample in samples:
        networks = tuple(one_power_law(sample, 100 * seed + n) for n in range(2))
        fitted.append(PowerLaw(networks, sample.targets.shape[1]))
    return fitted


def one_power_law(sample: Examples, seed: int) -> Any:
    """Absolute error, as the original; 40 epochs of batches of 128."""
    import torch

    torch.manual_seed(seed)
    inputs = torch.from_numpy(sample.inputs).float()
    known = torch.from_numpy(np.isfinite(sample.targets)).float()
    targets = torch.from_numpy(np.nan_to_num(sample.targets)).float()
    net = torch.nn.Sequential(
        torch.nn.Linear(inputs.shape[1], 128),
        torch.nn.SiLU(),
        torch.nn.Linear(128, 128),
        torch.nn.SiLU(),
        torch.nn.Linear(128, 3),
    )
    steps = 40 * -(-len(inputs) // 128)
    optimizer = torch.optim.AdamW(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps)
    for _ in range(40):
        for rows in torch.randperm(len(inputs)).split(128):
            told = power_law(net(inputs[rows]), targets.shape[1])
            loss = ((told - targets[rows]).abs() * known[rows]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    return net.eval()


def no_restore(_arrays: Any, _more: Any) -> Any:
    """A rival lives as long as the benchmark; nobody reads it back from disk."""
    message = "rivals are never stored, so none can be restored"
    raise RuntimeError(message)


RIVALS: dict[str, MemberKind] = {
    **MEMBERS,
    "lightgbm": MemberKind(fit_boosted, no_restore, "lightgbm", "LightGBM"),
    "power_law": MemberKind(fit_power_law, no_restore, "torch", "power-law net"),
}
SHOWN = (
    "mean_curve",
    "environment_mean",
    "nearest_configs",
    "extra_trees",
    "lightgbm",
    "power_law",
    "boosted_trees",
    "variational",
)
NOT_RIVALS = ("mean_curve", "boosted_trees", "variational")
