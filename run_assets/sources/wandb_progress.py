"""How far a file was read, and whether it is still the same file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Self

from run_assets.errors import SourceError
from run_assets.sources.wandb_facts import RunFacts
from run_assets.sources.wandb_found import printable
from run_assets.sources.wandb_log import CHUNK_HEADER, Reason, Skipped

FINGERPRINT_BYTES = 4096
FORMAT = 1
"""Raise it when the same bytes are read differently than before: all is read again."""


@dataclass(frozen=True)
class Progress:
    """How far a file was read, and all that is needed to read on from there.

    Attributes:
        offset: Behind the last whole record, in bytes.
        fingerprint: SHA-256 of the bytes at the start of the file and before `offset`.
        next_step: The step that a row without one would get.
        history_rows: Rows logged before `offset`.
        skipped: What could not be read before `offset`.
        facts: What the records before `offset` say.
    """

    offset: int
    fingerprint: str
    next_step: int
    history_rows: int
    skipped: tuple[Skipped, ...]
    facts: dict[str, Any]

    def to_json(self) -> str:
        """As text; NaN in a config is written bare, as Python reads it again."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        saved = json.loads(text)
        saved["skipped"] = tuple(
            Skipped(offset, size, Reason(reason))
            for offset, size, reason in saved["skipped"]
        )
        return cls(**saved)


def continues(path: Path, after: Progress) -> bool:
    """The file still begins with the bytes that `after` was made of."""
    try:
        with path.open("rb") as stream:
            return fingerprint(stream, after.offset) == after.fingerprint
    except OSError:
        return False


def check_same_file(path: Path, stream: BinaryIO, after: Progress) -> None:
    """Raise if the file is not the one that `after` was made of.

    Raises:
        SourceError: It is shorter, or has other bytes.
    """
    if fingerprint(stream, after.offset) != after.fingerprint:
        message = (
            f"a run file may only grow, got other bytes before byte {after.offset} "
            f"in {printable(path)} than when it was last read; read it whole"
        )
        raise SourceError(message)


def fingerprint(stream: BinaryIO, offset: int) -> str:
    """Of the bytes before `offset`; a shorter file has another one.

    What an older version of this code saved has another one, too, and is not used.
    """
    digest = sha256(json.dumps([FORMAT, *sorted(vars(RunFacts()))]).encode())
    for begin in (0, max(0, offset - FINGERPRINT_BYTES)):
        stream.seek(begin)
        digest.update(stream.read(min(FINGERPRINT_BYTES, offset - begin)))
    return digest.hexdigest()


def merged_losses(found: Sequence[Skipped]) -> list[Skipped]:
    """Neighbours of one reason as one: a stranger's file may have millions of them."""
    merged: list[Skipped] = []
    for loss in found:
        last = merged[-1] if merged else None
        if last and last.reason is loss.reason and _follows(last, loss):
            whole = loss.offset + loss.size_bytes - last.offset
            merged[-1] = Skipped(last.offset, whole, last.reason)
        else:
            merged.append(loss)
    return merged


def _follows(last: Skipped, loss: Skipped) -> bool:
    """Nothing but the padding at the end of a block lies between."""
    return loss.offset - (last.offset + last.size_bytes) < CHUNK_HEADER.size
