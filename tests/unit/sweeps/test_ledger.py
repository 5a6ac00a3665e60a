import sqlite3
from pathlib import Path
from typing import Any

import pytest

from run_assets.errors import NotFoundError, SourceError, UsageError
from run_assets.sweeps import claims
from run_assets.sweeps.ledger import (
    amend,
    create_ledger,
    find_sweep,
    ledger_path,
    open_ledger,
    sweep_ids,
)
from run_assets.sweeps.plan import planned
from tests.support.sweeps import SWEEP_ID, ended, query, toy, toy_ledger

INTERFACE = (
    *("sweep_id", "model", "task"),
    *("trial", "version", "instance"),
    *("reward", "max_reward", "success"),
    *("steps", "tokens", "cost"),
    *("seconds", "status", "error_class"),
    *("started_at", "finished_at"),
)


def test_a_new_ledger_holds_the_plan(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        assert ledger.sweep_id == SWEEP_ID
        assert ledger.counts() == {"pending": 8}
        assert ledger.config == toy(tmp_path.absolute())
        assert ledger.config.root == tmp_path


def test_others_may_rely_on_these_columns(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        path = ledger.path
    assert len(query(path, f"select {', '.join(INTERFACE)} from trials")) == 8
    steps = "sweep_id, model, task, trial, step, reward, tokens"
    assert query(path, f"select {steps} from trial_steps") == []


def test_a_ledger_that_exists_is_never_written_over(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        before = ledger.path.read_bytes()
        with pytest.raises(UsageError, match="sweep resume"):
            toy_ledger(tmp_path)
        assert ledger.path.read_bytes() == before


def test_a_ledger_that_was_half_written_by_a_kill_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / f".{SWEEP_ID}.sqlite.tmp").write_bytes(b"half")
    assert sweep_ids(tmp_path.parent) == []
    with toy_ledger(tmp_path) as ledger:
        assert ledger.counts() == {"pending": 8}


@pytest.mark.parametrize("content", [b"", b"no database at all" * 400])
def test_a_ledger_that_cannot_be_read_is_an_error(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.sqlite").write_bytes(content)
    with pytest.raises(SourceError, match="rather than start anew"):
        open_ledger(tmp_path / "x.sqlite")


def test_a_damaged_page_is_an_error_and_no_empty_ledger(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        path = ledger.path
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)

    with (
        pytest.raises(SourceError, match="rather than start anew"),
        open_ledger(path) as damaged,
    ):
        damaged.counts()


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        path = ledger.path
    with sqlite3.connect(path) as connection:
        connection.execute("update sweep set schema_version = 99")
    connection.close()
    with pytest.raises(SourceError, match="another version of run-assets"):
        open_ledger(path)


def test_a_sweep_is_found_by_id_by_name_or_as_the_youngest(tmp_path: Path) -> None:
    ids = [
        "toy_20260102_030405_0123abcd",
        "toy_20260103_000000_00000000",
        "alpha_20260102_235959_ffffffff",
    ]
    for one in ids:
        path = ledger_path(tmp_path, one)
        create_ledger(path, one, toy(), planned(toy(), one)).close()

    assert sweep_ids(tmp_path) == [ids[1], ids[2], ids[0]]
    assert find_sweep(tmp_path).stem == ids[1]
    assert find_sweep(tmp_path, "alpha").stem == ids[2]
    assert find_sweep(tmp_path, "toy").stem == ids[1]
    assert find_sweep(tmp_path, ids[0]).stem == ids[0]
    with pytest.raises(NotFoundError, match="did you mean"):
        find_sweep(tmp_path, "toy_20260102_030405_0123abce")


def test_without_any_sweep_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="run-assets sweep run"):
        find_sweep(tmp_path)
    with pytest.raises(NotFoundError, match="no ledger at"):
        open_ledger(tmp_path / "x.sqlite")


def run_one(path: Path, **answer: Any) -> str:
    """Run the next trial; returns its id."""
    with open_ledger(path) as ledger:
        config = ledger.config
        manager = claims.join(ledger, 0.0, is_resume=False)
        (attempt,) = claims.exchange(ledger, manager, config, [], slots=1, now=0.0)
        done = [ended(attempt, **answer)]
        claims.exchange(ledger, manager, config, done, slots=0, now=0.0)
        claims.leave(ledger, manager, 0.0)
        return attempt.trial_id


def test_a_sweep_may_grow(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        done = run_one(ledger.path)
        config = toy(tmp_path, tasks=["w", "x", "y"], num_trials_per_config=3)

        amend(ledger, config, planned(config, SWEEP_ID))

        assert ledger.counts() == {"successful": 1, "pending": 17}
        assert ledger.config == config
        assert ledger.value("select count(*) from amendments") == 2
        positions = [row[0] for row in ledger.rows("select position from trials")]
        assert sorted(positions) == list(range(18))
        status = "select status from trials where trial_id = ?"
        assert ledger.value(status, (done,)) == "successful"


def test_a_sweep_may_shrink_but_keeps_what_ran(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        run_one(ledger.path)
        run_one(ledger.path, error="429", error_class="rate_limit")
        config = toy(tmp_path, models=["b"])

        amend(ledger, config, planned(config, SWEEP_ID))

        columns = "model, status, error_class"
        found = ledger.rows(f"select {columns} from trials order by 1, 2")
        assert [tuple(row) for row in found] == [
            ("a", "failed_final", "withdrawn"),
            ("a", "successful", None),
            *[("b", "pending", None)] * 4,
        ]


def test_what_has_run_cannot_become_another_trial(tmp_path: Path) -> None:
    with toy_ledger(tmp_path) as ledger:
        other = toy(tmp_path, options={"temperature": 1})
        amend(ledger, other, planned(other, SWEEP_ID))
        run_one(ledger.path)
        third = toy(tmp_path, options={"temperature": 2})
        with pytest.raises(UsageError, match="a on x, trial 0"):
            amend(ledger, third, planned(third, SWEEP_ID))
        assert ledger.config == other
        assert ledger.counts() == {"successful": 1, "pending": 7}
