"""`python -m harness …`: everything that is not a test run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness import files
from harness.case import COMPONENTS
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

    prune = commands.add_parser(
        "prune",
        help="prune a pipeline and save it",
        usage="python -m harness prune TARGET --method M [--COMPONENT S ...] [--layers linear|all]\n"
        "  [--pattern N:M] [--calibration FILE | --save-calibration FILE] --out DIR   (-h explains)",
    )
    prune.add_argument(
        "target", metavar="TARGET", help="scenes, sd2_untrained, a folder that diffusers saved, or a hub id"
    )
    prune.add_argument("--revision", metavar="REV", help="branch, tag or commit of a hub id")
    methods = "magnitude, random, wanda, sparsegpt, owl_wanda, …; joined by +: one per component"
    prune.add_argument("--method", required=True, help=methods)
    for name in COMPONENTS:
        option = f"--{name.replace('_', '-')}"
        prune.add_argument(option, metavar="S", nargs="?", const="", help="its sparsity, 0 to 1; left out: dense")
    prune.add_argument("--layers", default="linear", help="linear (as the reference study) or all: Linear and Conv2d")
    prune.add_argument("--pattern", metavar="N:M", help="keep n of every m inputs; then S is 1 - n/m or left out")
    source = prune.add_mutually_exclusive_group()
    source.add_argument("--calibration", type=Path, metavar="FILE", help="statistics that an earlier run saved")
    source.add_argument("--save-calibration", type=Path, metavar="FILE", help="keep the statistics of this run")
    prune.add_argument("--calibration-captions", type=Path, metavar="FILE", help="one caption per line (default: 32)")
    prune.add_argument("--padding", default="counted", help="padding tokens of captions: counted or dropped")
    prune.add_argument("--device", default="auto")
    prune.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder for the pruned pipeline")

    reference = commands.add_parser("reference", help="measure the feature statistics that FID compares with")
    reference.add_argument("--weights", type=Path, help="weights folder (default: the shipped one)")
    reference.add_argument("--pictures", type=int, default=10_000)
    reference.add_argument("--images", type=Path, metavar="DIR", help="measure these pictures instead, with --scorer")
    reference.add_argument("--scorer", metavar="DIR|open_clip:ARCH:WEIGHTS", help="the CLIP that measures them")
    reference.add_argument("--features", default="clip", metavar="inception[:FILE]", help="measure them with Inception")
    reference.add_argument("--out", type=Path, metavar="FILE", help="where their statistics go (safetensors)")

    captions = commands.add_parser("captions", help="fix a subset of a caption file, by ids and without the texts")
    captions.add_argument("file", type=Path, help="COCO's captions_….json, .jsonl, or one caption per line")
    captions.add_argument("--captions", type=int, required=True, metavar="N", help="how many")
    captions.add_argument("--out", type=Path, required=True, metavar="FILE", help="for --caption-subset")

    measure = commands.add_parser("measure-scenes", help="dense quality of the embedded model and of its judges")
    measure.add_argument("--weights", type=Path, help="weights folder (default: the shipped one)")
    measure.add_argument("--captions", type=int, default=1000, help="how many of the held-out list")
    measure.add_argument("--steps", type=int, help="denoising steps (default: the gate's)")
    measure.add_argument("--device", default="auto")
    measure.add_argument("--sheet", type=Path, help="write the first 48 pictures to this PNG")

    compare = commands.add_parser("compare", help="compare two --benchmark-json files: exit code 1 on a regression")
    compare.add_argument("before", type=Path, help="the run of the main branch")
    compare.add_argument("after", type=Path, help="the run of the branch")
    compare.add_argument("--markdown", action="store_true", help="as a Markdown table, without what did not move")

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
        if options.command == "prune":
            return _prune(options)
        if options.command == "captions":
            from harness.captions import first, write_subset

            chosen, _ = first(options.file, options.captions)
            write_subset(options.out, chosen)
            print(f"{len(chosen)} captions of {len({c.image for c in chosen})} pictures in {options.out}")
            return 0
        if options.command == "compare":
            return _compare(options)
        if options.command == "curves":
            from harness.record import read_records
            from harness.report.curves import draw

            files.write(options.out, draw(read_records(options.run), options.layers))
            return 0
        if options.command == "reference" and (options.images or options.scorer or options.out):
            return _reference(options)
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


def _prune(options: argparse.Namespace) -> int:
    from pruners.levels import Pattern

    pattern = None
    if options.pattern is not None:
        kept, colon, of = options.pattern.partition(":")
        try:
            pattern = Pattern(int(kept), int(of if colon else ""))
        except ValueError as error:
            raise HarnessError(f"--pattern is {options.pattern!r}, wanted n:m with 0 < n < m, as in 2:4") from error
    levels: dict[str, float | Pattern] = {}
    for component in COMPONENTS:
        text = getattr(options, component)
        if text is None:
            continue
        name = f"--{component.replace('_', '-')}"
        if text == "" and pattern is None:
            raise HarnessError(f"{name} wants a sparsity, such as {name} 0.35")
        try:
            asked = float(text) if text else None
        except ValueError as error:
            raise HarnessError(f"{name} is {text!r}, wanted a number from 0 to 1, such as 0.35") from error
        if pattern is None and asked is not None:
            levels[component] = asked
        elif pattern is not None:
            if asked is not None and abs(asked - pattern.sparsity) > 1e-9:
                raise HarnessError(
                    f"{name} is {asked}, but --pattern {pattern} prunes {pattern.sparsity:g}; leave one out"
                )
            levels[component] = pattern
    if not levels:
        raise HarnessError("nothing to prune; give --unet S, --text-encoder S or another component")
    from harness.export import Request, export

    request = Request(
        options.target, options.method, levels, options.layers, options.out, options.calibration,
        options.save_calibration, options.calibration_captions, options.padding, options.device,
        options.revision,
    )  # fmt: skip
    request.case()
    print(f"saved in {export(request, lambda text: print(text, flush=True))}")
    return 0


def _reference(options: argparse.Namespace) -> int:
    from harness.external import write_reference
    from harness.quality.scorers import check_features, load_extractor, load_scorer
    from harness.targets.base import choose_device, quiet

    check_features(options.features)
    if not (options.images and options.out and (options.scorer or options.features != "clip")):
        raise HarnessError(
            "the statistics of pictures want --images DIR and --out FILE, and --scorer DIR or --features inception"
        )
    quiet()
    device = choose_device("auto")
    scorer = load_scorer(options.scorer, device) if options.features == "clip" else None
    count = write_reference(options.images, load_extractor(options.features, scorer, device), options.out)
    print(f"statistics of {count} pictures saved in {options.out}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from harness.record import read_records
    from harness.verdict.compare import compare, failed, lines

    rows = compare(read_records(options.before), read_records(options.after))
    for line in lines(rows, options.markdown):
        print(line)
    return 1 if failed(rows) else 0


def _train(options: argparse.Namespace) -> int:
    import torch

    from harness.scenes.train import train
    from harness.targets.base import choose_device

    if options.threads is not None:
        if options.threads < 1:
            raise HarnessError(f"--threads is {options.threads}, wanted 1 or more")
        torch.set_num_threads(options.threads)
    train(options.stage, options.minutes, choose_device(options.device), options.out, options.preset, options.start)
    return 0


if __name__ == "__main__":
    sys.exit(main())
