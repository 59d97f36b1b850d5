"""The command line options: declare them, and refuse what cannot work before anything is loaded."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError, unknown
from harness.quality.scorers import check_features, check_scorer
from harness.targets import JUDGED, TARGETS
from harness.targets.index import check_weights, is_hub_id, name_of
from harness.verdict.judge import in_ci

# Tier → how many captions it measures unless told otherwise.
TIERS = {"smoke": 16, "pr": 64, "full": 64}
DTYPES = ("float32", "float16", "bfloat16")


def _path(text: str) -> Path:
    """Return a path. Refuses nothing at all, as of an unset variable, which `Path` takes for the working folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty, wanted a file or folder")
    return Path(text)


def declare(parser: pytest.Parser) -> None:
    """Declare the options; they select cases or scale the work."""
    group = parser.getgroup("prunegate")
    group.addoption(
        "--target",
        action="append",
        help="what to prune, also several: scenes (default), sd2_untrained, a folder that diffusers saved, a hub id",
    )
    group.addoption("--revision", metavar="REV", help="branch, tag or commit of a hub id")
    group.addoption("--caption-file", type=_path, metavar="FILE", help="a folder's captions: .jsonl, or one per line")
    group.addoption(
        "--coco-annotations", type=_path, metavar="FILE", help="a folder's captions: COCO's captions_….json"
    )
    group.addoption(
        "--scorer",
        metavar="DIR|open_clip:ARCH:WEIGHTS",
        help="the CLIP that judges a folder's pictures",
    )
    group.addoption("--reference", type=_path, metavar="DIR|FILE", help="pictures for FID, or their statistics")
    group.addoption("--protocol", default="pr", choices=("pr", "paper"), help="of a folder: pr 20 steps, paper 50")
    group.addoption("--steps", type=int, help="of a folder: denoising steps in place of the protocol's")
    group.addoption(
        "--caption-subset", type=_path, metavar="FILE", help="which captions, from `python -m harness captions`"
    )
    group.addoption("--dtype", choices=DTYPES, help="of a folder: float32, float16 or bfloat16 (default: as stored)")
    group.addoption("--channels-last", action="store_true", default=None, help="of a folder: its layout on GPUs")
    group.addoption("--weights", type=_path, metavar="DIR", help="prune the pipeline that train-scenes wrote to DIR")
    group.addoption("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1, …")
    group.addoption(
        "--tier",
        default="pr",
        choices=TIERS,
        help="smoke: one case per method, 16 captions; pr: what fits three minutes; full: every method, finer levels",
    )
    group.addoption("--batch-size", type=int, default=32, help="pictures generated at once (default 32)")
    group.addoption("--captions", type=int, help="how many of the held-out captions (default 64, smoke 16)")
    group.addoption("--images", type=_path, metavar="DIR", help="keep every picture as a PNG under DIR")
    group.addoption("--report", type=_path, metavar="DIR", help="where contact sheets go (default: prunegate-report)")
    group.addoption("--store", type=_path, metavar="DIR", help="keep finished cases in DIR, and take them from there")
    group.addoption("--baselines", type=_path, metavar="FILE", help="baselines file (default: baselines.json)")
    group.addoption("--update-baselines", action="store_true", help="store the figures of the cases that ran")
    group.addoption("--baseline-reason", metavar="TEXT", help="why the baselines change; kept with them")
    group.addoption("--allow-improvements", action="store_true", help="cases that became better than stored pass")
    group.addoption("--ci", action="store_true", help="UNDERPOWERED fails, as where the variable CI is set")
    group.addoption(
        "--calibrate-noise",
        type=int,
        metavar="K",
        help="measure in K fresh processes with other threads and batches how far figures move, and store it",
    )
    group.addoption(
        "--features",
        metavar="clip|inception[:FILE]",
        help="of a folder: what FID and KID are measured on, the scorer's (default) or Inception's with FILE's weights",
    )


def check(config: pytest.Config) -> None:
    """Fill in what follows from other options. Raises UsageError, in one message, for what cannot work."""
    option = config.option
    if option.captions is None:
        option.captions = TIERS[option.tier]
    option.ci = option.ci or in_ci()
    config.stash[_TARGETS] = _targets(option)
    if hasattr(config, "workerinput"):
        return
    if option.weights and not (option.weights / "pipeline" / "model_index.json").is_file():
        raise pytest.UsageError(
            f"--weights {option.weights} holds no pipeline; give the --out of `python -m harness train-scenes`"
        )
    if option.batch_size < 1:
        raise pytest.UsageError(f"--batch-size is {option.batch_size}, wanted 1 or more")
    writes = "--update-baselines" if option.update_baselines else "--calibrate-noise" if option.calibrate_noise else ""
    if option.calibrate_noise is not None and option.calibrate_noise < 2:
        raise pytest.UsageError(f"--calibrate-noise is {option.calibrate_noise}, wanted 2 processes or more")
    if option.calibrate_noise and option.store:
        raise pytest.UsageError("--calibrate-noise measures every time anew, and --store would not: leave it out")
    if option.calibrate_noise and option.update_baselines:
        raise pytest.UsageError("--calibrate-noise measures stored cases: run --update-baselines first, by itself")
    if writes and not (option.baseline_reason or "").strip():
        raise pytest.UsageError(f'{writes} wants --baseline-reason "why the figures change"')
    if option.baseline_reason and not writes:
        raise pytest.UsageError("--baseline-reason does nothing without --update-baselines or --calibrate-noise")
    if writes and option.ci:
        raise pytest.UsageError(f"baselines are not updated in CI: run {writes} on your machine and commit")
    if getattr(option, "numprocesses", None) and option.calibrate_noise:
        raise pytest.UsageError("--calibrate-noise runs processes of its own, one after the other: leave -n out")
    if getattr(option, "numprocesses", None) and getattr(option, "benchmark_json", None):
        raise pytest.UsageError("--benchmark-json stays empty under -n, pytest-benchmark is off there: leave one out")


