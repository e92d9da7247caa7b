"""From logs and ledgers to figures and tables: reads files, imports neither preprocess nor train."""
