"""Helpers that tests share: small corpora, papers and logs, processes to start, other programs to compare
with.

No test measures time. PATIENCE_S is how long a test waits for something that takes seconds on a quiet machine
before it counts as hanging.
"""

import signal

PATIENCE_S = 900


def accept_ctrl_c() -> None:
    """For `preexec_fn`: a shell that runs the tests in the background has them ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
