"""Whatever managers do, in whatever order they die: one result a trial, all counted."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from run_assets.sweeps import claims
from run_assets.sweeps.attempts import Attempt
from run_assets.sweeps.ledger import Ledger, open_ledger
from tests.support.sweeps import assert_accounted, ended, query, toy_ledger

MANAGERS = 3
ACTIONS = ("claim", "succeed", "fail", "repeat", "die", "leave", "wait")
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, MANAGERS - 1)), max_size=40
)


class World:
    """Managers that share a ledger, and a clock that only moves when told."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.now = ledger, 0.0
        self.ids = [self.joined() for _ in range(MANAGERS)]
        self.held: list[list[Attempt]] = [[] for _ in range(MANAGERS)]
        self.told: list[list[Attempt]] = [[] for _ in range(MANAGERS)]

    def joined(self) -> str:
        return claims.join(self.ledger, self.now, is_resume=False)

    def report(self, who: int, attempts: list[Attempt], **answer: Any) -> None:
        done = [ended(one, self.now, **answer) for one in attempts]
        config = self.ledger.config
        claims.exchange(self.ledger, self.ids[who], config, done, slots=0, now=self.now)

    def act(self, action: str, who: int) -> None:
        match action:
            case "claim":
                claims.reclaim(self.ledger, self.ids[who], self.now)
                self.held[who] += claims.exchange(
                    self.ledger,
                    self.ids[who],
                    self.ledger.config,
                    [],
                    slots=2,
                    now=self.now,
                )
            case "succeed":
                self.told[who] += self.held[who]
                self.report(who, self.held[who], reward=1)
                self.held[who] = []
            case "fail":
                self.report(who, self.held[who], error="no", error_class="busy")
                self.told[who] += self.held[who]
                self.held[who] = []
            case "repeat":  # what was told once is told again, as a success
                self.report(who, self.told[who], reward=9)
            case "die":
                self.ids[who], self.held[who] = self.replaced(who), []
            case "leave":
                claims.leave(self.ledger, self.ids[who], self.now)
                self.ids[who] = self.joined()  # it still reports what it held
            case "wait":
                self.now += claims.LEASE_SECONDS + 1

    def replaced(self, who: int) -> str:
        with self.ledger.transaction() as connection:
            connection.execute(
                "update managers set process = 'gone' where manager_id = ?",
                (self.ids[who],),
            )
        return self.joined()

    def finish(self) -> None:
        """One manager does everything that is left."""
        self.now += claims.LEASE_SECONDS + 1
        while True:
            self.act("claim", 0)
            if not self.held[0]:
                return
            self.act("succeed", 0)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_every_trial_ends_with_one_result_or_as_a_failure(
    steps: list[tuple[str, int]],
) -> None:
    with TemporaryDirectory() as folder:
        with toy_ledger(Path(folder), max_retries=1) as ledger:
            path = ledger.path
            world = World(ledger)
            for action, who in steps:
                world.act(action, who)
            for number, one in enumerate(world.ids[1:], 1):
                claims.leave(ledger, one, world.now)
                world.held[number] = []
            world.held[0] = []
            claims.leave(ledger, world.ids[0], world.now)
            world.ids[0] = world.joined()
            world.finish()
            claims.leave(ledger, world.ids[0], world.now)
        assert_accounted(path)
        found = query(path, "select status, failures, reward from trials")
        assert len(found) == 8
        for status, failures, reward in found:
            if status == "successful":
                assert (failures <= 1, reward) == (True, 1.0)
            else:
                assert (status, failures, reward) == ("failed_final", 2, None)
        with open_ledger(path, read_only=True) as ledger:
            assert ledger.value("select count(*) from managers") >= MANAGERS
