"""Every operator of distill augment by the program with a real small model, the quickstart's teacher: a step each, and every recipe in the docs."""
import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEACHER = ROOT / "examples" / "quickstart" / "teacher"
WRITES = "max_new_tokens: 24, temperature: 1, stop: [';', ' of', ' a', ' the', ' or', '.']"
ANSWERS = "{label: answer, samples: 2, max_new_tokens: 6, temperature: 1}, "

# operator -> (steps, what its line of the report has; None = only that it ran)
STEPS = {
    "expand magpie": ("{expand: magpie, n: 20, %s}" % WRITES, "out"),
    "expand topic": ("{expand: topic, n: 6, topics: [rivers, ships], %s}" % WRITES, "out"),
    "expand self_instruct": ("{expand: self_instruct, examples: 2, %s}" % WRITES, "out"),
    "expand evol_instruct": ("{expand: evol_instruct, direction: broader, %s}" % WRITES, "out"),
    "expand persona": ("{expand: persona, personas: [a sailor], %s}" % WRITES, "out"),
    "expand paraphrase": ("{expand: paraphrase, language: pt, %s}" % WRITES, "out"),
    "expand back_translation": ("{expand: back_translation, pivot: French, %s}" % WRITES, "out"),
    "expand continue": ("{expand: continue, samples: 2, %s}" % WRITES, "out"),
    "label rationale": ("{label: rationale, max_new_tokens: 12}", "in"),  # thinks, and finds no answer: all is kept aside
    "label class": ("{label: class, classes: [\" sea\", \" land\"]}", "out"),
    "label answer": ("{label: answer, max_new_tokens: 6, keep_logprobs: 4}", "out"),
    "keep length": (ANSWERS + "{keep: length, min: 2}", "out"),
    "drop regex": (ANSWERS + "{drop: regex, pattern: '[0-9]$'}", "out"),
    "drop duplicate": (ANSWERS + "{drop: duplicate}", "out"),
    "drop near_duplicate": (ANSWERS + "{drop: near_duplicate, jaccard: 0.8}", "out"),
    "drop overlap": (ANSWERS + "{drop: overlap, with: eval.jsonl, ngram: 5}", "out"),
    "keep novelty": (ANSWERS + "{keep: novelty, rouge_l: 0.9}", "out"),
    "keep quality": (ANSWERS + "{keep: quality}", "out"),
    "keep balance": (ANSWERS + "{keep: balance, field: topic, max: 3}", "too_many"),
    "keep score": (ANSWERS + "{score: likelihood}, {keep: score, by: teacher_likelihood, at_least: -50}", "out"),
    "keep best": (ANSWERS + "{keep: best, by: teacher_likelihood}", "not_the_best"),
    "keep verified": (ANSWERS + "{keep: verified, against: topic, compare: exact}", "in"),
    "feedback judge": (ANSWERS + "{feedback: judge, max_new_tokens: 6}", "unparsed"),
    "feedback rank": (ANSWERS + "{feedback: rank, max_new_tokens: 6}", "unparsed"),
    "vote majority": ("{vote: majority, classes: [x, y]}", "out"),
    "vote confidence": ("{label: class, classes: [x, y], into: by_a}, {vote: confidence, classes: [x, y], fields: [by_a]}", "out"),
    "vote dawid_skene": ("{vote: dawid_skene, classes: [x, y]}", "out"),
    "score likelihood": (ANSWERS + "{score: likelihood}", "out"),
    "score gap": (ANSWERS + "{score: gap, model: %s}" % json.dumps(str(TEACHER)), "out"),
}


def write(folder, steps):
    what = "text" if "continue" in steps else "prompt"
    rows = [{"id": "s%d" % i, what: "a vessel that %s" % word, "topic": "xy"[i % 2], "votes": ["x", "y", "xy"[i % 2]]}
            for i, word in enumerate(["sails", "is driven by steam", "carries goods", "fights at sea", "lies in port", "has one mast"])]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "eval.jsonl").write_text(json.dumps({"text": "words of an evaluation that nobody has written down before"}) + "\n")
    (folder / "recipe.yaml").write_text(
        "teacher: {path: %s}\ndata: {chat_template: chatml}\naugment: {in: seeds.jsonl, out: out.jsonl, seed: 5, steps: [%s]}\n"
        % (json.dumps(str(TEACHER)), steps))
    return folder / "recipe.yaml"


def table():
    text = (ROOT / "src" / "augment" / "operator_table.c").read_text()
    return {"%s %s" % row for row in re.findall(r'^ {4}\{"([a-z]+)", "([a-z_]+)",', text, re.M)}


def test_no_operator_is_left_out():
    assert table() == set(STEPS)
    docs = "".join((ROOT / "docs" / name).read_text() for name in ("augmentation.md", "curation.md"))
    missing = [o for o in sorted(table()) if not re.search(r"\{%s[,}]" % o.replace(" ", ": "), docs)]
    assert not missing, "no recipe in docs"


@pytest.mark.parametrize("operator", sorted(STEPS))
def test_with_a_real_model(distill, tmp_path, operator):
    steps, wanted = STEPS[operator]
    recipe = write(tmp_path, steps)
    done = distill("augment", recipe, "--quiet", "--json")
    assert done.code == 0, done.err
    step = next(step for step in done.json["steps"] if step["operator"] == operator)
    assert step["in"] >= 6
    if wanted not in ("in", "out"):
        assert step["counts"].get(wanted, 0) > 0, step
    elif wanted == "out":
        assert step["out"] > 0, step
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(lines) == done.json["written"] and len({line["id"] for line in lines}) == len(lines)
    made = [line for line in lines if any(o["operator"] == operator for o in line["provenance"]["operators"])]
    if operator.split()[0] in ("expand", "label") and wanted == "out":
        assert made and all(o["seed"] == 5 and len(o["teacher"]) == 64 for line in made for o in line["provenance"]["operators"])
    before = (tmp_path / "out.jsonl").read_bytes()
    assert distill("augment", recipe, "--quiet", "--overwrite").code == 0
    assert (tmp_path / "out.jsonl").read_bytes() == before
