#!/usr/bin/env python3
"""Requests of concurrent clients to `distill serve`, some of them cut off in the middle of a stream: memory and descriptors stay as they were.
usage: tests/soak/serve_requests.py [PROGRAM] [--model M] [--requests 1000] [--cut 50] [--clients 16] [--slack-mib 4] [-- OPTIONS OF serve]
Exit code 1 where they do not, or an answer is not whole; 77 where the build has no server.

Half of the requests stream, a quarter are chats. Those that are cut off read a few events and close, every other one with a reset. A first tenth of
the requests, with a tenth of the cuts, fills what the server keeps (places, threads' memory) before anything is counted."""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

MODEL = pathlib.Path(__file__).resolve().parents[2] / "examples" / "quickstart" / "teacher"
WORDS = "One day a little girl found an old red box near the river and asked her friend what to do with it".split()
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds


def parse():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program", nargs="?", default="build/tests-gcc/distill")
    parser.add_argument("--model", default=str(MODEL))
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--cut", type=int, default=50)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--slack-mib", type=float, default=4, help="that memory may grow by, and is still flat")
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(given[:end])
    args.options = given[end + 1:]
    return args


def start(args):
    command = [os.path.realpath(args.program), "serve", args.model, "--port", "0", "--chat-template", "chatml", "--max-queue", "1000", *args.options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ready, _, _ = select.select([server.stdout], [], [], 300)
    found = re.search(r"at http://([\d.]+):(\d+)/v1 ", server.stdout.readline() if ready else "")
    if not found:
        server.kill()
        said = server.communicate()[1]
        print(said, end="", file=sys.stderr)
        sys.exit(77 if "has no server" in said else 1)
    return server, (found.group(1), int(found.group(2)))


def request(path, body):
    data = json.dumps(body).encode()
    return (b"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (path.encode(), len(data)) + data)


def make(number, cut, draw):
    text = " ".join(draw.choices(WORDS, k=draw.randint(3, 30)))
    body = {"temperature": 1, "seed": number, "stream": bool(cut or draw.random() < 0.5), "max_tokens": 400 if cut else draw.randint(1, 40)}
    if cut:
        body["logit_bias"] = {"0": -100, "1": -100, "2": -100}  # its answer does not end by itself
    if draw.random() < 0.25:
        return "/v1/chat/completions", dict(body, messages=[{"role": "user", "content": text}])
    return "/v1/completions", dict(body, prompt=text, n=draw.choice((1, 1, 1, 2)))


def read_some(opened, end):
    came = b""
    while end not in came:
        more = opened.recv(65536)
        if not more:
            break
        came += more
    return came


def one(address, number, cut, draw):
    """What became of it."""
    path, body = make(number, cut, draw)
    with socket.create_connection(address, timeout=600) as opened:
        opened.sendall(request(path, body))
        if cut:
            came = read_some(opened, b"data: {")
            if number % 2:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return "cut" if came.startswith(b"HTTP/1.1 200") else "wrong: %r" % came[:200]
        came = read_some(opened, b"\0")
    whole = came.startswith(b"HTTP/1.1 200") and (b"data: [DONE]" in came if body["stream"] else b'"usage"' in came)
    return "whole" if whole else "wrong: %r" % came[-200:]


def drive(address, clients, count, cut, first):
    """count requests, spread over clients; of every count / cut one is cut off."""
    cuts, numbers, results, lock = {first + i * count // cut for i in range(cut)} if cut else set(), iter(range(first, first + count)), [], threading.Lock()

    def client():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                result = one(address, number, number in cuts, random.Random(number))
            except OSError as problem:
                result = "wrong: %s" % problem
            with lock:
                results.append(result)
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return collections.Counter(results)


def metrics(address):
    with socket.create_connection(address, timeout=60) as opened:
        opened.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        body = read_some(opened, b"\0").decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in body.splitlines() if line.startswith("distill_")}


def wait_idle(address):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = metrics(address)
        if not found["distill_requests_running"] and not found["distill_requests_waiting"] and found["distill_connections"] <= 1:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    return found


def look(process):
    with open("/proc/%d/statm" % process.pid) as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return resident, len(os.listdir("/proc/%d/fd" % process.pid)), len(os.listdir("/proc/%d/task" % process.pid))


def report(what, seen, took=None):
    print("%-22s %7.1f MiB resident, %d descriptors, %d threads%s" % ((what,) + seen + ("" if took is None else ", %.1f s" % took,)), flush=True)


def soak(args, server, address):
    tenth = max(args.requests // 10, args.clients)
    found = drive(address, args.clients, tenth, max(args.cut // 10, 1), 1000000)
    before = wait_idle(address)
    seen = [look(server)]
    report("after %d to begin with" % tenth, seen[0])
    for quarter in range(4):
        begin, end = (args.requests * i // 4 for i in (quarter, quarter + 1))
        cut, began = args.cut * (quarter + 1) // 4 - args.cut * quarter // 4, time.monotonic()
        found += drive(address, args.clients, end - begin, cut, begin)
        after = wait_idle(address)
        seen.append(look(server))
        report("after %d requests" % end, seen[-1], time.monotonic() - began)
    gone = after["distill_clients_gone_total"] - before["distill_clients_gone_total"]
    tokens = after["distill_tokens_total"] - before["distill_tokens_total"]
    print("%d tokens; %d clients gone of %d that were cut off; %s" % (tokens, gone, args.cut, dict(found)))
    grown, lost = seen[-1][0] - seen[0][0], seen[-1][1] - seen[0][1]
    wrong = {result: count for result, count in found.items() if result.startswith("wrong")}
    good = grown <= args.slack_mib and lost <= 0 and not wrong and gone >= args.cut
    print("%s: %+.1f MiB (%.1f are allowed), %+d descriptors" % ("flat" if good else "NOT flat", grown, args.slack_mib, lost))
    return good


def main():
    args = parse()
    server, address = start(args)
    try:
        good = soak(args, server, address)
    finally:
        server.send_signal(signal.SIGTERM)
        said = server.communicate(timeout=120)[1]
    print(said, end="", file=sys.stderr)
    if server.returncode:
        print("the server ended with exit code %d" % server.returncode)
    sys.exit(0 if good and not server.returncode else 1)


main()
