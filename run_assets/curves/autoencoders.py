"""Two variational autoencoders and a predictor of curves, as torch modules.

Source: the architecture of Metta's ``meta_analysis`` (MIT licence). Its loss summed the
KL divergence over the batch beside mean errors, which collapsed the latents; the loss
here is in ``trainer``.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

_FIRST_LOG_VARIANCE = -3.0


class Encoded(NamedTuple):
    """What an autoencoder makes of a batch.

    Attributes:
        reconstruction: Shape ``(rows, input_dim)``.
        mu: Mean of the latents, shape ``(rows, latent_dim)``.
        logvar: Logarithm of their variance, shape ``(rows, latent_dim)``.
        latent: A sample while training, the mean otherwise.
    """

    reconstruction: Tensor
    mu: Tensor
    logvar: Tensor
    latent: Tensor


class _VAE(nn.Module):
    def __init__(
        self, input_dim: int, latent_dim: int = 32, hidden_dim: int = 128
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(
            nn.Linear(input_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
        )
        self.fc_mu = nn.Linear(hidden_dim, latent_dim)
        self.fc_logvar = nn.Linear(hidden_dim, latent_dim)
        nn.init.zeros_(self.fc_logvar.weight)
        nn.init.constant_(self.fc_logvar.bias, _FIRST_LOG_VARIANCE)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, input_dim),
        )

    def encode(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latents, each ``(rows, latent_dim)``."""
        hidden = self.encoder(features)
        return self.fc_mu(hidden), self.fc_logvar(hidden)

    def sample(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """A latent while training; the mean otherwise."""
        if not self.training:
            return mu
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

    def decode(self, latent: Tensor) -> Tensor:
        """Features from latents, ``(rows, input_dim)``."""
        decoded: Tensor = self.decoder(latent)
        return decoded

    def forward(self, features: Tensor) -> Encoded:
        """Encode and decode; decoder and predictor see the same sample."""
        mu, logvar = self.encode(features)
        latent = self.sample(mu, logvar)
        return Encoded(self.decode(latent), mu, logvar, latent)


class EnvironmentVAE(_VAE):
    """Environment configurations as latents.

    Args:
        input_dim: Encoded features.
        latent_dim: Latents.
        hidden_dim: Units of each hidden layer.
    """


class AgentVAE(_VAE):
    """Agent hyperparameters as latents; arguments as ``EnvironmentVAE``."""


class RewardPredictor(nn.Module):
    """A curve from the latents of an environment and an agent.

    Args:
        env_latent_dim: Latents of the environment.
        agent_latent_dim: Latents of the agent.
        curve_length: Points of the curve.
        hidden_dim: Units of each hidden layer.
        dropout: Share of units dropped while training.
    """

    def __init__(
        self,
        env_latent_dim: int,
        agent_latent_dim: int,
        curve_length: int = 100,
        hidden_dim: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(env_latent_dim + agent_latent_dim, hidden_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, curve_length),
        )

    def forward(self, env_latent: Tensor, agent_latent: Tensor) -> Tensor:
        """Shape ``(rows, curve_length)``."""
        curve: Tensor = self.network(torch.cat([env_latent, agent_latent], dim=-1))
        return curve


class Predicted(NamedTuple):
    """What the whole model makes of a batch."""

    environment: Encoded
    agent: Encoded
    curve: Tensor


class MetaAnalysisModel(nn.Module):
    """Environment and agent autoencoders, and the predictor on their latents.

    Args:
        env_input_dim: Environment features.
        agent_input_dim: Agent features.
        env_latent_dim: Latents of the environment.
        agent_latent_dim: Latents of the agent.
        curve_length: Points of a curve.
        hidden_dim: Units of each hidden layer of the autoencoders; the predictor has
            twice as many.
    """

    def __init__(  # the signature people know
        self,
        env_input_dim: int,
        agent_input_dim: int,
        env_latent_dim: int = 32,
        agent_latent_dim: int = 32,
        curve_length: int = 100,
        hidden_dim: int = 128,
    ) -> None:
        super().__init__()
        self.shape = {
            "env_input_dim": env_input_dim,
            "agent_input_dim": agent_input_dim,
            "env_latent_dim": env_latent_dim,
            "agent_latent_dim": agent_latent_dim,
            "curve_length": curve_length,
            "hidden_dim": hidden_dim,
        }
        self.env_vae = EnvironmentVAE(env_input_dim, env_latent_dim, hidden_dim)
        self.agent_vae = AgentVAE(agent_input_dim, agent_latent_dim, hidden_dim)
        self.reward_predictor = RewardPredictor(
            env_latent_dim, agent_latent_dim, curve_length, 2 * hidden_dim
        )
        self.curve_center: Tensor
        self.curve_scale: Tensor
        self.register_buffer("curve_center", torch.tensor(0.0))
        self.register_buffer("curve_scale", torch.tensor(1.0))

    def set_curve_scale(self, center: float, scale: float) -> None:
        """What curves are centred on and divided by; training sets it."""
        self.curve_center.fill_(center)
        self.curve_scale.fill_(scale)

    def scaled_curves(self, curves: Tensor) -> Tensor:
        """Rewards as the predictor gives them."""
        return (curves - self.curve_center) / self.curve_scale

    def forward(self, env_features: Tensor, agent_features: Tensor) -> Predicted:
        """Of scaled features, each ``(rows, features)``."""
        environment = self.env_vae(env_features)
        agent = self.agent_vae(agent_features)
        curve = self.reward_predictor(environment.latent, agent.latent)
        return Predicted(environment, agent, curve)

    def encode(
        self, env_features: Tensor, agent_features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean latents of scaled features."""
        env_latent, _ = self.env_vae.encode(env_features)
        agent_latent, _ = self.agent_vae.encode(agent_features)
        return env_latent, agent_latent

    def predict_curve(self, env_latent: Tensor, agent_latent: Tensor) -> Tensor:
        """Curves from latents, ``(rows, curve_length)``, in the reward's unit."""
        curve: Tensor = self.reward_predictor(env_latent, agent_latent)
        return self.curve_center + self.curve_scale * curve


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """To the standard normal, in nats: summed over latents, averaged over rows.

    Source: Kingma and Welling 2013, appendix B.

    >>> float(kl_divergence(torch.ones(4, 3), torch.zeros(4, 3)))
    1.5
    """
    per_latent = -0.5 * (1 + logvar - mu**2 - logvar.exp())
    return per_latent.sum(dim=-1).mean()
