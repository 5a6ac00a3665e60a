"""The process in which the SDK runs: it logs one W&B run and says where it lies.

Started by ``run_assets.publish.wandb`` with a folder that holds what is to be logged.
"""

import json
import os
import re
import struct
import sys
import threading
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

ARTIFACT = "processed_runs"
IN_FLIGHT = ".publishing"
"""Folder with what is being published; it marks a publication as unfinished."""

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def run_root(folder: Path) -> Path:
    """The SDK puts runs into a folder ``wandb`` of this one."""
    return folder.parent if folder.name == "wandb" else folder


def read_json(path: Path) -> dict[str, Any]:
    """What a file holds; nothing where it is missing or was cut off by a kill."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def main(folder: Path, lifeline: int) -> int:
    """Log the run that the folder describes; ends with the parent."""
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    import wandb

    spec = read_json(folder / IN_FLIGHT / "spec.json")
    try:
        answer = _log_run(spec, folder)
    except (wandb.errors.Error, OSError, ValueError, TypeError) as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return int("error" in answer)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


def _log_run(spec: Mapping[str, Any], folder: Path) -> dict[str, str]:
    import wandb

    run = wandb.init(
        project=spec["project"],
        entity=spec["entity"],
        name=spec["name"],
        job_type="analysis",
        config=spec["config"],
        settings=_settings(spec, folder),
    )
    marker = folder / IN_FLIGHT
    tables = {_safe(key): _table(marker / one) for key, one in spec["tables"].items()}
    images = {
        _safe(key): _image(run, _safe(key), marker / one)
        for key, one in spec["images"].items()
    }
    if tables or images:
        run.log({**tables, **images})
    if spec["files"]:
        artifact = wandb.Artifact(ARTIFACT, type="dataset")
        for name, path in spec["files"].items():
            artifact.add_file(path, name=_safe(name))
        logged = run.log_artifact(artifact)
        if spec["mode"] == "online":
            logged.wait()
    run.summary.update(spec["summary"])
    answer = {"run_path": run.path, "folder": str(Path(run.dir).parent)}
    run.finish()
    return answer


def _settings(spec: Mapping[str, Any], folder: Path) -> Any:
    import wandb

    return wandb.Settings(
        mode=spec["mode"],
        run_id=spec["run_id"],
        root_dir=str(run_root(folder)),
        use_dot_wandb=False,
        console="off",
        silent=True,
        save_code=False,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


def _table(path: Path) -> Any:
    import wandb

    frame = pl.read_parquet(path, glob=False)
    rows = [[_cell(value) for value in row] for row in frame.iter_rows()]
    return wandb.Table(columns=frame.columns, data=rows, allow_mixed_types=True)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return (
        json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)
    )


def _image(run: Any, key: str, path: Path) -> dict[str, Any]:
    """Store a PNG file and describe it as ``wandb.Image`` does, which needs Pillow."""
    image = path.read_bytes()
    digest = sha256(image).hexdigest()
    name = f"media/images/{key}_0_{digest[:20]}.png"
    stored = Path(run.dir, name)
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes(image)
    run.save(str(stored), base_path=run.dir, policy="now")
    width, height = struct.unpack(">II", image[16:24])
    return {
        "_type": "image-file",
        "sha256": digest,
        "size": len(image),
        "path": name,
        "format": "png",
        "width": width,
        "height": height,
    }


def _safe(key: str) -> str:
    """A key that is safe as a path; names that differ never meet.

    >>> _safe("plots/iqm"), _safe("../x")
    ('plots/iqm', 'x-d6b96a97')
    """
    if _SAFE.fullmatch(key) and len(key) <= 100:
        return key
    digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", key).strip("-")[:80]
    return f"{readable}-{digest}".strip("-")


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), int(sys.argv[2])))
