"""Chains of runs: stages one after another, stopped anywhere and ended by the same command, and what is wrong with them said at once."""
import json
import os
import signal
import subprocess

import pytest

PROGRAM = os.environ.get("DISTILL_PROGRAM", "distill")
WEIGHTS = "model.safetensors"


@pytest.fixture
def chain(recipe, model):
    """teacher -> assistant -> student, in one recipe."""
    recipe.write_text("""
teacher: {path: %s}
data:    {train: train.jsonl, eval: valid.jsonl, sequence_length: 24}
loss:    {type: forward_kl, temperature: 2.0, hard_label_weight: 0.5}
train:   {steps: 6, batch_size: 2, learning_rate: 1.0e-3, schedule: cosine, warmup_steps: 1, seed: 1}
output:  out/
stages:
  - name: assistant
    student: {from: teacher, layers: [0, 2]}
  - name: student
    teacher: stages.assistant
    student: {from: teacher, layers: [0]}
    train: {steps: 4, seed: 2}
""" % json.dumps(str(model)))
    return recipe


def weights(folder):
    return (folder / WEIGHTS).read_bytes()


def change(recipe, old, new):
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))


def one_line(result, *parts):
    assert result.code == 1, result.err
    lines = [line for line in result.err.splitlines() if line.startswith("distill: ")]
    assert len(lines) == 1 and all(part in lines[0] for part in parts), result.err


def test_a_chain_is_its_runs_one_after_another(distill, chain, recipe, model):
    done = distill("run", chain)
    assert done.code == 0, done.err
    assert "stage 1 of 2, assistant" in done.out and "stage 2 of 2, student" in done.out
    assert "stage 2/2 student" in done.err and "step 4/4" in done.err
    out = chain.parent / "out"
    result = json.loads((out / "student" / "result.json").read_text())
    assert result["name"] == "student" and result["training"]["steps"] == 4
    assert result["teacher"]["path"] == str(out / "assistant") and result["options"]["train"] == dict(
        steps=4, batch_size=2, learning_rate=1e-3, schedule="cosine", warmup_steps=1, seed=2)
    by_hand = chain.parent / "by_hand.yaml"
    text = chain.read_text().split("stages:")[0]
    by_hand.write_text(text + "student: {from: teacher, layers: [0, 2]}\n")
    assert distill("run", by_hand, "--quiet", "--set", "output.path=%s" % (chain.parent / "a")).code == 0
    by_hand.write_text(text.replace(json.dumps(str(model)), "a") + "student: {from: teacher, layers: [0]}\n")
    assert distill("run", by_hand, "--quiet", "--set", "output.path=%s" % (chain.parent / "b"), "--set", "train.steps=4", "--set", "train.seed=2").code == 0
    assert weights(out / "assistant") == weights(chain.parent / "a") and weights(out / "student") == weights(chain.parent / "b")


def test_what_is_finished_stays(distill, chain):
    first = distill("run", chain, "--json", "--quiet")
    assert first.code == 0, first.err
    again = distill("run", chain, "--json", "--quiet")
    assert again.code == 0 and again.json == first.json  # times, too: nothing ran
    assert list(first.json["stages"]) == ["assistant", "student"]
    assert first.json["stages"]["student"]["student"]["perplexity"] > 0


def stamp(folder):
    return (folder / "result.json").read_bytes()


def test_a_stage_that_changed_is_named_and_made_again_on_request(distill, chain):
    out = chain.parent / "out"
    assert distill("run", chain, "--quiet").code == 0
    before = stamp(out / "assistant"), stamp(out / "student")
    change(chain, "train: {steps: 4, seed: 2}", "train: {steps: 5, seed: 2}")
    one_line(distill("run", chain, "--quiet"), "stages.student was finished", "train.steps changed: 4 -> 5", "--again")
    assert (stamp(out / "assistant"), stamp(out / "student")) == before
    again = distill("run", chain, "--again", "--json", "--quiet")
    assert again.code == 0, again.err
    assert again.json["stages"]["student"]["training"]["steps"] == 5 and stamp(out / "assistant") == before[0]
    change(chain, "layers: [0, 2]", "layers: [1, 2]")  # of the assistant: the student hangs on it
    one_line(distill("run", chain, "--quiet"), "stages.assistant was finished", "student.layers changed: [0, 2] -> [1, 2]")
    old = weights(out / "student")
    again = distill("run", chain, "--again", "--quiet")
    assert again.code == 0 and "stages.student is made again: teacher.path holds other files" in again.err, again.err
    assert weights(out / "student") != old
    change(chain, "steps: 6", "steps: 6, log_every: 3, checkpoint_every: 2")  # not what it is made of
    assert distill("run", chain, "--quiet").code == 0


