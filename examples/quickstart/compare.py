#!/usr/bin/env python3
"""Trains students of one teacher with `distill run`, distilled and on hard labels, and puts them side by side.

Every student starts from the same weights and sees the same batches. FOLDER gets an output folder for each and result.json.
"""
import argparse
import itertools
import json
import pathlib
import subprocess
import sys
import time

from savings import savings
from verdict import choose, gap_closed, table, verdict

KEYS = ("perplexity", "nats", "bits_per_byte", "forward_kl", "top1_agreement", "bytes", "parameters", "prompt_tokens_per_second",
        "decode_tokens_per_second")
WEIGHTS = (0.1, 0.5, 0.9)  # of hard labels, for --frontier


class Plan:
    """One student: its name, folder and settings."""

    def __init__(self, name, folder, weight=None, rate=None):
        self.name, self.folder, self.hard, self.settings = name, folder, weight == 1, []
        if weight is not None:
            self.settings += ["--set", "loss.hard_label_weight=%g" % weight]
        if rate is not None:
            self.settings += ["--set", "train.learning_rate=%g" % rate]


def shipped_plans():
    """The recipe's own weight and rate; hard labels at the rate that is best for them."""
    return [Plan("distilled student", "distilled"), Plan("on hard labels", "hard_labels", 1, 1e-3)]


def own_plans(rates):
    return [Plan("distilled student", "distilled", 0.5, rates[0]), Plan("on hard labels", "hard_labels", 1, rates[0])]


def frontier_plans(rates):
    """The other weights, at both rates, and hard labels at the second one."""
    plans = [Plan("weight %g, rate %g" % (weight, rate), "weight_%g_rate_%g" % (weight, rate), weight, rate)
             for weight, rate in itertools.product(WEIGHTS, rates) if (weight, rate) != (0.5, rates[0])]
    return plans + [Plan("hard labels, rate %g" % rates[1], "hard_labels_rate_%g" % rates[1], 1, rates[1])]


def train(args, plan, number, count):
    """The row of a student that was trained; exits where the run fails or is stopped."""
    print("== %d/%d %s" % (number, count, plan.name), flush=True)
    command = [args.distill, "run", args.recipe, *args.set, *plan.settings, "--set", "output.path=%s" % (args.folder / plan.folder),
               "--set", "output.overwrite=true", "--json"]
    with open(args.folder / (plan.folder + ".json"), "w", encoding="utf-8") as out:
        code = subprocess.run(command, stdout=out, check=False).returncode
    if code:
        sys.exit(code)
    run = json.loads((args.folder / plan.folder / "result.json").read_text())
    return run["teacher"], row(plan, run["student"], run["training"])


def row(plan, model, training):
    """What is known of one model, and what its training cost."""
    out = {key: model[key] for key in KEYS if key in model}
    if plan is not None:
        out.update(name=plan.name, hard=plan.hard, folder=plan.folder)
    for key in ("seconds", "flops", "steps"):
        out[key] = training.get(key) if training else None
    return out


def sample(program, model, prompt):
    """A continuation of the prompt, on one line."""
    command = [program, "generate", str(model), "--prompt", prompt, "--max-tokens", "40", "--temperature", "0.7", "--seed", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)["text"].split("\n")[0].strip() if done.returncode == 0 else f"({done.stderr.strip()})"


def report_of(program, folder, rows):
    """The page of the first student beside the one on hard labels, or of all of them; its name, or None after a message."""
    page = folder / "report.html"
    command = [program, "report", *[str(folder / student["folder"]) for student in rows], "-o", str(page)]
    return page if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0 else None


def compared(args, student):
    """Teacher and student timed in turn on this machine, as compare.json; None after a message."""
    costs = [part for setting in args.cost for part in ("--set", setting)]
    command = [args.distill, "compare", args.teacher, str(args.folder / student["folder"]), "--json", *costs]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return None
    (args.folder / "compare.json").write_text(done.stdout)
    return json.loads(done.stdout)


def show_next(args, student):
    """What can be done with it now."""
    model, program = args.folder / student["folder"], args.distill
    form = "" if args.own else " --chat-template plain"
    print("\nTalk to it:        %s chat %s%s" % (program, model, form))
    print("in a browser:      %s serve %s%s" % (program, model, form))
    if args.own:
        print("                   (--chat-template plain where the model knows no chats)")
    print("an OpenAI client:  the same, base_url http://127.0.0.1:8080/v1")


def minutes(seconds):
    return "%.0f s" % seconds if seconds < 90 else "%.0f minutes" % (seconds / 60)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--distill", required=True, help="the program")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="on top of the recipe, for all students")
    parser.add_argument("--teacher", required=True, help="its folder or file, for the sample")
    parser.add_argument("--own", action="store_true", help="weight 0.5 of hard labels, as for a teacher and text that are not known")
    parser.add_argument("--frontier", action="store_true", help="with --own: weights 0.1 and 0.9 and a second rate too")
    parser.add_argument("--rates", type=float, nargs=2, default=(1e-3, 5e-4))
    parser.add_argument("--prompt", default="a kind of")
    args = parser.parse_args()
    args.cost = [setting for setting in args.set if setting.startswith("cost.")]
    args.set = [part for setting in args.set for part in ("--set", setting)]
    plans, more = (own_plans(args.rates), frontier_plans(args.rates)) if args.own else (shipped_plans(), [])
    if args.frontier:
        plans = plans + more

    started, rows = time.time(), []
    for number, plan in enumerate(plans, 1):
        teacher, student = train(args, plan, number, len(plans))
        rows.append(student)
        if number == 2 and len(plans) > 2:
            print("   %d more runs, about %s" % (len(plans) - 2, minutes((time.time() - started) / 2 * (len(plans) - 2))), flush=True)
    spent = (time.time() - started) / len(plans)
    teacher = dict(row(None, teacher, None), name="teacher")
    names = {"teacher": teacher, **{student["folder"]: student for student in rows}}
    (args.folder / "result.json").write_text(json.dumps(names, indent=2) + "\n")
    page = report_of(args.distill, args.folder, rows)

    print("\nOn text that no student has seen (KL and agreement with the teacher):\n")
    print(table([teacher] + rows))
    print()
    print("\n".join(verdict(teacher, rows)))
    if not args.own:
        print("It pays where you have the teacher but little of its text.")
    elif not args.frontier:
        print("--frontier also tries other weights of the hard labels and a second rate: %d more runs, about %s." % (len(more), minutes(spent * len(more))))
    chosen = choose(teacher, rows)[0]
    print("\nWhat the %s saves, timed in turn just now:" % chosen["name"], flush=True)
    timed = compared(args, chosen)
    if timed is not None:
        print()
        print("\n".join(savings(timed, teacher, chosen)))
    print(f"\n\"{args.prompt} ...\"")
    for name, model in [("teacher", args.teacher)] + [(student["name"], args.folder / student["folder"]) for student in rows[:2]]:
        print(f"  {name + ':':19}{sample(args.distill, model, args.prompt)}")
    show_next(args, chosen)
    print(f"\nresult.json, compare.json and the students are in {args.folder}")
    if page is not None:
        print(f"The whole report, for a browser: {page}")
    if not args.own and not (gap_closed(teacher, rows[1], rows[0]) or 0) > 0:
        sys.exit("the distilled student did not win: something is wrong with this build")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
