"""Downloads from arXiv that survive faults: what preprocess/download.py uses.

In: a bucket, a mirror or arXiv's e-print address. Out: files that are complete or do not have their name yet.
Read `sources.py` first (where bytes come from and which errors are worth another attempt), then `transfer.py`
(resuming, checksums, the limit on money), `choice.py` (which tars) and `eprints.py` (single papers).
"""
