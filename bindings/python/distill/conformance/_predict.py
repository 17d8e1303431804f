"""What a loss gives where it is right, and what it would give with defects: one computation with knobs, in doubles around the
library's own losses."""
import numpy as np

from .._training import Loss
from ._cases import log_softmax

SWAPPED = {"forward_kl": "reverse_kl", "reverse_kl": "forward_kl", "skew_forward_kl": "skew_reverse_kl", "skew_reverse_kl": "skew_forward_kl"}
WEIGHTS = {"jsd": "jsd__teacher_weight", "skew_forward_kl": "skew__lambda", "skew_reverse_kl": "skew__lambda"}
_handles = {}


class Claim:
    """What a loss says it is: a built-in's name and options (jsd__teacher_weight=0.3), T^2 or not, what it is given, how it reduces."""

    def __init__(self, loss=None, options=None, t_squared=None, targets="dense", reduction="mean", temperature=True):
        if targets not in ("dense", "top_k", "sampled"):
            raise ValueError("targets is %r: dense, top_k and sampled are checked" % (targets,))
        if reduction not in ("mean", "sum"):
            raise ValueError("reduction is %r: mean and sum are checked" % (reduction,))
        self.loss, self.options, self.t_squared = loss, dict(options or {}), t_squared
        self.targets, self.reduction, self.temperature = targets, reduction, temperature

    def __str__(self):
        said = ["%s = %s" % (name.replace("__", "."), value) for name, value in self.options.items()]
        return "%s%s, T squared %s, %s, %s targets" % (self.loss, " (%s)" % ", ".join(said) if said else "", "on" if self.t_squared else "off",
                                                        self.reduction, self.targets)


def _rows(name, options, z, t, labels):
    """Values [n] and gradients [n, width] at temperature 1 of logits that are divided already."""
    key = name, repr(sorted(options.items()))
    if key not in _handles:
        _handles[key] = Loss(name, **{"loss__" + option: value for option, value in options.items()})
    z, t = (np.ascontiguousarray(part.reshape(-1, part.shape[-1]), dtype=np.float32) for part in (z, t))
    gradient, values = np.zeros(z.shape, dtype=np.float32), np.zeros(len(z), dtype=np.float32)
    _handles[key](z, t, labels=np.maximum(labels.reshape(-1), 0), gradient=gradient, row_values=values)
    return values.astype(np.float64), gradient.astype(np.float64)


def _divergence(name, log_q, log_p):
    """Of distributions or of parts of them, with h = dL/dlog q; forward, reverse and generalised JSD are what top-k peers have."""
    with np.errstate(invalid="ignore"):
        if name == "forward_kl":
            return np.exp(log_p) * (log_p - log_q), -np.exp(log_p)
        return np.exp(log_q) * (log_q - log_p), np.exp(log_q) * (log_q - log_p + 1)


def _listed(kind, name, case, z):
    """A top-k target as others treat it: value and gradient of each row, with respect to z."""
    u = z[..., :case.vocab]
    log_q = log_softmax(u)
    log_p = np.asarray(case.log_probs, dtype=np.float64)
    here = np.take_along_axis(log_q, case.ids, -1)
    if kind == "bucket":
        rest = log_q.copy()
        np.put_along_axis(rest, case.ids, -np.inf, -1)
        tail_q = np.logaddexp.reduce(rest, -1)
        value, h = _divergence(name, np.concatenate([here, tail_q[..., None]], -1), np.concatenate([log_p, np.float64(case.tail)[..., None]], -1))
        full = np.exp(rest - tail_q[..., None]) * h[..., -1:]
        np.put_along_axis(full, case.ids, h[..., :-1], -1)
    else:
        if kind != "truncated":
            log_p = log_softmax(log_p)
        mine = log_softmax(here) if kind == "both" else here
        value, h = _divergence(name, mine, log_p)
        if kind == "both":
            h = h - np.exp(mine) * h.sum(-1, keepdims=True)
        full = np.zeros_like(log_q)
        np.put_along_axis(full, case.ids, h, -1)
        if kind == "both":
            return value.sum(-1), full
    return value.sum(-1), full - np.exp(log_q) * full.sum(-1, keepdims=True)


def _padded(z, width, fill):
    extra = width - z.shape[-1]
    return z if extra <= 0 else np.concatenate([z, np.full(z.shape[:-1] + (extra,), fill)], -1)


def _vocabulary(case, how):
    """Student's and teacher's logits over the ids that count: by how, all of them, or filled up."""
    z, t = np.asarray(case.student, dtype=np.float64), np.asarray(case.dense, dtype=np.float64)
    if how == "valid":
        return z[..., :case.vocab], t[..., :case.vocab]
    width = max(z.shape[-1], t.shape[-1])
    if how == "zeroes":
        return _padded(z, width, 0.0), _padded(t, width, 0.0)
    if how == "other" and z.shape[-1] != t.shape[-1]:
        return (np.concatenate([a, b[..., a.shape[-1]:]], -1) if b.shape[-1] > a.shape[-1] else a for a, b in ((z, t), (t, z)))
    return z, t


