"""The program: results on stdout, messages on stderr, exit codes 0, 1, 2, 130."""
import array
import fcntl
import contextlib
import json
import math
import os
import pathlib
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import termios
import time

import pytest

from conftest import PROGRAM

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

COMMANDS = ("run", "eval", "score", "tokenize", "detokenize", "generate", "chat", "inspect", "export", "cache", "classify", "options")


def one_line(result, code, *parts):
    assert result.code == code, (result.code, result.err)
    assert result.out == "" and result.err.count("\n") == 1, result.err
    for part in parts:
        assert str(part) in result.err, result.err


# ---- arguments ----

@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(distill, command):
    done = distill(command, "--help")
    assert done.code == 0 and done.out.startswith("usage: distill " + command) and not done.err
    assert distill("help", command).out == done.out


def test_help_and_version(distill):
    assert all(command in distill("--help").out for command in COMMANDS)
    assert distill("--version").out.startswith("distill ")
    assert distill().code == 2


def test_wrong_usage_is_2_with_a_hint(distill, recipe):
    one_line(distill("runn"), 2, "did you mean run")
    one_line(distill("run", recipe, "--jsn"), 2, "--jsn", "did you mean --json", "--help")
    one_line(distill("run"), 2, "recipe")
    one_line(distill("run", recipe, "extra"), 2, "extra")
    one_line(distill("run", recipe, "--set", "train.steps"), 2, "KEY=VALUE")
    one_line(distill("run", recipe, "--set", "train.step=3"), 2, "train.steps")
    one_line(distill("run", recipe, "--set", "train.steps=many"), 2, "train.steps", "many")
    one_line(distill("generate", "model", "--prompt", "a", "--max-tokens", "some"), 2, "--max-tokens", "some")
    one_line(distill("generate", "model"), 2, "--prompt")
    one_line(distill("generate", "model", "one", "two"), 2, "unexpected argument one", "--prompt", "distill augment")
    one_line(distill("eval", "--data", "x"), 2, "--student")


# ---- options and inspect ----

def test_options_as_text_and_json(distill):
    table = distill("options", "--json").json
    names = [option["name"] for option in table]
    assert len(names) > 40 and len(set(names)) == len(names)
    assert all(option["type"] and option["help"] for option in table)
    steps = distill("options", "train.steps", "--json").json
    assert steps["name"] == "train.steps" and steps["type"] == "int" and steps["low"] == 0
    assert "train.steps" in distill("options", "train").out
    one_line(distill("options", "train.stepz"), 2, "train.steps")


def test_the_page_of_options_is_what_the_table_says(distill):
    page = distill("options", "--markdown").out
    with open(os.path.join(ROOT, "docs", "options.md"), encoding="utf-8") as file:
        assert file.read() == page, "distill options --markdown > docs/options.md"
    names = re.findall(r"^\| `([^`]+)`", page, re.M)
    assert names == [option["name"] for option in distill("options", "--json").json]
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        assert "docs/options.md" in file.read()


def test_options_say_when_they_are_read(distill):
    assert "; only with train.schedule linear or cosine or wsd or inverse_sqrt\n" in distill("options", "train.min_learning_rate_ratio").out
    assert "; only with output.path\n" in distill("options", "train.checkpoint_every").out
    assert "; not beside data.eval\n" in distill("options", "data.eval_fraction").out
    assert distill("options", "train.decay_steps", "--json").json["when"] == "schedule=wsd"


def test_unread_options_are_refused(distill, recipe):
    one_line(distill("run", recipe, "--set", "train.decay_steps=3"), 1, "train.decay_steps", "schedule=wsd")
    one_line(distill("run", recipe, "--set", "output.save_dtype=bf16"), 2, "output.type")
    one_line(distill("run", recipe, "--set", "data.mix={trian: 1}"), 1, "data.mix.trian", "train")


def test_several_sources(distill, recipe, tmp_path):
    (tmp_path / "more.txt").write_text("the man is in the thing and then in the inn\n" * 3)
    text = recipe.read_text().replace("train: train.jsonl", "train: [{path: train.jsonl, source: a}, more.txt], mix: {a: 1, more: 2}").replace("eval: valid.jsonl", "eval: [valid.jsonl, more.txt]")
    recipe.write_text(text)
    done = distill("run", recipe, "--quiet")
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    sources = result["data"]["sources"]
    assert sources["a"]["samples"] == 40 and sources["more"]["samples"] == 1
    assert abs(2 * sources["a"]["seen_tokens"] - sources["more"]["seen_tokens"]) < 4 * 24
    assert sources["more"]["passes"] > 1
    held_out = result["eval"]["sources"]
    assert list(held_out) == ["valid", "more"] and held_out["more"]["perplexity"] > 1 and held_out["valid"]["forward_kl"] > 0
    table = distill("run", recipe, "--set", "output.overwrite=true", "--set", "data.mix.a=0.25").out
    assert re.search(r"^source more: 88.9 % of the tokens, \d+ seen, \d+\.\d\d passes$", table, re.M), table
    assert re.search(r"^held-out valid: perplexity \d+\.\d\d \(teacher \d+\.\d\d\), KL \d\.\d{4} nats$", table, re.M), table
    one_line(distill("run", recipe, "--set", "output.overwrite=true", "--set", "data.train.1.source=a"), 1, "two sources are called a")


def test_inspect(distill, model, tmp_path):
    library = distill("inspect", "--json").json
    assert library["kind"] == "library" and set(library["compressions"].split(", ")) <= {"gzip", "zstd", "none"}
    info = distill("inspect", model, "--json").json
    assert info["kind"] == "model" and info["whole"] is True
    assert "whole" in distill("inspect", model).out
    assert "version" in distill("inspect", "--json").out
    one_line(distill("inspect", tmp_path / "nothing"), 1, "nothing")
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (broken / name).write_bytes((model / name).read_bytes())
    (broken / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-100])
    done = distill("inspect", broken, "--json")
    assert done.code == 1 and done.json["whole"] is False


def copy_model(model, folder, **changes):
    folder.mkdir()
    for file in model.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def test_what_is_not_used_is_named(distill, model, recipe, tmp_path):
    odd = copy_model(model, tmp_path / "odd", odd_key=1)
    (tmp_path / "ids.json").write_text("[[1, 2, 3]]")
    data = recipe.parent / "valid.jsonl"
    for command in (("inspect", odd), ("score", odd, "--tokens", tmp_path / "ids.json"), ("generate", odd, "--prompt", "the"),
                    ("eval", "--student", odd, "--data", data), ("eval", "--student", model, "--teacher", odd, "--data", data),
                    ("run", recipe, "--quiet", "--set", "teacher.path=%s" % odd)):
        done = distill(*command)
        assert done.code == 0, done.err
        assert [line for line in done.err.splitlines() if line.startswith("warning: ") and line.endswith("llama model: odd_key")], command
    notes = distill("inspect", odd, "--json").json["notes"]
    assert len(notes) == 1 and "odd_key" in notes[0]
    assert "notes" not in distill("inspect", model, "--json").json


