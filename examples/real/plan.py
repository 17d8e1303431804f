"""The students of the real model, and their runs."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

from outputs import call, once

LAYERS = 30
SHAPES = {  # the third list is the first thing that was ever tried here, so that figures compare
    "10 layers": {"student.layers": [0, 1, 2, 3, 4, 8, 14, 20, 28, 29]},
    "20 layers": {"student.layers": "auto:20"},
    "15 layers": {"student.layers": "auto:15"},
    "narrower": {"student.layers": list(range(LAYERS)), "student.heads": 6, "student.intermediate_size": 1024, "student.hidden_size": 512},
}
CHOSEN_BY_TEXT = ("20 layers", "15 layers", "narrower")
MIX = {"text": 2, "chat": 1}
CURVE, CURVE_TOKENS = 4, 1200  # points of a curve, of so many tokens: each asks the teacher, too
HERE = pathlib.Path(__file__).resolve().parent
KINDS = {"distilled": "distilled", "tokens": "hard labels, equal tokens", "time": "hard labels, equal time"}


def folder_of(shape):
    return shape.replace(" ", "_")


def sources(bench, part):
    found = [(name, bench.folder / "data" / file) for name, file in (("text", f"text_{part}.txt"), ("chat", f"chat_{part}.jsonl"))]
    return [{"path": str(path), "source": name} for name, path in found if path.exists()]


def common(bench, args, shape):
    """What all runs of a student have in common."""
    train = sources(bench, "train")
    settings = {"teacher.path": args.teacher, "student.path": str(bench.folder / "cut" / folder_of(shape)), "data.train": train,
                "data.token_cache": str(bench.folder / "data" / "tokens")}
    if len(train) > 1:
        settings["data.mix"] = MIX
    return settings


def cut(bench, args, shape):
    """The student before its first step, kept in F32: all of its runs begin there. Cut and measured once."""
    settings = {**common(bench, args, shape), "data.eval": sources(bench, "held"), "train.steps": 0, "output.type": "f32", "student.from": "teacher",
                **SHAPES[shape]}
    del settings["student.path"]
    if shape in CHOSEN_BY_TEXT:
        settings["student.calibration_tokens"] = args.calibration
    return bench.run("cut/" + folder_of(shape), "student.yaml", settings)


def step_times(bench, args, shape):
    """CPU seconds of a step of each kind (turns.py); measured once."""
    kept = bench.folder / "cut" / folder_of(shape) / "step_times.json"
    if not kept.exists():
        recipe = {"data.sequence_length": 256, "data.separator": "", "train.batch_size": 4, "train.precision": "auto", "train.learning_rate": 1e-6,
                  "loss.type": "forward_kl", **common(bench, args, shape)}
        asked = kept.with_name("turns.json")
        asked.write_text(json.dumps(recipe))
        library = pathlib.Path(args.distill).parent / "libdistill.so"
        where = {"DISTILL_LIBRARY": str(library), "PYTHONPATH": str(HERE.parents[1] / "bindings" / "python")}
        done = subprocess.run([sys.executable, str(HERE / "turns.py"), str(asked)], stdout=subprocess.PIPE, text=True, env={**os.environ, **where}, check=True)
        kept.write_text(done.stdout)
    return json.loads(kept.read_text())


def steps_of(args, times, kind):
    """At equal time hard labels get as many steps more as theirs are faster."""
    return max(1, round(args.steps * times["distilled"] / times["hard"])) if kind == "time" else args.steps


def train(bench, args, shape, kind, steps):
    settings = {**common(bench, args, shape), "data.eval": sources(bench, "held"), "train.steps": steps, "train.warmup_steps": min(10, steps // 4),
                "train.eval_every": -(-(steps + 1) // CURVE), "train.eval_tokens": CURVE_TOKENS, "loss.hard_label_weight": 0.1 if kind == "distilled" else 1}
    name = "%s-%s" % (folder_of(shape), kind)
    result = bench.run(name, "student.yaml", settings)
    shutil.rmtree(bench.folder / name / "checkpoints", ignore_errors=True)  # three times the student's size, and done with
    return result


def by_source(evaluation):
    """An evaluation's figures for each source; for the only one where there is no list."""
    return evaluation.get("sources") or {"text": evaluation}


def last_of(result):
    """The evaluation that a run ended with, by source."""
    return result["eval"].get("sources") or {"text": result["student"]}


def curve_end(bench, args, name):
    """A student on the tokens of text that its curve is drawn of: evaluations at the start and the end of a run read all that is held out."""
    held = bench.folder / "data" / "text_held.txt"
    return once(bench.folder / name / "curve_end.json",
                lambda: call(args.distill, "eval", "--teacher", args.teacher, "--student", bench.folder / name, "--data", held, "--set", "data.separator=",
                             "--set", "data.sequence_length=256", "--set", f"train.eval_tokens={CURVE_TOKENS}"))


def curve(bench, args, shape, kind, result):
    """[(tokens seen, evaluation on text)] of a run, all on the same tokens."""
    name = "%s-%s" % (folder_of(shape), kind)
    lines = [json.loads(line) for line in (bench.folder / name / "metrics.jsonl").read_text().splitlines()]
    each, steps = result["training"]["tokens"] / max(1, result["training"]["steps"]), result["training"]["steps"]
    found = [(line["step"] * each, by_source(line["eval"])["text"]) for line in lines if "eval" in line and line["step"] < steps]
    return [(0, curve_end(bench, args, "cut/" + folder_of(shape)))] + found + [(result["training"]["tokens"], curve_end(bench, args, name))]


def teacher_alone(start):
    """Perplexity of the teacher on each source, which every evaluation tells."""
    sources = start["eval"].get("sources") or {"text": {"teacher_perplexity": start["teacher"]["perplexity"]}}
    return {name: {"perplexity": each["teacher_perplexity"]} for name, each in sources.items()}
