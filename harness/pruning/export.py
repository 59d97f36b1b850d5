"""`prunegate prune`: prunes a pipeline and saves it, with a record of the pruning beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from harness import files
from harness.case import Case
from harness.components import COMPONENTS, selection
from harness.errors import HarnessError
from harness.pruning.calibration import PADDING, Calibration, calibrate
from harness.pruning.calibration_file import fit, load, save
from harness.pruning.export_record import ExportRecord, record_of, write
from harness.pruning.packages import recalibration
from harness.pruning.packed import pack, weight_bytes
from harness.pruning.prune import check_pattern, prune, rounding
from harness.record import Counts
from harness.surgery.census import census
from harness.surgery.masks import Pruning, masked
from harness.targets import resolve
from harness.targets.spec import TargetSpec
from harness.targets.target import Target, choose_device
from harness.workloads import captions
from harness.workloads.scenes import calibration_captions
from pruners import METHODS
from pruners.levels import Level

Say = Callable[[str], None]
# The share of exact zeros that training may leave.
STRAY_ZEROS = 1e-3


@dataclass(frozen=True)
class Request:
    """A pipeline, how to prune it, and where to save it."""

    target: TargetSpec
    """The pipeline, as `resolve` returns it."""
    method: str
    """A name of `METHODS`, or one per component joined by "+"."""
    levels: dict[str, Level]
    """Component → level; components that are left out stay dense."""
    layers: str
    """A choice of layers, a name of `harness.case.LAYERS`."""
    out: Path
    """A folder that does not exist yet, or is empty."""
    calibration: Path | None = None
    """A file to read statistics from."""
    save_calibration: Path | None = None
    """A file to write statistics to."""
    captions: Path | None = None
    """A file of calibration captions; None: captions of scenes."""
    padding: str = "counted"
    """Whether padding tokens of text encoders count: "counted" or "dropped"."""
    device: str = "auto"
    """The value of `--device`: "auto", "cpu", "cuda", "cuda:1", …"""
    packed: bool = False
    """Whether weights are stored as bits and surviving values, see `packed_file`."""

    def case(self) -> Case:
        """Return the case.

        Raises:
            HarnessError: A component, a method, a choice of layers or a level is wrong.
        """
        levels = tuple(self.levels[name] for name in COMPONENTS if name in self.levels)
        return Case(self.target.name, selection(self.levels), self.method, self.layers, levels)


def export(request: Request, say: Say, progress: Say = lambda _: None) -> Path:
    """Prune, check, and save a pipeline that `DiffusionPipeline.from_pretrained` loads, or `load_packed`.

    The folder appears when all of it is written, or not at all.

    Args:
        request: The pipeline, how to prune it, and where to save it.
        say: Called with each line of the result.
        progress: Called with a short line about the current work.

    Returns:
        The folder.

    Raises:
        HarnessError: The request is wrong (most mistakes are noticed before anything is loaded), a layer refuses the
            method, the sparsity is not the requested one, or the folder cannot be written.
    """
    case, out = request.case(), Path(os.path.realpath(request.out))
    _check_places(request, out)
    texts = _check_calibration(request, case)
    _check_components(case, resolve.components(request.target))
    progress(f"loading {request.target.name}")
    target = resolve.load(request.target, choose_device(request.device))
    _check_components(case, tuple(target.components))
    check_pattern(target, case)
    calibration = _calibration(request, case, target, texts, progress)
    if calibration and request.save_calibration:
        save(calibration, request.save_calibration)
        say(f"statistics saved in {request.save_calibration}")
    progress("pruning")
    again = recalibration(target, texts, request.padding, progress=progress) if _again(case) else None
    pruning = prune(target, case, calibration.components if calibration else None, again)
    missed = rounding(target, case)
    _check_sparsity(case, pruning, missed)
    with masked(target.components, pruning):
        counts = census(target.components, case.layers, target.family.kinds)
        _check_zeros(case, counts, missed)
        progress("saving")
        _save(request, record_of(request.target, target, case, pruning, counts, calibration), target, out)
    for component, requested in case.requested.items():
        count = counts[component]
        say(
            f"{component}: {count.sparsity_targeted:.2%} of {count.targeted:,} targeted weights are zero (requested "
            f"{requested:.2%}), {count.sparsity_component:.2%} of all {count.parameters:,} parameters; "
            f"{case.layers} layers hold {count.targeted / count.parameters:.1%} of them"
        )
    if request.packed:
        dense = sum(count.dense_bytes for count in counts.values())
        say(f"packed: {' and '.join(counts)} take {weight_bytes(out) / 1e6:.2f} MB on disk, {dense / 1e6:.2f} MB dense")
    return request.out


def _check_calibration(request: Request, case: Case) -> tuple[str, ...]:
    """Refuse options that change nothing, or that cannot work, before anything is loaded.

    Returns:
        The captions to calibrate on, none where statistics are read or not needed.
    """
    given = {
        "--calibration": request.calibration,
        "--save-calibration": request.save_calibration,
        "--calibration-captions": request.captions,
        "--padding": None if request.padding == "counted" else request.padding,
    }
    named = [option for option, value in given.items() if value]
    if request.padding not in PADDING:
        raise HarnessError(f"--padding {request.padding} is unknown; use {' or '.join(PADDING)}")
    if named and not case.needs:
        this = "it" if len(named) == 1 else "them"
        raise HarnessError(
            f"{' and '.join(named)} would change nothing: {case.method} uses no calibration. Leave {this} out."
        )
    if request.calibration and named != ["--calibration"]:
        raise HarnessError(
            f"--calibration FILE brings its own captions and padding. Leave {' and '.join(named[1:])} out."
        )
    if request.calibration and not request.calibration.is_file():
        missing = "is no ordinary file" if request.calibration.exists() else "does not exist"
        raise HarnessError(f"--calibration {request.calibration} {missing}; make one with --save-calibration")
    if request.calibration and _again(case):
        raise HarnessError(
            f"--calibration FILE cannot be used with {' and '.join(_again(case))}, which calibrates again on the "
            "partly pruned pipeline. Leave it out."
        )
    modes = {"steps" in METHODS[case.methods[component]].needs for component in case.calibrated}
    if len(modes) > 1:
        raise HarnessError(
            f"--method {case.method}: one method weighs denoising steps, and another does not; prune the components "
            "one after the other"
        )
    if request.captions:
        return tuple(caption.text for caption in captions.read(request.captions))
    return calibration_captions() if case.needs and not request.calibration else ()


def _again(case: Case) -> list[str]:
    """Return the methods of a case that calibrate more than once."""
    return [name for name in dict.fromkeys(case.methods.values()) if METHODS[name].packages > 1]


def _check_places(request: Request, out: Path) -> None:
    """Refuse places that cannot be written, or that overlap. `out` is the folder with all links resolved."""
    files.check_new_folder("--out", request.out)
    if request.target.kind == "folder" and Path(request.target.place) in out.parents:
        raise HarnessError(
            f"--out {request.out} lies in the folder of the pipeline that is pruned; name a folder elsewhere"
        )
    if request.save_calibration:
        place = Path(os.path.realpath(request.save_calibration))
        if out in (place, *place.parents):
            raise HarnessError(
                f"--save-calibration {request.save_calibration} lies in --out, which holds the pipeline only; name a "
                "file elsewhere"
            )
        files.check_file("--save-calibration", request.save_calibration, "statistics.safetensors")


def _option(component: str) -> str:
    return f"--{component.replace('_', '-')}"


def _check_components(case: Case, known: tuple[str, ...]) -> None:
    missing = [name for name in case.components if name not in known]
    if missing:
        raise HarnessError(
            f"{_option(missing[0])}: {case.target} has no {missing[0]}, it has {', '.join(known)}; prune one of these"
        )


def _check_sparsity(case: Case, pruning: Pruning, missed: Mapping[str, float]) -> None:
    """Check that the masks have the requested sparsity. Zeros of the dense model do not count: see `_check_zeros`."""
    for component, requested in case.requested.items():
        keeps = [pruned.keep for pruned in pruning[component].values()]
        achieved = 1 - sum(int(keep.sum()) for keep in keeps) / sum(keep.numel() for keep in keeps)
        # One part in a million for the rounding of sums of floats.
        if abs(achieved - requested) > missed[component] + 1e-6:
            raise HarnessError(
                f"{_option(component)} {requested:g}: {case.methods[component]} pruned {achieved:.4%} of the "
                f"targeted weights instead of {requested:.4%}; no pipeline was saved. Correct the method, or choose "
                "another"
            )


def _check_zeros(case: Case, counts: Mapping[str, Counts], missed: Mapping[str, float]) -> None:
    """Check, as the gate does, that the share of zeros among the pruned weights is the requested one."""
    for component, requested in case.requested.items():
        achieved = counts[component].sparsity_targeted
        if abs(achieved - requested) > missed[component] + STRAY_ZEROS:
            raise HarnessError(
                f"{_option(component)} {requested:g}: {achieved:.2%} of the targeted weights are zero, not "
                f"{requested:.2%}; no pipeline was saved. The pipeline had zeros already, or the method is wrong. "
                "Start from the pipeline as it was before pruning, give a higher sparsity, or choose another method"
            )


def _calibration(
    request: Request, case: Case, target: Target, texts: tuple[str, ...], progress: Say
) -> Calibration | None:
    if not case.needs:
        return None
    gram, sums, by_steps = (name in case.needs for name in ("gram", "sums", "steps"))
    if request.calibration:
        calibration = load(request.calibration)
        fit(calibration, target, case.calibrated, case.layers, gram, sums, by_steps)
        return calibration
    return calibrate(
        target, case.calibrated, case.layers, texts, gram, request.padding, progress=progress, sums=sums,
        by_steps=by_steps,
    )  # fmt: skip


def _save(request: Request, record: ExportRecord, target: Target, out: Path) -> None:
    """Write the pipeline as it is now, and its record."""
    try:
        with files.new_folder(out) as partial:
            target.pipeline.save_pretrained(partial, safe_serialization=True)
            packed = pack(partial) if request.packed else {}
            if request.packed and not packed:
                raise HarnessError(
                    "--packed would change nothing: so few weights are zero that the bits need more room than the "
                    "zeros. No pipeline was saved. Leave --packed out, or prune more"
                )
            write(partial, replace(record, packed=packed))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise HarnessError(
            f"--out {request.out} cannot be written ({error}); no pipeline was saved. Free some space, or change --out"
        ) from error
