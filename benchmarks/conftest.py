"""Turn the matrix into test items; collecting it imports no torch."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.claims import claims
from benchmarks.matrix import cost_cases, external_cases, quality_cases
from harness import options
from harness.errors import HarnessError
from harness.targets.index import components_of, name_of


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Time the core against the published order of work in the full tier alone; claims come after what they rest on."""
    items.sort(key=lambda item: item.path.name == "test_claims.py")
    if config.option.tier == "full":
        return
    for item in items:
        if item.path.name == "test_core_speed.py":
            item.add_marker(pytest.mark.skip(reason="--tier full"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that asks for `case` or `cost_case` its cases, with their ids."""
    option = metafunc.config.option
    if options.external(option):
        _external(metafunc, option)
        return
    if "case" in metafunc.fixturenames:
        cases = quality_cases(option.target, option.tier)
        metafunc.parametrize("case", cases, ids=[case.id for case in cases])
    if "claim" in metafunc.fixturenames:
        measured = set(quality_cases(option.target, option.tier))
        # A tier asserts what its own cases can tell, and the smaller ones no more than thresholds: `-k magnitude` would
        # else calibrate for the methods that magnitude is compared with.
        told = [
            claim
            for claim in claims(option.target)
            if measured.issuperset(claim.cases) and (option.tier == "full" or claim.name.startswith("threshold"))
        ]
        metafunc.parametrize("claim", told, ids=[claim.name for claim in told])
    if "cost_case" in metafunc.fixturenames:
        cases = cost_cases(option.target, option.tier)
        metafunc.parametrize("cost_case", cases, ids=[case.id for case in cases])


def _external(metafunc: pytest.Metafunc, option: Any) -> None:
    """Give a folder's pipeline the matrix for its components; claims and latency are about `scenes`."""
    try:
        cases = external_cases(name_of(option.target), components_of(option.target_folder), option.tier)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    for name, found in (("case", cases), ("claim", []), ("cost_case", [])):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, found, ids=[case.id for case in found])
