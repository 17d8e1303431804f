"""The table of augmentation by an instruct model: what each way learns from, and, where the real model and the questions are, the whole of it on a few steps."""
import argparse
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = [str(ROOT / "examples" / name) for name in ("", "augmentation", "quickstart", "real", "on_policy")] + [str(ROOT / "bindings" / "python")]
pytest.importorskip("numpy")


def instruct():
    """The module, which has a neighbour of the same name as on_policy's: they are not to meet."""
    for name in ("compare", "instruct"):
        sys.modules.pop(name, None)
    sys.path[:0] = FOLDERS
    try:
        import instruct as module
        return module
    finally:
        del sys.path[:len(FOLDERS)]
        sys.modules.pop("compare", None)


def test_of_four_answers_the_first_that_there_is(tmp_path):
    module = instruct()
    ids = ["seed0/2.0", "seed0/2.1", "seed1/2.2", "made#1/1.0/2.1", "made#1/1.0/2.3", "made#2/1.0/2.0"]
    module.write(tmp_path / "answered.jsonl", [{"id": name} for name in ids])
    module.first_answers(tmp_path)
    assert [row["id"] for row in module.read(tmp_path / "seeds_answered.jsonl")] == ["seed0/2.0", "seed1/2.2"]
    assert [row["id"] for row in module.read(tmp_path / "magpie.jsonl")] == ["made#1/1.0/2.1", "made#2/1.0/2.0"]


def test_questions_are_seeds_or_held_out(tmp_path):
    module = instruct()
    for name in ("alpaca_libre", "llms_from_scratch"):
        (tmp_path / "instruct" / name).mkdir(parents=True)
    asked = ["question %d" % (i % 20) for i in range(40)] + ["long " * 100]  # half of them twice
    (tmp_path / "instruct" / "alpaca_libre" / "a.jsonl").write_text(
        "".join(json.dumps({"status": "ok", "instruction": text, "output": "answer %d" % i}) + "\n" for i, text in enumerate(asked)))
    (tmp_path / "instruct" / "llms_from_scratch" / "instruction-data.json").write_text("[]")
    module.questions(argparse.Namespace(assets=tmp_path, folder=tmp_path, questions=8, held=4))
    seeds, held = ([row["messages"][0]["content"] for row in module.read(tmp_path / name)] for name in ("seeds.jsonl", "held.jsonl"))
    assert len(seeds) == 8 and len(held) == 4 and len(set(seeds + held)) == 12 and all(len(text) < 300 for text in seeds + held)


def test_the_table_is_made_and_goes_on_where_it_stopped(tmp_path):
    asked = {name: os.environ.get(name) for name in ("DISTILL_PROGRAM", "DISTILL_LIBRARY", "DISTILL_REAL_MODELS", "DISTILL_TEST_ASSETS")}
    if not all(asked.values()):
        pytest.skip("one of %s is not set" % ", ".join(asked))
    command = [str(ROOT / "examples" / "augmentation" / "instruct.sh"), "--quick", "--no-install", "--out", str(tmp_path)]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "DISTILL": asked["DISTILL_PROGRAM"]})
        assert done.returncode == 0, done.stderr
    assert "7/7 best-2" in done.stderr and "step 2/2" not in done.stderr
    found = json.loads((tmp_path / "quick" / "instruct.json").read_text())
    assert len(found["ways"]) == 3 and all(len(measure["seeds"]) == 2 for row in found["ways"].values() for measure in row.values())
    assert found["samples"]["seeds answered"] < found["samples"]["+ magpie"]


def test_help_and_wrong_usage():
    script = ROOT / "examples" / "augmentation" / "instruct.sh"
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("usage: examples/augmentation/instruct.sh")
    for wrong in (["--text"], ["--steps"]):
        assert subprocess.run([script, *wrong], capture_output=True, check=False).returncode == 2
