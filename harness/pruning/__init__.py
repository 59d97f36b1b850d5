"""Prune a pipeline as a case says: calibrate it, choose the weights, save the result."""
