"""Declares the command line options, and refuses wrong ones. Nothing is loaded, fetched or written here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.execution.executor import Cluster
from harness.metrics.further import PREFIX
from harness.plugin import refusals, shard
from harness.plugin.numbers import numbers
from harness.plugin.settings import Settings
from harness.targets.candidate import named
from harness.targets.resolve import EMBEDDED, resolve
from harness.targets.spec import TargetSpec
from harness.verdict.dropoff import margins
from harness.verdict.effect import Rules

# Tier → how many captions a case is measured with, unless --captions says otherwise.
TIERS = {"smoke": 16, "pr": 64, "full": 64, "study": 64}
DTYPES = ("float32", "float16", "bfloat16")


def _path(text: str) -> Path:
    """Return a path. `Path` alone would read an empty text, such as an unset variable, as the working folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty; give a file or folder")
    return Path(text)


def _place(text: str) -> Path | str:
    """Return a path, or the text where it is an address such as s3://bucket/folder."""
    return text if "://" in text else _path(text)


def _add(group: pytest.OptionGroup, name: str, **more: Any) -> None:
    """Declare one option. Raises UsageError where another plugin has an option of the name."""
    try:
        group.addoption(name, **more)
    except ValueError as error:
        raise pytest.UsageError(
            f"{name} of PruneGate is an option of another pytest plugin too; leave that plugin out with -p no:NAME, "
            "or run PruneGate in an environment without it"
        ) from error


