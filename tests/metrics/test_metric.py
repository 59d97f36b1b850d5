"""The entries of METRICS: what an entry may say, what it computes, and the figures that verdicts take from it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from harness import metrics
from harness.errors import HarnessError
from harness.measurement import Measurement
from harness.metrics import METRICS, frechet, kid, register
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.reference import Reference
from harness.metrics.values import by_caption
from tests.metrics.samples import evidence, sample


def brightness(sample: Sample) -> Values:
    return by_caption(sample.own.scores + 1, sample.groups)


MADE_UP = Metric(
    "brightness", "brightness", "mean value", brightness, "higher", 2, "caption", frozenset({"scores"}), 0.1, 0.01
)


def test_the_entries_in_the_order_of_reports() -> None:
    assert [*METRICS] == [
        "fid", "fid_dense", "kid", "cmmd", "clip", "composition", "drift", "dinov2", "ssim", "ms_ssim", "psnr", "lpips",
    ]  # fmt: skip
    assert all(name == metric.name for name, metric in METRICS.items())
    assert [name for name, m in METRICS.items() if not m.default] == [
        "cmmd",
        "dinov2",
        "ssim",
        "ms_ssim",
        "psnr",
        "lpips",
    ]
    lower = ["fid", "fid_dense", "kid", "cmmd", "drift", "lpips"]
    assert [name for name, m in METRICS.items() if m.lower_is_better] == lower
    assert [name for name, m in METRICS.items() if m.pairing == "resample"] == ["fid", "fid_dense", "kid", "cmmd"]
    assert {name: m.margin for name, m in METRICS.items() if m.margin is not None} == {
        "fid": 2.0, "clip": 0.5, "composition": 0.05,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a-b"}, "other characters"),
        ({"name": "SSIM"}, "other characters"),
        ({"takes": frozenset({"sound"})}, "known inputs: features"),
        ({"tolerance": 0.02}, "under three times its noise"),
        ({"tolerance": 0.0, "noise": 0.0}, "under three times its noise"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(MADE_UP, **change)  # type: ignore[arg-type]


def test_a_metric_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", dict(METRICS))
    for _ in range(2):
        register(MADE_UP)
    assert metrics.METRICS["brightness"] is MADE_UP
    with pytest.raises(ValueError, match="metric brightness exists already"):
        register(replace(MADE_UP, decimals=3))


def test_a_metric_may_be_named_by_its_place() -> None:
    placed = replace(MADE_UP, measure="tests.metrics.test_metric:brightness")
    made_up = sample(evidence(5, 0), evidence(5, 1))
    assert placed.compute(made_up).figure == MADE_UP.compute(made_up).figure


@pytest.mark.parametrize(
    ("extra", "advice"),
    [
        ("vision", "run `pip install -e '.[vision]'` in the clone of PruneGate"),
        ("", "run `pip install no_such_package`"),
    ],
)
def test_a_missing_package_is_said_with_what_brings_it(extra: str, advice: str) -> None:
    lacking = replace(MADE_UP, packages=("torch", "no_such_package"), extra=extra)
    for use in (lacking.check, lambda: lacking.compute(sample(evidence(5, 0), evidence(5, 1)))):
        with pytest.raises(HarnessError) as error:
            use()
        assert str(error.value) == f"--metrics brightness needs no_such_package, which is not installed; {advice}"
    replace(lacking, packages=("torch",)).check()


def test_tolerance_and_noise_grow_where_weights_are_solved_for() -> None:
    figure = Measurement(20.0, 2.0, 64)
    fid, composition = METRICS["fid"], METRICS["composition"]
    assert (fid.allowed(figure, False), fid.expected_noise(figure, False)) == (0.02, 0.0)
    assert (fid.allowed(figure, True), fid.expected_noise(figure, True)) == (0.5, 0.05)
    assert fid.allowed(replace(figure, se=1e-3), True) == 0.02
    share = Measurement(0.8, 0.05, 64)
    assert (composition.allowed(share, False), composition.expected_noise(share, False)) == (0.016, 0.0)
    assert (composition.allowed(share, True), composition.expected_noise(share, True)) == (
        round(2 / 64, 4),
        round(0.36 / 64, 6),
    )


def test_figures_as_people_read_them() -> None:
    figure = Measurement(-0.0004, 0.1234, 9)
    assert METRICS["clip"].text(figure) == "0.00 ± 0.12" and METRICS["drift"].text(figure) == "0.00"
    assert METRICS["fid"].worse_by(1.5) == 1.5 and METRICS["clip"].worse_by(1.5) == -1.5


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9]])
def test_every_metric_without_pictures_gives_what_its_entry_says(groups: list[int] | None) -> None:
    own, dense, real = evidence(12, 0), evidence(12, 1), evidence(40, 2).features
    # The scorer's own vectors, as `cmmd` takes them.
    own = replace(own, embeddings=normalize(own.features))
    dense = replace(dense, embeddings=normalize(dense.features))
    reference = Reference(frechet.reference(*frechet.summarise(real), 40), kid.reference(real), "digest")
    made_up = replace(sample(own, dense, groups), reference=reference)
    n = 12 if groups is None else 10
    assert made_up.count == n
    for metric in (m for m in METRICS.values() if "pictures" not in m.takes):
        values = metric.compute(made_up)
        assert values.figure.n == n and values.paired.dtype == torch.float64, metric.name
        if metric.pairing == "resample":
            assert values.figure.se == values.paired.std().item()
        else:
            assert len(values.paired) == n and values.figure.value == pytest.approx(values.paired.mean().item())
            assert not metric.steps or groups or set(values.paired.tolist()) <= {0.0, 1.0}


def test_a_distance_reads_the_sets_that_it_names() -> None:
    own, dense, real = evidence(12, 0), evidence(12, 1), evidence(40, 2).features
    reference = Reference(frechet.reference(*frechet.summarise(real), 40), kid.reference(real), "digest")
    made_up = replace(sample(own, dense), reference=reference)
    for name, (value, distances) in {
        "fid": frechet.resampled(own.features, reference.frechet),
        "fid_dense": frechet.between(own.features, dense.features),
        "kid": kid.kid(own.features, kid.reference(real)),
    }.items():
        values = METRICS[name].compute(made_up)
        assert values.figure.value == value and torch.equal(values.paired, distances), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fid", "fid needs reference pictures; give --reference DIR"),
        ("kid", "kid needs the features of reference pictures"),
        ("composition", "composition needs the scorer of `scenes`"),
        ("ssim", "--metrics ssim needs the pictures of both models"),
        ("psnr", "--metrics psnr needs the pictures of both models"),
    ],
)
def test_what_is_not_there_is_one_message(name: str, message: str) -> None:
    bare = sample(replace(evidence(5, 0), composition=None), evidence(5, 1))
    with pytest.raises(HarnessError, match=message):
        METRICS[name].compute(bare)


def test_entries_and_names_of_scorers_load_no_torch() -> None:
    code = "import sys, harness.metrics, harness.metrics.scorers; print({'torch', 'torchmetrics'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
