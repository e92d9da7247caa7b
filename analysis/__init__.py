"""From logs and ledgers to figures and tables: reads files, imports neither preprocess nor train."""

from configs import require

require("matplotlib", "pandas")  # enough to draw figures from logs; configs.loader needs more
