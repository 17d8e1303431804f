"""Datasets, losses and trainers."""
import ctypes
import json
import weakref
from ctypes import c_int32, c_uint8

from . import _signatures as c
from ._base import Handle, Options, Report, default_env, encoded, env_of, interruptible, options_for, raw_or_none, sized, text_of
from ._batch import Batch, BatchIn, int_array
from ._callbacks import Borrowed, destroy, register, trampoline
from ._errors import call, call_or_end, invoke
from ._models import Student
from ._targets import Target, dense
from ._tensor import View, argument


class Sample:
    """Tokens with a prompt that is not learnt, or a mask: learn[i] = token i is to be predicted."""

    def __init__(self, ids, prompt_count=0, learn=None, weight=0.0):
        self.ids, self.prompt_count, self.learn, self.weight = ids, prompt_count, learn, weight


class _Source:
    """A host's samples: what the last one points to lives until the next."""

    def __init__(self, get):
        self.get, self.kept = get, None

    def fill(self, index, out):
        try:
            value = self.get(index)
        except IndexError:
            return c.DISTILL_CB_END
        if value is None:
            return c.DISTILL_CB_END
        if isinstance(value, (str, bytes, dict)):
            return self.fill_text(value, out)
        sample = value if isinstance(value, Sample) else Sample(value)
        ids, out.count = int_array(c_int32, sample.ids)
        learn = None
        if sample.learn is not None:
            learn, count = int_array(c_uint8, sample.learn)
            if count != out.count:
                raise ValueError("learn has %d items, ids %d" % (count, out.count))
            out.learn = ctypes.cast(learn, ctypes.POINTER(c_uint8))
        self.kept = ids, learn
        out.kind, out.ids = c.DISTILL_SAMPLE_TOKENS, ctypes.cast(ids, ctypes.POINTER(c_int32))
        out.prompt_count, out.weight = sample.prompt_count, sample.weight
        return c.DISTILL_CB_OK

    def fill_text(self, value, out):
        out.kind = c.DISTILL_SAMPLE_JSON if isinstance(value, dict) else c.DISTILL_SAMPLE_TEXT
        data = json.dumps(value).encode() if isinstance(value, dict) else value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        self.kept = ctypes.create_string_buffer(data, len(data) + 1)
        ctypes.c_void_p.from_buffer(out, c.distill_sample.text.offset).value = ctypes.addressof(self.kept)
        out.size = len(data)
        return c.DISTILL_CB_OK


@trampoline(c.distill_dataset_callbacks_get)
def _on_get(source, index, out):
    return source.fill(index, out.contents)


class Dataset(Handle):
    """A source of samples. path: text, JSONL or tokens, or None for the options' train and mix; keywords are options of the section data."""
    _kind = c.distill_dataset

    def __init__(self, path, tokenizer=None, options=None, env=None, **keys):
        self.env = env_of(env, tokenizer)
        with_options = options_for(self.env, "data", options, keys)
        self._create("dataset_open", self.env.raw, encoded(path), raw_or_none(tokenizer), raw_or_none(with_options))

    @classmethod
    def from_tokens(cls, sequences, options=None, env=None, sources=None, tags=None, **keys):
        """[[ids], ...]; copied. sources, tags: of each sequence, for routes."""
        env = env if env is not None else default_env()
        batch, raw = BatchIn(sequences, None, None, sources, tags), ctypes.POINTER(cls._kind)()
        call("dataset_from_tokens", env.raw, batch.batch, raw_or_none(options_for(env, "data", options, keys)), raw)
        return cls._wrap(raw, env)

    @classmethod
    def from_function(cls, get, count=-1, tokenizer=None, options=None, env=None, **keys):
        """get(index) gives text, a dict as a line of JSONL, ids, or a Sample; None or IndexError = there is none. count -1 = a stream."""
        env = env_of(env, tokenizer)
        table = sized(c.distill_dataset_callbacks, user=register(_Source(get)), destroy=destroy, get=_on_get, count=count)
        raw = ctypes.POINTER(cls._kind)()
        call("dataset_from_callbacks", env.raw, table, raw_or_none(tokenizer), raw_or_none(options_for(env, "data", options, keys)), raw)
        return cls._wrap(raw, env)

    @classmethod
    def from_sequence(cls, samples, tokenizer=None, options=None, env=None, **keys):
        """Anything with len() and [index] that gives what get of from_function may give."""
        return cls.from_function(samples.__getitem__, len(samples), tokenizer, options, env, **keys)

    def __getitem__(self, key):
        """"samples", "tokens", "skipped", "truncated", "learnt"; -1 where a stream does not know."""
        return self._get_i64(key)

    def __iter__(self):
        """The windows of an epoch from the handle's own cursor on, as Samples that own their ids."""
        out = sized(c.distill_sample)
        while call_or_end("dataset_next", self.raw, out):
            learn = out.learn[:out.count] if out.learn else None
            yield Sample(out.ids[:out.count], out.prompt_count, learn, out.weight)
            out = sized(c.distill_sample)

    def tell(self):
        return text_of("dataset_tell", self.raw).decode()

    def seek(self, cursor=""):
        call("dataset_seek", self.raw, cursor.encode())


