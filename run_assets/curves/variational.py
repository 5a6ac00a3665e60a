"""A small ensemble of supervised variational autoencoders, as a member of the stack.

The autoencoders of ``autoencoders`` feed a head that says component scores of the curve
and their variances. The KL divergence is averaged over the batch and warmed up, so that
the latents carry what the curve depends on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from run_assets.curves.autoencoders import AgentVAE, EnvironmentVAE, kl_divergence
from run_assets.curves.components import Components, fit_components
from run_assets.curves.examples import Examples, Floats, Forecast, filled
from run_assets.curves.members import SMALLEST_SD, Arrays, scatter
from run_assets.curves.settings import Model
from run_assets.curves.threads import one_thread

COMPONENTS = 12
_MOST_POINTS = 50
_FEWEST_STEPS, _SMALLEST_BATCH = 8, 8
_WARM_UP = 0.5
_BETA_NLL = 0.5
_WEIGHT_DECAY = 1e-3
_MOST_GRADIENT = 5.0


class Sizes(NamedTuple):
    """Shape of one network."""

    environment: int
    agent: int
    env_latents: int
    agent_latents: int
    hidden: int
    components: int


class Told(NamedTuple):
    """What a network makes of a batch: scores, their variances, reconstructions, KL."""

    scores: Tensor
    variances: Tensor
    environment: Tensor
    agent: Tensor
    kl: Tensor


class Network(nn.Module):
    """Autoencoders of environment and agent, and a head on their latents."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.env_vae = EnvironmentVAE(
            max(sizes.environment, 1), sizes.env_latents, sizes.hidden
        )
        self.agent_vae = AgentVAE(
            max(sizes.agent, 1), sizes.agent_latents, sizes.hidden
        )
        self.head = nn.Sequential(
            nn.Linear(sizes.env_latents + sizes.agent_latents, sizes.hidden),
            nn.SiLU(),
            nn.Linear(sizes.hidden, sizes.hidden),
            nn.SiLU(),
            nn.Linear(sizes.hidden, 2 * sizes.components),
        )

    def forward(
        self, environment: Tensor, agent: Tensor, env_draw: Tensor, agent_draw: Tensor
    ) -> "Told":
        """Of one batch of rows, with the normal numbers that sample the latents."""
        env_mu, env_logvar = self.env_vae.encode(environment)
        agent_mu, agent_logvar = self.agent_vae.encode(agent)
        env_latent = env_mu + env_draw * torch.exp(0.5 * env_logvar)
        agent_latent = agent_mu + agent_draw * torch.exp(0.5 * agent_logvar)
        scores, variances = self.scores(env_latent, agent_latent)
        kl = kl_divergence(env_mu, env_logvar) + kl_divergence(agent_mu, agent_logvar)
        return Told(
            scores,
            variances,
            self.env_vae.decode(env_latent),
            self.agent_vae.decode(agent_latent),
            kl,
        )

    def scores(self, env_latent: Tensor, agent_latent: Tensor) -> tuple[Tensor, Tensor]:
        """Component scores and their variances, in units of their scales."""
        told = self.head(torch.cat([env_latent, agent_latent], dim=-1))
        scores, spread = told.chunk(2, dim=-1)
        return scores, nn.functional.softplus(spread - 1) ** 2 + 1e-4


