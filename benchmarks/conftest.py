"""Turn the matrix into tests. Collecting them imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.claims import claims
from benchmarks.matrix import candidate_cases, cost_cases, quality_cases
from benchmarks.study import study_claims
from harness.case import Case
from harness.components import denoiser_of
from harness.plugin.session import of
from harness.targets.resolve import EMBEDDED
from harness.verdict.claims import Claim


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "claimed: a claim rests on the case; --captions 256 has baselines of these")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort tests by target, and claims behind their cases. Skip what the options leave out."""
    session = of(config)
    names = [spec.name for spec in session.settings.targets]
    items.sort(key=lambda item: (names.index(session.target_of(item)), item.path.name == "test_claims.py"))
    claimed = {case for claim in claims(EMBEDDED) for case in claim.cases}
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and hasattr(item, "callspec")
            and item.callspec.params.get("case") in claimed
        ):
            item.add_marker("claimed")
    for item in items:
        if session.settings.changed and item.path.name in ("test_core_speed.py", "test_cost.py"):
            item.add_marker(pytest.mark.skip(reason="--changed leaves timing out"))
        elif session.settings.compare_only and item.path.name == "test_core_speed.py":
            item.add_marker(pytest.mark.skip(reason="--compare-only compares figures"))
        elif session.settings.tier != "full" and item.path.name == "test_core_speed.py":
            item.add_marker(pytest.mark.skip(reason="the core's speed is measured with --tier full"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise tests by `case`, `cost_case` and `claim`, over all targets."""
    session = of(metafunc.config)
    tier = session.settings.tier
    wanted = {"case", "cost_case", "claim"} & set(metafunc.fixturenames)
    for name in wanted:
        parameters: list[Case | Claim] = []
        for spec in session.settings.targets:
            components = session.components(spec.name)
            if name == "case":
                parameters += quality_cases(spec.name, components, tier)
                parameters += candidate_cases(spec.name, session.settings.candidates)
            elif name == "cost_case":
                parameters += cost_cases(spec.name, components, tier)
            elif spec.name == EMBEDDED:
                parameters += _claims(quality_cases(spec.name, components, tier), tier)
            else:
                parameters += study_claims(spec.name, denoiser_of(components))
        ids = [value.id if isinstance(value, Case) else value.name for value in parameters]
        metafunc.parametrize(name, parameters, ids=ids)


def _claims(measured: Sequence[Case], tier: str) -> list[Claim]:
    """Return the claims about `scenes` that a tier's own cases can support.

    The smaller tiers assert thresholds only: with `-k magnitude`, other claims would calibrate for the methods that
    magnitude is compared with.
    """
    supported = [claim for claim in claims(EMBEDDED) if set(measured).issuperset(claim.cases)]
    return [claim for claim in supported if tier == "full" or claim.name.startswith("threshold")]
