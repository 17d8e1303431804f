#!/usr/bin/env python3
"""CPU seconds of a step, distilled and on hard labels, in turn in one process: what else the machine does falls on both.

Usage: turns.py RECIPE.json [STEPS]; RECIPE is what both have in common. Prints {"distilled": seconds, "hard": seconds}, medians.
"""
import json
import pathlib
import statistics
import sys
import time

import distill


def main():
    recipe, steps = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    env = distill.Env()
    trainers = {name: distill.Trainer(recipe, settings={"loss.hard_label_weight": weight, "train.steps": steps + 1}, env=env)
                for name, weight in (("distilled", 0.1), ("hard", 1))}
    took = {name: [] for name in trainers}
    for _ in range(steps + 1):
        for name, trainer in trainers.items():
            before = time.process_time()
            trainer.step()
            took[name].append(time.process_time() - before)
    print(json.dumps({name: statistics.median(each[1:]) for name, each in took.items()}))  # the first step also finds its memory


if __name__ == "__main__":
    main()
