"""Join the results of all shards of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.case import Case
from harness.errors import HarnessError
from harness.results import Results
from harness.verdict.holds import with_holding


def merged(files: Mapping[Path, Results]) -> Results:
    """Return the results of all shards as those of one run, sorted by id, the dense cases first.

    Every case has been judged in its shard, against the same baselines. So its verdict stays.

    Args:
        files: File → the results of one shard.

    Raises:
        HarnessError: A shard is missing or given twice, or two shards differ in workload or stack.
    """
    numbers: dict[str, Path] = {}
    for path, results in files.items():
        if not results.shard:
            raise HarnessError(f"{path} is no shard; make one with `pytest benchmarks --shard 1/4 --json FILE`")
        if results.shard in numbers:
            raise HarnessError(f"{path} is shard {results.shard}, as {numbers[results.shard]} is; give each shard once")
        numbers[results.shard] = path
    counts = {shard.partition("/")[2] for shard in numbers}
    if len(counts) > 1:
        raise HarnessError(f"{', '.join(numbers)} are shards of different runs; give the shards of one run")
    (count,) = counts
    missing = [shard for shard in (f"{i + 1}/{count}" for i in range(int(count))) if shard not in numbers]
    if missing:
        raise HarnessError(f"shard {', '.join(missing)} is missing; give the results of all {count} shards")
    _check_alike(files)
    budgets = {tuple(results.budget.items()) for results in files.values()}
    if len(budgets) > 1:
        raise HarnessError(f"{', '.join(map(str, files))} have different budgets; give each shard the same --budget")
    together = list(files.values())
    joined = replace(
        together[0],
        cases=tuple(sorted((r for one in together for r in one.cases), key=lambda r: _place(r.record.case))),
        latencies=tuple(sorted((r for one in together for r in one.latencies), key=lambda r: _place(r.case))),
        dense={target: record for one in together for target, record in one.dense.items()},
        captions={target: texts for one in together for target, texts in one.captions.items()},
        rows={case: digest for one in together for case, digest in one.rows.items()},
        shard="",
    )
    return with_holding(joined, joined.budget)


def _place(case: Case) -> tuple[str, bool, str]:
    return case.target, not case.is_dense, case.id


def _check_alike(files: Mapping[Path, Results]) -> None:
    known: dict[str, tuple[Path, str]] = {}
    for path, results in files.items():
        for target, record in results.dense.items():
            stack = record.conditions.stack
            first, said = known.setdefault(target, (path, f"{record.workload} {stack}"))
            if said != f"{record.workload} {stack}":
                raise HarnessError(
                    f"{path} and {first} measured {target} with other captions, models or machines ({record.workload} "
                    f"{stack}; {said}); run all shards on machines of one kind with the same command"
                )
