"""What the quickstart says of a comparison, and the comparison itself on a few steps."""
import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "quickstart"))
import savings  # noqa: E402
import verdict  # noqa: E402


def student(name, perplexity, kl, hard=False):
    return {"name": name, "perplexity": perplexity, "nats": math.log(perplexity), "forward_kl": kl, "hard": hard}


def teacher(perplexity):
    return {"name": "teacher", "perplexity": perplexity, "nats": math.log(perplexity)}


def test_a_teacher_that_does_not_know_the_text_is_said_to_be_one():
    lines = verdict.verdict(teacher(47.5), [student("distilled", 22.0, 0.3), student("labels", 18.4, 1.1, hard=True)])
    assert "does not know this text" in lines[0] and "47.5" in lines[0] and "18.4" in lines[0]
    assert "more steps" not in " ".join(lines) and lines[-1].startswith("To ship: labels (")


def test_a_gap_that_is_closed_is_measured_in_nats():
    rows = [student("distilled", 40.9, 0.21), student("labels", 47.5, 0.41, hard=True)]
    lines = verdict.verdict(teacher(32.9), rows)
    assert "closes 41 % of the gap" in lines[0] and lines[-1].startswith("To ship: distilled (the lowest perplexity")


def test_as_good_on_the_text_and_nearer_to_the_teacher_is_shipped():
    rows = [student("distilled", 2.98, 0.05), student("labels", 2.95, 0.15, hard=True)]
    lines = verdict.verdict(teacher(2.5), rows)
    assert "closes none of the gap" in lines[0] and lines[-1].startswith("To ship: distilled (")
    assert "2.98 against 2.95" in lines[-1] and "0.33" in lines[-1]


def test_clearly_worse_on_the_text_is_not_shipped():
    rows = [student("distilled", 3.26, 0.05), student("labels", 3.03, 0.15, hard=True)]
    assert verdict.verdict(teacher(2.5), rows)[-1].startswith("To ship: labels (")


def test_no_gap_is_not_a_division():
    rows = [student("distilled", 3.0, 0.05), student("labels", 3.0, 0.15, hard=True)]
    assert verdict.gap_closed(teacher(3.0), rows[1], rows[0]) is None
    assert "no gap" in verdict.verdict(teacher(3.0), rows)[0]


def timed(bytes_, rate, energy="none", **more):
    return {"bytes": bytes_, "decode_tokens_per_second": rate, "cost_of_timing": {"energy": energy, "energy_problem": "no counters"}, **more}


def test_what_a_student_saves_is_one_table():
    lines = savings.savings({"a": timed(8e6, 500), "b": timed(2e6, 1500)}, dict(teacher(32.9), top1_agreement=1), student("distilled", 40.9, 0.21))
    assert [line.split() for line in lines[:3]] == [["teacher", "student", "of", "it"], ["files,", "MB", "8.0", "2.0", "25", "%"],
                                                    ["writing,", "tokens/s", "500", "1500", "3.0", "times"]]
    assert lines[3].split() == ["perplexity", "32.90", "40.90"] and "no counters" in lines[4] and len(lines) == 5
    lines = savings.savings({"a": timed(8e6, 500, joules_per_1000_tokens=4), "b": timed(2e6, 1500, "estimated", joules_per_1000_tokens=1)},
                            teacher(32.9), student("distilled", 40.9, 0.21))
    assert "joules per 1,000 tokens, estimated" in lines[3] and lines[3].endswith("25 %") and "not known" not in lines[-1]


@pytest.mark.parametrize("frontier", [False, True])
def test_the_comparison_runs(tmp_path, frontier):
    program = os.environ.get("DISTILL_PROGRAM")
    if not program:
        pytest.skip("DISTILL_PROGRAM is not set")
    model = ROOT / "examples" / "quickstart" / "teacher"
    command = [sys.executable, str(ROOT / "examples" / "quickstart" / "compare.py"), str(tmp_path), "--distill", program, "--own",
               "--recipe", str(ROOT / "examples" / "quickstart" / "own.yaml"), "--teacher", str(model)]
    settings = {"teacher.path": model, "data.train": ROOT / "tests" / "data" / "sentences.txt", "data.sequence_length": 64, "train.steps": 2,
                "train.batch_size": 2, "train.warmup_steps": 1}
    for key, value in settings.items():
        command += ["--set", "%s=%s" % (key, value)]
    done = subprocess.run(command + ["--frontier"] * frontier, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result) == (9 if frontier else 3) and "To ship: " in done.stdout
    assert ("more runs, about" in done.stdout) and ("--frontier also tries" in done.stdout) != frontier
    assert json.loads((tmp_path / "compare.json").read_text())["kind"] == "comparison"
    assert "saves, timed in turn" in done.stdout
    assert "writing, tokens/s" in done.stdout and " chat " in done.stdout and " serve " in done.stdout
    for name, values in result.items():
        assert name == "teacher" or (tmp_path / name / "model.safetensors").exists(), values
        assert values["bytes"] == 2 * values["parameters"], "%s is not in its teacher's BF16" % name
