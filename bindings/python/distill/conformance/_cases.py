"""What a loss is asked: rows of logits with labels, at a temperature, of a micro-batch of a window."""
import numpy as np


class Case:
    """One call of a loss. Arrays are numpy's, or torch tensors for losses that take those.

    student      [sequences, rows, width] float32 logits; row i speaks of the token that follows position i
    teacher      the same; None where the target is top_k or sampled
    labels       [sequences, rows] int64: the token of each row, aligned with it; -100 = the row carries no loss
    mask         labels >= 0
    temperature  at which both are compared
    vocab        ids from here on are padding
    divisor      rows with loss in the whole window of micro-batches: what a mean divides by
    dataset_labels   labels that the data came with before an answer was generated: nothing should count them
    ids, log_probs, tail   top_k: [.., k] the teacher's likeliest ids, their log-probabilities at the temperature; [..] log of the rest
    sampled, sampled_log_prob   sampled: [..] one id drawn from the student, and what the teacher gives it
    """
    ARRAYS = ("student", "teacher", "labels", "mask", "dataset_labels", "ids", "log_probs", "tail", "sampled", "sampled_log_prob")

    def __init__(self, name, student, teacher, labels=None, temperature=1.0, vocab=None, divisor=None, dataset_labels=None, optional=False):
        self.name, self.student, self.teacher, self.temperature = name, student, teacher, temperature
        self.labels = np.tile(np.arange(student.shape[1]) % 5, (student.shape[0], 1)) if labels is None else labels
        self.mask = self.labels >= 0
        self.vocab = vocab or min(student.shape[2], teacher.shape[2])
        self.divisor = int(self.mask.sum()) if divisor is None else divisor
        self.dataset_labels = self.labels if dataset_labels is None else dataset_labels
        self.optional = optional  # a loss may refuse it
        self.ids = self.log_probs = self.tail = self.sampled = self.sampled_log_prob = None
        self.dense = teacher  # what a target was made of; not for losses

    def but(self, **changes):
        """The same case with other arrays."""
        made = Case.__new__(Case)
        made.__dict__.update(self.__dict__, **changes)
        if "labels" in changes:
            made.mask = made.labels >= 0
            made.divisor = changes.get("divisor", int(made.mask.sum()))
            made.dataset_labels = changes.get("dataset_labels", made.labels)
        if "teacher" in changes and "dense" not in changes:
            made.dense = made.teacher
        return made

    def cut(self, part):
        """Some of its sequences; the window stays as it was."""
        made = self.but(**{name: getattr(self, name)[part] for name in self.ARRAYS if getattr(self, name) is not None})
        made.dense, made.divisor, made.mask = self.dense[part], self.divisor, self.labels[part] >= 0
        made.dataset_labels = self.dataset_labels[part]
        return made


def log_softmax(z):
    z = np.asarray(z, dtype=np.float64)
    top = z.max(-1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))


def with_top_k(case, k):
    """The teacher known by its k likeliest ids and the mass of the rest."""
    log_p = log_softmax(case.dense[..., :case.vocab] / case.temperature)
    ids = np.argsort(-log_p, axis=-1, kind="stable")[..., :k]
    listed = np.take_along_axis(log_p, ids, -1)
    rest = log_p.copy()
    np.put_along_axis(rest, ids, -np.inf, -1)
    return case.but(teacher=None, dense=case.dense, ids=ids, log_probs=listed.astype(np.float32), tail=np.logaddexp.reduce(rest, -1).astype(np.float32))


def with_sample(case, token):
    """The same id drawn in every row."""
    log_p = log_softmax(case.dense[..., :case.vocab] / case.temperature)
    return case.but(teacher=None, dense=case.dense, sampled=np.full(case.labels.shape, token),
                    sampled_log_prob=log_p[..., token].astype(np.float32))


def _masked(labels, *places):
    labels = labels.copy()
    for place in places:
        labels[place] = -100
    return labels


def cases():
    """The cases whose values and gradients are compared."""
    random = np.random.default_rng(11)

    def logits(width, scale=1.5):
        return (random.normal(size=(3, 6, width)) * scale).astype(np.float32)

    z, t = logits(12), logits(12)
    labels = random.integers(0, 12, size=(3, 6))
    prompts = _masked(labels, np.s_[0, :2], np.s_[1, :4], np.s_[2, 5:])
    longer = _masked(labels, np.s_[1, :1])
    wide_z, wide_t = logits(16), logits(16)
    far_z, far_t = logits(12, 12.0), logits(12, 12.0)
    return [
        Case("plain", z, t, labels), Case("temperature 2", z, t, labels, 2.0), Case("temperature 0.5", z, t, labels, 0.5),
        Case("prompts masked", z, t, prompts), Case("prompts masked, temperature 3", z, t, prompts, 3.0),
        Case("one of several micro-batches", z, t, prompts, divisor=31),
        Case("other labels in the data", z, t, prompts, dataset_labels=longer), Case("far apart", far_z, far_t, labels),
        Case("padded vocabulary", wide_z, wide_t, labels, vocab=12, optional=True),
        Case("student padded to a wider vocabulary", wide_z, t, labels, vocab=12, optional=True),
        Case("teacher padded to a wider vocabulary", z, wide_t, labels, vocab=12, optional=True),
    ]


def surer(k):
    """A student that gives the teacher's k ids more than the teacher does."""
    case = with_top_k(cases()[0], k)
    student = case.dense.copy()
    np.put_along_axis(student, case.ids, np.take_along_axis(student, case.ids, -1) + np.float32(2), -1)
    return case.but(name="student surer of the k ids than its teacher", student=student)


def confident(width=12):
    """A student that is sure, and whose other ids share less than fp32 can tell from 1; the teacher is not."""
    random = np.random.default_rng(12)
    z = random.normal(size=(1, 4, width)).astype(np.float32)
    t = random.normal(size=(1, 4, width)).astype(np.float32)
    z[..., 3] += 19
    t[..., 3] += 3
    return Case("confident student", z, t)
