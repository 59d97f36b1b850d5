"""A method, a metric, a family and an executor of a user's: one file and one registration each, no fork."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.extension.conftest import Project
from tests.pipelines import CLIP, UNET, autoencoder, clip_tokenizer, save_clip_scorer, save_coco

QUICK = ("--captions=8", "--batch-size=8", "--torch-device=cpu")
CASE = 'Case("scenes", "unet", "magnitude", "all", (0.5,))'

METHOD = """
from pruners import Method, register
from pruners.select import by_layer

def prune(weight, stats, levels, seed):
    "Prune what is nearest to the mean of the layer."
    return by_layer(weight, (weight - weight.mean()).abs(), levels)

register(Method("centred", prune, "layer", "the weights nearest to the mean of a layer go"))
"""

METRIC = """
from harness.metrics import register
from harness.metrics.metric import Metric

def brightness(sample):
    from harness.metrics.values import by_caption
    return by_caption(sample.own.pictures.double().flatten(1).mean(1), sample.groups)

register(Metric(
    "brightness", "Brightness", "mean of all pixels, 0 to 255", brightness, "higher", 1, "caption",
    frozenset({"pictures"}), tolerance=0.5, noise=0.01, headline=True,
))
"""

FAMILY = """
from harness.targets.families import Family, register

register(Family("perturbed attention", ("StableDiffusionPAGPipeline",), ("ResnetBlock2D", "BasicTransformerBlock")))
"""

EXECUTOR = """
from concurrent.futures import ThreadPoolExecutor
from harness.execution import register
from harness.execution.local import LocalExecutor

class InAThread:
    def __init__(self, setup, progress):
        self._inner, self._pool = LocalExecutor(setup, progress), ThreadPoolExecutor(1)

    @property
    def bench(self):
        return self._inner.bench

    def plan(self, cases):
        self._inner.plan(cases)

    def submit(self, case):
        return self._pool.submit(lambda: self._inner.submit(case).result())

    def close(self):
        self._pool.shutdown()
        self._inner.close()

register("thread", "mine:InAThread")
"""


def test_a_method(project: Callable[..., Project]) -> None:
    cases = ", ".join(f'Case("scenes", "unet", "centred", "all", ({level},))' for level in (0.3, 0.5, 0.7))
    user = project(METHOD, cases, *QUICK)
    *_, again = user.stored_then_green("--json=run.json")
    said = again.stdout.str()
    assert "scenes-unet-centred-all-0.50" in said and "unet pruned by centred" in said
    curves = "".join(path.read_text() for path in (user.path / "prunegate-report").glob("*.svg"))
    assert "centred" in curves + (user.path / "prunegate-report" / "index.html").read_text()
    (user.path / "mine.py").write_text(METHOD.replace("weight - weight.mean()", "weight"))
    changed = user.run()
    assert changed.ret == 1 and "REGRESSION (exact)" in changed.stdout.str()


def test_a_metric_appears_everywhere_unasked(project: Callable[..., Project]) -> None:
    user = project(METRIC, f'Case("scenes"), {CASE}', *QUICK)
    *_, again = user.stored_then_green("--json=run.json")
    lines = again.stdout.str().splitlines()
    assert any(line.startswith("scenes-unet-magnitude-all-0.50") and "Brightness" in line for line in lines)
    assert any("Brightness" in line and "sparsity" in line for line in lines)
    page = (user.path / "prunegate-report" / "index.html").read_text()
    assert "Brightness" in page
    stored = json.loads((user.path / "baselines.json").read_text())["cases"]["scenes-unet-magnitude-all-0.50"]
    assert all(entry["quality"]["brightness"]["tolerance"] == 0.5 for entry in stored.values())
    assert "brightness" in json.loads((user.path / "run.json").read_text())["cases"][1]["record"]["quality"]
    compared = user.command("--plugin", "mine", "compare", "run.json", "run.json")
    assert compared.ret == 0 and "Brightness" in compared.stdout.str()


def test_a_family(project: Callable[..., Project], tmp_path: Path) -> None:
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPAGPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        StableDiffusionPAGPipeline(
            vae=autoencoder(), text_encoder=CLIPTextModel(CLIPTextConfig(**CLIP)), tokenizer=clip_tokenizer(),
            unet=UNet2DConditionModel(**UNET, use_linear_projection=True),
            scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        ).save_pretrained(tmp_path / "pag", safe_serialization=True)  # fmt: skip
    save_clip_scorer(tmp_path / "scorer")
    save_coco(tmp_path / "captions.json", 40)
    options = (f"--target={tmp_path / 'pag'}", f"--scorer={tmp_path / 'scorer'}", "--steps=2")
    options += (f"--coco-annotations={tmp_path / 'captions.json'}", *QUICK)
    cases = 'Case("pag", "unet", "magnitude", "all", (0.5,)), Case("pag", "text_encoder", "wanda", "all", (0.5,))'
    refused = project("", cases, *options).run()
    assert refused.ret == 4 and "StableDiffusionPAGPipeline" in refused.stdout.str() + refused.stderr.str()
    user = project(FAMILY, cases, *options)
    user.stored_then_green()
    assert (user.path / "baselines.pag.json").is_file()


def test_an_executor(project: Callable[..., Project]) -> None:
    user = project(EXECUTOR, CASE, *QUICK)
    user.stored_then_green("--executor=thread")
    assert user.run("--executor=local").ret == 0
    wrong = user.run("--executor=tread")
    assert wrong.ret == 4 and "did you mean thread" in wrong.stdout.str() + wrong.stderr.str()
