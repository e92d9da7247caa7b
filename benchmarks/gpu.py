"""Speed and memory of a step of the 1.36 B model on one GPU, in one command of at most nine minutes.

    make bench-gpu                        (or python -m benchmarks.gpu [--steps train,head] [--seconds 540])
    BENCH_DEVICE=cpu make bench-gpu       the same code on the demo model, to see that it runs

In:  nothing: the tokens are random. No corpus is needed.
Out: a line for each measurement; analysis/measurements/gpu.json (on a CPU: only printed).

Each step below is a process of its own with a share of the time. One that fails (out of memory, a missing
feature, too slow) is recorded with its error, and the next one begins. What is there is written after every
step, so an interruption loses nothing. benchmarks/gpu_steps.py holds the steps.

    train      the training step as a user with one GPU runs it: tokens/s, MFU, memory beside the plan's
    layers     the same model in bf16 throughout, as zero1, zero2 and fsdp compute: forward and backward
    compile    train with compiled layers
    recompute  train with selective and full recomputation, at the same micro-batch
    micro      train at the largest micro-batch that the plan says fits
    head       the head alone, for pieces of 256 to 4,096 tokens
    optimizer  AdamW: fused, foreach and one tensor at a time
    documents  train with documents kept apart: FlexAttention, and the same with a mask
    profile    where the GPU's time goes, by kernel and kind
    tests      the tests that need a GPU
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import MEASUREMENTS, record
from configs.loader import UserError, run_main

ROOT = Path(__file__).resolve().parents[1]
# Seconds that each step may take at most. Starting a process and building the model takes about 30 of them.
STEPS = {
    "train": 110,
    "layers": 60,
    "head": 45,
    "compile": 130,
    "optimizer": 60,
    "profile": 60,
    "recompute": 90,
    "micro": 60,
    "documents": 70,
    "tests": 120,
}
SECONDS = 540.0


def main() -> int:
    """Run the steps; 0 if at least one gave a result. Raises UserError for unknown steps or a missing GPU."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", default=",".join(STEPS), help="names, separated by commas")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all steps (default: 540)")
    arguments = parser.parse_args()
    names = arguments.steps.split(",")
    if unknown := sorted(set(names) - set(STEPS)):
        raise UserError(f"--steps {','.join(unknown)}: unknown; known: {', '.join(STEPS)}")
    device = os.environ.get("BENCH_DEVICE", "cuda")
    end = time.monotonic() + arguments.seconds
    figures: dict[str, Any] = {"command": "make bench-gpu", "device": device, "steps": {}}
    for name in names:
        figures["steps"][name] = result = run_step(name, min(STEPS[name], end - time.monotonic()))
        print(f"{name}: {json.dumps(result)}", flush=True)
        if device == "cuda":
            figures["device"] = result.get("device", figures["device"])
            record("gpu", figures, ("torch", "transformers"))
    good = [name for name, result in figures["steps"].items() if "error" not in result]
    where = f" ({MEASUREMENTS / 'gpu.json'})" if device == "cuda" else ""
    print(f"{len(good)} of {len(names)} steps gave a result{where}")
    return 0 if good else 1


def run_step(name: str, seconds: float) -> dict[str, Any]:
    """What one step prints as its last line, or `{"error": why}`."""
    if seconds < 10:
        return {"error": "no time was left"}
    command = [sys.executable, "-m", "benchmarks.gpu_steps", name]
    if name == "tests":
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/train"]
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {seconds:.0f} s"}
    took = {"wall_s": round(time.monotonic() - began, 1)}
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if name == "tests":
        return {"outcome": last, **took} if done.returncode == 0 else {"error": done.stdout[-800:], **took}
    if done.returncode:
        return {"error": "\n".join(done.stderr.strip().splitlines()[-3:])[-800:], **took}
    result: dict[str, Any] = json.loads(last)
    return result | took


if __name__ == "__main__":
    run_main(main)
