"""How fast `.wandb` files are read, against whom: one table, printed in one run.

    python benchmarks/wandb_files.py                      # 100,000 steps x 20 metrics
    python benchmarks/wandb_files.py --steps 5000 --metrics 200 --repeat 5
    python benchmarks/wandb_files.py --crossover          # from which size on fast wins

Every reader runs in a process of its own and delivers the same lines, which is
checked. The file is written here record by record, as wandb 0.31 writes it: three
records a step, nested keys, items in random order, full-precision doubles.
"""

import argparse
import json
import os
import random
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import polars as pl

from run_assets.sources.wandb_log import HEADER, Batch, plain_batches

DATA = Path(__file__).parent / "data"
BLOCK = 32 * 1024
CHUNK = struct.Struct("<IHB")
MEGABYTE = 1e6


# The file.


def example_file(steps: int, metrics: int) -> Path:
    path = DATA / f"steps_{steps}_metrics_{metrics}.wandb"
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            write_run(file, steps, metrics)
        unfinished.rename(path)
    return path


def write_run(file: BinaryIO, steps: int, metrics: int) -> None:
    """One run, logged every 10 ms; the same bytes every time."""
    from wandb.proto import wandb_internal_pb2 as pb

    rng = random.Random(0)
    names = [f"train/metric_{k:02d}" for k in range(metrics)]
    offset = file.write(HEADER)
    records = [pb.Record(run=pb.RunRecord(run_id="bench", project="benchmarks"))]
    for step in range(steps):
        runtime = 0.01 * step
        items = [(name, json.dumps(rng.gauss(0, 1))) for name in names]
        items.append(("_step", str(step)))
        items.append(("_runtime", json.dumps(round(runtime, 9))))
        items.append(("_timestamp", f"{1.7952132288333921 + runtime / 1e9:.16f}e+09"))
        beat, summary, history = pb.Record(), pb.Record(), pb.Record()
        beat.summary.update.add(
            nested_key=["_wandb", "runtime"], value_json=str(int(runtime))
        )
        for add in (summary.summary.update.add, history.history.item.add):
            rng.shuffle(items)
            for name, text in items:
                add(nested_key=[name], value_json=text)
        history.history.step.num = step
        records += [beat, summary, history]
        offset += write_records(file, records, offset)
        records = []
    exit_record = pb.Record(exit=pb.RunExitRecord(exit_code=0))
    write_records(file, [exit_record], offset)


def write_records(file: BinaryIO, records: list[Any], offset: int) -> int:
    written = 0
    for record in records:
        for chunk in chunks(record.SerializeToString(), offset + written):
            written += file.write(chunk)
    return written


def chunks(payload: bytes, offset: int) -> Iterator[bytes]:
    """A record cut where blocks end; type 1 is whole, 2, 3 and 4 are its parts."""
    is_first = True
    while is_first or payload:
        room = BLOCK - offset % BLOCK
        if room < CHUNK.size:
            yield bytes(room)
            offset += room
            continue
        part, payload = payload[: room - CHUNK.size], payload[room - CHUNK.size :]
        kind = (1 if is_first else 4) if not payload else (2 if is_first else 3)
        checksum = zlib.crc32(bytes([kind]) + part)
        yield CHUNK.pack(checksum, len(part), kind) + part
        offset += CHUNK.size + len(part)
        is_first = False


# The readers.


def naive(path: Path) -> pl.DataFrame:
    """What one writes first: every record parsed, every value through `json.loads`."""
    from wandb.proto import wandb_internal_pb2 as pb

    rows: list[tuple[Any, ...]] = []
    for payload in naive_frames(path.read_bytes()):
        record = pb.Record.FromString(payload)
        if record.WhichOneof("record_type") != "history":
            continue
        values = {
            ".".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in record.history.item
        }
        step = values.pop("_step")
        logged_at = round(values.pop("_timestamp") * 1e6)
        runtime = values.pop("_runtime")
        for metric, value in values.items():
            rows.append((metric, step, logged_at, runtime, value))
    return pl.DataFrame(
        rows,
        schema={
            "metric": pl.String,
            "logged_step": pl.Int64,
            "logged_at": pl.Int64,
            "runtime_seconds": pl.Float64,
            "value": pl.Float64,
        },
        orient="row",
    ).with_columns(pl.col("logged_at").cast(pl.Datetime("us", "UTC")))


def naive_frames(data: bytes) -> Iterator[bytes]:
    at, parts = len(HEADER), b""
    while at + CHUNK.size <= len(data):
        room = BLOCK - at % BLOCK
        if room < CHUNK.size:
            at += room
            continue
        checksum, length, kind = CHUNK.unpack_from(data, at)
        end = at + CHUNK.size + length
        if zlib.crc32(data[at + CHUNK.size - 1 : end]) != checksum:
            msg = f"bad checksum at {at} in the benchmark's file; delete it"
            raise ValueError(msg)
        parts += data[at + CHUNK.size : end]
        at = end
        if kind in {1, 4}:
            yield parts
            parts = b""


def history(batches: Iterator[Batch]) -> pl.DataFrame:
    return pl.concat([batch.history for batch in batches])


def plain(path: Path) -> pl.DataFrame:
    with path.open("rb") as file:
        return history(plain_batches(file, start=len(HEADER)))


