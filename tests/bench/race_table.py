"""Medians over rounds and ratios to ours. Usage: race_table.py TIMES TOKENS"""
import collections
import pathlib
import statistics
import sys

times = collections.defaultdict(list)
for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
    name, precision, *seconds = line.split()
    times[name, precision].append(tuple(map(float, seconds)))
facts = dict(map(str.strip, line.split(":", 1)) for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if ":" in line)
cpu = "{}, family {}, model {}".format(*(facts.get(name, "?") for name in ("model name", "cpu family", "model")))
print(f"{cpu}, {sys.argv[2]} tokens a step\n\n| who | precision | step s | tokens/s | CPU s | ours is faster by | with less CPU time by |\n|---|---|---|---|---|---|---|")
for (name, precision), all_of in sorted(times.items(), key=lambda item: item[0][1]):
    (step, busy), ours = map(statistics.median, zip(*all_of)), map(statistics.median, zip(*times["libdistill", precision]))
    ratios = " | ".join("" if name.startswith("libdistill") else f"{theirs / own:.2f}x" for theirs, own in zip((step, busy), ours))
    print(f"| {name} | {precision} | {step:.3f} | {int(sys.argv[2]) / step:.0f} | {busy:.3f} | {ratios} |")
