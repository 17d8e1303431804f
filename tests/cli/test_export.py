"""distill export, and output.format and output.type of recipes."""
import json
import pathlib
import subprocess

import pytest
from test_program import one_line


def nll(distill, model):
    ids = [[1, 5, 9, 100, 32, 77, 257, 3, 8], [44, 45, 46]]
    return distill("score", model, "--tokens", "-", "--json", given=json.dumps(ids).encode()).json["nll"]


def flat(rows):
    return [value for row in rows for value in row]


def test_a_gguf_file_is_the_same_model(distill, model, tmp_path):
    done = distill("export", model, "--to", "gguf", "-o", tmp_path / "m.gguf", "--json")
    assert done.code == 0 and not done.err, done.err
    assert done.json["format"] == "gguf" and done.json["whole"] is True and set(done.json["dtypes"]) == {"F32"}
    assert nll(distill, tmp_path / "m.gguf") == nll(distill, model)
    text = "the thing, is 'it' in?\n <|endoftext|>\u00e9"
    for command in ("tokenize", "generate"):
        arguments = ["--prompt", "the thing", "--max-tokens", 12, "--json"] if command == "generate" else []
        answers = [distill(command, path, *arguments, given=text.encode()).json for path in (model, tmp_path / "m.gguf")]
        assert answers[0] == answers[1] and answers[0]["ids"]


def test_back_to_a_folder(distill, model, tmp_path):
    assert distill("export", model, "--to", "gguf", "-o", tmp_path / "m.gguf").code == 0
    done = distill("export", tmp_path / "m.gguf", "--to", "both", "--type", "f32", "-o", tmp_path / "back")
    assert done.code == 0 and (tmp_path / "back/model.gguf").exists()
    assert nll(distill, tmp_path / "back") == nll(distill, model)
    assert (tmp_path / "back/model.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()


# A model of 16 wide rows has no blocks; one of 32 has.
@pytest.fixture(scope="module")
def wide(tmp_path_factory, distill, model):
    folder = tmp_path_factory.mktemp("wide")
    config = json.loads((model / "config.json").read_text())
    config.update(hidden_size=32, intermediate_size=64, head_dim=16)
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (model / name).exists():
            (folder / name).write_bytes((model / name).read_bytes())
    (folder / "text.txt").write_text("the thing is in the inn and then the man\n" * 40)
    (folder / "recipe.yaml").write_text("student: {config: config.json, init_std: 0.2}\ndata: {train: text.txt, sequence_length: 24}\n"
                                        "loss: cross_entropy\ntrain: {steps: 2, batch_size: 2}\noutput: trained/\n")
    done = distill("run", folder / "recipe.yaml", "--quiet")
    assert done.code == 0, done.err
    return folder / "trained"


@pytest.mark.parametrize("kind, tolerance", [("bf16", 0.02), ("f16", 0.005), ("q8_0", 0.1), ("q4_0", 1.5)])
def test_types_round(distill, wide, tmp_path, kind, tolerance):
    done = distill("export", wide, "--to", "gguf", "--type", kind, "-o", tmp_path / "m.gguf", "--json")
    assert done.code == 0 and kind.upper() in done.json["dtypes"]
    off = [abs(a - b) for a, b in zip(flat(nll(distill, tmp_path / "m.gguf")), flat(nll(distill, wide)))]
    assert 0 < max(off) < tolerance


def test_rows_that_are_no_blocks_are_said(distill, wide, model, tmp_path):
    done = distill("export", wide, "--to", "gguf", "--type", "q4_k", "-o", tmp_path / "m.gguf", "--json")
    assert done.code == 0 and set(done.json["dtypes"]) == {"F32", "Q5_0"}
    assert "22 of 22 matrices are q5_0, not q4_k, whose blocks of 256 do not divide their rows: token_embd.weight, blk.0" in done.err
    done = distill("export", model, "--to", "gguf", "--type", "q8_0", "-o", tmp_path / "n.gguf", "--json")
    assert done.code == 0 and set(done.json["dtypes"]) == {"F32", "F16"} and "22 of 22 matrices are f16, not q8_0" in done.err


def test_wrong_usage(distill, model, tmp_path):
    one_line(distill("export", "--to", "gguf", "-o", "x"), 2, "MODEL is missing")
    one_line(distill("export", model, "-o", "x"), 2, "--to is missing")
    one_line(distill("export", model, "--to", "gguf"), 2, "-o PATH is missing")
    one_line(distill("export", model, "--to", "onnx", "-o", "x"), 2, "output.format", "onnx", "hf|gguf|both")
    one_line(distill("export", model, "--to", "gguf", "--type", "q3", "-o", "x"), 2, "output.type", "q3")
    one_line(distill("export", model, "--to", "hf", "--type", "q8_0", "-o", tmp_path / "x"), 1, "output.type q8_0 is of GGUF files")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced(distill, model, tmp_path):
    (tmp_path / "m.gguf").write_text("mine")
    one_line(distill("export", model, "--to", "gguf", "-o", tmp_path / "m.gguf"), 1, "m.gguf: is there already")
    one_line(distill("export", model, "--to", "hf", "-o", tmp_path), 1, "is there already")
    assert (tmp_path / "m.gguf").read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_what_a_killed_export_left_is_removed(distill, model, tmp_path):
    with subprocess.Popen(["true"]) as process:
        process.wait()
    for name in ("m", "m.gguf"):
        left = tmp_path / ("%s.tmp.%d.0" % (name, process.pid))
        left.mkdir() if name == "m" else left.write_text("half")
    (tmp_path / ("m.tmp.%d.0" % process.pid) / "config.json").write_text("{")
    assert distill("export", model, "--to", "hf", "-o", tmp_path / "m").code == 0
    assert distill("export", model, "--to", "gguf", "-o", tmp_path / "m.gguf").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.gguf"]


def test_an_empty_path_is_said(distill, model):
    for form in ("hf", "gguf", "both"):
        one_line(distill("export", model, "--to", form, "-o", ""), 1, "path of the f", "to be written is empty")


# ---- recipes ----

def run(distill, recipe, *settings):
    arguments = [part for setting in settings for part in ("--set", setting)]
    return distill("run", recipe, "--json", "--quiet", *arguments)


@pytest.mark.parametrize("form, kind, files", [("gguf", "q8_0", {"model.gguf"}), ("both", "q4_0", {"model.gguf", "config.json"}),
                                               ("both", "f16", {"model.gguf", "config.json"})])
def test_a_run_writes_gguf(distill, recipe, wide, tmp_path, form, kind, files):
    done = run(distill, recipe, "teacher.path=%s" % wide, "output.format=" + form, "output.type=" + kind)
    assert done.code == 0, done.err
    out = tmp_path / "out"
    assert {"model.gguf", "config.json"} & {path.name for path in out.iterdir()} == files
    assert done.json["student"]["perplexity"] > 1 and (out / "result.json").exists()
    assert kind.upper() in distill("inspect", out / "model.gguf", "--json").json["dtypes"]
    assert ("gguf" in done.json) == (form == "both")
    if form == "both":
        student, gguf = done.json["student"], done.json["gguf"]
        assert gguf["path"].endswith("out/model.gguf") and gguf["type"] == kind
        assert gguf["bytes"] == distill("inspect", out / "model.gguf", "--json").json["bytes"] and gguf["bytes"] != student["bytes"]
        data = recipe.parent / "valid.jsonl"
        alone = distill("eval", "--student", out / "model.gguf", "--teacher", wide, "--data", data, "--json",
                        "--set", "data.sequence_length=24").json
        assert gguf["perplexity"] == pytest.approx(alone["perplexity"]) and gguf["forward_kl"] == pytest.approx(alone["forward_kl"])
        assert gguf["perplexity"] != student["perplexity"] and gguf["parameters"] == student["parameters"]
        config = json.loads((out / "config.json").read_text())
        assert config.get("dtype", config.get("torch_dtype")) == {"q4_0": "float32", "f16": "float16"}[kind]
    done = run(distill, recipe, "teacher.path=%s" % wide, "output.format=" + form, "output.type=" + kind)
    assert done.code == 1 and "already holds" in done.err


def test_the_table_has_a_row_of_each_file(distill, recipe, wide):
    settings = ["--set", "teacher.path=%s" % wide, "--set", "output.format=both", "--set", "output.type=q8_0"]
    table = distill("run", recipe, "--quiet", *settings)
    assert table.code == 0, table.err
    rows = {line.split()[0]: line.split() for line in table.out.splitlines() if line.startswith(("student", "gguf"))}
    assert rows["student"][1] != rows["gguf"][1] and len(rows["gguf"]) == len(rows["student"])


def test_a_quantised_teacher_teaches_and_auto_is_bf16(distill, recipe, wide, tmp_path):
    assert distill("export", wide, "--to", "gguf", "--type", "q8_0", "-o", tmp_path / "t.gguf").code == 0
    done = run(distill, recipe, "teacher.path=%s" % (tmp_path / "t.gguf"))
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "out/config.json").read_text())["torch_dtype"] == "bfloat16"
    assert distill("inspect", tmp_path / "out", "--json").json["dtypes"].keys() == {"BF16"}


