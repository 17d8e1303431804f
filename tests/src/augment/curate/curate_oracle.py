#!/usr/bin/env python3
"""Figures that tests/src/augment/curate compares with: ROUGE-L of the rouge-score package, Dawid-Skene by numpy as the
paper has it and by crowd-kit. Writes tests/data/curate/*.json. Needs rouge-score, numpy, crowd-kit (and pandas)."""
import json
import os
import random

import numpy as np
import pandas as pd
from crowdkit.aggregation import DawidSkene
from rouge_score import rouge_scorer

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "..", "..", "data", "curate")


def write(name, value):
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=True, indent=None, separators=(",", ":"))
        file.write("\n")


def rouge():
    draw = random.Random(3)
    words = "the cat sat on a mat and it was well-known that 3.5 dogs (all brown) don't run; O'Neil's list of don'ts".split()
    pairs = [("", "a"), ("a", ""), ("!!!", "a b"), ("a", "a"), ("A b C", "c B a"), ("isn't it?", "isnt it"),
             ("n\u00e3o \u00e9 bom", "nao e bom"), ("n\u00e3o \u00e9 bom", "n\u00e3o \u00e9 mau"), ("\u212a x", "k x"),
             ("\u0130stanbul", "istanbul"), ("snake_case here", "snake case here"), ("\u65e5\u672c\u8a9e", "\u65e5\u672c")]
    for size in (3, 10, 60, 64, 65, 128, 200):
        for _ in range(4):
            first = [draw.choice(words) for _ in range(size)]
            second = [w for w in first if draw.random() < 0.7] + [draw.choice(words) for _ in range(draw.randrange(size))]
            pairs.append((" ".join(first), " ".join(second)))
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    write("rouge.json", [{"a": a, "b": b, "f1": scorer.score(a, b)["rougeL"].fmeasure} for a, b in pairs])


def posterior(votes, prior, errors):
    logs = np.log(prior)[None, :].repeat(len(votes), 0)
    for v in range(votes.shape[1]):
        said = votes[:, v] >= 0
        logs[said] += np.log(errors[v][:, votes[said, v]].T)
    logs -= logs.max(1, keepdims=True)
    p = np.exp(logs)
    return p / p.sum(1, keepdims=True)


def dawid_skene(votes, classes, smoothing, tolerance=1e-8, most=10000):
    items, voters = votes.shape
    one_hot = (votes[:, :, None] == np.arange(classes)).astype(float)
    voted = (votes >= 0).any(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = one_hot.sum(1) / one_hot.sum((1, 2))[:, None]
    p[~voted] = 0
    prior, errors = np.zeros(classes), np.zeros((voters, classes, classes))
    for number in range(most):
        new_prior = p[voted].sum(0) + smoothing
        new_prior /= new_prior.sum()
        new_errors = np.einsum("ic,ivk->vck", p[voted], one_hot[voted]) + smoothing
        new_errors /= new_errors.sum(2, keepdims=True)
        moved = max(abs(new_prior - prior).max(), abs(new_errors - errors).max())
        prior, errors = new_prior, new_errors
        p = posterior(votes, prior, errors)
        if number and moved <= tolerance:
            break
    return prior, errors, p


def votes():
    draw = np.random.default_rng(5)
    cases = []
    for items, voters, classes, abstain, smoothing in ((60, 4, 2, 0.0, 0.01), (120, 5, 3, 0.3, 0.01), (80, 3, 4, 0.2, 0.1)):
        true = draw.integers(classes, size=items)
        skill = draw.uniform(0.45, 0.95, voters)
        said = np.where(draw.random((items, voters)) < skill, true[:, None], draw.integers(classes, size=(items, voters)))
        said[draw.random((items, voters)) < abstain] = -1
        prior, errors, p = dawid_skene(said, classes, smoothing)
        frame = pd.DataFrame([(i, v, said[i, v]) for i in range(items) for v in range(voters) if said[i, v] >= 0],
                             columns=["task", "worker", "label"])
        kit = DawidSkene(n_iter=20, tol=-1e9).fit(frame)  # its bound falls at times, and it would stop there
        kit_p = np.full((items, classes), -1.0)
        for task, row in kit.probas_.iterrows():
            kit_p[task] = [row.get(c, 0.0) for c in range(classes)]
        cases.append({"classes": classes, "voters": voters, "smoothing": smoothing, "votes": said.tolist(),
                      "prior": prior.tolist(), "errors": errors.ravel().tolist(), "posterior": p.ravel().tolist(),
                      "crowd_kit": kit_p.ravel().tolist()})
    write("votes.json", cases)


if __name__ == "__main__":
    rouge()
    votes()
