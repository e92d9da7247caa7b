"""A process that resumes reads its share of the checkpoint and one tensor at a time, not all of it."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.training import torchrun


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("strategy", ["zero1", "fsdp"])
def test_loading_takes_less_than_the_share_and_a_tensor(strategy: str, tmp_path: Path) -> None:
    done = torchrun(["tests/support/resume_memory_worker.py", str(tmp_path), strategy])
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        facts = json.loads((tmp_path / f"memory.{rank}.json").read_text())
        print(strategy, rank, facts)
        # Weights are filled in place; the moments (two thirds of a share) are new, beside the old ones.
        assert facts["peak_bytes"] < 2 / 3 * facts["share_bytes"] + facts["largest_bytes"]
        assert facts["share_bytes"] > 100e6  # large enough to show it: the whole is twice as much