class LossResult:
    """sum over the rows, count of those that were not masked, weight_sum (the divisor), mean."""

    def __init__(self, args):
        self.sum, self.count, self.weight_sum = args.sum, args.count, args.weight_sum
        self.mean = self.sum / self.weight_sum if self.weight_sum else 0.0

    def __repr__(self):
        return "<distill.LossResult mean %g of %d rows>" % (self.mean, self.count)


def _as_target(value):
    return value if isinstance(value, c.distill_target) else value.raw if isinstance(value, Target) else dense(value)


_PRESETS = ("trl-gkd", "distillkit", "msswift-topk", "verl-trunc")


class Loss(Handle):
    """A loss by name, or what the section loss of the options says. Keywords are options of the section loss. preset: as another tool
    has it, and divided as that one does."""
    _kind = c.distill_loss

    def __init__(self, name=None, options=None, env=None, **keys):
        self.env = env if env is not None else default_env()
        with_options = options_for(self.env, "loss", options, keys)
        self._create("loss_create", self.env.raw, name.encode() if name else None, raw_or_none(with_options))
        said = with_options.to_yaml() if with_options is not None and not name else "type: %s" % name
        self.preset = any("type: %s\n" % known in said + "\n" for known in _PRESETS)

    def __call__(self, student, teacher=None, labels=None, weights=None, gradient=None, grad_head=None, grad_bias=None, row_values=None,
                 grad_scale=0.0, step=0, add_gradient=False, add_head=False, memory=0, divisor=0.0, sequences=None, reference=None, preference=None):
        """student, teacher: targets (dense(), hidden(), top_k(), sampled(), one_hot()) or arrays of logits. labels [rows], < 0 = masked.
        gradient, grad_head, grad_bias, row_values: arrays that the library writes to. add_gradient: adds to gradient what it
        would write; add_head: to grad_head and grad_bias, as a window of several micro-batches needs it. memory: bytes that the call
        takes at most beside its arrays, 0 = 64 MiB. divisor: of presets (trl-gkd, ...) what their tool is told to divide by; their sum
        is divided already. sequences [rows]: the sequence of each row, from 0 on; None = one. reference, preference [sequences]: of dpo,
        which takes sequence 2i as chosen and 2i + 1 as rejected, log-probabilities by the reference (None = 0), and with
        dpo.label teacher by the teacher."""
        kept = [_as_target(student)]
        kept.append(teacher if teacher is None else _as_target(teacher))
        flags = (c.DISTILL_ADD_VALUES if add_gradient else 0) | (c.DISTILL_ADD_HEAD if add_head else 0)
        args = sized(c.distill_loss_args, flags=flags, student=ctypes.pointer(kept[0]), grad_scale=grad_scale, step=step,
                     memory=memory, divisor=divisor)
        if kept[1] is not None:
            args.teacher = ctypes.pointer(kept[1])
        for name, value in (("labels", labels), ("weights", weights), ("grad_values", gradient), ("grad_head", grad_head),
                            ("grad_bias", grad_bias), ("row_values", row_values), ("sequences", sequences), ("reference", reference),
                            ("preference", preference)):
            if value is not None:
                kept.append(argument(value, writable=name not in ("labels", "weights", "sequences", "reference", "preference")))
                setattr(args, name, ctypes.pointer(kept[-1].tensor))
        call("loss_eval", self.raw, args)
        return LossResult(args)


