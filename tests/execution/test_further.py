"""Further scorers in a run: a column each, kept in the store, and part of what makes two runs comparable."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.run import Caches, run
from harness.metrics import METRICS, learn
from harness.results import Result, Results, plain
from harness.targets.resolve import TARGETS, resolve
from harness.verdict.compare import compare
from harness.workloads.user import user
from tests.metrics.scorers.test_dinov2 import save as save_dinov2
from tests.pipelines import save_clip_scorer, save_coco

DENSE, HALF = Case("tiny"), Case("tiny", "unet", "magnitude", "all", (0.5,))
NAMES = ("score_pick", "score_reward")
LENGTHS = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"scores": [len(text) for text in json.loads(line)["captions"]]}), flush=True)
"""


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """Return a setup with a CLIP and a program behind the first scorer."""
    monkeypatch.setitem(TARGETS, "tiny", "tests.pipelines:tiny")
    save_coco(tmp_path / "captions.json", 40)
    for name, seed in (("scorer", 1), ("pick", 2)):
        save_clip_scorer(tmp_path / name, seed)
    (tmp_path / "reward.py").write_text(LENGTHS)
    further = (("pick", str(tmp_path / "pick")), ("reward", f"cmd:{sys.executable} {tmp_path / 'reward.py'}"))
    workload = user(
        resolve("tiny"), tmp_path / "captions.json", 6, scorer=str(tmp_path / "scorer"), steps=1, further=further
    )
    learn(NAMES)
    yield Setup(workload, "cpu", 6, metrics=NAMES, store=tmp_path / "store")
    for name in NAMES:
        METRICS.pop(name, None)


def test_every_further_scorer_has_a_figure(setup: Setup, tmp_path: Path) -> None:
    bench = Workbench(setup)
    caches = Caches.of(bench)
    dense = run(DENSE, bench, None, caches, print)
    half = run(HALF, bench, dense, caches, print)
    lengths = [float(len(text)) for text in bench.texts]
    assert half.record.paired["score_reward"] == dense.record.paired["score_reward"] == lengths
    assert half.record.quality["score_pick"] != dense.record.quality["score_pick"]
    assert half.record.paired["score_pick"] == pytest.approx(half.evidence.further["score_pick"].tolist(), abs=1e-4)
    # The store gives the same figures back, and asks no program.
    again = run(HALF, Workbench(setup), dense, Caches.of(Workbench(setup)), print)
    assert again.record.quality == half.record.quality and again.record.cost.note
    # Other further scorers are another workload; none at all is the workload of runs that know nothing of them.
    fewer = Workbench(replace(setup, workload=replace(setup.workload, further=()), metrics=()))
    (tmp_path / "reward.py").write_text(LENGTHS + "# changed")
    keys = {one.facts(HALF).key for one in (bench, Workbench(setup), fewer)}
    assert len(keys) == 3 and "further" not in json.dumps(plain(half.record))
    # Another process learns the metrics from the file.
    for name in NAMES:
        METRICS.pop(name)
    both = Results((Result(half.record, "PASS"),), dense={"tiny": dense.record})
    (row,) = compare(both, both)
    assert {name for name, _ in row.differences} >= set(NAMES)


def test_a_program_that_ends_is_the_message_of_the_case(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text("raise SystemExit('out of credit')")
    bench = Workbench(setup)
    with pytest.raises(HarnessError, match=r"--scorer reward=cmd:.* ended with exit code 1 .*\(out of credit\)"):
        run(DENSE, bench, None, Caches.of(bench), print)


def test_similarity_by_dinov2_needs_its_features(setup: Setup, tmp_path: Path) -> None:
    save_dinov2(tmp_path / "dinov2")
    plain_workload = replace(setup.workload, further=())
    with_dino = replace(plain_workload, features=f"dinov2:{tmp_path / 'dinov2'}")
    bench = Workbench(Setup(with_dino, "cpu", 6, metrics=("dinov2",)))
    dense = run(DENSE, bench, None, Caches.of(bench), print)
    assert dense.evidence.features.shape == (6, 32) and dense.record.quality["dinov2"].value > 99.99
    with pytest.raises(HarnessError, match="--metrics dinov2 takes dinov2, which tiny lacks"):
        _ = Workbench(Setup(plain_workload, "cpu", 6, metrics=("dinov2",))).metrics
