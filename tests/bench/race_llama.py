"""Reading a prompt and writing behind it, ours and llama.cpp in turns on the same GGUF files: medians and ratios as a table. Nothing else
should run meanwhile.

usage: race_llama.py DISTILL MODEL.gguf... [--rounds 3] [--threads N] [--prompt 512] [--keys 64,2048] [--tokens 128] [--set KEY=VALUE]...

NODE_MODULES names a folder in which node-llama-cpp is installed (npm install node-llama-cpp), which carries llama.cpp with kernels for each
processor. --threads are its own: distill takes all cores. Settings are of `distill bench`, beside teacher.mmap: false. 0 for --prompt leaves reading out."""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

from race_arguments import check_there, count

here = pathlib.Path(__file__).resolve().parent


def ours(args, model, what, *options):
    command = [args.distill, "bench", what, model, "--json", *options, "--set", "teacher.mmap=false"]
    for setting in args.set:
        command += ["--set", setting]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)}: {run.stderr.strip()}")
    done = json.loads(run.stdout)
    return done["tokens_per_second"], done.get("of_reading_weights")


def theirs(args, script, model, keys):
    command = ["node", script, model, args.prompt or 8, keys, args.tokens, args.threads]
    return json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)


def race(args, script, model):
    rows = {}
    for _ in range(args.rounds):
        if args.prompt:
            rows.setdefault(f"prefill {args.prompt}", []).append((*ours(args, model, "prefill", "--tokens", str(args.prompt)), None))
        for keys in args.keys:
            mine = ours(args, model, "decode", "--keys", str(keys), "--tokens", str(args.tokens))
            peer = theirs(args, script, model, keys)
            rows.setdefault(f"decode after {keys}", []).append((*mine, peer["decode"]))
            if args.prompt:
                rows.setdefault("peer's prefill", []).append(peer["prefill"])
    for name, values in rows.items():
        if name == "peer's prefill":
            continue
        rate = statistics.median(value[0] for value in values)
        peer = statistics.median(rows["peer's prefill"] if values[0][2] is None else [value[2] for value in values])
        share = f"{statistics.median(value[1] for value in values):.0%}" if values[0][1] else ""
        print(f"| {pathlib.Path(model).name} | {name} | {rate:.0f} | {share} | {peer:.0f} | {rate / peer:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("distill")
    parser.add_argument("models", nargs="+")
    for name, default in (("rounds", 3), ("threads", os.cpu_count()), ("tokens", 128)):
        parser.add_argument(f"--{name}", type=count, default=default)
    parser.add_argument("--prompt", type=lambda text: 0 if text == "0" else count(text), default=512)
    parser.add_argument("--keys", type=lambda text: [count(part) for part in text.split(",")], default=[64, 2048])
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    check_there(parser, args.distill, *args.models)
    modules = os.environ.get("NODE_MODULES")
    if not modules or not (pathlib.Path(modules) / "node-llama-cpp").is_dir():
        parser.error("NODE_MODULES names no folder with node-llama-cpp: npm install node-llama-cpp")
    print("| file | what | libdistill, tokens/s | of the streaming read | llama.cpp, tokens/s | times |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        script = pathlib.Path(work) / "race_llama.mjs"  # imports are looked up beside the script
        shutil.copy(here / "race_llama.mjs", script)
        (pathlib.Path(work) / "node_modules").symlink_to(pathlib.Path(modules).resolve())
        for model in args.models:
            race(args, script, model)


if __name__ == "__main__":
    main()
