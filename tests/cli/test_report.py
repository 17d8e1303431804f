"""report.html: made by a run, made again, of several runs; well-formed, self-contained, with the numbers of result.json."""
import html.parser
import json
import os
import re
import subprocess
import urllib.error
import urllib.request

import pytest

PROGRAM = os.environ.get("DISTILL_PROGRAM", "distill")
VOID = {"meta", "br", "img", "input", "hr", "link"}


class Page(html.parser.HTMLParser):
    """Every element that opens closes, in order; what an address could stand in is collected."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on"), name
            if name in ("href", "src", "xlink:href", "action", "data", "srcset", "poster"):
                self.addresses.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def page_of(path):
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.addresses and "script" not in page.tags
    assert not re.search(r"https?:|url\(|@import", text)
    return page


def short(value):
    """Three digits that count, as the page has them."""
    for bound, decimals in ((100, 0), (10, 1), (1, 2), (0.1, 3), (0.01, 4), (0.001, 5)):
        if value >= bound:
            return "%.*f" % (decimals, value)
    return "%.6f" % value


@pytest.fixture
def run(distill, recipe):
    def make(*more):
        done = distill("run", recipe, "--quiet", "--set", "output.overwrite=true", *more)
        assert done.code == 0, done.err
        return done
    return make


def test_run_leaves_a_page(run, tmp_path):
    done = run("--set", "train.eval_every=2")
    assert "report: %s" % (tmp_path / "out" / "report.html") in done.out
    page = page_of(tmp_path / "out" / "report.html")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    for name, key in (("student", "perplexity"), ("teacher", "perplexity"), ("student", "forward_kl")):
        assert short(result[name][key]) in page.text
    heights = [drawing.count("tick end") for drawing in re.findall(r"<svg.*?</svg>", (tmp_path / "out" / "report.html").read_text(), flags=re.S)
               if "tick end" in drawing]
    assert heights and min(heights) >= 3  # one number along an axis says nothing of its scale
    assert "svg" in page.tags and "hard_label_weight" in page.text and result["teacher"]["manifest"]["hash"] in page.text
    for name in ("student", "teacher"):
        model = result[name]
        assert 0 < model["first_token_seconds"] <= model["first_token_seconds_p95"] and model["timed_tokens"] > 0
        assert 0 < model["token_seconds_p50"] <= model["token_seconds_p95"] <= model["token_seconds_p99"]
        assert short(model["bits_per_byte"]) in page.text and "%.1f\u00a0%%" % (100 * model["calibration_error"]) in "".join(page.words)
    for words in ("Time to the first token", "Latency of a token", "calibration error", "of the worst hundredth", result["machine"]["cpu"],
                  result["data"]["hash"], result["data"]["eval"]["hash"]):
        assert words in page.text
    eval_ = result["eval"]
    assert sum(b["tokens"] for b in eval_["by_position"]) == eval_["tokens"] == sum(b["tokens"] for b in eval_["by_frequency"])
    assert sum(eval_["blocks"]["tokens"]) == eval_["tokens"]
    assert sum(eval_["blocks"]["nats"]) / eval_["tokens"] == pytest.approx(result["student"]["nats"])
    assert sum(eval_["blocks"]["forward_kl"]) / eval_["tokens"] == pytest.approx(result["student"]["forward_kl"])
    assert eval_["disagreements"][0]["forward_kl"] >= eval_["disagreements"][-1]["forward_kl"]


def test_money_and_drafts_beside_the_teacher(run, tmp_path):
    run("--set", "train.eval_draft_tokens=32", "--set", "cost.watts_per_core=9", "--set", "cost.eur_per_kwh=0.3", "--set", "cost.usd_per_million_tokens=2")
    page = page_of(tmp_path / "out" / "report.html")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    for words in ("EUR of a million tokens", "USD of a million tokens", "An estimate", "speed-up, greedily", "accepted, drawing"):
        assert words in page.text
    for name in ("student", "teacher"):
        cost = result[name]["cost_per_1000_tokens"]
        assert cost["energy"] == "estimated" and cost["usd"] == 0.002
        assert cost["joules"] == pytest.approx(9 * cost["cpu_seconds"]) and cost["eur"] == pytest.approx(cost["joules"] / 3.6e6 * 0.3)
    assert result["eval"]["draft"]["greedy"]["speedup"] > 0


def test_nothing_is_timed(run, tmp_path):
    run("--set", "output.timing_seconds=0")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert "first_token_seconds" not in result["student"] and "decode_tokens_per_second" not in result["teacher"]
    assert "No speed was measured: output.timing_seconds is 0." in page_of(tmp_path / "out" / "report.html").text


def test_other_data_and_other_teachers(distill, run, tmp_path, model):
    run()
    (tmp_path / "other.jsonl").write_text("\n".join(json.dumps({"text": "the man %d is in the thing" % i}) for i in range(9)))
    run("--set", "output.path=%s" % (tmp_path / "b"), "--set", "data.eval=%s" % (tmp_path / "other.jsonl"))
    run("--set", "output.path=%s" % (tmp_path / "c"), "--set", "teacher.path=%s" % (tmp_path / "out"), "--set", "student.layers=[0]",
        "--set", "data.train=%s" % (tmp_path / "other.jsonl"))
    done = distill("report", tmp_path / "out", tmp_path / "b", tmp_path / "c", "-o", tmp_path / "three.html")
    assert done.code == 0, done.err
    page = page_of(tmp_path / "three.html")
    assert "Measured on other held-out text than the first, so that nothing can be compared: b." in page.text
    assert "Learnt from other training data than the first: c." in page.text
    html = (tmp_path / "three.html").read_text()
    head = html[html.index("<thead>"):html.index("</thead>")]
    assert head.count("key ct") == 3  # the first teacher on two texts, and the third run's


def test_none_and_portuguese(run, tmp_path):
    run("--set", "output.report=none")
    assert not (tmp_path / "out" / "report.html").exists()
    run("--set", "output.language=pt")
    assert "Como aprendeu" in page_of(tmp_path / "out" / "report.html").text


def test_made_again(distill, run, tmp_path):
    run()
    first = (tmp_path / "out" / "report.html").read_bytes()
    done = distill("report", tmp_path / "out")
    assert done.code == 0 and done.out.strip() == str(tmp_path / "out" / "report.html")
    assert (tmp_path / "out" / "report.html").read_bytes() == first
    assert distill("report", tmp_path / "out", "-o", tmp_path / "pt.html", "--language", "pt").code == 0
    assert "Amostras" in page_of(tmp_path / "pt.html").text


def test_several(distill, run, tmp_path):
    run()
    run("--set", "output.path=%s" % (tmp_path / "hard"), "--set", "loss.hard_label_weight=1")
    run("--set", "output.path=%s" % (tmp_path / "third"), "--set", "train.seed=2")
    assert distill("report", tmp_path / "out", tmp_path / "hard").code == 2  # where to?
    done = distill("report", tmp_path / "out", tmp_path / "hard", "-o", tmp_path / "two.html")
    assert done.code == 0, done.err
    assert "hard labels" in page_of(tmp_path / "two.html").text
    done = distill("report", tmp_path / "out", tmp_path / "hard", tmp_path / "third", "-o", tmp_path / "three.html")
    assert done.code == 0, done.err
    page = page_of(tmp_path / "three.html")
    assert "Side by side" in page.text and "third" in page.text


def test_damage_is_named(distill, run, tmp_path):
    run()
    with open(tmp_path / "out" / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write("{\"step\":7,\n<b>no\n{\"step\":8,\"loss\":\"<script>\"}\n")
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().count("\n")
    done = distill("report", tmp_path / "out")
    assert done.code == 0 and "metrics.jsonl:%d" % lines in done.err and "metrics.jsonl:1: " not in done.err
    assert "metrics.jsonl: 3 damaged lines" in page_of(tmp_path / "out" / "report.html").text
    (tmp_path / "out" / "result.json").write_text("{\"version\": ")
    done = distill("report", tmp_path / "out")
    assert done.code == 0 and "result.json" in done.err
    assert "no result" in page_of(tmp_path / "out" / "report.html").text


def test_no_run(distill, tmp_path):
    done = distill("report", tmp_path)
    assert done.code == 1 and "neither result.json nor metrics.jsonl" in done.err
    assert distill("report").code == 2


def test_watched(recipe, tmp_path):
    started = subprocess.Popen([PROGRAM, "run", str(recipe), "--watch", "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = started.stderr.readline().decode()
    address = re.search(r"http://127\.0\.0\.1:\d+/", line).group()
    while True:
        body = urllib.request.urlopen(address, timeout=30).read().decode()
        if "result.json and metrics.jsonl" in body and "refresh" not in body:
            break
    assert started.wait(timeout=60) == 0
    Page(body)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)


def test_a_run_on_its_own_text(distill, recipe):
    done = distill("run", recipe, "--quiet", "--set", "loss.type=jsd", "--set", "loss.hard_label_weight=0", "--set",
                   "train.on_policy={lambda: 1, max_new_tokens: 6, prompt_tokens: 4}")
    assert done.code == 0, done.err
    written = json.loads((recipe.parent / "out" / "result.json").read_text())["training"]["on_policy"]
    text = (recipe.parent / "out" / "report.html").read_text()
    Page(text)
    assert written["windows"] == 6 and "6 steps on its own text" in text and "Its own text" in text and "texts by the student" in text
    assert distill("report", recipe.parent / "out", "-o", recipe.parent / "pt.html", "--language", "pt").code == 0
    assert "6 passos em texto próprio" in (recipe.parent / "pt.html").read_text()
