"""From logs and ledgers to figures and tables: reads files, imports neither preprocess nor train."""

import configs  # noqa: F401  # says in one sentence what to do where packages are missing
