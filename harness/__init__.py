"""PruneGate's harness: from a case to a verdict."""
