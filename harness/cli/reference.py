"""`prunegate reference`: measure pictures once, so that FID and KID can compare with them."""

from __future__ import annotations

import argparse

from harness.cli import places
from harness.cli.parsers import DEVICES, Commands, declare, path
from harness.cli.progress import progress, say
from harness.errors import HarnessError


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "reference",
        "measure the features of pictures once, for --reference",
        "Measure the features of real pictures once. `pytest benchmarks --reference FILE` compares generated pictures "
        "with them: FID and KID. The file holds the features, their mean and their covariance.",
        "prunegate reference --images val2017 --scorer clip-vit-base-patch32 --out reference.safetensors",
    )
    parser.add_argument(
        "--images",
        type=path,
        required=True,
        metavar="DIR",
        help="the folder of the pictures (.png, .jpg, .jpeg, .webp), subfolders included",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--scorer",
        metavar="S",
        help="measure with the CLIP of the run: a folder that transformers saved, or open_clip:ARCH:WEIGHTS",
    )
    source.add_argument(
        "--features",
        metavar="inception[:FILE]|dinov2:DIR",
        help="measure with Inception (FILE: its weights, from torch-fidelity) or DINOv2 in place of the CLIP",
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICES)
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help="the safetensors file to write")
    places.add_force(parser, "--out")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure the pictures and write the file."""
    places.check("--out", options.out, places.REFERENCE, [], options.force)
    from harness.metrics import reference
    from harness.metrics.scorers import check_features, check_scorer, load_extractor, load_scorer
    from harness.targets.target import choose_device, quiet

    if options.features == "scorer":
        raise HarnessError("--features scorer needs the scorer's name; give --scorer S instead")
    features = "scorer" if options.features is None else options.features
    if options.scorer is not None:
        check_scorer(options.scorer)
    check_features(features)
    if not options.images.is_dir():
        raise HarnessError(f"--images {options.images} is not a folder; name the folder that holds the pictures")
    quiet()
    device = choose_device(options.device)
    scorer = None if options.scorer is None else load_scorer(options.scorer, device)
    extractor = load_extractor(features, scorer, device)
    with progress() as show:
        measured, pictures = reference.measured(options.images, extractor, show)
    reference.write(options.out, measured, extractor.digest, pictures)
    say(f"statistics of {len(measured)} pictures saved in {options.out}")
    return 0
