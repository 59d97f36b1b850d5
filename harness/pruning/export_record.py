"""`prunegate.json`, the record beside a saved pipeline: what was pruned, how, and with which result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import msgspec

from harness import digests
from harness.case import Case
from harness.errors import HarnessError
from harness.pruning.calibration import About, Calibration
from harness.pruning.prune import rounding
from harness.record import Counts
from harness.surgery.masks import Pruning
from harness.targets.spec import TargetSpec
from harness.targets.target import Target
from pruners.levels import Pattern
from pruners.types import LayerStats, Pruned

FILE = "prunegate.json"


@dataclass(frozen=True)
class LayerRecord:
    """The pruning of one layer."""

    shape: tuple[int, ...]
    """The shape of the weight as a matrix: `[out, in]`."""
    sparsity: float
    """Share of pruned weights."""
    calibration_rows: int | None
    """Number of input rows behind the layer's statistics; None where no statistics were used."""


@dataclass(frozen=True, kw_only=True)
class ComponentRecord(Counts):
    """The pruning of one component."""

    requested: float | str
    """The requested sparsity or pattern."""
    layers: dict[str, LayerRecord]
    """Layer → its record."""


@dataclass(frozen=True)
class ExportRecord:
    """The content of `prunegate.json`."""

    target: str
    """The origin of the pipeline: a built-in name, a folder, or a Hub id, with "@REVISION" where one was given."""
    model: str
    """The digest of the dense model."""
    method: str
    """The method, or one per component joined by "+"."""
    layers: str
    """"all" or "linear"."""
    dtype: str
    """The dtype of the denoiser, such as "float32"."""
    calibration: About | None
    """The origin of the statistics; None where no statistics were used."""
    components: dict[str, ComponentRecord]
    """Pruned component → its record."""
    files: dict[str, str]
    """Path in the folder → SHA-256, for every other file."""
    packed: dict[str, str] = field(default_factory=dict)
    """Path of a packed file → digest of its tensors before they were packed; empty where nothing is packed."""


def record_of(
    spec: TargetSpec,
    target: Target,
    case: Case,
    pruning: Pruning,
    counts: Mapping[str, Counts],
    calibration: Calibration | None,
) -> ExportRecord:
    """Return the record of a pruned pipeline, without its files.

    Args:
        spec: The origin of the target.
        target: The pipeline.
        case: The case.
        pruning: The masks.
        counts: Component → counts, taken while the masks were in place.
        calibration: The statistics that were used, or None.
    """
    components = {}
    missed = rounding(target, case)
    for component, by_layer in pruning.items():
        level = case.plan[component]
        known = calibration.components.get(component, {}) if calibration else {}
        components[component] = ComponentRecord(
            **asdict(replace(counts[component], rounding=missed[component])),
            requested=str(level) if isinstance(level, Pattern) else level,
            layers={name: _layer(pruned, known.get(name)) for name, pruned in by_layer.items()},
        )
    return ExportRecord(
        target=f"{spec.place}@{spec.revision}" if spec.revision else spec.place,
        model=target.digest,
        method=case.method,
        layers=case.layers,
        dtype=str(target.dtype).removeprefix("torch."),
        calibration=calibration.about if calibration else None,
        components=components,
        files={},
    )


def _layer(pruned: Pruned, stats: LayerStats | None) -> LayerRecord:
    sparsity = 1 - float(pruned.keep.double().mean())
    return LayerRecord(tuple(pruned.keep.shape), sparsity, stats.rows if stats else None)


def write(folder: Path, record: ExportRecord) -> None:
    """Write the record into a pipeline's folder, with the digests of all files that are there.

    Raises:
        OSError: The file cannot be written.
    """
    written = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    known = {path.relative_to(folder).as_posix(): digests.of_file(path) for path in written}
    text = msgspec.json.format(msgspec.json.encode(replace(record, files=known)), indent=1)
    (folder / FILE).write_bytes(text + b"\n")


def read(folder: Path) -> ExportRecord:
    """Read the record of a folder that `prunegate prune` wrote.

    Raises:
        HarnessError: The file is missing, damaged, or something else.
    """
    place = folder / FILE
    try:
        return msgspec.json.decode(place.read_bytes(), type=ExportRecord)
    except OSError as error:
        raise HarnessError(
            f"{place} cannot be read ({error.strerror or error}); give a folder that `prunegate prune` wrote"
        ) from error
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{place} is damaged ({error}); copy the folder again, or prune again") from error
