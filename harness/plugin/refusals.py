"""Refuses options that cannot work, with one message per mistake."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from harness.errors import HarnessError, unknown
from harness.execution import EXECUTORS
from harness.metrics import METRICS, learn
from harness.metrics.further import PREFIX
from harness.metrics.scorers import check_features, check_scorer
from harness.metrics.scorers.further import Further, parsed
from harness.plugin.settings import Settings
from harness.targets.resolve import EMBEDDED
from harness.targets.spec import TargetSpec
from harness.verdict.judge import in_ci as variable_ci

# Options for a user's own pipelines: name of the attribute → the thing that scenes has in its place.
OWN = {
    "caption_file": "its own captions",
    "coco_annotations": "its own captions",
    "caption_subset": "its own captions",
    "scorer": "its own scorer",
    "features": "its own scorer",
    "reference": "its own reference pictures",
    "protocol": "a fixed protocol",
    "steps": "a fixed protocol",
}
_FILES = ("caption_file", "coco_annotations", "caption_subset", "reference")


def _name(attribute: str) -> str:
    return "--" + attribute.replace("_", "-")


def in_ci(option: argparse.Namespace) -> bool:
    """Return whether the run is in continuous integration: by `--ci`, or by the variable CI."""
    return bool(option.ci) or variable_ci()


def check_numbers(option: argparse.Namespace) -> None:
    """Raise HarnessError for a count that is too small."""
    for attribute, least, why in (
        ("batch_size", 1, ""),
        ("steps", 1, ""),
        ("workers", 1, ""),
        ("threads_per_worker", 1, ""),
        ("shard_captions", 1, ""),
        ("captions", 2, " for a standard error"),
        ("calibrate_noise", 2, " for a standard deviation"),
    ):
        value = getattr(option, attribute)
        if value is not None and value < least:
            raise HarnessError(f"{_name(attribute)} {value} is too small{why}; give {least} or more")


def executor(option: argparse.Namespace) -> tuple[str, str]:
    """Return the name of the executor, and the address of its cluster, "" for this machine.

    Raises:
        HarnessError: There is no such executor, or an option does not go with it.
    """
    name, has_address, address = option.executor.partition("://")
    if name not in EXECUTORS:
        raise unknown("--executor", name, EXECUTORS)
    if name == "local":
        for attribute in ("workers", "threads_per_worker", "shard_captions"):
            if getattr(option, attribute) is not None and not option.plan:
                raise HarnessError(f"{_name(attribute)} applies to --executor ray only. Leave it out, or add that.")
    if has_address and (name != "ray" or not address):
        raise HarnessError(f"--executor {option.executor}: write ray, ray://auto or ray://HOST:PORT")
    if name == "ray":
        if getattr(option, "dist", "no") != "no" or bool(getattr(option, "numprocesses", None)):
            raise HarnessError("--executor ray has workers of its own. Leave -n out, and give --workers.")
        if option.changed:
            raise HarnessError("--changed makes few pictures, so one process is enough. Leave --executor ray out.")
        if option.calibrate_noise:
            raise HarnessError("--calibrate-noise starts processes of its own. Leave --executor ray out.")
    return name, address


def check_own_pipelines(option: argparse.Namespace, targets: Sequence[TargetSpec]) -> None:
    """Raise HarnessError where options for a user's pipelines apply to no target, or a required one is missing."""
    own = [spec for spec in targets if spec.name != EMBEDDED]
    if not own:
        for attribute, has in OWN.items():
            if getattr(option, attribute) is not None:
                raise HarnessError(
                    f"{_name(attribute)} applies to your own pipelines only; scenes has {has}. Leave it out."
                )
        return
    given = [a for a in ("caption_file", "coco_annotations") if getattr(option, a) is not None]
    if len(given) != 1:
        how = "both were given" if given else "none was given"
        raise HarnessError(
            f"--target {own[0].name} needs captions; give either --coco-annotations FILE or --caption-file FILE ({how})"
        )
    if option.scorer is None:
        raise HarnessError(
            f"--target {own[0].name} needs a scorer; give --scorer DIR, a CLIP that transformers saved, "
            "or --scorer open_clip:ARCH:WEIGHTS"
        )
    for attribute in _FILES:
        path = getattr(option, attribute)
        if path is not None and not path.exists():
            raise HarnessError(f"{_name(attribute)} {path} does not exist; give an existing file")
    check_scorer(option.scorer[0])
    if option.features is not None:
        check_features(option.features)