def fast(path: Path, threads: int = 1) -> pl.DataFrame:
    from run_assets.sources.wandb_fast import fast_batches

    with path.open("rb") as file:
        return history(fast_batches(file, start=len(HEADER), threads=threads))


def fast_two_threads(path: Path) -> pl.DataFrame:
    return fast(path, threads=2)


READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "naive": naive,
    "plain": plain,
    "fast": fast,
    "fast-2-threads": fast_two_threads,
}
LEET = "wandb leet inspect --json"


# Measuring.


class Measured(NamedTuple):
    """CPU and wall in seconds, memory in bytes."""

    cpu: float
    wall: float
    process_cpu: float
    peak_bytes: int
    columns_bytes: int
    answer: tuple[int, int, float]


def measure_here(reader: str, path: Path, warm_up: Path) -> Measured:
    """Read a file in this process; libraries and compiled code are loaded before."""
    read = READERS[reader]
    read(warm_up)
    before = peak_bytes()
    cpu, wall = time.process_time(), time.perf_counter()
    frame = read(path)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Measured(
        cpu=cpu,
        wall=wall,
        process_cpu=time.process_time(),
        peak_bytes=peak_bytes() - before,
        columns_bytes=int(frame.estimated_size()),
        answer=(
            frame.height,
            int(frame["logged_step"].sum()),
            round(float(frame["value"].sum()), 6),
        ),
    )


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(reader: str, path: Path, warm_up: Path) -> Measured:
    """Read a file in a new process."""
    command = [sys.executable, __file__, "--reader", reader]
    command += ["--path", str(path), "--warm-up", str(warm_up)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    fields = json.loads(output)
    return Measured(**fields | {"answer": tuple(fields["answer"])})


def measure_leet(path: Path) -> Measured:
    program = Path(sys.executable).with_name("wandb")
    wall = time.perf_counter()
    process = subprocess.Popen(
        [program, "leet", "inspect", "--json", path], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{LEET} {path} ended with {process.returncode}"
        raise RuntimeError(msg)
    cpu = usage.ru_utime + usage.ru_stime
    wall = time.perf_counter() - wall
    return Measured(cpu, wall, cpu, usage.ru_maxrss * 1024, 0, (0, 0, 0.0))


def best(repeat: int, reader: str, path: Path, warm_up: Path) -> Measured:
    """The run that other work on the machine disturbed least."""
    return min(measure(reader, path, warm_up) for _ in range(repeat))


# Printing.


def compare(steps: int, metrics: int, repeat: int) -> None:
    path, small = example_file(steps, metrics), example_file(50, metrics)
    size = path.stat().st_size
    print(f"{steps:,} steps x {metrics} metrics, {size / MEGABYTE:.1f} MB\n")
    print(
        f"{'reader':26}{'CPU s':>8}{'ratio':>8}{'wall s':>8}{'ratio':>8}{'MB/s':>8}"
        f"{'process CPU s':>15}{'peak MB':>9}{'peak/columns':>14}"
    )
    # Compiles once, into numba's cache; not here, since a child's peak memory starts
    # at that of its parent.
    measure("fast", small, small)
    base: Measured | None = None
    for name in [*READERS, LEET]:
        if name == LEET:
            result = measure_leet(path)
        else:
            result = best(repeat, name, path, small)
            base = base or result
            if result.answer != base.answer:
                msg = f"{name} read {result.answer}, naive read {base.answer}"
                raise ValueError(msg)
        assert base is not None
        print_row(name, result, base, size)


def print_row(name: str, result: Measured, base: Measured, size: int) -> None:
    share = result.peak_bytes / result.columns_bytes if result.columns_bytes else None
    print(
        f"{name:26}{result.cpu:8.2f}{base.cpu / result.cpu:7.1f}x{result.wall:8.2f}"
        f"{base.wall / result.wall:7.1f}x{size / MEGABYTE / result.wall:8.0f}"
        f"{result.process_cpu:15.2f}{result.peak_bytes / MEGABYTE:9.0f}"
        + (f"{share:13.1f}x" if share else f"{'-':>14}"),
        flush=True,
    )


def crossover(metrics: int, repeat: int) -> None:
    """CPU seconds of reading alone, where the process still has to load the kernel."""
    print(f"{'MB':>8}{'plain CPU s':>13}{'fast CPU s':>12}")
    empty = example_file(0, metrics)
    measure("fast", example_file(50, metrics), empty)
    for steps in (1000, 2000, 4000, 8000, 16000):
        path = example_file(steps, metrics)
        size = path.stat().st_size / MEGABYTE
        seconds = [
            best(repeat, name, path, empty).process_cpu for name in ("plain", "fast")
        ]
        print(f"{size:8.1f}{seconds[0]:13.2f}{seconds[1]:12.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--metrics", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3, help="the best one counts")
    parser.add_argument("--crossover", action="store_true")
    for hidden in ("--reader", "--path", "--warm-up"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        path, warm_up = Path(options.path), Path(options.warm_up)
        print(json.dumps(measure_here(options.reader, path, warm_up)._asdict()))
    elif options.crossover:
        crossover(options.metrics, options.repeat)
    else:
        compare(options.steps, options.metrics, options.repeat)


if __name__ == "__main__":
    main()
