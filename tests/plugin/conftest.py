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
    import torch
    from harness.case import Case
    from harness.quality.judging import Opinion
    option = request.config.option
    return SimpleNamespace(
        dense=Opinion(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2), None), batches=None, seen=None,
        dense_record=None, records={}, progress=lambda text: None, captions=["one", "two"],
        workload=lambda case: {"toy": 1},
        workload_key=lambda case: os.environ.get("TOY_WORKLOAD", "toyworkload"), dense_case=lambda: Case("scenes"),
        conditions=lambda: {"device": "toy", "threads": 1, "batch_size": os.environ.get("TOY_BATCH", "4")},
    )


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    import torch
    import harness.pipeline as pipeline
    from harness.engine import Engine
    from harness.errors import HarnessError
    from harness.measurement import Measurement
    from harness import digests
    from harness.quality.judging import Seen
    from harness.record import Record
    from harness.surgery.masks import weights_digest

    def run(case, engine):
        engine.progress("generating")
        if "TOY_LOG" in os.environ:
            with open(os.environ["TOY_LOG"], "a") as log:
                log.write(case.id + "\\n")
        if os.environ.get("TOY_KILLED") == case.id:
            os.kill(os.getpid(), 9)
        if os.environ.get("TOY_BREAKS") == case.id:
            raise HarnessError("layer conv_in cannot be pruned: a weight is NaN or infinite")
        shift, scatter = (json.loads(os.environ.get(name, "{}")) for name in ("TOY_SHIFT", "TOY_SCATTER"))
        wobble = float(os.environ.get("TOY_WOBBLE", "0")) * int(os.environ.get("OMP_NUM_THREADS", "0"))
        shift["clip"] = shift.get("clip", 0) + wobble
        values = {"fid": 3.0, "fid_dense": 2.0, "clip": 60.0, "composition": 0.5, "drift": 1.0}
        paired = {
            k: [v + i / 8 + shift.get(k, 0) + (-1) ** i * scatter.get(k, 0) for i in range(8)]
            for k, v in values.items()
        }
        quality = {k: Measurement(v + shift.get(k, 0), 0.1, 64) for k, v in values.items()}
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
            tensor_megabytes=50.0 * float(os.environ.get("TOY_MEMORY", "1")),
            parameter_bytes={"unet": {"dense": 8000, "stored": int(os.environ.get("TOY_BYTES", "5000"))}},
            per_caption={k: v for k, v in paired.items() if "fid" not in k},
            resampled={k: v for k, v in paired.items() if "fid" in k},
            conditions=Engine.conditions(
                SimpleNamespace(device=torch.device("cpu"), batch_size=int(os.environ.get("TOY_BATCH", "4")))
            ),
        )
        seen = Seen(engine.dense, 0)
        weights = digests.of_value(case.id) if case.plan else weights_digest({})
        return pipeline.Run(record, torch.zeros(2, 3, 8, 8, dtype=torch.uint8), seen, weights)

    monkeypatch.setattr(pipeline, "run", run)


def pytest_configure():
    from harness import files

    right = files.write

    def killed(path, content):
        if path.name == os.environ.get("TOY_KILLED_AT"):
            os.kill(os.getpid(), 9)
        right(path, content)

    files.write = killed
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

LATENCY = """
import os
from harness.case import Case
from harness.measurement import Measurement

def test_latency(gate):
    case = Case("scenes", "unet", "magnitude", "all", (0.2,))
    gate.judge_latency(case, Measurement(float(os.environ.get("TOY_LATENCY", "1.0")), 0.01, 12))
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with a toy conftest and four cases, run in processes of their own."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makeconftest(TOY)
    pytester.makepyfile(test_toy=CASES)
    return pytester


_FIRST: dict[str, bytes] = {}


@pytest.fixture
def stored(project: pytest.Pytester) -> pytest.Pytester:
    """The same, with baselines of all four cases; they are measured once and copied from then on."""
    if not _FIRST:
        project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first").assert_outcomes(passed=4)
        files = [project.path / "baselines.json", *(project.path / "baselines").iterdir()]
        _FIRST.update({str(path.relative_to(project.path)): path.read_bytes() for path in files})
    (project.path / "baselines").mkdir(exist_ok=True)
    for name, content in _FIRST.items():
        (project.path / name).write_bytes(content)
    return project


@pytest.fixture
def timed(project: pytest.Pytester) -> pytest.Pytester:
    """A folder with one latency case alone, and its baseline."""
    (project.path / "test_toy.py").unlink()
    project.makepyfile(test_toy_latency=LATENCY)
    project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first").assert_outcomes(passed=1)
    return project
