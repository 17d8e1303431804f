#!/usr/bin/env python3
"""The quickstart's student on text, and on what the teacher made of it. Run by compare.sh."""
import argparse
import json
import math
import pathlib
import subprocess
import sys

from evidence import Bench, mean_sd
from paired import show

HERE = pathlib.Path(__file__).resolve().parent
TEACHER, RECIPE = HERE.parent / "quickstart" / "teacher", "../quickstart/recipe.yaml"
WAYS = {"half of the text": ["half"], "+ continuations": ["half", "made"], "+ continuations, curated": ["half", "curated"], "all of the text": ["whole"]}
FILES = {"half": "half.txt", "made": "made.jsonl", "curated": "curated.jsonl", "whole": "transfer.txt"}
BASE = "half of the text"
MEASURES = {"forward_kl": ("KL", "{:.4f}"), "top1_agreement": ("agreement", "{:.2%}"), "nats": ("nats", "{:.4f}")}
QUICK = {"data.sequence_length": 64, "train.batch_size": 2, "train.warmup_steps": 1, "train.eval_tokens": 256}


def augment(args, recipe, source, target, *settings):
    """What `distill augment` makes of a file by args.teacher, once; an interrupted one goes on."""
    folder = pathlib.Path(args.folder)
    out = folder / target
    if out.exists():
        return
    command = [args.distill, "augment", str(HERE / recipe), "--resume", "--set", "teacher.path=%s" % args.teacher, "--set", "augment.in=%s" % source, "--set",
               "augment.out=%s" % out]
    for setting in settings:
        command += ["--set", setting]
    if subprocess.run(command, check=False).returncode:
        sys.exit("what is made of %s is not whole: run it again to go on" % source)


def make(args):
    """Half of the text, its lines as seeds, and what the teacher makes of them."""
    folder, data = pathlib.Path(args.folder), pathlib.Path(args.data)
    lines = (data / "transfer.txt").read_text(encoding="utf-8").splitlines()
    half = lines[:len(lines) // 2]
    (folder / "half.txt").write_text("\n".join(half) + "\n", encoding="utf-8")
    seeds = half[:8] if args.quick else half
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"id": str(i), "text": line}) + "\n" for i, line in enumerate(seeds)), encoding="utf-8")
    augment(args, "continue.yaml", folder / "seeds.jsonl", "made.jsonl")
    augment(args, "curate.yaml", folder / "made.jsonl", "curated.jsonl", "augment.steps.4.with=%s" % (data / "held_out.txt"))


def path_of(args, name):
    return str((pathlib.Path(args.data) if name == "whole" else pathlib.Path(args.folder)) / FILES[name])


def settings_of(args, way, seed):
    sources = [{"path": path_of(args, name), "source": name, "separator": ""} if name in ("half", "whole") else {"path": path_of(args, name), "source": name}
               for name in WAYS[way]]
    settings = {"data.train": sources, "data.eval": str(pathlib.Path(args.data) / "held_out.txt"), "train.seed": seed, "train.steps": args.steps,
                "loss.hard_label_weight": 0}
    return {**settings, **(QUICK if args.quick else {})}


def measure(bench, args):
    """{way: {measure: [of each seed]}}, and the teacher's."""
    found, teacher = {way: {key: [] for key in MEASURES} for way in WAYS}, {}
    names = {(way, seed): "%s-%d" % ("-".join(WAYS[way]), seed) for seed in range(1, args.seeds + 1) for way in WAYS}
    bench.planned, bench.costs = len(names), dict.fromkeys(names.values(), 1)
    for (way, seed), name in names.items():  # seed by seed: what is there after a stop compares all ways
        result = bench.run(name, RECIPE, settings_of(args, way, seed))
        teacher = result["teacher"]
        for key in MEASURES:
            found[way][key].append(result["student"][key])
    return found, teacher


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--distill", required=True)
    parser.add_argument("--data", help="folder with transfer.txt and held_out.txt; FOLDER/data unless said otherwise")
    parser.add_argument("--steps", type=int, help="of each student; 300 unless said otherwise")
    parser.add_argument("--seeds", type=int, help="5 unless said otherwise")
    parser.add_argument("--quick", action="store_true", help="a few tiny steps of two seeds, to see that it runs: its numbers say nothing")
    args = parser.parse_args()
    args.steps, args.seeds = args.steps or (2 if args.quick else 300), args.seeds or (2 if args.quick else 5)
    args.data, args.teacher = args.data or str(pathlib.Path(args.folder) / "data"), TEACHER
    if args.seeds < 2:
        parser.error("--seeds %d: a difference is told from chance by 2 seeds or more" % args.seeds)
    make(args)
    found, teacher = measure(Bench(args.distill, args.folder, HERE), args)
    table = show(found, BASE, MEASURES, ("perplexity", {way: "%.2f" % math.exp(mean_sd(row["nats"])[0]) for way, row in found.items()}))
    print("teacher: %.4f nats, perplexity %.2f; %d steps, seeds 1 to %d" % (teacher["nats"], math.exp(teacher["nats"]), args.steps, args.seeds))
    out = pathlib.Path(args.folder) / "augmentation.json"
    out.write_text(json.dumps({"steps": args.steps, "base": BASE, "ways": table}, indent=2) + "\n")
    print("left in %s" % out)


if __name__ == "__main__":
    main()
