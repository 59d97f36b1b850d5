"""From a model to its matrices and back: prunable layers, their inputs, and masks."""
