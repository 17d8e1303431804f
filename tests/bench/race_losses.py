#!/usr/bin/env python3
"""Losses from logits, value and gradient: ours, PyTorch's eager and compiled, and what TRL makes of logits where it has the loss. One line per loss:
seconds; how many times as fast ours is as the fastest of the others, each making a gradient of its own; and which share of the rate at which memory
streams the same bytes (both logits read, the gradient written) ours reaches when the gradient's memory is there. Called by race_losses.sh."""
import argparse
import math
import time

import distill
import distill.torch
import torch
import torch.nn.functional as f
from race_arguments import count


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


def ranked(log_p, k):
    best = log_p.topk(k, dim=-1).indices
    i, j = torch.triu_indices(k, k, 1)
    return best, i, j


def rank_logistic(log_p, log_q, k=8):
    best, i, j = ranked(log_p, k)
    z = log_q.gather(-1, best)
    return f.softplus(z[..., j] - z[..., i]).mean(-1).sum()


def rank_hinge(log_p, log_q, k=8):
    best, i, j = ranked(log_p, k)
    q, p = log_q.gather(-1, best).exp(), log_p.gather(-1, best).exp()
    return torch.relu(p[..., i] - p[..., j] - (q[..., i] - q[..., j])).mean(-1).sum()


def dkd(teacher, student, labels, t=1.0, n=8.0):
    log_p, log_q = torch.log_softmax(teacher, -1), torch.log_softmax(student, -1)
    at = labels.unsqueeze(-1)
    p, q = log_p.gather(-1, at), log_q.gather(-1, at)
    rest_p, rest_q = torch.log1p(-p.exp()), torch.log1p(-q.exp())
    of_label = (p.exp() * (p - q) + rest_p.exp() * (rest_p - rest_q)).sum()
    other_p, other_q = log_p - rest_p, log_q - rest_q
    others = (other_p.exp() * (other_p - other_q)).scatter(-1, at, 0.0).sum()
    return t * of_label + n * others


def of_logs(function):
    return lambda teacher, student, labels: function(torch.log_softmax(teacher, -1), torch.log_softmax(student, -1))


LOSSES = {
    "forward_kl": of_logs(kl),
    "reverse_kl": of_logs(lambda log_p, log_q: kl(log_q, log_p)),
    "symmetric_kl": of_logs(lambda log_p, log_q: 0.5 * kl(log_p, log_q) + 0.5 * kl(log_q, log_p)),
    "jsd": of_logs(jsd),
    "skew_forward_kl": of_logs(lambda log_p, log_q: kl(log_p, mixture(log_p, log_q, 0.1))),
    "skew_reverse_kl": of_logs(lambda log_p, log_q: kl(log_q, mixture(log_p, log_q, 0.9))),
    "tvd": of_logs(lambda log_p, log_q: 0.5 * (log_p.exp() - log_q.exp()).abs().sum()),
    "alpha_beta": of_logs(alpha_beta),
    "taid": of_logs(taid),
    "acceptance": of_logs(lambda log_p, log_q: -torch.minimum(log_p.exp(), log_q.exp()).sum(-1).log().sum()),
    "cross_entropy": lambda teacher, student, labels: f.cross_entropy(student, labels, reduction="sum"),
    "logit_mse": lambda teacher, student, labels: f.mse_loss(student, teacher, reduction="sum") / student.shape[-1],
    "logit_cosine": lambda teacher, student, labels: (1 - f.cosine_similarity(student, teacher, dim=-1)).sum(),
    "dkd": dkd,
    "adaptive_kl": of_logs(adaptive_kl),
    "rank_hinge": of_logs(rank_hinge),
    "rank_logistic": of_logs(rank_logistic),
}
LABELLED = ("cross_entropy", "dkd")
TRL = {"forward_kl": 0.0, "reverse_kl": 1.0, "jsd": 0.5}  # what it has, by its beta


def best_of(rounds, function):
    best, out = math.inf, None
    for _ in range(rounds):
        out = None
        started = time.perf_counter()
        out = function()
        best = min(best, time.perf_counter() - started)
    return best, out


def theirs(function, student, teacher, labels):
    def run():
        z = student.detach().requires_grad_()
        value = function(teacher, z, labels)
        value.backward()
        return float(value.detach()), z.grad
    return run


