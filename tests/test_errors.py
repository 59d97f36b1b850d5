"""A wrong name is answered with the nearest right ones."""

from __future__ import annotations

from harness.errors import unknown


def test_similar_names_are_offered() -> None:
    message = str(unknown("--executor", "lcal", ("local", "ray")))
    assert message == "--executor 'lcal' is unknown; did you mean local?"


def test_without_a_similar_name_all_are_listed() -> None:
    assert str(unknown("method", "xyz", ("wanda", "random"))) == "method 'xyz' is unknown; use one of: random, wanda"
