"""Reports of runs as pages, tasks, comparisons and plans, as a program in Python asks for them."""
import html.parser
import json
import pathlib

import pytest

import distill

HOSTILE = "</script><script>alert(1)</script>&amp;\"'\x07\u202e<b>"
VOID = {"meta", "br"}


class Page(html.parser.HTMLParser):
    """Every element that opens closes, in order; headings and addresses are collected."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.headings, self.words = [], [], [], []
        text = pathlib.Path(path).read_text(encoding="utf-8")
        assert "url(" not in text and "@import" not in text
        self.feed(text)
        self.close()
        assert not self.open and "script" not in self.tags and "link" not in self.tags and "img" not in self.tags

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href", "srcset") for name, _ in attributes), attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def blocks(extra):
    return {"windows": 10, "tokens": [100] * 10, "nats": [250 + extra + i % 3 for i in range(10)],
            "teacher_nats": [230 + i % 3 for i in range(10)], "forward_kl": [20 + extra + i % 2 for i in range(10)]}


def model(path, **more):
    return dict({"path": path, "parameters": 1000, "bytes": 4000, "prompt_tokens_per_second": 100.0, "decode_tokens_per_second": 10.0,
                 "first_token_seconds": 0.01, "token_seconds_p50": 0.002, "token_seconds_p95": 0.003, "token_seconds_p99": 0.004,
                 "cost_per_1000_tokens": {"cpu_seconds": 0.5, "joules": 3.5, "energy": "estimated", "eur": 1e-6}}, **more)


def whole(name, extra=0, weight=0.0):
    """A result that has everything."""
    bucket = {"from": 1, "to": 3, "tokens": 500, "nats": 2.5, "teacher_nats": 2.3, "forward_kl": 0.2}
    token = {"id": 3, "text": name, "teacher": 0.9, "student": 0.1}
    return {
        "version": "0.1.0", "finished": True, "reason": "all 10 steps were made", "name": name,
        "training": {"steps": 10, "tokens": 1000, "seconds": 1.5, "loss": "forward_kl", "members": {name: {"tokens": 5, "weight": 0.5}},
                     "terms": [{"loss": "cross_entropy", "weight": weight}, {"loss": "forward_kl", "weight": 1 - weight}]},
        "data": {"source": name, "tokens": 2000, "sources": {name: {"path": name, "tokens": 5, "share": 0.5}, "b": {"path": "b", "tokens": 5}}},
        "student": model("out", perplexity=12.5 + extra, nats=2.5, forward_kl=0.2, top1_agreement=0.7, expected_acceptance=0.8),
        "teacher": model("teacher", perplexity=10.0, nats=2.3, forward_kl=0, top1_agreement=1, manifest={"hash": "abc123"}),
        "gguf": model("out.gguf"),
        "eval": {"tokens": 1000, "precision": "fp32", "blocks": blocks(extra), "by_position": [bucket], "by_frequency": [bucket],
                 "sources": {name: {"tokens": 5, "perplexity": 12.5, "forward_kl": 0.2}, "b": {"tokens": 5, "forward_kl": 0.4}},
                 "teachers": {name: {"tokens": 5, "perplexity": 9.0, "forward_kl": 0.3}, "b": {"problem": name},
                              "c": {"tokens": 5, "forward_kl": 0.1}},
                 "disagreements": [{"forward_kl": 3.0 - i, "context": "context %d %s" % (i, name), "from_start": False,
                                    "label": {"id": 3, "text": name, "teacher": 0.9, "student": 0.1}, "tokens": [token]} for i in range(10)]},
        "samples": [{"prompt": name, "teacher": "one", "student": "", "text": "two"}],
        "cost": {"seconds": 2.0, "cpu_seconds": 3.0, "peak_memory_bytes": 5e6, "joules": 21.0, "energy": "estimated",
                 "energy_note": "an estimate: CPU seconds times cost.watts_per_core", "eur": 1e-6},
        "changes": [], "warnings": [name], "options": {"loss": {"type": "forward_kl"}, "data": {"train": [{"path": name}, {"path": "b"}]}},
    }


def write_run(folder, result, count=10):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(
        {"step": i, "loss": 3 - i / 10, "eval": {"perplexity": 20 - i, "forward_kl": 1 / i}}) + "\n" for i in range(1, count + 1)))
    return folder


EVERYTHING = ["How it learned", "Where it is far", "Where they disagree most", "By source and by teacher", "What the student saves", "In numbers",
              "Samples", "How to make it again"]


def test_every_panel_is_there(env, tmp_path):
    with env.report(write_run(tmp_path / "run", whole("plain"))) as report:
        assert report["result.student.perplexity"] == 12.5 and len(report.to_dict()["metrics"]) == 10
        report.html(tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.headings == EVERYTHING
    for words in ("Training loss", "KL by position", "KL by token frequency", "KL by source", "KL by teacher", "Latency of a token",
                  "Energy of 1,000 tokens", "EUR of a million tokens", "Time to the first token", "What this run took", "nothing: it ends at once", "abc123", "- path: \"plain\"",
                  "context 9", "0.2050 ± 0.0038 nats per token from its teacher"):
        assert words in page.text, words
    with env.report(tmp_path / "run") as report:
        report.html(tmp_path / "page.html", language="pt")
    assert "Como aprendeu" in Page(tmp_path / "page.html").headings


def test_nothing_in_a_text_is_markup(env, tmp_path):
    with env.report(write_run(tmp_path / "run", whole(HOSTILE))) as report:
        report.html(tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.headings == EVERYTHING and "\x07" not in page.text and "\u202e" not in page.text
    assert page.text.count("<script>alert(1)</script>&amp;") >= 10


def test_a_run_beside_its_baseline_and_several(env, tmp_path):
    names = {"better": (0, 0.1), "labels": (20, 1.0), "third": (5, 0.5)}
    reports = [env.report(write_run(tmp_path / name, whole(name, *values))) for name, values in names.items()]
    reports[0].html(tmp_path / "two.html", reports[1])
    assert "0.2 ± 0.0 nats per token better" in Page(tmp_path / "two.html").text
    reports[0].html(tmp_path / "three.html", *reports[1:])
    page = Page(tmp_path / "three.html")
    assert "Side by side" in page.headings and "better than the next, third" in page.text
    with pytest.raises(distill.DistillError, match="nowhere"):
        reports[0].html(tmp_path / "nowhere" / "page.html")
    with pytest.raises(distill.NotFound, match="neither result.json nor metrics.jsonl"):
        env.report(tmp_path)


def test_a_classifier_leaves_its_page(env, tmp_path):
    lines = "".join(json.dumps({"text": "%s %d" % (name, i), "probabilities": {name: 0.9, other: 0.1}}) + "\n"
                    for i in range(60) for name, other in (("apple", "saw"), ("saw", "apple")))
    (tmp_path / "texts.jsonl").write_text(lines)
    recipe = {"classifier": {"ngrams": {"bits": 8}}, "data": {"train": str(tmp_path / "texts.jsonl"), "eval_fraction": 0.5}, "loss": "forward_kl",
              "train": {"steps": 40, "batch_size": 8, "learning_rate": 0.05, "weight_decay": 0}, "output": str(tmp_path / "out")}
    distill.Classifier.train(options=distill.Options(recipe, env=env), env=env)
    page = Page(tmp_path / "out" / "report.html")
    assert "held-out texts the classifier puts 100.0 %" in page.text and "Answers alone" in page.text and "bits: 8" in page.text


def test_tasks(model_folder, env, tmp_path):
    (tmp_path / "choices.jsonl").write_text(json.dumps({"question": "the thing is in the", "choices": [" inn", " man"], "answer": 0}) + "\n")
    with distill.Student(model_folder, env=env).as_teacher() as judge:
        report = distill.evaluate_tasks(judge, choices=str(tmp_path / "choices.jsonl")).to_dict()
    assert report["choices"]["questions"] == 1 and 0 <= report["choices"]["accuracy"] <= 1


def test_compare_and_plan(model_folder, recipe, env, tmp_path):
    (tmp_path / "text.txt").write_text("the thing is in the inn and then the man\n" * 20)
    teacher, student = (distill.Student(model_folder, env=env).as_teacher() for _ in range(2))
    compared = distill.compare(teacher, student, str(tmp_path / "text.txt"), sequence_length=24)
    assert compared["a.perplexity"] == pytest.approx(compared["b.perplexity"]) and compared["between.forward_kl"] == pytest.approx(0, abs=1e-5)
    planned = distill.plan(recipe, env=env).to_dict()
    assert planned and not pathlib.Path(recipe["output"]).exists()
