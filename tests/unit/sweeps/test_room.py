from run_assets.sweeps.room import Room
from tests.support.sweeps import toy


def test_a_model_is_full_at_its_limit() -> None:
    room = Room(toy(max_concurrent_per_model={"a": 2}), [("a", None, 1)])

    assert room.admits("a")
    room.take("a")
    assert not room.admits("a")
    assert room.admits("b")
    assert room.full == ["a"]


def test_the_server_with_most_room_is_taken() -> None:
    servers = [
        {"name": "small", "models": ["a"]},
        {"name": "big", "address": "http://big:1", "max_concurrent_processes": 3},
    ]
    room = Room(toy(server_configs=servers), [("b", "big", 1)])

    taken = []
    while room.admits("a"):
        server = room.take("a")
        assert server
        taken.append(server.place)
    assert taken == ["http://big:1", "small", "http://big:1"]
    assert not room.admits("b")
    assert room.full == ["a", "b"]


def test_without_limits_there_is_always_room() -> None:
    room = Room(toy(), [("a", None, 900)])
    assert room.admits("a")
    assert room.take("a") is None
    assert room.affordable is None
