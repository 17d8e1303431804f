#!/usr/bin/env python3
"""Distils a model into every second of its layers, with a progress line, and shows what came out.

    python3 distill_recipe.py TEACHER TEXT [--steps N] [--output DIR]

TEACHER is a Hugging Face folder or a GGUF file, TEXT a text or JSONL file. Ctrl-C finishes the step.
"""
import argparse
import sys

import distill


def show(progress):
    if progress.phase == "training":
        print(f"\rstep {progress.step}/{progress.steps}  loss {progress.loss:.4f}  {progress.tokens_per_second:.0f} tokens/s ",
              end="", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher")
    parser.add_argument("text")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output", help="folder for the student (default: nothing is written)")
    arguments = parser.parse_args()
    recipe = {
        "teacher": {"path": arguments.teacher},
        "student": {"from": "teacher"},
        "data": {"train": arguments.text, "eval_fraction": 0.1, "sequence_length": 64},
        "loss": {"type": "forward_kl", "temperature": 1.0, "hard_label_weight": 0.1},
        "train": {"steps": arguments.steps, "batch_size": 4, "learning_rate": 1e-3, "warmup_steps": 2},
    }
    if arguments.output:
        recipe["output"] = arguments.output
    try:
        report = distill.run(recipe, on_progress=show)
    except distill.DistillError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"\nKL(teacher || student) = {report['student.forward_kl']:.4f} nats per token")
    print(f"perplexity {report['student.perplexity']:.2f}, the teacher's {report['teacher.perplexity']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
