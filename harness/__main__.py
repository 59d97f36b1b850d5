"""`python -m harness …`: everything that is not a test run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.errors import HarnessError

STAGES = ("autoencoder", "text_encoder", "reader", "judge_clip", "unet")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python -m harness", description="PruneGate beside pytest.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train-scenes", help="train one stage of the embedded model from nothing")
    train.add_argument("--stage", required=True, choices=STAGES, help="in this order; unet needs the first two")
    train.add_argument("--minutes", required=True, type=float, help="training time in all, over resumed runs too")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda, …")
    train.add_argument("--preset", default="small", help="small is the shipped size")
    train.add_argument("--start", type=Path, metavar="DIR", help="unet: train on from this weights folder's pipeline")
    train.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    train.add_argument("--out", type=Path, default=Path("runs/scenes"), help="folder for checkpoints and weights")

    reference = commands.add_parser("reference", help="measure the feature statistics that FID compares with")
    reference.add_argument("--weights", type=Path, help="weights folder (default: the shipped one)")
    reference.add_argument("--pictures", type=int, default=10_000)

    measure = commands.add_parser("measure-scenes", help="dense quality of the embedded model and of its judges")
    measure.add_argument("--weights", type=Path, help="weights folder (default: the shipped one)")
    measure.add_argument("--captions", type=int, default=1000, help="how many of the held-out list")
    measure.add_argument("--steps", type=int, help="denoising steps (default: the gate's)")
    measure.add_argument("--device", default="auto")
    measure.add_argument("--sheet", type=Path, help="write the first 48 pictures to this PNG")

    curves = commands.add_parser("curves", help="draw quality against sparsity from a --benchmark-json file, as SVG")
    curves.add_argument("run", type=Path, help="what `pytest benchmarks --benchmark-json FILE` wrote")
    curves.add_argument("--layers", choices=("all", "linear"), default="all")
    curves.add_argument("--out", type=Path, required=True, help="the SVG file")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code. A HarnessError becomes one message on standard error and exit code 2."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "train-scenes":
            return _train(options)
        if options.command == "curves":
            from harness.report.curves import draw, read_records
            from harness.verdict.baselines import replace

            replace(options.out, draw(read_records(options.run), options.layers))
            return 0
        from harness import model_card

        if options.command == "reference":
            print(model_card.write_reference(options.weights, options.pictures))
        else:
            for line in model_card.dense(
                options.weights, options.captions, options.steps, options.device, options.sheet
            ):
                print(line, flush=True)
    except (HarnessError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; a training resumes from its last checkpoint with the same command", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> int:
    import torch

    from harness.scenes.train import train
    from harness.targets.base import choose_device

    if options.threads:
        torch.set_num_threads(options.threads)
    train(options.stage, options.minutes, choose_device(options.device), options.out, options.preset, options.start)
    return 0


if __name__ == "__main__":
    sys.exit(main())
