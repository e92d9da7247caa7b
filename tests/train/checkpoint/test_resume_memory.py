"""A process that resumes holds its shard of the checkpoint and one tensor in memory, not the whole."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.training import torchrun


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("strategy", ["zero1", "zero3", "fsdp"])
def test_loading_takes_less_memory_than_one_shard_and_one_tensor(strategy: str, tmp_path: Path) -> None:
    done = torchrun(["tests/support/resume_memory_worker.py", str(tmp_path), strategy])
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        facts = json.loads((tmp_path / f"memory.{rank}.json").read_text())
        print(strategy, rank, facts)
        # Weights are filled in place; the moments, two thirds of a shard, are allocated beside the old ones.
        assert facts["peak_bytes"] < 2 / 3 * facts["shard_bytes"] + facts["largest_bytes"]
        assert facts["shard_bytes"] > 100e6  # large enough to tell a shard from the whole, twice its size
