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
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

ARTIFACT = "processed_runs"
ABOUT = "publication.json"
"""File of the artifact that says of which publication it is."""
IN_FLIGHT = ".publishing"
"""Folder with what is being published; it marks a publication as unfinished."""

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def staging(folder: Path, run_id: str) -> Path:
    """Copies of the artifacts' files; an offline run needs them until it is synced."""
    return folder / "staging" / run_id


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
    from run_assets.publish.wandb_server import REFUSALS, kind_of

    spec = read_json(folder / IN_FLIGHT / "spec.json")
    try:
        answer = _publish(spec, folder)
    except REFUSALS as error:
        answer = {"error": kind_of(error), "message": str(error) or repr(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    if "error" in answer:
        # At a usual end the SDK would finish the run as if it were whole.
        os._exit(1)
    return 0


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


def _publish(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    if spec["mode"] == "offline":
        return _log_run(spec, folder)
    from run_assets.publish import wandb_kept
    from run_assets.publish import wandb_server as server

    api = server.log_in()
    entity = spec["entity"] or server.insist(lambda: api.viewer).entity
    project = f"{entity}/{spec['project']}"
    known = server.existing(api, f"{project}/{ARTIFACT}", spec["metadata"])
    if known and wandb_kept.keeps(api, known, spec, folder / IN_FLIGHT):
        answer = {**_found(known), "folder": str(folder), "inputs": 0}
    else:
        answer = _log_run(spec, folder, api)
        wandb_kept.check(api, answer["run_path"], spec, folder / IN_FLIGHT)
    for one in spec["leftovers"]:
        path = f"{one['entity'] or entity}/{one['project']}/{one['run_id']}"
        if path != answer["run_path"]:
            server.discard(api, path)
    return answer


def _found(run: Any) -> dict[str, Any]:
    return {"run_path": "/".join(run.path), "url": run.url}


def _log_run(
    spec: Mapping[str, Any], folder: Path, api: Any | None = None
) -> dict[str, Any]:
    run = _begun(spec, folder)
    marker = folder / IN_FLIGHT
    used = _use(api, run, spec["inputs"]) if api else 0
    tables = {safe(key): _table(marker / one) for key, one in spec["tables"].items()}
    images = {
        safe(key): _image(run, safe(key), marker / one)
        for key, one in spec["images"].items()
    }
    if tables or images:
        run.log({**tables, **images})
    if spec["files"]:
        aliases = [spec["alias"]] if spec["alias"] else []
        logged = run.log_artifact(_artifact(spec, marker), aliases=aliases)
        if api:
            logged.wait()
    run.summary.update(spec["summary"])
    answer = {"run_path": run.path, "url": run.url if api else None, "inputs": used}
    answer["folder"] = str(Path(run.dir).parent)
    run.finish()
    return answer


def _begun(spec: Mapping[str, Any], folder: Path) -> Any:
    import wandb

    from run_assets.publish.wandb_server import RefusedRunError

    try:
        return wandb.init(
            project=spec["project"],
            entity=spec["entity"],
            name=spec["name"],
            job_type="analysis",
            config=spec["config"],
            settings=sdk_settings(spec, folder),
        )
    except wandb.errors.CommError as error:
        raise RefusedRunError(str(error)) from error


def _use(api: Any, run: Any, inputs: list[dict[str, Any]]) -> int:
    from run_assets.publish import wandb_server as server

    found = [server.resolved(api, one, run.entity, run.url) for one in inputs]
    artifacts = [one for one in found if one is not None]
    for artifact in artifacts:
        server.insist(partial(run.use_artifact, artifact))
    return len(artifacts)


def _artifact(spec: Mapping[str, Any], marker: Path) -> Any:
    """The dataset; a file that no other version has keeps W&B from merging them.

    Otherwise content that was seen before would give that version, with the metadata
    and the run that it had then.
    """
    import wandb

    artifact = wandb.Artifact(ARTIFACT, type="dataset", metadata=spec["metadata"])
    for name, path in spec["files"].items():
        artifact.add_file(path, name=safe(name))
    about = marker / ABOUT
    text = json.dumps({**spec["metadata"], "run_id": spec["run_id"]}, indent=1)
    about.write_text(text, encoding="utf-8")
    artifact.add_file(str(about), name=ABOUT)
    return artifact


def sdk_settings(spec: Mapping[str, Any], folder: Path) -> Any:
    """Of a run: only what we log, and all of it below the folder.

    Args:
        spec: With ``mode`` and ``run_id``.
        folder: Where runs go.
    """
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


def safe(key: str) -> str:
    """A key that is safe as a path; names that differ never meet.

    >>> safe("plots/iqm"), safe("../x")
    ('plots/iqm', 'x-d6b96a97')
    """
    if _SAFE.fullmatch(key) and len(key) <= 100:
        return key
    digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", key).strip("-")[:80]
    return f"{readable}-{digest}".strip("-")


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), int(sys.argv[2])))
