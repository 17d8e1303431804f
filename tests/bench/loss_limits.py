#!/usr/bin/env python3
"""Every loss on rows in memory, and on rows that lie in a cache: how much of the time is memory's, and which share of its rate the loss would reach if
memory took none. A table as docs/performance.md has it, medians of rounds in turns. Nothing else should run meanwhile; it takes two minutes.
Usage: tests/bench/loss_limits.py PROGRAM [--rounds 3]"""
import argparse
import json
import statistics
import subprocess

NEAR, FAR = (16, 8000), (1024, 32000)


def measured(program, rows, vocab):
    done = subprocess.run([program, "bench", "loss", "--rows", str(rows), "--vocab", str(vocab), "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rounds = [(measured(args.program, *FAR), measured(args.program, *NEAR)) for _ in range(args.rounds)]
    limits = rounds[0][0]["limits"]
    streams = [far["limits"]["stream"]["bytes_per_second"] for far, _ in rounds]
    print("%s, %d threads; memory streamed a logit (12 bytes) in %.2f to %.2f ns; [%d, %d] in memory, [%d, %d] in a cache\n" % (
        limits["cpu"], limits["threads"], 12e9 / max(streams), 12e9 / min(streams), *FAR, *NEAR))
    print("| loss | ns per logit | share of the stream | ns in a cache | share if memory took no time |\n|---|---|---|---|---|")
    for name in rounds[0][0]["losses"]:
        far, share, near = (statistics.median(each[where]["losses"][name][key] for each in rounds)
                            for where, key in ((0, "ns_per_logit"), (0, "of_streaming"), (1, "ns_per_logit")))
        print("| %s | %.2f | %.0f %% | %.2f | %.0f %% |" % (name, far, 100 * share, near, 100 * share * far / near))


if __name__ == "__main__":
    main()
