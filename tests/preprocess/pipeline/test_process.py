"""A process that runs a stage loads no pandas, and pandas still works where somebody wants it."""

import subprocess
import sys

from tests.conftest import ROOT
from tests.support import PATIENCE_S

CODE = """
import sys
import pyarrow as pa
from preprocess.pipeline.process import prepare_process
prepare_process()
table = pa.Table.from_pylist([{"id": "a"}, {"id": "b"}])
print("pandas" in sys.modules, table.to_pandas()["id"].tolist())
"""


def test_pandas_is_loaded_for_a_data_frame_and_not_for_a_shard() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout == "False ['a', 'b']\n"
