"""Answers that an augmentation has a model write, against `distill bench decode` for the same batch and as many keys: tokens a second and
their ratio, as a table. Nothing else should run meanwhile.

usage: race_augment.py DISTILL MODEL [--samples 64] [--batch 32] [--tokens 96] [--rounds 3] [--eos ID] [--chat] [--prompts FILE.jsonl] [--set KEY=VALUE]...

bench decode counts writing alone. So an augmentation runs twice, for a quarter of the tokens and for all of them, and what the second takes
longer is what its further tokens cost: drawing them, their text, log-probabilities that are kept, samples written. With reading is all of a
run, opening the model left out. --eos bans an id that ends answers, so that all are as long; --chat asks as a user, so that they end when they are done;
--prompts has lines with a prompt or an instruction."""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

from race_arguments import check_there, count

KINDS = {"greedy": "temperature: 0", "drawn": "temperature: 0.9", "drawn, top_p 0.9": "temperature: 0.9, top_p: 0.9",
         "drawn, 20 log-probabilities kept": "temperature: 0.9, keep_logprobs: 20"}


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(str(part) for part in command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def augment(args, work, kind, tokens):
    recipe = work / "recipe.yaml"
    bias = f"logit_bias: {{{args.eos}: -1000}}, " if args.eos is not None else ""
    recipe.write_text(f"teacher: {{path: {pathlib.Path(args.model).resolve()}, mmap: false}}\ngenerate: {{{bias}seed: 1}}\n"
                      "augment:\n  in: seeds.jsonl\n  out: out.jsonl\n  seed: 5\n  steps:\n"
                      f"    - {{label: answer, chat: {str(args.chat).lower()}, max_new_tokens: {tokens}, {KINDS[kind]}}}\n")
    settings = [part for setting in args.set for part in ("--set", setting)]
    return run(args.distill, "augment", recipe, "--overwrite", "--quiet", "--json", *settings)


def measure(args, work, kind):
    """(tokens a second behind the first quarter, with reading, keys of a prompt)"""
    few, all_of_it = augment(args, work, kind, args.tokens // 4), augment(args, work, kind, args.tokens)
    keys = (all_of_it["cost"]["model_tokens"] - all_of_it["tokens"]) / args.samples
    return ((all_of_it["tokens"] - few["tokens"]) / (all_of_it["seconds"] - few["seconds"]), all_of_it["tokens"] / all_of_it["seconds"], keys)


def decode(args, keys):
    settings = [part for setting in ["teacher.mmap=false"] + args.set for part in ("--set", setting)]
    keys += args.tokens // 4  # the turns that are compared stand behind so many more
    return run(args.distill, "bench", "decode", args.model, "--batch", args.batch, "--keys", max(1, round(keys)), "--tokens",
               args.tokens - args.tokens // 4, "--json", *settings)["tokens_per_second"]


def prompts_of(args):
    if not args.prompts:
        return [f"Write a few lines about the number {100 + i}." for i in range(args.samples)]
    lines = [json.loads(line) for line in open(args.prompts, encoding="utf-8")]
    texts = [text for text in (line.get("prompt") or line.get("instruction") for line in lines) if text]
    if len(texts) < args.samples:
        raise SystemExit(f"{args.prompts}: {len(texts)} prompts, and --samples asks for {args.samples}")
    return texts[: args.samples]


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("distill")
    parser.add_argument("model")
    for name, default in (("samples", 64), ("batch", 32), ("tokens", 96), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=count, default=default)
    parser.add_argument("--eos", type=int)
    parser.add_argument("--chat", action="store_true")
    parser.add_argument("--prompts")
    parser.add_argument("--kinds", default=";".join(KINDS))
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    check_there(parser, args.distill, args.model, *filter(None, [args.prompts]))
    for kind in args.kinds.split(";"):
        if kind not in KINDS:
            parser.error(f"--kinds {kind}: there are {'; '.join(KINDS)}")
    print("| answers | tokens/s | bench decode | share | with reading |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "seeds.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in prompts_of(args)))
        for kind in args.kinds.split(";"):
            rates, with_reading, decodes = [], [], []
            for _ in range(args.rounds):
                rate, whole, keys = measure(args, work, kind)
                rates.append(rate)
                with_reading.append(whole)
                decodes.append(decode(args, keys))
            share = statistics.median(rate / alone for rate, alone in zip(rates, decodes))
            print(f"| {kind} | {statistics.median(rates):.0f} | {statistics.median(decodes):.0f} | {share:.0%} | "
                  f"{statistics.median(with_reading):.0f} |", flush=True)


if __name__ == "__main__":
    main()
