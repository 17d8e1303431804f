"""The built-in losses as differentiable functions of torch tensors on the CPU; nothing of them is copied.

    import distill.torch
    loss = distill.torch.forward_kl(student_logits, teacher_logits, labels=labels, temperature=2.0)
    loss.backward()

Every built-in loss is a function here (docs/losses.md), and beside it `fused_linear_<name>`, which takes hidden states and the
head's weight instead of logits and makes no [rows, vocab] tensor. `loss` and `fused_linear` take any `distill.Loss`: a sum of
several, or one of a host's own.

    student     logits [..., vocab], or hidden [..., width] and head [vocab, width] (and bias [vocab]); float32, float64, float16
                or bfloat16, with any strides. Gradients come in the type of what they are of; sums are formed in float32 or better.
    target      the teacher's logits, shaped as the student's; or distill.dense, hidden, top_k, sampled, one_hot over all rows in order.
                No gradient goes to it: what asks for one is refused.
    labels      [...] the token that follows each row: nothing is shifted; negative = no loss there
    mask        [...] bool, True = counts; weights [...] float, 0 = does not count
    temperature, t_squared, log_floor   as the options of the section loss say; None = the default
    reduction   "mean": over the weights of the rows that count, 0 where there are none; "sum"
    step        for schedules
    vocab_valid ids from here on are padding, outside both distributions; 0 = none
    memory      bytes that a call takes at most beside its tensors; 0 = 64 MiB

dpo compares pairs: student [2 * pairs, tokens, vocab], where sequence 2i is chosen and 2i + 1 rejected, labels [2 * pairs, tokens] (negative
in prompts and padding), `reference` [2 * pairs] the reference's log-probability of each sequence's labels (None = 0), and with label="teacher"
`preference` [2 * pairs] the teacher's. Its mean is over pairs.

trl_gkd, distillkit, msswift_topk and verl_trunc are losses as other tools have them, to compare numbers with: what they give is divided as
that tool does, whatever the reduction, and `divisor` is what the tool is told to divide by (num_items_in_batch).
"""
import ctypes
import inspect as _inspect
import sys as _sys

try:
    import torch as _torch
except ImportError as error:
    raise ImportError("distill.torch needs PyTorch, which is not installed here (pip install torch); distill.Loss takes numpy arrays") from error

from . import _signatures as c
from ._errors import call
from ._losses import builtins as _builtins, function_name as _function_name, handle as _handle
from ._base import sized as _sized
from ._training import Loss as _Loss
from ._targets import Target as _Target, target_of as _target_of
from ._tensor import Argument as _Argument

_libc = ctypes.CDLL(None) if _sys.platform == "linux" else None
_DTYPES = {_torch.float32: (c.DISTILL_FLOAT, 32), _torch.float64: (c.DISTILL_FLOAT, 64), _torch.float16: (c.DISTILL_FLOAT, 16),
           _torch.bfloat16: (c.DISTILL_BFLOAT, 16), _torch.int32: (c.DISTILL_INT, 32), _torch.int64: (c.DISTILL_INT, 64)}


def _view(tensor, name):
    """The tensor's memory as an argument."""
    if tensor.device.type != "cpu":
        raise ValueError("%s is on %s: libdistill computes on the CPU; take %s.cpu()" % (name, tensor.device, name))
    if tensor.dtype not in _DTYPES or tensor.layout != _torch.strided:
        raise TypeError("%s is a %s tensor of %s: strided float32, float64, float16, bfloat16, int32 and int64 are taken" %
                        (name, tensor.layout, tensor.dtype))
    if tensor.is_conj() or tensor.is_neg():
        raise TypeError("%s is a lazy conjugate or negative: take %s.resolve_neg()" % (name, name))
    code, bits = _DTYPES[tensor.dtype]
    shape, strides = ((ctypes.c_int64 * max(tensor.ndim, 1))(*part) for part in (tensor.shape, tensor.stride()))
    raw = c.distill_tensor(data=tensor.data_ptr(), device_type=c.DISTILL_CPU, ndim=tensor.ndim, dtype_code=code, dtype_bits=bits,
                           dtype_lanes=1, shape=shape, strides=strides)
    return _Argument(raw, tensor, shape, strides)


