"""Built like make: a file is rewritten exactly when what it is made from differs.

What a file is made from is one digest: its contract, its code, the config it used and
the digests of its input files.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from run_assets.contracts.table import Table
from run_assets.contracts.tables import table
from run_assets.digests import digest_of
from run_assets.store.lake import Header, Lake, Part

Inputs = Mapping[str, list[Part]]


@dataclass(frozen=True)
class Recipe:
    """How a table is made, as far as its digest is concerned.

    Attributes:
        table: Address of the table.
        reads: Stored tables it is made from.
        code: The SQL text, or a version that changes with the Python code.
        config: The part of the configuration it uses, as JSON.
    """

    table: str
    reads: tuple[str, ...]
    code: str
    config: Any = None

    @property
    def digest(self) -> str:
        """Digest of everything but the inputs."""
        return digest_of(table(self.table).digest, self.code, self.config)


@dataclass(frozen=True)
class Build:
    """One file that has to be written.

    Attributes:
        part: Where it goes.
        inputs: The parts of each table it is made from.
        digest: What it will say it was made from.
        config: What ``Recipe.config`` or the part's own settings were.
    """

    part: Part
    inputs: Inputs
    digest: str
    first_part: int
    config: Any = field(default=None, compare=False)


PartConfig = Callable[[Part], Any]


def builds(
    lake: Lake, recipe: Recipe, part_config: PartConfig | None = None
) -> list[Build]:
    """Every file the table should consist of, whether stale or not."""
    headers = {name: _headers(lake, name) for name in recipe.reads}
    return [
        _build(recipe, part, first, headers, part_config)
        for part, first in _outputs(table(recipe.table), headers)
    ]


def stale(lake: Lake, wanted: list[Build]) -> Iterator[Build]:
    """The files that are missing, damaged or made from something else."""
    for build in wanted:
        header = lake.header(build.part)
        if header is None or header.digest != build.digest:
            yield build


def make(
    lake: Lake,
    recipe: Recipe,
    compute: Callable[[Build], pl.DataFrame],
    part_config: PartConfig | None = None,
) -> int:
    """Write the stale files of a table, delete those nothing stands for any more.

    Returns:
        How many files were written.
    """
    wanted = builds(lake, recipe, part_config)
    count = 0
    for build in stale(lake, wanted):
        lake.write(
            build.part,
            compute(build),
            digest=build.digest,
            code=recipe.digest,
            first_part=build.first_part,
        )
        count += 1
    for part in set(lake.parts(recipe.table)) - {build.part for build in wanted}:
        lake.delete(part)
    return count


def _headers(lake: Lake, name: str) -> dict[Part, Header]:
    found = {part: lake.header(part) for part in lake.parts(name)}
    return {part: header for part, header in found.items() if header}


def _outputs(
    contract: Table, headers: Mapping[str, Mapping[Part, Header]]
) -> list[tuple[Part, int]]:
    """The parts that a table has, given those of its inputs, and their first parts."""
    if not contract.is_partitioned:
        return [(Part(contract.name), 0)]
    first_parts: dict[Part, int] = {}
    for name, found in headers.items():
        if not table(name).is_partitioned:
            continue
        for part, header in found.items():
            if contract.layout == "points" or header.first_part == part.number:
                first_parts[part.of(contract.name)] = header.first_part
    return sorted(first_parts.items())


def _build(
    recipe: Recipe,
    part: Part,
    first_part: int,
    headers: Mapping[str, Mapping[Part, Header]],
    part_config: PartConfig | None,
) -> Build:
    inputs = {
        name: [
            one
            for one, header in found.items()
            if _feeds(one, header, part, first_part)
        ]
        for name, found in headers.items()
    }
    config = part_config(part) if part_config else recipe.config
    digests = {
        name: [headers[name][one].digest for one in parts]
        for name, parts in inputs.items()
    }
    return Build(
        part, inputs, digest_of(recipe.digest, config, digests), first_part, config
    )


def _feeds(source: Part, header: Header, target: Part, first_part: int) -> bool:
    """A part of a partitioned table is made from the parts that hold the same runs."""
    if not table(target.table).is_partitioned or not table(source.table).is_partitioned:
        return True
    if (source.project_slug, source.day) != (target.project_slug, target.day):
        return False
    if table(source.table).layout == table(target.table).layout == "points":
        return source.number == target.number
    return header.first_part == first_part
