"""The cost of pruned and dense models: memory and latency."""
