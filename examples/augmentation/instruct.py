#!/usr/bin/env python3
"""Half of SmolLM2 learns its answers to questions, to those and its own questions, and the best of four. Run by instruct.sh."""
import argparse
import collections
import json
import pathlib

from compare import augment
from evidence import Bench
from material import chats
from paired import show
from writing import Judge, likelihood

RECIPE = "../real/student.yaml"
WAYS = {"seeds answered": ["seeds_answered.jsonl"], "+ magpie": ["seeds_answered.jsonl", "magpie.jsonl"], "+ best of 4, curated": ["best.jsonl"]}
BASE = "seeds answered"
MEASURES = {"forward_kl": ("KL", "{:.4f}"), "top1_agreement": ("agreement", "{:.2%}"), "sample_nats": ("nats of answers", "{:.3f}"),
            "rouge_l": ("ROUGE-L", "{:.3f}")}
LONGEST_QUESTION = 300  # characters: question and answer fit into a window


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def questions(args):
    """Seeds and held-out ones, each once, out of alpaca_libre and llms_from_scratch."""
    asked = dict.fromkeys(json.loads(line)["messages"][0]["content"] for line in chats(args.assets))
    asked = [text for text in asked if len(text) <= LONGEST_QUESTION]
    for name, some in (("seeds", asked[:args.questions]), ("held", asked[args.questions:args.questions + args.held])):
        write(args.folder / (name + ".jsonl"), [{"id": "%s%d" % (name.rstrip("s"), i), "messages": [{"role": "user", "content": text}]} for i, text in enumerate(some)])


def first_answers(folder):
    """Of four answers the first that there is, seeds and magpie apart."""
    first = collections.OrderedDict()
    for row in read(folder / "answered.jsonl"):
        first.setdefault(row["id"].rsplit("/", 1)[0], row)
    write(folder / "seeds_answered.jsonl", [row for row in first.values() if row["id"].startswith("seed")])
    write(folder / "magpie.jsonl", [row for row in first.values() if not row["id"].startswith("seed")])


def make(args):
    """All that is learnt from and measured on; how many samples each way has."""
    folder = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    questions(args)
    augment(args, "instruct.yaml", folder / "seeds.jsonl", "answered.jsonl", "augment.steps.0.n=%d" % args.magpie)
    augment(args, "answer.yaml", folder / "held.jsonl", "held_answered.jsonl")
    augment(args, "choose.yaml", folder / "answered.jsonl", "best.jsonl", "augment.steps.3.with=%s" % (folder / "held.jsonl"))
    first_answers(folder)
    return {way: sum(len(read(folder / name)) for name in names) for way, names in WAYS.items()}


def common(args):
    return {"teacher.path": str(args.teacher), "data.eval": str(args.folder / "held_answered.jsonl"), "loss.hard_label_weight": 0, "train.batch_size": 2}


def cut(bench, args):
    """Fifteen of thirty blocks, chosen by what the teacher makes of the seeds: all students begin as it."""
    bench.run("cut", RECIPE, {**common(args), "data.train": str(args.folder / "seeds_answered.jsonl"), "student.from": "teacher", "student.layers": "auto:15",
                              "student.calibration_tokens": 512 if args.quick else 4096, "train.steps": 0, "output.type": "f32"})


def held_out(tokenizer, folder):
    """The questions as the teacher is asked them."""
    return [tokenizer.encode(tokenizer.chat(row["messages"]), special=False) for row in read(folder / "held.jsonl")]


def measure(bench, judge, args):
    """{way: {measure: [of each seed]}}"""
    found = {way: {key: [] for key in MEASURES} for way in WAYS}
    names = {(way, seed): "%s-%d" % (pathlib.Path(WAYS[way][-1]).stem, seed) for seed in range(1, args.seeds + 1) for way in WAYS}
    bench.planned, bench.costs = len(names) + 1, dict.fromkeys(names.values(), 1)
    for (way, seed), name in names.items():  # seed by seed: what is there after a stop compares all ways
        result = bench.run(name, RECIPE, {**common(args), "student.path": str(args.folder / "cut"), "train.seed": seed, "train.steps": args.steps,
                                          "train.warmup_steps": min(10, args.steps // 4), "train.eval_precision": "auto",
                                          "data.train": [{"path": str(args.folder / file), "source": pathlib.Path(file).stem} for file in WAYS[way]]})
        figures = {**result["student"], **judge.kept(args.folder / name, exposure=False)}
        for key in MEASURES:
            found[way][key].append(figures[key])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--distill", required=True)
    parser.add_argument("--teacher", type=pathlib.Path, required=True)
    parser.add_argument("--assets", type=pathlib.Path, required=True, help="folder with instruct/")
    parser.add_argument("--questions", type=int, help="seeds; 200 unless said otherwise")
    parser.add_argument("--held", type=int, help="questions held out; 64 unless said otherwise")
    parser.add_argument("--magpie", type=int, help="questions that the teacher makes; 1200 unless said otherwise, of which some 1,000 end in time")
    parser.add_argument("--steps", type=int, help="of each student; 150 unless said otherwise")
    parser.add_argument("--seeds", type=int, help="3 unless said otherwise")
    parser.add_argument("--quick", action="store_true", help="a few tiny steps of two seeds, to see that it runs: its numbers say nothing")
    args = parser.parse_args()
    args.magpie, args.steps, args.seeds = args.magpie or (8 if args.quick else 1200), args.steps or (2 if args.quick else 150), args.seeds or (2 if args.quick else 3)
    args.questions, args.held, length = args.questions or (8 if args.quick else 200), args.held or (4 if args.quick else 64), 8 if args.quick else 64
    args.folder = args.folder.resolve()
    if args.seeds < 2:
        parser.error("--seeds %d: a difference is told from chance by 2 seeds or more" % args.seeds)
    counts = make(args)
    bench = Bench(args.distill, args.folder, pathlib.Path(__file__).resolve().parent)
    cut(bench, args)
    judge = Judge(args.teacher, lambda words: held_out(words, args.folder), length)
    start = {**json.loads((args.folder / "cut" / "result.json").read_text())["student"], **judge.kept(args.folder / "cut", exposure=False)}
    found = measure(bench, judge, args)
    table = show(found, BASE, MEASURES, ("samples", {way: str(count) for way, count in counts.items()}))
    print("before training: " + ", ".join("%s %s" % (title, form.format(start[key])) for key, (title, form) in MEASURES.items()))
    print("nats of answers: what the teacher gives the student's answers, a token (its own: %.3f); %d steps, %d questions held out" % (
        likelihood(judge.teacher, judge.prompts, judge.written), args.steps, len(judge.prompts)))
    out = args.folder / "instruct.json"
    out.write_text(json.dumps({"steps": args.steps, "base": BASE, "samples": counts, "start": {key: start[key] for key in MEASURES}, "ways": table}, indent=2) + "\n")
    print("left in %s" % out)


if __name__ == "__main__":
    main()
