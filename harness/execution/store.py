"""Finished work on disk, so that an interrupted run resumes. Keys cover everything that could change a result.

Used with `--store DIR` only: a gate must not answer from a cache unasked.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save

from harness import digests, folders
from harness.case import Case
from harness.errors import HarnessError
from harness.execution import sources
from harness.execution.bench import Workbench
from harness.execution.outcome import Outcome
from harness.folders import Folder
from harness.generation.generate import Pictures
from harness.metrics.evidence import Composition, Evidence
from harness.record import REUSED, Record
from pruners import METHODS

# A finished case depends on the first module and its imports; evidence on given weights, on the others and theirs: what
# makes pictures, and what writes the weights.
CASES, PICTURES = "harness.execution.run", ("harness.execution.pictures", "harness.surgery.masks")
# What the names of stages, and of further scorers' metrics, begin with among the tensors of a file.
_STAGE, _FURTHER = "stage: ", "further: "


class _Kept(msgspec.Struct, frozen=True):
    """A finished case in the store: its record, and the digest of its pruned weights."""

    record: Record
    weights: str


class Store:
    """A folder of finished cases, of evidence on pictures, and of batches of cases that are not finished."""

    def __init__(self, folder: Path | str, bench: Workbench) -> None:
        """Use a folder. It is made when something is kept.

        Args:
            folder: The folder, or its address.
            bench: The loaded workload, whose facts are part of every key.

        Raises:
            HarnessError: The kind of address is unknown.
        """
        self._folder, self._bench = folders.of(folder), bench

    def shelf(self, case: Case) -> Shelf:
        """Return the place of one case."""
        bench = self._bench
        own = sources.outside(
            [place for name in case.methods.values() for place in (METHODS[name].prune, METHODS[name].refine) if place]
            + [metric.measure for metric in bench.metrics]
        )
        given = [bench.digest_of(case.candidate)] if case.candidate else []
        parts = [msgspec.to_builtins(case), msgspec.to_builtins(bench.facts(case)), own, self._measured(), given]
        wanted = len(bench.texts) if bench.setup.keeps_pictures else 0
        return Shelf(self._folder, self._key((CASES,), parts), self._pictures_key, wanted)

    def _measured(self) -> list[str]:
        return [metric.name for metric in self._bench.metrics]

    def _pictures_key(self, weights: str) -> str:
        """Return the key of the evidence for given pruned weights. The method that made them is not part of it."""
        dense = self._bench.facts(Case(self._bench.workload.name))
        pictures = any("pictures" in metric.takes for metric in self._bench.metrics)
        return self._key(PICTURES, [weights, msgspec.to_builtins(dense), pictures])

    def _key(self, modules: tuple[str, ...], parts: list[object]) -> str:
        # Threads, cores and batch size change figures by rounding only, which the measured noise covers.
        conditions = self._bench.conditions
        on = [msgspec.to_builtins(conditions.stack), conditions.torch_build]
        return digests.of_value([[sources.digest(module) for module in modules], on, *parts])


class Shelf:
    """One case's place in the store."""

    def __init__(self, folder: Folder, key: str, pictures_key: Callable[[str], str], wanted: int) -> None:
        """Use a folder. `Store.shelf` builds this.

        Args:
            folder: The folder of the whole store.
            key: The key of the case.
            pictures_key: Takes the digest of pruned weights, and returns the key of the evidence on their pictures.
            wanted: Number of pictures that a finished case must still have; 0 where the run keeps no pictures.
        """
        self._folder, self._key, self._pictures_key, self._wanted = folder, key, pictures_key, wanted

    def finished(self) -> Outcome | None:
        """Return the finished case, or None where the store has none, or a damaged one.

        Its cost has no times, because another run measured them.
        """
        try:
            kept = msgspec.json.decode(self._folder.read(f"{self._key}.json"), type=_Kept)
            row = self._picture(self._key)
        except (OSError, ValueError, HarnessError):
            return None
        seen = self.seen(kept.weights)
        pictures = self.batches("pictures").all(self._wanted) if self._wanted else None
        if seen is None or (self._wanted and pictures is None):
            return None
        if not self._wanted:
            # A run that was killed while it removed them has left some.
            self._folder.remove(f"{self._key}.batches")
        cost = replace(kept.record.cost, seconds=None, prune_seconds=None, generate_seconds=None, note=REUSED)
        return Outcome(replace(kept.record, cost=cost), seen[0], row, pictures)

    def finish(self, outcome: Outcome, weights: str) -> None:
        """Keep a finished case, and remove its batches. Batches stay where the run keeps pictures.

        Args:
            outcome: The result of the case.
            weights: The digest of its pruned weights.

        Raises:
            HarnessError: The folder cannot be written, as on a full disk.
        """
        evidence, composition = outcome.evidence, outcome.evidence.composition
        tensors = {name: getattr(evidence, name) for name in ("features", "embeddings", "scores", "degenerate")}
        if composition is not None:
            tensors |= {"right": composition.right, "wanted": composition.wanted}
        tensors |= {_STAGE + name: values for name, values in evidence.stages.items()}
        tensors |= {_FURTHER + name: values for name, values in evidence.further.items()}
        if evidence.pictures is not None:
            tensors["pictures"] = evidence.pictures
        key = self._pictures_key(weights)
        self._folder.write(f"{key}.png", outcome.row)
        self._folder.write(f"{key}.safetensors", save({k: v.contiguous() for k, v in tensors.items()}))
        self._folder.write(f"{self._key}.png", outcome.row)
        self._folder.write(f"{self._key}.json", msgspec.json.encode(_Kept(outcome.record, weights)))
        if not self._wanted:
            self._folder.remove(f"{self._key}.batches")

    def seen(self, weights: str) -> tuple[Evidence, bytes] | None:
        """Return the evidence on pictures of given pruned weights, and their row; None for a damaged or missing file.

        Args:
            weights: The digest of the pruned weights.
        """
        key = self._pictures_key(weights)
        try:
            there = load(self._folder.read(f"{key}.safetensors"))
            stages = {name.removeprefix(_STAGE): values for name, values in there.items() if name.startswith(_STAGE)}
            composition = Composition(there["right"], there["wanted"]) if "right" in there else None
            evidence = Evidence(
                there["features"], there["embeddings"], there["scores"], there["degenerate"], composition,
                there.get("pictures"), stages,
                {name.removeprefix(_FURTHER): v for name, v in there.items() if name.startswith(_FURTHER)},
            )  # fmt: skip
            return evidence, self._picture(key)
        except (OSError, KeyError, ValueError, TypeError, SafetensorError):
            return None

    def _picture(self, key: str) -> bytes:
        content = self._folder.read(f"{key}.png")
        Image.open(io.BytesIO(content)).load()
        return content

    def batches(self, arm: str, start: int = 0) -> Batches:
        """Return the case's batches.

        Args:
            arm: The name of one of its generations, such as "pictures".
            start: The number of the caption that a shard begins with. Shards share the batches.
        """
        return Batches(self._folder, f"{self._key}.batches/{arm}", start)


