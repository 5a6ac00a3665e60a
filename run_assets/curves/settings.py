"""What a lab says about the prediction of training curves: ``curves:``."""

from typing import Literal, Self

from pydantic import Field, model_validator

from run_assets.strict import Bounds, Strict

Kind = Literal["number", "category"]
Transform = Literal["auto", "linear", "log10", "log10_one_minus"]


class Feature(Strict):
    """A value of the configuration that the curve may depend on."""

    name: str = Field(min_length=1)
    key: str = Field(min_length=1)
    """Dotted path in the run's config."""
    kind: Kind = "number"
    transform: Transform = "auto"
    default: float | str | None = None
    """For runs without the key; such values are marked ``is_default``."""


def _numbers(prefix: str, keys: dict[str, str]) -> tuple[Feature, ...]:
    return tuple(Feature(name=name, key=prefix + key) for name, key in keys.items())


ENVIRONMENT_FEATURES = _numbers(
    "trainer.env_overrides.game.",
    {
        "max_steps": "max_steps",
        "num_agents": "num_agents",
        "map_width": "map_builder.width",
        "map_height": "map_builder.height",
        "num_rooms": "map_builder.num_rooms",
        "num_altars": "map_builder.objects.altar",
        "num_mines": "map_builder.objects.mine_red",
        "num_generators": "map_builder.objects.generator_red",
        "num_walls": "map_builder.objects.wall",
    },
)
AGENT_FEATURES = (
    *_numbers(
        "trainer.",
        {
            "learning_rate": "optimizer.learning_rate",
            "batch_size": "batch_size",
            "minibatch_size": "minibatch_size",
            "gamma": "gamma",
            "gae_lambda": "gae_lambda",
            "clip_coef": "clip_coef",
            "ent_coef": "ent_coef",
            "vf_coef": "vf_coef",
        },
    ),
    *_numbers(
        "agent.",
        {
            "hidden_size": "components._core_.output_size",
            "num_layers": "components._core_.nn_params.num_layers",
            "cnn_channels": "components.cnn1.nn_params.out_channels",
            "cnn_kernel_size": "components.cnn1.nn_params.kernel_size",
        },
    ),
)


class Model(Strict):
    """How the model is trained."""

    members: tuple[
        Literal[
            "mean_curve",
            "environment_mean",
            "nearest_configs",
            "extra_trees",
            "boosted_trees",
            "variational",
        ],
        ...,
    ] = (
        "mean_curve",
        "environment_mean",
        "nearest_configs",
        "extra_trees",
        "boosted_trees",
        "variational",
    )
    """What the stack may be made of."""
    seed: int = Field(0, ge=0)
    folds: int = Field(5, ge=2, le=20)
    """Of the out-of-fold predictions that weights and intervals come from."""
    confidence: float = Field(0.9, gt=0, le=0.95)
    """Of the intervals that are shown."""
    env_latent_dim: int = Field(8, ge=1)
    agent_latent_dim: int = Field(8, ge=1)
    hidden_dim: int = Field(64, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(0.006, gt=0)
    beta: float = Field(0.003, ge=0)
    """Weight of the KL divergence, summed over dimensions, averaged over runs."""
    curve_weight: float = Field(1.0, gt=0)
    reconstruction_weight: float = Field(0.05, ge=0)
    num_epochs: int = Field(40, ge=1)
    num_models: int = Field(3, ge=1)
    """Of the ensemble."""


class Budget(Strict):
    """How far a run was meant to train, on the curves' x axis."""

    key: str | None = "trainer.total_timesteps"
    """Dotted path in the run's config."""
    default: float | None = Field(None, gt=0)
    """For runs without the key."""


class Suggestions(Strict):
    """Which configurations are suggested."""

    count: int = Field(8, ge=1, le=200)
    candidates: int = Field(2000, ge=10, le=100_000)
    """Drawn inside the data's support, scored by the model."""
    max_budget: float | None = Field(None, gt=0)
    """No configuration whose planned budget is larger."""


class Curves(Strict):
    """Which curves are predicted, from what."""

    metric: str
    """The reward; larger is better unless ``goal`` says otherwise."""
    x_metric: str | None = None
    """Only runs with this declared x axis; whatever is declared where null."""
    goal: Literal["maximize", "minimize"] = "maximize"
    project: str | None = None
    """Only runs of this project, as ``entity/project``."""
    budget: Budget = Budget()
    points: int = Field(100, ge=10, le=200)
    """Of the grid from 0 to the planned budget."""
    min_points: int = Field(2, ge=2)
    """Runs with fewer count as failed."""
    environment: str | None = None
    """Config key that names the environment; the environment features where null."""
    task: str | None = None
    """Config key of the task: curves of a task share a scale, and it is a feature."""
    anchors: dict[str, Bounds] = Field(default_factory=dict)
    """Task: the rewards that become 0 and 1; robust quantiles of the data otherwise."""
    environment_features: tuple[Feature, ...] = ENVIRONMENT_FEATURES
    agent_features: tuple[Feature, ...] = AGENT_FEATURES
    model: Model = Model()
    suggestions: Suggestions = Suggestions()
    cron: str | None = None
    """When the model is trained again; on demand only where null."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        features = (*self.environment_features, *self.agent_features)
        names = [one.name for one in features]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            msg = f"curves: features must have names of their own, got twice: {twice}"
            raise ValueError(msg)
        if "task" in names:
            msg = "curves: no feature can be called task; set curves.task to its key"
            raise ValueError(msg)
        if not names:
            msg = "curves: at least one environment or agent feature is needed"
            raise ValueError(msg)
        return self
