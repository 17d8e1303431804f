"""What a model says about rows: targets that a loss takes, the form of a host's rows, rows lent by the library."""
import ctypes
from ctypes import c_int32

from . import _signatures as c
from ._callbacks import Borrowed
from ._tensor import View, argument

_KINDS = {c.DISTILL_DENSE: "dense", c.DISTILL_TOPK: "top_k", c.DISTILL_SAMPLED: "sampled", c.DISTILL_HIDDEN: "hidden",
          c.DISTILL_ONE_HOT: "one_hot"}


def target_of(kind, temperature, vocab_valid, logit_scale=0.0, softcap=0.0, **parts):
    """A distill_target; parts: arrays by the names of its fields, None = absent."""
    given = {name: argument(value) for name, value in parts.items() if value is not None}
    target = c.distill_target(struct_size=ctypes.sizeof(c.distill_target), kind=kind, temperature=temperature,
                              vocab_valid=vocab_valid, logit_scale=logit_scale, softcap=softcap)
    for name, part in given.items():
        setattr(target, name, ctypes.pointer(part.tensor))
    target.kept = given
    return target


def dense(values, temperature=0.0, vocab_valid=0):
    """A target: logits [rows, vocab]."""
    return target_of(c.DISTILL_DENSE, temperature, vocab_valid, values=values)


def hidden(values, head, bias=None, temperature=0.0, vocab_valid=0, logit_scale=0.0, softcap=0.0):
    """A target: hidden states [rows, width] and the head [vocab, width] that makes logits of them; no logits tensor is made."""
    return target_of(c.DISTILL_HIDDEN, temperature, vocab_valid, logit_scale, softcap, values=values, head=head, bias=bias)


def top_k(log_probs, ids, tail=None, temperature=0.0, vocab_valid=0):
    """A target: log-probabilities [rows, k] of ids [rows, k], -1 = unused; tail [rows]: log of the mass outside, None = what is left."""
    return target_of(c.DISTILL_TOPK, temperature, vocab_valid, values=log_probs, ids=ids, tail=tail)


def sampled(counts, ids, temperature=0.0, vocab_valid=0, entropy=None):
    """A target: ids [rows, k] drawn from the teacher, -1 = unused, and how often each was drawn, counts [rows, k]. entropy [rows]: of what was
    drawn from, in nats; without it the value of forward_kl is a soft cross-entropy."""
    return target_of(c.DISTILL_SAMPLED, temperature, vocab_valid, values=counts, ids=ids, entropy=entropy)


def one_hot(ids, vocab_valid=0):
    """A target: one id for each row, ids [rows]."""
    return target_of(c.DISTILL_ONE_HOT, 0.0, vocab_valid, ids=ids)


class Target(Borrowed):
    """Rows that the library lends until a callback or step ends: values, ids, tail and entropy are arrays, None where there are none.
    A loss takes it as it is."""

    def __init__(self, raw, writable=False):
        self.raw, self.views = raw, []
        self.kind, self.temperature, self.vocab_valid = _KINDS.get(raw.kind, ""), raw.temperature, raw.vocab_valid
        self.values, self.ids, self.tail, self.entropy = (self._array(part, writable) for part in (raw.values, raw.ids, raw.tail, raw.entropy))

    def _array(self, tensor, writable):
        if not tensor:
            return None
        view = View(tensor.contents, writable=writable)
        self.views.append(view)
        return view.array()

    def expire(self):
        for view in self.views:
            view.expire()
        super().expire()


class Form:
    """The form of a host's rows: DENSE by vocab, TOPK by k (tail: the mass outside is given), SAMPLED by draws (entropy: that
    of the distribution is given), ONE_HOT by one_hot, HIDDEN by head (and bias)."""

    def __init__(self, vocab=None, k=None, tail=False, head=None, bias=None, temperature=0.0, vocab_valid=0, logit_scale=0.0,
                 softcap=0.0, draws=None, one_hot=False, entropy=False):
        kinds = [kind for kind, said in ((c.DISTILL_HIDDEN, head is not None), (c.DISTILL_TOPK, k), (c.DISTILL_SAMPLED, draws),
                                         (c.DISTILL_ONE_HOT, one_hot)) if said]
        if len(kinds) > 1:
            raise ValueError("a form is one of head, k, draws and one_hot")
        kind = kinds[0] if kinds else c.DISTILL_DENSE
        sparse = kind in (c.DISTILL_TOPK, c.DISTILL_SAMPLED, c.DISTILL_ONE_HOT)
        if tail and kind != c.DISTILL_TOPK:
            raise ValueError("tail goes with k")
        if entropy and kind != c.DISTILL_SAMPLED:
            raise ValueError("entropy goes with draws")
        if not vocab and kind != c.DISTILL_HIDDEN:
            raise ValueError("a form needs vocab, the number of ids")
        self.target = c.distill_target(struct_size=ctypes.sizeof(c.distill_target), kind=kind, temperature=temperature,
                                       vocab_valid=vocab_valid or (vocab if sparse else 0), logit_scale=logit_scale, softcap=softcap)
        self._kept = []
        if kind == c.DISTILL_HIDDEN:
            self._put("head", argument(head))
            self._put("values", self._shaped(1, self._kept[-1].shape[1]))
            if bias is not None:
                self._put("bias", argument(bias))
        elif kind == c.DISTILL_ONE_HOT:
            self._put("ids", self._shaped(1, whole=True))
        else:
            self._put("values", self._shaped(1, k or draws or vocab))
            if sparse:
                self._put("ids", self._shaped(1, k or draws, whole=True))
            if tail:
                self._put("tail", self._shaped(1))
            if entropy:
                self._put("entropy", self._shaped(1))

    @staticmethod
    def _shaped(*shape, whole=False):
        count = 1
        for extent in shape:
            count *= extent
        memory = ((c_int32 if whole else ctypes.c_float) * count)()
        return argument(memoryview(memory).cast("B").cast("i" if whole else "f", shape))

    def _put(self, name, given):
        self._kept.append(given)
        setattr(self.target, name, ctypes.pointer(given.tensor))
