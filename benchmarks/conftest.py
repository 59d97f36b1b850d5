"""Turn the matrix into test items; collecting it imports no torch."""

from __future__ import annotations

import pytest

from benchmarks.matrix import cost_cases, quality_cases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that asks for `case` or `cost_case` its cases, with their ids."""
    option = metafunc.config.option
    if "case" in metafunc.fixturenames:
        cases = quality_cases(option.target, option.tier)
        metafunc.parametrize("case", cases, ids=[case.id for case in cases])
    if "cost_case" in metafunc.fixturenames:
        cases = cost_cases(option.target)
        metafunc.parametrize("cost_case", cases, ids=[case.id for case in cases])
