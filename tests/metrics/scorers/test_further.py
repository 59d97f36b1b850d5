"""Further scorers: a CLIP's logits, a program in another interpreter, names, and programs that fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from harness.errors import HarnessError
from harness.metrics import METRICS, learn
from harness.metrics.further import PREFIX
from harness.metrics.scorers.command import Program
from harness.metrics.scorers.further import Clip, Further, load, parsed
from tests.metrics.samples import evidence, sample
from tests.pipelines import save_clip_scorer

CPU = torch.device("cpu")
IMAGES = torch.arange(20, dtype=torch.uint8)[:, None, None, None].expand(20, 3, 6, 9).contiguous()
CAPTIONS = ["word " * (i + 1) for i in range(20)]
# A program with nothing but Python: the width of the picture, plus a hundredth of the caption's length.
ANSWERS = """
import json, struct, sys
for line in sys.stdin:
    asked = json.loads(line)
    scores = []
    for path, caption in zip(asked["pictures"], asked["captions"]):
        with open(path, "rb") as stream:
            scores.append(struct.unpack(">I", stream.read(24)[16:20])[0] + len(caption) / 100)
    print(json.dumps({"scores": scores}), flush=True)
"""


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a virtual environment of its own, without any package."""
    place = tmp_path_factory.mktemp("other") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    return place / "bin" / "python"


def program(folder: Path, code: str, python: Path | str = sys.executable, timeout: float = 60.0) -> Program:
    place = folder / "reward.py"
    place.write_text(code)
    return Program(f"--scorer reward=cmd:{place.name}", f"cmd:{python} {place}", timeout)


def test_a_program_in_another_interpreter_scores_every_picture(
    interpreter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: the program cannot import torch, also where a variable points to this environment's packages."""
    monkeypatch.setenv("PYTHONPATH", str(Path(torch.__file__).parents[1]))
    alone = "import importlib.util, sys\nassert importlib.util.find_spec('torch') is None\n"
    alone += "assert sys.prefix.endswith('venv')\n"
    running = program(tmp_path, alone + ANSWERS, interpreter)
    # Twenty pictures are two questions; the same process answers again.
    for _ in range(2):
        scores = running.score(IMAGES, CAPTIONS)
        torch.testing.assert_close(scores, torch.tensor([9 + len(text) / 100 for text in CAPTIONS]))
    running.close()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no network here')", "ended with exit code 1 before it answered (no network here)"),
        ("import os; os.write(1, b'half a line')", "ended with exit code 0 before it answered"),
        ("input(); print('hello', flush=True); input()", "answered 'hello' to a question about 16 pictures"),
        ("input(); print('[1, 2]', flush=True); input()", "answered '[1, 2]' to"),
        ("input(); print('{\"scores\": [1.0]}', flush=True); input()", "answered '{\"scores\": [1.0]}' to"),
        ("input(); print('{\"scores\": %s}' % ([float('nan')] * 16), flush=True); input()", "answered '"),
        ("input(); print('{\"scores\": %s}' % ([True] * 16).__str__().lower(), flush=True); input()", "answered '"),
        ("input(); print('x' * 2**21, flush=True); input()", "answered 'xxx"),
        ("import time; time.sleep(60)", "did not answer within 1.5 seconds"),
    ],
)
def test_a_program_that_fails_is_one_message_with_its_name(tmp_path: Path, code: str, said: str) -> None:
    running = program(tmp_path, code, timeout=1.5 if "sleep" in code else 60.0)
    with pytest.raises(HarnessError) as error:
        running.score(IMAGES, CAPTIONS)
    message = str(error.value)
    assert message.startswith("--scorer reward=cmd:reward.py ") and said in message and "\n" not in message
    assert message.endswith('it must answer every question with one line {"scores": [a number per picture]}')


def test_what_a_program_consists_of_decides_its_digest(tmp_path: Path) -> None:
    digests = {program(tmp_path, code).digest for code in ("a", "b", "a")}
    assert len(digests) == 2
    (tmp_path / "model").mkdir()
    place = f"cmd:{sys.executable} {tmp_path / 'reward.py'} {tmp_path / 'model'}"
    before = Program("x", place).digest
    (tmp_path / "model" / "weights").write_text("1")
    assert Program("x", place).digest not in (before, *digests)


def test_a_clip_s_score_is_its_logit(tmp_path: Path) -> None:
    """Control: transformers' own `logits_per_image`, the formula of PickScore's authors."""
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    save_clip_scorer(tmp_path)
    model = CLIPModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        model.logit_scale.fill_(4.1)
    model.save_pretrained(tmp_path)
    images = torch.randint(0, 256, (4, 3, 20, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    captions = ["A red bus", "two dogs", "a cat asleep", ""]
    arrays = [image.permute(1, 2, 0).numpy() for image in images]
    pixels = CLIPImageProcessorPil.from_pretrained(tmp_path)(images=arrays, return_tensors="pt")
    words = AutoTokenizer.from_pretrained(tmp_path)(captions, padding=True, return_tensors="pt")
    with torch.inference_mode():
        out = model(**pixels, **words)
    scorer = load(Further("pick", str(tmp_path)), CPU)
    assert isinstance(scorer, Clip)
    torch.testing.assert_close(scorer.score(images, captions), out.logits_per_image.diag(), rtol=1e-4, atol=1e-4)
    cos = (normalize(out.image_embeds) * normalize(out.text_embeds)).sum(1)
    torch.testing.assert_close(out.logits_per_image.diag(), 60.3403 * cos, rtol=1e-4, atol=1e-4)


def test_names_and_places(tmp_path: Path) -> None:
    folder = tmp_path / "PickScore-v1"
    folder.mkdir()
    assert parsed(str(folder)) == Further("pickscore_v1", str(folder))
    assert parsed(f"pick={folder}") == Further("pick", str(folder))
    assert parsed("reward=cmd:cat -u") == Further("reward", "cmd:cat -u")
    for text, said in (
        ("cmd:cat", "--scorer cmd:cat has no name; write NAME="),
        ("a=cmd:", "--scorer a=cmd: names no program"),
        ("a=cmd:'x", "quote the command as for a shell"),
        ("a=cmd:no-such-program -x", "the program no-such-program does not exist"),
        ("a=nowhere", "--scorer nowhere does not exist"),
    ):
        with pytest.raises(HarnessError, match=said):
            parsed(text)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Forget the metrics of further scorers that a test has registered."""
    before = set(METRICS)
    yield
    for name in set(METRICS) - before:
        del METRICS[name]


@pytest.mark.usefixtures("forgotten")
def test_the_metric_is_the_mean_of_the_scores() -> None:
    from dataclasses import replace

    learn([f"{PREFIX}pick", "clip", "fidd"])
    assert [*METRICS][-1] == "score_pick" and "fidd" not in METRICS
    own = replace(evidence(4, 0), further={"score_pick": torch.tensor([1.0, 2.0, 3.0, 6.0])})
    values = METRICS["score_pick"].compute(sample(own, own))
    assert values.figure.value == 3.0 and values.paired.tolist() == [1.0, 2.0, 3.0, 6.0]
    grouped = METRICS["score_pick"].compute(sample(own, own, [0, 0, 1, 2]))
    assert grouped.paired.tolist() == [1.5, 3.0, 6.0]
    with pytest.raises(HarnessError, match="the name may have the characters a-z, 0-9 and _ only"):
        learn([f"{PREFIX}Pick"])