def further_scorers(option: argparse.Namespace) -> tuple[Further, ...]:
    """Return the scorers behind the first one, and register their metrics. Raises HarnessError for a wrong one."""
    given = tuple(parsed(text) for text in (option.scorer or ())[1:])
    names = [one.name for one in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise HarnessError(f"--scorer: two further scorers would be called {twice}; give NAME= to one")
    learn(PREFIX + name for name in names)
    return given


def check_outputs(option: argparse.Namespace) -> None:
    """Raise HarnessError where options of results and baselines contradict each other."""
    writes = "--update-baselines" if option.update_baselines else "--calibrate-noise" if option.calibrate_noise else ""
    several = getattr(option, "dist", "no") != "no" or bool(getattr(option, "numprocesses", None))
    reason = (option.baseline_reason or "").strip()
    if option.calibrate_noise:
        if option.store:
            raise HarnessError("--calibrate-noise measures again every time, and --store prevents that. Leave it out.")
        if option.update_baselines:
            raise HarnessError("--calibrate-noise measures stored cases; run --update-baselines first, by itself")
        if option.json:
            raise HarnessError("--calibrate-noise has no results for --json. Leave --json out.")
        if several:
            raise HarnessError("--calibrate-noise runs processes of its own, one after the other. Leave -n out.")
    if option.changed:
        for name, why in (
            (writes, "stores figures"),
            ("--images" if option.images else "", "keeps every picture"),
        ):
            if name:
                raise HarnessError(f"--changed makes no pictures of unchanged cases, and {name} {why}. Leave one out.")
    if option.compare_only and writes:
        raise HarnessError(f"--compare-only accepts no figures, and {writes} stores them. Leave one out.")
    if writes and not reason:
        raise HarnessError(f'{writes} needs a reason; give --baseline-reason "why the figures change"')
    if option.baseline_reason and not writes:
        raise HarnessError(
            "--baseline-reason needs --update-baselines or --calibrate-noise; give one of them, or leave it out"
        )
    if option.accept_degenerate and not option.update_baselines:
        raise HarnessError("--accept-degenerate needs --update-baselines; give it too, or leave both out")
    if writes and in_ci(option):
        raise HarnessError(f"{writes} is refused in CI; run it on your machine, and commit the baselines")
    if option.baselines and option.baselines.suffix != ".json":
        raise HarnessError(f"--baselines {option.baselines} does not end in .json; give such a name")
    if several and getattr(option, "benchmark_json", None):
        raise HarnessError(
            "--benchmark-json stays empty with -n, because pytest-benchmark switches itself off; "
            f"use --json {option.benchmark_json}"
        )


def check_plan(option: argparse.Namespace) -> None:
    """Raise HarnessError where options of the plan are given without it, or options that need a run with it."""
    if option.rate is not None and not option.plan:
        raise HarnessError("--rate needs --plan; give --plan too, or leave --rate out")
    if option.rate is not None and not 0 < option.rate < float("inf"):
        raise HarnessError(f"--rate {option.rate:g} is no rate; give a number above 0, in TFLOP/s")
    several = getattr(option, "dist", "no") != "no" or bool(getattr(option, "numprocesses", None))
    for name, given in (
        ("-n", several),
        ("--update-baselines", option.update_baselines),
        ("--calibrate-noise", option.calibrate_noise),
        ("--json", option.json),
    ):
        if option.plan and given:
            raise HarnessError(f"--plan runs no case, and {name} needs a run. Leave one out.")


def check_metrics(settings: Settings) -> None:
    """Raise HarnessError for a name in `--metrics` that does not exist, or that no target of the run can have."""
    for name in settings.metrics:
        if name not in METRICS:
            raise unknown("--metrics", name, METRICS)
        METRICS[name].check()
        _check_inputs("--metrics", name, settings)


def check_budget(settings: Settings) -> None:
    """Raise HarnessError for a metric of `--budget` that the run does not measure."""
    for name in settings.budget:
        if not METRICS[name].default and name not in settings.metrics:
            raise HarnessError(f"--budget {name}: the run does not measure it; add --metrics {name}")
        _check_inputs("--budget", name, settings)


def _check_inputs(option: str, name: str, settings: Settings) -> None:
    """Raise HarnessError where no target of the run can have a metric."""
    metric = METRICS[name]
    lacking = [settings.lacking(spec.name, metric.takes) for spec in settings.targets]
    if all(lacking):
        needs = ", ".join(sorted(part.replace("_", " ") for part in lacking[0]))
        reference = any("reference" in part for part in lacking[0])
        what_to_do = " or give --reference DIR" if reference and settings.targets[0].name != EMBEDDED else ""
        if "dinov2" in lacking[0] and settings.targets[0].name != EMBEDDED:
            what_to_do = ", or give --features dinov2:DIR"
        raise HarnessError(
            f"{option} {name} needs {needs}, which {settings.targets[0].name} does not have; "
            f"leave {name} out{what_to_do}"
        )
