"""Options that cannot work are one message, before anything runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import results
from harness.errors import HarnessError
from harness.plugin import places
from harness.plugin.session import Session, of

UPDATE = ["--update-baselines", "--baseline-reason", "x"]


def configured(pytester: pytest.Pytester, *options: str) -> Session:
    """Return the plugin's object of a configuration in this process; nothing runs."""
    arguments = ["-p", "harness.plugin", "-c", os.devnull, f"--rootdir={pytester.path}"]
    return of(pytester.parseconfigure(*arguments, *options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "scene"], "did you mean scenes"),
        (["--target", ""], "the target's name is empty"),
        (["--tier", "huge"], "invalid choice: 'huge'"),
        (["--weights", "nowhere"], "--weights nowhere holds no pipeline"),
        (["--batch-size", "0"], "--batch-size 0 is too small; give 1 or more"),
        (["--captions", "1"], "--captions 1 is too small for a standard error; give 2 or more"),
        (["--captions", "-3"], "--captions -3 is too small"),
        (["--executor", "locl"], "did you mean local"),
        (["--executor", "local://x"], "--executor local://x: write ray, ray://auto or ray://HOST:PORT"),
        (["--executor", "ray://"], "--executor ray://: write ray, ray://auto"),
        (["--executor", "ray", "--workers", "0"], "--workers 0 is too small; give 1 or more"),
        (["--executor", "ray", "--changed"], "so one process is enough. Leave --executor ray out."),
        (["--workers", "2"], "--workers applies to --executor ray only"),
        (["--shard-captions", "8"], "--shard-captions applies to --executor ray only"),
        (["--plan", "--workers", "0"], "--workers 0 is too small; give 1 or more"),
        (["--rate", "5"], "--rate needs --plan; give --plan too, or leave --rate out"),
        (["--plan", "--rate", "nan"], "--rate nan is no rate; give a number above 0, in TFLOP/s"),
        (["--plan", "--json", "x.json"], "--plan runs no case, and --json needs a run. Leave one out."),
        (["--plan", *UPDATE], "--plan runs no case, and --update-baselines needs a run. Leave one out."),
        (["--shard", "5/4"], "--shard 5/4 is no shard; give I/N, such as 1/4"),
        (["--shard", "half"], "--shard half is no shard"),
        (["--baseline-reason", "x"], "--baseline-reason needs --update-baselines or --calibrate-noise"),
        (["--update-baselines"], "--update-baselines needs a reason"),
        (["--update-baselines", "--baseline-reason", " "], "--update-baselines needs a reason"),
        (["--store="], "--store: the name is empty; give a file or folder"),
        (["--baselines", "mine.txt"], "--baselines mine.txt does not end in .json"),
        # Metrics.
        (["--metrics", "fidd"], "did you mean fid"),
        (["--metrics", "ssim,"], "has an empty name"),
        (["--metrics", "ssim psnr"], "--metrics 'ssim psnr': join names by commas, such as ssim,psnr"),
        (["--metrics", "kid"], "--metrics kid needs reference features, which scenes does not have; leave kid out"),
        (["--effect-tolerance", "clip:1.5"], "--effect-tolerance clip:1.5: write METRIC=NUMBER, such as clip=1.5"),
        (["--effect-tolerance", "clip=x"], "'x' is no positive number; give one, such as clip=1.5"),
        (["--effect-tolerance", "clipp=1"], "--effect-tolerance 'clipp' is unknown"),
        (["--compare-only", "--update-baselines"], "--compare-only accepts no figures, and --update-baselines stores"),
        (["--budget", "clip"], "--budget clip: write METRIC=NUMBER, such as clip=1.5"),
        (["--budget", "clip=0.5,clip=1"], "--budget names clip twice; give it once"),
        (["--budget", "fid=0"], "--budget fid=0: '0' is no positive number; give one, such as fid=1.5"),
        (["--budget", "ssim=0.1"], "--budget ssim: the run does not measure it; add --metrics ssim"),
        (["--budget", "kid=3"], "--budget kid needs reference features, which scenes does not have; leave kid out"),
        # What applies to the user's own pipelines.
        (["--protocol", "paper"], "--protocol applies to your own pipelines only; scenes has a fixed protocol"),
        (["--protocol", "pr"], "--protocol applies to your own pipelines only"),
        (["--steps", "3"], "--steps applies to your own pipelines only; scenes has a fixed protocol. Leave it out."),
        (["--scorer", "x"], "--scorer applies to your own pipelines only"),
        (["--features", "scorer"], "--features applies to your own pipelines only"),
        (["--caption-file", "conftest.py"], "--caption-file applies to your own pipelines only"),
        (["--reference", "."], "--reference applies to your own pipelines only"),
        (["--channels-last"], "--channels-last applies to your own pipelines only"),
        (["--revision", "abc"], "--revision needs a Hub id"),
        (["--weights", ".", "--target", "sd2_untrained"], "--weights applies to scenes only"),
        (["--target", "sd2_untrained"], "--target sd2_untrained needs captions; give either --coco-annotations FILE"),
        (["--target", "sd2_untrained", "--caption-file", "conftest.py"], "--target sd2_untrained needs a scorer"),
        (["--target", "scenes", "--target", "scenes"], "two targets would be called scenes"),
    ],
)
def test_what_cannot_work_is_one_message(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest("")
    with pytest.raises(pytest.UsageError) as refused:
        configured(pytester, *options)
    lines = [line for line in str(refused.value).splitlines() if message in line]
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--report", "conftest.py/x"], "conftest.py is a file; name another place"),
        (["--images", "conftest.py"], "conftest.py is a file; name another place"),
        (["--store", "conftest.py"], "conftest.py is a file; name another place"),
        (["--json", "."], "is a folder; name a file"),
        (["--json", "conftest.py/x.json"], "conftest.py is a file; name another place"),
        (["--json", "/proc/x.json"], "--json /proc/x.json: nothing can be written to /proc"),
        (["--benchmark-json", "."], "is a folder; name a file"),
        (["--benchmark-json", "/proc/x.json"], "nothing can be written to /proc"),
        ([*UPDATE, "--baselines", "/proc/x.json"], "nothing can be written to /proc"),
        ([*UPDATE, "--baselines", "folder.json"], "folder.json is a folder; name a file"),
        ([*UPDATE, "--baselines", "taken.json"], "taken is a file; name another place"),
    ],
)
def test_places_that_cannot_be_written_are_one_message(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest("")
    (pytester.path / "folder.json").mkdir()
    (pytester.path / "taken").touch()
    settings = configured(pytester, *options).settings
    before = sorted(pytester.path.rglob("*"))
    with pytest.raises(HarnessError) as refused:
        places.check(settings, ["scenes"])
    assert message in str(refused.value) and str(refused.value).startswith(next(o for o in options[-2:] if "--" in o))
    assert sorted(pytester.path.rglob("*")) == before


def test_places_that_can_be_written_stay_as_they_are(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    results.write(pytester.path / "kept.json", results.Results())
    options = [
        "--json=kept.json",
        "--store=new/store",
        "--images=new/images",
        "--report=new",
        "--benchmark-json=b.json",
    ]
    settings = configured(pytester, *options, *UPDATE, "--baselines=new/file.json").settings
    before = {path: path.stat().st_mtime_ns for path in pytester.path.rglob("*")}
    places.check(settings, ["scenes"])
    assert {path: path.stat().st_mtime_ns for path in pytester.path.rglob("*")} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "paper"], "--protocol applies to your own pipelines only"),
        (["--captions", "1001"], "--captions 1001 asks for more than the 1000 held-out captions"),
        (["--json", "."], "is a folder; name a file"),
        (["--benchmark-json", "/proc/x.json"], "nothing can be written to /proc"),
    ],
)
@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one", "two"])
def test_a_run_that_is_refused_has_not_begun(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str, workers: list[str]
) -> None:
    monkeypatch.setenv("TOY_LOG", str(stored.path / "log"))
    done = stored.runpytest_subprocess(*options, *workers)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in done.stderr.lines if "error: " in line.lower()]
    expected = "use --json /proc/x.json" if workers and "--benchmark-json" in options else message
    assert len(errors) == 1 and expected in errors[0], done.stderr.str()
    assert "Traceback" not in done.stderr.str() + done.stdout.str()
    assert not (stored.path / "log").exists() and not (stored.path / "prunegate-report").exists()


