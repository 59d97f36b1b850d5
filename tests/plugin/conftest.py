"""Real pytest sessions on a toy engine: the plugin is the one that ships, the measurements are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

TOY = """
import json, os
from dataclasses import replace
from types import SimpleNamespace
import pytest

pytest_plugins = ["harness.plugin"]


@pytest.fixture(scope="session")
def _engine(request):
    from harness.case import Case
    option = request.config.option
    return SimpleNamespace(
        dense_record=None, records={}, progress=lambda text: None, captions=["one", "two"],
        workload=lambda case: {"toy": 1},
        workload_key=lambda case: os.environ.get("TOY_WORKLOAD", "toyworkload"), dense_case=lambda: Case("scenes"),
        conditions=lambda: {"device": "toy", "threads": 1},
    )


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    import torch
    import harness.pipeline as pipeline
    from harness.engine import Engine
    from harness.errors import HarnessError
    from harness.measurement import Measurement
    from harness.record import Record

    def run(case, engine):
        engine.progress("generating")
        if "TOY_LOG" in os.environ:
            with open(os.environ["TOY_LOG"], "a") as log:
                log.write(case.id + "\\n")
        if os.environ.get("TOY_KILLED") == case.id:
            os.kill(os.getpid(), 9)
        if os.environ.get("TOY_BREAKS") == case.id:
            raise HarnessError("layer conv_in cannot be pruned: a weight is NaN or infinite")
        shift = json.loads(os.environ.get("TOY_SHIFT", "{}"))
        quality = {"fid": 3.0, "clip": 60.0, "composition": 0.5}
        quality = {k: Measurement(v + shift.get(k, 0), 0.1, 64) for k, v in quality.items()}
        counts = {
            c: {"parameters": 2000, "targeted": 1000, "zeros": round(1000 * s), "sparsity_targeted": s,
                "sparsity_component": s / 2}
            for c, s in case.requested.items()
        }
        record = Record(
            case=case.id, workload=engine.workload_key(case), requested=case.requested, quality=quality, attributes={},
            exact={
                "keep": os.environ.get("TOY_KEEP", "0") * 64, "components": counts,
                "rounding": dict.fromkeys(counts, 0.0),
            },
            degenerate=int(os.environ.get("TOY_DEGENERATE", "0")), seconds={"prune": 0.1, "generate": 0.2},
            peak_megabytes=None, peak_of="not measured",
            conditions=Engine.conditions(SimpleNamespace(device=torch.device("cpu"), batch_size=1)),
        )
        return pipeline.Run(record, torch.zeros(2, 3, 8, 8, dtype=torch.uint8))

    monkeypatch.setattr(pipeline, "run", run)
"""

CASES = """
import pytest
from harness.case import Case

LEVELS = (0.2, 0.5)

@pytest.mark.parametrize(
    "case",
    [c for m in ("magnitude", "random") for s in LEVELS for c in [Case("scenes", "unet", m, "all", (s,))]],
    ids=lambda case: case.id,
)
def test_quality(case, gate, benchmark):
    gate.ready(case)
    record = benchmark.pedantic(gate.measure, args=(case,), rounds=1, iterations=1)
    benchmark.extra_info.update(record.to_json())
    gate.judge(record)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with a toy conftest and four cases, run in processes of their own."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makeconftest(TOY)
    pytester.makepyfile(test_toy=CASES)
    return pytester


@pytest.fixture
def stored(project: pytest.Pytester) -> pytest.Pytester:
    """The same, with baselines of all four cases."""
    project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first").assert_outcomes(passed=4)
    return project