class Progress:
    """Where a run stands: phase, step, steps, tokens, loss, learning_rate, grad_norm, tokens_per_second, seconds_left, ..."""
    _PHASES = {c.DISTILL_PHASE_LOADING: "loading", c.DISTILL_PHASE_TRAINING: "training", c.DISTILL_PHASE_EVALUATING: "evaluating",
               c.DISTILL_PHASE_SAVING: "saving", c.DISTILL_PHASE_CACHING: "caching", c.DISTILL_PHASE_AUGMENTING: "augmenting"}

    def __init__(self, progress):
        for name, _ in c.distill_progress._fields_[1:]:
            setattr(self, name, getattr(progress, name))
        self.phase = self._PHASES.get(progress.phase, "")
        self.stage_name = (progress.stage_name or b"").decode()
        self.terms = [{"loss": ctypes.string_at(progress.term_names[i]).decode(), "weight": progress.term_weights[i], "value": progress.term_values[i]}
                      for i in range(progress.term_count)]

    def __repr__(self):
        return "step %d/%d %s loss %.4f, %.0f tokens/s" % (self.step, self.steps, self.phase, self.loss, self.tokens_per_second)


@trampoline(c.distill_progress_fn)
def _on_progress(function, progress):
    return c.DISTILL_CB_CANCEL if function(Progress(progress.contents)) is False else c.DISTILL_CB_OK


class Forward(Borrowed):
    """A micro-batch after both trunks, until the next call on the trainer: its batch (ids, offsets, rows), and hidden states, labels,
    weights and sequences of the rows with loss."""

    def __init__(self, forward, owner):
        self.rows, self.micro_batch, self.micro_batches, self.weight_sum = (getattr(forward, name) for name in
                                                                            ("rows", "micro_batch", "micro_batches", "weight_sum"))
        self.student = forward.student.contents  # targets as loss() takes them
        self.teacher = forward.teacher.contents if forward.teacher else None
        self.batch = Batch(forward.batch.contents)
        self.hidden, self.labels, self.weights, self.sequences = (View(part.contents, owner, False) if part else None for part in (
            self.student.values, forward.labels, forward.weights, forward.sequences))
        self.sequence_count = forward.sequence_count
        self.student.kept = owner
        if self.teacher is not None:
            self.teacher.kept = owner

    def expire(self):
        """The numbers stay, the memory is the next micro-batch's."""
        for name in ("student", "teacher", "batch", "hidden", "labels", "weights", "sequences"):
            part = self.__dict__.pop(name, None)
            if isinstance(part, (View, Batch)):
                part.expire()

    @property
    def last(self):
        """apply() is due after this one."""
        return self.micro_batch + 1 == self.micro_batches


class Strip(Borrowed):
    """Logits of some rows: write the gradient of the *sum* of the loss over student, and its value to loss. teacher: its logits;
    where the teacher gives something else, that is target."""

    def __init__(self, strip):
        self.first_row, self.rows, self.vocab, self.loss = strip.first_row, strip.rows, strip.vocab, 0.0
        shape, self.views = (strip.rows, strip.vocab), []
        self.student = self._array(strip.student, c.DISTILL_FLOAT, shape, (strip.student_stride, 1), True)
        self.teacher = self._array(strip.teacher, c.DISTILL_FLOAT, shape, (strip.teacher_stride, 1), False)
        self.labels = self._array(strip.labels, c.DISTILL_INT, shape[:1], None, False)
        self.weights = self._array(strip.weights, c.DISTILL_FLOAT, shape[:1], None, False)
        self.target = Target(strip.target.contents) if strip.target else None

    def expire(self):
        for view in self.views:
            view.expire()
        if self.target is not None:
            self.target.expire()
        super().expire()

    def _array(self, pointer, code, shape, strides, writable):
        view = View.of_pointer(pointer, code, 32, shape, strides, writable=writable)
        if view is None:
            return None
        self.views.append(view)
        return view.array()


