"""distill augment: a recipe, its plan, kills at any moment, budgets, what is said when it is wrong."""
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import time

import pytest
from conftest import PROGRAM

TEACHER = pathlib.Path(__file__).resolve().parents[2] / "examples" / "quickstart" / "teacher"
STEPS = "[{expand: continue, samples: 2, max_new_tokens: 6, temperature: 0.9}, {keep: length, min: 12}, {drop: regex, pattern: '[0-9]$'}]"


def write(folder, count, steps=STEPS, more=""):
    words = ["a small boat", "the act of", "a tree that", "of or relating to", "someone who"]
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"text": "%s %d" % (words[i % 5], i), "n": i}) + "\n" for i in range(count)))
    (folder / "recipe.yaml").write_text("teacher: {path: %s}\naugment:\n  in: seeds.jsonl\n  out: out.jsonl\n  seed: 5\n  steps: %s\n%s"
                                        % (json.dumps(str(TEACHER)), steps, more))
    return folder / "recipe.yaml"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_samples_come_out_with_their_provenance(distill, tmp_path):
    recipe = write(tmp_path, 10)
    done = distill("augment", recipe, "--quiet")
    assert done.code == 0, done.err
    assert "expand continue" in done.out and "10 in       30 out" in done.out and "  matches 1" in done.out
    made = lines(tmp_path / "out.jsonl")
    assert len(made) == len({line["id"] for line in made}) and all(line["n"] < 10 for line in made)
    child = next(line for line in made if line["id"] == "#3/1.1")
    assert child["provenance"]["parents"] == ["#3"] and child["provenance"]["operators"][0]["seed"] == 5
    assert child["text"].startswith("a tree that 2")
    again = distill("augment", recipe)
    assert again.code == 1 and "--overwrite" in again.err
    before = (tmp_path / "out.jsonl").read_bytes()
    assert distill("augment", recipe, "--overwrite", "--json").json["ended"] == "whole"
    assert (tmp_path / "out.jsonl").read_bytes() == before
    # what came out is data: its keys are known, nothing is said of them
    seen = distill("inspect", tmp_path / "out.jsonl", "--tokenizer", TEACHER, "--json")
    assert seen.code == 0 and seen.json["samples"] == len(made) and "provenance" not in seen.err


def test_a_dry_run_writes_nothing(distill, tmp_path):
    recipe = write(tmp_path, 100)
    before = sorted(os.listdir(tmp_path))
    done = distill("augment", recipe, "--dry-run")
    assert done.code == 0, done.err
    assert "a small boat 0" in done.out and "of 100 samples, from 40 that went through" in done.out
    plan = distill("augment", recipe, "--dry-run", "--json").json
    assert plan["samples"] == 100 and 100 * 6 < plan["tokens"] <= 100 * 12 and len(plan["prompts"]) == 3
    assert sorted(os.listdir(tmp_path)) == before


def test_a_dry_run_keeps_its_table_where_it_is_told(distill, tmp_path):
    """A table there is once samples have ids of their own."""
    recipe, missing = write(tmp_path, 10), tmp_path / "none"
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps({"id": "s%d" % i, "text": "a small boat %d" % i}) + "\n" for i in range(10)))
    before = sorted(os.listdir(tmp_path))
    said = distill("augment", recipe, "--dry-run", "--set", "augment.temporary=%s" % missing)
    assert said.code == 1 and "%s: no temporary file" % missing in said.err
    there = dict(os.environ, TMPDIR=str(missing))
    for more, code in (([], 1), (["--set", "augment.temporary=%s" % tmp_path], 0)):
        done = subprocess.run([PROGRAM, "augment", str(recipe), "--dry-run", *more], env=there, capture_output=True, text=True, check=False)
        assert done.returncode == code and ("%s: no temporary file" % missing in done.stderr) == (code == 1), done.stderr
    assert sorted(os.listdir(tmp_path)) == before


def test_a_dry_run_counts_what_is_made_of_nothing_beside_what_is_in_the_file(distill, tmp_path):
    steps = "[{expand: magpie, n: 60, max_new_tokens: 6, temperature: 1}, {label: answer, max_new_tokens: 4}]"
    recipe = write(tmp_path, 20, steps, "data: {chat_template: chatml}\n")
    plan = distill("augment", recipe, "--dry-run", "--json")
    assert plan.code == 0, plan.err
    assert plan.json["samples"] == 80 and plan.json["tried"] == 8 + 40 and plan.json["seconds"] > 0
    assert 60 * 3 < plan.json["tokens"] <= 60 * 10  # texts ask for no answer
    assert len(plan.json["prompts"]) == 3 and "user" in plan.json["prompts"][0]


