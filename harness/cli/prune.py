"""`prunegate prune`: prune a pipeline and save it."""

from __future__ import annotations

import argparse
import math

from harness.case import LAYERS
from harness.cli import places
from harness.cli.parsers import DEVICES, Commands, declare, path
from harness.cli.progress import progress, say
from harness.components import COMPONENTS, KINDS
from harness.errors import HarnessError
from harness.targets import TARGETS, resolve
from pruners import METHODS
from pruners.levels import Level, Pattern

_USAGE = (
    "prunegate prune TARGET --method M [--COMPONENT S ...] [--layers linear|all] [--pattern N:M]\n"
    "  [--calibration FILE | --save-calibration FILE] --out DIR   (--help explains)"
)


def _option(component: str) -> str:
    return f"--{component.replace('_', '-')}"


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "prune",
        "prune a pipeline and save it",
        "Prune a pipeline and save it as a folder that diffusers loads. Name a sparsity for every component to prune. "
        "The other components stay dense. The file prunegate.json in the folder says what was done to every layer.",
        "prunegate prune scenes --method magnitude --text-encoder 0.475 --unet 0.35 --out pruned",
        usage=_USAGE,
    )
    known = ", ".join(TARGETS)
    parser.add_argument("target", metavar="TARGET", help=f"{known}, a folder that diffusers saved, or a Hub id")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub id (default: main)")
    methods = f"{', '.join(METHODS)}; or one per component, joined by + in the order of the options below"
    parser.add_argument("--method", required=True, metavar="M", help=methods)
    for component in COMPONENTS:
        parser.add_argument(
            _option(component),
            metavar="S",
            nargs="?",
            const="",
            help=f"prune this share of the {component}'s weights, from 0 to 1 (default: none)",
        )
    parser.add_argument(
        "--layers",
        default="linear",
        choices=LAYERS,
        metavar="L",
        help=f"linear layers (default), all: also convolutions, or one kind or place: {', '.join(KINDS)}",
    )
    parser.add_argument(
        "--pattern", metavar="N:M", help="keep N of every M inputs, such as 2:4; a component then needs no S"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--calibration", type=path, metavar="FILE", help="read statistics that an earlier run saved")
    source.add_argument("--save-calibration", type=path, metavar="FILE", help="save the statistics of this run")
    parser.add_argument(
        "--calibration-captions", type=path, metavar="FILE", help="captions to calibrate on (default: 32 of scenes)"
    )
    parser.add_argument(
        "--padding",
        default="counted",
        metavar="P",
        help="how calibration treats the padding tokens of captions: counted (default) or dropped",
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICES)
    parser.add_argument(
        "--out", required=True, type=path, metavar="DIR", help="the folder to make for the pruned pipeline"
    )
    parser.add_argument(
        "--packed",
        action="store_true",
        help="write a bit per weight and the surviving weights: smaller files for unpack",
    )
    places.add_force(parser, "--save-calibration")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prune and save."""
    levels = _levels(options)
    places.check_force("--save-calibration", options.save_calibration, options.force)
    if options.save_calibration is not None:
        inputs = [path for path in (options.calibration_captions,) if path is not None]
        places.check("--save-calibration", options.save_calibration, places.CALIBRATION, inputs, options.force)
    target = resolve.resolve(options.target, revision=options.revision)
    from harness.pruning.export import Request, export

    request = Request(
        target=target,
        method=options.method,
        levels=levels,
        layers=options.layers,
        out=options.out,
        calibration=options.calibration,
        save_calibration=options.save_calibration,
        captions=options.calibration_captions,
        padding=options.padding,
        device=options.device,
        packed=options.packed,
    )
    with progress() as show:
        folder = export(request, say, show)
    say(f"saved in {folder}" + (f"; to load it: prunegate unpack {folder} --out DIR" if options.packed else ""))
    return 0


def _levels(options: argparse.Namespace) -> dict[str, Level]:
    """Return component → level of all components that are to be pruned."""
    pattern = _pattern(options.pattern)
    levels: dict[str, Level] = {}
    for component in COMPONENTS:
        text = getattr(options, component)
        if text is not None:
            levels[component] = _level(_option(component), text, pattern)
    if not levels:
        raise HarnessError(
            "--unet, --text-encoder, … are all missing, so nothing is pruned; give one, such as --unet 0.35"
        )
    return levels


def _pattern(text: str | None) -> Pattern | None:
    if text is None:
        return None
    kept, _, of = text.partition(":")
    try:
        return Pattern(int(kept), int(of))
    except ValueError as error:
        raise HarnessError(f"--pattern {text} is no N:M with 0 < N < M; give one such as 2:4") from error


def _level(option: str, text: str, pattern: Pattern | None) -> Level:
    if text == "":
        if pattern is None:
            raise HarnessError(f"{option} needs a sparsity; give one, such as {option} 0.35")
        return pattern
    try:
        sparsity = float(text)
    except ValueError:
        sparsity = math.nan
    if not 0 <= sparsity <= 1:
        raise HarnessError(f"{option} {text} is no number from 0 to 1; give one, such as {option} 0.35")
    if pattern is None:
        return sparsity
    if abs(sparsity - pattern.sparsity) > 1e-9:
        raise HarnessError(
            f"{option} {text} contradicts --pattern {pattern}, which prunes {pattern.sparsity:g}; leave one of them out"
        )
    return pattern
