"""What must hold in every ledger, whatever was killed; a text where it does not."""

import sqlite3

from run_assets.sweeps.ledger import Ledger


def doubled(ledger: Ledger) -> str | None:
    """Trials with two results, or an attempt after the one that succeeded."""
    found = ledger.rows(
        "select model, task, trial from trials inner join attempts using (trial_id)"
        " group by trial_id having sum(attempts.status = 'successful') > 1 or"
        " max(attempt) > min(iif(attempts.status = 'successful', attempt, null))"
    )
    return _text("ran again after a result", found)


def unfinished(ledger: Ledger) -> str | None:
    """Trials that are not terminal."""
    found = ledger.rows(
        "select model, task, trial from trials"
        " where status in ('pending', 'running', 'will_retry') order by position"
    )
    return _text("not terminal", found)


def _text(what: str, rows: list[sqlite3.Row]) -> str | None:
    if not rows:
        return None
    model, task, trial = rows[0]
    return f"{len(rows)} trials {what}, such as {model} on {task}, trial {trial}"
