"""Means over five seeds in fp32 and in bf16, and whether they are two standard deviations apart. Usage: precision.py FOLDER"""
import json
import pathlib
import statistics
import sys

folder, apart = pathlib.Path(sys.argv[1]), 0
print(f"{'':14}{'fp32':>12}{'sd':>10}{'bf16':>12}{'difference':>12}{'in sd':>8}")
for key in ("nats", "perplexity", "forward_kl"):
    values = {p: [json.loads((folder / f"{p}-{seed}" / "result.json").read_text())["student"][key] for seed in range(1, 6)] for p in ("fp32", "bf16")}
    deviation = statistics.stdev(values["fp32"])
    difference = statistics.mean(values["bf16"]) - statistics.mean(values["fp32"])
    apart += abs(difference) > 2 * deviation
    print(f"{key:14}{statistics.mean(values['fp32']):12.5f}{deviation:10.5f}{statistics.mean(values['bf16']):12.5f}{difference:12.5f}{abs(difference) / deviation:8.2f}")
print("bf16 is harmless here" if not apart else "bf16 changes the result")
sys.exit(apart > 0)
