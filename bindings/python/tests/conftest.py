"""A tiny model, its tokenizer and its data, made here: nothing is downloaded and no other package is needed."""
import json
import pathlib
import sys

import pytest

import distill

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "support"))
from tiny_model import write_model  # noqa: E402


@pytest.fixture(scope="session")
def env():
    with distill.Env() as env:
        yield env


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, env):
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    tokenizer = distill.Tokenizer(folder, env=env)
    saved = folder.parent / "saved"
    distill.Student.fresh(folder / "config.json", tokenizer, env=env).save(saved)
    return saved


@pytest.fixture(scope="session")
def tokenizer(model_folder, env):
    return distill.Tokenizer(model_folder, env=env)


@pytest.fixture(scope="session")
def by_cblas(model_folder, env):
    """Whether this build forms products by CBLAS alone: it has no bf16 and no int8, and of a prompt that stands there already it keeps whole pieces."""
    try:
        distill.Teacher(model_folder, env=env).generate([258], max_tokens=1, precision="bf16")
    except distill.DistillError as error:
        return "products are by cblas" in str(error)
    return False


@pytest.fixture
def recipe(model_folder, tmp_path):
    text = "\n".join(json.dumps({"text": "the thing %d is in the inn and then the man" % i}) for i in range(40))
    (tmp_path / "train.jsonl").write_text(text)
    (tmp_path / "valid.jsonl").write_text(text.split("\n")[0])
    return {
        "teacher": {"path": str(model_folder)}, "student": {"from": "teacher", "layers": [0, 2]},
        "data": {"train": str(tmp_path / "train.jsonl"), "eval": str(tmp_path / "valid.jsonl"), "sequence_length": 24},
        "loss": {"type": "forward_kl", "temperature": 2.0, "hard_label_weight": 0.5},
        "train": {"steps": 4, "batch_size": 2, "learning_rate": 1e-3}, "output": str(tmp_path / "out"),
    }
