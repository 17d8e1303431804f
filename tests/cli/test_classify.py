"""distill classify: a recipe to a folder, lines in and lines out, a teacher behind it, Ctrl-C."""
import json
import re
import signal
import subprocess
import time
import urllib.request

import pytest

from conftest import PROGRAM


def samples(count, first=0):
    words = {"fruit": "ripe apple", "tool": "steel hammer"}
    return "".join(json.dumps({"text": "%s %d" % (words[name], i), "probabilities": {name: 0.9, other: 0.1}, "id": i}) + "\n"
                   for i in range(first, first + count) for name, other in [("fruit", "tool") if i % 2 else ("tool", "fruit")])


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "train.jsonl").write_text(samples(60))
    (tmp_path / "eval.jsonl").write_text(samples(100, 200))
    (tmp_path / "recipe.yaml").write_text("""
classifier: {ngrams: {bits: 10}, question: "the {text} is in the ", question_chat: false}
data: {train: train.jsonl, eval: eval.jsonl}
loss: forward_kl
train: {steps: 60, batch_size: 8, learning_rate: 0.05, weight_decay: 0}
output: out/
""")
    return tmp_path


def test_is_watched_while_it_trains(texts):
    (texts / "train.jsonl").write_text(samples(4000))
    started = subprocess.Popen([PROGRAM, "classify", "train", str(texts / "recipe.yaml"), "--watch", "--quiet", "--set", "train.steps=1000000",
                                "--set", "output.overwrite=true"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+/", started.stderr.readline().decode()).group()
        for _ in range(60):
            body = urllib.request.urlopen(address, timeout=30).read().decode()
            if "Training: step" in body:
                break
            time.sleep(0.5)
        assert "Training: step" in body and "<meta http-equiv=\"refresh\"" in body and "Training loss" in body
    finally:
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=60)
    assert started.returncode == 130


def test_trains_predicts_and_measures(distill, texts):
    done = distill("classify", "train", texts / "recipe.yaml", "--quiet")
    assert done.code == 0 and "100 texts: agrees with the teacher on 100.0 %" in done.out and "answers 100.0 % of texts" in done.out, (done.out, done.err)
    assert "report: %s" % (texts / "out" / "report.html") in done.out and "answers alone" in (texts / "out" / "report.html").read_text().lower()
    again = distill("classify", "train", texts / "recipe.yaml", "--quiet")
    assert again.code == 1 and "already holds a run" in again.err
    done = distill("classify", "train", texts / "recipe.yaml", "--quiet", "--json", "--set", "output.overwrite=true", "--set", "classifier.type=int8")
    assert done.json["classifier"]["type"] == "int8"
    given = b'{"text": "ripe apple 201", "id": "x"}\n\na hammer\n'
    done = distill("classify", "predict", texts / "out", given=given)
    first, second = map(json.loads, done.out.splitlines())
    assert first["id"] == "x" and first["label"] == "fruit" and first["by"] == "classifier" and first["sure"] and "id" not in second
    assert second["label"] == "tool" and set(second["probabilities"]) == {"fruit", "tool"}
    assert distill("classify", "predict", texts / "out", "-", "--text", given=b'{"text": "an apple"}\n').out.count("\n") == 1
    told = distill("inspect", texts / "out", "--json").json
    assert told["kind"] == "classifier" and told["whole"] and told["classifier"]["classes"] == ["fruit", "tool"]
    done = distill("classify", "eval", texts / "out", "--data", texts / "eval.jsonl", "--json")
    assert done.json["measured"]["texts"] == 100 and done.json["cascade"]["coverage"] == 1


def test_asks_the_teacher_where_it_is_not_sure(distill, texts, model):
    recipe = texts / "recipe.yaml"
    assert distill("classify", "train", recipe, "--quiet", "--set", "classifier.agreement=0.999").code == 0  # 100 texts promise nothing
    done = distill("classify", "predict", texts / "out", "--cascade", model, given=b"an apple\na hammer\n")
    assert done.code == 0 and "asked about 2 of 2" in done.err, done.err
    assert [json.loads(line)["by"] for line in done.out.splitlines()] == ["teacher", "teacher"]
    assert sum(json.loads(done.out.splitlines()[0])["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("arguments, code, says", [
    (["train"], 2, "a recipe is missing"),
    (["predict"], 2, "a classifier is missing"),
    (["eval", "x"], 2, "--data is missing"),
    (["guess"], 2, "guess"),
    (["predict", "nowhere"], 1, "nowhere"),
    (["train", "nowhere.yaml"], 1, "nowhere.yaml"),
])
def test_wrong_usage(distill, arguments, code, says):
    done = distill("classify", *arguments)
    assert done.code == code and says in done.err and done.err.count("\n") == 1 and not done.out, done.err


def test_lines_that_cannot_be_read(distill, texts):
    assert distill("classify", "train", texts / "recipe.yaml", "--quiet").code == 0
    for given, says in ((b"{\n", "line 1: "), (b"ok\n{\"id\": 3}\n", "line 2: neither text nor prompt"), (b" \n", "line 1: a text of 1 bytes"),
                        (b'{"text": "a", "prompt": "b"}\n', "line 1: both text and prompt"), (b" {\n", "line 1: "), (b"\xef\xbb\xbf{\n", "line 1: ")):
        done = distill("classify", "predict", texts / "out", "--strict", given=given)
        assert done.code == 1 and says in done.err and done.err.count("\n") == 1, done.err


def test_lines_that_cannot_be_read_are_counted(distill, texts):
    assert distill("classify", "train", texts / "recipe.yaml", "--quiet").code == 0
    done = distill("classify", "predict", texts / "out", given=b'a hammer\n{"id": "x"}\n{\n \nan apple\n')
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0 and "3 of 5 lines could not be answered" in done.err, done.err
    assert [line.get("label") for line in lines] == ["tool", None, None, None, "fruit"]
    assert lines[1] == {"id": "x", "line": 2, "error": "neither text nor prompt is there"} and lines[2]["line"] == 3


def test_a_checkpoint_is_looked_at(distill, texts):
    assert distill("classify", "train", texts / "recipe.yaml", "--quiet", "--set", "train.checkpoint_every=1").code == 0
    folder = sorted((texts / "out" / "checkpoints").glob("step-*"))[-1]
    told = distill("inspect", folder, "--json")
    assert told.code == 0 and told.json["kind"] == "classifier checkpoint" and told.json["whole"], told.err
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    told = distill("inspect", folder, "--json")
    assert told.code == 1 and not told.json["whole"] and "is damaged" in told.json["problem"]


def test_a_teacher_that_cannot_be_asked_is_told_at_once(distill, texts, model):
    recipe = texts / "recipe.yaml"
    assert distill("classify", "train", recipe, "--quiet", "--set", "classifier.question_chat=true").code == 0
    done = distill("classify", "predict", texts / "out", "--cascade", model, given=b"")
    assert done.code == 1 and "chat" in done.err and not done.out, done.err


def test_texts_without_an_input_are_told(distill, texts):
    (texts / "train.jsonl").write_text((texts / "train.jsonl").read_text() + '{"text": "a", "label": "fruit"}\n')
    done = distill("classify", "train", texts / "recipe.yaml", "--quiet", "--json", "--set", "classifier.ngrams={words: 0, characters_from: 8, characters: 8}")
    assert done.code == 0 and done.json["data"]["without_inputs"] >= 1 and any("ngrams.characters_from" in w for w in done.json["warnings"]), done.err


def test_another_models_folder_is_left_alone(distill, texts, model):
    before = (model / "config.json").read_bytes()
    done = distill("classify", "train", texts / "recipe.yaml", "--quiet", "--set", "output.overwrite=true", "--set", "output.path=%s" % model)
    assert done.code == 1 and "holds another model" in done.err, done.err
    assert (model / "config.json").read_bytes() == before


def test_what_a_training_costs(distill, texts):
    done = distill("classify", "train", texts / "recipe.yaml", "--quiet", "--json", "--set", "cost.powercap=%s" % texts, "--set", "cost.watts_per_core=4")
    assert done.code == 0 and done.json["cost"]["energy"] == "estimated" and done.json["cost"]["watts_per_core"] == 4, done.err
    assert done.json["cost"]["model_flops"] > 1000
    done = distill("classify", "eval", texts / "out", "--data", texts / "eval.jsonl", "--json")
    assert done.code == 0 and done.json["cost"]["model_flops"] > 0 and done.json["cost"]["cpu_seconds"] > 0, done.err


def test_a_model_that_nothing_would_read_is_refused(distill, texts):
    assert distill("classify", "train", texts / "recipe.yaml", "--quiet").code == 0
    for command in (["predict", texts / "out"], ["eval", texts / "out", "--data", texts / "eval.jsonl"]):
        done = distill("classify", *command, "--set", "classifier.embedding.path=nowhere", given=b"a\n")
        assert done.code == 1 and "nowhere: the classifier reads n-grams" in done.err and not done.out, done.err


def test_a_name_that_was_damaged_is_not_passed_over(distill, texts):
    assert distill("classify", "train", texts / "recipe.yaml", "--quiet", "--set", "classifier.agreement=0.9").code == 0
    config = texts / "out" / "config.json"
    whole = config.read_text()
    for name in ("lowercase", "temperature", "promise", "question", "threshold", "answered", "per_token"):
        assert whole.count('"%s"' % name) == 1
        config.write_text(whole.replace('"%s"' % name, '"%sX"' % name[:-1]))
        done = distill("classify", "predict", texts / "out", given=b"a\n")
        assert done.code == 1 and "%s is missing" % name in done.err and done.err.count("\n") == 1, (name, done.err)


def test_texts_that_are_held_out_later_are_other_data(distill, texts):
    """Which texts are learnt is a part of what a checkpoint goes on from."""
    for name, first in (("more", 60), ("last", 300)):
        (texts / (name + ".jsonl")).write_text(samples(20, first))
    files = [str(texts / (name + ".jsonl")) for name in ("train", "more", "last")]
    sets = ["--quiet", "--set", "train.steps=20", "--set", "train.checkpoint_every=10", "--set"]
    assert distill("classify", "train", texts / "recipe.yaml", *sets, "data.train=[%s, %s]" % (files[0], files[1]), "--set", "data.eval=" + files[2]).code == 0
    done = distill("classify", "train", texts / "recipe.yaml", *sets, "data.train=" + files[0], "--set", "data.eval=[%s, %s]" % (files[1], files[2]), "--resume")
    assert done.code == 1 and "the texts are others" in done.err, done.err


def test_a_damaged_one_is_told(distill, texts):
    assert distill("classify", "train", texts / "recipe.yaml", "--quiet").code == 0
    weights = texts / "out" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    told = distill("inspect", texts / "out", "--json")
    assert told.code == 1 and not told.json["whole"] and "is damaged" in told.json["problem"]
    done = distill("classify", "predict", texts / "out", given=b"a\n")
    assert done.code == 1 and "is damaged" in done.err


def test_ctrl_c_saves_and_resume_ends_the_same(distill, texts):
    recipe = texts / "recipe.yaml"
    long = ["--set", "train.steps=30000", "--quiet"]
    assert distill("classify", "train", recipe, *long, "--set", "output.path=%s" % (texts / "whole")).code == 0
    running = subprocess.Popen([PROGRAM, "classify", "train", str(recipe)] + long, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while running.poll() is None and not (texts / "out" / "metrics.jsonl").exists():
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    if running.returncode == 0:
        pytest.skip("it was over before it could be stopped")
    assert running.returncode == 130 and b"--resume" in err, err
    assert re.search(rb"step \d+ of 30000 is kept", err), err
    assert distill("classify", "train", recipe, *long, "--resume").code == 0
    assert (texts / "out" / "model.safetensors").read_bytes() == (texts / "whole" / "model.safetensors").read_bytes()
