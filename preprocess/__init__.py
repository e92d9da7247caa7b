"""From arXiv's bulk archives to token shards: one script per stage; `make preprocess` runs them in order."""
