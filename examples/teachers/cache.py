#!/usr/bin/env python3
"""The quickstart's student from each tier of a cache. Run by cache.sh."""
import argparse
import json
import math
import pathlib
import subprocess
import sys

from evidence import SEEDS, Bench, mean_sd

TIERS = {
    "hidden f32": {"tier": "hidden"},
    "hidden bf16": {"tier": "hidden", "precision": "bf16"},
    "top-50": {"tier": "top_k", "k": 50},
    "sampled, 12 draws": {"tier": "sampled", "draws": 12},
}
MODES = ["hard labels", "live", *TIERS]


def path_of(bench, mode):
    return bench.folder / (mode.replace(",", "").replace(" ", "_") + ".dtc")


def build(bench, mode, args):
    """The cache of a tier, filled; what `distill cache inspect` says of it."""
    settings = ["--set", "data.separator=", "--set", "data.sequence_length=128"]
    for key, value in TIERS[mode].items():
        settings += ["--set", "teacher.cache.%s=%s" % (key, value)]
    command = [args.distill, "cache", "build", "--teacher", args.teacher, "--data", str(bench.folder / "data" / "transfer.txt"), "--cache",
               str(path_of(bench, mode)), *settings]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        sys.exit(1)
    done = subprocess.run([args.distill, "cache", "inspect", str(path_of(bench, mode)), "--json"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def settings_of(bench, mode, seed, args):
    data = bench.folder / "data"
    settings = {"teacher.path": args.teacher, "student.from": "teacher", "student.layers": [0, 7], "data.train": str(data / "transfer.txt"),
                "train.seed": seed, "train.steps": 150, "loss.hard_label_weight": int(mode == "hard labels")}
    if mode in TIERS:
        settings["teacher.cache"] = {"path": str(path_of(bench, mode)), **TIERS[mode]}
    return settings


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--distill", required=True)
    parser.add_argument("--teacher", required=True)
    args = parser.parse_args()
    bench = Bench(args.distill, args.folder, pathlib.Path(__file__).resolve().parent)
    bench.planned = len(MODES) * len(SEEDS)
    caches = {mode: build(bench, mode, args) for mode in TIERS}
    runs = {mode: [] for mode in MODES}
    for seed in SEEDS:  # in turn, so that a busy minute is everybody's
        for mode in MODES:
            name = "%s-%d" % (mode.replace(",", "").replace(" ", "_"), seed)
            training = bench.run(name, "student.yaml", settings_of(bench, mode, seed, args))["training"]
            runs[mode].append({"speed": training["tokens"] / training["seconds"],
                               **bench.evaluate(name, "held_out.txt", pathlib.Path(args.teacher))})
    table = {}
    print(f"\n{'':20}{'MB':>8}{'bytes/token':>13}{'tokens/s':>10}{'of hard labels':>16}{'perplexity':>12}{'KL to the teacher':>24}")
    for mode, found in runs.items():
        row = table[mode] = {key: mean_sd(one[key] for one in found) for key in ("speed", "nats", "forward_kl")}
        cache = caches.get(mode)
        row["bytes"], row["rows"] = (cache["bytes"], cache["rows"]) if cache else (None, None)
        row["of_hard_labels"] = row["speed"][0] / table["hard labels"]["speed"][0]
        size = f"{cache['bytes'] / 1e6:8.1f}{cache['bytes'] / cache['rows']:13.1f}" if cache else f"{'':8}{'':13}"
        print(f"{mode:20}{size}{row['speed'][0]:10.0f}{row['of_hard_labels']:16.1%}{math.exp(row['nats'][0]):12.2f}{row['forward_kl'][0]:14.4f} +- {row['forward_kl'][1]:.4f}")
    out = bench.folder / "cache.json"
    out.write_text(json.dumps(table, indent=2) + "\n")
    print(f"left in {out}")


if __name__ == "__main__":
    main()
