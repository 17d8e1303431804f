#!/usr/bin/env python3
"""Students of labelled texts, and what they are worth beside their teacher. Usage: students.py FOLDER --distill PROGRAM --teacher MODEL"""
import argparse
import hashlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import distill
from label import QUESTION, TOPICS

RECIPE = pathlib.Path(__file__).with_name("topics.yaml")
SEEDS = (1, 2, 3)
LABELLED = "labelled.jsonl"
MORE = "more.jsonl"  # texts with WordNet's topic that the teacher was not asked about
VARIANTS = {  # name: (options, what is learnt: a key of KINDS)
    "n-grams, f16": ({}, "teacher"),
    "n-grams, int8": ({"classifier.type": "int8"}, "teacher"),
    "n-grams, 14 bits, int8": ({"classifier.type": "int8", "classifier.ngrams.bits": 14}, "teacher"),
    "n-grams, 14 bits, 64 hidden": ({"classifier.hidden": 64, "classifier.ngrams.bits": 14, "train.learning_rate": 0.01}, "teacher"),
    "the teacher's answers alone": ({}, "answers"),
    "where the teacher is right": ({}, "verified"),
    "WordNet's own topics": ({}, "wordnet"),
    "half teacher, half WordNet": ({"loss.hard_label_weight": 0.5}, "both"),
    "the same, and more of WordNet": ({"loss.hard_label_weight": 0.5}, "more"),
    "WordNet's own topics, and more of it": ({}, "more_wordnet"),
}


def hard(row, label):
    return {"id": row["id"], "text": row["text"], "label": label}


KINDS = {  # rows with the teacher's probabilities, and those that have WordNet's topic alone: what is learnt of them
    "teacher": lambda rows, more: rows,
    "answers": lambda rows, more: [hard(row, likeliest(row)) for row in rows],
    "verified": lambda rows, more: [row for row in rows if likeliest(row) == row["wordnet"]],
    "wordnet": lambda rows, more: [hard(row, row["wordnet"]) for row in rows],
    "both": lambda rows, more: [dict(row, label=row["wordnet"]) for row in rows],
    "more": lambda rows, more: [dict(row, label=row["wordnet"]) for row in rows] + [hard(row, row["wordnet"]) for row in more],
    "more_wordnet": lambda rows, more: [hard(row, row["wordnet"]) for row in rows + more],
}


def likeliest(row):
    return max(TOPICS, key=row["probabilities"].get)


def interval(events, trials):
    """Clopper and Pearson's, 95 %: by bisection of binomial sums."""
    from math import exp, lgamma, log, log1p

    def at_most(k, p):
        if p <= 0:
            return 1.0
        if p >= 1:
            return float(k >= trials)
        return sum(exp(lgamma(trials + 1) - lgamma(i + 1) - lgamma(trials - i + 1) + i * log(p) + (trials - i) * log1p(-p)) for i in range(k + 1))

    def bisect(holds):
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if holds(middle) else (low, middle)
        return low
    least = bisect(lambda p: 1 - at_most(events - 1, p) < 0.025) if events else 0.0
    most = bisect(lambda p: at_most(events, p) > 0.025) if events < trials else 1.0
    return least, most


def share(events, trials):
    low, high = interval(events, trials)
    return "%.1f %% (%.1f to %.1f)" % (100 * events / trials, 100 * low, 100 * high)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def part(folder):
    """Files of what is learnt, of what chooses thresholds, and the rows of the test."""
    rows, more = read(folder / LABELLED), read(folder / MORE)
    a, b = len(rows) * 6 // 10, len(rows) * 8 // 10
    write(folder / "held_out.jsonl", rows[a:b])
    for kind, learnt in KINDS.items():
        write(folder / ("train_%s.jsonl" % kind), learnt(rows[:a], more))
    write(folder / "test.jsonl", rows[b:])
    return rows, rows[b:], len(more)


