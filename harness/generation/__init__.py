"""From captions to pictures: every call of a pipeline goes through `harness.generation.call`."""