def declare(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("prunegate", "PruneGate: what to prune, and how to measure it")
    add = partial(_add, group)
    add(
        "--target", action="append", metavar="NAME|DIR|ID",
        help="what to prune; repeat the option for several: scenes (default), sd2_untrained, a folder that diffusers "
        "saved, or a Hub id",
    )  # fmt: skip
    add(
        "--candidate", action="append", metavar="[NAME=]DIR",
        help="measure a pipeline that another tool made from the target, as a case of its own; repeat for several",
    )  # fmt: skip
    tiers = "smoke: one case per method; pr (default); full: finer levels; study: further methods and kinds of layers"
    add("--tier", default="pr", choices=TIERS, help=tiers)
    add(
        "--changed", action="store_true",
        help="make pictures only for cases whose pruned weights differ from the baseline's, and for a few that audit "
        "the rest; leave timing out",
    )  # fmt: skip
    add("--captions", type=int, metavar="N", help="captions per case (default 64; 16 in the tier smoke)")
    add("--budget", metavar="METRIC=X,…", help="the losses against dense at which quality still holds: clip=0.5,fid=2")
    add("--metrics", metavar="NAMES", help="more metrics to measure, joined by commas, such as ssim,psnr")
    add("--torch-device", default="auto", help="auto (default: a GPU where there is one), cpu, cuda, cuda:1, …")
    add("--batch-size", type=int, default=32, metavar="N", help="pictures generated at once (default 32)")
    add(
        "--executor", default="local", metavar="local|ray[://ADDRESS]",
        help="where cases run: local (default): in this process; ray: in workers on this machine; ray://auto or "
        "ray://HOST:PORT: on a Ray cluster",
    )  # fmt: skip
    add("--workers", type=int, metavar="N", help="workers of --executor ray, or of --plan")
    add("--threads-per-worker", type=int, metavar="T", help="CPU threads of a worker (default: 4, or fewer)")
    add("--shard-captions", type=int, metavar="N", help="captions of a shard of --executor ray (default: chosen)")
    add("--plan", action="store_true", help="print what the run would make and cost, and run nothing")
    add("--rate", type=float, metavar="X", help="with --plan: the TFLOP/s that a worker reaches")
    add("--shard", metavar="I/N", help="run the I-th of N parts of the cases; `prunegate merge` joins their --json")
    add("--weights", type=_path, metavar="DIR", help="scenes only: prune the pipeline that train-scenes wrote to DIR")

    group = parser.getgroup("prunegate-pipeline", "PruneGate: your own pipelines (every target but scenes)")
    add = partial(_add, group)
    add("--caption-file", type=_path, metavar="FILE", help="captions: .jsonl, or one per line")
    add("--coco-annotations", type=_path, metavar="FILE", help="captions: COCO's captions_….json")
    add("--caption-subset", type=_path, metavar="FILE", help="captions to take: a file that `prunegate captions` wrote")
    add(
        "--scorer", action="append", metavar="[NAME=]DIR|open_clip:ARCH:WEIGHTS|cmd:PROGRAM",
        help="the CLIP that scores pictures; repeat the option: each further scorer adds a column, also a CLIP such as "
        "PickScore, or a program in another interpreter (docs/scorers.md)",
    )  # fmt: skip
    add("--features", metavar="scorer|inception[:FILE]|dinov2:DIR", help="whose features FID and KID compare")
    add("--reference", type=_path, metavar="DIR|FILE", help="pictures for FID and KID, or a file of their statistics")
    add("--protocol", choices=("pr", "paper"), help="pr (default): 20 steps; paper: 50 steps")
    add("--steps", type=int, metavar="N", help="denoising steps in place of the protocol's")
    add("--dtype", choices=DTYPES, help="dtype of all components, for scenes too (default: as stored)")
    add(
        "--channels-last",
        action="store_true",
        default=None,
        help="use the memory layout channels_last for convolutions",
    )
    add("--revision", metavar="REV", help="branch, tag or commit of a Hub id")

    group = parser.getgroup("prunegate-results", "PruneGate: results and baselines")
    add = partial(_add, group)
    add("--json", type=_path, metavar="FILE", help="write all results to FILE; `prunegate compare` reads it")
    add("--report", type=_path, metavar="DIR", help="folder for page and contact sheets (default prunegate-report)")
    add("--images", type=_path, metavar="DIR", help="keep every picture as a PNG under DIR")
    add(
        "--store", type=_place, metavar="DIR|ADDRESS",
        help="keep finished work in a folder, or an fsspec address such as s3://bucket/folder, and reuse it: resumes "
        "an interrupted run",
    )  # fmt: skip
    add(
        "--baselines", type=_path, metavar="FILE",
        help="one baselines file for all targets (default: baselines.json for scenes, baselines.NAME.json for others)",
    )  # fmt: skip
    add("--update-baselines", action="store_true", help="store the figures of the cases that ran")
    add("--accept-degenerate", action="store_true", help="store cases with pictures that show nothing, too")
    add("--baseline-reason", metavar="TEXT", help="why the baselines change; stored with them")
    add(
        "--calibrate-noise", type=int, metavar="K",
        help="measure in K processes with different threads and batches how much figures vary, and store that",
    )  # fmt: skip
    add(
        "--compare-only", action="store_true",
        help="for changing a method on purpose: masks may differ, nothing is red, every figure is better or worse",
    )  # fmt: skip
    add("--allow-improvements", action="store_true", help="IMPROVED passes")
    add("--ci", action="store_true", help="UNDERPOWERED fails; the variable CI has the same effect")
    add(
        "--expect-same-stack", action="store_true",
        help="figures must be the baseline's although machine or versions differ (default: the effect of pruning is)",
    )  # fmt: skip
    add("--require-power", action="store_true", help="UNDERPOWERED fails on another machine or stack, too")
    add(
        "--effect-tolerance", metavar="METRIC=X,…",
        help="how far the effect of pruning may move on another machine or stack, such as clip=1.5",
    )  # fmt: skip


def parse(option: argparse.Namespace, root: Path) -> Settings:
    """Return the options as settings.

    Args:
        option: pytest's options.
        root: The folder of pytest's configuration.

    Raises:
        pytest.UsageError: Something cannot work. The message names the option, and says what to do.
    """
    try:
        return _settings(option, root)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    except OSError as error:
        # Such as a name that is too long for the file system.
        raise pytest.UsageError(f"{str(error.filename)[:80]}: {error.strerror}; give another name") from error


def _settings(option: argparse.Namespace, root: Path) -> Settings:
    targets = _targets(option)
    refusals.check_numbers(option)
    refusals.check_own_pipelines(option, targets)
    refusals.check_outputs(option)
    refusals.check_plan(option)
    executor, address = refusals.executor(option)
    further = refusals.further_scorers(option)
    settings = Settings(
        targets=targets,
        candidates=_candidates(option.candidate or (), targets),
        tier=option.tier,
        changed=option.changed,
        captions=TIERS[option.tier] if option.captions is None else option.captions,
        caption_file=option.caption_file or option.coco_annotations,
        caption_subset=option.caption_subset,
        scorer=option.scorer[0] if option.scorer else None,
        further=further,
        features=option.features or "scorer",
        reference=option.reference,
        protocol=option.protocol or "pr",
        steps=option.steps,
        metrics=(*_metrics(option.metrics), *(PREFIX + one.name for one in further)),
        plan=option.plan,
        rate=option.rate,
        shard=None if option.shard is None else shard.parsed(option.shard),
        executor=executor,
        cluster=Cluster(address, option.workers, option.threads_per_worker, option.shard_captions),
        device=option.torch_device,
        batch_size=option.batch_size,
        images=_absolute(option.images),
        report=_absolute(option.report) or root.absolute() / "prunegate-report",
        store=option.store if isinstance(option.store, str) else _absolute(option.store),
        json=_absolute(option.json),
        benchmark_json=_absolute(getattr(option, "benchmark_json", None)),
        junit=_junit(option),
        root=root.absolute(),
        baselines=_absolute(option.baselines),
        update=option.update_baselines,
        calibrate=option.calibrate_noise,
        accept_degenerate=option.accept_degenerate,
        reason=(option.baseline_reason or "").strip(),
        allow_improvements=option.allow_improvements,
        ci=refusals.in_ci(option),
        rules=Rules(option.expect_same_stack, numbers("--effect-tolerance", option.effect_tolerance)),
        budget=margins() if option.budget is None else numbers("--budget", option.budget),
        compare_only=option.compare_only,
        require_power=option.require_power,
    )
    refusals.check_metrics(settings)
    if option.budget is not None:
        refusals.check_budget(settings)
    return settings


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _junit(option: argparse.Namespace) -> Path | None:
    given = getattr(option, "xmlpath", None)
    return None if given is None else Path(given).absolute()


def _metrics(text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (text or "").split(","))
    if text is not None and not all(names):
        raise HarnessError(f"--metrics {text!r} has an empty name; give names joined by commas, such as ssim,psnr")
    spaced = next((name for name in names if len(name.split()) > 1), None)
    if spaced is not None:
        raise HarnessError(f"--metrics {text!r}: join names by commas, such as {','.join(spaced.split())}")
    return names if text is not None else ()


def _targets(option: argparse.Namespace) -> tuple[TargetSpec, ...]:
    """Return all targets, each with the options that apply to it. An option that applies to none is refused."""
    plain = [(name, resolve(name)) for name in option.target or [EMBEDDED]]
    hub = any(spec.kind == "hub" for _, spec in plain)
    scenes = any(spec.name == EMBEDDED for _, spec in plain)
    own = any(spec.name != EMBEDDED for _, spec in plain)
    specs = tuple(
        resolve(
            name,
            # Pass options that apply to no target as well: `resolve` refuses them with a message.
            revision=option.revision if spec.kind == "hub" or not hub else None,
            dtype=option.dtype,
            channels_last=bool(option.channels_last) and (spec.name != EMBEDDED or not own),
            weights=option.weights if spec.name == EMBEDDED or not scenes else None,
        )
        for name, spec in plain
    )
    names = [spec.name for spec in specs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise HarnessError(f"--target: two targets would be called {twice[0]} in ids; rename the folder of one")
    return specs


def _candidates(given: Sequence[str], targets: Sequence[TargetSpec]) -> tuple[TargetSpec, ...]:
    """Return all candidates. Raises HarnessError where there are several targets, or two candidates of one name."""
    if given and len(targets) > 1:
        raise HarnessError(
            f"--candidate {given[0]} needs one --target, and {len(targets)} are given; run them one by one"
        )
    specs = tuple(named(text, targets[0]) for text in given)
    names = [spec.name for spec in specs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise HarnessError(f"--candidate: two candidates would be called {twice[0]} in ids; give NAME=DIR to one")
    return specs