def _slice(target, first, rows):
    """Rows of a target that is given as a whole."""
    cut = c.distill_target.from_buffer_copy(target)
    cut.kept = [target]
    for name in ("values", "ids", "tail", "entropy"):
        part = getattr(target, name)
        if not part:
            continue
        tensor = c.distill_tensor.from_buffer_copy(part.contents)
        shape = (ctypes.c_int64 * tensor.ndim)(*([rows] + tensor.shape[1:tensor.ndim]))
        width = 1
        for extent in tensor.shape[1:tensor.ndim]:
            width *= extent
        tensor.byte_offset += first * (tensor.strides[0] if tensor.strides else width) * (tensor.dtype_bits // 8)
        tensor.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
        setattr(cut, name, ctypes.pointer(tensor))
        cut.kept.append((tensor, shape))
    return cut


class _Job:
    """What a function was asked: everything but the tensors that gradients are wanted of."""

    def __init__(self, name, loss, target, rows, labels, mask, weights, reduction, step, vocab_valid, memory, head, divisor, reference=None,
                 preference=None):
        if reduction not in ("mean", "sum"):
            raise ValueError("reduction is %r; it is \"mean\" (over the weights of the rows that count) or \"sum\"" % (reduction,))
        self.name, self.loss, self.rows, self.reduction, self.step, self.vocab_valid = name, loss, rows, reduction, step, vocab_valid
        self.memory, self.head, self.divisor = memory, head, divisor  # of the fused form: logit_scale, softcap; of presets
        self.target = self._target(target, name)
        self.labels = self._per_row(labels, "labels", (_torch.int32, _torch.int64))
        self.weights = self._per_row(weights, "weights", (_torch.float32, _torch.float64, _torch.float16, _torch.bfloat16))
        mask = self._per_row(mask, "mask", (_torch.bool,))
        if mask is not None:
            self.weights = mask.float() if self.weights is None else _torch.where(mask, self.weights.float(), 0.0)
        self.pairs = {key: self._per_sequence(tensor, key) for key, tensor in (("reference", reference), ("preference", preference))
                      if tensor is not None}

    def _per_sequence(self, tensor, what):
        tensor = _torch.as_tensor(tensor)
        sequences = self.rows[:-1].numel()
        if tensor.requires_grad:
            raise ValueError("%s: %s requires a gradient, and none goes to it: take .detach()" % (self.name, what))
        if tensor.numel() != sequences:
            raise ValueError("%s: %s has %d numbers; there are %d sequences" % (self.name, what, tensor.numel(), sequences))
        return tensor.reshape(-1).to(_torch.float32).contiguous()

    def _target(self, target, name):
        if isinstance(target, _Target):
            return target.raw
        if target is None or isinstance(target, c.distill_target):
            return target
        if not isinstance(target, _torch.Tensor):
            raise TypeError("%s: target is a %s; it is a tensor of logits, or distill.dense, hidden, top_k, sampled, one_hot" %
                            (name, type(target).__name__))
        if target.requires_grad and _torch.is_grad_enabled():
            raise ValueError("%s: target requires a gradient, and none goes to a teacher: take target.detach()" % name)
        if tuple(target.shape[:-1]) != tuple(self.rows):
            raise ValueError("%s: target has rows %s, the student %s" % (name, list(target.shape[:-1]), list(self.rows)))
        return target.detach()

    def _per_row(self, tensor, what, dtypes):
        if tensor is None:
            return None
        tensor = _torch.as_tensor(tensor)
        if tensor.dtype not in dtypes:
            raise TypeError("%s: %s are of type %s; they are %s" % (self.name, what, tensor.dtype, " or ".join(str(one) for one in dtypes)))
        if tensor.requires_grad:
            raise ValueError("%s: %s require a gradient, and none goes to them: take .detach()" % (self.name, what))
        if tuple(tensor.shape) != tuple(self.rows):
            raise ValueError("%s: %s have shape %s, the rows %s" % (self.name, what, list(tensor.shape), list(self.rows)))
        return tensor.reshape(-1)

    def run(self, student, gradient, head=None, bias=None, grad_head=None, grad_bias=None):
        """The sum and its divisor; gradients are of the sum."""
        total = divisor = 0.0
        pieces = list(self._pieces(student, gradient, self.target, 0))
        if len(pieces) > 1 and self.pairs:
            raise ValueError("%s: no strides go through all sequences, and pairs stay together: take .contiguous()" % self.name)
        if len(pieces) > 1 and self.loss.preset and not self.divisor:
            self.divisor = max(self._count(student.shape[:-1].numel()), 1)  # of all pieces
        for first, rows, part, into, target in pieces:
            args = self._arguments(part, into, target, head, bias, grad_head, grad_bias, first > 0)
            whose = _torch.arange(rows) // student.shape[-2] if student.dim() > 2 and rows > student.shape[-2] > 0 else None
            for name, tensor in (("labels", self._part(self.labels, first, rows)), ("weights", self._part(self.weights, first, rows)),
                                 ("sequences", whose), *self.pairs.items()):
                if tensor is not None:
                    setattr(args, name, ctypes.pointer(_view(tensor, name).tensor))
            call("loss_eval", self.loss.raw, args)
            total, divisor = total + args.sum, 1.0 if self.loss.preset else divisor + args.weight_sum
        return total, divisor

    @staticmethod
    def _part(per_row, first, rows):
        return None if per_row is None else per_row[first:first + rows]

    def _count(self, rows):
        counts = _torch.ones(rows, dtype=_torch.bool)
        counts = counts if self.labels is None else counts & (self.labels >= 0)
        return int((counts if self.weights is None else counts & (self.weights != 0)).sum())

    def _arguments(self, student, gradient, target, head, bias, grad_head, grad_bias, add):
        values = _view(student, "the student")
        if head is None:
            form = _target_of(c.DISTILL_DENSE, 0.0, self.vocab_valid, values=values)
        else:
            form = _target_of(c.DISTILL_HIDDEN, 0.0, self.vocab_valid, **self.head, values=values, head=_view(head, "head"),
                              bias=None if bias is None else _view(bias, "bias"))
        args = _sized(c.distill_loss_args, flags=c.DISTILL_ADD_HEAD if add else 0, student=ctypes.pointer(form), step=self.step,
                      memory=self.memory, divisor=self.divisor)
        if target is not None:
            given = isinstance(target, c.distill_target)
            raw = target if given else _target_of(c.DISTILL_DENSE, 0.0, self.vocab_valid, values=_view(target, "target"))
            args.teacher = ctypes.pointer(raw)
        for name, tensor in (("grad_values", gradient), ("grad_head", grad_head), ("grad_bias", grad_bias)):
            if tensor is not None:
                setattr(args, name, ctypes.pointer(_view(tensor, name).tensor))
        return args

    def _pieces(self, student, gradient, target, first):
        """(first row, rows, student, gradient, target) as views of two dimensions: one, or as many as strides ask for."""
        rows = student.shape[:-1].numel()
        if not rows and first:
            return
        try:
            flat = [None if part is None else part.view(-1, part.shape[-1]) if part.numel() else part.reshape(rows, part.shape[-1])
                    for part in (student, gradient, target if isinstance(target, _torch.Tensor) else None)]
        except RuntimeError:  # no strides say it
            for i in range(student.shape[0]):
                inner = target[i] if isinstance(target, _torch.Tensor) else target
                yield from self._pieces(student[i], None if gradient is None else gradient[i], inner, first + i * (rows // student.shape[0]))
            return
        if isinstance(target, c.distill_target):
            flat[2] = _slice(target, first, rows) if rows != self.rows.numel() else target
        yield (first, rows, *flat)


class _Product(_torch.autograd.Function):
    """The gradient times that of what the loss goes into."""

    @staticmethod
    def forward(ctx, name, factor, gradient, dtype, _):
        ctx.name = name
        return (gradient if factor == 1 else gradient * factor).to(dtype)

    @staticmethod
    def backward(ctx, *_):
        raise RuntimeError("%s: second derivatives are not implemented; its gradient is a constant" % ctx.name)


def _keep(ctx, job, dtypes, total, divisor, *gradients):
    """What backward needs, and the value."""
    divisor = 1.0 if job.reduction == "sum" or not divisor else divisor
    ctx.name, ctx.divisor, ctx.dtypes = job.name, divisor, dtypes
    ctx.save_for_backward(*gradients)
    return _torch.tensor(total / divisor, dtype=_torch.float64 if dtypes[0] == _torch.float64 else _torch.float32)


def _gradients(ctx, outer):
    # with create_graph the result has to ask for a gradient, or a second derivative would be 0 and nobody told
    link = _torch.empty(0, requires_grad=True) if _torch.is_grad_enabled() else None
    factor = outer if ctx.divisor == 1 else outer / ctx.divisor
    return [None if gradient is None else _Product.apply(ctx.name, factor.to(gradient.dtype), gradient, dtype, link)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes)]


def _in_large_pages(tensor):
    """Memory that is new is made page by page as it is first written: of a gradient as large as the logits that takes longer than the loss. Only advice."""
    advise, large, page = getattr(_libc, "madvise", None), 14, 1 << 21  # MADV_HUGEPAGE
    first = -(-tensor.data_ptr() // page) * page
    size = (tensor.data_ptr() + tensor.numel() * tensor.element_size() - first) // page * page
    if advise and size > 0:
        advise(ctypes.c_void_p(first), ctypes.c_size_t(size), large)
    return tensor


def _like(tensor, wanted):
    return _in_large_pages(_torch.empty(tensor.shape, dtype=_torch.float32)) if wanted else None


class _Logits(_torch.autograd.Function):

    @staticmethod
    def forward(ctx, job, wanted, student):
        gradient = _like(student, wanted and student.requires_grad)
        return _keep(ctx, job, [student.dtype], *job.run(student, gradient), gradient)

    @staticmethod
    def backward(ctx, outer):
        return (None, None, *_gradients(ctx, outer))


class _FusedLinear(_torch.autograd.Function):

    @staticmethod
    def forward(ctx, job, wanted, *parts):
        gradients = [None if part is None else _like(part, wanted and part.requires_grad) for part in parts]
        sums = job.run(parts[0], gradients[0], *parts[1:], *gradients[1:])
        return _keep(ctx, job, [None if part is None else part.dtype for part in parts], *sums, *gradients)

    @staticmethod
    def backward(ctx, outer):
        return (None, None, *_gradients(ctx, outer))


def _rows(student, name, what):
    if not isinstance(student, _torch.Tensor):
        raise TypeError("%s: %s is a %s, not a torch tensor" % (name, what, type(student).__name__))
    if student.ndim < 2:
        raise ValueError("%s: %s has shape %s; it is [..., columns] with at least one row dimension" % (name, what, list(student.shape)))
    return student.shape[:-1]


@_torch.compiler.disable
def _call(name, loss, student, target=None, *, labels=None, mask=None, weights=None, reduction="mean", step=0, vocab_valid=0,
          memory=0, divisor=0.0, reference=None, preference=None):
    job = _Job(name, loss, target, _rows(student, name, "student"), labels, mask, weights, reduction, step, vocab_valid, memory, {}, divisor,
               reference, preference)
    return _Logits.apply(job, _torch.is_grad_enabled(), student)


@_torch.compiler.disable
def _call_fused(name, loss, hidden, head, target=None, *, bias=None, labels=None, mask=None, weights=None, reduction="mean", step=0,
                vocab_valid=0, memory=0, logit_scale=0.0, softcap=0.0, divisor=0.0, reference=None, preference=None):
    job = _Job(name, loss, target, _rows(hidden, name, "hidden"), labels, mask, weights, reduction, step, vocab_valid, memory,
               {"logit_scale": logit_scale, "softcap": softcap}, divisor, reference, preference)
    return _FusedLinear.apply(job, _torch.is_grad_enabled(), hidden, head, bias)


def loss(handle, student, target=None, **arguments):
    """Any distill.Loss on logits; arguments as above, but for what the handle has already (temperature, t_squared, options).
    To a loss that measures sequences first, rows [..., tokens] are a sequence for each of what stands before the last dimension."""
    return _call("distill.torch.loss", handle, student, target, **arguments)


def fused_linear(handle, hidden, head, target=None, **arguments):
    """Any distill.Loss on hidden states and the head that makes logits of them."""
    return _call_fused("distill.torch.fused_linear", handle, hidden, head, target, **arguments)


_pair_losses = {}


def _pair_loss(**options):
    """The handle of dpo with these options; made once for each."""
    given = {"loss.dpo." + key: value for key, value in options.items() if value is not None}
    key = repr(sorted(given.items()))
    if key not in _pair_losses:
        _pair_losses[key] = _Loss(options={"loss.type": "dpo", **given})
    return _pair_losses[key]


def dpo(student, *, labels, reference=None, preference=None, beta=None, label_smoothing=None, form=None, label=None, teacher_beta=None,
        **arguments):
    """Preference pairs (docs/preference-pairs.md): see help(distill.torch). form: sigmoid, hinge or ipo; label="teacher": the teacher's own
    preference, by `preference` and teacher_beta."""
    handle = _pair_loss(beta=beta, label_smoothing=label_smoothing, form=form, label=label, teacher_beta=teacher_beta)
    return _call("distill.torch.dpo", handle, student, labels=labels, reference=reference, preference=preference, **arguments)


def fused_linear_dpo(hidden, head, *, labels, reference=None, preference=None, beta=None, label_smoothing=None, form=None, label=None,
                     teacher_beta=None, **arguments):
    """dpo of hidden states and the head that makes logits of them."""
    handle = _pair_loss(beta=beta, label_smoothing=label_smoothing, form=form, label=label, teacher_beta=teacher_beta)
    return _call_fused("distill.torch.fused_linear_dpo", handle, hidden, head, labels=labels, reference=reference, preference=preference,
                       **arguments)


def _function(builtin, fused):
    """The function of a built-in loss: `run` with the handle that its options ask for."""
    run, name = (_call_fused, "fused_linear_" + _function_name(builtin)) if fused else (_call, _function_name(builtin))

    def function(*tensors, temperature=None, t_squared=None, log_floor=None, **keywords):
        own = {key: keywords.pop(key) for key in list(keywords) if key not in run_keywords}
        return run("distill.torch." + name, _handle(builtin.name, temperature, t_squared, log_floor, own), *tensors, **keywords)

    left_out = ("reference", "preference") if builtin.preset else ("reference", "preference", "divisor")
    shared = [one for one in list(_inspect.signature(run).parameters.values())[2:] if one.name not in left_out]
    run_keywords = {parameter.name for parameter in shared}
    of_loss = [_inspect.Parameter(key, _inspect.Parameter.KEYWORD_ONLY, default=None) for key in ("temperature", "t_squared", "log_floor")]
    function.__name__ = function.__qualname__ = name
    function.__module__ = __name__
    function.__signature__ = builtin.signature(shared + of_loss)
    function.__doc__ = builtin.document() + ". Arguments: help(distill.torch)."
    return function


for _builtin in _builtins().values():
    for _fused in (False, True):
        _made = _function(_builtin, _fused)
        globals()[_made.__name__] = _made
__all__ = ["loss", "fused_linear", "dpo", "fused_linear_dpo"] + [_prefix + _function_name(_one) for _one in _builtins().values() for _prefix in ("", "fused_linear_")]
