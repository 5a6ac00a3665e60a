"""Train the sweep: ``python -m examples.hearts.train --out DIR``.

Runs that are there are not trained again: ``DIR/trained.json`` lists those that ended,
also the ones whose end leaves no trace in their own file. What an interrupted call
left half done is removed and trained anew.
"""

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from run_assets.errors import RunAssetsError, SourceError, UsageError

from .sweep import RunPlan, plan_sweep
from .workers import ReportEpoch, RunEnd, train_runs


@dataclass(frozen=True)
class TrainingSummary:
    """What a call of ``train`` found and did.

    Attributes:
        wandb_dir: The folder that holds the run folders.
        trained: Runs trained by this call, by run id, with their exit codes.
        found: Run ids that an earlier call had trained.
        seconds: Wall clock time.
    """

    wandb_dir: Path
    trained: dict[str, int]
    found: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        """One sentence for a person."""
        if not self.trained:
            return f"All {len(self.found)} runs are in {self.wandb_dir} already."
        ends = Counter(map(_describe_end, self.trained.values()))
        counted = ", ".join(f"{count} {end}" for end, count in ends.most_common())
        known = f"; {len(self.found)} were there already" if self.found else ""
        return (
            f"Trained {len(self.trained)} runs in {self.seconds:.0f} s: {counted}"
            f"{known}. They are in {self.wandb_dir}."
        )


def train(out: Path, *, seeds: int = 5, workers: int = 2) -> TrainingSummary:
    """Train the runs of the sweep that are missing, with progress on stderr.

    The same seed learns the same, whatever the workers; only clock readings differ.

    Args:
        out: Gets the folder ``wandb``, with one ``offline-run-*`` folder a run.
        seeds: Runs of each algorithm on each map: 12 runs a seed.
        workers: Processes at the same time.

    Returns:
        What was found and what was trained.

    Raises:
        UsageError: ``seeds`` or ``workers`` is below 1.
        SourceError: ``out`` cannot be written, or a worker died unexpectedly.
    """
    _check_positive(seeds=seeds, workers=workers)
    return train_plans(list(plan_sweep(seeds)), out, workers=workers)


def train_plans(plans: list[RunPlan], out: Path, *, workers: int) -> TrainingSummary:
    """Train those of some runs that are missing; as ``train`` otherwise."""
    _check_positive(workers=workers)
    started = time.monotonic()
    out = out.resolve()
    ledger = _read_ledger(out)
    missing = [plan for plan in plans if plan.run_id not in ledger]
    found = tuple(plan.run_id for plan in plans if plan.run_id in ledger)
    trained: dict[str, int] = {}
    if missing:
        _remove_unfinished(out, missing)
        for end in _train_with_progress(missing, out, workers):
            trained[end.plan.run_id] = end.exit_code
            _write_ledger(out, ledger | trained)
    seconds = time.monotonic() - started
    return TrainingSummary(out / "wandb", trained, found, seconds)


def _check_positive(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            msg = f"{name} == {value}, must be at least 1"
            raise UsageError(msg)


def run_folders(out: Path, run_id: str) -> list[Path]:
    """The folders of a run, as the wandb SDK names them."""
    return [
        folder
        for folder in sorted(out.glob(f"wandb/offline-run-*-{run_id}"))
        if (folder / f"run-{run_id}.wandb").exists()
    ]


def _read_ledger(out: Path) -> dict[str, int]:
    """Exit codes of the runs that ended and whose files are still there."""
    path = out / "trained.json"
    if not path.exists():
        return {}
    try:
        ledger = json.loads(path.read_text())
    except ValueError as error:
        msg = f"{path} is not JSON ({error}); delete it and what lies beside it"
        raise SourceError(msg) from error
    return {run_id: end for run_id, end in ledger.items() if run_folders(out, run_id)}


def _write_ledger(out: Path, ledger: dict[str, int]) -> None:
    path = out / "trained.json"
    unfinished = path.with_suffix(".json.tmp")
    unfinished.write_text(json.dumps(ledger, indent=1, sort_keys=True) + "\n")
    unfinished.replace(path)


def _remove_unfinished(out: Path, missing: Iterable[RunPlan]) -> None:
    """Remove half-trained runs: a second folder would make them resumed runs."""
    for plan in missing:
        for folder in run_folders(out, plan.run_id):
            shutil.rmtree(folder)


def _train_with_progress(
    missing: list[RunPlan], out: Path, workers: int
) -> Iterator[RunEnd]:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the folder {out}: {error.strerror}; choose another --out"
        raise SourceError(msg) from error
    # First the runs that take their process with them: wandb's own process outlives
    # them by a moment, and must be done before the caller reads the files.
    missing = sorted(missing, key=lambda plan: not plan.mishap.ends_process)
    with (
        # The processes of killed runs may still write their logs to it.
        TemporaryDirectory(prefix="hearts-", ignore_cleanup_errors=True) as scratch,
        _progress_bar(missing) as report_epoch,
    ):
        for end in train_runs(missing, out, Path(scratch), workers, report_epoch):
            report_epoch(end.plan, end.plan.parameters.epochs)
            yield end


@contextmanager
def _progress_bar(plans: list[RunPlan]) -> Iterator[ReportEpoch]:
    """A bar on stderr over the epochs of all runs; a run that ends early fills up."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("training {task.fields[runs]} of {task.fields[of]} runs"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    done: Counter[str] = Counter()
    total = sum(plan.parameters.epochs for plan in plans)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, runs=0, of=len(plans))

        def report_epoch(plan: RunPlan, epoch: int) -> None:
            done[plan.run_id] = epoch
            progress.update(task, completed=done.total(), runs=len(done))

        yield report_epoch


def _describe_end(exit_code: int) -> str:
    if exit_code == 0:
        return "finished"
    if exit_code < 0:
        return f"killed by signal {-exit_code}"
    return f"failed with exit code {exit_code}"


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="hearts.train", description="Train the sweep."
    )
    parser.add_argument("--out", type=Path, required=True, help="gets the folder wandb")
    parser.add_argument("--seeds", type=int, default=5, help="12 runs each (default 5)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args(arguments)
    try:
        summary = train(options.out, seeds=options.seeds, workers=options.workers)
    except RunAssetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; call again to train the rest", file=sys.stderr)
        return 130
    print(summary, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
