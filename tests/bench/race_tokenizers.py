"""Tokenizing and opening tokenizers, ours and the Rust package tokenizers in turns, on 1 and 2 threads; prints a table. race_tokenizers.sh says how.

Both get the same pieces of a text, each once a round, and give lists of ids. Rust's threads are its own (encode_batch_fast); ours are the
caller's, who may encode on as many as there are. Opening is of a tokenizer.json that is in the page cache already."""
import argparse
import collections
import concurrent.futures
import importlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

PIECE = 20000  # characters


def pieces_of(paths):
    for path in paths:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        yield from (text[i:i + PIECE] for i in range(0, len(text), PIECE))


def rust(folder, threads):
    from tokenizers import Tokenizer
    opened = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    opened.no_truncation()
    return lambda pieces: [e.ids for e in opened.encode_batch_fast(pieces, add_special_tokens=False)]


def ours(folder, threads):
    import distill
    opened = distill.Tokenizer(folder)
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    if threads == 1:
        return lambda pieces: [opened.encode(piece, special=False) for piece in pieces]
    return lambda pieces: list(pool.map(lambda piece: opened.encode(piece, special=False), pieces))


def work(who, threads, folder, paths):
    """In a process of its own, since Rust's threads are said in the environment."""
    make, pieces = {"libdistill": ours, "tokenizers": rust}[who], list(pieces_of(paths))
    importlib.import_module({"libdistill": "distill"}.get(who, who))  # which is no part of opening
    begin = time.perf_counter()
    encode = make(folder, threads)
    opened = time.perf_counter() - begin
    encode(pieces[:4])
    begin = time.perf_counter()
    ids = encode(pieces)
    seconds = time.perf_counter() - begin
    print(json.dumps({"open": opened, "encode": seconds, "bytes": sum(len(p.encode()) for p in pieces), "tokens": sum(map(len, ids)),
                      "sum": hash(tuple(i for one in ids for i in one))}))


def measured(who, threads, folder, paths):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="true" if threads > 1 else "false")
    command = [sys.executable, __file__, "--worker", who, str(threads), folder] + paths
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)


def row(name, threads, own, other):
    """Medians: how fast either is, and the ratio; opening, where one thread does it."""
    mb = [run[0]["bytes"] / 1e6 / statistics.median(r["encode"] for r in run) for run in (own, other)]
    tokens = own[0]["tokens"] / statistics.median(r["encode"] for r in own)
    opens = [statistics.median(r["open"] for r in run) for run in (own, other)]
    opening = "%.3f | %.3f | %.2f" % (*opens, opens[1] / opens[0]) if threads == 1 else " | | "
    return "| %s | %d | %.1f | %.1f | %.2f | %.1f | %s |" % (name, threads, tokens / 1e6, *mb, mb[0] / mb[1], opening)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", help="folders with a tokenizer.json")
    parser.add_argument("--text", action="append", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="1,2")
    args = parser.parse_args()
    print("| tokenizer | threads | ours, M tokens/s | MB/s | Rust's MB/s | times as fast | opening, ours s | Rust's s | times as fast |")
    print("|---|---|---|---|---|---|---|---|---|")
    for folder in args.folders:
        for threads in map(int, args.threads.split(",")):
            runs = collections.defaultdict(list)
            for _ in range(args.rounds):
                for who in ("libdistill", "tokenizers"):
                    runs[who].append(measured(who, threads, folder, args.text))
            if len({r["sum"] for who in runs for r in runs[who]}) > 1:
                sys.exit("%s: ids are not the same" % folder)
            name = next(part for part in reversed(pathlib.Path(folder).resolve().parts) if part not in ("package", "models"))
            print(row(name, threads, runs["libdistill"], runs["tokenizers"]), flush=True)


if sys.argv[1:2] == ["--worker"]:
    work(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:])
else:
    main()
