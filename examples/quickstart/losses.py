#!/usr/bin/env python3
"""The quickstart's student with each loss. Run by losses.sh."""
import argparse
import json
import math
import pathlib

from evidence import Bench, mean_sd
from paired import differences, holm, paired

LOSSES = ("forward_kl", "cross_entropy", "reverse_kl", "symmetric_kl", "jsd", "skew_forward_kl", "skew_reverse_kl", "tvd", "alpha_beta", "taid",
          "adaptive_kl", "dkd", "logit_mse", "logit_cosine", "acceptance", "rank_hinge", "rank_logistic")
BASE = LOSSES[0]  # what the others are compared with
MEASURES = {"forward_kl": ("KL", "{:.4f}", min), "nats": ("nats", "{:.4f}", min), "top1_agreement": ("agreement", "{:.2%}", max),
            "expected_acceptance": ("acceptance", "{:.2%}", max)}
RARE = 0.05
UNTOLD = {"output.timing_seconds": 0, "train.eval_draft_tokens": 0}  # the table says nothing of speed
QUICK_LINES = 20
QUICK = {"data.sequence_length": 64, "train.batch_size": 2, "train.warmup_steps": 1, "train.eval_tokens": 256, "train.eval_every": 0, "output.report": "none"}


def held_out(args):
    """The text that the last evaluation reads whole; of a quick table its first lines."""
    whole = pathlib.Path(args.data or pathlib.Path(args.folder) / "data") / "held_out.txt"
    if not args.quick:
        return whole
    part = pathlib.Path(args.folder) / "held_out_quick.txt"
    part.write_text("".join(whole.read_text(encoding="utf-8").splitlines(keepends=True)[:QUICK_LINES]), encoding="utf-8")
    return part


def settings_of(args, loss, seed):
    folder = pathlib.Path(args.data or pathlib.Path(args.folder) / "data")
    settings = {"data.train": str(folder / "transfer.txt"), "data.eval": str(held_out(args)), "train.seed": seed, "train.steps": args.steps,
                "loss": {"type": loss, "hard_label_weight": 0}, **UNTOLD}
    return {**settings, **(QUICK if args.quick else {})}


def measure(bench, args):
    """{loss: {measure: [of each seed]}}, and the teacher's."""
    names = {(loss, seed): "%s-%d" % (loss, seed) for seed in range(1, args.seeds + 1) for loss in args.losses}
    found, teacher = {loss: {key: [] for key in MEASURES} for loss in args.losses}, {}
    bench.planned, bench.costs = len(names), dict.fromkeys(names.values(), 1)
    for (loss, seed), name in names.items():  # seed by seed: what is there after a stop compares all losses
        result = bench.run(name, "recipe.yaml", settings_of(args, loss, seed))
        teacher = result["teacher"]
        for key in MEASURES:
            found[loss][key].append(result["student"][key])
    return found, teacher


def show(found, against):
    print("\n%-18s" % "loss" + "".join("%22s" % title for title, _, _ in MEASURES.values()) + "%12s" % "perplexity")
    for loss in sorted(found, key=lambda name: mean_sd(found[name]["forward_kl"])[0]):
        line = "%-18s" % loss
        for key, (_, form, _) in MEASURES.items():
            mean, deviation = mean_sd(found[loss][key])
            mark = "*" if against[loss].get(key, {}).get("real") else " "
            line += "%22s" % (form.format(mean) + " +- " + form.format(deviation) + mark)
        print(line + "%12.2f" % math.exp(mean_sd(found[loss]["nats"])[0]))
    print("* differs from %s by more than chance: paired over the seeds, p < %g after Holm's correction over the losses" % (BASE, RARE))


def verdict(found):
    """Per measure: the best loss, and those that the seeds cannot tell from it."""
    lines = []
    for key, (title, form, best_of) in MEASURES.items():
        best = best_of(found, key=lambda loss: mean_sd(found[loss][key])[0])
        chances = holm({loss: paired(found[loss][key], found[best][key])[1] for loss in found if loss != best})
        alike = sorted(loss for loss, chance in chances.items() if chance >= RARE)
        lines.append("best %s: %s (%s); not told from it: %s" % (title, best, form.format(mean_sd(found[best][key])[0]), ", ".join(alike) or "none"))
    return lines


def names_of(text):
    unknown = [name for name in text.split(",") if name not in LOSSES]
    if unknown:
        raise argparse.ArgumentTypeError("%s: no such loss; there are %s" % (", ".join(map(repr, unknown)), ", ".join(LOSSES)))
    return text.split(",")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--distill", required=True)
    parser.add_argument("--data", help="folder with transfer.txt and held_out.txt; FOLDER/data unless said otherwise")
    parser.add_argument("--losses", type=names_of, help="these, and %s" % BASE)
    parser.add_argument("--check", action="store_true", help="look at the arguments and end")
    parser.add_argument("--steps", type=int, help="of each student; 300 unless said otherwise")
    parser.add_argument("--seeds", type=int, help="5 unless said otherwise")
    parser.add_argument("--quick", action="store_true", help="a few tiny steps of two seeds, to see that it runs: its numbers say nothing")
    args = parser.parse_args()
    args.losses = [BASE] + [loss for loss in args.losses or LOSSES if loss != BASE]
    args.steps, args.seeds = args.steps or (2 if args.quick else 300), args.seeds or (2 if args.quick else 5)
    if args.seeds < 2:
        parser.error("--seeds %d: a difference is told from chance by 2 seeds or more" % args.seeds)
    if args.check:
        return
    found, teacher = measure(Bench(args.distill, args.folder, pathlib.Path(__file__).resolve().parent), args)
    against = differences(found, BASE, MEASURES, RARE)
    show(found, against)
    print("teacher: %.4f nats, perplexity %.2f; %d steps, seeds 1 to %d" % (teacher["nats"], math.exp(teacher["nats"]), args.steps, args.seeds))
    print("\n".join(verdict(found)))
    table = {loss: {key: {"mean": mean_sd(values)[0], "sd": mean_sd(values)[1], "seeds": values, **against[loss].get(key, {})} for key, values in row.items()}
             for loss, row in found.items()}
    out = pathlib.Path(args.folder) / "losses.json"
    out.write_text(json.dumps({"steps": args.steps, "base": BASE, "losses": table}, indent=2) + "\n")
    print("left in %s" % out)


if __name__ == "__main__":
    main()
