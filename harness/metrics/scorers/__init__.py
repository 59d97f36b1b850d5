"""Scorers and extractors by name. A wrong name is refused before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, install, unknown

if TYPE_CHECKING:
    import torch

    from harness.metrics.scorers.scorer import Extractor, Scorer

SCENES = "scenes"
OPEN_CLIP = "open_clip:ARCH:WEIGHTS"
# `--features scorer`: FID and KID compare the scorer's own features.
SCORER = "scorer"
DINOV2 = "dinov2"
PICKLES = (".pt", ".pth", ".bin", ".ckpt")


def check_scorer(name: str) -> None:
    """Check a `--scorer` without loading it.

    Args:
        name: "scenes", a folder that transformers saved, or `open_clip:ARCH:WEIGHTS`.

    Raises:
        HarnessError: The name is none of these, a file does not exist or is a pickle, or open_clip is not installed.
    """
    if not name.strip():
        raise HarnessError(f"--scorer: the name is empty; give a folder that transformers saved, or {OPEN_CLIP}")
    kind, colon, _ = name.partition(":")
    if name == SCENES or Path(name).exists():
        return
    if not colon:
        raise HarnessError(f"--scorer {name} does not exist; give a folder that transformers saved, or {OPEN_CLIP}")
    if kind != "open_clip":
        raise HarnessError(f"--scorer {name}: there is no scorer {kind!r}; give a folder or {OPEN_CLIP}")
    _, weights = _open_clip(name)
    path = Path(weights)
    if path.suffix in PICKLES:
        raise HarnessError(f"--scorer {name}: {path.suffix} is a pickle and may run code; give safetensors")
    if not path.is_file() and (path.suffix == ".safetensors" or "/" in weights):
        raise HarnessError(f"--scorer {name}: the weights {weights} do not exist; give a file or a tag of open_clip")
    _require("open_clip", f"--scorer {name}")


def check_features(name: str) -> None:
    """Check a `--features` without loading it.

    Args:
        name: "scorer", "inception", `inception:FILE`, or `dinov2:DIR`.

    Raises:
        HarnessError: The name is none of these, the file does not exist, or torch-fidelity is not installed.
    """
    kind, colon, file = name.partition(":")
    if name == SCORER:
        return
    if kind == DINOV2 and file:
        if not Path(file).is_dir():
            raise HarnessError(f"--features {name}: there is no folder {file}; give a folder that transformers saved")
        return
    if kind != "inception":
        raise unknown("--features", name, (SCORER, "inception", "inception:FILE", f"{DINOV2}:DIR"))
    if colon and not Path(file).is_file():
        raise HarnessError(f"--features {name}: the weights {file} do not exist; give torch-fidelity's file")
    _require("torch_fidelity", f"--features {name}")


def _open_clip(name: str) -> tuple[str, str]:
    _, _, rest = name.partition(":")
    architecture, _, weights = rest.partition(":")
    if not (architecture and weights):
        raise HarnessError(
            f"--scorer {name} is not complete; give {OPEN_CLIP}, such as open_clip:ViT-B-32:weights.safetensors"
        )
    return architecture, weights


def _require(package: str, what: str) -> None:
    if find_spec(package) is None:
        raise HarnessError(f"{what} needs {package}, which is not installed; {install('vision')}")


def load_scorer(name: str, device: torch.device) -> Scorer:
    """Load the scorer that `--scorer` names: see `check_scorer`.

    Raises:
        HarnessError: The name is wrong, or the scorer cannot be loaded. For "scenes": a file of the shipped weights has
            changed.
    """
    check_scorer(name)
    if name == SCENES:
        from harness.metrics.scorers.scenes import ScenesScorer
        from harness.scenes.weights import JUDGES, verified

        verified()
        return ScenesScorer(JUDGES, device)
    if Path(name).exists():
        from harness.metrics.scorers.clip import TransformersClip

        return TransformersClip(Path(name), device)
    from harness.metrics.scorers.open_clip import OpenClip

    return OpenClip(*_open_clip(name), device)


def load_extractor(name: str, scorer: Scorer | None, device: torch.device) -> Extractor:
    """Load the network that `--features` names: see `check_features`. "scorer" is the scorer itself.

    Raises:
        HarnessError: The name is wrong, or the network cannot be loaded.
    """
    check_features(name)
    if name == SCORER:
        if scorer is None:
            raise HarnessError("--features scorer needs a scorer; give --scorer too")
        return scorer
    kind, _, file = name.partition(":")
    if kind == DINOV2:
        from harness.metrics.scorers.dinov2 import Dinov2

        return Dinov2(Path(file), device)
    from harness.metrics.scorers.inception import Inception

    return Inception(Path(file) if file else None, device)
