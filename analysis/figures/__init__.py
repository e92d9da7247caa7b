"""How figures are drawn: one style, curves over tokens, and the figures about training runs.

In: run logs as `analysis/readers/run_logs.py` reads them. Out: matplotlib figures. Read `one_run.py` first.
"""
