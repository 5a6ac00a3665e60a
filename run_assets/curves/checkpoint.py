"""A model on disk: arrays as safetensors, everything else as JSON, no pickle."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from run_assets.curves.calibration import Calibration
from run_assets.curves.conditioning import Conditioning
from run_assets.curves.encoding import Encoder
from run_assets.curves.environments import EnvironmentEffects
from run_assets.curves.members import MEMBERS, MemberKind
from run_assets.curves.model import CurveModel, Situation
from run_assets.curves.settings import Curves
from run_assets.curves.shapes import Shapes
from run_assets.curves.stack import Stack
from run_assets.curves.targets import TargetScale
from run_assets.errors import ContractError

FORMAT = 1
ARRAYS, ABOUT = "model.safetensors", "model.json"
Arrays = dict[str, np.ndarray[Any, Any]]


def to_bytes(model: CurveModel, told: Mapping[str, Any]) -> tuple[bytes, str]:
    """The two files of a model; the same model gives the same bytes.

    Args:
        model: To be stored.
        told: What people and assets want to know of it, as JSON.

    Returns:
        The content of ``model.safetensors`` and of ``model.json``.
    """
    from safetensors.numpy import save

    arrays: Arrays = {}
    members = {}
    for name, member in model.members.items():
        own, members[name] = member.state()
        arrays |= _prefixed(f"members.{name}", own)
    situations = {"known": model.known, "new": model.new}
    learned = {
        name: _situation_state(one, name, arrays)
        for name, one in situations.items()
        if one is not None
    }
    if model.effects is not None:
        arrays |= _prefixed("effects", model.effects.state()[0])
    state = {
        "format": FORMAT,
        "about": dict(told),
        "settings": model.settings.model_dump(mode="json"),
        "encoders": [encoder.state() for encoder in model.encoders],
        "scale": model.scale.state(),
        "members": members,
        "situations": learned,
        "environments": list(model.environments),
        "left_out": dict(model.left_out),
    }
    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    body = save(ordered)
    state["sha256"] = sha256(body).hexdigest()
    return body, json.dumps(state, indent=1, sort_keys=True) + "\n"


def from_folder(
    folder: Path, kinds: Mapping[str, MemberKind] = MEMBERS
) -> tuple[CurveModel, dict[str, Any]]:
    """The model that lies in a folder, and what was said about it.

    Raises:
        ContractError: The files are damaged, or of a format that is not known.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        state = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        body = (folder / ARRAYS).read_bytes()
        arrays = load(body)
    except (OSError, ValueError, SafetensorError) as error:
        msg = f"the model in {folder} cannot be read: {error}; train it again"
        raise ContractError(msg) from error
    if state.get("format") != FORMAT:
        msg = (
            f"the model in {folder} has format {state.get('format')!r}, this version "
            f"reads {FORMAT}; train it again with `run-assets curves train`"
        )
        raise ContractError(msg)
    if state["sha256"] != sha256(body).hexdigest():
        msg = f"{folder} holds files of two models; train it again"
        raise ContractError(msg)
    return _model(state, arrays, kinds), state["about"]


def about(folder: Path) -> dict[str, Any] | None:
    """What was said about the model of a folder; ``None`` where there is none."""
    try:
        state = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        msg = f"{folder / ABOUT} cannot be read: {error}; train the model again"
        raise ContractError(msg) from error
    told = state.get("about")
    return told if isinstance(told, dict) else {}


def _model(
    state: dict[str, Any], arrays: Arrays, kinds: Mapping[str, MemberKind]
) -> CurveModel:
    situations = {
        name: _situation(told, name, arrays)
        for name, told in state["situations"].items()
    }
    effects = _own("effects", arrays)
    environment, agent = (Encoder.from_state(one) for one in state["encoders"])
    return CurveModel(
        settings=Curves(**state["settings"]),
        encoders=(environment, agent),
        scale=TargetScale.from_state(state["scale"]),
        members={
            name: kinds[name].restore(_own(f"members.{name}", arrays), more)
            for name, more in state["members"].items()
        },
        known=situations["known"],
        new=situations.get("new"),
        effects=EnvironmentEffects.from_state(effects) if effects else None,
        environments=tuple(state["environments"]),
        left_out=state["left_out"],
    )


def _situation_state(one: Situation, name: str, arrays: Arrays) -> dict[str, Any]:
    if one.conditioning is not None:
        arrays.update(_prefixed(f"{name}.conditioning", one.conditioning.state()[0]))
    if one.shapes is not None:
        arrays.update(_prefixed(f"{name}.shapes", one.shapes.state()))
    return {"stack": one.stack.state(), "calibration": one.calibration.state()}


def _situation(told: dict[str, Any], name: str, arrays: Arrays) -> Situation:
    conditioning = _own(f"{name}.conditioning", arrays)
    shapes = _own(f"{name}.shapes", arrays)
    return Situation(
        Stack.from_state(told["stack"]),
        Calibration.from_state(told["calibration"]),
        Conditioning.from_state(conditioning) if conditioning else None,
        Shapes.from_state(shapes) if shapes else None,
    )


def _prefixed(prefix: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
    return {f"{prefix}.{name}": np.asarray(value) for name, value in arrays.items()}


def _own(prefix: str, arrays: Arrays) -> Arrays:
    before = f"{prefix}."
    return {
        name.removeprefix(before): value
        for name, value in arrays.items()
        if name.startswith(before)
    }
