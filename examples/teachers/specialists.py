#!/usr/bin/env python3
"""Students of two languages, from one specialist and from both. Run by specialists.sh."""
import argparse
import json
import math
import pathlib

from evidence import SEEDS, Bench, mean_sd
from specialist import specialist

LANGUAGES = ("pt", "en")
MODES = {
    "pt alone": {"teacher": "pt"},
    "en alone": {"teacher": "en"},
    "linear": {"teacher": {"blend": {"mode": "linear", "of": ["pt", "en"]}}},
    "log-linear": {"teacher": {"blend": {"mode": "log_linear", "of": ["pt", "en"]}}},
    "per token, entropy": {"teacher": {"blend": {"of": ["pt", "en"], "weighting": "entropy", "weighting_temperature": 0.25}}},
    "per token, true label": {"teacher": {"blend": {"of": ["pt", "en"], "weighting": "label", "weighting_temperature": 0.05}}},
    "route by source": {"teacher": {"route": {"by": "source", "of": ["pt", "en"]}}},
}


def settings_of(bench, mode, seed):
    data = bench.folder / "data"
    return {
        "teachers": {name: {"path": str(bench.folder / name)} for name in LANGUAGES},
        **MODES[mode],
        "student.config": str(bench.folder / "model" / "student.json"),
        "data.train": [{"path": str(data / f"transfer_{name}.txt"), "source": name} for name in LANGUAGES],
        "data.eval": [{"path": str(data / f"held_{name}.txt"), "source": name} for name in LANGUAGES],
        "data.mix": {name: 1 for name in LANGUAGES},
        "train.seed": seed,
        "train.steps": 1400,
        "train.batch_size": 4,
        "train.eval_tokens": 20000,
        "train.eval_teachers": "never",
    }


def measure(bench, mode, seed):
    """nats and KL(specialist||student) of one student, by language."""
    name = "specialists/%s-%d" % (mode.replace(",", "").replace(" ", "_"), seed)
    bench.run(name, "student.yaml", settings_of(bench, mode, seed))
    found = {}
    for language in LANGUAGES:
        result = bench.evaluate(name, f"held_{language}.txt", language)
        found[language] = {"nats": result["nats"], "forward_kl": result["forward_kl"]}
    return found


def reached(table):
    """Per mode and language: how far its KL is from the right specialist's own student towards the wrong one's; 0 = own, 1 = other."""
    out = {}
    for mode, row in table.items():
        for language, other in zip(LANGUAGES, reversed(LANGUAGES)):
            own, wrong = table[f"{language} alone"][language]["forward_kl"][0], table[f"{other} alone"][language]["forward_kl"][0]
            out[mode, language] = (row[language]["forward_kl"][0] - own) / (wrong - own)
    return out


def show(table, way):
    print(f"\n{'student of':24}" + "".join(f"{language + ' ppl':>10}{'KL to ' + language:>20}{'way':>7}" for language in LANGUAGES) + f"{'mean ppl':>11}")
    for mode, row in table.items():
        line = f"{mode:24}"
        for language in LANGUAGES:
            nats, (kl, kl_sd) = row[language]["nats"][0], row[language]["forward_kl"]
            line += f"{math.exp(nats):10.2f}{kl:11.4f} +- {kl_sd:.4f}{way[mode, language]:7.2f}"
        print(line + f"{row['mean_perplexity'][0]:11.2f}")
    print("\nway: 0 = as near to the right specialist as its own student, 1 = as far as the wrong specialist's; the bar is 0.10 in each language")


def verdict(table, way):
    alone = min(table[f"{language} alone"]["mean_perplexity"][0] for language in LANGUAGES)
    both = [mode for mode in table if not mode.endswith("alone")]
    good = [mode for mode in both if all(way[mode, language] <= 0.1 for language in LANGUAGES) and table[mode]["mean_perplexity"][0] < alone]
    best = min(both, key=lambda mode: table[mode]["mean_perplexity"][0])
    print(f"reach the bar, and lie below both single-teacher students in mean perplexity ({alone:.2f}): {', '.join(good) or 'none'}")
    print(f"lowest mean perplexity: {best} ({table[best]['mean_perplexity'][0]:.2f} +- {table[best]['mean_perplexity'][1]:.2f})")
    for language in LANGUAGES:
        nearest = min(table, key=lambda mode: table[mode][language]["forward_kl"][0])
        print(f"nearest to the {language} specialist: {nearest}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--distill", required=True)
    args = parser.parse_args()
    bench = Bench(args.distill, args.folder, pathlib.Path(__file__).resolve().parent)
    bench.planned = len(LANGUAGES) + len(MODES) * len(SEEDS)
    for language in LANGUAGES:
        specialist(bench, language)
    table = {}
    for mode in MODES:
        found = [measure(bench, mode, seed) for seed in SEEDS]
        table[mode] = {language: {key: mean_sd(one[language][key] for one in found) for key in ("nats", "forward_kl")} for language in LANGUAGES}
        table[mode]["mean_perplexity"] = mean_sd(sum(math.exp(one[language]["nats"]) for language in LANGUAGES) / len(LANGUAGES) for one in found)
    way = reached(table)
    show(table, way)
    verdict(table, way)
    out = bench.folder / "specialists.json"
    out.write_text(json.dumps({mode: {**row, "way": {language: way[mode, language] for language in LANGUAGES}} for mode, row in table.items()}, indent=2) + "\n")
    print(f"left in {out}")


if __name__ == "__main__":
    main()