@dataclass(frozen=True)
class Variational:
    """The fitted ensemble.

    Attributes:
        networks: In evaluation mode.
        sizes: Their shape.
        components: Of the curves.
        noise: What the components leave unsaid, shape ``(points,)``.
        kl: Nats of the environment's and the agent's latents, mean over networks.
    """

    networks: tuple[Network, ...]
    sizes: Sizes
    components: Components
    noise: Floats
    kl: tuple[float, float]

    def predict(self, examples: Examples) -> Forecast:
        """A mixture: mean of the networks, their variances and their disagreement."""
        with one_thread(), torch.no_grad():
            told = [self._one(network, examples) for network in self.networks]
        means = np.stack([mean for mean, _ in told])
        variances = np.stack([variance for _, variance in told])
        variance = variances.mean(axis=0) + means.var(axis=0)
        return Forecast(
            means.mean(axis=0), np.sqrt(np.maximum(variance, SMALLEST_SD**2))
        )

    def latents(self, examples: Examples) -> tuple[Floats, Floats]:
        """Mean latents of environment and agent, by the first network."""
        with one_thread(), torch.no_grad():
            network = self.networks[0]
            env, _ = network.env_vae.encode(_tensor(examples.environment))
            agent, _ = network.agent_vae.encode(_tensor(examples.agent))
        return env.double().numpy(), agent.double().numpy()

    def curves_of_latents(self, environment: Floats, agent: Floats) -> Floats:
        """Mean curves of latents of the first network, in scaled units."""
        with one_thread(), torch.no_grad():
            scores, _ = self.networks[0].scores(_tensor(environment), _tensor(agent))
        scaled = scores.double().numpy() * self.components.scales
        return self.components.curves(scaled)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Weights by network, and the components."""
        weights = {
            f"network{number}.{name}": value.numpy()
            for number, network in enumerate(self.networks)
            for name, value in network.state_dict().items()
        }
        arrays = {**weights, **vars(self.components), "noise": self.noise}
        return arrays, {
            "sizes": list(self.sizes),
            "networks": len(self.networks),
            "kl": list(self.kl),
        }

    def _one(self, network: Network, examples: Examples) -> tuple[Floats, Floats]:
        env, _ = network.env_vae.encode(_tensor(examples.environment))
        agent, _ = network.agent_vae.encode(_tensor(examples.agent))
        scores, variances = network.scores(env, agent)
        parts = self.components
        mean = parts.curves(scores.double().numpy() * parts.scales)
        spread = variances.double().numpy() * parts.scales**2
        return mean, spread @ parts.basis**2 + self.noise**2


class _Sample(NamedTuple):
    """What networks train on, one sample a network.

    Attributes:
        environment: Shape ``(networks, rows, columns)``.
        agent: Shape ``(networks, rows, columns)``.
        targets: Shape ``(networks, rows, points)``; 0 where unknown.
        known: 1 where a target is known, else 0.
        mean: Of the components, shape ``(networks, points)``.
        basis: Shape ``(networks, components, points)``.
        scales: Shape ``(networks, components)``.
        noise: Shape ``(networks, points)``.
    """

    environment: Tensor
    agent: Tensor
    targets: Tensor
    known: Tensor
    mean: Tensor
    basis: Tensor
    scales: Tensor
    noise: Tensor

    def batch(self, rows: Tensor) -> "_Sample":
        """Some rows of each network, shape ``(networks, batch)``."""
        network = torch.arange(len(rows))[:, None]
        chosen = (one[network, rows] for one in self[:4])
        return self._replace(**dict(zip(self._fields[:4], chosen, strict=True)))


class _Draw(NamedTuple):
    """Standard normal numbers for the latents of a batch, and the KL's weight."""

    environment: Tensor
    agent: Tensor
    beta: Tensor


def fit_variational(
    samples: Sequence[Examples], settings: Model, seed: int
) -> list[Variational]:
    """Train an ensemble on the first sample and one network on each other.

    The others are parts of the first, for held-out forecasts. Small networks cost more
    calls than arithmetic, so all of them train at once as one batch of matrices. The
    same seed gives the same weights on one machine.
    """
    parts = [_components(one) for one in samples]
    sizes = Sizes(
        samples[0].environment.shape[1],
        samples[0].agent.shape[1],
        settings.env_latent_dim,
        settings.agent_latent_dim,
        settings.hidden_dim,
        min(len(components.basis) for components, _ in parts),
    )
    parts = [(_first(one, sizes.components), noise) for one, noise in parts]
    counts = [settings.num_models, *[1] * (len(samples) - 1)]
    networks = _trained(sizes, samples, parts, counts, settings, seed)
    fitted = []
    for sample, (components, noise), count in zip(samples, parts, counts, strict=True):
        own, networks = networks[:count], networks[count:]
        kl = np.mean([_kl(network, sample) for network in own], axis=0)
        divergence = (float(kl[0]), float(kl[1]))
        fitted.append(Variational(tuple(own), sizes, components, noise, divergence))
    return fitted


