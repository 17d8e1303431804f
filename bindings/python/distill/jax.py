"""The built-in losses as differentiable functions of JAX arrays, computed on the CPU through jax.pure_callback.

    import distill.jax
    loss, gradient = jax.value_and_grad(distill.jax.forward_kl)(student_logits, teacher_logits, temperature=2.0)

Every built-in loss is a function here (docs/losses.md), under jit, grad and vmap, too; second derivatives are refused.

    student     logits [..., vocab] in float32, float16 or bfloat16; the gradient comes in the same type
    target      the teacher's logits, or top_k, sampled, one_hot of this module; no gradient goes to it
    labels, mask, weights, reduction, temperature, t_squared, log_floor, step, vocab_valid   as in distill.torch; what is not an
                array is fixed when a function is traced
"""
import inspect as _inspect

try:
    import jax as _jax
    import jax.numpy as _jnp
    import numpy as _numpy
except ImportError as error:
    raise ImportError("distill.jax needs JAX, which is not installed here (pip install jax); distill.Loss takes numpy arrays") from error

from . import _signatures as c
from ._losses import builtins as _builtins, handle as _handle
from ._targets import target_of as _target_of
from ._tensor import bfloat16 as _bfloat16


@_jax.tree_util.register_pytree_node_class
class Target:
    """What a teacher said that is not logits: arrays by name, with the leading shape of the student's rows."""

    def __init__(self, kind, temperature, parts):
        self.kind, self.temperature, self.parts = kind, temperature, parts

    def tree_flatten(self):
        names = sorted(self.parts)
        return [self.parts[name] for name in names], (self.kind, self.temperature, tuple(names))

    @classmethod
    def tree_unflatten(cls, aux, arrays):
        return cls(aux[0], aux[1], dict(zip(aux[2], arrays)))


def top_k(log_probs, ids, tail=None, temperature=0.0):
    """As distill.top_k."""
    parts = {"values": log_probs, "ids": ids}
    return Target(c.DISTILL_TOPK, temperature, parts if tail is None else dict(parts, tail=tail))


def sampled(counts, ids, temperature=0.0, entropy=None):
    """As distill.sampled."""
    parts = {"values": counts, "ids": ids}
    return Target(c.DISTILL_SAMPLED, temperature, parts if entropy is None else dict(parts, entropy=entropy))


def one_hot(ids):
    """As distill.one_hot."""
    return Target(c.DISTILL_ONE_HOT, 0.0, {"ids": ids})


def _given(array, rows):
    """Rows in a row, as numpy or, in bfloat16, as what the library calls so."""
    flat = _numpy.asarray(array)
    flat = flat.reshape((rows, -1) if flat.size != rows or flat.ndim > 1 else (rows,))
    return _bfloat16(flat) if flat.dtype.name == "bfloat16" else flat


def _evaluate(loss, kind, temperature, names, step, vocab_valid, shape, student, labels, weights, *parts):
    """On the host: the sum, its divisor and the gradient of the sum."""
    rows = int(_numpy.prod(shape[:-1]))
    gradient = _numpy.zeros((rows, shape[-1]), dtype=_numpy.float32)
    per_row = {"ids": kind == c.DISTILL_ONE_HOT, "tail": True, "entropy": True}
    given = {name: _given(part, rows) if not per_row.get(name) else _numpy.asarray(part).reshape(rows) for name, part in zip(names, parts)}
    target = _target_of(kind, temperature, vocab_valid, **given) if kind else None
    flat = _numpy.asarray(student).reshape(rows, shape[-1])
    flat = _bfloat16(flat) if flat.dtype.name == "bfloat16" else flat
    result = loss(_target_of(c.DISTILL_DENSE, 0.0, vocab_valid, values=flat), target, labels=_numpy.asarray(labels).reshape(rows),
                  weights=_numpy.asarray(weights).reshape(rows), gradient=gradient, step=step)
    return _numpy.float32(result.sum), _numpy.float32(result.weight_sum), gradient.reshape(shape)


def _host_call(name, evaluate, shape):
    """The callback as JAX sees it: no derivative of its own."""
    out = (_jax.ShapeDtypeStruct((), _numpy.float32), _jax.ShapeDtypeStruct((), _numpy.float32), _jax.ShapeDtypeStruct(shape, _numpy.float32))

    @_jax.custom_jvp
    def run(*arrays):
        return _jax.pure_callback(evaluate, out, *arrays, vmap_method="sequential")

    @run.defjvp
    def refuse(*_):
        raise NotImplementedError("distill.jax.%s: second derivatives are not implemented; its gradient is a constant" % name)

    return run


