"""The page in a real browser: no script error, no network, sorting, filters, pictures side by side, narrow screens."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.report.page import Pictures, page
from tests.edges.test_output import wide
from tests.report.made_up import pictured

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Runs before the page's own script, and writes down what went wrong.
WATCH = """<script>
const wrong = [];
addEventListener('error', (event) => wrong.push(event.message || 'not loaded: ' + event.target.src), true);
</script>"""
# Runs after the page's own script: what a person does, and what that person sees.
ACT = """<script>
addEventListener('load', () => {
  const seen = { wrong, wide: [...document.querySelectorAll('div.wide')].map((e) => e.scrollWidth - e.clientWidth) };
  const bodies = () => [...document.querySelectorAll('#cases tbody.case')].filter((b) => !b.hidden);
  const form = document.querySelector('form.filters');
  seen.body = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const fid = [...document.querySelectorAll('#cases thead button')].findIndex((e) => e.textContent === 'FID');
  document.querySelectorAll('#cases thead button')[fid].click();
  seen.fid = bodies().map((b) => parseFloat(b.rows[0].cells[fid].textContent));
  document.querySelectorAll('#cases thead button')[fid].click();
  seen.last = parseFloat(bodies()[0].rows[0].cells[fid].textContent);
  form.elements.words.value = 'wanda 0.5'; form.elements.layers.value = 'all';
  form.elements.words.dispatchEvent(new Event('input', { bubbles: true }));
  seen.filtered = bodies().map((b) => b.dataset.case); seen.count = form.querySelector('output').textContent;
  document.querySelector('[data-toggle=magnitude]').click();
  seen.off = [...new Set([...document.querySelectorAll('.panels .off')].map((e) => e.dataset.method))];
  bodies()[0].querySelector('button.p[data-index="2"]').click();
  const three = () => [...document.querySelectorAll('dialog .p')].map((e) => e.className);
  seen.open = document.querySelector('dialog').open; seen.pictures = three();
  seen.caption = document.querySelector('.caption').textContent;
  document.querySelector('dialog').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }));
  seen.next = document.querySelector('.caption').textContent;
  document.querySelector('dialog').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown' }));
  seen.other = three();
  seen.chosen = document.querySelectorAll('.chosen tr').length;
  document.title = JSON.stringify(seen);
});
</script></body>"""


def shown(text: str, place: Path, width: int) -> dict[str, Any]:
    """Open a page in a frame of a width, act as a person does, and return what was seen."""
    place.write_text(text.replace("<style>", WATCH + "<style>", 1).replace("</body>", ACT), encoding="utf-8")
    frame = place.with_name("frame.html")
    # A window has a least width, a frame has none.
    frame.write_text(f'<iframe src="{place.name}" width="{width}" height="900"></iframe>')
    frame.write_text(
        frame.read_text()
        + "<script>setInterval(() => { const t = document.querySelector('iframe').contentDocument.title;"
        " if (t.startsWith('{')) document.title = t; }, 20)</script>"
    )
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
               f"--window-size={width + 40},950", "--virtual-time-budget=4000", "--dump-dom",
               frame.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    titles = re.findall(r"<title>(.*?)</title>", done.stdout)
    assert titles, done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(html.unescape(titles[0]))
    return seen


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome to show the page with")
def test_a_page_in_a_browser(tmp_path: Path) -> None:
    made = wide()
    few = ("magnitude", "wanda", "owl_wanda", "random")
    made = replace(made, cases=tuple(r for r in made.cases if r.record.case.method in few))
    made = pictured(made, tmp_path, green=True)
    text = page(made, Pictures((tmp_path,)))
    seen = shown(text, tmp_path / "index.html", 1200)
    assert seen["wrong"] == [] and seen["body"] == 0 and set(seen["wide"]) == {0}
    assert seen["fid"] == sorted(seen["fid"]) and len(seen["fid"]) == len(made.cases)
    assert seen["last"] == seen["fid"][-1] > seen["fid"][0]
    wanted = [r.record.case.id for r in made.cases if "wanda" in r.record.case.method and r.record.case.level == "0.50"]
    assert sorted(seen["filtered"]) == sorted(wanted) and seen["count"] == f"{len(wanted)} of {len(made.cases)}"
    assert seen["off"] == ["magnitude"]
    # Dense, the last green run's and this run's.
    assert seen["open"] and len(set(seen["pictures"])) == 3 and seen["other"][0] == seen["pictures"][0]
    assert (seen["caption"], seen["next"]) == ("3. caption 2", "4. caption 3") and seen["other"] != seen["pictures"]
    assert seen["chosen"] > 1
    narrow = shown(text, tmp_path / "index.html", 390)
    assert narrow["wrong"] == [] and narrow["body"] == 0 and narrow["filtered"] == seen["filtered"]
