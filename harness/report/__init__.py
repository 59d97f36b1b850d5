"""Reports of a run: lines and tables, a page, curves, contact sheets. Everything here iterates `METRICS`."""
