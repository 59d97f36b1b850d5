"""Between a model and its matrices: which layers can be pruned, and how masks get in and out."""
