#!/usr/bin/env python3
"""Head and jsd fused, against TRL's ChunkedDivergenceFunction and against whole tensors of logits. Called by race_fused.sh."""
import argparse
import json
import math
import subprocess
import sys
import time

from race_arguments import count


def inputs(args):
    import torch
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    hidden, others = torch.randn(args.rows, args.width), torch.randn(args.rows, args.width)
    head = torch.randn(args.vocab, args.width) / math.sqrt(args.width)
    return hidden.requires_grad_(), head.requires_grad_(), others, (head.detach() + 0.5 * torch.randn_like(head) / math.sqrt(args.width))


def ours(args, hidden, head, others, other_head):
    import distill
    import distill.torch
    target = distill.hidden(others.numpy(), other_head.numpy())
    return distill.torch.fused_linear_jsd(hidden, head, target, t_squared="off", reduction="sum", memory=args.memory << 20)


def whole(args, hidden, head, others, other_head):
    import distill.torch
    return distill.torch.jsd(hidden @ head.T, others @ other_head.T, t_squared="off", reduction="sum")


def trl(args, hidden, head, others, other_head):
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction
    return ChunkedDivergenceFunction.apply(hidden, head, None, others, other_head, None, 0.5)[0].sum()


def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def once(args, given):
    value = globals()[args.measure](args, *given)
    value.backward()
    return float(value.detach())


def measure(args):
    """One way, in this process: seconds, MiB that it took beside inputs and gradients, and what it found."""
    once(args, inputs(argparse.Namespace(**{**vars(args), "rows": 8, "vocab": 1000})))  # what is imported and started is not counted
    given, seconds = inputs(args), []
    hidden, head = given[:2]
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins here
    before = status("VmRSS")
    for _ in range(args.rounds):
        hidden.grad = head.grad = None
        started = time.perf_counter()
        value = once(args, given)
        seconds.append(time.perf_counter() - started)
    gradients = 4 * (hidden.numel() + head.numel()) / 2**20
    print(json.dumps({"seconds": min(seconds), "peak": status("VmHWM") - before - gradients, "value": value,
                      "norms": [float(hidden.grad.norm()), float(head.grad.norm())]}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rows", 2048), ("width", 256), ("vocab", 152064), ("threads", 2), ("rounds", 2), ("memory", 64)):
        parser.add_argument("--" + name, type=count, default=default)
    parser.add_argument("--only", default="ours,trl,whole")
    parser.add_argument("--measure", choices=("ours", "trl", "whole"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure(args)
    first = None
    print("[%d x %d, V = %d] fp32, %d threads, ours within %d MiB" % (args.rows, args.width, args.vocab, args.threads, args.memory))
    for name in args.only.split(","):
        run = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--measure", name], capture_output=True, text=True)
        if run.returncode:
            raise SystemExit("%s: %s" % (name, run.stderr.strip().splitlines()[-1]))
        got = json.loads(run.stdout)
        first = first or got
        for a, b in zip([got["value"], *got["norms"]], [first["value"], *first["norms"]]):
            if not math.isclose(a, b, rel_tol=1e-3):
                raise SystemExit("%s: %g, and another %g: not the same loss" % (name, a, b))
        print("%-6s%9.3f s%9.0f MiB   %.2f times the first's time, %.1f times its memory" %
              (name, got["seconds"], got["peak"], got["seconds"] / first["seconds"], got["peak"] / first["peak"]), flush=True)


if __name__ == "__main__":
    main()
