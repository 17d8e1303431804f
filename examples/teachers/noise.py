#!/usr/bin/env python3
"""Students of a good and a bad teacher. Run by noise.sh."""
import argparse
import json
import math
import pathlib

from evidence import SEEDS, Bench, mean_sd
from specialist import specialist

BAD_STEPS = 75  # 5 % of the good one's; the end of its warm-up, so that these are the steps that the good one began with
BLEND = {"of": ["bad", "good"]}
MODES = {
    "good alone": {"teacher": "good"},
    "bad alone": {"teacher": "bad"},
    "equal weights": {"teacher": {"blend": BLEND}},
    "learned weights": {"teacher": {"blend": {**BLEND, "weighting": "learned"}}},
    "per token, entropy": {"teacher": {"blend": {**BLEND, "weighting": "entropy", "weighting_temperature": 0.25}}},
    "per token, true label": {"teacher": {"blend": {**BLEND, "weighting": "label", "weighting_temperature": 0.05}}},
}


def measure(bench, mode, seed):
    name = "noise/%s-%d" % (mode.replace(",", "").replace(" ", "_"), seed)
    settings = {
        "teachers": {"good": {"path": str(bench.folder / "pt")}, "bad": {"path": str(bench.folder / "pt_early")}},
        **MODES[mode],
        "student.config": str(bench.folder / "model" / "student.json"),
        "data.train": str(bench.folder / "data" / "transfer_pt.txt"),
        "data.eval": str(bench.folder / "data" / "held_pt.txt"),
        "train.seed": seed,
    }
    bench.run(name, "student.yaml", settings)
    return bench.evaluate(name, "held_pt.txt", "pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--distill", required=True)
    args = parser.parse_args()
    bench = Bench(args.distill, args.folder, pathlib.Path(__file__).resolve().parent)
    bench.planned = 2 + len(MODES) * len(SEEDS)
    specialist(bench, "pt")
    specialist(bench, "pt", BAD_STEPS, "pt_early")
    table = {}
    for mode in MODES:
        found = [measure(bench, mode, seed) for seed in SEEDS]
        table[mode] = {key: mean_sd(one[key] for one in found) for key in ("nats", "forward_kl")}
    print(f"\n{'student of':24}{'perplexity':>12}{'recovered':>11}{'KL to the good one':>24}{'recovered':>11}")
    for mode, row in table.items():
        for key in ("nats", "forward_kl"):
            good, bad = table["good alone"][key][0], table["bad alone"][key][0]
            row[key + "_recovered"] = (bad - row[key][0]) / (bad - good)
        kl = "%.4f +- %.4f" % row["forward_kl"]
        print(f"{mode:24}{math.exp(row['nats'][0]):12.2f}{row['nats_recovered']:11.0%}{kl:>24}{row['forward_kl_recovered']:11.0%}")
    print("\nrecovered: 0 % = as the bad one alone, 100 % = as the good one alone; the bar for learned or per-token weights is 90 %")
    out = bench.folder / "noise.json"
    out.write_text(json.dumps(table, indent=2) + "\n")
    print(f"left in {out}")


if __name__ == "__main__":
    main()
