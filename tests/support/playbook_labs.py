"""A lab whose runs log what the playbook and the reward guide ask about."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from run_assets.lab import Lab
from tests.support.labs import START, make_lab, run_file
from tests.support.wandb_log import (
    artifact_record,
    exit_record,
    history_record,
    log_bytes,
    metric_record,
    run_record,
)

STEPS = 40
NAMES = ("my-run", "run-a", "run-b", "run-c")
"""Display names of train0 to train3."""
TABLE = "eval/summary_table"
TABLE_PATH = "media/table/eval/summary_table_39_abc.table.json"
TABLE_TEXT = json.dumps(
    {
        "columns": ["opponent", "win_rate", "note"],
        "data": [["bot", 0.5, 1], ["=cmd()", "NaN", "x"], ["base", None, None]],
    }
)
TABLE_OBJECT: dict[str, Any] = {
    "_type": "table-file",
    "path": TABLE_PATH,
    "sha256": sha256(TABLE_TEXT.encode()).hexdigest(),
    "size": len(TABLE_TEXT),
    "nrows": 3,
    "ncols": 3,
}
ESCAPE = "eval/escape"
"""A Table of train3 that claims to lie outside of the run's folder."""
REWARDS: dict[str, Any] = {
    "components": ["reward/*"],
    "weights": {"reward/format": 1.0, "reward/length": -0.5},
    "total": "reward_total",
}


def training_row(step: int, seed: int) -> dict[str, Any]:
    """What a training run logs at a step; some of it every tenth step alone."""
    tokens = 1000.0 * (step + 1)
    return {
        "eval/vs_bot/win_rate": 0.5,
        "benchmark/loss": 1.0 / (step + 1) + seed / 100,
        "benchmark/kl": 0.02,
        "benchmark/reward_mean": step / STEPS + seed / 10,
        "benchmark/reward_std": 0.1,
        "benchmark/grad_norm": 1.0,
        "benchmark/rollout_time_s": 60.0,
        "benchmark/training_time_s": 30.0,
        "benchmark/pipeline_overlap_s": 20.0,
        "benchmark/trajectories": 64,
        "extraction/rate": 0.98,
        "extraction/orders_expected": 100,
        "extraction/orders_extracted": 98,
        "extraction/empty_responses": 1,
        "extraction/partial_responses": 1,
        "rollout/max_volume_reload_s": 2.0,
        "rollout/max_total_s": 90.0,
        "rollout/failed_count": 0,
        "cache/hit_rate": step / STEPS,
        "cache/total_hits": float(step),
        "cache/total_queries": float(STEPS),
        "cache/prompt_tokens": tokens,
        "power_law/cumulative_simulated_years": 10.0 * (step + 1),
        "power_law/simulated_years_per_step": 10.0,
        "power_law/reward_at_compute": step / STEPS,
        **(
            {
                "elo/challenger": 1000.0 + step,
                "elo/win_rate": 0.5,
                "elo/games_played": 20,
                "league/num_checkpoints": step // 10,
                "league/best_elo": 1000.0 + step,
            }
            if step % 10 == 0
            else {}
        ),
        **({TABLE: TABLE_OBJECT} if step == STEPS - 1 else {}),
        **({ESCAPE: _escaping(seed)} if step == seed == 3 else {}),
    }


def _escaping(seed: int) -> dict[str, Any]:
    return {"_type": "table-file", "path": f"{'../' * (seed + 20)}etc/hostname"}


def orchestrator_row(step: int) -> dict[str, Any]:
    """Reward components, one of them sparse, and success rates."""
    noise = ((step * 7919) % 13) / 130
    return {
        "reward/format": step / STEPS + noise,
        "reward/length": 0.2 + noise,
        "reward_total": step / STEPS + noise - 0.5 * (0.2 + noise),
        "maze/success_rate": step / STEPS,
        **({"reward/rare": float(step)} if step % 10 == 5 else {}),
    }


def trainer_row(step: int) -> dict[str, Any]:
    """Metrics of training, a constant learning rate among them."""
    noise = ((step * 104729) % 17) / 17
    return {
        "loss/mean": 2.0 - step / STEPS + noise / 10,
        "entropy/mean": 1.0 + noise,
        "perf/throughput": 1000.0 + 10 * step + noise,
        "perf/mfu": 0.3,
        "optim/lr": 1e-6,
        "optim/grad_norm": 1.0 + noise,
    }


def write_rows(
    lab: Path,
    run_id: str,
    rows: Mapping[int, Mapping[str, Any]],
    *,
    records: tuple[Any, ...] = (),
    config: Mapping[str, Any] | None = None,
    minute: int = 0,
    **fields: Any,
) -> Path:
    """A finished run of lab/diplomacy-grpo with these rows by step."""
    path = run_file(lab, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    started = START + timedelta(minutes=minute)
    begin = run_record(
        run_id,
        started_at=started,
        config=config,
        **{"entity": "lab", "project": "diplomacy-grpo", **fields},
    )
    path.write_bytes(
        log_bytes(
            [begin, *records, *_history(started.timestamp(), rows), exit_record(0)]
        )
    )
    return path


def _history(start: float, rows: Mapping[int, Mapping[str, Any]]) -> Iterator[Any]:
    for step, row in rows.items():
        times = {"_step": step, "_timestamp": start + 2 * step, "_runtime": 2.0 * step}
        yield history_record({**times, **row})


def write_table_file(lab: Path, run_id: str) -> Path:
    """The file of the logged Table, beside the run's own."""
    file = run_file(lab, run_id).parent / "files" / TABLE_PATH
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TABLE_TEXT, encoding="utf-8")
    return file


def write_playbook_runs(folder: Path) -> None:
    """Two seeds of each of two learning rates, an orchestrator, a trainer, a stub."""
    for number in range(4):
        config = {
            "base_model_id": "Qwen/Qwen2.5-7B-Instruct",
            "lora_rank": 16,
            "learning_rate": (1e-5, 1e-4)[number // 2],
            "seed": number % 2,
            "env": {"size": 3 + number // 2, "debug": False},
        }
        run_id = f"train{number}"
        write_rows(
            folder,
            run_id,
            {step: training_row(step, number) for step in range(STEPS)},
            config=config,
            minute=number,
            display_name=NAMES[number],
            run_group="sweep",
            tags=["power-laws", *(["baseline"] if number == 0 else [])],
            records=(
                metric_record(name="benchmark/reward_mean", goal=2),
                artifact_record("eval-replays", [10, 20], type="replays"),
                artifact_record("weights", [5], type="model"),
            ),
        )
        write_table_file(folder, run_id)
    write_rows(
        folder,
        "29hn8w98",
        {step: orchestrator_row(step) for step in range(STEPS)},
        display_name="orchestrator",
        minute=10,
    )
    write_rows(
        folder,
        "7nikv4vp",
        {step: trainer_row(step) for step in range(STEPS)},
        display_name="trainer",
        minute=11,
    )
    write_rows(folder, "empty", {}, display_name="empty", minute=12)


def playbook_lab(folder: Path) -> Lab:
    """The lab, not yet refreshed."""
    lab = make_lab(folder, 0, analyses=[], derived_metrics={}, rewards=REWARDS)
    write_playbook_runs(folder)
    return lab
