"""What every model of the configuration is: frozen, and unknown keys are errors."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part of ``run_assets.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bounds(Strict):
    """The scores that become 0 and 1 on a task."""

    low: float
    high: float