class Trainer(Handle):
    """Teacher, student, data and optimiser together. What is None is opened as the options say. settings: {"train.steps": 100}."""
    _kind = c.distill_trainer

    def __init__(self, options=None, teacher=None, student=None, train=None, eval=None, settings=None, env=None, on_progress=None):
        self.env = env_of(env, options if isinstance(options, Options) else None, teacher, student, train, eval)
        tree = Options(options, settings, env=self.env)
        self._recipe = tree.to_yaml()  # text: a handle would keep the env
        self._lent = []  # weak: what was lent keeps the trainer, not the other way round
        self._create("trainer_create", self.env.raw, *(raw_or_none(part) for part in (teacher, student, train, eval, tree)))
        if on_progress is not None:
            call("trainer_on_progress", self.raw, _on_progress, register(on_progress), destroy)

    def configure(self, options=None, settings=None):
        """Changes options that are marked live; without options those that it has, so settings may name items of lists."""
        tree = Options(options, env=self.env)
        if options is None:
            tree.parse(self._recipe)
        tree.update(settings or {})
        call("trainer_configure", self.raw, tree.raw)
        if options is None:
            self._recipe = tree.to_yaml()

    def run(self):
        """To the end. Ctrl-C finishes the step, saves a checkpoint and raises KeyboardInterrupt."""
        self._take_back()
        interruptible(lambda: call("trainer_run", self.raw), self.cancel)

    def resume(self):
        """Goes on from the newest whole checkpoint below output.path; before run or step."""
        call("trainer_resume", self.raw)

    def step(self):
        """One optimiser step: its Progress, None after the last."""
        self._take_back()
        out = sized(c.distill_progress)
        return Progress(out) if call_or_end("trainer_step", self.raw, out) else None

    def __iter__(self):
        """Steps to the end."""
        return iter(self.step, None)

    def forward(self, no_teacher=False):
        """One micro-batch through both trunks; None after the last window."""
        out = sized(c.distill_forward)
        flags = c.DISTILL_FORWARD_NO_TEACHER if no_teacher else 0
        self._take_back()
        if not call_or_end("trainer_forward", self.raw, flags, out):
            return None
        lent = Forward(out, self)
        self._lent = [weakref.ref(part) for part in (lent, lent.hidden, lent.labels, lent.weights) if part is not None]
        return lent

    def _take_back(self):
        """What the last forward lent ends here."""
        for part in self._lent:
            lent = part()
            if lent is not None:
                lent.expire()
        self._lent = []

    def strips(self):
        """After forward: the rows in strips, each sent back through the head when the next is asked for. Then backward()."""
        raw = sized(c.distill_strip)
        while call_or_end("trainer_next_rows", self.raw, raw):
            strip = Strip(raw)
            try:
                yield strip
                raw.loss = strip.loss
            finally:
                strip.expire()

    def backward(self, gradient=None, loss=0.0):
        """gradient: of the hidden states; None = by strips, or the trainer's own loss."""
        given = argument(gradient) if gradient is not None else None
        call("trainer_backward", self.raw, given.tensor if given is not None else None, loss)
        self._take_back()

    def apply(self):
        self._take_back()
        out = sized(c.distill_progress)
        call("trainer_apply", self.raw, out)
        return Progress(out)

    def save(self, path):
        call("trainer_save", self.raw, encoded(path))

    def load(self, path):
        call("trainer_load", self.raw, encoded(path))

    def cancel(self, on=True):
        invoke("trainer_cancel", self.raw, int(on))

    def student(self):
        raw = ctypes.POINTER(c.distill_student)()
        call("trainer_student", self.raw, raw)
        return Student._wrap(raw, self.env)

    def report(self):
        raw = ctypes.POINTER(c.distill_report)()
        call("trainer_report", self.raw, raw)
        return Report._wrap(raw, self.env)


def run(recipe, settings=None, resume=False, on_progress=None, env=None, again=False):
    """What `distill run` does: distils as a recipe says (a path, a dict of sections, Options) and gives the Report. With `stages` it makes
    the runs one after another: what is finished stays, what was interrupted goes on; again=True makes a stage that changed again."""
    tree = Options(recipe, settings, env=env)
    if tree["stages"]:
        return _run_stages(tree, on_progress, again)
    if again:
        raise ValueError("again is for recipes with stages; set output.overwrite")
    with Trainer(tree, env=tree.env, on_progress=on_progress) as trainer:
        if resume:
            trainer.resume()
        trainer.run()
        return trainer.report()


def _run_stages(tree, on_progress, again):
    raw = ctypes.POINTER(c.distill_report)()
    key = register(on_progress) if on_progress is not None else None
    try:
        interruptible(lambda: call("run", tree.env.raw, tree.raw, c.DISTILL_RUN_AGAIN if again else 0,
                                   _on_progress if key is not None else c.distill_progress_fn(), key, raw), tree.env.cancel)
    finally:
        if key is not None:
            destroy(key)
    return Report._wrap(raw, tree.env)


def evaluate(student, data, teacher=None, options=None, **keys):
    """Perplexity on held-out data, and with a teacher KL(teacher||student) and agreement: a Report.

    eval_tokens, eval_precision and loss_memory are those of section train."""
    unknown = sorted(set(keys) - {"eval_tokens", "eval_precision", "loss_memory"})
    if unknown:
        raise TypeError("evaluate reads eval_tokens, eval_precision and loss_memory, not %s" % ", ".join(unknown))
    raw = ctypes.POINTER(c.distill_report)()
    with_options = options_for(student.env, "train", options, keys)
    interruptible(lambda: call("evaluate", student.raw, raw_or_none(teacher), data.raw, raw_or_none(with_options), raw), student.env.cancel)
    return Report._wrap(raw, student.env)
