"""What strategies exchange, counted, is what the report on communication calculates with."""

import pytest

from analysis.comm_report import INTERCONNECTS, full_table
from benchmarks.communication import checked_traffic, expected_traffic, full_model, sizes
from benchmarks.communication_worker import STRATEGIES
from configs.loader import CONFIGS
from train.config import load_run


@pytest.mark.slow
def test_counted_bytes_are_the_calculated_ones() -> None:
    """On two processes, in bf16, with one and two micro-batches; raises where they differ."""
    counted = checked_traffic()
    assert set(counted) == set(STRATEGIES)


def test_the_full_model_s_traffic() -> None:
    """Outside of the layers are the embedding, which is also the head, and the last norm."""
    parameters, in_root = sizes(load_run(CONFIGS / "runs" / "run20.yaml", "full").model)
    assert (parameters, in_root) == (1_358_006_272, 102_400 * 2048 + 2048)
    fsdp = expected_traffic("fsdp", parameters, in_root)
    assert fsdp["a_step"] == {"reduce_scatter": 4 * parameters}
    assert fsdp["a_micro_batch"] == {"all_gather": 2 * (2 * (parameters - in_root) + in_root)}


def test_the_report_reads_what_the_benchmark_says_of_the_full_model() -> None:
    table = full_table({"full_model": full_model()})
    assert len(table.rows) == len(STRATEGIES) * len(INTERCONNECTS)
