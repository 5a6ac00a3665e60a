"""Maps: rooms, doors, objects and walls on a grid, from a few numbers and a seed."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from run_assets.errors import UsageError

TileGrid = NDArray[np.int8]


class Tile(IntEnum):
    """What one cell of a map is; everything but a wall can be walked on."""

    FLOOR = 0
    MINE = 1
    GENERATOR = 2
    ALTAR = 3
    WALL = 4


@dataclass(frozen=True, kw_only=True)
class MapParameters:
    """What a map is drawn from; ``width`` and ``height`` include the outer wall."""

    width: int
    height: int
    num_rooms: int
    num_mines: int
    num_generators: int
    num_altars: int
    num_walls: int
    seed: int


class Room(NamedTuple):
    """The inside of a room: its first row and column, and its size in cells."""

    top: int
    left: int
    height: int
    width: int


def build_map(parameters: MapParameters) -> TileGrid:
    """Draw a map on which every cell that is no wall can be reached from any other.

    The same seed with more walls gives the same map with walls added: rooms and
    objects are drawn first.

    Returns:
        Tiles of shape ``(height, width)``, enclosed by walls.

    Raises:
        UsageError: The map is too small for what it should hold.
    """
    rng = np.random.default_rng(parameters.seed)
    tiles = np.full((parameters.height, parameters.width), Tile.WALL, dtype=np.int8)
    tiles[1:-1, 1:-1] = Tile.FLOOR
    _divide_into_rooms(tiles, parameters.num_rooms, rng)
    _place_objects(tiles, parameters, rng)
    _scatter_walls(tiles, parameters.num_walls, rng)
    return tiles


def is_connected(walkable: NDArray[np.bool_]) -> bool:
    """Whether every walkable cell can be reached from any other.

    Args:
        walkable: Shape ``(height, width)``; steps go to the four neighbours.

    >>> is_connected(np.array([[True, False, True]]))
    False
    >>> is_connected(np.array([[True, True, False]]))
    True
    """
    reached = np.zeros_like(walkable)
    reached.flat[np.argmax(walkable)] = True
    while True:
        grown = _with_neighbours(reached) & walkable
        if np.array_equal(grown, reached):
            return np.array_equal(reached, walkable)
        reached = grown


def _with_neighbours(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grown = cells.copy()
    grown[1:] |= cells[:-1]
    grown[:-1] |= cells[1:]
    grown[:, 1:] |= cells[:, :-1]
    grown[:, :-1] |= cells[:, 1:]
    return grown


def _divide_into_rooms(
    tiles: TileGrid, num_rooms: int, rng: np.random.Generator
) -> None:
    """Halve the largest room that can be halved until there are enough."""
    height, width = tiles.shape
    rooms = [Room(1, 1, height - 2, width - 2)]
    while len(rooms) < num_rooms:
        rooms.sort(key=lambda room: room.height * room.width, reverse=True)
        for room in rooms:
            if halves := _halve(tiles, room, rng):
                rooms.remove(room)
                rooms.extend(halves)
                break
        else:
            msg = (
                f"a map of {width} x {height} cells holds only {len(rooms)} of "
                f"{num_rooms} rooms; ask for fewer rooms or a larger map"
            )
            raise UsageError(msg)


def _halve(
    tiles: TileGrid, room: Room, rng: np.random.Generator
) -> tuple[Room, Room] | None:
    """Build a wall with one door across a room's longer side, near its middle."""
    top, left, height, width = room
    if height > width:
        halves = _halve(tiles.T, Room(left, top, width, height), rng)
        return halves and (_transposed(halves[0]), _transposed(halves[1]))
    # A wall that ends at another wall's door would close that door.
    columns = [
        column
        for column in range(left + 1, left + width - 1)
        if tiles[top - 1, column] == tiles[top + height, column] == Tile.WALL
    ]
    if not columns:
        return None
    wall = min(columns, key=lambda column: abs(2 * column - (2 * left + width - 1)))
    tiles[top : top + height, wall] = Tile.WALL
    tiles[top + rng.integers(height), wall] = Tile.FLOOR
    return (
        Room(top, left, height, wall - left),
        Room(top, wall + 1, height, left + width - wall - 1),
    )


def _transposed(room: Room) -> Room:
    return Room(room.left, room.top, room.width, room.height)


def _place_objects(
    tiles: TileGrid, parameters: MapParameters, rng: np.random.Generator
) -> None:
    objects = np.repeat(
        [Tile.MINE, Tile.GENERATOR, Tile.ALTAR],
        [parameters.num_mines, parameters.num_generators, parameters.num_altars],
    )
    floor = rng.permutation(np.flatnonzero(tiles == Tile.FLOOR))
    if len(floor) < len(objects):
        msg = (
            f"a map of {parameters.width} x {parameters.height} cells has room for "
            f"{len(floor)} of {len(objects)} objects; ask for fewer or a larger map"
        )
        raise UsageError(msg)
    tiles.flat[floor[: len(objects)]] = objects


def _scatter_walls(tiles: TileGrid, num_walls: int, rng: np.random.Generator) -> None:
    """Turn random floor cells into walls, none of which cuts the map in two."""
    placed = 0
    for cell in rng.permutation(np.flatnonzero(tiles == Tile.FLOOR)):
        if placed == num_walls:
            return
        tiles.flat[cell] = Tile.WALL
        if is_connected(tiles != Tile.WALL):
            placed += 1
        else:
            tiles.flat[cell] = Tile.FLOOR
    if placed < num_walls:
        height, width = tiles.shape
        msg = (
            f"a map of {width} x {height} cells is full after {placed} of {num_walls} "
            "walls; ask for fewer walls or a larger map"
        )
        raise UsageError(msg)
