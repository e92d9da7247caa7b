"""YAML configuration of every stage, run and scale, and the one loader that reads it."""
