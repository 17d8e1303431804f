#!/usr/bin/env python3
"""What `distill plan` says of runs, and what they take: time, CPU seconds, memory.

Usage: race_plan.py DATA [--rounds N] [--only NAME...] [--json FILE]
DATA is a folder that examples/quickstart/wordnet.py has filled; DISTILL is the program. Plan and run go in turns; the figures are medians. Where
other work runs, CPU seconds are what to look at."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEACHER = ROOT / "examples" / "quickstart" / "teacher"
RECIPES = {  # over examples/quickstart/recipe.yaml
    "quickstart": (),
    "cache": ("train.steps=150", "teacher.cache.path=targets.dtc"),
    "on-policy": ("train.steps=60", "train.on_policy={lambda: 0.5, max_new_tokens: 64}", "loss.type=jsd", "loss.hard_label_weight=0"),
    "two teachers": ("train.steps=60",),
}
BLEND = "teachers: {a: {path: %(path)s}, b: {path: %(path)s}}\nteacher: {blend: {of: [a, b], weights: [0.7, 0.3]}}"


def write_recipe(name, folder):
    """The quickstart's; of two teachers a student is not derived: it has random weights."""
    text = (ROOT / "examples" / "quickstart" / "recipe.yaml").read_text()
    teacher = "teacher: {path: %(path)s}"
    if name == "two teachers":
        config = json.loads((TEACHER / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(dict(config, num_hidden_layers=2)))
        text = text.replace("{from: teacher, layers: [0, 7]}", "{config: config.json}")
        teacher = BLEND
    (folder / "recipe.yaml").write_text(text.replace("teacher: {path: teacher}", teacher % {"path": TEACHER}))
    return folder / "recipe.yaml"


def measure(args, name, folder):
    data = ["data.train=%s" % (args.data / "transfer.txt"), "data.eval=%s" % (args.data / "held_out.txt")]
    given = [item for setting in (*data, *RECIPES[name]) for item in ("--set", setting)]
    recipe = write_recipe(name, folder)
    program = os.path.realpath(os.environ.get("DISTILL", "build/tests-gcc/distill"))

    def call(*command):
        done = subprocess.run([program, *map(str, command)], capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode:
            raise SystemExit("race_plan.py: %s: %s" % (name, done.stderr))
        return done.stdout
    out = ("--set", "output.path=%s" % (folder / "out"))
    plan = json.loads(call("plan", recipe, *given, *out, "--json"))
    call("run", recipe, "--quiet", *given, *out)
    took = json.loads((folder / "out" / "result.json").read_text())["cost"]
    return {"seconds": (plan["time"]["seconds"], took["seconds"]), "cpu": (plan["time"]["cpu_seconds"], took["cpu_seconds"]),
            "megabytes": (plan["memory"]["peak_bytes"] / 1e6, took["peak_memory_bytes"] / 1e6)}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("data", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(RECIPES))
    parser.add_argument("--json")
    args = parser.parse_args()
    found = {}
    for name in args.only:
        rounds = []
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as folder:
                rounds.append(measure(args, name, pathlib.Path(folder)))
        found[name] = {key: [statistics.median(r[key][i] for r in rounds) for i in (0, 1)] for key in rounds[0]}
        print("%-14s" % name + "".join("  %s %.1f of %.1f (%+.0f %%)" % (key, said, took, 100 * (said / took - 1)) for key, (said, took) in
                                       found[name].items()), flush=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(found, indent=1))


main()