def _differentiable(name, evaluate, mean, shape):
    run = _host_call(name, evaluate, shape)

    def scaled(total, divisor):
        return total / _jnp.where(divisor != 0, divisor, 1) if mean else total

    @_jax.custom_vjp
    def value(student, *others):
        total, divisor, _ = run(student, *others)
        return scaled(total, divisor)

    def forward(student, *others):
        total, divisor, gradient = run(student, *others)
        return scaled(total, divisor), (scaled(gradient, divisor).astype(student.dtype), others)

    def backward(kept, outer):
        gradient, others = kept
        none = [_numpy.zeros(other.shape, dtype=_jax.dtypes.float0) if not _jnp.issubdtype(other.dtype, _jnp.inexact)
                else _jnp.zeros_like(other) for other in others]
        return (outer.astype(gradient.dtype) * gradient, *none)

    value.defvjp(forward, backward)
    return value


def _per_row(array, shape, what, name):
    if array is not None and tuple(_jnp.shape(array)) != tuple(shape):
        raise ValueError("distill.jax.%s: %s have shape %s, the rows %s" % (name, what, list(_jnp.shape(array)), list(shape)))


def _call(name, loss, student, target=None, *, labels=None, mask=None, weights=None, reduction="mean", step=0, vocab_valid=0):
    if reduction not in ("mean", "sum"):
        raise ValueError("reduction is %r; it is \"mean\" (over the weights of the rows that count) or \"sum\"" % (reduction,))
    student = _jnp.asarray(student)
    rows = student.shape[:-1]
    for what, array in (("labels", labels), ("mask", mask), ("weights", weights)):
        _per_row(array, rows, what, name)
    counts = _jnp.ones(rows, dtype=_jnp.float32) if weights is None else _jnp.asarray(weights).astype(_jnp.float32)
    if mask is not None:
        counts = _jnp.where(mask, counts, 0)
    if labels is None and _builtins()[name].needs_labels:
        raise ValueError("distill.jax.%s needs labels" % name)
    if target is not None and not isinstance(target, Target):
        target = Target(c.DISTILL_DENSE, 0.0, {"values": _jnp.asarray(target)})
    parts, fixed = ([], (0, 0.0, ())) if target is None else target.tree_flatten()
    for part in parts:
        if tuple(part.shape[:len(rows)]) != tuple(rows):
            raise ValueError("distill.jax.%s: target has rows %s, the student %s" % (name, list(part.shape[:len(rows)]), list(rows)))

    def evaluate(*arrays):
        return _evaluate(loss, *fixed, step, vocab_valid, tuple(student.shape), *arrays)

    labels = _jnp.zeros(rows, dtype=_jnp.int32) if labels is None else _jnp.asarray(labels)
    parts = [_jax.lax.stop_gradient(part) for part in parts]
    value = _differentiable(name, evaluate, reduction == "mean", tuple(student.shape))
    return value(student, labels, _jax.lax.stop_gradient(counts), *parts)


def _function(builtin):
    shared = list(_inspect.signature(_call).parameters.values())[2:]
    run_keywords = {parameter.name for parameter in shared}

    def function(student, target=None, *, temperature=None, t_squared=None, log_floor=None, **keywords):
        own = {key: keywords.pop(key) for key in list(keywords) if key not in run_keywords}
        return _call(builtin.name, _handle(builtin.name, temperature, t_squared, log_floor, own), student, target, **keywords)

    of_loss = [_inspect.Parameter(key, _inspect.Parameter.KEYWORD_ONLY, default=None) for key in ("temperature", "t_squared", "log_floor")]
    function.__name__ = function.__qualname__ = builtin.name
    function.__module__ = __name__
    function.__signature__ = builtin.signature(shared + of_loss)
    function.__doc__ = builtin.document() + ". Arguments: help(distill.jax)."
    return function


_OWN = [_builtin for _builtin in _builtins().values() if not _builtin.preset]  # those of other tools are distill.torch's
for _builtin in _OWN:
    globals()[_builtin.name] = _function(_builtin)
__all__ = ["top_k", "sampled", "one_hot"] + [_builtin.name for _builtin in _OWN]
