#!/usr/bin/env python3
"""Streams of `distill serve` that are written at once, beside `distill bench decode` of as many texts, in turns.

Usage: race_serve.py MODEL [--streams 8] [--keys 64] [--tokens 128] [--rounds 5]
DISTILL is the program. A stream's rate is its tokens behind the first one over the time that they came in; the server's rate is the sum. Nothing else
should run: the client here takes a part of the same processor."""
import argparse
import json
import os
import pathlib
import re
import selectors
import socket
import statistics
import subprocess
import time

from race_arguments import check_there, count


def prompt(stream, keys):
    return [(stream * 31 + i * 7919 + 13) % 900 + 32 for i in range(keys)]


def end_ids(program, model):
    facts = json.loads(subprocess.run([program, "inspect", model, "--json"], check=True, capture_output=True).stdout)
    return {facts["tokenizer"][name] for name in ("eos", "pad", "bos") if facts["tokenizer"][name] >= 0}


def request(args, ends, stream):
    body = json.dumps({"prompt": prompt(stream, args.keys), "max_tokens": args.tokens, "temperature": 0, "stream": True,
                       "logit_bias": {str(i): -100 for i in ends}}).encode()
    return b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def streams(args, address, ends):
    """Tokens per second of all streams together."""
    first, last, watched = {}, {}, selectors.DefaultSelector()
    for i in range(args.streams):
        opened = socket.create_connection(address)
        opened.sendall(request(args, ends, i))
        watched.register(opened, selectors.EVENT_READ, i)
    rest = {i: b"" for i in range(args.streams)}
    while watched.get_map():
        for key, _ in watched.select():
            came, now = key.fileobj.recv(65536), time.perf_counter()
            if b"data: {" in came:
                first.setdefault(key.data, now)
                last[key.data] = now
            rest[key.data] = (rest[key.data] + came)[-200:]
            if not came or b"data: [DONE]" in rest[key.data]:
                if b"[DONE]" not in rest[key.data]:
                    raise SystemExit("race_serve.py: a stream broke off: %r" % rest[key.data])
                watched.unregister(key.fileobj)
                key.fileobj.close()
    return sum((args.tokens - 1) / (last[i] - first[i]) for i in first)


def bare(args, program):
    done = subprocess.run([program, "bench", "decode", args.model, "--batch", str(args.streams), "--keys", str(args.keys), "--tokens", str(args.tokens),
                           "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)["tokens_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    for name, value in (("streams", 8), ("keys", 64), ("tokens", 128), ("rounds", 5)):
        parser.add_argument("--" + name, type=count, default=value)
    args = parser.parse_args()
    program = os.environ.get("DISTILL", "distill")
    check_there(parser, program, args.model)
    ends = end_ids(program, args.model)
    server = subprocess.Popen([program, "serve", args.model, "--port", "0", "--chat-template", "chatml", "--places", str(args.streams), "--context",
                               str(args.keys + args.tokens + 8)], stdout=subprocess.PIPE, text=True)
    try:
        host, port = re.search(r"at http://([\d.]+):(\d+)/v1 ", server.stdout.readline()).groups()
        streams(args, (host, int(port)), ends)  # touches memory
        pairs = []
        for i in range(args.rounds):
            ways = [lambda: streams(args, (host, int(port)), ends), lambda: bare(args, program)]
            found = [way() for way in (ways if i % 2 else ways[::-1])]
            pairs.append(found if i % 2 else found[::-1])
            print("%.0f tokens/s by the server, %.0f by bench decode: %.3f" % (*pairs[-1], pairs[-1][0] / pairs[-1][1]), flush=True)
    finally:
        server.terminate()
        server.wait()
    ratios = sorted(a / b for a, b in pairs)
    print("%s, %d streams of %d tokens behind %d: %.0f tokens/s, %.3f (%.3f to %.3f) of bench decode's" % (
        pathlib.Path(args.model).name, args.streams, args.tokens, args.keys, statistics.median(a for a, _ in pairs), statistics.median(ratios), ratios[0], ratios[-1]))


if __name__ == "__main__":
    main()
