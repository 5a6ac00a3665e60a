"""Starting the SDK's process, and what its answers mean."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any

from run_assets.errors import AuthenticationError, SourceError, TryAgainError
from run_assets.publish import wandb_run
from run_assets.publish.wandb_run import IN_FLIGHT, staging

# What an online run may take from the environment; everything else, such as a
# training job's WANDB_RUN_ID, is about another run.
_ONLINE_VARIABLES = {
    *("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_CONFIG_DIR", "WANDB_CREDENTIALS_FILE"),
    *("WANDB_HTTP_TIMEOUT", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_INIT_TIMEOUT"),
    "WANDB_INSECURE_DISABLE_SSL",
}


class GarbledAnswerError(TryAgainError):
    """The server answered something that no W&B server says, or lost what it took."""


class BusyError(TryAgainError):
    """The server answered at first, and then it did not for a long time."""


def log_run(
    folder: Path, run_id: str, *, where: str, mode: str, timeout: float
) -> dict[str, Any]:
    """Log the run that is staged in a folder.

    Args:
        folder: As in ``Target``.
        run_id: Of the run to log.
        where: Entity and project, for messages.
        mode: ``offline`` or ``online``.
        timeout: Seconds after which the process is killed.

    Raises:
        AuthenticationError: W&B wants a key, or another one.
        TryAgainError: W&B cannot be reached or did not answer in time.
        SourceError: W&B or the disk refused.
    """
    # The child ends with us, even by a kill: it watches the other end of this pipe.
    # The SDK's service process ends with the child.
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603  # our own module, no shell
            [*_COMMAND, str(folder), str(read_end)],
            cwd=folder,
            env=environment(folder, run_id, mode),
            pass_fds=(read_end,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        os.close(read_end)
        try:
            out, err = process.communicate(timeout=max(timeout, 0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            msg = (
                f"W&B did not take the run for {where} in time; nothing counts as "
                "published, run `run-assets publish` later or publish offline"
            )
            raise TryAgainError(msg) from None
    finally:
        os.close(write_end)
    answer = _answer(process.returncode, out, err)
    if "error" in answer:
        raise _error(answer["error"], without_keys(answer["message"]), where, mode)
    return answer


_COMMAND = (sys.executable, "-P", "-m", wandb_run.__name__)


def _answer(code: int, out: str, err: str) -> dict[str, Any]:
    try:
        found = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        text = f"exit code {code}: {err[-1_000:].strip()}"
        return {"error": "failed", "message": text}
    return found if isinstance(found, dict) else {"error": "failed", "message": out}


def _error(kind: str, text: str, where: str, mode: str) -> SourceError:
    if kind == "key":
        msg = (
            f"W&B refused to publish to {where}: {text}; set WANDB_API_KEY or run "
            "`wandb login`, or set publish.wandb.mode to offline"
        )
        return AuthenticationError(msg)
    if kind == "forbidden":
        msg = (
            f"this W&B key may not publish to {where}: {text}; check "
            "publish.wandb.entity and publish.wandb.project, or ask for write access"
        )
        return AuthenticationError(msg)
    if kind == "unreachable":
        msg = (
            f"no way to W&B: {text}; nothing counts as published, check the network "
            "and WANDB_BASE_URL, or set publish.wandb.mode to offline"
        )
        return TryAgainError(msg)
    ends = "nothing counts as published, `run-assets publish` tries again"
    if kind in ("busy", "garbled"):
        msg = f"W&B did not take the run for {where}: {text}; {ends}"
        return BusyError(msg) if kind == "busy" else GarbledAnswerError(msg)
    msg = f"publishing to W&B project {where} ({mode}) failed: {text}; {ends}"
    return SourceError(msg)


def environment(folder: Path, run_id: str, mode: str) -> dict[str, str]:
    """What the SDK's process may know of ours, and where it may write."""
    kept = _ONLINE_VARIABLES if mode == "online" else set()
    given = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WANDB_") or name in kept
    }
    ours = {
        # The API makes a folder there for each run that it looks at; our own run's
        # place is among the child's settings.
        "WANDB_DIR": folder / IN_FLIGHT,
        "WANDB_CACHE_DIR": folder / IN_FLIGHT / "cache",
        "WANDB_DATA_DIR": staging(folder, run_id),
        "WANDB_ARTIFACT_DIR": folder / IN_FLIGHT / "artifacts",
        "WANDB_ERROR_REPORTING": "false",
    }
    if mode == "offline":
        ours["WANDB_CONFIG_DIR"] = folder / IN_FLIGHT / "config"
    return {**given, **{name: str(value) for name, value in ours.items()}}


def without_keys(text: str) -> str:
    """The text without any key that W&B could have been given."""
    keys = [os.environ.get("WANDB_API_KEY")]
    with contextlib.suppress(OSError, NetrcParseError):
        file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
        keys += [password for _, _, password in netrc(file).hosts.values()]
    for key in keys:
        text = text.replace(key, "****") if key else text
    return text