def _plainly(name, kind, z, t):
    """A dense divergence written out, where it is wrong in a way that the library's own cannot be made to be: values and gradients of rows."""
    log_q, log_p = (log_softmax(part.reshape(-1, part.shape[-1])) for part in (z, t))
    q = np.exp(log_q)
    if kind == "clamped":
        floor = np.log(1e-8)
        value, h = _divergence(name, np.maximum(log_q, floor), log_p)
        h = np.where(log_q > floor, h, 0)
    elif kind == "without the student's entropy":
        value, h = -q * log_p, -q * log_p
    else:
        value, h = _divergence(name, log_q, log_p)
    return value.sum(-1), h if kind == "not through the softmax" else h - q * h.sum(-1, keepdims=True)


def _row_results(claim, case, knobs):
    """Values [n] and gradients [n, width], T^2 left out; None where the knobs do not fit the case."""
    temperature = case.temperature if claim.temperature else 1.0
    student_t, teacher_t = (knobs.get(which, temperature) for which in ("student_temperature", "teacher_temperature"))
    name, options = knobs.get("loss", claim.loss), knobs.get("options", claim.options)
    if claim.targets == "top_k":
        if name not in ("forward_kl", "reverse_kl"):
            return None
        z = np.asarray(case.student, dtype=np.float64)[..., :case.vocab]
        values, gradients = _listed(knobs.get("top_k", "bucket"), name, case, z / student_t)
        if knobs.get("clamped"):
            gradients, values = np.where(values[..., None] < 0, 0, gradients), np.maximum(values, 0)
        values, gradients = values.reshape(-1), gradients.reshape(-1, gradients.shape[-1])
    else:
        z, t = _vocabulary(case, knobs.get("vocabulary", "valid"))
        if z.shape != t.shape:
            return None
        if "plainly" in knobs:
            values, gradients = _plainly(name, knobs["plainly"], z / student_t, t / teacher_t)
        else:
            values, gradients = _rows(name, options, z / student_t, t / teacher_t, case.labels)
        if "gradient_options" in knobs:
            gradients = _rows(name, dict(options, **knobs["gradient_options"]), z / student_t, t / teacher_t, case.labels)[1]
        if "gradient_loss" in knobs:
            gradients = _rows(knobs["gradient_loss"], options, z / student_t, t / teacher_t, case.labels)[1]
        if knobs.get("without_entropy"):
            log_p = log_softmax(t / teacher_t)
            values = values - (np.exp(log_p) * log_p).sum(-1).reshape(-1)
    gradients = gradients / student_t
    t_squared = claim.t_squared and temperature ** 2 or 1.0
    values = values * knobs.get("value_t_squared", lambda T, now: now)(temperature, t_squared)
    gradients = gradients * knobs.get("gradient_t_squared", lambda T, now: now)(temperature, t_squared)
    if knobs.get("by_scaled_logits"):
        gradients = gradients * student_t
    if "sign" in knobs:
        values, gradients = values * knobs["sign"], gradients * knobs["sign"]
    if "hard_share" in knobs and claim.targets == "dense":
        hard_values, hard = _rows("cross_entropy", {}, z, t, case.labels)
        share = knobs["hard_share"]
        values, gradients = share * hard_values + (1 - share) * values, share * hard + (1 - share) * gradients
    return values, gradients


def predict(claim, case, knobs=None):
    """(value, gradient) with the defects that knobs say; {} = right. None where they do not fit."""
    knobs = knobs or {}
    results = _row_results(claim, case, knobs)
    if results is None:
        return None
    values, gradients = results
    mask = np.asarray(knobs.get("mask", lambda case: case.mask)(case), dtype=np.float64).reshape(-1)
    usual = case.divisor if claim.reduction == "mean" else 1.0
    if knobs.get("by_sequence"):
        mask = (case.mask / np.maximum(case.mask.sum(-1, keepdims=True), 1) / len(case.mask)).reshape(-1)
        usual = 1.0
    divisor = knobs.get("divisor", lambda case, usual: usual)(case, usual)
    whole = np.zeros(case.student.shape)
    gradients = (gradients * mask[:, None] / knobs.get("gradient_divisor", lambda case, usual: divisor)(case, usual)).reshape(case.student.shape[:2] + (-1,))
    width = min(whole.shape[-1], gradients.shape[-1])
    whole[..., :width] = gradients[..., :width]
    return float((values * mask).sum() / divisor), whole
