"""Helpers that tests share: small corpora, papers and logs, processes to start, other programs to compare
with.

No test measures time. PATIENCE_S is how long a test waits for something that takes seconds on a quiet machine
before it counts as hanging.
"""

PATIENCE_S = 900
