"""Where and how cases run. To add an executor, write one file and one entry of `EXECUTORS`."""

from __future__ import annotations

# name → "module:Class"; the class is an `Executor` and is built from a `Setup` and a progress function.
EXECUTORS: dict[str, str] = {
    "local": "harness.execution.local:LocalExecutor",
    "ray": "harness.execution.ray_executor:RayExecutor",
}


def register(name: str, place: str) -> None:
    """Add an executor to `EXECUTORS`. Call it from your conftest.py or your own module.

    Args:
        name: The name for `--executor`.
        place: "module:Class".

    Raises:
        ValueError: Another executor has the name.
    """
    if EXECUTORS.get(name, place) != place:
        raise ValueError(f"executor {name} exists already; choose another name")
    EXECUTORS[name] = place
