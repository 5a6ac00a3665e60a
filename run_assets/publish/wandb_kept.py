"""Reading back what was sent; in the SDK's process.

The SDK takes any page with status 200 for a receipt, and a run whose tables got lost
for a finished one. A publication that counts was seen whole on the server.
"""

import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from run_assets.own_runs import is_own_run
from run_assets.publish.wandb_run import ARTIFACT, safe
from run_assets.publish.wandb_server import NotKeptError, insist


def keeps(api: Any, run: Any, spec: Mapping[str, Any], marker: Path) -> bool:
    """A run that was found has everything that the spec describes."""
    try:
        check(api, "/".join(run.path), spec, marker)
    except NotKeptError:
        return False
    return True


def check(api: Any, run_path: str, spec: Mapping[str, Any], marker: Path) -> None:
    """Read everything back; what is not there yet is given some seconds.

    Raises:
        NotKeptError: Something is missing or differs.
    """
    insist(lambda: _check(api, run_path, spec, marker))


def _check(api: Any, run_path: str, spec: Mapping[str, Any], marker: Path) -> None:
    api.flush()  # it remembers runs as they were
    run = api.run(run_path)
    _expect(f"the end of the run, it is {run.state}", is_kept=run.state == "finished")
    _expect("the run's config", is_kept=is_own_run(run.config))
    logged = list(run.logged_artifacts())
    with tempfile.TemporaryDirectory(dir=marker) as scratch:
        for key in (*spec["tables"], *spec["images"]):
            _check_media(run, safe(key), scratch)
        _check_tables(logged, len(spec["tables"]), Path(scratch, "tables"))
        if spec["files"]:
            _check_files(logged, spec["files"], Path(scratch, "files"))


def _expect(what: str, *, is_kept: bool) -> None:
    if not is_kept:
        raise NotKeptError(what)


def _check_media(run: Any, key: str, scratch: str) -> None:
    """A table or image as the run's page shows it."""
    shown = run.summary.get(key)
    _expect(f"{key!r} in the summary", is_kept=shown is not None)
    digests = [_digest(file, scratch) for file in run.files(names=[shown["path"]])]
    _expect(f"the file of {key!r}", is_kept=digests == [shown["sha256"]])


def _digest(file: Any, scratch: str) -> str:
    with file.download(root=scratch, replace=True) as stored:
        return sha256(Path(stored.name).read_bytes()).hexdigest()


def _check_tables(logged: list[Any], count: int, scratch: Path) -> None:
    tables = [one for one in logged if one.type == "run_table"]
    _expect(f"all {count} tables", is_kept=len(tables) == count)
    for number, artifact in enumerate(tables):
        folder = str(scratch / str(number))
        try:
            artifact.download(root=folder, skip_cache=True)
            artifact.verify(root=folder)
        except (ValueError, OSError) as error:
            msg = f"a table: {error}"
            raise NotKeptError(msg) from error


def _check_files(logged: list[Any], files: Mapping[str, str], scratch: Path) -> None:
    versions = [one for one in logged if one.name.partition(":")[0] == ARTIFACT]
    _expect(f"the artifact {ARTIFACT}", is_kept=bool(versions))
    try:
        folder = Path(versions[-1].download(root=str(scratch), skip_cache=True))
    except (ValueError, OSError) as error:
        msg = f"the artifact {ARTIFACT}: {error}"
        raise NotKeptError(msg) from error
    for name, path in files.items():
        stored, sent = folder / safe(name), Path(path)
        is_kept = stored.is_file() and stored.read_bytes() == sent.read_bytes()
        _expect(f"the file {name!r} of {ARTIFACT}", is_kept=is_kept)
