"""Two models side by side by `distill compare`."""
import json


def test_compare(distill, model, recipe, tmp_path):
    data, choices = recipe.parent / "train.jsonl", tmp_path / "c.jsonl"
    choices.write_text(json.dumps({"question": "the thing is in the", "choices": ["inn", "x-ray"], "answer": 0}))
    done = distill("run", recipe, "--quiet")
    assert done.code == 0, done.err
    student = recipe.parent / "out"
    done = distill("compare", model, student, "--data", data, "--choices", choices, "--set", "cost.watts_per_core=5", "--set", "cost.powercap=none", "--json")
    assert done.code == 0, done.err
    found, alone = done.json, distill("eval", "--student", student, "--teacher", model, "--data", data, "--json").json
    for key in ("perplexity", "bits_per_byte", "calibration_error", "accuracy"):
        assert found["b"][key] == alone[key]
    assert found["a"]["perplexity"] == alone["teacher_perplexity"] and found["a"]["calibration_error"] == alone["teacher_calibration_error"]
    assert {key: found["between"][key] for key in ("forward_kl", "top1_agreement", "expected_acceptance")} == {
        key: alone[key] for key in ("forward_kl", "top1_agreement", "expected_acceptance")}
    for side in (found["a"], found["b"]):
        assert side["parameters"] > 0 and side["load_seconds"] > 0 and side["decode_tokens_per_second"] > 0 and side["first_token_seconds"] > 0
        assert side["token_seconds_p50"] <= side["token_seconds_p95"] <= side["token_seconds_p99"]
        assert side["cost_of_timing"]["energy"] == "estimated" and side["joules_per_1000_tokens"] > 0
        assert side["tasks"]["choices"]["scored"] == 1
    table = distill("compare", model, student).out
    assert "decode, tokens/s" in table and "perplexity" not in table and "windows of" not in table
    assert found["b"]["run_sequence_length"] == 24 != found["sequence_length"]
    whole = distill("compare", model, student, "--data", data, "--choices", choices, "--set", "cost={watts_per_core: 5, powercap: none, eur_per_kwh: 0.3, usd_per_million_tokens: 1}").out
    assert "which is an estimate: CPU seconds times cost.watts_per_core" in whole
    assert "windows of at most %d tokens (data.sequence_length)" % found["sequence_length"] in whole
    assert "the run that made B read 24: with --set data.sequence_length=24, and its data.separator" in whole
    own = distill("compare", model, student, "--data", data, "--set", "data.sequence_length=24").out
    assert "windows of at most 24 tokens" in own and "the run that made" not in own
    for words in ("perplexity", "bits per byte", "calibration error (ECE)", "KL(A || B)", "of the worst hundredth", "same likeliest token", "files", "memory", "load",
                  "prompt, tokens/s", "decode, tokens/s", "first token", "between tokens, p50", "between tokens, p95", "between tokens, p99", "estimated, J",
                  "EUR of energy", "USD, 1,000", "B's drafts that A would take", "that it took, greedy", "choices right", "tokens through models", "FLOP", "\non: "):
        assert words in whole, (words, whole)


def test_as_a_draft(distill, model, recipe):
    """What a student is worth as a draft, measured: of a model for itself every proposal is taken."""
    data = recipe.parent / "train.jsonl"
    alone = distill("eval", "--student", model, "--teacher", model, "--data", data, "--set", "session.draft_tokens=3", "--json").json
    draft = alone["draft"]
    assert draft["prompts"] > 0 and draft["draft_tokens"] == 3 and not draft["adaptive"]
    for way in ("greedy", "sampled"):
        found = draft[way]
        assert found["acceptance"] == 1 and 0 < found["accepted"] <= found["drafted"] and found["tokens"] > found["accepted"]
        assert 1 < found["tokens_per_pass"] <= 4 and found["speedup"] > 0
    assert "draft" not in distill("eval", "--student", model, "--teacher", model, "--data", data, "--set", "train.eval_draft_tokens=0", "--json").json
    assert "draft" not in distill("eval", "--student", model, "--data", data, "--json").json
    between = distill("compare", model, model, "--data", data, "--json").json["between"]
    assert between["draft"]["sampled"]["acceptance"] == 1
    assert "that it took, drawn" in distill("compare", model, model, "--data", data).out
    for mode, writes in (("linear", True), ("min_cross_entropy", False)):  # the second goes by the true token: nobody knows it of new text
        blend = distill("eval", "--student", model, "--data", data, "--json", "--set", f"teachers.one.path={model}", "--set", f"teachers.two.path={model}",
                        "--set", "teacher={blend: {mode: %s, of: [one, two]}}" % mode)
        assert blend.code == 0, blend.err
        draft = blend.json["draft"]
        assert draft["greedy"]["acceptance"] == 1 if writes else mode in draft["left_out"]


def test_other_tokens(distill, model, recipe, tmp_path):
    """What needs equal ids is left out, with the reason; bits per byte compares."""
    other = tmp_path / "other"
    other.mkdir()
    for file in model.iterdir():
        if file.is_file():
            (other / file.name).write_bytes(file.read_bytes())
    tokens = json.loads((other / "tokenizer.json").read_text())
    vocab = tokens["model"]["vocab"]
    vocab["the"], vocab["an"] = vocab["an"], vocab["the"]
    (other / "tokenizer.json").write_text(json.dumps(tokens))
    done = distill("compare", model, other, "--data", recipe.parent / "train.jsonl", "--json")
    assert done.code == 0, done.err
    between = done.json["between"]
    assert not between["same_tokens"] and "differ" in between["problem"] and "forward_kl" not in between
    assert done.json["a"]["bits_per_byte"] > 0 and done.json["b"]["bits_per_byte"] > 0


def test_wrong_usage(distill, model, tmp_path):
    assert distill("compare", model).code == 2
    assert distill("compare", model, tmp_path / "none").code == 1
