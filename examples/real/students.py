#!/usr/bin/env python3
"""Students of a real model, distilled and on hard labels, and what comes out of them. Run by run.sh; goes on where it stopped."""
import argparse
import json
import pathlib

import outputs
import plan
import tables
from evidence import Bench


def cpu():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if pathlib.Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "not named by this system"


def price(args, times, kind):
    return plan.steps_of(args, times, kind) * times["distilled" if kind == "distilled" else "hard"]


def run(bench, args, shape, times, kind):
    result = plan.train(bench, args, shape, kind, plan.steps_of(args, times, kind))
    return {"steps": result["training"]["steps"], "tokens": result["training"]["tokens"], "cpu_seconds": result["cost"]["cpu_seconds"],
            "seconds": result["cost"]["seconds"], "last": plan.last_of(result), "curve": plan.curve(bench, args, shape, kind, result)}


def products(bench, args, shape):
    """Files, llama.cpp's text and answers of the distilled student."""
    student, held = bench.folder / (plan.folder_of(shape) + "-distilled"), bench.folder / "data" / "text_held.txt"
    files = outputs.once(student / "files.json", lambda: outputs.files(args.distill, student, held))
    texts = outputs.once(student / "continued.json", lambda: outputs.llama_cpp(args.distill, student, bench.folder / "node"))
    return {"files": files, "llama_cpp": texts, "answers": outputs.once(student / "answers.json", lambda: outputs.answers(args.distill, student))}


def save(args, found):
    """After each run, so that what there is can be looked at."""
    (args.folder / "result.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (args.folder / "result.md").write_text(tables.page(found), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--distill", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--students", nargs="+", choices=plan.SHAPES, default=list(plan.SHAPES), help="only these")
    parser.add_argument("--calibration", type=int, default=4096, help="tokens that a student's shape is chosen by")
    args = parser.parse_args()
    shapes = args.students
    bench = Bench(args.distill, args.folder, plan.HERE)
    bench.planned = len(shapes) * (1 + len(plan.KINDS))
    starts = {shape: plan.cut(bench, args, shape) for shape in shapes}
    times = {shape: plan.step_times(bench, args, shape) for shape in shapes}
    bench.costs = {"%s-%s" % (plan.folder_of(shape), kind): price(args, times[shape], kind) for shape in shapes for kind in plan.KINDS}
    teacher = starts[shapes[0]]["teacher"]
    found = {"cpu": cpu(), "material": (args.folder / "data" / "material.txt").read_text(encoding="utf-8").strip(), "steps": args.steps,
             "teacher": {"parameters": teacher["parameters"], "bytes": teacher["bytes"],
                         "answers": outputs.once(args.folder / "teacher_answers.json", lambda: outputs.answers(args.distill, args.teacher)),
                         "sources": plan.teacher_alone(starts[shapes[0]])},
             "students": {}}
    for shape in shapes:
        student = {"parameters": starts[shape]["student"]["parameters"], "shape": starts[shape].get("shape"), "start": plan.last_of(starts[shape]),
                   "times": times[shape], "runs": {}}
        found["students"][shape] = student
        for kind in plan.KINDS:
            student["runs"][kind] = run(bench, args, shape, times[shape], kind)
            if kind == "distilled":
                student.update(products(bench, args, shape))
            save(args, found)
    print((args.folder / "result.md").read_text(encoding="utf-8"))
    print(f"left in {args.folder}/result.md and result.json")


if __name__ == "__main__":
    main()
