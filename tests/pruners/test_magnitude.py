"""Magnitude against the slow reference, ties included."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruners.magnitude import prune
from tests.reference import magnitude

LEVELS = ("0", "0.05", "0.1", "0.35", "0.475", "0.5", "0.7", "0.9", "1")


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    level=st.sampled_from(LEVELS),
    values=st.lists(st.integers(-4, 4), min_size=81, max_size=81),
)
@settings(max_examples=150, deadline=None)
def test_the_mask_equals_the_reference(rows: int, columns: int, level: str, values: list[int]) -> None:
    matrix = [[float(v) for v in values[9 * i : 9 * i + columns]] for i in range(rows)]
    found = prune(torch.tensor(matrix), None, [float(level)], 0)[0].keep
    assert found.tolist() == magnitude.keep(matrix, level)


def test_the_smallest_go_first() -> None:
    weight = torch.tensor([[3.0, -1.0], [0.5, -4.0]])
    assert prune(weight, None, [0.5], 0)[0].weight.tolist() == [[3.0, 0.0], [0.0, -4.0]]