class Batches:
    """The batches of one generation: an interrupted run repeats the current batch at most."""

    def __init__(self, folder: Folder, name: str, start: int = 0) -> None:
        """Use a folder. It is made when the first batch is kept.

        Args:
            folder: The folder of the whole store.
            name: The name of the batches' own folder.
            start: The number of a shard's first caption.
        """
        self.used, self._folder, self._name, self._start = False, folder, name, start

    def get(self, first: int, count: int) -> Pictures | None:
        """Return the largest kept batch that starts at `first` of the shard and has up to `count` pictures, or None."""
        first += self._start
        there = [name for name in self._folder.names(self._name) if name.startswith(f"{first}-")]
        sizes = [int(name.removesuffix(".safetensors").partition("-")[2]) for name in there]
        for size in sorted((size for size in sizes if size <= count), reverse=True):
            try:
                kept = load(self._folder.read(f"{self._name}/{first}-{size}.safetensors"))
                stages = {key.removeprefix(_STAGE): value for key, value in kept.items() if key.startswith(_STAGE)}
                batch = Pictures(kept["images"], kept["degenerate"], size, stages)
            except (OSError, KeyError, SafetensorError):
                continue
            self.used = True
            return batch
        return None

    def put(self, first: int, made: Pictures) -> None:
        """Keep a batch. Raises HarnessError where it cannot be written."""
        stages = {_STAGE + name: values for name, values in made.stages.items()}
        content = save({"images": made.images.contiguous(), "degenerate": made.degenerate.contiguous()} | stages)
        self._folder.write(f"{self._name}/{first + self._start}-{len(made.images)}.safetensors", content)

    def all(self, count: int) -> torch.Tensor | None:
        """Return all `count` pictures, uint8 `[count, 3, h, w]`, or None where a batch is missing."""
        parts, first = [], 0
        while first < count:
            batch = self.get(first, count - first)
            if batch is None:
                return None
            parts.append(batch.images)
            first += len(batch.images)
        return torch.cat(parts)
