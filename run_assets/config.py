"""What a lab may set, where each value came from, and what is wrong with it.

Precedence: flag > environment (``RUN_ASSETS_*``, ``WANDB_*``, ``.env``) > file >
default. Nested keys are joined with two underscores: ``RUN_ASSETS_SCHEDULE__CRON``.
"""

import os
import reprlib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from run_assets.config_evaluations import RESULTS_URL, Evaluations, WandbRunResults
from run_assets.curves.settings import Curves
from run_assets.errors import NotFoundError, UsageError, did_you_mean
from run_assets.strict import Bounds

FILE_NAME = "run_assets.yaml"
PREFIX = "RUN_ASSETS_"
SECRETS = ("WANDB_API_KEY", "SKILLS_DB_PASSWORD")

Aggregate = Literal["last", "mean", "max", "min", "median", "mean_last_10pct"]
Statistic = Literal["iqm", "mean", "median", "optimality_gap"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WandbFiles(_Strict):
    """Folders with ``run-*`` and ``offline-run-*``, or a parent of several."""

    kind: Literal["wandb_files"]
    path: str
    entity: str = Field("local", min_length=1)
    """Owner of runs whose file names none."""


class WandbApi(_Strict):
    """Projects on a W&B server; the key is in the environment or in netrc."""

    kind: Literal["wandb_api"]
    projects: tuple[Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")], ...] = Field(
        min_length=1
    )
    """Each as ``entity/project``."""
    filters: dict[str, Any] = {}
    """Which runs, in W&B's (MongoDB's) language: ``{config.lr: {$gt: 0.1}}``."""
    tags: tuple[str, ...] = ()
    """Runs with any of these tags."""
    groups: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    created_after: date | None = None
    """Runs created on this UTC day or later."""
    max_runs: int | None = Field(None, ge=1)
    """Only the youngest ones, for trying out; what is stored stays."""
    base_url: str | None = Field(None, pattern=r"^https?://[^/\s?#@]+(/[^\s?#@]*)?$")
    """A server of your own; WANDB_BASE_URL or the cloud where null."""
    concurrency: int = Field(8, ge=1, le=64)
    """Runs that are fetched at the same time."""
    timeout_seconds: float = Field(60, gt=0)
    """Patience with one answer of the server."""


Source = Annotated[WandbFiles | WandbApi, Field(discriminator="kind")]


class RunFilter(_Strict):
    """Which runs belong to an analysis; null or empty means all."""

    state: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    group: str | None = None
    min_steps: int | None = Field(None, ge=0)


class Score(_Strict):
    """The number by which runs are compared."""

    metric: str
    aggregate: Aggregate = "last"
    last_n_steps: int | None = Field(None, ge=1)
    """Only values of the run's last steps of the metric; of logged metrics."""


class Normalize(_Strict):
    """How scores of different tasks are made comparable."""

    method: Literal["none", "bounds", "minmax", "zscore", "robust"] = "none"
    per_task: dict[str, Bounds] = {}


class Interval(_Strict):
    """How confidence intervals are made."""

    method: Literal["percentile", "corrected", "bca"] = "corrected"
    level: Literal["runs", "tasks"] = "runs"
    """What is resampled: runs within tasks, or the tasks, too."""
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(50_000, ge=100, le=10_000_000)
    seed: int = Field(0, ge=0)


class Comparison(_Strict):
    """How groups are tested against each other."""

    test: Literal["wilcoxon", "mannwhitney", "ttest", "welch", "permutation"] = (
        "mannwhitney"
    )
    correction: Literal["holm", "bonferroni", "bh", "none"] = "holm"
    paired_by: Literal["task"] | None = None
    effect: Literal["cohen_d", "cliffs_delta"] = "cohen_d"
    alternative: Literal["two-sided", "less", "greater"] = "two-sided"


class Analysis(_Strict):
    """One question: which groups, on which tasks, by which score."""

    name: str = Field(min_length=1, max_length=200)
    project: str | None = None
    runs: RunFilter = RunFilter()
    score: Score
    group: str
    task: str | None = None
    replicate: str = "run_path"
    normalize: Normalize = Normalize()
    optimal_scores: dict[str, float] = {}
    statistics: tuple[Statistic, ...] = ("iqm", "mean", "median")
    interval: Interval = Interval()
    comparison: Comparison = Comparison()
    curves: tuple[str, ...] = ()
    """Metrics whose learning curves the report shows; the score's metric if empty."""
    target_score: float | None = None
    """A score, normalized: after how many steps is it reached?"""

    @model_validator(mode="after")
    def _optima_have_a_place(self) -> Self:
        method = self.normalize.method
        has_gap = "optimality_gap" in self.statistics and bool(self.optimal_scores)
        if has_gap and method not in ("none", "bounds"):
            msg = (
                f"statistic optimality_gap cannot use optimal_scores with normalize "
                f"method {method}, whose scale comes from the data; use bounds or none"
            )
            raise ValueError(msg)
        if self.interval.method == "bca" and self.interval.level == "tasks":
            msg = "interval.method bca has no level tasks; use corrected or percentile"
            raise ValueError(msg)
        return self


class MetricRole(_Strict):
    """Which metrics play a part in the diagnosis, and which direction is good."""

    match: tuple[str, ...] | None = None
    """Names and wildcards; those that ship where null."""
    direction: Literal["lower", "higher", "none"] | None = None
    """What ships where null."""


class Diagnostics(_Strict):
    """Which rules look at every run, from where on they fire, and at which metrics."""

    select: tuple[str, ...] = ("RUN",)
    """Codes, beginnings of codes, names of rules or families."""
    ignore: tuple[str, ...] = ()
    thresholds: dict[str, dict[str, float]] = {}
    """By code or name of a rule, on top of those that ship."""
    metrics: dict[str, MetricRole] = {}


class WandbPublication(_Strict):
    """Where results go in W&B."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "metta-analysis"
    entity: str | None = None


class Publish(_Strict):
    """What leaves the project."""

    wandb: WandbPublication = WandbPublication()


class Rewards(_Strict):
    """Which metrics are rewards, and which of training stand beside them."""

    components: tuple[str, ...] = ()
    """Names, wildcards, @groups; metrics with one of ``words`` where empty."""
    words: tuple[str, ...] = ("reward", "rewards", "score", "scores")
    weights: dict[str, float] = {}
    """The ledger: weight of each component in the total."""
    total: str | None = None
    """The logged total, which the ledger is held against."""
    success_rates: tuple[
        Annotated[str, Field(pattern=r"^[^{}]*\{task\}[^{}]*$")], ...
    ] = ("{task}/success_rate", "success_rate/{task}")
    """Names of success rates; ``{task}`` stands for the task."""
    training: tuple[str, ...] = (
        "loss/mean",
        "loss/std",
        "benchmark/loss",
        "entropy/mean",
        "entropy/median",
        "inference_probs/mean",
        "trainer_probs/mean",
        "perf/throughput",
        "perf/mfu",
        "optim/lr",
        "optim/grad_norm",
    )
    """Metrics of training; ``diagnostics.metrics`` says which direction is good."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """Of the trends' intervals."""


class Schedule(_Strict):
    """When the nightly refresh runs."""

    cron: str = "0 2 * * *"
    timezone: str = "UTC"


class Config(_Strict):
    """The whole of ``run_assets.yaml``; ``root`` is the folder it lies in."""

    root: Path = Field(exclude=True)
    data_dir: Path = Path("data")
    sources: tuple[Source, ...] = ()
    first_day: date = date(2020, 1, 1)
    lock_timeout: float = Field(3600, ge=0)
    """Seconds that a Dagster run waits for another refresh to end."""
    metric_groups: dict[str, tuple[str, ...]] = {}
    constants: dict[str, float] = {}
    derived_metrics: dict[str, str] = {}
    curve_metrics: tuple[str, ...] = ("*",)
    """Metrics with curves on a grid: names, wildcards, @groups."""
    curves: Curves | None = None
    """Which training curves are predicted, from what; none where null."""
    analyses: tuple[Analysis, ...] = ()
    rewards: Rewards = Rewards()
    diagnostics: Diagnostics = Diagnostics()
    evaluations: Evaluations = Evaluations()
    publish: Publish = Publish()
    schedule: Schedule = Schedule()

    @field_validator("curves", mode="before")
    @classmethod
    def _curves_are_no_list(cls, given: Any) -> Any:
        if isinstance(given, list | tuple):
            msg = "it says what to predict; a list of metrics belongs to curve_metrics"
            raise ValueError(msg)  # noqa: TRY004  # pydantic shows it as the key's error
        return given

    @field_validator("analyses")
    @classmethod
    def _names_are_unique(cls, given: tuple[Analysis, ...]) -> tuple[Analysis, ...]:
        names = [analysis.name for analysis in given]
        if twice := {name for name in names if names.count(name) > 1}:
            msg = f"analyses must have names of their own, got twice: {sorted(twice)}"
            raise ValueError(msg)
        return given

    @property
    def data_path(self) -> Path:
        """The data folder, absolute."""
        return self.root / self.data_dir.expanduser()


class Origin(NamedTuple):
    """Where a value came from.

    Attributes:
        key: Dotted key.
        value: As text.
        origin: ``flag``, ``environment VARIABLE``, the file's path or ``default``.
    """

    key: str
    value: str
    origin: str


class _Layer(NamedTuple):
    origin: str
    values: dict[str, Any]


def find_config_file(start: Path) -> Path:
    """``run_assets.yaml`` in a folder or the nearest parent that has one.

    Raises:
        NotFoundError: There is none.
    """
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    msg = (
        f"no {FILE_NAME} in {start} or any folder above it; "
        "create one with `run-assets init FOLDER` or name it with --config"
    )
    raise NotFoundError(msg)


def config_file(path: str | Path | None = None) -> Path:
    """The config file that counts: flag, ``RUN_ASSETS_CONFIG``, or by searching."""
    named = path or os.environ.get(f"{PREFIX}CONFIG")
    if not named:
        return _nearest_config_file()
    found = Path(named).expanduser().absolute()
    found = found / FILE_NAME if found.is_dir() else found
    if not found.is_file():
        msg = f"no config file at {found}; create one with `run-assets init FOLDER`"
        raise NotFoundError(msg)
    return found


def _nearest_config_file() -> Path:
    """By searching; Dagster's own processes may run elsewhere, with DAGSTER_HOME."""
    home = os.environ.get("DAGSTER_HOME")
    try:
        return find_config_file(Path.cwd())
    except NotFoundError:
        if home and (Path(home) / FILE_NAME).is_file():
            return Path(home).absolute() / FILE_NAME
        raise


def load_config(
    path: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> Config:
    """Read and check the configuration.

    Args:
        path: The file or its folder; searched for where ``None``.
        flags: Dotted keys that win over everything else.

    Raises:
        NotFoundError: There is no config file.
        UsageError: A key or a value is wrong; the message lists each of them.
    """
    file = config_file(path)
    merged: dict[str, Any] = {}
    for layer in reversed(_layers(file, flags or {})):
        merged = _merge(merged, layer.values)
    if "?" in str(file.parent):
        msg = (
            f"{file.parent} has a `?` in its path, which SQLite and DuckDB take for "
            "the start of options; rename the folder"
        )
        raise UsageError(msg)
    if "root" in merged:
        msg = f"{file}: unknown key root; it is the folder of the file itself"
        raise UsageError(msg)
    try:
        return Config(**merged, root=file.parent)
    except ValidationError as error:
        raise UsageError(explain(error, file)) from None


def origins(
    path: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> list[Origin]:
    """Each value of the configuration and where it came from, secrets masked."""
    file = config_file(path)
    config = load_config(path, flags)
    layers = [
        (one.origin, dict(_flat(one.values))) for one in _layers(file, flags or {})
    ]
    rows = [
        Origin(key, _shown(value), _origin_of(key, layers))
        for key, value in _flat(config.model_dump(mode="json"))
    ]
    environment = environment_of(file.parent)
    secrets = [
        Origin(name, "****", f"environment {name}")
        for name in (*SECRETS, *_connections(config))
        if environment.get(name)
    ]
    return rows + secrets


def _layers(file: Path, flags: Mapping[str, Any]) -> list[_Layer]:
    environment = environment_of(file.parent)
    layers = [
        _Layer("flag", _nested(key.split("."), value)) for key, value in flags.items()
    ]
    if environment.get("DISABLE_WANDB", "").lower() in ("1", "true", "yes"):
        layers.insert(0, _wandb_layer("DISABLE_WANDB", "mode", "disabled"))
    elif environment.get("ENABLE_WANDB", "").lower() in ("1", "true", "yes"):
        layers.append(_wandb_layer("ENABLE_WANDB", "mode", "online"))
    for name, value in sorted(environment.items()):
        keys = name.removeprefix(PREFIX).lower().split("__")
        is_setting = keys[0] in Config.model_fields and keys[0] != "root"
        if name.startswith(PREFIX) and is_setting:
            nested = _nested(keys, _parse(value, f"environment {name}"))
            layers.append(_Layer(f"environment {name}", nested))
    for name, key in (("WANDB_PROJECT", "project"), ("WANDB_ENTITY", "entity")):
        if value := environment.get(name, ""):
            layers.append(_wandb_layer(name, key, value))
    return [*layers, _Layer(str(file), read_values(file))]


def _connections(config: Config) -> list[str]:
    """Variables that hold the addresses of databases, passwords included."""
    sources = config.evaluations.sources
    named = [one for one in sources if not isinstance(one, WandbRunResults)]
    return sorted({RESULTS_URL, *(one.connection for one in named)})


def environment_of(folder: Path) -> dict[str, str]:
    """The environment of a lab: what ``.env`` says, and what is set, which wins."""
    given = {**dotenv_values(folder / ".env"), **os.environ}
    return {name: value for name, value in given.items() if value}


def adopt_environment(folder: Path) -> None:
    """Let the SDK see what ``.env`` says of W&B; what is set already wins."""
    for name, value in dotenv_values(folder / ".env").items():
        if name.startswith("WANDB_") and value:
            os.environ.setdefault(name, value)


def _wandb_layer(variable: str, key: str, value: str) -> _Layer:
    return _Layer(f"environment {variable}", {"publish": {"wandb": {key: value}}})


def read_values(file: Path) -> dict[str, Any]:
    """Keys and values of a YAML file.

    Raises:
        UsageError: It cannot be read, or holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file} cannot be read: {error}"
        raise UsageError(msg) from None
    values = _parse(text, str(file))
    if values is None:
        return {}
    if not isinstance(values, dict):
        msg = f"{file} must hold keys and values, got a {type(values).__name__}"
        raise UsageError(msg)
    return values


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        msg = f"{where} is not valid YAML: {error}"
        raise UsageError(msg) from None


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return value  # type: ignore[no-any-return]  # keys is never empty


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _origin_of(key: str, layers: list[tuple[str, dict[str, Any]]]) -> str:
    for origin, flat in layers:
        if any(key == known or known.startswith(f"{key}.") for known in flat):
            return origin
    return "default"


def _shown(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()


def explain(
    error: ValidationError, where: object, model: type[BaseModel] = Config
) -> str:
    """What is wrong with the values of a model, one line each."""
    lines = [f"{where}: {_explain_one(one, model)}" for one in error.errors()]
    return "\n".join(lines)


def _explain_one(one: Any, model: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in one["loc"])
    if one["type"] == "extra_forbidden":
        known = _keys_at(model, one["loc"][:-1])
        return f"unknown key {place}{did_you_mean(str(one['loc'][-1]), known)}"
    if one["type"] == "missing":
        return f"{place} is missing"
    if not place:  # a rule about several keys together
        return str(one["msg"])
    return f"{place}: {one['msg']}, got {reprlib.repr(one['input'])}"


def _keys_at(model: Any, place: tuple[str | int, ...]) -> list[str]:
    for part in place:
        if isinstance(part, int):
            continue
        model = _model_of(model.model_fields[part].annotation)
    return [name for name in model.model_fields if name != "root"]


def _model_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_model_of(one) for one in getattr(annotation, "__args__", ())]
    return next((one for one in inner if one is not None), None)
