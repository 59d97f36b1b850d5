"""How many bytes does a packed pipeline take, and how many does an archive of the dense one?

    python tools/packed_sizes.py [TARGET] [--method magnitude] [--levels 0.35,0.50,0.70,2:4]

Prunes all layers of every component of TARGET (default: scenes), saves the pipeline dense and packed, and compares the
files of the pruned components: with the column `stored` of the tables, and with archives of the dense files that
`zip -9` and `zstd -19` make. Prints the Markdown table of docs/measurements/packed.md. Needs the programs zip and zstd.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli.errors import guarded
from harness.cli.parsers import of_tool
from harness.errors import HarnessError
from harness.targets import resolve
from pruners.levels import Level, Pattern

LEVELS = "0.35,0.50,0.70,2:4"
ARCHIVES = {"zip": ("zip", "-9", "-q", "-r", "-"), "zstd": ("zstd", "-19", "-T0", "-q", "-c")}


def level_of(text: str) -> Level:
    """Return the level that a text writes.

    Raises:
        HarnessError: The text is neither a sparsity nor a pattern.
    """
    kept, colon, of = text.partition(":")
    try:
        return Pattern(int(kept), int(of)) if colon else float(text)
    except ValueError as error:
        raise HarnessError(f"--levels {text!r} is no sparsity and no pattern; give levels such as 0.50,2:4") from error


def archived(program: str, files: Sequence[Path]) -> int:
    """Return the bytes of the archives that a program makes of some files, one archive per file."""
    commands = [[*ARCHIVES[program], str(path)] for path in files]
    return sum(len(subprocess.run(command, capture_output=True, check=True).stdout) for command in commands)


def row(target: str, method: str, text: str, folder: Path) -> Iterator[str]:
    """Prune a target to one level, and yield the cells of its row: sizes in MB, and shares of `stored`.

    Args:
        target: A name, a folder or a Hub id.
        method: A name of `METHODS`.
        text: The level.
        folder: An empty folder to work in.
    """
    from harness.pruning.export import Request, export
    from harness.pruning.packed import unpack, weight_bytes

    spec, level = resolve.resolve(target), level_of(text)
    levels = dict.fromkeys(resolve.components(spec), level)
    packed = Request(spec, method, levels, "all", folder / "packed", packed=True)
    export(packed, lambda _: None)
    dense = unpack(packed.out, folder / "dense")
    facts = json.loads((dense / "prunegate.json").read_text())["components"].values()
    stored = sum(part["stored_bytes"] for part in facts)
    files = sorted(path for name in levels for path in (dense / name).glob("*.safetensors"))
    sizes = [weight_bytes(packed.out), *(archived(program, files) for program in ARCHIVES)]
    yield from (text, f"{weight_bytes(dense) / 1e6:.2f}", f"{stored / 1e6:.2f}")
    yield from (f"{size / 1e6:.2f} ({size / stored - 1:+.2%})" for size in sizes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("target", nargs="?", default="scenes", metavar="TARGET", help="what to prune (default: scenes)")
    parser.add_argument("--method", default="magnitude", metavar="M", help="a method without calibration")
    parser.add_argument("--levels", default=LEVELS, metavar="A,B", help=f"default: {LEVELS}")

    def work() -> int:
        options = parser.parse_args(arguments)
        missing = [program for program in ARCHIVES if shutil.which(program) is None]
        if missing:
            raise HarnessError(f"{' and '.join(missing)} is not installed; install it, such as with apt")
        print("| level | dense, MB | `stored`, MB | packed, MB | zip -9 of dense, MB | zstd -19 of dense, MB |")
        print("|---|---|---|---|---|---|")
        for text in options.levels.split(","):
            with tempfile.TemporaryDirectory() as place:
                print(f"| {' | '.join(row(options.target, options.method, text, Path(place)))} |", flush=True)
        return 0

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
