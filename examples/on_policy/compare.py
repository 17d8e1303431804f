#!/usr/bin/env python3
"""The quickstart's student on hard labels, on distributions over the data, and on its own text. Run by compare.sh."""
import argparse
import json
import pathlib

from evidence import Bench
from paired import show
from writing import Judge, likelihood, prompts_of

OWN = {"lambda": 0.5, "max_new_tokens": 48, "prompt_tokens": 16}
WAYS = {"hard labels": {"loss.type": "cross_entropy"}, "forward_kl": {"loss.type": "forward_kl"}, "reverse_kl": {"loss.type": "reverse_kl"},
        "jsd": {"loss.type": "jsd"}, "skew_reverse_kl": {"loss.type": "skew_reverse_kl"},
        "on-policy jsd": {"loss.type": "jsd", "train.on_policy": OWN}, "on-policy reverse_kl": {"loss.type": "reverse_kl", "train.on_policy": OWN}}
BASE = "forward_kl"
MEASURES = {"forward_kl": ("KL", "{:.4f}"), "top1_agreement": ("agreement", "{:.2%}"), "nats": ("nats", "{:.4f}"), "rouge_l": ("ROUGE-L", "{:.3f}"),
            "sample_nats": ("nats of samples", "{:.3f}"), "exposure_bias": ("exposure bias", "{:.1%}")}
RECIPE = "../quickstart/recipe.yaml"
QUICK = {"data.sequence_length": 64, "train.batch_size": 2, "train.warmup_steps": 1, "train.eval_tokens": 256}


def settings_of(args, way, seed, steps):
    folder = pathlib.Path(args.data)
    settings = {"data.train": str(folder / "transfer.txt"), "data.eval": str(folder / "held_out.txt"), "train.seed": seed, "train.steps": steps,
                "loss.hard_label_weight": 0, **WAYS[way]}
    return {**settings, **(QUICK if args.quick else {})}


def steps_at_equal_flop(args, bench):
    """How many steps each way makes for the operations that the dearest one takes, by a short run of each."""
    steps = max(2, args.steps // 10)
    flops = {way: bench.run("pilot-%s" % way.replace(" ", "-"), RECIPE, settings_of(args, way, 1, steps))["training"]["flops"] for way in WAYS}
    dearest = max(flops.values())
    return {way: round(args.steps * dearest / value) for way, value in flops.items()}


def measure(bench, judge, args, steps, mark):
    """{way: {measure: [of each seed]}}"""
    found = {way: {key: [] for key in MEASURES} for way in WAYS}
    for seed in range(1, args.seeds + 1):  # what is there after a stop compares all ways
        for way in WAYS:
            name = "%s-%s-%d" % (mark, way.replace(" ", "-"), seed)
            result = bench.run(name, RECIPE, settings_of(args, way, seed, steps[way]))
            figures = {**result["student"], **judge.kept(bench.folder / name)}
            for key in MEASURES:
                found[way][key].append(figures[key])
    return found


def told(title, found, steps):
    print("\n" + title, end="")
    return show(found, BASE, MEASURES, ("steps", {way: str(count) for way, count in steps.items()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--distill", required=True)
    parser.add_argument("--data", help="folder with transfer.txt and held_out.txt; FOLDER/data unless said otherwise")
    parser.add_argument("--steps", type=int, help="of each student at equal steps; 150 unless said otherwise")
    parser.add_argument("--seeds", type=int, help="5 unless said otherwise")
    parser.add_argument("--quick", action="store_true", help="a few tiny steps of two seeds, to see that it runs: its numbers say nothing")
    args = parser.parse_args()
    args.steps, args.seeds = args.steps or (4 if args.quick else 150), args.seeds or (2 if args.quick else 5)
    args.data = args.data or str(pathlib.Path(args.folder) / "data")
    if args.seeds < 2:
        parser.error("--seeds %d: a difference is told from chance by 2 seeds or more" % args.seeds)
    here = pathlib.Path(__file__).resolve().parent
    bench = Bench(args.distill, args.folder, here)
    bench.planned = len(WAYS) * (1 + 2 * args.seeds)
    count, prompt, length = (4, 8, 8) if args.quick else (64, 16, 48)
    judge = Judge(here.parent / "quickstart" / "teacher", lambda words: prompts_of(words, pathlib.Path(args.data) / "held_out.txt", count, prompt), length)
    equal = dict.fromkeys(WAYS, args.steps)
    same_flop = steps_at_equal_flop(args, bench)
    table = {"equal_steps": told("at equal steps", measure(bench, judge, args, equal, "steps"), equal),
             "equal_flop": told("at equal FLOP", measure(bench, judge, args, same_flop, "flop"), same_flop)}
    print("nats of samples: what the teacher gives the student's text, a token (its own: %.3f); exposure bias: excess KL along the student's own text" %
          likelihood(judge.teacher, judge.prompts, judge.written))
    out = pathlib.Path(args.folder) / "on_policy.json"
    out.write_text(json.dumps({"seeds": args.seeds, "base": BASE, **table}, indent=2) + "\n")
    print("left in %s" % out)


if __name__ == "__main__":
    main()
