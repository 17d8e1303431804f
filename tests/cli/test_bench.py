"""distill bench: every command measures something of the right size, and wrong numbers are usage errors."""
import json
import pathlib
import signal
import subprocess
import time

import pytest
from test_program import PROGRAM, one_line


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "config.json"
    path.write_text(json.dumps({"model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
                                "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
                                "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu"}))
    return path


def without_bf16(done):
    """Products by cblas alone have no bf16."""
    return done.code and ("has no products in precision bf16" in done.err or "bf16 is of our own kernels, and products are by cblas" in done.err)


def check_limits(limits):
    assert limits["threads"] >= 1 and limits["cpu"]
    assert limits["fp32"]["flops"] > 1e8 and limits["read"]["bytes_per_second"] > 1e7 and limits["stream"]["bytes_per_second"] > 1e7
    for kind in ("fp32", "bf16", "int8"):
        assert kind not in limits or limits[kind]["by"]


def test_limits(distill):
    done = distill("bench", "limits", "--json")
    assert done.code == 0, done.err
    check_limits(done.json)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_a_step(distill, config, precision):
    done = distill("bench", "step", "--teacher-config", config, "--student-config", config, "--batch", 2, "--seq", 16, "--steps", 3,
                   "--precision", precision, "--json")
    if precision == "bf16" and without_bf16(done):
        pytest.skip("this build forms products by cblas alone")
    assert done.code == 0, done.err
    found = done.json
    check_limits(found["limits"])
    assert found["tokens_per_second"] == pytest.approx(2 * 16 / found["step_seconds"])
    assert found["mfu"] == pytest.approx(found["tokens_per_second"] * found["flop_per_token"] / found["limits"][found["limit_of"]]["flops"])
    assert found["peak_rss_mb"] > 0 and found["isa"] and found["products"]
    # 2 of the teacher and 6 of the student for each number of the matrices, and causal attention on top
    matrices = 2 * (16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 32) + 64 * 16
    assert 8 * matrices < found["flop_per_token"] < 10 * matrices


def test_a_step_on_labels_alone(distill, config):
    arguments = ["--student-config", config, "--batch", 1, "--seq", 8, "--steps", 1, "--json"]
    alone = distill("bench", "step", "--no-teacher", *arguments)
    both = distill("bench", "step", "--teacher-config", config, *arguments)
    assert alone.code == 0 and both.code == 0, alone.err + both.err
    assert alone.json["flop_per_token"] == pytest.approx(both.json["flop_per_token"] * 6 / 8)


def test_texts(distill, config, model):
    for source in (["--config", config], [model]):
        done = distill("bench", "prefill", *source, "--tokens", 16, "--json")
        assert done.code == 0 and done.json["tokens_per_second"] == pytest.approx(16 / done.json["seconds"]), done.err
        halves = ["--set", "generate.precision=bf16", "--set", "generate.cache_type=bf16"] if source == [model] else []
        done = distill("bench", "decode", *source, "--tokens", 6, "--keys", 5, "--batch", 3, "--json", *halves)
        if halves and without_bf16(done):
            done = distill("bench", "decode", *source, "--tokens", 6, "--keys", 5, "--batch", 3, "--json")
        assert done.code == 0 and done.json["tokens_per_second"] > 0 and done.json["of_reading_weights"] > 0, done.err
        check_limits(done.json["limits"])
        assert done.json["side_by_side"] is True
        assert done.json["peak_rss_mb"] < 1024  # the limits are measured in 1 GiB, which is not the model's
    # a prompt is read 256 tokens at a time: the first of four has ended before the last begins
    config.with_name("longer.json").write_text(config.read_text().replace('"max_position_embeddings": 64', '"max_position_embeddings": 512'))
    done = distill("bench", "decode", "--config", config.with_name("longer.json"), "--tokens", 2, "--keys", 200, "--batch", 4, "--json")
    assert done.code == 0 and done.json["side_by_side"] is False and done.json["tokens_per_second"] > 0, done.err