def test_options_for_targets_of_two_kinds_apply_where_they_can(pytester: pytest.Pytester) -> None:
    (pytester.path / "captions.txt").write_text("one\ntwo\nthree\n")
    (pytester.path / "scorer").mkdir()
    (pytester.path / "pictures").mkdir()
    options = ["--target=scenes", "--target=sd2_untrained", "--target=some/model", "--protocol=paper", "--steps=7"]
    options += ["--dtype=float16", "--revision=abc", "--caption-file=captions.txt", "--scorer=scorer", "--captions=2"]
    options += ["--metrics=kid,composition", "--reference=pictures"]
    session = configured(pytester, *options)
    scenes, built, hub = session.settings.targets
    assert (scenes.dtype, scenes.revision, built.dtype, built.revision) == ("float16", None, "float16", None)
    assert (hub.name, hub.revision, hub.dtype) == ("model", "abc", "float16")
    workloads = {spec.name: session.settings.workload(spec.name) for spec in session.settings.targets}
    assert workloads["scenes"].protocol.num_inference_steps == 8
    assert (
        workloads["model"].protocol.num_inference_steps == workloads["sd2_untrained"].protocol.num_inference_steps == 7
    )
    takes = frozenset({"features", "reference_features"}), frozenset({"composition"})
    assert [bool(session.settings.lacking("scenes", part)) for part in takes] == [True, False]
    assert [bool(session.settings.lacking("model", part)) for part in takes] == [False, True]
    names = [session.settings.baselines_of(spec.name).name for spec in session.settings.targets]
    assert names == ["baselines.json", "baselines.sd2_untrained.json", "baselines.model.json"]


@pytest.mark.parametrize("target", ["scenes", "some/model"])
def test_configuring_writes_and_fetches_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, target: str, tmp_path: Path
) -> None:
    (tmp_path / "captions.txt").write_text("one\ntwo\n")
    for name in ("scorer", "home", "empty"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path / "empty")
    own = [f"--caption-file={tmp_path / 'captions.txt'}", f"--scorer={tmp_path / 'scorer'}", "--captions=2"]
    options = ["--json=a/b.json", "--store=c", "--images=d", "--report=e", "--baselines=f/g.json", f"--target={target}"]
    before = sorted(tmp_path.rglob("*"))
    for name in ("home", "empty"):
        (tmp_path / name).chmod(0o500)
    # pytest-benchmark makes a folder.
    session = configured(pytester, "-p", "no:benchmark", *options, *(own if target != "scenes" else []))
    assert session.settings.json == tmp_path / "empty" / "a" / "b.json"
    for name in ("home", "empty"):
        (tmp_path / name).chmod(0o700)
    assert sorted(tmp_path.rglob("*")) == before