def test_a_tokenizer_model_beside_a_config_is_the_student_s(distill, model, tmp_path):
    """Not the teacher's, and a folder with such a file alone is a tokenizer."""
    alone = tmp_path / "tokenizer"
    alone.mkdir()
    shutil.copy(os.path.join(ROOT, "tests", "data", "tokenizers", "sp_bpe_bytes.model"), alone / "tokenizer.model")
    assert distill("inspect", alone, "--json").json["kind"] == "tokenizer"
    shutil.copy(alone / "tokenizer.model", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 560, "hidden_size": 16, "intermediate_size": 16,
                                                      "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64}))
    (tmp_path / "text.txt").write_text("the thing is in the inn and then the man\n" * 40)
    (tmp_path / "recipe.yaml").write_text("student: {config: config.json}\ndata: {train: text.txt, sequence_length: 24}\nloss: cross_entropy\n"
                                          "train: {steps: 1, batch_size: 1}\noutput: out/\n")
    done = distill("run", tmp_path / "recipe.yaml", "--quiet")
    assert done.code == 0, done.err
    given = distill("tokenize", alone, given=b"the thing is in the inn").json["ids"]
    assert distill("tokenize", tmp_path / "out", given=b"the thing is in the inn").json["ids"] == given
    teacher = tmp_path / "recipe_of_teacher.yaml"
    teacher.write_text("teacher: {path: %s}\n" % json.dumps(str(model)) + (tmp_path / "recipe.yaml").read_text().replace("cross_entropy", "forward_kl").replace("out/", "two/"))
    done = distill("run", teacher, "--quiet")
    assert done.code == 1 and "tokenizer" in done.err  # two vocabularies


def test_what_a_tokenizer_says_is_said_once(distill, model, tmp_path):
    odd = copy_model(model, tmp_path / "odd")
    (odd / "tokenizer_config.json").write_text(json.dumps({"odd_key": 1, "bos_token": "a"}))
    done = distill("generate", odd, "--prompt", "the", "--max-tokens", 2)  # opens the tokenizer twice
    assert done.code == 0 and done.err.count("not used: odd_key") == 1 and done.err.count("bos_token_id is 256, the tokenizer's is") == 1
    assert any("odd_key" in note for note in distill("inspect", odd, "--json").json["tokenizer"]["notes"])
    large = copy_model(model, tmp_path / "large")
    (large / "tokenizer_config.json").write_text(json.dumps({"extra_special_tokens": ["<%d>" % i for i in range(60)]}))
    assert "do not belong together" in distill("inspect", large, "--json").json["tokenizer_problem"]
    assert "do not belong together" in distill("generate", large, "--prompt", "the").err


def test_inputs_have_limits(distill, model, tmp_path):
    huge = tmp_path / "huge"
    with open(huge, "wb") as file:
        file.truncate((1 << 28) + 1)  # a hole: no byte of it is written, or read
    for arguments in (("score", model, "--tokens"), ("generate", model, "--prompt-ids"), ("tokenize", model, "--batch"), ("detokenize", model)):
        if arguments[0] != "detokenize":
            one_line(distill(*arguments, huge), 1, huge, "is larger than 268435456 bytes")
        with open(huge, "rb") as file:
            done = subprocess.run([PROGRAM, *map(str, arguments), *(["-"] if len(arguments) > 2 else [])], stdin=file, capture_output=True, check=False)
        assert done.returncode == 1 and done.stderr == b"distill: stdin: is larger than 268435456 bytes, the limit for such input\n"
    with open(huge, "wb") as file:
        file.truncate((1 << 30) + 1)
    with open(huge, "rb") as file:
        done = subprocess.run([PROGRAM, "tokenize", str(model)], stdin=file, capture_output=True, check=False)
    assert done.returncode == 1 and b"stdin: is larger than 1073741824 bytes" in done.stderr
    pipe = subprocess.Popen([PROGRAM, "score", str(model), "--tokens", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    with pytest.raises(BrokenPipeError):
        while True:
            pipe.stdin.write(b" " * (1 << 20))
    assert pipe.wait() == 1 and b"stdin: is larger than 268435456 bytes" in pipe.stderr.read()


def test_ids_outside_the_tokenizer_are_named_by_place(distill, model, tmp_path):
    ids = tmp_path / "ids.json"
    ids.write_text("[[1, 2, 3], [1, 2, 261, 3]]")
    one_line(distill("score", model, "--tokens", ids), 1, "sequence 1, token 2: id 261 is outside the vocabulary of 261")


def test_marks_and_encodings_of_json(distill, model, tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text("[[1, 2, 3]]")
    plain = distill("score", model, "--tokens", path, "--json").json
    path.write_text("\ufeff[[1, 2, 3]]", encoding="utf-8")
    assert distill("score", model, "--tokens", path, "--json").json == plain
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        path.write_text("[[1, 2, 3]]", encoding=encoding)
        one_line(distill("score", model, "--tokens", path), 1, "UTF-16", "save it as UTF-8")
    marked = copy_model(model, tmp_path / "marked")
    for file in marked.glob("*.json"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    path.write_text("[[1, 2, 3]]")
    assert distill("score", marked, "--tokens", path, "--json").json == plain


def test_every_end_stops(distill, model, tmp_path):
    (tmp_path / "ids.json").write_text("[258]")
    ask = lambda folder: distill("generate", folder, "--prompt-ids", tmp_path / "ids.json", "--max-tokens", 6, "--json").json["ids"]  # noqa: E731
    first = ask(model)[0]
    assert ask(copy_model(model, tmp_path / "config", eos_token_id=[256, first])) == [first]
    by_file = copy_model(model, tmp_path / "generation")
    (by_file / "generation_config.json").write_text(json.dumps({"eos_token_id": [256, first]}))
    assert ask(by_file) == [first]
    by_token = copy_model(model, tmp_path / "token")
    token = next(text for text, at in json.loads((by_token / "tokenizer.json").read_text())["model"]["vocab"].items() if at == first)
    (by_token / "tokenizer_config.json").write_text(json.dumps({"eos_token": token}))
    assert ask(by_token) == [first]


def test_completions_end_as_the_model_says_where_the_tokenizer_names_no_end(distill, model, tmp_path):
    data = tmp_path / "pairs.jsonl"
    data.write_text('{"prompt": "the", "completion": "an"}')
    for number, (end, tokens) in enumerate(((261, 3), (None, 2))):
        folder = copy_model(model, tmp_path / ("m%d" % number), eos_token_id=end)
        (folder / "generation_config.json").unlink()
        (folder / "tokenizer_config.json").unlink(missing_ok=True)
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 261, "content": "<end>"})
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        recipe, out = tmp_path / ("r%d.yaml" % number), tmp_path / ("out%d" % number)
        recipe.write_text(json.dumps({"student": str(folder), "data": {"train": str(data), "sequence_length": 16, "separator": ""},
                                      "loss": "cross_entropy", "train": {"steps": 1, "batch_size": 1}, "output": str(out)}))
        done = distill("run", recipe, "--quiet")
        assert done.code == 0, done.err
        assert json.loads((out / "result.json").read_text())["data"]["tokens"] == tokens
        assert ("1 completions have no token at their end: name an eos_token" in done.err) == (end is None)
        assert json.loads((out / "tokenizer_config.json").read_text()).get("eos_token") == ("<end>" if end else None)


# ---- text ----

@pytest.mark.parametrize("text", [b"the thing in the inn", "Gr\u00fc\u00dfe \u6771\u4eac".encode(), b"\xff\x00\xfe raw", b""])
def test_tokenize_and_back(distill, model, text):
    ids = distill("tokenize", model, "--json", given=text)
    assert ids.code == 0 and list(ids.json) == ["ids"]
    back = distill("detokenize", model, given=ids.bytes)
    assert back.code == 0 and back.bytes == text


def test_tokenize_batch_is_tokenize(distill, model, tmp_path):
    texts = ["the inn", "", "a\u0000b"]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    batch = distill("tokenize", model, "--batch", tmp_path / "texts.json", "--json").json["ids"]
    assert batch == [distill("tokenize", model, "--json", given=text.encode()).json["ids"] for text in texts]
    assert distill("tokenize", model, given=b"the").json == {"ids": [258]}


def test_bad_ids_are_named(distill, model):
    one_line(distill("detokenize", model, given=b"[1, 2"), 1, "stdin:1")
    one_line(distill("detokenize", model, given=b"[1, -2]"), 1, "item 1")
    one_line(distill("detokenize", model, given=b"[1, 99999]"), 1, "99999")
    one_line(distill("detokenize", model, given=b"{\"tokens\": [1]}"), 1, "ids")


# ---- models ----

def read_npy(path):
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    length = int.from_bytes(data[8:10], "little")
    assert (10 + length) % 64 == 0
    header = eval(data[10:10 + length].decode())
    values = array.array("f", data[10 + length:])
    return header, values


def test_score_is_minus_log_softmax(distill, model, tmp_path):
    sequences = [[1, 2, 3, 4], [5, 6, 7, 8]]
    (tmp_path / "tokens.json").write_text(json.dumps(sequences))
    done = distill("score", model, "--tokens", tmp_path / "tokens.json", "--logits", tmp_path / "logits.npy", "--json")
    assert done.code == 0, done.err
    header, values = read_npy(tmp_path / "logits.npy")
    assert header == {"descr": "<f4", "fortran_order": False, "shape": (2, 4, 300)} and len(values) == 2 * 4 * 300
    for s, sequence in enumerate(sequences):
        assert len(done.json["nll"][s]) == 3
        for t in range(3):
            row = values[(s * 4 + t) * 300:(s * 4 + t + 1) * 300][:261]  # the tokenizer's ids: the rest is padding
            wanted = math.log(sum(math.exp(x) for x in row)) - row[sequence[t + 1]]
            assert done.json["nll"][s][t] == pytest.approx(wanted, abs=1e-5)


def with_value(model, folder, name, value):
    """A copy of the model whose tensor begins with another F32 value."""
    shutil.copytree(model, folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:8 + length])[name]
    assert entry["dtype"] == "F32"
    at = 8 + length + entry["data_offsets"][0]
    data[at:at + 4] = struct.pack("<f", value)
    (folder / "model.safetensors").write_bytes(data)
    return folder


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_errors(distill, model, tmp_path, value):
    broken = with_value(model, tmp_path / "broken", "model.norm.weight", value)
    (tmp_path / "tokens.json").write_text("[[1], [4, 5, 6]]")
    (tmp_path / "text.txt").write_text("the thing is in the inn")
    one_line(distill("score", broken, "--tokens", tmp_path / "tokens.json", "--json"), 1, "sequence 1, row 0 (token 0)")
    one_line(distill("score", broken, "--tokens", tmp_path / "tokens.json", "--logits", tmp_path / "x.npy"), 1, "equal length")
    (tmp_path / "tokens.json").write_text("[[4, 5, 6]]")
    one_line(distill("score", broken, "--tokens", tmp_path / "tokens.json", "--logits", tmp_path / "x.npy"), 1, "sequence 0, row 0")
    assert not (tmp_path / "x.npy").exists()
    one_line(distill("generate", broken, "--prompt", "the", "--json"), 1, "sequence 0, token 0")
    for arguments, part in ((("--student", broken), "window 0, position 0"), (("--student", model, "--teacher", broken), "teacher")):
        done = distill("eval", *arguments, "--data", tmp_path / "text.txt", "--json")
        assert done.code == 1 and done.out == "" and part in done.err.splitlines()[-1], done.err


def test_score_takes_ragged_sequences_but_not_for_logits(distill, model, tmp_path):
    (tmp_path / "tokens.json").write_text("[[1, 2, 3], [4], [], [5, 6]]")
    assert [len(values) for values in distill("score", model, "--tokens", tmp_path / "tokens.json", "--json").json["nll"]] == [2, 0, 0, 1]
    one_line(distill("score", model, "--tokens", tmp_path / "tokens.json", "--logits", tmp_path / "x.npy"), 1, "equal length")
    assert not (tmp_path / "x.npy").exists()
    (tmp_path / "tokens.json").write_text("[[1, 300]]")
    one_line(distill("score", model, "--tokens", tmp_path / "tokens.json"), 1, "300")


def answer(distill, model, *arguments):
    done = distill("generate", model, *arguments, "--max-tokens", 4, "--json")
    assert done.code == 0, done.err
    return done.json["ids"]


def test_what_an_answer_cost(distill, model):
    asked = ("generate", model, "--prompt", "the", "--max-tokens", 4, "--cost", "--set", "cost.powercap=nowhere", "--set", "cost.watts_per_core=9")
    done = distill(*asked)
    assert done.code == 0 and done.err.startswith("cost: ") and "tokens through models" in done.err and " J (estimated)" in done.err
    assert done.out == distill(*asked[:6]).out
    cost = distill(*asked, "--json").json["cost"]
    assert cost["model_tokens"] >= 4 and cost["model_flops"] > 0 and cost["energy"] == "estimated"


def test_generate_answers_in_a_chat(distill, model, tmp_path):
    one_line(distill("generate", model, "--chat", "the"), 1, "the tokenizer has no chat template", "chatml, llama2, llama3, mistral")
    one_line(distill("generate", model, "--chat", "the", "--prompt", "the"), 2, "one of --prompt, --prompt-ids, --chat and --messages")
    one_line(distill("generate", model, "--prompt", "the", "--chat-template", "chatml"), 2, "--chat-template goes with")
    format = tmp_path / "own.jinja"
    format.write_text("{% for m in messages %}{{ m.content }}{% if not loop.last %} {% endif %}{% endfor %}{% if add_generation_prompt %} is{% endif %}")
    whole = answer(distill, model, "--prompt", "the thing is", "--no-special")
    assert answer(distill, model, "--chat", "the thing", "--chat-template", format) == whole
    talk = tmp_path / "talk.json"
    talk.write_text(json.dumps([{"role": "user", "content": "the"}, {"role": "user", "content": "thing"}]))
    assert answer(distill, model, "--messages", talk, "--chat-template", format) == whole
    talk.write_text(json.dumps({"messages": [{"role": "user", "content": "the"}, {"role": "assistant", "content": "thing is"}]}))
    assert answer(distill, model, "--messages", talk, "--chat-template", format) == whole  # the answer goes on
    talk.write_text(json.dumps({"messages": [{"role": "user", "content": "the"}], "tools": [{"name": "f"}]}))
    one_line(distill("generate", model, "--messages", talk, "--chat-template", format), 1, '"tools"')
    format.write_text("{{ messages | nonsense }}")
    one_line(distill("generate", model, "--chat", "a", "--chat-template", format), 1, "line 1", "filter 'nonsense' is not known")
    talk.write_text(json.dumps({"messages": [{"role": "user", "content": "a"}], "chat_template": "chatm"}))
    one_line(distill("generate", model, "--messages", talk), 1, "'chatm' is no name (chatml, llama2, llama3, mistral)")
    talk.write_text(json.dumps([{"role": "user", "content": "a", "contents": "b"}]))
    one_line(distill("generate", model, "--messages", talk, "--chat-template", "chatml"), 1, 'message 1: the chat template does not read "contents"')
    talk.write_text(json.dumps({"messages": []}))
    one_line(distill("generate", model, "--messages", talk, "--chat-template", "chatml"), 1, "the list of messages is empty")
    for missing in ("chatm", tmp_path / "missing.jinja"):  # no name and no file: not the text of a template
        one_line(distill("generate", model, "--chat", "a", "--chat-template", missing), 1, str(missing), "chatml, llama2, llama3, mistral or a file")
    one_line(distill("generate", model, "--chat", "a", "--chat-template", tmp_path), 1, str(tmp_path), "directory")


def test_a_student_is_saved_with_the_template_that_it_was_trained_with(distill, model, recipe, tmp_path):
    format = tmp_path / "own.jinja"
    format.write_text("{% for m in messages %}{{ m.role }}: {% generation %}{{ m.content }};{% endgeneration %}{% endfor %}")
    line = json.dumps({"messages": [{"role": "user", "content": "the"}, {"role": "assistant", "content": "thing is in the inn"}]})
    (tmp_path / "train.jsonl").write_text((line + "\n") * 20)
    done = distill("run", recipe, "--set", "data.chat_template=%s" % format, "--quiet")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == format.read_text()
    written = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert written["chat_template"] == format.read_text()
    done = distill("run", recipe, "--set", "data.chat_template=%s" % format, "--set", "output.path=%s" % (tmp_path / "both"),
                   "--set", "output.format=both", "--quiet")
    assert done.code == 0, done.err
    gguf, key = (tmp_path / "both" / "model.gguf").read_bytes(), b"tokenizer.chat_template"
    at = gguf.index(key) + len(key)  # type 8 is a text: 64 bits of length, then that many bytes
    assert gguf[at:at + 4] == b"\x08\0\0\0"
    size = int.from_bytes(gguf[at + 4:at + 12], "little")
    assert gguf[at + 12:at + 12 + size].decode() == format.read_text()
    assert answer(distill, tmp_path / "out", "--chat", "the") == answer(distill, tmp_path / "out", "--prompt", "user: the;", "--no-special")


def test_generate(distill, model, tmp_path):
    (tmp_path / "ids.json").write_text("[258]")
    greedy = distill("generate", model, "--prompt", "the", "--max-tokens", 6, "--temperature", 0, "--json").json
    assert len(greedy["ids"]) <= 6 and isinstance(greedy["text"], str)
    assert distill("generate", model, "--prompt-ids", tmp_path / "ids.json", "--max-tokens", 6, "--temperature", 0, "--json").json == greedy
    drawn = [distill("generate", model, "--prompt", "the", "--max-tokens", 6, "--temperature", 1.5, "--seed", seed, "--json").json["ids"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_generate_by_every_option(distill, model):
    def ask(*arguments):
        return distill("generate", model, "--prompt", "the", "--max-tokens", 6, *arguments, "--json").json

    plain = ask()
    assert set(ask("--logit-bias", "65=100", "--logit-bias=66=50")["ids"]) == {65}
    assert ask("--logit-bias", "65=100", "--logit-bias", "66=50", "--presence-penalty", 60)["ids"][:2] == [65, 66]
    assert len(set(ask("--repetition-penalty", 100)["ids"])) == 6
    assert ask("--stop-id", 200, "--stop-id", plain["ids"][2])["ids"] == plain["ids"][:plain["ids"].index(plain["ids"][2]) + 1]
    cut = ask("--logit-bias", "65=100", "--stop", "never", "--stop", "AA")
    assert cut == {"text": "", "ids": [65, 65]}
    drawn = ask("--temperature", 1.5, "--samples", 3, "--seed", 4)["answers"]
    assert len(drawn) == 3 and drawn[0] == ask("--temperature", 1.5, "--seed", 4) and drawn[0] != drawn[1]
    assert ask("--temperature", 1.5, "--min-p", 1)["ids"] == plain["ids"]
    done = distill("generate", model, "--prompt", "the", "--max-tokens", 2, "--logit-bias", "65=100", "--temperature", 1, "--samples", 2)
    assert done.out == "--- 0\nAA\n--- 1\nAA\n"


    told = ask("--top-logprobs", 3)
    assert told["ids"] == plain["ids"] and [row[0]["id"] for row in told["top"]] == plain["ids"] and len(told["top"][0]) == 3
    assert [row[0]["log_prob"] for row in told["top"]] == pytest.approx(told["log_probs"])
    assert ask("--quantized", "exact") == plain
    if "products are by cblas" in distill("generate", model, "--prompt", "the", "--max-tokens", 1, "--precision", "bf16").err:
        return  # a build by cblas alone has no bf16
    rounded = ask("--precision", "bf16", "--top-logprobs", 1)
    assert rounded["log_probs"] != told["log_probs"] and rounded["log_probs"][0] == pytest.approx(told["log_probs"][0], abs=0.1)


def test_generate_refuses(distill, model):
    def refused(*arguments):
        return distill("generate", model, "--prompt", "the", *arguments)

    one_line(refused("--seed", 3), 1, "generate.seed goes with temperature only")
    one_line(refused("--samples", 3), 1, "generate.samples goes with temperature only")
    one_line(refused("--samples", 0), 2, "generate.samples", "0")
    one_line(refused("--top-logprobs", 3), 2, "--top-logprobs goes with --json")
    one_line(refused("--top-logprobs", 300, "--json"), 1, "generate.top_logprobs: 300 of a model that draws from 261 ids")
    one_line(refused("--quantized", "int4"), 2, "generate.quantized", "int4")
    one_line(refused("--precision", "fp16"), 2, "generate.precision", "fp16")
    done, alone = refused("--precision", "bf16", "--quantized", "int8"), "generate.quantized: int8 is of our own kernels, and products are by cblas"
    one_line(done, 1, alone if alone in done.err else "generate.quantized: int8 goes with generate.precision fp32 only")
    one_line(refused("--stop", ""), 1, "an empty text")
    one_line(refused("--stop-id", 4000), 1, "generate.stop_ids: 4000 is no id of this model")
    one_line(refused("--stop-id", "null"), 2, "--stop-id")
    one_line(refused("--logit-bias", "65"), 2, "--logit-bias wants KEY=VALUE")
    one_line(refused("--logit-bias", "65="), 2, "--logit-bias")
    one_line(refused("--logit-bias", "a=1"), 2, "generate.logit_bias", "is no number of an entry")


def test_eval(distill, model, recipe):
    data = recipe.parent / "valid.jsonl"
    done = distill("eval", "--student", model, "--teacher", model, "--data", data, "--json")
    assert done.code == 0, done.err
    result = done.json
    assert result["forward_kl"] == pytest.approx(0, abs=1e-5) and result["top1_agreement"] == 1
    assert result["perplexity"] == pytest.approx(result["teacher_perplexity"], rel=1e-5) and result["tokens"] > 0


# ---- run ----

def test_run_leaves_a_student_and_a_result(distill, recipe):
    done = distill("run", recipe, "--json", "--quiet")
    assert done.code == 0 and done.err == "", done.err
    out = recipe.parent / "out"
    assert done.json["training"]["steps"] == 6
    assert json.loads((out / "result.json").read_text())["student"]["perplexity"] == done.json["student"]["perplexity"]
    assert distill("inspect", out, "--json").json["whole"] is True
    assert (out / "metrics.jsonl").read_text().count("\n") >= 1


def test_run_shows_progress_and_a_table(distill, recipe):
    done = distill("run", recipe)
    assert done.code == 0 and "loss" in done.err and "tokens/s" in done.err and "ETA" in done.err and "\r" not in done.err
    assert "teacher" in done.out and "student" in done.out and "perplexity" in done.out
    assert " 0 %" not in done.err and "loading" not in done.err  # nothing before there is something to say


def test_a_run_shows_what_its_student_wrote(distill, recipe):
    done = distill("run", recipe, "--set", "loss.hard_label_weight=0", "--set", "train.on_policy={lambda: 1, max_new_tokens: 4, prompt_tokens: 2}",
                   "--json")
    written = done.json["training"]["on_policy"]
    assert done.code == 0 and written["windows"] == done.json["training"]["steps"] and written["tokens"] >= written["texts"] > 0
    assert "%d generated at 1.00" % written["tokens"] in done.err
    last = json.loads((recipe.parent / "out" / "metrics.jsonl").read_text().splitlines()[-1])
    assert "eval" in last or last["on_policy"]["share"] == 1


def test_a_run_is_not_overwritten(distill, recipe):
    assert distill("run", recipe, "--quiet").code == 0
    before = (recipe.parent / "out" / "result.json").read_bytes()
    again = distill("run", recipe, "--quiet")
    assert again.code == 1 and "overwrite" in again.err and (recipe.parent / "out" / "result.json").read_bytes() == before
    assert distill("run", recipe, "--quiet", "--set", "output.overwrite=true").code == 0


def test_without_an_optimizer_nothing_is_trained(distill, recipe):
    one_line(distill("run", recipe, "--set", "train.optimizer=none"), 1, "train.optimizer none", "adamw")


def interrupted(recipe, number, settings):
    with subprocess.Popen([PROGRAM, "run", str(recipe)] + settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        seen = ""
        for line in process.stderr:
            seen += line
            if "loss" in line:
                process.send_signal(number)
                break
        seen += process.stderr.read()
        return process.wait(), seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_save_and_resume_ends_the_same(distill, recipe, number):
    settings = ["--set", "train.steps=3000", "--set", "train.checkpoint_every=50", "--set", "data.eval_fraction=0"]
    code, seen = interrupted(recipe, number, settings)
    assert code == 130 and "interrupted" in seen and "--resume" in seen, seen
    assert distill("run", recipe, *settings, "--resume", "--quiet").code == 0
    whole = recipe.parent / "whole"
    assert distill("run", recipe, *settings, "--quiet", "--set", "output.path=%s" % whole).code == 0
    weights = "model.safetensors"
    assert (recipe.parent / "out" / weights).read_bytes() == (whole / weights).read_bytes()


@pytest.mark.parametrize("how", ["killed", "twice"])
def test_no_stop_is_too_hard(distill, recipe, how):
    settings = ["--set", "train.steps=2000", "--set", "train.checkpoint_every=20"]
    checkpoints = recipe.parent / "out" / "checkpoints"
    with subprocess.Popen([PROGRAM, "run", str(recipe)] + settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(checkpoints.glob("step-*[0-9]"))) < 2:
            time.sleep(0.005)
        if how == "killed":
            process.kill()
        while how == "twice" and process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait() in (-signal.SIGKILL, 130)
    assert distill("run", recipe, *settings, "--resume", "--quiet").code == 0
    whole = recipe.parent / "whole"
    assert distill("run", recipe, *settings, "--quiet", "--set", "output.path=%s" % whole).code == 0
    weights = "model.safetensors"
    assert (recipe.parent / "out" / weights).read_bytes() == (whole / weights).read_bytes()
    assert not any(".tmp" in str(path) for path in (recipe.parent / "out").rglob("*"))


def test_a_run_outlives_the_reader_of_its_progress(distill, recipe):
    settings = ["--set", "train.steps=400", "--set", "train.checkpoint_minutes=0"]
    with subprocess.Popen([PROGRAM, "run", str(recipe)] + settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        process.stderr.readline()
        process.stderr.close()
        assert process.wait() == 0
    assert json.loads((recipe.parent / "out" / "result.json").read_text())["finished"] is True


def on_terminal(arguments, columns, after=None):
    """What the program draws on a terminal of so many columns, which `after` may resize once it has seen a loss."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    seen = b""
    with subprocess.Popen([PROGRAM] + [str(argument) for argument in arguments], stdout=subprocess.DEVNULL, stderr=other) as process:
        os.close(other)
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
            if after and b"step 2" in seen:
                fcntl.ioctl(main, termios.TIOCSWINSZ, struct.pack("HHHH", 24, after, 0, 0))
                after, seen = None, b""
        assert process.wait() == 0
    os.close(main)
    return seen.decode()


@pytest.mark.parametrize("columns", [20, 40, 120])
def test_the_line_of_progress_fits_the_terminal(recipe, columns):
    seen = on_terminal(["run", recipe, "--set", "train.steps=300", "--set", "train.eval_every=100"], columns)
    drawn = [part.split("\r\n")[0] for part in seen.split("\r\033[J")[1:]]
    assert drawn and all(len(line) < columns for line in drawn), max(drawn, key=len)
    assert any("step" in line for line in drawn)
    assert any("ETA" in line for line in drawn) == (columns > 20)
    assert any("tokens/s" in line for line in drawn) == (columns > 40)


def test_the_line_of_progress_follows_a_resize(recipe):
    seen = on_terminal(["run", recipe, "--set", "train.steps=4000"], 120, after=30)
    drawn = seen.split("\r\033[J")[3:]
    assert drawn and all(len(line.split("\r\n")[0].split("\033")[0]) < 30 for line in drawn[:-1])


def test_scoring_says_how_far_it_is(model, tmp_path):
    tokens = tmp_path / "ids.json"
    tokens.write_text(json.dumps([[1, 2, 3, 4]] * 20))
    assert "scoring 100 %  ETA 0:00" in on_terminal(["score", model, "--tokens", tokens, "--json"], 80)


@pytest.mark.parametrize("stream", [1, 2])
def test_no_file_takes_the_place_of_a_closed_stream(model, stream):
    with subprocess.Popen([PROGRAM, "tokenize", str(model)], stdin=subprocess.PIPE, preexec_fn=lambda: os.close(stream)) as process:
        held = pathlib.Path("/proc/%d/fd/%d" % (process.pid, stream))
        found = "nothing"
        for _ in range(500):  # until the program is there: the loader's files stand there before
            with contextlib.suppress(OSError):
                found = os.readlink(held)
            if found == "/dev/null":
                break
            time.sleep(0.01)
        process.stdin.close()
        process.wait()
    assert found == "/dev/null"


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (30000, resource.RLIM_INFINITY))


def test_no_room_for_a_checkpoint(distill, recipe):
    settings = ["--set", "train.steps=30", "--set", "train.checkpoint_every=10"]
    done = subprocess.run([PROGRAM, "run", str(recipe)] + settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit_files, check=False)
    assert done.returncode == 1 and "cannot be written" in done.stderr and ".tmp" not in done.stderr, done.stderr
    assert "no checkpoint of step 10" in done.stderr
    assert not any(".tmp." in str(path) for path in recipe.parent.rglob("*"))
    assert distill("run", recipe, *settings, "--quiet", "--set", "output.overwrite=true").code == 0


@pytest.mark.parametrize("place", ["{model}", "{model}/below", "{folder}", "{model}/.."])
def test_output_keeps_away_from_what_is_read(distill, recipe, model, place):
    before = sorted(path.name for path in model.iterdir())
    one_line(distill("run", recipe, "--quiet", "--set", "output.overwrite=true", "--set", "output.path=" + place.format(model=model, folder=recipe.parent)), 1, "output.path")
    assert sorted(path.name for path in model.iterdir()) == before


def test_output_keeps_away_from_where_a_link_leads(distill, recipe):
    out, link = recipe.parent / "out", recipe.parent / "elsewhere" / "link.txt"
    out.mkdir(), link.parent.mkdir()
    (out / "text.txt").write_text("a text that is learnt from\n" * 50)
    link.symlink_to(out / "text.txt")
    one_line(distill("run", recipe, "--quiet", "--set", "data.train=%s" % link), 1, "output.path", "data.train")


def test_overwriting_clears_the_old_model_and_nothing_else(distill, recipe):
    assert distill("run", recipe, "--quiet").code == 0
    out = recipe.parent / "out"
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "vocab.json", "notes.txt", "model-card.md"):
        (out / name).write_text("{}")
    assert distill("run", recipe, "--quiet", "--set", "output.overwrite=true").code == 0
    names = {path.name for path in out.iterdir()}
    assert {"notes.txt", "model-card.md", "config.json", "model.safetensors", "tokenizer.json", "result.json"} <= names
    assert not names & {"model-00001-of-00002.safetensors", "model.safetensors.index.json", "vocab.json", "student.tmp"}


def test_resume_without_a_checkpoint(distill, recipe):
    one_line(distill("run", recipe, "--resume", "--quiet"), 1, "out")


# ---- bad input ----

def test_bad_recipes_are_one_line_with_the_place(distill, tmp_path):
    one_line(distill("run", tmp_path / "none.yaml"), 1, "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("train:\n  stepz: 3\n")
    one_line(distill("run", bad), 1, "bad.yaml:2", "train.steps")
    bad.write_text("train: [1\n")
    one_line(distill("run", bad), 1, "bad.yaml")
    bad.write_text("")
    done = distill("run", bad)
    assert done.code == 1 and done.err


def test_bad_models_are_one_line(distill, model, tmp_path):
    one_line(distill("generate", tmp_path / "none", "--prompt", "a"), 1, "none")
    config = json.loads((model / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (other / name).write_bytes((model / name).read_bytes())
    (other / "config.json").write_text(json.dumps(dict(config, model_type="mamba")))
    one_line(distill("generate", other, "--prompt", "a"), 1, "mamba", "llama")
    (other / "config.json").write_text(json.dumps(dict(config, hidden_size=32)))
    assert distill("generate", other, "--prompt", "a").code == 1


def test_what_is_no_file_is_refused_at_once(distill, model, recipe, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero"):
        for arguments in (("inspect", path), ("run", path), ("generate", path, "--prompt", "a"), ("tokenize", path),
                          ("score", path, "--tokens", "-"), ("run", recipe, "--set", "data.train=%s" % path),
                          ("run", recipe, "--set", "student.from=null", "--set", "student.layers=null",
                           "--set", "student.config=%s" % path)):
            one_line(distill(*arguments, given=b"[1]"), 1, str(path))
        for arguments in (("score", model, "--tokens", path), ("generate", model, "--prompt-ids", path),
                          ("tokenize", model, "--batch", path)):
            one_line(distill(*arguments), 1, str(path), "is no regular file")


def test_inspect_data(distill, model, tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps([{"text": "the thing"}, {"prompt": "in the inn and then the man", "completion": "thing"}]))
    told = distill("inspect", path, "--json").json
    assert (told["kind"], told["format"], told["samples"], told["whole"]) == ("data", "json", 2, True)
    path.write_text(json.dumps([{"text": "the thing"}, {"prompt": "in the inn and then the man " * 9, "completion": "thing"}]))
    told = distill("inspect", path, "--tokenizer", model, "--set", "data.sequence_length=24", "--set", "data.too_long=skip", "--json").json
    assert (told["samples"], told["skipped"], told["truncated"], told["windows"]) == (2, {"too_long": 1}, 0, 1)
    path.write_text('[{"text": "a"}, {"text": 3}]')
    bad = distill("inspect", path, "--json")
    assert bad.code == 1 and not bad.json["whole"] and "sample 2" in bad.json["problem"]


def test_lost_samples_are_shown_at_the_end_and_kept_in_the_result(distill, recipe):
    data = recipe.parent / "train.jsonl"
    lost = {"prompt": "the thing is in the inn and then the man " * 9, "completion": "thing"}
    data.write_text("\n".join([data.read_text()] + [json.dumps(lost)] * 3))
    done = distill("run", recipe)
    assert done.code == 0, done.err
    assert "40 of 43 samples learnt from: 0 skipped as too long, 3 without a token to learn; 3 truncated" in done.out
    assert "of 43 samples 40 are learnt from" in done.err
    result = json.loads((recipe.parent / "out" / "result.json").read_text())
    assert result["data"]["samples"] == 43 and result["data"]["no_labels"] == 3 and result["data"]["truncated"] == 3
    assert result["data"]["skipped"] == {"too_long": 0} and result["data"]["eval"]["samples"] == 1


def test_a_full_disk_is_an_error(distill, model):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PROGRAM, "tokenize", str(model), "--json"], input=b"the", stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and b"stdout" in done.stderr


def test_a_second_interrupt_exits_at_once(recipe):
    started = time.monotonic()
    with subprocess.Popen([PROGRAM, "run", str(recipe), "--set", "train.steps=100000000"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "loss" in line:
                break
        for _ in range(50):
            process.send_signal(signal.SIGINT)
            if process.poll() is not None:
                break
            time.sleep(0.05)
        process.stderr.read()
        assert process.wait() == 130
    assert time.monotonic() - started < 60


# ---- blends of teachers ----

def blended(recipe, model, blend):
    text = recipe.read_text().replace("teacher: {path: %s}" % json.dumps(str(model)), """teachers:
  one: {path: %s}
  two: {path: %s, temperature: 2}
teacher: {blend: %s}""" % (json.dumps(str(model)), json.dumps(str(model)), blend))
    recipe.write_text(text.replace("{from: teacher, layers: [0, 2]}", "{path: %s}" % json.dumps(str(model))))


def test_a_drawn_blend_goes_on_where_it_stopped(distill, recipe, model):
    blended(recipe, model, "{mode: stochastic, of: [one, two], draw: token, seed: 5}")
    settings = ["--set", "train.steps=1000", "--set", "train.checkpoint_every=50", "--set", "data.eval_fraction=0"]
    code, seen = interrupted(recipe, signal.SIGINT, settings)
    assert code == 130, seen
    assert distill("run", recipe, *settings, "--resume", "--quiet").code == 0
    whole = recipe.parent / "whole"
    assert distill("run", recipe, *settings, "--quiet", "--set", "output.path=%s" % whole).code == 0
    weights = "model.safetensors"
    assert (recipe.parent / "out" / weights).read_bytes() == (whole / weights).read_bytes()


def test_eval_takes_a_blend_from_settings(distill, recipe, model):
    folder = recipe.parent
    teachers = "teachers={one: %s, two: {path: %s, temperature: 3}}" % (json.dumps(str(model)), json.dumps(str(model)))
    done = distill("eval", "--student", model, "--data", folder / "valid.jsonl", "--set", teachers,
                   "--set", "teacher={blend: {of: [one, two], mode: log_linear}}", "--json")
    assert done.code == 0, done.err
    assert done.json["forward_kl"] > 1e-6
    one_line(distill("eval", "--student", model, "--data", folder / "valid.jsonl", "--set", teachers,
                     "--set", "teacher={blend: {of: [one, three]}}"), 1, "three", "one of teachers")
    done = distill("eval", "--student", model, "--data", folder / "valid.jsonl", "--set", teachers,
                   "--set", "teacher={schedule: [{teacher: two, until: 5}, {teacher: one}]}", "--json")
    assert done.json["forward_kl"] > 1e-6, done.err
    one_line(distill("eval", "--student", model, "--data", folder / "valid.jsonl", "--set", "teacher.temperature=2"), 1, "teacher")


# ---- caches of targets ----

def test_a_cache_is_built_from_a_recipe(distill, recipe, tmp_path):
    cache = tmp_path / "kept.dtc"
    settings = ["--set", "teacher.cache.path=%s" % cache, "--set", "teacher.cache.tier=hidden"]
    one_line(distill("cache", "build", recipe), 1, "teacher.cache.path is not set")
    done = distill("cache", "build", recipe, *settings, "--json")
    assert done.code == 0, done.err
    assert done.json["added"] == done.json["rows"] == done.json["caches"][0]["rows"] > 0
    again = distill("cache", "build", recipe, *settings)
    assert again.code == 0 and "0 rows were added" in again.out and "kept.dtc: tier hidden" in again.out
    before = cache.stat().st_size
    run = distill("run", recipe, *settings)
    assert run.code == 0, run.err
    assert cache.stat().st_size == before  # training and held-out rows were all there
    inspected = distill("cache", "inspect", cache, "--json").json
    assert inspected["tier"] == "hidden" and inspected["rows"] == done.json["rows"] and len(inspected["teacher"]) == 64
    assert "whole" not in inspected and distill("cache", "verify", cache, "--json").json["whole"] is True


def test_a_cache_is_built_from_flags_and_merged(distill, model, recipe, tmp_path):
    def build(data, name):
        done = distill("cache", "build", "--teacher", model, "--data", recipe.parent / data, "--cache", tmp_path / name, "--tier", "top_k",
                       "--set", "teacher.cache.k=4", "--set", "data.sequence_length=24", "--json")
        assert done.code == 0, done.err
        return done.json["rows"]
    rows, fewer = build("train.jsonl", "a.dtc"), build("valid.jsonl", "b.dtc")
    merged = distill("cache", "merge", tmp_path / "a.dtc", tmp_path / "b.dtc", "--into", tmp_path / "c.dtc", "--json")
    assert merged.code == 0 and rows <= merged.json["rows"] <= rows + fewer
    assert distill("cache", "merge", tmp_path / "b.dtc", "--into", tmp_path / "c.dtc", "--json").json["rows"] == merged.json["rows"]
    one_line(distill("cache", "merge", "--into", tmp_path / "c.dtc"), 2, "files to merge")
    one_line(distill("cache", "merge", tmp_path / "a.dtc"), 2, "--into")
    one_line(distill("cache", "build", "--teacher", model), 2, "--teacher, --data and --cache")
    one_line(distill("cache", "build", "--teacher", model, "--data", "x", "--cache", "y", "--tier", "topk"), 2, "top_k")
    one_line(distill("cache", "merg"), 2, "did you mean merge")


def test_a_dry_run_and_a_measurement_write_nothing(distill, recipe, model, tmp_path):
    cache = tmp_path / "dry.dtc"
    settings = ["--set", "teacher.cache.path=%s" % cache, "--set", "teacher.cache.tier=full"]
    planned = distill("cache", "build", recipe, *settings, "--dry-run", "--json")
    assert planned.code == 0 and 0 < planned.json["missing"] < planned.json["rows"], planned.err  # some windows are equal
    assert "nothing was written" in distill("cache", "build", recipe, *settings, "--dry-run").out and not cache.exists()
    made = distill("cache", "build", recipe, *settings, "--json").json
    assert made["added"] == planned.json["missing"]
    assert abs(made["caches"][0]["bytes"] - planned.json["bytes"]) < 0.1 * planned.json["bytes"]
    size = cache.stat().st_size
    measured = distill("cache", "measure", recipe, "--student", model, "--rows", 50, *settings, "--json")
    assert measured.code == 0 and measured.json["student"]["forward_kl"] == 0, measured.err  # it is the teacher itself
    table = distill("cache", "measure", "--teacher", model, "--data", recipe.parent / "train.jsonl", "--set", "data.sequence_length=24")
    assert table.code == 0 and "bytes/token" in table.out and "hidden   bf16" in table.out and "12 draws" in table.out
    assert cache.stat().st_size == size
    one_line(distill("cache", "measure", "--teacher", model), 2, "--data")
    one_line(distill("cache", "measure", recipe, "--rows", "-3"), 1, "rows is -3")


@pytest.mark.parametrize("command", ["build", "measure", "inspect", "verify", "merge"])
def test_commands_of_caches_have_help(distill, command):
    done = distill("cache", command, "--help")
    assert done.code == 0 and done.out.startswith("usage: distill cache " + command) and not done.err


def test_a_flag_beside_a_recipe_says_what_holds(distill, model, recipe, tmp_path):
    other, cache = tmp_path / "other", tmp_path / "flag.dtc"
    shutil.copytree(model, other)
    arguments = ["cache", "build", recipe, "--cache", cache, "--tier", "top_k", "--quiet"]
    done = distill(*arguments, "--teacher", other, "--dry-run")
    assert done.code == 0 and "--teacher %s is taken, not what the recipe says (teacher.path: " % other in done.err, done.err
    assert "--cache" not in done.err and "--tier" not in done.err  # which the recipe says nothing of
    assert "is taken" not in distill(*arguments, "--dry-run").err
    data = distill(*arguments, "--data", recipe.parent / "valid.jsonl", "--dry-run")
    assert "is taken, not what the recipe says (data.train: " in data.err


def test_a_damaged_cache_is_named_by_offset(distill, model, recipe, tmp_path):
    cache = tmp_path / "d.dtc"
    assert distill("cache", "build", "--teacher", model, "--data", recipe.parent / "train.jsonl", "--cache", cache, "--set", "data.sequence_length=24",
                   "--quiet").code == 0
    whole = cache.read_bytes()
    cache.write_bytes(whole[:400] + bytes([whole[400] ^ 4]) + whole[401:])
    done = distill("cache", "verify", cache, "--json")
    assert done.code == 1 and done.json["whole"] is False and done.json["damaged"] == [
        {"block": 0, "offset": 256, "bytes": len(whole) - 256, "problem": "its checksum differs"}]
    one_line(distill("cache", "merge", cache, "--into", tmp_path / "e.dtc"), 1, "block 0 at byte 256 is damaged", "skip")
    skipped = distill("cache", "merge", cache, "--into", tmp_path / "f.dtc", "--skip-damaged", "--json")
    assert skipped.code == 0 and skipped.json["rows"] == 0 and "left out" in skipped.err
    cache.write_bytes(whole[:len(whole) - 5])
    done = distill("cache", "verify", cache)
    assert done.code == 1 and "no whole block" in done.out
    cache.write_bytes(whole[:100])
    done = distill("cache", "verify", cache, "--json")
    assert done.code == 1 and "ends after 100 bytes" in done.json["problem"]


def test_other_files_are_no_caches(distill, recipe, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "empty", tmp_path / "none", recipe):
        for command in ("inspect", "verify"):
            one_line(distill("cache", command, path), 1, path)
        one_line(distill("cache", "merge", path, "--into", tmp_path / "into.dtc"), 1, path)
        if path != tmp_path / "none" and path != tmp_path / "empty":
            one_line(distill("cache", "build", recipe, "--set", "teacher.cache.path=%s" % path, "--quiet"), 1, path)


def test_a_stopped_build_goes_on(distill, recipe, tmp_path):
    text = "".join(json.dumps({"text": "the thing %d is in the inn" % i}) + "\n" for i in range(20000))
    (recipe.parent / "train.jsonl").write_text(text)
    cache = tmp_path / "s.dtc"
    command = [PROGRAM, "cache", "build", str(recipe), "--set", "teacher.cache.path=%s" % cache]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and (not cache.exists() or cache.stat().st_size < 300000):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        assert process.wait() == 130 and "the same command" in err, err
    kept = distill("cache", "verify", cache, "--json")
    assert kept.code == 0 and kept.json["rows"] > 0
    done = distill("cache", "build", recipe, "--set", "teacher.cache.path=%s" % cache, "--json")
    assert done.code == 0 and done.json["added"] == done.json["rows"] - kept.json["rows"] > 0


def write_documents(recipe, count, seed=0):
    text = "".join(json.dumps({"text": "the thing %d is in the inn" % (seed + i)}) + "\n" for i in range(count))
    (recipe.parent / "train.jsonl").write_text(text)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, whose size can be changed; skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")

    def change(how):
        subprocess.run(["mount", "-o", "remount," + how, str(folder)], check=True)
    yield folder, change
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing_and_a_build_goes_on(distill, recipe, small_disk):
    folder, change = small_disk
    write_documents(recipe, 1000)
    settings = ["--set", "teacher.cache.path=%s" % (folder / "f.dtc"), "--set", "teacher.cache.tier=hidden", "--set", "teacher.cache.precision=bf16"]
    one_line(distill("cache", "build", recipe, *settings, "--quiet"), 1, "f.dtc: cannot be written; what it holds stays whole", "No space left")
    kept = distill("cache", "verify", folder / "f.dtc", "--json")
    assert kept.code == 0 and kept.json["whole"] is True
    one_line(distill("run", recipe, *settings, "--quiet", "--set", "train.steps=500"), 1, "f.dtc: cannot be written", "No space left")
    change("size=64m")
    done = distill("cache", "build", recipe, *settings, "--json")
    assert done.code == 0 and done.json["added"] >= done.json["rows"] - distill("cache", "verify", folder / "f.dtc", "--json").json["rows"]
    assert distill("cache", "build", recipe, *settings, "--json").json["added"] == 0
    change("ro")  # everything is there: nothing has to be written
    assert distill("run", recipe, *settings, "--set", "output.path=%s" % (recipe.parent / "other")).code == 0
    write_documents(recipe, 10, seed=5000)
    one_line(distill("run", recipe, *settings, "--quiet", "--set", "output.path=%s" % (recipe.parent / "third")), 1, "lacks sequence", "cannot be written")


def test_a_file_that_may_not_grow_loses_nothing(distill, recipe, tmp_path):
    write_documents(recipe, 1000)
    cache = tmp_path / "l.dtc"
    command = ["cache", "build", str(recipe), "--set", "teacher.cache.path=%s" % cache, "--set", "teacher.cache.tier=full", "--quiet"]
    done = subprocess.run([PROGRAM] + command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (700000, resource.RLIM_INFINITY)))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "cannot be written" in done.stderr, done.stderr
    kept = distill("cache", "verify", cache, "--json").json
    assert kept["whole"] is True and kept["rows"] > 0
    again = distill(*command, "--json")
    assert again.code == 0 and again.json["added"] == again.json["rows"] - kept["rows"] > 0


def test_killed_writers_lose_a_block_at_most_and_their_files_merge(distill, recipe, tmp_path):
    """Three fill a file each, of documents that overlap; each is killed a few times on its way."""
    def build(i):
        return [PROGRAM, "cache", "build", str(tmp_path / str(i) / "recipe.yaml"), "--set", "teacher.cache.path=%s" % (tmp_path / ("w%d.dtc" % i)), "--quiet"]
    random = __import__("random").Random(7)
    for i in range(4):
        (tmp_path / str(i)).mkdir()
        shutil.copy(recipe, tmp_path / str(i))
        shutil.copy(recipe.parent / "valid.jsonl", tmp_path / str(i))
        first, last = (0, 1200) if i == 3 else (300 * i, 300 * i + 600)
        (tmp_path / str(i) / "train.jsonl").write_text("".join('{"text": "the thing %d is in the inn"}\n' % n for n in range(first, last)))
    for _ in range(4):
        running = [subprocess.Popen(build(i), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(3)]
        for process in running:
            time.sleep(random.uniform(0.02, 0.25))
            process.kill()
            process.wait()
        for i in range(3):
            found = distill("cache", "verify", tmp_path / ("w%d.dtc" % i), "--json")
            assert "damaged" not in (found.json if found.code in (0, 1) and found.out else {}), found.out
    assert [subprocess.run(build(i), check=False).returncode for i in range(4)] == [0, 0, 0, 0]
    merged = distill("cache", "merge", *(tmp_path / ("w%d.dtc" % i) for i in range(3)), "--into", tmp_path / "m.dtc", "--json").json
    assert merged["rows"] == distill("cache", "verify", tmp_path / "w3.dtc", "--json").json["rows"]
    assert distill("cache", "verify", tmp_path / "m.dtc", "--json").json["whole"] is True


def test_one_writer_at_a_time(distill, recipe, tmp_path):
    write_documents(recipe, 20000)
    cache = tmp_path / "one.dtc"
    command = ["cache", "build", str(recipe), "--set", "teacher.cache.path=%s" % cache, "--quiet"]
    with subprocess.Popen([PROGRAM] + command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and (not cache.exists() or cache.stat().st_size < 256):
            time.sleep(0.005)
        one_line(distill(*command), 1, "one.dtc: another writer adds to it", "merge")
        process.kill()


def test_products_are_chosen_wherever_a_model_is_asked(distill, model):
    written = ["--prompt", "the thing", "--max-tokens", 3]
    for command, given in ((["generate", model, *written], b""), (["chat", model, "--chat-template", "plain", "--max-tokens", 3], b"the thing\n")):
        done = distill(*command, "--set", "compute.products=cblas", given=given)
        assert done.code == 0, done.err
        done = distill(*command, "--precision", "bf16", "--set", "compute.products=cblas", given=given)
        assert done.code == 1 and "bf16 is of our own kernels, and products are by cblas" in done.err, done.err
        one_line(distill(*command, "--set", "compute.products=neon", given=given), 2, 'compute.products "neon" is none of auto|cblas|')
    one_line(distill("serve", model, "--port", 0, "--precision", "bf16", "--set", "compute.products=cblas"), 1, "products are by cblas")


def test_settings_that_a_command_does_not_read(distill, recipe, model, tmp_path):
    data = recipe.parent / "valid.jsonl"
    for command in (["export", model, "--to", "gguf", "-o", tmp_path / "x.gguf"], ["eval", "--student", model, "--data", data],
                    ["score", model, "--tokens", data], ["inspect", data, "--tokenizer", model]):
        done = distill(*command, "--set", "loss.temperature=2")
        assert done.code == 2 and "--set loss.temperature=2: nothing would read it here, only " in done.err
    cache = ["--teacher", model, "--data", data]
    for command, setting in ((["export", model, "--to", "gguf", "-o", tmp_path / "x.gguf"], "output.overwrite=true"),
                             (["cache", "build", *cache, "--cache", tmp_path / "c.dtc"], "loss.temperature=2"),
                             (["cache", "measure", *cache], "train.steps=3"), (["bench", "loss"], "train.steps=3"),
                             (["eval", "--student", model, "--data", data], "train.precision=bf16"),
                             (["eval", "--student", model, "--data", data], "student.layers=[0]"),
                             (["bench", "decode"], "loss.temperature=2"), (["bench", "prefill"], "data.pack=true"),
                             (["bench", "step"], "output.path=x")):
        one_line(distill(*command, "--set", setting), 2, "--set %s: nothing would read it here, only " % setting)
    for command, setting, own in ((["export", model, "--to", "gguf", "-o", tmp_path / "x.gguf"], "output.type=q8_0", "--type"),
                                  (["bench", "step"], "train.steps=3", "--steps"), (["bench", "step"], "train.precision=bf16", "--precision"),
                                  (["bench", "decode"], "generate.max_tokens=3", "--tokens"), (["bench", "loss"], "loss.type=jsd", "--type"),
                                  (["eval", "--student", model, "--data", data], "student.path=x", "--student"),
                                  (["eval", "--student", model, "--data", data], "data.train=x", "--data"),
                                  (["eval", "--student", model, "--data", data], "data.eval=x", "--data"),
                                  (["eval", "--student", model, "--data", data, "--teacher", model], "teacher.path=x", "--teacher"),
                                  (["score", model, "--tokens", data], "teacher.path=x", "MODEL"),
                                  (["inspect", data, "--tokenizer", model], "data.train=x", "FILE"),
                                  (["cache", "build", *cache, "--cache", tmp_path / "c.dtc"], "teacher.path=x", "--teacher"),
                                  (["cache", "build", *cache, "--cache", tmp_path / "c.dtc"], "teacher.cache.path=x", "--cache"),
                                  (["cache", "build", recipe, "--data", data], "data.train=x", "--data"),
                                  (["cache", "measure", *cache], "teacher.path=x", "--teacher"),
                                  (["cache", "measure", *cache, "--student", model], "student.path=x", "--student")):
        one_line(distill(*command, "--set", setting), 2, "--set %s: %s says it here" % (setting, own))
    for command, setting, own in ((["cache", "build", *cache, "--cache", tmp_path / "c.dtc"], "teacher=x", "--teacher says teacher.path here"),
                                  (["cache", "build", *cache, "--cache", tmp_path / "c.dtc"], "teacher={path: x}", "--teacher says teacher.path"),
                                  (["bench", "step"], "train={steps: 3}", "--steps says train.steps here"),
                                  (["eval", "--student", model, "--data", data], "student={path: x}", "--student says student.path here")):
        one_line(distill(*command, "--set", setting), 2, own)
    assert not (tmp_path / "c.dtc").exists()
    assert not (tmp_path / "x.gguf").exists()
    assert distill("export", model, "--to", "gguf", "-o", tmp_path / "x.gguf", "--set", "compute.products=cblas").code == 0


@pytest.mark.parametrize("command", ["bench", "cache", "classify"])
def test_help_names_every_command_below_one(distill, command):
    """The names that the sources give them are those of the usage line and of the list behind it, and each has a page of its own."""
    sources = pathlib.Path(__file__).resolve().parents[2] / "src/cli"
    names = [name for path in sorted(sources.glob("cmd_*.c")) for name in re.findall(r'\{"%s ([a-z]+)",' % command, path.read_text())]
    page = distill(command, "--help").out
    usage, listed = re.search(r"distill %s (\S+)" % command, page).group(1).split("|"), re.findall(r"^  ([a-z]+) +\S", page, re.M)
    assert names and sorted(names) == sorted(usage) == sorted(listed), (names, usage, listed)
    for name in names:
        assert distill(command, name, "--help").out.startswith("usage: distill %s %s" % (command, name))
