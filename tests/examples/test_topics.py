"""examples/topics: texts are cut the same everywhere; labelling goes on where it was cut off; tables come of whatever was labelled."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOPICS = ROOT / "examples" / "topics"
FILES = {"animal": "05", "plant": "20", "food": "13", "person": "18", "body": "08", "place": "15", "object": "06"}


@pytest.fixture(scope="module")
def nouns(tmp_path_factory):
    path = tmp_path_factory.mktemp("wordnet") / "data.noun"
    lines = ["  1 This is a licence, which is no noun"]
    for topic, number in FILES.items():
        lines += ["%08d %s n 01 %s_%d 0 000 | a kind of %s the %dth; \"an example\"  " % (int(number) * 1000 + i, number, topic, i, topic, i) for i in range(30)]
    path.write_text("\n".join(lines) + "\n", encoding="latin-1")
    return path


@pytest.fixture(scope="module")
def program():
    if "DISTILL_PROGRAM" not in os.environ or "DISTILL_LIBRARY" not in os.environ:
        pytest.skip("DISTILL_PROGRAM and DISTILL_LIBRARY are not set")
    return os.environ["DISTILL_PROGRAM"]


def python(*arguments):
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "examples"), str(ROOT / "bindings" / "python")]), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run([sys.executable, *map(str, arguments)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_texts_labels_and_tables(nouns, program, tmp_path):
    model = ROOT / "examples" / "quickstart" / "teacher"
    texts, labelled = tmp_path / "texts.jsonl", tmp_path / "labelled.jsonl"
    python(TOPICS / "texts.py", nouns, 20, texts)
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    assert len(rows) == 140 and {row["wordnet"] for row in rows} == set(FILES)
    assert all(row["text"].startswith("%s " % row["wordnet"]) and "example" not in row["text"] for row in rows)

    python(TOPICS / "label.py", model, texts, labelled)
    whole = labelled.read_bytes()
    lines = [json.loads(line) for line in whole.splitlines()]
    assert [line["id"] for line in lines] == [row["id"] for row in rows]
    assert all(abs(sum(line["probabilities"].values()) - 1) < 1e-6 for line in lines)
    labelled.write_bytes(whole[:len(whole) // 2])  # killed while it wrote
    python(TOPICS / "label.py", model, texts, labelled)
    assert labelled.read_bytes() == whole

    table = python(TOPICS / "students.py", tmp_path, "--distill", program, "--teacher", model).stdout
    assert "| n-grams, int8 |" in table and "28 of the test" in table
    again = python(TOPICS / "students.py", tmp_path, "--distill", "no program", "--teacher", model).stdout  # what is there is not trained again
    assert again == table
    result = json.loads((tmp_path / "result.json").read_text())
    assert all(run["bytes"] < 5e6 for runs in result["students"].values() for run in runs)


def test_help_and_wrong_usage():
    script = TOPICS / "run.sh"
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("usage: examples/topics/run.sh")
    for wrong in (["--text"], ["--texts"], ["--texts", "many"], ["--texts", "0"]):
        assert subprocess.run([script, *wrong], capture_output=True, check=False).returncode == 2
