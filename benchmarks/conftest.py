"""Turn the matrix into test items; collecting it imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.claims import claims
from benchmarks.matrix import cost_cases, denoiser_of, external_cases, quality_cases
from benchmarks.study import study_claims
from harness import options
from harness.case import Case
from harness.errors import HarnessError
from harness.targets.index import components_of
from harness.verdict.claims import Claim

# Components of the targets that are built here.
BUILT = ("text_encoder", "unet")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One target after the other, claims after what they rest on; the core's speed in the full tier alone."""
    names = [chosen.name for chosen in options.targets(config)]

    def place(item: pytest.Item) -> tuple[int, bool]:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        target = next((value.target for value in parameters if hasattr(value, "target")), names[0])
        return names.index(target), item.path.name == "test_claims.py"

    items.sort(key=place)
    if config.option.tier == "full":
        return
    for item in items:
        if item.path.name == "test_core_speed.py":
            item.add_marker(pytest.mark.skip(reason="--tier full"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that asks for `case`, `claim` or `cost_case` those of all targets, with their ids."""
    config = metafunc.config
    found: dict[str, list[Any]] = {"case": [], "claim": [], "cost_case": []}
    tier = config.option.tier
    for chosen in options.targets(config):
        components = _components(chosen)
        if chosen.external:
            found["case"] += external_cases(chosen.name, components, tier)
            found["claim"] += study_claims(chosen.name, denoiser_of(components))
        else:
            measured = quality_cases(chosen.name, tier)
            found["case"] += measured
            found["claim"] += _claims(chosen.name, measured, tier)
        found["cost_case"] += cost_cases(chosen.name, tier, components)
    for name, values in found.items():
        if name in metafunc.fixturenames:
            ids = [value.name if name == "claim" else value.id for value in values]
            metafunc.parametrize(name, values, ids=ids)


def _components(chosen: options.Chosen) -> Sequence[str]:
    try:
        return components_of(chosen.folder) if chosen.folder else BUILT
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error


def _claims(target: str, measured: list[Case], tier: str) -> list[Claim]:
    """Return what a tier's own cases can tell.

    The smaller tiers assert no more than thresholds: `-k magnitude` would else calibrate for the methods that magnitude
    is compared with.
    """
    told = [claim for claim in claims(target) if set(measured).issuperset(claim.cases)]
    return [claim for claim in told if tier == "full" or claim.name.startswith("threshold")]
