"""From a record and a stored baseline to a verdict."""
