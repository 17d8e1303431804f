"""Medians over rounds and ratios to ours. Usage: race_table.py TIMES TOKENS"""
import collections
import pathlib
import statistics
import sys

times = collections.defaultdict(list)
for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
    name, precision, seconds = line.split()
    times[name, precision].append(float(seconds))
cpu = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
print(f"{cpu}, {sys.argv[2]} tokens a step\n\n| who | precision | step s | tokens/s | ours is faster by |\n|---|---|---|---|---|")
for (name, precision), all_of in sorted(times.items(), key=lambda item: item[0][1]):
    step = statistics.median(all_of)
    ratio = step / statistics.median(times["libdistill", precision])
    print(f"| {name} | {precision} | {step:.3f} | {int(sys.argv[2]) / step:.0f} | {'' if name == 'libdistill' else f'{ratio:.2f}x'} |")
