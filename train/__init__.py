"""From token shards to checkpoints, logs and an exported model."""