def test_texts_without_a_second_token(distill, config):
    """A context that a prompt fills leaves no turn to be timed."""
    one_line(distill("bench", "decode", "--config", config, "--keys", 64, "--batch", 3, "--json"), 1, "behind its first token", "context is full", "--keys")
    one_line(distill("bench", "decode", "--config", config, "--keys", 65), 1, "prompt 0 has 65 tokens", "64")


TEACHER = pathlib.Path(__file__).resolve().parents[2] / "examples" / "quickstart" / "teacher"
TEXT = "One day, a little girl named Lily found a small red box near the old tree. She asked her mother what was in it. " * 8


@pytest.fixture(scope="module")
def drafts(distill, tmp_path_factory):
    """The quickstart's teacher in other types: each proposes nearly what it writes itself."""
    folder = tmp_path_factory.mktemp("drafts")
    (folder / "text").write_text(TEXT)
    for kind in ("q8_0", "q4_0"):
        done = distill("export", TEACHER, "--to", "gguf", "--type", kind, "-o", folder / (kind + ".gguf"))
        assert done.code == 0, done.err
    return folder


def bench_draft(distill, draft, folder, *more):
    done = distill("bench", "draft", "--model", TEACHER, "--draft", draft, "--data", folder / "text", "--prompts", 2, "--keys", 12, "--tokens", 24,
                   "--json", *more)
    if without_bf16(done):
        pytest.skip("this build forms products by cblas alone")
    assert done.code == 0 and done.json["same_text"] is True, done.err
    return done.json


def test_a_draft(distill, drafts):
    twin = bench_draft(distill, TEACHER, drafts, "--gamma", 3)
    assert twin["gamma"] == 3 and twin["acceptance"] == 1 and twin["acceptance_by_place"] == [1, 1, 1] and twin["tokens_per_round"] == 4
    c, v = twin["draft_over_model"], twin["rows_over_one"]
    assert twin["expected_speedup"] == pytest.approx(4 / (3 * c + v)) and twin["of_expected"] == pytest.approx(twin["speedup"] / twin["expected_speedup"])
    assert twin["speedup"] == pytest.approx(twin["drafted_tokens_per_second"] / twin["model_tokens_per_second"])
    assert twin["drafted_first_token_seconds"] > 0 and twin["model_first_token_seconds"] > 0
    other = bench_draft(distill, drafts / "q4_0.gguf", drafts, "--gamma", 3)
    a = other["acceptance"]
    assert 0.3 < a < 1 and other["tokens_per_round"] == pytest.approx((1 - a ** 4) / (1 - a))


def test_a_draft_where_none_pays_proposes_nothing(distill, drafts):
    found = bench_draft(distill, TEACHER, drafts, "--gamma", 3, "--set", "session.draft_adaptive=true")
    assert found["acceptance"] == 0 and set(found["acceptance_by_place"]) == {None} and found["expected_speedup"] is None


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_a_quantised_draft_beside_a_model_in_bf16(distill, drafts, kind):
    """It is multiplied in int8 as it is stored, or widened: other proposals, the same text."""
    draft = drafts / (kind + ".gguf")
    stored = bench_draft(distill, draft, drafts, "--set", "generate.precision=bf16")
    exact = bench_draft(distill, draft, drafts, "--set", "generate.precision=bf16", "--set", "generate.quantized=exact")
    least = 0.8 if kind == "q8_0" else 0.3
    assert least < stored["acceptance"] <= 1 and least < exact["acceptance"] <= 1
    asked = ("generate", TEACHER, "--prompt", TEXT[:60], "--max-tokens", 30, "--precision", "bf16")
    plain = distill(*asked)
    assert plain.code == 0 and plain.out == distill(*asked, "--draft", draft).out == distill(*asked, "--draft", draft, "--quantized", "exact").out


