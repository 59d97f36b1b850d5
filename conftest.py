"""The gate is a pytest plugin. Nothing else happens here."""

pytest_plugins = ["harness.plugin", "benchmarks.quiet", "pytester"]
