"""The table that compares learning from data with learning from one's own text: its measures against known values, and the whole of it on a few steps."""
import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "examples" / "on_policy"), str(ROOT / "examples" / "quickstart")]
pytest.importorskip("numpy")


def test_rouge_l_is_that_of_the_longest_common_subsequence():
    import writing
    assert writing.rouge_l([1, 2, 3, 4], [1, 2, 3, 4]) == 1
    assert writing.rouge_l([1, 2, 3, 4], [5, 6]) == 0
    assert writing.rouge_l([1, 2, 3, 4, 5], [2, 9, 4, 5]) == pytest.approx(2 * 3 / 9)
    assert writing.rouge_l([], [1]) == 0


def test_places_go_as_far_as_texts_do():
    import writing
    assert writing.by_place([[1.0, 2.0, 3.0], [3.0], []], 5) == [2.0, 2.0, 3.0]


def test_distances_are_those_of_the_rows_behind_the_prompt():
    import numpy
    import writing

    class Model:
        def __init__(self, table):
            self.table = numpy.array(table)

        def score(self, sequences):  # the row of each token but the last one hangs on that token alone
            return numpy.concatenate([self.table[sequence[:-1]] for sequence in sequences])

    teacher, student = Model([[0.0, 0.0], [math.log(3.0), 0.0]]), Model([[0.0, 0.0], [0.0, 0.0]])
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    found = writing.distances(teacher, student, [[0, 1], [1]], [[1, 0, 1], [0, 0]])
    assert found[0] == pytest.approx([kl, kl, 0]) and found[1] == pytest.approx([kl, 0])


def test_the_table_is_made_and_goes_on_where_it_stopped(tmp_path):
    program = os.environ.get("DISTILL_PROGRAM")
    if not program:
        pytest.skip("DISTILL_PROGRAM is not set")
    text = (ROOT / "tests" / "data" / "sentences.txt").read_text()
    for name in ("transfer.txt", "held_out.txt"):
        (tmp_path / name).write_text(text)
    folders = [str(ROOT / "examples"), str(ROOT / "examples" / "quickstart"), str(ROOT / "bindings" / "python")]
    command = [sys.executable, str(ROOT / "examples" / "on_policy" / "compare.py"), str(tmp_path), "--distill", program, "--data", str(tmp_path), "--quick"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)})
        assert done.returncode == 0, done.stderr
    assert "35/35 flop-on-policy-reverse_kl-2" in done.stderr and "step 4/4" not in done.stderr
    found = json.loads((tmp_path / "on_policy.json").read_text())
    for table in ("equal_steps", "equal_flop"):
        assert len(found[table]) == 7
        for row in found[table].values():
            assert all(len(one["seeds"]) == 2 and math.isfinite(one["mean"]) for one in row.values())
    assert "at equal FLOP" in done.stdout and "exposure bias" in done.stdout
