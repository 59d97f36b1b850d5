"""`prunegate train-scenes`: train one stage of the embedded model from scratch."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from harness.cli.parsers import DEVICES, Commands, declare, path
from harness.errors import HarnessError
from harness.scenes.weights import WEIGHTS

# As `harness.scenes.stages` has them; that module needs torch, and help does not.
STAGES = ("autoencoder", "text_encoder", "reader", "judge_clip", "unet")


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "train-scenes",
        "train one stage of the embedded model from scratch",
        "Train one stage of the embedded model from scratch. The same command resumes an interrupted training.",
        "prunegate train-scenes --stage autoencoder --minutes 23 --out runs/scenes",
    )
    stages = f"{', '.join(STAGES)}: in this order; unet needs autoencoder and text_encoder"
    parser.add_argument("--stage", required=True, choices=STAGES, metavar="STAGE", help=stages)
    parser.add_argument(
        "--minutes", required=True, type=float, metavar="M", help="minutes of training, in all runs together"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICES)
    parser.add_argument("--preset", default="small", metavar="P", help="small, the shipped size (default), or large")
    parser.add_argument(
        "--start", type=path, metavar="DIR", help="for unet: train the U-Net of this weights folder further"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="number of CPU threads (default: torch chooses)")
    parser.add_argument(
        "--out",
        type=path,
        default=Path("runs/scenes"),
        metavar="DIR",
        help="the folder for checkpoints and weights (default: runs/scenes)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train."""
    cores = os.cpu_count() or 1
    if options.threads is not None and not 1 <= options.threads <= cores:
        raise HarnessError(f"--threads {options.threads} is out of range; give 1 to {cores}, or leave it out")
    if options.out.resolve() == WEIGHTS.resolve():
        raise HarnessError(
            f"--out {options.out} holds the shipped weights; train into another folder, check the result, and copy it"
        )
    import torch

    from harness.scenes.train import train
    from harness.targets.target import choose_device

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    try:
        train(options.stage, options.minutes, choose_device(options.device), options.out, options.preset, options.start)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command resumes from the last checkpoint") from None
    return 0
