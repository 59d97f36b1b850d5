"""The gate is a pytest plugin; nothing else happens here."""

pytest_plugins = ["harness.plugin", "pytester"]
