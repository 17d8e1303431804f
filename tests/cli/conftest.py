"""Runs the program that DISTILL_PROGRAM names, on a tiny model that it trains itself."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from tiny_model import write_model  # noqa: E402

PROGRAM = os.environ.get("DISTILL_PROGRAM", "distill")


class Result:
    def __init__(self, done):
        self.code, self.out, self.bytes, self.err = done.returncode, done.stdout.decode("utf-8", "replace"), done.stdout, done.stderr.decode()

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(scope="session")
def distill():
    def run(*arguments, given=b""):
        return Result(subprocess.run([PROGRAM] + [str(item) for item in arguments], input=given, capture_output=True, timeout=300, check=False))
    return run


def write_recipe(folder, model):
    lines = [json.dumps({"text": "the thing %d is in the inn and then the man" % i}) for i in range(40)]
    (folder / "train.jsonl").write_text("\n".join(lines))
    (folder / "valid.jsonl").write_text(lines[0])
    (folder / "recipe.yaml").write_text("""
teacher: {path: %s}
student: {from: teacher, layers: [0, 2]}
data:    {train: train.jsonl, eval: valid.jsonl, sequence_length: 24}
loss:    {type: forward_kl, temperature: 2.0, hard_label_weight: 0.5}
train:   {steps: 6, batch_size: 2, learning_rate: 1.0e-3, schedule: cosine, warmup_steps: 1, seed: 1}
output:  out/
""" % json.dumps(str(model)))
    return folder / "recipe.yaml"


@pytest.fixture(scope="session")
def model(tmp_path_factory, distill):
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    (folder / "text.txt").write_text("the thing is in the inn and then the man\n" * 40)
    (folder / "recipe.yaml").write_text("student: {config: config.json}\ndata: {train: text.txt, sequence_length: 24}\nloss: cross_entropy\n"
                                        "train: {steps: 2, batch_size: 2}\noutput: trained/\n")
    done = distill("run", folder / "recipe.yaml", "--quiet")
    assert done.code == 0, done.err
    return folder / "trained"


@pytest.fixture
def recipe(tmp_path, model):
    return write_recipe(tmp_path, model)
