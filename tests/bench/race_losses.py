#!/usr/bin/env python3
"""Losses from logits, value and gradient: ours, PyTorch's eager and compiled. One line per loss: seconds, ratios, and which share each reaches of the
rate at which memory streams the same bytes (both logits read, the gradient written). Called by race_losses.sh."""
import argparse
import math
import time

import distill.torch
import torch
import torch.nn.functional as f


def kl(log_a, log_b):
    return f.kl_div(log_b, log_a, reduction="sum", log_target=True)


def mixture(log_p, log_q, weight):
    return torch.logsumexp(torch.stack([log_p + math.log(weight), log_q + math.log(1 - weight)]), dim=0)


def jsd(log_p, log_q):
    log_m = mixture(log_p, log_q, 0.5)
    return 0.5 * kl(log_p, log_m) + 0.5 * kl(log_q, log_m)


def alpha_beta(log_p, log_q, a=0.2, b=0.7):
    s = a + b
    return -(torch.exp(a * log_p + b * log_q) - a / s * torch.exp(s * log_p) - b / s * torch.exp(s * log_q)).sum() / (a * b)


def taid(log_p, log_q, t=0.4):
    return kl(torch.log_softmax((1 - t) * log_q.detach() + t * log_p, dim=-1), log_q)


def adaptive_kl(log_p, log_q, mass=0.5):
    p, q = log_p.exp(), log_q.detach().exp()
    order = p.sort(dim=-1, descending=True, stable=True)
    head = torch.zeros_like(p, dtype=torch.bool).scatter(-1, order.indices, order.values.cumsum(-1) <= mass)
    head.scatter_(-1, order.indices[..., :1], True)
    apart = (p - q).abs()
    w = ((apart * head).sum(-1) / apart.sum(-1)).unsqueeze(-1)
    return (w * p * (log_p - log_q)).sum() + ((1 - w) * log_q.exp() * (log_q - log_p)).sum()


def rank_logistic(log_p, log_q, k=8):
    best = log_p.topk(k, dim=-1).indices
    z = log_q.gather(-1, best)
    i, j = torch.triu_indices(k, k, 1)
    return f.softplus(z[..., j] - z[..., i]).mean(-1).sum()


LOSSES = {
    "forward_kl": kl,
    "reverse_kl": lambda log_p, log_q: kl(log_q, log_p),
    "symmetric_kl": lambda log_p, log_q: 0.5 * kl(log_p, log_q) + 0.5 * kl(log_q, log_p),
    "jsd": jsd,
    "skew_forward_kl": lambda log_p, log_q: kl(log_p, mixture(log_p, log_q, 0.1)),
    "skew_reverse_kl": lambda log_p, log_q: kl(log_q, mixture(log_p, log_q, 0.9)),
    "tvd": lambda log_p, log_q: 0.5 * (log_p.exp() - log_q.exp()).abs().sum(),
    "alpha_beta": alpha_beta,
    "taid": taid,
    "adaptive_kl": adaptive_kl,
    "acceptance": lambda log_p, log_q: -torch.minimum(log_p.exp(), log_q.exp()).sum(-1).log().sum(),
    "rank_logistic": rank_logistic,
}


def best_of(rounds, function):
    best, out = math.inf, None
    for _ in range(rounds):
        started = time.perf_counter()
        out = function()
        best = min(best, time.perf_counter() - started)
    return best, out


def theirs(function, student, teacher):
    def run():
        z = student.detach().requires_grad_()
        value = function(torch.log_softmax(teacher, -1), torch.log_softmax(z, -1))
        value.backward()
        return float(value.detach()), z.grad
    return run


def ours(name, teacher, target):
    def run():
        value = getattr(distill.torch, name)(target, teacher, t_squared="off", reduction="sum")
        target.grad = None
        value.backward()
        return float(value.detach()), target.grad
    return run


def agree(name, a, b):
    """The same loss, not one that is faster because it is another."""
    if not math.isclose(a[0], b[0], rel_tol=1e-3) or not torch.allclose(a[1], b[1], rtol=1e-2, atol=1e-6):
        raise SystemExit("%s: ours %g and PyTorch's %g are not the same loss" % (name, a[0], b[0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--vocab", type=int, default=32000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--losses", default=",".join(LOSSES))
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    teacher = torch.randn(args.rows, args.vocab) * 2
    student = teacher + torch.randn(args.rows, args.vocab)
    out = torch.empty_like(student)
    stream, _ = best_of(args.rounds, lambda: torch.add(student, teacher, out=out))
    print("torch %s, [%d, %d] fp32, %d threads; memory streams these bytes in %.4f s" % (torch.__version__, args.rows, args.vocab, args.threads, stream))
    print("%-16s%10s%9s%12s%12s%12s" % ("loss", "ours, s", "share", "eager, s", "compiled, s", "ours is x"))
    for name in args.losses.split(","):
        z = student.clone().requires_grad_()
        own, mine = best_of(args.rounds, ours(name, teacher, z))
        eager, other = best_of(args.rounds, theirs(LOSSES[name], student, teacher))
        agree(name, mine, other)
        compiled = math.inf
        if not args.no_compile:
            run = theirs(torch.compile(LOSSES[name]), student, teacher)
            run()
            compiled, _ = best_of(args.rounds, run)
        print("%-16s%10.4f%9.0f%%%11.4f%12.4f%11.1fx" % (name, own, 100 * stream / own, eager, compiled, min(eager, compiled) / own), flush=True)


if __name__ == "__main__":
    main()