# Options that say how the pipeline in a folder is measured.
OF_A_FOLDER = (
    "caption_file",
    "coco_annotations",
    "caption_subset",
    "scorer",
    "reference",
    "features",
    "steps",
    "revision",
    "dtype",
    "channels_last",
)


@dataclass(frozen=True)
class Chosen:
    """A target of this session. name: in ids. folder: of its pipeline, None for one that is built here."""

    name: str
    folder: Path | None

    @property
    def external(self) -> bool:
        """Whether captions, scorer and protocol are the user's."""
        return self.folder is not None or self.name not in JUDGED


_TARGETS = pytest.StashKey[list[Chosen]]()


def targets(config: pytest.Config) -> list[Chosen]:
    """Return the session's targets in the order asked for."""
    return config.stash[_TARGETS]


def _targets(option: Any) -> list[Chosen]:
    asked = option.target or ["scenes"]
    for name in asked:
        _check_name(name)
    built = [name for name in asked if name in TARGETS]
    if len(built) < len(asked) or not set(built) <= set(JUDGED):
        _check_source(option)
    else:
        for name in OF_A_FOLDER:
            if getattr(option, name) is not None:
                raise pytest.UsageError(f"--{name.replace('_', '-')} is of a folder, {asked[0]} has its own")
    found = [Chosen(name, None) if name in TARGETS else _folder(option, name) for name in asked]
    if option.revision and not any(is_hub_id(name) and not Path(name).is_dir() for name in asked):
        raise pytest.UsageError(f"--revision is of a pipeline on the hub, and {asked[0]} is none: leave it out")
    for chosen in found:
        if chosen.folder is not None and chosen.name in TARGETS:
            raise pytest.UsageError(
                f"--target {chosen.folder} would be called {chosen.name} in the results, like the target that is built "
                "here: rename the folder"
            )
    twice = [chosen.name for chosen in found if sum(other.name == chosen.name for other in found) > 1]
    if twice:
        raise pytest.UsageError(f"two targets would be called {twice[0]} in the results: rename the folder of one")
    return found


def _check_name(name: str) -> None:
    """Raise UsageError for what is neither a target that is built here, nor a folder, nor like an id of the hub."""
    if name in TARGETS or Path(name).is_dir() or is_hub_id(name):
        return
    if "/" in name or name.startswith("."):
        raise pytest.UsageError(f"--target {name} is not a folder; give one that diffusers saved")
    raise pytest.UsageError(str(unknown("target", name, TARGETS)))


def _folder(option: Any, name: str) -> Chosen:
    folder = Path(name)
    if not folder.is_dir() and is_hub_id(name):
        from harness.targets.hub import fetch

        try:
            return Chosen(name_of(name), fetch(name, option.revision))
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error
    if not (folder / "model_index.json").is_file():
        raise pytest.UsageError(f"--target {folder} has no model_index.json; give a folder that diffusers saved")
    try:
        check_weights(folder)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    return Chosen(name_of(name), folder)


def _check_source(option: Any) -> None:
    if (option.caption_file is None) == (option.coco_annotations is None):
        raise pytest.UsageError(
            "such a target wants captions: give --coco-annotations FILE or --caption-file FILE, one of them"
        )
    if option.scorer is None:
        raise pytest.UsageError("such a target wants a judge: give --scorer DIR, a CLIP that transformers saved")
    for name in ("caption_file", "coco_annotations", "caption_subset", "reference"):
        path = getattr(option, name)
        if path is not None and not path.exists():
            raise pytest.UsageError(f"--{name.replace('_', '-')} {path} does not exist")
    option.features = option.features or "clip"
    try:
        check_scorer(option.scorer)
        check_features(option.features)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    if option.steps is not None and option.steps < 1:
        raise pytest.UsageError(f"--steps is {option.steps}, wanted 1 or more")
    if option.weights:
        raise pytest.UsageError("--weights is of scenes: leave it or --target out")