def restore_variational(arrays: Arrays, more: dict[str, Any]) -> Variational:
    """From what ``state`` gave."""
    sizes = Sizes(*more["sizes"])
    networks = []
    for number in range(more["networks"]):
        network = Network(sizes)
        before = f"network{number}."
        weights = {
            name.removeprefix(before): torch.from_numpy(np.array(value))
            for name, value in arrays.items()
            if name.startswith(before)
        }
        network.load_state_dict(weights)
        networks.append(network.eval())
    parts = {name: arrays[name] for name in Components.__dataclass_fields__}
    kl = (more["kl"][0], more["kl"][1])
    return Variational(tuple(networks), sizes, Components(**parts), arrays["noise"], kl)


def _components(sample: Examples) -> tuple[Components, Floats]:
    curves = filled(sample.targets)
    components = fit_components(curves, COMPONENTS)
    missed = curves - components.curves(components.scores(curves))
    return components, scatter(missed)


def _first(components: Components, count: int) -> Components:
    return Components(
        components.mean, components.basis[:count], components.scales[:count]
    )


def _trained(
    sizes: Sizes,
    samples: Sequence[Examples],
    parts: Sequence[tuple[Components, Floats]],
    counts: Sequence[int],
    settings: Model,
    seed: int,
) -> list[Network]:
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = [Network(sizes).eval() for _ in range(sum(counts))]
        weights, _ = torch.func.stack_module_state(networks)
        rows = np.repeat([len(sample) for sample in samples], counts).tolist()
        stacked = _stacked(samples, parts, counts)
        _descend(weights, networks[0], stacked, rows, settings)
        for number, network in enumerate(networks):
            own = {name: value[number].detach() for name, value in weights.items()}
            network.load_state_dict(own)
    return networks


def _stacked(
    samples: Sequence[Examples],
    parts: Sequence[tuple[Components, Floats]],
    counts: Sequence[int],
) -> _Sample:
    most = max(map(len, samples))
    each = torch.tensor(counts)

    def stack(values: Sequence[Floats]) -> Tensor:
        padded = [
            np.pad(one, ((0, most - len(one)), (0, 0))) if one.ndim == 2 else one
            for one in values
        ]
        whole = torch.from_numpy(np.stack(padded)).float()
        return whole.repeat_interleave(each, dim=0)

    points = samples[0].targets.shape[1]
    # Neighbouring points say nearly the same, and half of them cost half as much.
    thin = np.unique(np.linspace(0, points - 1, _MOST_POINTS).round().astype(int))
    targets = [sample.targets[:, thin] for sample in samples]
    known = [np.isfinite(one) for one in targets]
    return _Sample(
        stack([_some_column(sample.environment) for sample in samples]),
        stack([_some_column(sample.agent) for sample in samples]),
        stack([np.nan_to_num(one) for one in targets]),
        stack([one.astype(np.float64) for one in known]),
        stack([one.mean[thin] for one, _ in parts]),
        torch.from_numpy(np.stack([one.basis[:, thin] for one, _ in parts]))
        .float()
        .repeat_interleave(each, dim=0),
        stack([one.scales for one, _ in parts]),
        stack([noise[thin] for _, noise in parts]),
    )


