"""Students cut from their teacher: layers auto:N, widths, fewer ids; before and after in the table; distilled, saved, opened again."""
import json
import math


def fails(done, code, part):
    assert done.code == code and done.err.splitlines()[-1].startswith("distill") and part in done.err.splitlines()[-1], done.err


def score(distill, model, ids):
    return distill("score", model, "--tokens", "-", "--json", given=json.dumps(ids).encode()).json["nll"]


def vocabulary(folder):
    read = json.loads((folder / "tokenizer.json").read_text())
    known = {id: text for text, id in read["model"]["vocab"].items()}
    known.update({item["id"]: item["content"] for item in read["added_tokens"]})
    return known


def test_layers_and_widths(distill, model, recipe, tmp_path):
    done = distill("run", recipe, "--set", "student.layers=auto:2", "--set", "student.intermediate_size=8")
    assert done.code == 0, done.err
    assert "student.layers auto:2 by influence keeps blocks " in done.err and "widths by importance: " in done.err
    result = json.loads((tmp_path / "out/result.json").read_text())
    layers, width = result["shape"]["layers"], result["shape"]["width"]
    assert layers["asked"] == "auto:2" and len(layers["kept"]) == 2 and layers["kept"] == sorted(layers["kept"])
    best = sorted(sorted(range(len(layers["scores"])), key=lambda l: -layers["scores"][l])[:2])
    assert layers["kept"] == best
    assert layers["parameters_before"] == result["teacher"]["parameters"] > layers["parameters_after"] == width["parameters_before"]
    assert width["parameters_after"] == result["student"]["parameters"] and width["intermediate_size_after"] == 8
    table = done.out.splitlines()
    assert any(line.startswith("layers: ") and "parameters, before training perplexity" in line for line in table)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["num_hidden_layers"] == 2 and config["intermediate_size"] == 8
    assert distill("generate", tmp_path / "out", "--prompt", "the", "--max-tokens", 4).code == 0


def test_fewer_ids(distill, model, recipe, tmp_path):
    lines = [json.dumps({"text": "the thing is in the inn and then"}) for _ in range(12)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    teacher = json.loads((model / "config.json").read_text())
    layers = list(range(teacher["num_hidden_layers"]))
    done = distill("run", recipe, "--set", "student.vocabulary=3", "--set", "student.layers=%s" % layers, "--set", "train.steps=1",
                   "--set", "train.warmup_steps=0", "--set", "train.learning_rate=0", "--set", "data.sequence_length=200", "--set", "output.type=f32",
                   "--set", "student.calibration_tokens=100000")
    assert done.code == 0, done.err
    assert "student.vocabulary 3 keeps " in done.err
    result = json.loads((tmp_path / "out/result.json").read_text())
    cut, old, new = result["shape"]["vocabulary"], vocabulary(model), vocabulary(tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert cut["ids_before"] == len(old) > cut["ids_after"] == len(new) == config["vocab_size"]
    assert sorted(new) == list(range(len(new))) and set(new.values()) < set(old.values())
    number = {text: id for id, text in old.items()}
    assert [number[new[id]] for id in sorted(new)] == sorted(number[text] for text in new.values())
    for key in ("bos_token_id", "eos_token_id"):
        if teacher.get(key) is not None:
            assert old[teacher[key]] == new[config[key]]
    # A student that has learnt nothing yet is the teacher of fewer ids, whose KL to the whole one is -log of the mass that it keeps.
    ids = distill("tokenize", tmp_path / "out", given=b"the thing is in the inn and then").json["ids"]
    fewer, whole = score(distill, tmp_path / "out", [ids])[0], score(distill, model, [[number[new[id]] for id in ids]])[0]
    assert all(a < b for a, b in zip(fewer, whole))
    assert abs(sum(b - a for a, b in zip(fewer, whole)) / len(fewer) - cut["forward_kl"]) < 0.05 * cut["forward_kl"] + 1e-4
    assert math.isclose(math.log(cut["perplexity_before"]) - math.log(cut["perplexity_after"]), cut["forward_kl"], rel_tol=1e-3, abs_tol=1e-6)
    assert result["student"]["forward_kl"] < 1e-5  # against the teacher of the same ids
    text = "the zoo, \u00e9t\u00e9 <|endoftext|>?"
    ids = distill("tokenize", tmp_path / "out", given=text.encode()).json["ids"]
    assert distill("detokenize", tmp_path / "out", given=json.dumps(ids).encode()).out.rstrip("\n") == text


def test_a_run_of_fewer_ids_goes_on(distill, model, recipe, tmp_path):
    arguments = ["--set", "student.vocabulary=3", "--set", "student.layers=auto:2", "--set", "train.checkpoint_every=2", "--quiet"]
    whole = tmp_path / "whole"
    assert distill("run", recipe, *arguments, "--set", "output.path=%s" % whole).code == 0
    assert distill("run", recipe, *arguments, "--set", "train.steps=4", "--set", "train.schedule=constant").code == 0
    done = distill("run", recipe, *arguments[:-1], "--set", "train.schedule=constant", "--resume")
    assert done.code == 0, done.err
    assert "the student's shape is that of the checkpoint: 2 blocks" in done.err and "keeps blocks" not in done.err
    made = [json.loads((folder / "result.json").read_text())["shape"] for folder in (whole, tmp_path / "out")]
    assert made[0] == made[1]
    fails(distill("run", recipe, *arguments[:-1], "--set", "student.vocabulary=4", "--resume"), 1, "student.vocabulary")


def test_wrong_vocabularies(distill, model, recipe, tmp_path):
    fails(distill("run", recipe, "--set", "student.vocabulary=100000"), 1, "student.vocabulary 100000: the teacher's tokenizer has")
    fails(distill("run", recipe, "--set", "student.vocabulary=0"), 2, "student.vocabulary 0 is not in [1, ")
    fails(distill("run", recipe, "--set", "student.vocabulary_text=x.txt"), 1, "student.vocabulary_text has its ids counted")
