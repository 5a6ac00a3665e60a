"""Short digests of values and of code: they decide what is made again."""

import json
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def digest_of(*values: Any) -> str:
    """A short digest of JSON-like values.

    >>> digest_of("a", 1) == digest_of("a", 1) != digest_of("a1")
    True
    """
    text = json.dumps(values, sort_keys=True, default=str)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


@cache
def code_digest_of(*modules: str) -> str:
    """Digest of the source text of modules, and of all modules of packages.

    Templates in a package count, too.

    >>> code_digest_of("run_assets.digests") == code_digest_of("run_assets.errors")
    False
    """
    texts = [file.read_bytes() for name in modules for file in _files(name)]
    return sha256(b"\0".join(texts)).hexdigest()[:24]


def _files(name: str) -> list[Path]:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    file = Path(spec.origin)
    if file.name != "__init__.py":
        return [file]
    return sorted(
        one for kind in ("py", "jinja") for one in file.parent.rglob(f"*.{kind}")
    )
