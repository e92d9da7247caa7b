"""From arXiv's bulk archives to token shards: one script a stage, in the order of `make preprocess`."""