def trl(beta, student, teacher):
    """TRL's divergence of hidden states and heads, on logits: its products are left out, as if they took no time. None where it is not installed."""
    try:
        from trl.kernels import chunked_divergence as chunked
    except ImportError:
        return None

    def project(tile, rows, weight, bias, start, end, dtype):
        tile.copy_(rows[:, start:end])

    def add(out, tile, weight):
        first = int(weight[0, 0])
        out[:, first:first + tile.shape[1]] += tile

    chunked._project, chunked._addmm_fp32 = project, add
    places = torch.arange(student.shape[-1], dtype=torch.float32).unsqueeze(-1)

    def run():
        z = student.detach().requires_grad_()
        value = chunked.ChunkedDivergenceFunction.apply(z, places, None, teacher, places, None, beta)[0].sum()
        value.backward()
        return float(value.detach()), z.grad
    return run


def ours(name, teacher, target, labels):
    given = {"labels": labels} if name in LABELLED else {}

    def run():
        value = getattr(distill.torch, name)(target, teacher, t_squared="off", reduction="sum", **given)
        target.grad = None
        value.backward()
        return float(value.detach()), target.grad
    return run


def in_place(name, student, teacher, labels, out):
    loss = distill.Loss(name, t_squared="off")
    given = {"labels": labels.int().numpy()} if name in LABELLED else {}
    arrays = (student.numpy(), None if name == "cross_entropy" else teacher.numpy())
    return lambda: loss(*arrays, gradient=out.numpy(), **given)


def agree(name, a, b):
    """The same loss, not one that is faster because it is another; where a loss has a kink, floats may lie on either side of it."""
    near = torch.isclose(a[1], b[1], rtol=1e-2, atol=1e-6)
    if not math.isclose(a[0], b[0], rel_tol=1e-3) or int((~near).sum()) > near.numel() * 1e-5:
        raise SystemExit("%s: ours %g and the other's %g are not the same loss" % (name, a[0], b[0]))


def race(name, args, student, teacher, labels, out):
    """Seconds: in place, ours, eager, compiled, TRL's."""
    z = student.clone().requires_grad_()
    placed, _ = best_of(args.rounds + 2, in_place(name, student, teacher, labels, out))
    own, mine = best_of(args.rounds, ours(name, teacher, z, labels))
    eager, other = best_of(args.rounds, theirs(LOSSES[name], student, teacher, labels))
    agree(name, mine, other)
    compiled = chunked = math.inf
    if not args.no_compile:
        run = theirs(torch.compile(LOSSES[name]), student, teacher, labels)
        run()
        compiled, _ = best_of(args.rounds, run)
    run = trl(TRL[name], student, teacher) if name in TRL and not args.no_trl else None
    if run:
        chunked, other = best_of(args.rounds, run)
        agree(name, mine, other)
    return placed, own, eager, compiled, chunked


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=count, default=4096)
    parser.add_argument("--vocab", type=count, default=32000)
    parser.add_argument("--threads", type=count, default=2)
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--losses", default=",".join(LOSSES))
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--no-trl", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    teacher = torch.randn(args.rows, args.vocab) * 2
    student = teacher + torch.randn(args.rows, args.vocab)
    labels = torch.randint(args.vocab, (args.rows,))
    out = torch.empty_like(student)
    stream, _ = best_of(args.rounds + 2, lambda: torch.add(student, teacher, out=out))
    print("torch %s, [%d, %d] fp32, %d threads; memory streams these bytes in %.4f s" % (torch.__version__, args.rows, args.vocab, args.threads, stream))
    print("%-16s%10s%8s%10s%10s%12s%10s%11s" % ("loss", "in place", "share", "ours, s", "eager, s", "compiled, s", "TRL, s", "ours is x"))
    for name in args.losses.split(","):
        placed, own, *others = race(name, args, student, teacher, labels, out)
        bytes_of = 2 / 3 if name == "cross_entropy" else 1  # it reads no teacher
        print("%-16s%10.4f%7.0f%%%10.4f%10.4f%12.4f%10.4f%10.1fx" % (name, placed, 100 * bytes_of * stream / placed, own, *others, min(others) / own), flush=True)


if __name__ == "__main__":
    main()