def test_other_data_is_another_input(distill, chain):
    assert distill("run", chain, "--quiet").code == 0
    data = chain.parent / "train.jsonl"
    data.write_text(data.read_text().replace("inn", "tin", 1))
    one_line(distill("run", chain, "--quiet"), "stages.assistant", "data.train.0.path holds other files")


def test_a_chain_may_be_moved(distill, chain):
    home = chain.parent
    assert distill("run", chain, "--quiet").code == 0
    moved = home.parent / (home.name + "-moved")
    home.rename(moved)
    before = stamp(moved / "out" / "student")
    done = distill("run", moved / chain.name, "--quiet")
    assert done.code == 0, done.err
    assert stamp(moved / "out" / "student") == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("stage", [1, 2])
def test_stopped_anywhere_the_same_command_ends_it(distill, chain, number, stage):
    settings = ["--set", "train.checkpoint_every=40"]
    change(chain, "steps: 6", "steps: 400")
    change(chain, "steps: 4,", "steps: 400,")
    with subprocess.Popen([PROGRAM, "run", str(chain)] + settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        seen = ""
        for line in process.stderr:
            seen += line
            if "stage %d/2" % stage in line and "loss" in line:
                process.send_signal(number)
                break
        seen += process.stderr.read()
        code = process.wait()
    out = chain.parent / "out"
    assert (out / "assistant" / "result.json").exists() == (stage == 2)
    kept = stamp(out / "assistant") if stage == 2 else None
    if number == signal.SIGINT:
        assert code == 130 and "interrupted in stage %d of 2" % stage in seen and "To go on: distill run" in seen, seen
        assert "stopping: the step is finished and saved" in seen
        state = sorted((out / ("assistant" if stage == 1 else "student") / "checkpoints").iterdir())
        assert state
    done = distill("run", chain, *settings, "--quiet")
    assert done.code == 0, done.err
    assert kept is None or stamp(out / "assistant") == kept
    whole = chain.parent / "whole"
    assert distill("run", chain, *settings, "--quiet", "--set", "output.path=%s" % whole).code == 0
    for name in ("assistant", "student"):
        assert weights(out / name) == weights(whole / name), name


def test_killed_before_the_first_checkpoint_it_begins_anew(distill, chain):
    out = chain.parent / "out" / "assistant"
    assert distill("run", chain, "--quiet").code == 0
    whole = weights(out)
    (out / "result.json").unlink()
    (out / "config.json").unlink()  # as if between the last step and the result
    done = distill("run", chain, "--quiet")
    assert done.code == 0, done.err
    assert weights(out) == whole and (out / "result.json").exists()


@pytest.mark.parametrize("old, new, parts", [
    ("teacher: stages.assistant", "teacher: stages.asistant", ["stages.student", "teacher.path names stages.asistant", "assistant, student"]),
    ("teacher: stages.assistant", "teacher: stages.student", ["teacher.path names stages.student", "itself"]),
    ("  - name: assistant\n", "  - name: assistant\n    teacher: stages.student\n", ["stages.assistant", "stages.student", "comes after it"]),
    ("name: student", "name: assistant", ["both called assistant"]),
    ("  - name: student\n", "  -\n", ["stages.1 has no name"]),
    ("name: student", "name: a/b", ["a/b", "is no name"]),
    ("output:  out/\n", "", ["stages.assistant has no output.path"]),
    ("train: {steps: 4", "output: out/assistant/\n    train: {steps: 4", ["write to one folder", "assistant", "student"]),
    ("train: {steps: 4", "output: out/assistant/inner\n    train: {steps: 4", ["write to one folder"]),
    ("train: {steps: 4", "output: .\n    train: {steps: 4", ["stages.student", "write"]),
    ("train: {steps: 4", "stages: [{name: x}]\n    train: {steps: 4", ["stages.student has stages itself"]),
    ("train: {steps: 4", "data: {train: nothing.jsonl}\n    train: {steps: 4", ["stages.student", "nothing.jsonl does not exist"]),
    ("train: {steps: 4", "data: {train: stages.assistant}\n    train: {steps: 4", ["stages.student", "only teachers and student.path"]),
    ("train: {steps: 4", "loss: {type: no_such}\n    train: {steps: 4", ["stages.student", "no_such"]),
    ("train: {steps: 4", "train: {keep_best: true, steps: 4", ["stages.student", "train.keep_best needs train.eval_every"]),
    ("train: {steps: 4", "train: {decay_steps: 7, steps: 4", ["stages.student", "train.decay_steps"]),
    ("train: {steps: 4", "train: {optimizer: none, steps: 4", ["stages.student", "train.optimizer none"]),
    ("student: {from: teacher, layers: [0]}", "", ["stages.student", "the student comes from nowhere"]),
    ("student: {from: teacher, layers: [0]}", "student: {path: no_such/}", ["stages.student", "student.path", "does not exist"]),
    ("student: {from: teacher, layers: [0]}", "student: {path: stages.small}", ["stages.student", "student.path names stages.small"]),
])
def test_what_is_wrong_is_said_before_anything_runs(distill, chain, old, new, parts):
    change(chain, old, new)
    one_line(distill("run", chain, "--quiet"), *parts)
    assert not (chain.parent / "out").exists()


def test_somebody_elses_model_stays(distill, chain, model):
    out = chain.parent / "out" / "student"
    out.mkdir(parents=True)
    (out / "config.json").write_bytes((model / "config.json").read_bytes())
    one_line(distill("run", chain, "--quiet"), "stages.student", "no stage's")
    assert not (chain.parent / "out" / "assistant").exists()


def test_teachers_by_name_take_outputs_too(distill, chain, model):
    """A later stage blends the assistant with the first teacher; the names stand for all stages."""
    change(chain, "teacher: {path: %s}" % json.dumps(str(model)), "teachers: {big: {path: %s}, small: {path: stages.assistant}}\nteacher: big" % json.dumps(str(model)))
    change(chain, "teacher: stages.assistant", "teacher: {blend: {of: [big, small], weights: [0.5, 0.5]}}")
    change(chain, "student: {from: teacher, layers: [0]}", "student: {path: stages.assistant}")
    done = distill("run", chain, "--json", "--quiet")
    assert done.code == 0, done.err
    members = done.json["stages"]["student"]["teacher"]["manifest"]["members"]
    assert [member["name"] for member in members] == ["big", "small"]
    assert members[1]["path"] == str(chain.parent / "out" / "assistant")
    assert "not used" not in done.err


def test_routes_and_caches_in_a_chain(distill, chain, model):
    """All of teachers are routed to; a cache that a stage fills is no input of it, and one that nobody fills is."""
    change(chain, "teacher: {path: %s}" % json.dumps(str(model)), "teachers: {big: {path: %s}}\nteacher: big" % json.dumps(str(model)))
    change(chain, "teacher: stages.assistant", "teachers: {small: {path: stages.assistant, cache: {path: small.dtc, tier: hidden}}}\n"
           "    teacher: {route: {by: source, default: small}}")
    change(chain, "student: {from: teacher, layers: [0]}", "student: {path: stages.assistant}")
    change(chain, "temperature: 2.0, ", "")
    done = distill("run", chain, "--quiet", "--json")
    assert done.code == 0, done.err
    members = done.json["stages"]["student"]["teacher"]["manifest"]["members"]
    assert [member["name"] for member in members] == ["big", "small"]
    assert distill("run", chain, "--quiet", "--json").json == done.json
    (chain.parent / "small.dtc").unlink()
    assert distill("run", chain, "--quiet", "--json").json == done.json


def test_stages_belong_to_run(distill, recipe, chain):
    assert distill("run", chain, "--again", "--quiet").code == 0
    recipe.write_text(chain.read_text().split("stages:")[0])
    result = distill("run", recipe, "--again")
    assert result.code == 2 and "--again is for recipes with stages" in result.err
