"""Data by a teacher: a recipe's operators, operators in Python, teachers in Python."""
import json

import pytest

import distill


@pytest.fixture
def seeds(tmp_path):
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps({"prompt": "the thing %d" % i, "n": i}) + "\n" for i in range(5)))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_teacher_answers(model_folder, env, seeds, tmp_path):
    out, seen = tmp_path / "out.jsonl", []
    steps = [{"label": "answer", "samples": 2, "max_new_tokens": 4, "temperature": 1.0}]
    with distill.Teacher(model_folder, env=env) as teacher:
        plan = distill.augment_plan(teacher=teacher, seeds=seeds, steps=steps).to_dict()
        assert plan["samples"] == 5 and plan["prompts"][0].endswith("the thing 0") and not out.exists()
        made = distill.augment(teacher=teacher, seeds=seeds, out=out, steps=steps, seed=3,
                               on_progress=lambda p: seen.append((p.phase, p.done, p.total, p.tokens)))
        assert made["written"] == len(lines(out)) > 0 and seen[-1] == ("augmenting", 5, 5, made["tokens"])
        first = lines(out)[0]
        assert first["prompt"] == "the thing 0" and first["n"] == 0 and first["completion"]
        assert first["provenance"]["operators"][0]["operator"] == "label answer" and first["provenance"]["parents"] == ["#1"]
        with pytest.raises(distill.StageError, match="overwrite"):
            distill.augment(teacher=teacher, seeds=seeds, out=out, steps=steps)
        with distill.Dataset(out, teacher.tokenizer(), env=env) as data:  # what was made is data
            assert data["samples"] == made["written"]


def test_an_operator_in_python(env, seeds, tmp_path):
    out = tmp_path / "out.jsonl"

    def halve(sample):
        if sample["n"] % 2:
            return None
        return [sample, {"prompt": sample["prompt"].upper()}]

    env.add_operator("halve", halve)
    made = distill.augment(seeds=seeds, out=out, steps=[{"name": "halve"}], env=env)
    assert [line["id"] for line in lines(out)] == ["#1", "#1/1.1", "#3", "#3/1.1", "#5", "#5/1.1"]
    child = lines(out)[1]
    assert child["prompt"] == "THE THING 0" and child["provenance"]["parents"] == ["#1"]
    assert child["provenance"]["operators"][0]["operator"] == "name halve" and not lines(out)[0]["provenance"]["operators"]
    assert made.to_dict()["steps"][0]["counts"] == {"not_emitted": 2}
    with pytest.raises(distill.InvalidArgument, match="halve is there already"):
        env.add_operator("halve", halve)

    env.add_operator("breaks", lambda sample: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        distill.augment(seeds=seeds, out=out, steps=[{"name": "breaks"}], overwrite=True, env=env)
    env.add_operator("spoils", lambda sample: {"no": "words"})
    with pytest.raises(distill.FormatError, match="operator spoils: sample #1: what it emitted has none of"):
        distill.augment(seeds=seeds, out=out, steps=[{"name": "spoils"}], overwrite=True, env=env)


def test_a_teacher_of_functions_writes(env, tokenizer, model_folder, tmp_path):
    seeds, out, asked = tmp_path / "s.jsonl", tmp_path / "out.jsonl", []
    seeds.write_text("".join(json.dumps({"prompt": "the thing %d" % i}) + "\n" for i in range(3)))
    form = distill.Form(vocab=tokenizer.vocab_size)

    def generate(prompts, how):
        asked.append((len(prompts), how.samples, how.max_tokens, how.temperature, how.stop))
        return [" is text"] * how.samples if len(asked) % 2 else [tokenizer.encode(" is ids", special=False)] * how.samples

    steps = [{"label": "answer", "samples": 2, "max_new_tokens": 9, "temperature": 0.5, "stop": ["x"]}]
    with distill.Teacher.from_function(None, form, generate=generate, env=env) as teacher:
        distill.augment(teacher=teacher, seeds=seeds, out=out, steps=steps, tokenizer=str(model_folder))
        assert asked == [(1, 2, 9, 0.5, ["x"])] * 3
        assert [line["completion"] for line in lines(out)] == [" is text"] * 2 + [" is ids"] * 2 + [" is text"] * 2
        with pytest.raises(distill.DistillError):
            teacher.score([[1, 2, 3]])
    with distill.Teacher.from_function(None, form, generate=lambda prompts, how: [], env=env) as teacher:
        with pytest.raises(ValueError, match="gave 0 answers to 1 prompts"):
            distill.augment(teacher=teacher, seeds=seeds, out=out, steps=steps, overwrite=True, tokenizer=str(model_folder))
