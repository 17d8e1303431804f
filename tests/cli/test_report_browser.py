"""report.html in headless Chromium: nothing is wider than its window or written over other text; it reads itself again while a run trains."""
import re
import signal
import subprocess
import time

import pytest

from browser import CHROMIUM, Browser
from conftest import PROGRAM

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")

# Pairs of texts of one drawing whose boxes share more than a sliver; labels at a line's end have a figure right below.
OVERLAPS = """[...document.querySelectorAll('svg')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]).filter(t => t[0].trim());
  return texts.flatMap(([a, x], i) => texts.slice(i + 1).filter(([b, y]) =>
    Math.min(x.right, y.right) - Math.max(x.left, y.left) > 2 &&
    Math.min(x.bottom, y.bottom) - Math.max(x.top, y.top) > 0.4 * Math.min(x.height, y.height)).map(([b]) => a + ' | ' + b));
}).join('; ')"""
OUTSIDE = """[...document.querySelectorAll('figure svg text')].filter(t => {
  const box = t.getBoundingClientRect(), figure = t.closest('figure').getBoundingClientRect();
  return box.right > figure.right + 1 || box.left < figure.left - 1;
}).map(t => t.textContent).join('; ')"""


@pytest.fixture
def browser(tmp_path):
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


def check_widths(browser, page):
    for width in (400, 900, 1600):
        browser.open("file://%s" % page, width)
        browser.wait_for("document.readyState === 'complete' && !!document.querySelector('footer')")
        assert browser.value("document.documentElement.scrollWidth <= innerWidth"), width
        assert browser.value(OVERLAPS) == "", width
        assert browser.value(OUTSIDE) == "", width


def test_pages_fit(distill, recipe, tmp_path, browser):
    more = ["--set", "train.eval_every=2", "--set", "train.eval_draft_tokens=16", "--set", "cost.watts_per_core=9", "--set", "cost.eur_per_kwh=0.3",
            "--set", "cost.usd_per_million_tokens=2", "--set", "output.format=both", "--quiet"]
    for name in ("a_student_with_a_long_name_of_its_own", "b", "c"):
        done = distill("run", recipe, "--set", "output.path=%s" % (tmp_path / name), "--set", "loss.hard_label_weight=%d" % (name == "b"), *more)
        assert done.code == 0, done.err
    names = [tmp_path / name for name in ("a_student_with_a_long_name_of_its_own", "b", "c")]
    for count, language in ((1, "en"), (2, "pt"), (3, "en")):
        done = distill("report", *names[:count], "-o", tmp_path / "page.html", "--language", language)
        assert done.code == 0, done.err
        check_widths(browser, tmp_path / "page.html")


def test_reads_itself_again_while_it_trains(recipe, browser):
    started = subprocess.Popen([PROGRAM, "run", str(recipe), "--watch", "--quiet", "--set", "train.steps=10000000"], stderr=subprocess.PIPE)
    steps = set()
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+/", started.stderr.readline().decode()).group()
        browser.open(address)
        until = time.monotonic() + 60
        while len(steps) < 2 and time.monotonic() < until:
            steps.add(browser.value("document.querySelector('.verdict b')?.textContent"))
            steps.discard(None)
            time.sleep(0.2)
    finally:
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=60)
    assert len(steps) == 2, steps