def test_killed_at_any_moment_it_ends_with_the_same_bytes(distill, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    began = time.monotonic()
    assert distill("augment", write(whole, 600), "--quiet").code == 0
    taken = time.monotonic() - began
    recipe, draws, kills = write(tmp_path, 600), random.Random(7), 0
    for attempt in range(20):
        process = subprocess.Popen([PROGRAM, "augment", str(recipe), "--resume", "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=draws.uniform(0.02, 0.5) * max(taken, 0.4) if attempt else 0.05)
            assert process.returncode == 0
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills
    if not (tmp_path / "out.jsonl").exists():
        done = distill("augment", recipe, "--resume", "--quiet")
        assert done.code == 0, done.err
    assert (tmp_path / "out.jsonl").read_bytes() == (whole / "out.jsonl").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl", "recipe.yaml", "seeds.jsonl", "whole"]


def test_ctrl_c_leaves_what_goes_on(distill, tmp_path):
    recipe = write(tmp_path, 2000)
    process = subprocess.Popen([PROGRAM, "augment", str(recipe), "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (tmp_path / "out.jsonl.state").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1].decode()
    assert process.returncode == 130 and "stopped behind sample" in err and "--resume" in err and "the step is finished" not in err
    refused = distill("augment", recipe, "--quiet")
    assert refused.code == 1 and "--resume" in refused.err
    state = json.loads((tmp_path / "out.jsonl.state").read_text())
    assert (tmp_path / "out.jsonl.partial").stat().st_size == state["bytes"]
    ended = distill("augment", recipe, "--resume", "--set", "augment.budget.tokens=%d" % (state["tokens"] + 1), "--json")
    assert ended.code == 0 and ended.json["ended"] == "tokens"


@pytest.mark.parametrize("steps, said", [
    ("[{expand: contine}]", "did you mean continue?"),
    ("[{expand: continue, sampels: 2}]", "did you mean"),
    ("[{label: answer, min: 2}]", "augment.steps.0.min is not read by label answer"),
    ("[]", "augment.steps is an empty list"),
])
def test_what_is_wrong_is_one_line(distill, tmp_path, steps, said):
    done = distill("augment", write(tmp_path, 3, steps))
    assert done.code in (1, 2) and said in done.err and len(done.err.strip().splitlines()) == 1, done.err
    assert sorted(os.listdir(tmp_path)) == ["recipe.yaml", "seeds.jsonl"]


def test_what_the_teacher_said_is_trained_on_without_it(distill, tmp_path):
    """The student is the teacher itself: its targets are what it says, but for what the file rounds, and no teacher is there to ask."""
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("a small boat", "the act of", "someone who")))
    (tmp_path / "make.yaml").write_text(
        "teacher: {path: %s}\ngenerate: {logit_bias: {0: 16}, quantized: exact}\naugment:\n  in: seeds.jsonl\n  out: train.jsonl\n"
        "  steps: [{label: answer, samples: 8, max_new_tokens: 60, keep_logprobs: 16, only_matched: true}]\n" % json.dumps(str(TEACHER)))
    made = distill("augment", tmp_path / "make.yaml", "--json")
    assert made.code == 0 and made.json["written"] > 8, made.err
    kept = distill("cache", "verify", tmp_path / "train.jsonl.targets", "--json").json
    assert kept["whole"] and kept["tier"] == "top_k" and kept["sequences"] <= made.json["written"]
    (tmp_path / "train.yaml").write_text(
        "teacher: {cache: train.jsonl.targets}\nstudent: {path: %s}\ndata: {train: train.jsonl}\nloss: {type: forward_kl}\n"
        "train: {steps: 2, batch_size: 4, learning_rate: 1.0e-9}\noutput: out/\n" % json.dumps(str(TEACHER)))
    done = distill("run", tmp_path / "train.yaml", "--quiet")
    assert done.code == 0, done.err
    losses = [line["loss"] for line in lines(tmp_path / "out" / "metrics.jsonl") if "loss" in line]
    assert len(losses) == 2 and all(0 <= loss < 0.01 for loss in losses)


def limit_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000))


def test_a_full_disk_is_one_line_and_nothing_is_lost(distill, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    assert distill("augment", write(whole, 200), "--quiet").code == 0
    recipe = write(tmp_path, 200)
    assert (tmp_path / "seeds.jsonl").stat().st_size < 12000 < (whole / "out.jsonl").stat().st_size
    full = subprocess.run([PROGRAM, "augment", str(recipe), "--quiet"], capture_output=True, timeout=300, check=False, preexec_fn=limit_files)
    err = full.stderr.decode()
    assert full.returncode == 1 and "out.jsonl.partial: cannot be written" in err and len(err.strip().splitlines()) == 1, err
    done = distill("augment", recipe, "--resume", "--quiet")
    assert done.code == 0, done.err
    assert (tmp_path / "out.jsonl").read_bytes() == (whole / "out.jsonl").read_bytes()


def test_what_it_costs(distill, tmp_path):
    recipe = write(tmp_path, 6, more="cost: {powercap: nowhere, watts_per_core: 8, usd_per_million_tokens: 3}\n")
    done = distill("augment", recipe, "--quiet", "--json")
    assert done.code == 0, done.err
    cost = done.json["cost"]
    assert cost["model_tokens"] >= done.json["tokens"] > 0 and cost["model_flops"] > 0 and cost["cpu_seconds"] > 0
    assert cost["energy"] == "estimated" and abs(cost["joules"] - 8 * cost["cpu_seconds"]) < 1e-6
    assert abs(cost["usd"] - 3e-6 * cost["model_tokens"]) < 1e-12
    line = distill("augment", recipe, "--quiet", "--overwrite").out.splitlines()[-1]
    assert line.startswith("cost: ") and "J (estimated)" in line