def test_losses(distill):
    """Each one against the bytes that it must read and write: cross_entropy has no teacher."""
    done = distill("bench", "loss", "--rows", 4, "--vocab", 100, "--json")
    assert done.code == 0 and (done.json["rows"], done.json["vocab"]) == (4, 100), done.err
    check_limits(done.json["limits"])
    known = distill("inspect", "--json").json["loss_table"]
    assert list(done.json["losses"]) == list(known) and "hidden_mse" not in known
    for name, found in done.json["losses"].items():
        assert found["rows_per_second"] == pytest.approx(4 / found["seconds"])
        assert found["ns_per_logit"] == pytest.approx(1e9 * found["seconds"] / 400)
        assert found["bytes_per_second"] == pytest.approx((8 if name == "cross_entropy" else 12) * 400 / found["seconds"])
        assert found["of_streaming"] == pytest.approx(found["bytes_per_second"] / done.json["limits"]["stream"]["bytes_per_second"])
    alone = distill("bench", "loss", "--type", "jsd", "--rows", 2, "--vocab", 70, "--set", "loss.jsd.teacher_weight=0.3")
    assert alone.code == 0 and "losses.jsd.of_streaming" in alone.out and "forward_kl" not in alone.out, alone.err


def test_tokens_and_loading(distill, model, tmp_path):
    (tmp_path / "text").write_bytes(b"the thing is in the inn\n" * 50)
    done = distill("bench", "tokenize", model, "--data", tmp_path / "text", "--json")
    assert done.code == 0 and done.json["bytes"] == 1200 and 0 < done.json["tokens"] < 1200, done.err
    done = distill("bench", "load", model, "--json")
    assert done.code == 0 and done.json["bytes"] > 0 and done.json["seconds"] > 0, done.err
    found = done.json
    assert found["of_reading_weights"] == pytest.approx(found["bytes"] / found["seconds"] / found["limits"]["read"]["bytes_per_second"])


def test_tokenizing_is_interrupted(model, tmp_path):
    (tmp_path / "text").write_bytes(b"the thing is in the inn and then the man\n" * 400000)
    with subprocess.Popen([PROGRAM, "bench", "tokenize", model, "--data", tmp_path / "text"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and not out and err == b"distill: cancelled while text was tokenized\n", err


@pytest.mark.parametrize("arguments", [["spet"], ["step", "--batch", "0"], ["step", "--seq", "1"], ["step", "--no-teacher", "--teacher-config", "x"],
                                       ["decode", "--tokens", "1"], ["decode", "--keys", "0"], ["prefill", "m", "--config", "c"], ["loss", "--vocab", "1"],
                                       ["tokenize"], ["load"], []])
def test_wrong_usage(distill, arguments):
    one_line(distill("bench", *arguments), 2, "distill bench", "--help")


def test_what_the_library_refuses(distill, tmp_path):
    one_line(distill("bench", "step", "--precision", "fp64"), 1, "train.precision", "bf16")
    one_line(distill("bench", "step", "--student-config", tmp_path / "none.json"), 1, "none.json")
    one_line(distill("bench", "loss", "--type", "forward_lk"), 1, "forward_lk")
    one_line(distill("bench", "loss", "--type", "relation"), 1, "relation", "inside two models")
    one_line(distill("bench", "loss", "--set", "train.steps=3"), 2, "train.steps")
    one_line(distill("bench", "loss", "--set", "loss.type=jsd"), 2, "loss.type", "--type")


def test_wrong_numbers_name_what_the_command_has(distill):
    assert "--keys" not in distill("bench", "prefill", "--tokens", 0).err
    one_line(distill("bench", "decode", "--tokens", 0), 2, "--tokens is 2", "--keys", "--batch")


def test_help(distill):
    for name in ("limits", "step", "prefill", "decode", "loss", "tokenize", "load"):
        done = distill("bench", name, "--help")
        assert done.code == 0 and done.out.startswith("usage: distill bench " + name)