def train(program, folder, name, options, kind, seed):
    out = folder / ("%s_%d" % (name.replace(" ", "_").replace(",", "").replace("'", ""), seed))
    settings = dict(options, **{"data.train": str(folder / ("train_%s.jsonl" % kind)), "data.eval": str(folder / "held_out.jsonl"),
                                "train.seed": seed, "output.path": str(out), "output.overwrite": True, "classifier.question": QUESTION,
                                "classifier.question_chat": False})
    command = [program, "classify", "train", str(RECIPE), "--quiet", "--json"]
    for key, value in settings.items():
        command += ["--set", "%s=%s" % (key, json.dumps(value))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return out, json.loads(done.stdout)


def once(path, made_of, make):
    """What make gives, kept as JSON until something that it is made of changes."""
    mark = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if kept.get("made_of") != mark:
        kept = {"made_of": mark, "found": make()}
        path.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    return kept["found"]


def trained_and_measured(args, name, seed, test):
    options, kind = VARIANTS[name]
    print("== %s, seed %d" % (name, seed), file=sys.stderr, flush=True)

    def make():
        out, result = train(args.distill, args.folder, name, options, kind, seed)
        return dict(measure(out, test), cpu_seconds=result["cost"]["cpu_seconds"])
    texts = [(args.folder / file).read_text(encoding="utf-8") for file in ("train_%s.jsonl" % kind, "held_out.jsonl", "test.jsonl")]
    return once(args.folder / ("measured_%d_%d.json" % (list(VARIANTS).index(name), seed)), [name, options, QUESTION, RECIPE.read_text(), *texts], make)


def latency(student, texts):
    """Microseconds of one answer, the call from Python included: median and 99th of a hundred."""
    for text in texts[:50]:
        student.predict(text)
    spent = []
    for text in texts * 3:
        began = time.perf_counter()
        student.predict(text)
        spent.append(1e6 * (time.perf_counter() - began))
    spent.sort()
    return spent[len(spent) // 2], spent[len(spent) * 99 // 100]


def measure(out, test):
    student = distill.Classifier(out)
    verdicts = student.predict([row["text"] for row in test])
    p50, p99 = latency(student, [row["text"] for row in test])
    return {
        "agrees": sum(v.label == likeliest(row) for v, row in zip(verdicts, test)),
        "right": sum(v.label == row["wordnet"] for v, row in zip(verdicts, test)),
        "alone_right": sum(v.label == row["wordnet"] != likeliest(row) for v, row in zip(verdicts, test)),
        "answered": sum(v.sure for v in verdicts),
        "answered_wrong": sum(v.sure and v.label != likeliest(row) for v, row in zip(verdicts, test)),
        "cascade_right": sum((v.label if v.sure else likeliest(row)) == row["wordnet"] for v, row in zip(verdicts, test)),
        "threshold": student["threshold"], "p50_us": p50, "p99_us": p99,
        "bytes": sum(path.stat().st_size for path in out.iterdir() if path.name in ("model.safetensors", "config.json")),
    }


def chance(wins, losses):
    """That of n texts which one of two alone gets right so many or more fall to one side, by tosses of a coin (McNemar's exact test)."""
    from math import comb
    n, k = wins + losses, min(wins, losses)
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2 ** n)


def verdicts_on(results, right, n):
    """Who is right more often, the student or its teacher, by the texts that one of them alone gets right."""
    lines = ["| student | right | teacher | it alone | the teacher alone | by chance | |", "|---|---|---|---|---|---|---|"]
    for name, runs in results.items():
        run = runs[0]
        wins, losses = run["alone_right"], right - (run["right"] - run["alone_right"])
        rare = chance(wins, losses)
        lines.append("| %s | %.1f %% (three seeds: %.1f ± %.1f) | %.1f %% | %d | %d | %.2g | %s |" % (
            name, 100 * run["right"] / n, 100 * mean(runs, "right") / n, 100 * statistics.stdev(run["right"] / n for run in runs), 100 * right / n, wins, losses, rare,
            "not told apart" if rare >= 0.05 else "wins" if wins > losses else "loses"))
    return lines


def mean(runs, key):
    return statistics.mean(run[key] for run in runs)


def tables(folder, teacher, rows, test, more, results):
    n, right = len(test), sum(likeliest(row) == row["wordnet"] for row in test)
    cost = folder / "labelled.cost.json"
    per_text = json.loads(cost.read_text()) if cost.exists() else None
    lines = ["Teacher: %s, %.0f MB. %d texts, %d of the test; %d more with WordNet's topic alone; three seeds, intervals of the first. %s" % (
        pathlib.Path(teacher).name, size(teacher) / 1e6, len(rows), n, more, platform.machine()), "",
        "| | size | agrees with the teacher | WordNet's topic | an answer, p50 (p99) |", "|---|---|---|---|---|",
        "| teacher | %.0f MB | | %s | %s |" % (size(teacher) / 1e6, share(right, n), "%.0f ms of CPU" % (1000 * per_text["cpu_seconds"] / per_text["texts"]) if per_text else "")]
    for name, runs in results.items():
        spread = " ± %.1f" % (100 * statistics.stdev(run["agrees"] / n for run in runs)) if len(runs) > 1 else ""
        lines.append("| %s | %.2f MB | %s%s | %s | %.0f µs (%.0f) |" % (name, runs[0]["bytes"] / 1e6, share(runs[0]["agrees"], n), spread, share(runs[0]["right"], n),
                                                                       mean(runs, "p50_us"), mean(runs, "p99_us")))
    lines += ["", "The cascade: what the student is sure of it answers, the rest is the teacher's. Asked for: 95 %% agreement, with confidence 0.95, by %d held-out texts." % (
        len(rows) * 8 // 10 - len(rows) * 6 // 10), "", "| student | threshold | answers by itself | agreement of the cascade, on the test | WordNet's topic |", "|---|---|---|---|---|"]
    for name, runs in results.items():
        run = runs[0]
        lines.append("| %s | %s | %.1f %% | %s | %s |" % (name, "%.3f" % run["threshold"] if run["threshold"] <= 1 else "always asks", 100 * mean(runs, "answered") / n,
                                                       share(n - run["answered_wrong"], n), share(run["cascade_right"], n)))
    lines += ["", "Who is right (first seed; texts that one alone gets right, McNemar's exact test):", "", *verdicts_on(results, right, n)]
    lines += ["", "A student's training took %.1f s of CPU." % statistics.mean(run["cpu_seconds"] for runs in results.values() for run in runs)]
    broken = sum(interval(n - run["answered_wrong"], n)[1] < 0.95 for runs in results.values() for run in runs)
    lines += ["", "The test speaks against the promise of %d of %d students (their whole interval is below 95 %%). A teacher that always gave the commonest topic would be WordNet's in %.1f %%." % (
        broken, sum(map(len, results.values())), 100 * max(sum(row["wordnet"] == topic for row in test) for topic in TOPICS) / n)]
    return "\n".join(lines)


def size(path):
    path = pathlib.Path(path)
    return path.stat().st_size if path.is_file() else sum(item.stat().st_size for item in path.rglob("*") if item.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--distill", required=True)
    parser.add_argument("--teacher", required=True)
    args = parser.parse_args()
    rows, test, more = part(args.folder)
    results = {name: [trained_and_measured(args, name, seed, test) for seed in SEEDS] for name in VARIANTS}
    table = tables(args.folder, args.teacher, rows, test, more, results)
    (args.folder / "result.md").write_text(table + "\n", encoding="utf-8")
    (args.folder / "result.json").write_text(json.dumps({"texts": len(rows), "test": len(test), "more": more, "teacher": os.path.basename(args.teacher), "students": results}, indent=1) + "\n",
                                             encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
