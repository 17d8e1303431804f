#!/usr/bin/env python3
"""Puts a distilled student, the same student on hard labels, and their teacher side by side; leaves FOLDER/result.json.

FOLDER holds distilled/ and hard_labels/, output folders of `distill run`.
"""
import argparse
import json
import pathlib
import subprocess
import sys

KEYS = ("perplexity", "nats", "bits_per_byte", "forward_kl", "top1_agreement", "bytes", "parameters", "prompt_tokens_per_second", "decode_tokens_per_second")


def row(model, training):
    """What is known of one model, and what its training cost."""
    out = {key: model[key] for key in KEYS if key in model}
    for key in ("seconds", "flops", "steps"):
        out[key] = training.get(key) if training else None
    return out


def sample(program, model, prompt):
    """A continuation of the prompt, on one line."""
    command = [program, "generate", str(model), "--prompt", prompt, "--max-tokens", "40", "--temperature", "0.7", "--seed", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)["text"].split("\n")[0].strip() if done.returncode == 0 else f"({done.stderr.strip()})"


def cell(value, form):
    return "-" if value is None else form.format(value)


def table(rows):
    """The rows as text, a column each."""
    columns = (("", "name", "{}"), ("perplexity", "perplexity", "{:.2f}"), ("KL", "forward_kl", "{:.4f}"), ("agree", "top1_agreement", "{:.1%}"),
               ("MB", "megabytes", "{:.1f}"), ("prompt tok/s", "prompt_tokens_per_second", "{:.0f}"), ("decode tok/s", "decode_tokens_per_second", "{:.0f}"),
               ("train s", "seconds", "{:.0f}"), ("train TFLOP", "teraflops", "{:.2f}"))
    lines = [[title for title, _, _ in columns]]
    for name, values in rows:
        values = dict(values, name=name, megabytes=values["bytes"] / 1e6 if values.get("bytes") else None,
                      teraflops=values["flops"] / 1e12 if values.get("flops") else None)
        lines.append([cell(values.get(key), form) for _, key, form in columns])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join("  ".join(text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(zip(line, widths))) for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--distill", required=True, help="the program")
    parser.add_argument("--teacher", required=True, help="its folder or file, for the sample")
    parser.add_argument("--prompt", default="a kind of")
    args = parser.parse_args()
    runs = {name: json.loads((args.folder / name / "result.json").read_text()) for name in ("distilled", "hard_labels")}
    result = {"teacher": row(runs["distilled"]["teacher"], None)}
    result.update((name, row(run["student"], run["training"])) for name, run in runs.items())
    (args.folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")

    print("\nOn text that no model has seen (KL and agreement with the teacher):\n")
    print(table((("teacher", result["teacher"]), ("distilled student", result["distilled"]), ("on hard labels", result["hard_labels"]))))
    if "perplexity" in result["teacher"]:
        gap = result["hard_labels"]["nats"] - result["teacher"]["nats"]
        closed = (result["hard_labels"]["nats"] - result["distilled"]["nats"]) / gap if gap > 0 else 0
        print(f"\nAt equal steps distilling closes {closed:.0%} of the gap to the teacher; a step costs about twice as much, since the teacher runs too.")
        print("It pays where you have the teacher but little of its text.")
    print(f"\n\"{args.prompt} ...\"")
    for name, model in (("teacher", args.teacher), ("distilled", args.folder / "distilled"), ("hard labels", args.folder / "hard_labels")):
        print(f"  {name + ':':13}{sample(args.distill, model, args.prompt)}")
    print(f"\nresult.json and both students are in {args.folder}")
    better = all(result["distilled"][key] < result["hard_labels"][key] for key in ("perplexity", "forward_kl"))
    if not better:
        sys.exit("the distilled student did not win on perplexity and KL: try more steps or another learning rate")


if __name__ == "__main__":
    main()
