"""Means and standard deviations over seeds. Usage: seeds.py FOLDER OUT.json"""
import json
import math
import pathlib
import statistics
import sys

folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
NAMES = {"distilled": "distilled, 300 steps", "hard": "hard labels, 300 steps", "hard-twice": "hard labels, 600 steps"}
table = {}
print(f"{'':24}{'held-out nats':>22}{'perplexity':>12}{'KL':>10}{'agreement':>11}{'train s':>9}{'TFLOP':>8}")
for name, title in NAMES.items():
    runs = [json.loads((folder / f"{name}-{seed}" / "result.json").read_text()) for seed in (1, 2, 3)]
    nats = [r["student"]["nats"] for r in runs]
    row = {"nats": statistics.mean(nats), "nats_sd": statistics.stdev(nats)}
    row["perplexity"] = math.exp(row["nats"])
    for key in ("forward_kl", "top1_agreement"):
        row[key] = statistics.mean(r["student"][key] for r in runs)
    for key in ("seconds", "flops"):
        row[key] = statistics.mean(r["training"][key] for r in runs)
    table[name] = row
    print(f"{title:24}{row['nats']:13.4f} +- {row['nats_sd']:.4f}{row['perplexity']:12.2f}{row['forward_kl']:10.4f}{row['top1_agreement']:11.1%}{row['seconds']:9.0f}{row['flops'] / 1e12:8.2f}")
out.write_text(json.dumps(table, indent=2) + "\n")
print(f"\nteacher: {json.loads((folder / 'distilled-1' / 'result.json').read_text())['teacher']['nats']:.4f} nats; left in {out}")
