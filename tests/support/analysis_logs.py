"""Write small training logs like those of real runs, for the tests of `analysis`."""

import json
import math
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
TOKENS_A_STEP = 4096
DOMAINS = {"cs": 0.15, "math": 0.0, "physics": -0.1}  # offset of the loss, nats


def header(restart: int = 0, seed: int = 0, **more: Any) -> Row:
    """A header row."""
    return {
        "kind": "header",
        "schema_version": 1,
        "run_id": f"demo/run20/seed{seed}",
        "restart_index": restart,
        "git_sha": "0" * 40,
        "git_dirty": False,
        "config_sha256": "c" * 64,
        "data_fingerprint": "d" * 32,
        "tokenizer_sha256": "e" * 64,
        "slurm_job_id": None,
        "world_size": 2,
        "device": "cpu",
        "seed": seed,
        "params_total": 1_308_672,
        **more,
    }


def event(step: int, name: str, **more: Any) -> Row:
    """An event row."""
    return {**_common("event", step), "event": name, **more}


def history(first: int, last: int, seed: int = 0, every: int = 25, total: int = 400) -> list[Row]:
    """Rows of steps `first` to `last`: training, throughput, and validation every `every` steps."""
    rows: list[Row] = []
    for step in range(first, last + 1):
        noise = random.Random(f"{seed}/{step}")
        loss = 1.9 + 5.6 * math.exp(-step / (total / 8)) + noise.gauss(0, 0.06)
        lr = 3e-3 * min(step / (total / 20), 0.55 + 0.45 * math.cos(math.pi * step / total))
        norm = math.exp(noise.gauss(-0.3, 0.25)) + 6 * math.exp(-step / 12)
        rows.append(
            {
                **_common("train", step),
                "loss_nats": loss,
                "lr": lr,
                "grad_norm": norm,
                "clipped": norm > 1.0,
                "skipped": False,
                "span_hash": f"{step:032x}",
                **{f"loss_nats/{name}": loss + offset for name, offset in DOMAINS.items()},
                **{f"tokens/{name}": TOKENS_A_STEP // 3 for name in DOMAINS},
            }
        )
        speed = noise.gauss(5200, 150)
        rows.append(
            {
                **_common("perf", step),
                "tokens_per_s": speed,
                "step_s": TOKENS_A_STEP / speed,
                "data_wait_s": 2e-4,
            }
        )
        if step % every == 0 or step == last:
            for index, (name, offset) in enumerate(DOMAINS.items()):
                nats = 1.95 + 5.5 * math.exp(-step / (total / 8)) + 1.4 * offset
                rows.append(
                    {
                        **_common("val", step),
                        "domain": name,
                        "loss_nats": nats,
                        "perplexity": math.exp(nats),
                        "bits_per_byte": nats / math.log(2) / 3.9,
                        "n_tokens": 1000 * (index + 1),
                        "n_bytes": 3900 * (index + 1),
                    }
                )
    return rows


def judged(run: str, seed: int, better_by: float = 0.0, **more: Any) -> list[Row]:
    """A finished run's log, with documents at its end. `more`: keys of its header."""
    rows = history(1, 100, seed)
    last = rows[-1]
    for row in rows:
        if row["kind"] == "val":
            row["bits_per_byte"] -= better_by
            row["loss_nats"] -= better_by * math.log(2) * row["n_bytes"] / row["n_tokens"]
    of = [row for row in rows if row["kind"] == "val" and row["step"] == 100]
    documents = [
        {
            **{key: last[key] for key in ("step", "tokens_seen", "time_utc", "wall_s")},
            "kind": "val_document",
            "domain": row["domain"],
            "document": f"{k:016x}",
            "loss_nats": row["loss_nats"] + random.Random(f"{run}{seed}{k}").gauss(0, 0.01),
            "n_tokens": 1000,
            "n_bytes": 3900,
        }
        for row in of
        for k in range(8)
    ]
    return [header(seed=seed, **more), *rows, *documents]


def write(path: Path, rows: Iterable[Row], torn: str = "") -> Path:
    """Write JSON lines, followed by the incomplete line `torn`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)
    return path


def interrupted_run(root: Path, scale: str = "demo", run: str = "run20", seed: int = 0) -> Path:
    """A run of 400 steps, killed while it logged step 181 and resumed from the checkpoint of step 160."""
    folder = root / scale / run / f"seed{seed}"
    write(
        folder / "log.0.jsonl",
        [header(0, seed), *history(1, 160, seed), event(160, "checkpoint"), *history(161, 180, seed)],
        torn='{"kind": "train", "step": 181, "loss_n',
    )
    write(
        folder / "log.1.jsonl",
        [header(1, seed), event(160, "resume"), *history(161, 400, seed), event(400, "checkpoint")],
    )
    return folder


def _common(kind: str, step: int) -> Row:
    return {
        "kind": kind,
        "step": step,
        "tokens_seen": step * TOKENS_A_STEP,
        "time_utc": f"2026-11-21T{step // 3600:02d}:{step // 60 % 60:02d}:{step % 60:02d}+00:00",
        "wall_s": float(step),
    }
