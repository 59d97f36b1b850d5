"""`python -m harness prune`: prune a pipeline and save it, with a record of what was done beside it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from harness import digests
from harness.calibration import PADDING, Calibration, calibrate, fit, load, save
from harness.case import COMPONENTS, Case, selection
from harness.engine import calibration_captions
from harness.errors import HarnessError, unknown
from harness.pruning import calibrated, check_pattern, needs, prune
from harness.surgery.masks import Pruning, census, masked
from harness.targets import TARGETS, hub
from harness.targets.base import Target, choose_device
from harness.targets.base import load as load_target
from harness.targets.folder import load as load_folder
from harness.targets.index import is_hub_id
from pruners.levels import Level, Pattern

RECORD = "prunegate.json"


@dataclass(frozen=True)
class Request:
    """What to prune and where the result goes.

    target: a name in `TARGETS`, a folder, or an id on the hub, of which revision is a branch, tag or commit. levels:
    component → level. calibration: a file to read statistics from; save_calibration: a file to write them to. captions:
    a text file with one calibration caption per line.
    """

    target: str
    method: str
    levels: dict[str, Level]
    layers: str
    out: Path
    calibration: Path | None = None
    save_calibration: Path | None = None
    captions: Path | None = None
    padding: str = "counted"
    device: str = "auto"
    revision: str | None = None

    def case(self) -> Case:
        """Return the case. Raises HarnessError for what does not exist."""
        levels = tuple(self.levels[c] for c in COMPONENTS if c in self.levels)
        return Case(self.target, selection(self.levels), self.method, self.layers, levels)


def export(request: Request, say: Callable[[str], None]) -> Path:
    """Prune, check, and save a pipeline that `DiffusionPipeline.from_pretrained` loads; return its folder.

    The folder appears when all of it is written, or not at all. Raises HarnessError for a wrong request, before
    anything is loaded where that can be known, and where a layer refuses the method.
    """
    case, out = request.case(), request.out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError(f"{request.out} is not empty; choose another --out, or remove it")
    if request.calibration and not request.calibration.is_file():
        raise HarnessError(
            f"the calibration file {request.calibration} does not exist; make it with --save-calibration"
        )
    _check_calibration(request, case)
    for option, path in (("--out", out), ("--save-calibration", request.save_calibration)):
        if path:
            _check_place(option, path.absolute().parent)
    target = open_target(request)
    for name in case.plan.keys() - target.components.keys():
        raise HarnessError(f"{target.name} has no {name}; it has {', '.join(target.components)}")
    check_pattern(target, case)
    calibration = _calibration(request, case, target, say)
    say("pruning")
    pruning = prune(target, case, calibration.components if calibration else None)
    with masked(target.components, pruning):
        _save(request, case, target, pruning, calibration, out)
        counts = census(target.components, case.layers)
    for component, requested in case.requested.items():
        found = counts[component]
        share = found["targeted"] / found["parameters"]
        say(
            f"{component}: {found['sparsity_targeted']:.2%} of {found['targeted']:,} targeted weights are zero (asked "
            f"{requested:.2%}), {found['sparsity_component']:.2%} of all {found['parameters']:,} parameters; "
            f"{case.layers} layers hold {share:.1%} of them"
        )
    return request.out


def _check_calibration(request: Request, case: Case) -> None:
    """Raise HarnessError for options that say nothing, or nothing that can be done, before anything is loaded."""
    given = {
        "--calibration": request.calibration,
        "--save-calibration": request.save_calibration,
        "--calibration-captions": request.captions,
        "--padding": None if request.padding == "counted" else request.padding,
    }
    named = [option for option, value in given.items() if value]
    if named and needs(case.method) is None:
        raise HarnessError(f"{case.method} uses no calibration; leave {' and '.join(named)} out")
    if request.calibration and named != ["--calibration"]:
        raise HarnessError(
            f"--calibration FILE brings its own captions and padding; leave {' and '.join(named[1:])} out"
        )
    if request.padding not in PADDING:
        raise HarnessError(f"--padding is {request.padding!r}, wanted one of {', '.join(PADDING)}")
    if request.captions:
        _captions(request.captions)


def _check_place(option: str, folder: Path) -> None:
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise HarnessError(f"nothing can be written to {folder}; choose another {option}")


def open_target(request: Request) -> Target:
    """Load the request's target: a known name, a folder, or an id on the hub."""
    if request.revision and not is_hub_id(request.target):
        raise HarnessError(f"--revision is of a pipeline on the hub, and {request.target} is none: leave it out")
    device = choose_device(request.device)
    if request.target in TARGETS:
        return load_target(request.target, device)
    if Path(request.target).is_dir():
        return load_folder(Path(request.target), device)
    if is_hub_id(request.target):
        return hub.load(request.target, request.revision, device)
    if "/" in request.target or request.target.startswith("."):
        raise HarnessError(f"{request.target} is not a folder")
    raise unknown("target", request.target, TARGETS)


def _calibration(request: Request, case: Case, target: Target, say: Callable[[str], None]) -> Calibration | None:
    need = needs(case.method)
    if need is None:
        return None
    components = calibrated(case)
    if request.calibration:
        found = load(request.calibration)
        fit(found, target, components, case.layers, need == "gram")
        return found
    captions = _captions(request.captions) if request.captions else calibration_captions()
    found = calibrate(target, components, case.layers, captions, need == "gram", request.padding, progress=say)
    if request.save_calibration:
        save(found, request.save_calibration)
        say(f"statistics saved in {request.save_calibration}")
    return found


def _captions(path: Path) -> list[str]:
    try:
        found = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"the captions {path} cannot be read ({error})") from error
    if not found:
        raise HarnessError(f"{path} holds no caption; write one per line")
    return found


def _save(
    request: Request, case: Case, target: Target, pruning: Pruning, calibration: Calibration | None, out: Path
) -> None:
    partial: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        partial.chmod(0o755)
        target.pipeline.save_pretrained(partial, safe_serialization=True)
        record = _record(case, target, pruning, calibration, partial)
        (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        if out.exists():
            out.rmdir()
        partial.rename(out)
        partial = None
    except (OSError, RuntimeError, SafetensorError) as error:
        raise HarnessError(
            f"{request.out} cannot be written ({error}): free some space or choose another --out; nothing was saved"
        ) from error
    finally:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)


def _record(
    case: Case, target: Target, pruning: Pruning, calibration: Calibration | None, folder: Path
) -> dict[str, Any]:
    """Return what goes into `prunegate.json`: the request, what was achieved per layer, and every file's digest."""
    counts = census(target.components, case.layers)
    components = {}
    for component, by_layer in pruning.items():
        level = case.plan[component]
        stats = calibration.components.get(component, {}) if calibration else {}
        components[component] = {
            **counts[component],
            "requested": str(level) if isinstance(level, Pattern) else level,
            "layers": {
                name: {
                    "shape": list(pruned.keep.shape),
                    "sparsity": 1 - float(pruned.keep.double().mean()),
                    **({"calibration_rows": stats[name].rows} if name in stats else {}),
                }
                for name, pruned in by_layer.items()
            },
        }
    files = {p.relative_to(folder).as_posix(): digests.of_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    return {
        "target": target.name,
        "model": target.digest,
        "method": case.method,
        "layers": case.layers,
        "dtype": str(target.dtype).removeprefix("torch."),
        "calibration": calibration.about if calibration else None,
        "components": components,
        "files": files,
    }