def test_what_cannot_be_written_is_said_before_training(distill, recipe, tmp_path):
    done = run(distill, recipe, "output.type=q8_0")
    assert done.code == 1 and "output.type q8_0 is of GGUF files: give output.format gguf or both" in done.err
    assert not (tmp_path / "out").exists()


def test_a_stage_takes_the_file_of_another(distill, recipe, wide, tmp_path):
    text = recipe.read_text().replace("output:  out/", "output:  {path: out/, format: gguf, type: q8_0}").replace(
        "student: {from: teacher, layers: [0, 2]}\n", "")
    stages = "stages:\n  - {name: first, student: {from: teacher, layers: [0, 2]}}\n  - {name: second, student: {path: stages.first}}\n"
    recipe.write_text(text + stages)
    done = run(distill, recipe, "teacher.path=%s" % wide)
    assert done.code == 0, done.err
    assert (tmp_path / "out/first/model.gguf").exists() and (tmp_path / "out/second/model.gguf").exists()
    assert run(distill, recipe, "teacher.path=%s" % wide).code == 0


def test_a_model_with_experts_is_no_student_before_data_is_read(distill, recipe, tmp_path):
    experts = pathlib.Path(__file__).resolve().parents[1] / "data" / "families" / "mixtral"
    for layers in ("auto:1", "[0]"):
        done = run(distill, recipe, "teacher.path=%s" % experts, "student.layers=%s" % layers, "data.train=missing.txt", "data.eval=missing.txt")
        assert done.code == 1 and "has experts and can be a teacher only: it is neither trained nor cut" in done.err, done.err
        assert not (tmp_path / "out").exists()
