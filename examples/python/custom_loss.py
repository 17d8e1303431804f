#!/usr/bin/env python3
"""Trains with a loss written in numpy, beside the built-in one: the squared Hellinger distance 1 - sum sqrt(p q).

    python3 custom_loss.py TEACHER TEXT [--steps N]
"""
import argparse
import sys

import numpy

import distill


def hellinger(rows):
    """Rows come as log q and log p; the gradient asked for is that of log q: -sqrt(p q) / 2."""
    root = numpy.exp(0.5 * (rows.student + rows.teacher))
    rows.value[:] = 1 - root.sum(1)
    if rows.gradient is not None:
        rows.gradient[:] = -0.5 * root


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher")
    parser.add_argument("text")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    env = distill.Env()
    env.add_loss("hellinger", hellinger, log_probs=True)
    for loss in ("hellinger", "forward_kl"):
        report = distill.run({
            "teacher": {"path": arguments.teacher},
            "student": {"from": "teacher"},
            "data": {"train": arguments.text, "eval_fraction": 0.1, "sequence_length": 64},
            "loss": {"type": loss},
            "train": {"steps": arguments.steps, "batch_size": 4, "learning_rate": 1e-3, "warmup_steps": 2},
        }, env=env)
        print(f"{loss:>10}: KL(teacher || student) = {report['student.forward_kl']:.4f} nats per token")
    return 0


if __name__ == "__main__":
    sys.exit(main())
