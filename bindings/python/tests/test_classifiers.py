"""Students that are no language models, and the cascade with a teacher."""
import json

import pytest

import distill

KEYS = {"ngrams__bits": 10}
RECIPE = {"loss": "forward_kl", "train": {"steps": 60, "batch_size": 8, "learning_rate": 0.05, "weight_decay": 0.0}}


def samples(count, first=0):
    words = {"fruit": "ripe apple", "tool": "steel hammer"}
    return [{"text": "%s %d" % (words[name], i), "probabilities": {name: 0.9, other: 0.1}, "id": i}
            for i in range(first, first + count) for name, other in [("fruit", "tool") if i % 2 else ("tool", "fruit")]]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_learns_predicts_and_is_read_back(env, tmp_path):
    seen = []
    made, report = distill.Classifier.train(samples(40), RECIPE, env=env, on_progress=lambda p: seen.append(p.step), **KEYS)
    assert seen[-1] == 60 and report["training.steps"] == 60 and made.classes == ["fruit", "tool"]
    verdict, other = made.predict(["an apple", "a hammer \u00e9"])
    assert verdict.label == "fruit" and other.label == "tool" and not verdict.sure
    assert sum(verdict.probabilities.values()) == pytest.approx(1, abs=1e-6)
    made.save(tmp_path / "saved")
    with distill.Classifier(tmp_path / "saved", env=env) as opened:
        assert opened.predict("an apple").probabilities == verdict.probabilities and opened["bytes"] == made["bytes"]
        assert opened.report().to_dict()["classes"] == ["fruit", "tool"]
        figures = opened.evaluate(write(tmp_path / "eval.jsonl", samples(50, 100))).to_dict()
    assert figures["measured"]["agreement"] == 1 and figures["cascade"]["coverage"] == 0 and figures["unused_keys"] == {"id": 50}


def test_stops_and_goes_on(env, tmp_path):
    recipe = dict(RECIPE, data={"train": write(tmp_path / "train.jsonl", samples(40)), "eval": write(tmp_path / "eval.jsonl", samples(80, 100))})
    whole, _ = distill.Classifier.train(options=dict(recipe, output=str(tmp_path / "whole")), env=env, **KEYS)
    recipe["output"] = str(tmp_path / "parts")
    with pytest.raises(distill.Cancelled, match="step 21 of 60"):
        distill.Classifier.train(options=recipe, env=env, on_progress=lambda p: p.step < 21, **KEYS)
    parts, report = distill.Classifier.train(options=recipe, env=env, resume=True, **KEYS)
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (tmp_path / "parts" / "model.safetensors").read_bytes()
    assert parts["threshold"] == whole["threshold"] < 1 and report.to_dict()["classifier"]["promise"]["coverage"] == 1
    assert [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()] == [1, 10, 20, 30, 40, 50, 60]


def test_a_teacher_chooses(env, model_folder):
    teacher = distill.Teacher(model_folder, env=env)
    shares = distill.choose(teacher, "the thing is ", ["in", "the man", "on"])
    assert list(shares) == ["in", "the man", "on"] and sum(shares.values()) == pytest.approx(1)
    # the same by the log-probabilities of whole texts
    tokenizer = distill.Tokenizer(model_folder, env=env)
    prompt = tokenizer.encode("the thing is ")
    sums, lengths = [], []
    for choice in shares:
        ids = tokenizer.encode("the thing is " + choice)
        if ids[:len(prompt)] != prompt:
            pytest.skip("this tokenizer joins prompt and choice")
        told = teacher.log_probs(ids)[len(prompt) - 1:]
        sums.append(float(sum(told)))
        lengths.append(len(told))
    import math
    total = sum(math.exp(value) for value in sums)
    assert list(shares.values()) == pytest.approx([math.exp(value) / total for value in sums], abs=1e-4)
    means = [value / length for value, length in zip(sums, lengths)]
    total = sum(math.exp(value) for value in means)
    per_token = distill.choose(teacher, "the thing is ", list(shares), per_token=True)
    assert list(per_token.values()) == pytest.approx([math.exp(value) / total for value in means], abs=1e-4)
    with pytest.raises(distill.InvalidArgument, match="begins with"):
        distill.choose(teacher, "the ", ["in", "inn"])


def test_a_cascade_asks_where_it_is_not_sure(env, model_folder):
    teacher = distill.Teacher(model_folder, env=env)
    keys = dict(KEYS, question="the {text} is in the ", question_chat=False)
    unsure, _ = distill.Classifier.train(samples(40), RECIPE, env=env, **keys)
    told = distill.choose(teacher, "the ripe apple is in the ", ["fruit", "tool"])
    assert unsure.ask(teacher, "ripe apple") == told
    assert unsure.cascade(teacher, "ripe apple") == (max(told, key=told.get), "teacher")
    silent, _ = distill.Classifier.train(samples(40), RECIPE, env=env, **KEYS)
    with pytest.raises(distill.StageError, match="no question"):
        silent.ask(teacher, "ripe apple")


@pytest.mark.parametrize("states", ["hidden", "tokens"])
def test_embeddings_are_inputs(env, model_folder, tmp_path, states):
    words = {"a": "the thing", "b": "in the inn and"}
    rows = [{"text": "%s %s" % (words[name], "man " * (i % 3)), "label": name} for i in range(24) for name in [("a", "b")[i % 2]]]
    keys = {"inputs": "embedding", "embedding__path": str(model_folder), "embedding__states": states, "hidden": 8}
    recipe = dict(RECIPE, train={"steps": 200, "batch_size": 8, "learning_rate": 0.02, "weight_decay": 0.0})
    made, _ = distill.Classifier.train(rows, recipe, env=env, **keys)
    assert [verdict.label for verdict in made.predict([row["text"] for row in rows])] == [row["label"] for row in rows]
    made.save(tmp_path / "saved")
    opened = distill.Classifier(tmp_path / "saved", env=env)
    assert opened.predict("the thing").probabilities == made.predict("the thing").probabilities
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    config["inputs"]["path"] = str(tmp_path / "moved")
    (tmp_path / "saved" / "config.json").write_text(json.dumps(config))
    with pytest.raises(distill.NotFound, match="classifier.embedding.path"):
        distill.Classifier(tmp_path / "saved", env=env)
    assert distill.Classifier(tmp_path / "saved", embedding=model_folder, env=env)["inputs"] == made["inputs"]