def _descend(
    weights: dict[str, Tensor],
    network: Network,
    sample: _Sample,
    rows: list[int],
    settings: Model,
) -> None:
    """Move the stacked weights, in place."""
    # Few runs get smaller batches: an epoch of one step learns next to nothing.
    batch = min(settings.batch_size, max(max(rows) // _FEWEST_STEPS, _SMALLEST_BATCH))
    per_epoch = -(-max(rows) // batch)
    steps = settings.num_epochs * per_epoch
    optimizer = torch.optim.AdamW(
        list(weights.values()), weight_decay=_WEIGHT_DECAY, foreach=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=steps
    )
    losses_of = torch.vmap(
        partial(_loss, network, settings), in_dims=(0, 0, _Draw._make((0, 0, None)))
    )
    for step, chosen in enumerate(_batches(rows, batch, per_epoch, settings)):
        warmth = settings.beta * min(1.0, step / (_WARM_UP * steps))
        shape = (len(rows), batch)
        draw = _Draw(
            torch.randn(*shape, settings.env_latent_dim),
            torch.randn(*shape, settings.agent_latent_dim),
            torch.tensor(warmth),
        )
        optimizer.zero_grad()
        losses_of(weights, sample.batch(chosen), draw).sum().backward()  # type: ignore[no-untyped-call]
        _clip(weights)
        optimizer.step()
        schedule.step()


def _batches(
    rows: list[int], batch: int, per_epoch: int, settings: Model
) -> Iterator[Tensor]:
    """Rows of each network, shape ``(networks, batch)``; short samples go round."""
    for _ in range(settings.num_epochs):
        orders = [
            torch.randperm(count).repeat(-(-batch * per_epoch // count))
            for count in rows
        ]
        epoch = torch.stack([order[: batch * per_epoch] for order in orders])
        yield from torch.split(epoch, batch, dim=1)


def _loss(
    network: Network,
    settings: Model,
    weights: dict[str, Tensor],
    batch: _Sample,
    draw: _Draw,
) -> Tensor:
    """Of one network; a sample of the latents feeds both decoder and head."""
    told: Told = torch.func.functional_call(
        network, weights, (batch.environment, batch.agent, draw.environment, draw.agent)
    )
    mean = batch.mean + (told.scores * batch.scales) @ batch.basis
    variance = (told.variances * batch.scales**2) @ batch.basis**2 + batch.noise**2
    # Source: Seitzer et al. 2022, "On the pitfalls of heteroscedastic uncertainty
    # estimation": the weight keeps badly fitted points from being explained as noise.
    nll = 0.5 * ((batch.targets - mean) ** 2 / variance + variance.log())
    weighted = variance.detach() ** _BETA_NLL * nll * batch.known
    curve = weighted.sum() / batch.known.sum().clamp(min=1)
    rebuilt = ((told.environment - batch.environment) ** 2).mean()
    rebuilt = rebuilt + ((told.agent - batch.agent) ** 2).mean()
    return (
        settings.curve_weight * curve
        + settings.reconstruction_weight * rebuilt
        + draw.beta * told.kl
    )


def _clip(weights: dict[str, Tensor]) -> None:
    """Shorten each network's gradient to ``_MOST_GRADIENT``."""
    gradients = [one.grad for one in weights.values() if one.grad is not None]
    squares = [gradient.flatten(1).square().sum(dim=1) for gradient in gradients]
    norms = torch.stack(squares).sum(dim=0).sqrt()
    factors = (_MOST_GRADIENT / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))


def _kl(network: Network, sample: Examples) -> tuple[float, float]:
    with one_thread(), torch.no_grad():
        env = kl_divergence(*network.env_vae.encode(_tensor(sample.environment)))
        agent = kl_divergence(*network.agent_vae.encode(_tensor(sample.agent)))
    return float(env), float(agent)


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(_some_column(values))).float()


def _some_column(values: Floats) -> Floats:
    """Features of no column become one column of zeros."""
    return values if values.shape[1] else np.zeros((len(values), 1))
