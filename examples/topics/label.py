#!/usr/bin/env python3
"""Asks a teacher for the topic of each text: probabilities of the topics, by scoring each behind a prompt with an example of every one.

Goes on where it stopped: a line is written for each text when it is there, and a line that was cut off is written again.
Usage: label.py MODEL TEXTS.jsonl OUT.jsonl [--precision bf16|fp32]
"""
import argparse
import json
import pathlib
import sys
import time

import distill

EXAMPLES = """spaniel: a dog with long ears. Topic: animal
oak: a tree that bears acorns. Topic: plant
soup: liquid food of meat or vegetables. Topic: food
lawyer: one who gives legal advice. Topic: person
elbow: joint between forearm and upper arm. Topic: body
Paris: the capital of France. Topic: place
hammer: a tool for driving nails. Topic: object
"""
TOPICS = ["animal", "plant", "food", "person", "body", "place", "object"]
QUESTION = EXAMPLES + "{text}. Topic:"


def whole_lines(path):
    """How many there are; what follows the last one is cut off."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with open(path, "r+b") as file:
            file.truncate(end)
    return data[:end].count(b"\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model")
    parser.add_argument("texts", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--precision", default="fp32", choices=("bf16", "fp32"))
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.texts.read_text(encoding="utf-8").splitlines()]
    done = whole_lines(args.out)
    if done == len(rows):
        return
    teacher, began, spent, told = distill.Teacher(args.model), time.time(), time.process_time(), 0.0
    with open(args.out, "a", encoding="utf-8") as out:
        for number, row in enumerate(rows[done:], done + 1):
            shares = distill.choose(teacher, QUESTION.replace("{text}", row["text"]), [" " + topic for topic in TOPICS], precision=args.precision)
            row["probabilities"] = {topic: shares[" " + topic] for topic in TOPICS}
            out.write(json.dumps(row) + "\n")
            out.flush()
            if time.time() - told > 5 or number == len(rows):
                told = time.time()
                left = (told - began) / (number - done) * (len(rows) - number)
                print("labelled %d of %d, %.0f s of CPU, %.0f s to go" % (number, len(rows), time.process_time() - spent, left), file=sys.stderr, flush=True)
    cost = args.out.with_suffix(".cost.json")
    before = json.loads(cost.read_text()) if cost.exists() else {"texts": 0, "cpu_seconds": 0}
    cost.write_text(json.dumps({"texts": before["texts"] + len(rows) - done, "cpu_seconds": before["cpu_seconds"] + time.process_time() - spent}))


if __name__ == "__main__":
    main()
