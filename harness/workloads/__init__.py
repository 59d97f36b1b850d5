"""Workloads: the target, captions, scorers and protocol that cases are measured with."""
