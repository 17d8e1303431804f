"""Pairs of a better and a worse answer through the program: trained on, measured, told, refused."""
import json

import pytest


@pytest.fixture
def recipe(tmp_path, model):
    lines = [json.dumps({"prompt": "the thing %d is" % i, "chosen": " in the inn", "rejected": " and then %d" % (i % 3)}) for i in range(24)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text("""
student: {path: %s}
data:    {train: pairs.jsonl, eval_fraction: 0.25, sequence_length: 32}
loss:    {type: dpo, dpo.beta: 0.3}
train:   {steps: 8, batch_size: 6, learning_rate: 1.0e-2, warmup_steps: 0, seed: 1, eval_every: 4, log_every: 1}
output:  out/
""" % json.dumps(str(model)))
    return tmp_path / "recipe.yaml"


def test_run_and_eval(distill, recipe, model):
    done = distill("run", recipe)
    assert done.code == 0, done.err
    assert "chosen ahead" in done.err and "held-out pairs: 6, the chosen side likelier in" in done.out and "its reward higher in" in done.out
    result = json.loads((recipe.parent / "out" / "result.json").read_text())
    assert result["data"]["pairs"] == 18 and result["data"]["eval"]["pairs"] == 6
    assert result["training"]["pairs"]["count"] > 0 and 0 <= result["training"]["pairs"]["accuracy"] <= 1
    found = result["eval"]["pairs"]
    assert found["count"] == 6 and found["reward_margin"] > 0.1 and found["reward_accuracy"] > 0.9
    lines = [json.loads(line) for line in (recipe.parent / "out" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["pairs"]["count"] > 0 for line in lines if "terms" in line)
    assert [line for line in lines if "eval" in line][-1]["eval"]["pairs"]["reward_margin"] == pytest.approx(found["reward_margin"])
    done = distill("eval", "--student", recipe.parent / "out", "--teacher", model, "--data", recipe.parent / "pairs.jsonl", "--json")
    assert done.code == 0, done.err
    pairs = done.json["pairs"]
    assert pairs["count"] == 24 and "reward_margin" not in pairs and pairs["margin"] > pairs["teacher_margin"]


def test_data_is_told(distill, recipe, model):
    done = distill("inspect", recipe.parent / "pairs.jsonl", "--tokenizer", model, "--json")
    assert done.code == 0 and done.json["pairs"] == done.json["samples"] == 24, done.err


@pytest.mark.parametrize("settings, what", [
    (["loss.type=cross_entropy"], "24 samples of pairs have chosen and rejected, which loss cross_entropy does not compare"),
    (["data.preferences=chosen"], "loss dpo compares pairs, and pairs has no sample with chosen and rejected (data.preferences is chosen)"),
    (["loss.dpo.beta=0"], "dpo.beta"), (["loss.dpo.reference=teacher"], "there is no teacher"),
    (["loss.dpo.label=teacher"], "loss.dpo.label teacher: there is no teacher")])
def test_refused(distill, recipe, settings, what):
    if "cross_entropy" in settings[0]:
        text = recipe.read_text().replace("{type: dpo, dpo.beta: 0.3}", "cross_entropy").replace("eval_fraction: 0.25, ", "")
        recipe.write_text(text)
        settings = []
    arguments = [part for setting in settings for part in ("--set", setting)]
    done = distill("run", recipe, *arguments)
    assert done.code != 0 and what in done.err and len([line for line in done.err.splitlines() if what in line]) == 1, done.err


def test_chosen_alone(distill, recipe):
    recipe.write_text(recipe.read_text().replace("{type: dpo, dpo.beta: 0.3}", "cross_entropy").replace("eval_fraction: 0.25", "preferences: chosen").replace("eval_every: 4, ", ""))
    done = distill("run", recipe, "--quiet")
    assert done.code == 0, done.err
