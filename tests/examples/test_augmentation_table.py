"""The table of augmentation: what the teacher makes of half of a text, and students on it, on a few steps."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_table_is_made_and_goes_on_where_it_stopped(tmp_path):
    program = os.environ.get("DISTILL_PROGRAM")
    if not program:
        pytest.skip("DISTILL_PROGRAM is not set")
    text = (ROOT / "tests" / "data" / "sentences.txt").read_text()
    for name in ("transfer.txt", "held_out.txt"):
        (tmp_path / name).write_text(text)
    folders = [str(ROOT / "examples"), str(ROOT / "examples" / "quickstart")]
    command = [sys.executable, str(ROOT / "examples" / "augmentation" / "compare.py"), str(tmp_path), "--distill", program, "--data", str(tmp_path), "--quick"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)})
        assert done.returncode == 0, done.stderr
    assert "8/8 whole-2" in done.stderr and "step 2/2" not in done.stderr
    made = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text().splitlines()]
    kept = [json.loads(line) for line in (tmp_path / "curated.jsonl").read_text().splitlines()]
    assert len(made) > 8 and 0 < len(kept) <= len(made) and {one["id"] for one in kept} <= {one["id"] for one in made}
    assert all(one["provenance"]["scores"]["teacher_likelihood"] >= -4.2 for one in kept)
    ways = json.loads((tmp_path / "augmentation.json").read_text())["ways"]
    assert len(ways) == 4 and all(len(measure["seeds"]) == 2 for row in ways.values() for measure in row.values())
    assert "all of the text" in done.stdout and "teacher: " in done.stdout
