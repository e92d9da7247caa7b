"""How every script ends."""

import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

WRITES = "from configs.script import run_main; run_main(lambda: print('x' * {n}))"
OTHER_PIPE = """
import os
from configs.script import run_main
def main():
    reader, writer = os.pipe()
    os.close(reader)
    os.write(writer, b"x")
run_main(main)
"""


@pytest.mark.parametrize("n", [1, 1 << 20])
def test_a_reader_that_has_enough_ends_the_script_without_a_word(n: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES.format(n=n)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.close()
    _, errors = process.communicate()
    assert (process.returncode, errors) == (128 + signal.SIGPIPE, b"")


def test_another_broken_pipe_is_an_error() -> None:
    done = subprocess.run([sys.executable, "-c", OTHER_PIPE], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: input/output: Broken pipe\n")
