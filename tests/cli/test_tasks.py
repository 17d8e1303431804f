"""Questions with known answers, asked of a model by `distill eval`."""
import json

CHOICES = [{"question": "the thing is in the", "choices": ["inn", "x-ray"], "answer": "inn"},
           {"question": "and then the", "choices": ["zzzz", "man"], "answer": 1, "id": "a"}]
ANSWERS = [{"question": "3 and 4 are", "answer": "#### 7"}, {"question": "q " * 80, "answer": 2}]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_choices_and_answers(distill, model, tmp_path):
    choices, answers, aside = write(tmp_path / "c.jsonl", CHOICES), write(tmp_path / "a.jsonl", ANSWERS), tmp_path / "aside.jsonl"
    done = distill("eval", "--student", model, "--choices", choices, "--answers", answers, "--aside", aside, "--set", "generate.max_tokens=8", "--json")
    assert done.code == 0, done.err
    asked, said = done.json["choices"], done.json["answers"]
    assert (asked["questions"], asked["scored"], asked["chance"], asked["unused_keys"]) == (2, 2, 0.5, {"id": 1})
    assert asked["accuracy_interval"][0] <= asked["accuracy"] <= asked["accuracy_interval"][1]
    assert (said["questions"], said["scored"], said["too_long"]) == (2, 1, 1)
    assert said["right"] + said["wrong"] + said["unparsed"] == 1 and said["tokens"] <= 8
    assert done.json["cost"]["cpu_seconds"] > 0
    kept = [json.loads(line) for line in aside.read_text().splitlines()]
    assert len(kept) == 2 - round(2 * asked["accuracy"]) + 1 + said["wrong"] + said["unparsed"]
    assert any({"why": "too_long", "line": 2}.items() <= line.items() for line in kept)


def test_beside_data(distill, model, recipe, tmp_path):
    choices = write(tmp_path / "c.jsonl", CHOICES)
    done = distill("eval", "--student", model, "--data", recipe.parent / "valid.jsonl", "--choices", choices, "--json")
    assert done.code == 0, done.err
    assert done.json["perplexity"] > 1 and done.json["tasks"]["choices"]["scored"] == 2
    table = distill("eval", "--student", model, "--choices", choices).out
    assert "right by chance 50.0 %" in table and "right, per byte" in table


def test_wrong_usage(distill, model, tmp_path):
    bad = write(tmp_path / "c.jsonl", CHOICES + [{"question": "x", "choices": ["a", "b"], "answer": 5}])
    done = distill("eval", "--student", model, "--choices", bad)
    assert done.code == 1 and "c.jsonl:3: answer is 5, not in [0, 2)" in done.err
    assert distill("eval", "--student", model).code == 2
    assert distill("eval", "--student", model, "--choices", bad, "--verify", "exact").code == 2
    done = distill("eval", "--student", model, "--answers", bad, "--verify", "nearly")
    assert done.code == 2 and "numeric" in done.err
