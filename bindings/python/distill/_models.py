"""Tokenizers, teachers and students."""
import contextlib
import ctypes
import json
from ctypes import c_int32, c_int64

from . import _signatures as c
from ._base import Handle, Options, default_env, encoded, env_of, interruptible, options_for, raw_or_none, sized, text_of
from ._batch import Batch, BatchIn, chat_json, int_array
from ._callbacks import destroy, register, trampoline
from ._errors import call, invoke, raise_error
from ._targets import Target
from ._tensor import View, argument, numpy


class Tokenizer(Handle):
    """Text <-> ids; immutable. path: a folder with tokenizer.json, or a GGUF file."""
    _kind = c.distill_tokenizer

    def __init__(self, path, env=None):
        self.env = env if env is not None else default_env()
        self._create("tokenizer_open", self.env.raw, encoded(path))

    def encode(self, text, special=True, plain=False):
        """ids of str or bytes. special: with BOS, EOS as the tokenizer adds them. plain: special tokens in the text are ordinary text."""
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        flags = (c.DISTILL_ENCODE_SPECIAL if special else 0) | (c.DISTILL_ENCODE_PLAIN if plain else 0)
        needed, err, cap = c_int64(), c.distill_error(), len(data) + 16
        while True:
            ids = (c_int32 * cap)()
            code = invoke("tokenizer_encode", self.raw, data, len(data), flags, ids, cap, needed, err)
            if code != c.DISTILL_E_BUFFER:
                break
            cap = needed.value
        if code:
            raise_error(err)
        return ids[:needed.value]

    def decode_bytes(self, ids, skip_special=False):
        """The exact bytes."""
        array, count = int_array(c_int32, ids)
        return text_of("tokenizer_decode", self.raw, array, count, c.DISTILL_DECODE_SKIP_SPECIAL if skip_special else 0)

    def decode(self, ids, skip_special=False):
        return self.decode_bytes(ids, skip_special).decode("utf-8", "replace")

    def chat(self, messages, tools=None, answer=True, continue_last=False, chat_template=None, **variables):
        """A conversation (a list of {"role", "content"}) as text, by the tokenizer's own chat template unless one is given (a name or Jinja
        text). answer: it ends where the assistant begins. continue_last: the last message is left open. variables: what the template reads,
        such as enable_thinking. Encode it with special=False."""
        given = chat_json(messages, tools, chat_template, variables)
        flags = (c.DISTILL_CHAT_ANSWER if answer and not continue_last else 0) | (c.DISTILL_CHAT_CONTINUE if continue_last else 0)
        return text_of("tokenizer_chat", self.raw, given, flags).decode("utf-8")

    def _id(self, key):
        value = self._get_i64(key)
        return None if value < 0 else value

    vocab_size = property(lambda self: self._get_i64("vocab_size"))
    bos = property(lambda self: self._id("bos"))
    eos = property(lambda self: self._id("eos"))
    pad = property(lambda self: self._id("pad"))
    unk = property(lambda self: self._id("unk"))


class Generation:
    """An answer: ids, their log-probabilities, text, whether a stop token or text ended it (stopped), and which: finished is 1 (token),
    2 (length) or 3 (text, which the answer leaves out). top: with top_logprobs=k for each token the k likeliest, [(id, log_prob)]."""

    def __init__(self):
        self.ids, self.log_probs, self.top, self.finished, self._bytes = [], [], [], 0, b""

    @property
    def stopped(self):
        return self.finished in (1, 3)

    @property
    def text(self):
        return self._bytes.decode("utf-8", "replace")

    def __repr__(self):
        return "<distill.Generation %r>" % self.text


class _Collector:
    def __init__(self, count, on_token, logits):
        self.answers, self.on_token, self.logits = [Generation() for _ in range(count)], on_token, logits


@trampoline(c.distill_writer_callbacks_token)
def _on_token(collector, sequence, pointer):
    token, answer = pointer.contents, collector.answers[sequence]
    piece = ctypes.string_at(token.text, token.size) if token.size else b""
    answer.ids.append(token.id)
    answer.log_probs.append(token.log_prob)
    answer.finished = token.finished
    answer._bytes += piece
    if token.top_count:
        answer.top.append([(token.top_ids[i], token.top_log_probs[i]) for i in range(token.top_count)])
    if collector.on_token is not None and collector.on_token(sequence, token.id, piece.decode("utf-8", "replace")) is False:
        return c.DISTILL_CB_CANCEL
    return c.DISTILL_CB_OK


@trampoline(c.distill_writer_callbacks_logits)
def _on_logits(collector, sequence, ids, count, logits, vocab):
    shared = (ctypes.c_float * vocab).from_address(ctypes.addressof(logits.contents))
    row = numpy.frombuffer(shared, dtype="float32") if numpy is not None else memoryview(shared).cast("B").cast("f")
    changed = collector.logits(sequence, ids[:count], row)
    if changed is False:
        return c.DISTILL_CB_CANCEL
    if changed is not None:
        row[:] = changed
    return c.DISTILL_CB_OK


def _fill(function, batch, first, count, out):
    """Runs function(batch, first, count, target); a result that is an array goes into target.values (one_hot: into target.ids)."""
    asked, target = Batch(batch.contents), Target(out.contents, writable=True)
    try:
        result = function(asked, first, count, target)
        if result is None or isinstance(result, int):
            return result
        if numpy is None:
            raise TypeError("without numpy a callback writes to target.values itself")
        (target.values if target.values is not None else target.ids)[...] = result
        return None
    finally:
        asked.expire()
        target.expire()


class _Scorer:
    """What a teacher made of functions does."""

    def __init__(self, score, begin, end, read_tap=None, generate=None):
        self.score, self.begin, self.end, self.read_tap, self.generate = score, begin, end, read_tap, generate


class Asked:
    """How a teacher of functions is to write, as section generate has it: max_tokens, temperature, top_p, top_k, seed, samples of each
    prompt, stop (a list of texts that end one)."""

    def __init__(self, options):
        def value(key):
            return text_of("options_get", options, ("generate." + key).encode()).decode().strip()
        self.max_tokens, self.top_k, self.seed, self.samples = (int(value(key)) for key in ("max_tokens", "top_k", "seed", "samples"))
        self.temperature, self.top_p = float(value("temperature")), float(value("top_p"))
        self.stop = json.loads(value("stop") or "[]")


def _emit_text(emit, user, sequence, text):
    """An answer as text: one token without an id of its own; as ids: one by one."""
    if isinstance(text, (str, bytes)):
        data = text.encode() if isinstance(text, str) else text
        return emit(user, sequence, -1, 0.0, data, len(data), 1)
    ids = list(text)
    for place, token in enumerate(ids):
        code = emit(user, sequence, token, 0.0, None, 0, 1 if place + 1 == len(ids) else 0)
        if code:
            return code
    return 0


@trampoline(c.distill_teacher_callbacks_generate)
def _on_write(scorer, prompts, options, emit, emit_user):
    asked = Batch(prompts.contents)
    with contextlib.nullcontext() if options else Options() as defaults:
        how = Asked(options if options else defaults.raw)
    try:
        texts = list(scorer.generate(asked, how))
        if len(texts) != len(asked) * how.samples:
            raise ValueError("generate gave %d answers to %d prompts, %d of each" % (len(texts), len(asked), how.samples))
        for sequence, text in enumerate(texts):
            code = _emit_text(emit, emit_user, sequence, text)
            if code:
                return code
    finally:
        asked.expire()


_TAP_KINDS = {"output": c.DISTILL_TAP_OUTPUT, "final": c.DISTILL_TAP_FINAL, "queries": c.DISTILL_TAP_QUERIES,
              "keys": c.DISTILL_TAP_KEYS, "values": c.DISTILL_TAP_VALUES}


def _taps(taps):
    """Places inside a model as dicts {"kind": "output", "layer": 3, "width": 64}; queries, keys and values have heads, too."""
    rows = []
    for tap in taps:
        unknown = set(tap) - {"kind", "layer", "width", "heads", "window", "scale", "softcap"}
        if unknown:
            raise TypeError("a tap has no %s" % ", ".join(sorted(unknown)))
        if tap.get("kind") not in _TAP_KINDS:
            raise ValueError("a tap's kind is %r, none of %s" % (tap.get("kind"), ", ".join(_TAP_KINDS)))
        rows.append(sized(c.distill_tap, **dict(tap, kind=_TAP_KINDS[tap["kind"]])))
    return (c.distill_tap * max(len(rows), 1))(*rows), len(rows)


def _fill_tap(function, batch, tap, values):
    """Runs function(batch, tap, values); a result that is an array goes into values."""
    asked, view = Batch(batch.contents), View(values.contents, writable=True)
    try:
        result = function(asked, tap, view.array())
        if result is None or isinstance(result, int):
            return result
        view.array()[...] = result
        return None
    finally:
        asked.expire()
        view.expire()


def _told(function, batch):
    asked = Batch(batch.contents)
    try:
        return function(asked)
    finally:
        for view in asked.views:
            view.expire()
        asked.expire()


@trampoline(c.distill_teacher_callbacks_score)
def _on_score(scorer, batch, first, count, out):
    return _fill(scorer.score, batch, first, count, out)


@trampoline(c.distill_teacher_callbacks_read_tap)
def _on_teacher_tap(scorer, batch, tap, values):
    return _fill_tap(scorer.read_tap, batch, tap, values)


@trampoline(c.distill_teacher_callbacks_begin)
def _on_begin(scorer, batch):
    return _told(scorer.begin, batch)


@trampoline(c.distill_teacher_callbacks_end)
def _on_end(scorer, batch):
    _told(scorer.end, batch)


def _parts(members, weights=None):
    """Members of a blend or a route as dicts."""
    if hasattr(members, "items"):
        members = [dict(part if isinstance(part, dict) else {"teacher": part}, name=name) for name, part in members.items()]
    parts = [dict(part) if isinstance(part, dict) else {"teacher": part} for part in members]
    if weights is not None and len(weights) != len(parts):
        raise ValueError("%d weights for %d teachers" % (len(weights), len(parts)))
    for part, weight in zip(parts, weights if weights is not None else ()):
        part["weight"] = weight
    for part in parts:
        unknown = set(part) - {"teacher", "name", "weight", "temperature"}
        if unknown:
            raise TypeError("a member has no %s" % ", ".join(sorted(unknown)))
    return parts


def _table(parts):
    return (c.distill_member * max(len(parts), 1))(*(
        sized(c.distill_member, teacher=part["teacher"].raw, name=encoded(part["name"]) if part.get("name") is not None else None,
              weight=part.get("weight", 0.0), temperature=part.get("temperature", 0.0)) for part in parts))


def _of_teacher(keys):
    """parallel stands in section teacher, beside blend and route."""
    return {"teacher.parallel" if key == "parallel" else key: value for key, value in keys.items()}


class _Router:
    """A function that gives samples their teachers, and the names of those."""

    def __init__(self, function, parts):
        self.function, self.names = function, [str(part.get("name", number)) for number, part in enumerate(parts)]


@trampoline(c.distill_route_fn)
def _on_route(router, batch, sequence, source, tag, member):
    asked = Batch(batch.contents)
    try:
        given = router.function(asked, sequence, source.decode("utf-8", "replace"), tag.decode("utf-8", "replace"))
    finally:
        asked.expire()
    if isinstance(given, str):
        if given not in router.names:
            raise ValueError("the route's function gave %r, which is none of its teachers (%s)" % (given, ", ".join(router.names)))
        given = router.names.index(given)
    member[0] = -1 if given is None else int(given)


class _Model(Handle):
    """What a teacher and a student say of themselves."""

    def tokenizer(self):
        raw = ctypes.POINTER(c.distill_tokenizer)()
        call(self._kind.__name__[len("distill_"):] + "_tokenizer", self.raw, raw)
        return Tokenizer._wrap(raw, self.env)

    vocab_size = property(lambda self: self._get_i64("vocab_size"))
    vocab_valid = property(lambda self: self._get_i64("vocab_valid"))
    hidden_size = property(lambda self: self._get_i64("hidden_size"))
    layers = property(lambda self: self._get_i64("layers"))
    context_length = property(lambda self: self._get_i64("context_length"))
    parameters = property(lambda self: self._get_i64("parameters"))
    bytes = property(lambda self: self._get_i64("bytes"))


class Teacher(_Model):
    """Anything that scores tokens. path: an HF folder or a GGUF file; keywords are options of the section teacher."""
    _kind = c.distill_teacher

    def __init__(self, path, options=None, env=None, **keys):
        self.env = env if env is not None else default_env()
        with_options = options_for(self.env, "teacher", options, keys)
        self._create("teacher_open", self.env.raw, encoded(path), raw_or_none(with_options))

    @classmethod
    def from_function(cls, score, form, begin=None, end=None, options=None, env=None, identity=None, taps=(), read_tap=None,
                      generate=None):
        """score(batch, first_row, row_count, target) fills target.values (and ids, tail), or returns an array for values. A slow teacher may
        have begin(batch), which starts on a batch that will be scored later and returns at once, and end(batch), after its last row.
        identity: a name and version that change when the answers do, for the teacher's hash; without it two of one form are taken for one, by
        caches and when a run goes on. taps: places inside that losses on features may ask for, [{"kind": "output", "layer": 3, "width": 64}];
        read_tap(batch, tap, values) fills values [tokens, width] of the one of that number, or returns an array.
        generate(prompts, how): answers to the prompts (a batch of ids), how.samples of each, one after another: ids or text each, drawn as
        how says (max_tokens, temperature, top_p, top_k, seed, stop). It is what distill.augment and Teacher.generate ask. score may be
        None then, for a teacher that writes and does not score."""
        env = env if env is not None else default_env()
        with_options = options_for(env, "teacher", options, {})
        table = sized(c.distill_teacher_callbacks, user=register(_Scorer(score, begin, end, read_tap, generate)), destroy=destroy,
                      form=ctypes.pointer(form.target))
        if score is not None:
            table.score = _on_score
        if generate is not None:
            table.generate = _on_write
        if identity is not None:
            table.identity = encoded(identity)
        if begin is not None:
            table.begin = _on_begin
        if end is not None:
            table.end = _on_end
        table.taps, table.tap_count = _taps(taps)
        if read_tap is not None:
            table.read_tap = _on_teacher_tap
        raw = ctypes.POINTER(cls._kind)()
        call("teacher_from_callbacks", env.raw, table, raw_or_none(with_options), raw)
        return cls._wrap(raw, env)

    @classmethod
    def blend(cls, members, weights=None, options=None, env=None, **keys):
        """Several teachers as one. members: teachers, {name: teacher}, or where one has more to say dicts {"teacher": t, "name": ...,
        "weight": ..., "temperature": ...}; weights: one for each, together 1, or none for equal shares; each a number or a schedule
        over the steps of a training, {"schedule": "linear", "from": 1, "to": 0, "steps": 100}. Keywords are options of teacher.blend
        (mode, weighting, weighting_temperature, draw, seed, min_common_mass), and parallel."""
        parts = _parts(members, weights)
        if any(isinstance(part.get("weight"), dict) for part in parts):
            keys["weights"] = [part.pop("weight", 0) for part in parts]
        return cls._blended(parts, "teacher.blend", options, env, keys)

    @classmethod
    def schedule(cls, turns, options=None, env=None):
        """One teacher after another over the steps of a training: a list of dicts {"teacher": t, "until": step, "fade": steps, "name": ...}.
        The last one has no until, the first no fade, in which the weight goes over from the one before, linearly; 0 = at once."""
        turns = [dict(turn) if isinstance(turn, dict) else {"teacher": turn} for turn in turns]
        steps = [{key: turn.pop(key) for key in ("until", "fade") if key in turn} for turn in turns]
        return cls._blended(_parts(turns), "teacher", options, env, {"schedule": steps})

    @classmethod
    def _blended(cls, parts, section, options, env, keys):
        env = env_of(env, *(part["teacher"] for part in parts))
        with_options = options_for(env, section, options, _of_teacher(keys))
        raw = ctypes.POINTER(cls._kind)()
        call("teacher_blend", env.raw, _table(parts), len(parts), raw_or_none(with_options), raw)
        return cls._wrap(raw, env)

    @classmethod
    def route(cls, members, by=None, options=None, env=None, **keys):
        """Each sample by one of several teachers. members: as blend has them, without weights. by: "source" (also without it), "tag",
        "teacher", "prompt_perplexity", or a function (batch, sequence, source, tag) that gives the name or number of a member, None = the
        default. Keywords are options of teacher.route: default, map; and parallel."""
        parts, function = _parts(members), by if callable(by) else None
        env = env_of(env, *(part["teacher"] for part in parts))
        if by is not None and function is None:
            keys["by"] = by
        with_options = options_for(env, "teacher.route", options, _of_teacher(keys))
        raw, user = ctypes.POINTER(cls._kind)(), register(_Router(function, parts)) if function else None
        call("teacher_route", env.raw, _table(parts), len(parts), _on_route if function else c.distill_route_fn(), user,
             destroy if function else c.distill_destroy_fn(), raw_or_none(with_options), raw)
        return cls._wrap(raw, env)

    @classmethod
    def cached(cls, path, teacher=None, options=None, env=None, **keys):
        """Targets kept in a file: what it lacks is asked of teacher and added, or is an error without one. Keywords are options of
        teacher.cache: tier, k, draws, ..."""
        env = env_of(env, teacher)
        with_options = options_for(env, "teacher.cache", options, {"teacher.cache." + key: value for key, value in keys.items()})
        raw = ctypes.POINTER(cls._kind)()
        call("teacher_cached", env.raw, encoded(path), raw_or_none(teacher), raw_or_none(with_options), raw)
        return cls._wrap(raw, env)

    @classmethod
    def from_student(cls, student):
        """Sees the student's weights as they are at each call."""
        raw = ctypes.POINTER(cls._kind)()
        call("teacher_from_student", student.raw, raw)
        return cls._wrap(raw, student.env)

    def score(self, sequences, rows=None, sources=None, tags=None):
        """Logits [rows, vocab_size] of the rows of one sequence or several; all but the last of each without rows. sources, tags: of each
        sequence, for routes."""
        batch, vocab = BatchIn(sequences, rows, None, sources, tags), self.vocab_size
        memory = (ctypes.c_float * max(batch.row_count * vocab, 1))()
        shaped = memoryview(memory).cast("B").cast("f", (batch.row_count, vocab)) if batch.row_count else None
        if shaped is None:
            raise ValueError("no rows are asked for")
        values = argument(shaped, writable=True)
        target = sized(c.distill_target, kind=c.DISTILL_DENSE, values=ctypes.pointer(values.tensor))
        interruptible(lambda: call("teacher_score", self.raw, batch.batch, target), self.env.cancel)
        return numpy.frombuffer(memory, dtype="float32").reshape(batch.row_count, vocab) if numpy is not None else shaped

    def log_probs(self, sequences, rows=None, k=0, temperature=1.0, sources=None, tags=None):
        """Log-probabilities of the tokens that follow, without logits: [rows]. With k also the k likeliest ids of each row, descending,
        and the mass of all others: (chosen, values [rows, k], ids [rows, k], tail [rows])."""
        batch = BatchIn(sequences, rows, None, sources, tags)
        if not batch.row_count:
            raise ValueError("no rows are asked for")
        shapes = [("f", (batch.row_count,))] + [("f", (batch.row_count, k)), ("i", (batch.row_count, k)), ("f", (batch.row_count,))] * bool(k)
        memory = [self._zeros(*shape) for shape in shapes]
        given = [argument(part, writable=True) for part in memory]
        target = None
        if k:
            parts = zip(("values", "ids", "tail"), given[1:])
            target = sized(c.distill_target, kind=c.DISTILL_TOPK, **{name: ctypes.pointer(part.tensor) for name, part in parts})
        interruptible(lambda: call("teacher_log_probs", self.raw, batch.batch, temperature, given[0].tensor, target), self.env.cancel)
        found = tuple(numpy.asarray(part) for part in memory) if numpy is not None else tuple(memory)
        return found if k else found[0]

    @staticmethod
    def _zeros(code, shape):
        count = 1
        for extent in shape:
            count *= extent
        if count < 1:
            raise ValueError("k is %d, below 1" % shape[-1])
        return memoryview(((c_int32 if code == "i" else ctypes.c_float) * count)()).cast("B").cast(code, shape)

    def export(self, path, options=None, **keys):
        """Any local model as new files: format="gguf", "hf" or "both"; type="q8_0", "q4_0", "q4_k" (GGUF), "f32", "bf16", "f16"."""
        with_options = options_for(self.env, "output", options, keys)
        interruptible(lambda: call("teacher_export", self.raw, encoded(path), raw_or_none(with_options)), self.env.cancel)

    def generate(self, prompts, on_token=None, options=None, logits=None, **keys):
        """Continues one prompt (text or ids) or a list of them. Keywords are options of the section generate (max_tokens, temperature,
        top_k, top_p, min_p, repetition_penalty, presence_penalty, logit_bias={id: number}, stop=[texts], stop_ids, samples, seed,
        top_logprobs, quantized). on_token(sequence, id, text) sees them as they come; False stops. logits(sequence, ids, row) may change
        the row that a token is drawn from, in place or by returning another one; it is borrowed. One Generation, or a list; with
        samples=n a list of n for each prompt, one after another."""
        single = isinstance(prompts, (str, bytes)) or not len(prompts) or not hasattr(prompts[0], "__len__")
        given = [prompts] if single else list(prompts)
        if any(isinstance(prompt, (str, bytes)) for prompt in given):
            with self.tokenizer() as tokenizer:
                given = [tokenizer.encode(prompt) if isinstance(prompt, (str, bytes)) else prompt for prompt in given]
        if isinstance(keys.get("stop"), (str, bytes)):
            keys["stop"] = [keys["stop"]]
        with_options = options_for(self.env, "generate", options, keys)
        samples = int(with_options["generate.samples"]) if with_options is not None else 1
        batch, collector = BatchIn(given), _Collector(len(given) * samples, on_token, logits)
        key = register(collector)
        try:
            table = sized(c.distill_writer_callbacks, user=key, token=_on_token)
            if logits is not None:
                table.logits = _on_logits
            interruptible(lambda: call("teacher_generate_with", self.raw, batch.batch, table, raw_or_none(with_options)), self.env.cancel)
        finally:
            destroy(key)
        return collector.answers[0] if single and samples == 1 else collector.answers


@trampoline(c.distill_student_callbacks_forward)
def _on_forward(model, batch, first, count, out):
    return _fill(model.forward, batch, first, count, out)


@trampoline(c.distill_student_callbacks_backward)
def _on_backward(model, first, count, gradient):
    view = View(gradient.contents, writable=False)
    try:
        return model.backward(first, count, view.array())
    finally:
        view.expire()


@trampoline(c.distill_student_callbacks_read_tap)
def _on_student_tap(model, batch, tap, values):
    return _fill_tap(model.read_tap, batch, tap, values)


@trampoline(c.distill_student_callbacks_tap_gradient)
def _on_tap_gradient(model, batch, tap, gradient):
    asked, view = Batch(batch.contents), View(gradient.contents, writable=False)
    try:
        return model.tap_gradient(asked, tap, view.array())
    finally:
        asked.expire()
        view.expire()


class Writing:
    """How a student is to write: ids below vocab, at temperature and top_p, draws by seed, at most most[i] tokens behind prompt i."""

    def __init__(self, how, sequences):
        self.vocab, self.temperature, self.top_p, self.seed = how.vocab, how.temperature, how.top_p, how.seed
        self.most = how.most[:sequences]


@trampoline(c.distill_student_callbacks_generate)
def _on_generate(model, prompts, how, emit, emit_user):
    asked, writing = Batch(prompts.contents), Writing(how.contents, prompts.contents.sequences)
    try:
        texts = model.generate(asked, writing)
        for sequence, ids in enumerate(texts):
            for place, token in enumerate(ids):
                finished = 0 if place + 1 < len(ids) else 1 if len(ids) < writing.most[sequence] else 2
                code = emit(emit_user, sequence, token, 0.0, None, 0, finished)
                if code:
                    return code
    finally:
        asked.expire()


@trampoline(c.distill_student_callbacks_apply)
def _on_apply(model, step, learning_rate, scale):
    return model.apply(step, learning_rate, scale)


@trampoline(c.distill_student_callbacks_discard)
def _on_discard(model):
    return model.discard()


@trampoline(c.distill_student_callbacks_save)
def _on_save(model, folder):
    return model.save(folder.decode("utf-8", "surrogateescape"))


@trampoline(c.distill_student_callbacks_load)
def _on_load(model, folder):
    return model.load(folder.decode("utf-8", "surrogateescape"))


class Student(_Model):
    """A model that can be trained. path: an HF folder or a GGUF file; keywords are options of the section student."""
    _kind = c.distill_student

    def __init__(self, path, options=None, env=None, **keys):
        self.env = env if env is not None else default_env()
        with_options = options_for(self.env, "student", options, keys)
        self._create("student_open", self.env.raw, encoded(path), raw_or_none(with_options))

    @classmethod
    def fresh(cls, config, tokenizer=None, options=None, env=None, **keys):
        """Random weights after a config.json."""
        env = env if env is not None else default_env()
        raw = ctypes.POINTER(cls._kind)()
        with_options = options_for(env, "student", options, keys)
        call("student_create", env.raw, encoded(config), raw_or_none(tokenizer), raw_or_none(with_options), raw)
        return cls._wrap(raw, env)

    @classmethod
    def derive(cls, teacher, options=None, **keys):
        """A copy of the teacher that keeps some of its layers: derive(teacher, layers=[0, 2, 5])."""
        raw = ctypes.POINTER(cls._kind)()
        with_options = options_for(teacher.env, "student", options, keys)
        call("student_derive", teacher.raw, raw_or_none(with_options), raw)
        return cls._wrap(raw, teacher.env)

    @classmethod
    def from_object(cls, model, form, options=None, env=None):
        """model has forward(batch, first_row, row_count, target), backward(first_row, row_count, gradient), apply(step, learning_rate, scale)
        and, if it can, discard(), save(folder), load(folder). For losses on features it has taps, [{"kind": "output", "layer": 3, "width": 64}],
        read_tap(batch, tap, values), which fills values [tokens, width] or returns an array, and tap_gradient(batch, tap, gradient).
        For train.on_policy it has generate(prompts, writing): ids behind each prompt, as a list of lists; one with fewer than writing.most
        ended by itself."""
        env = env if env is not None else default_env()
        with_options = options_for(env, "student", options, {})
        table = sized(c.distill_student_callbacks, user=register(model), destroy=destroy, forward=_on_forward, backward=_on_backward,
                      apply=_on_apply, form=ctypes.pointer(form.target))
        table.taps, table.tap_count = _taps(getattr(model, "taps", ()))
        for name, function in (("discard", _on_discard), ("save", _on_save), ("load", _on_load), ("read_tap", _on_student_tap),
                               ("tap_gradient", _on_tap_gradient), ("generate", _on_generate)):
            if hasattr(model, name):
                setattr(table, name, function)
        raw = ctypes.POINTER(cls._kind)()
        call("student_from_callbacks", env.raw, table, raw_or_none(with_options), raw)
        return cls._wrap(raw, env)

    def as_teacher(self):
        return Teacher.from_student(self)

    def save(self, path, options=None, **keys):
        """A folder; type="bf16" halves it. format="gguf" writes model.gguf into it, format="both" HF files too."""
        call("student_save", self.raw, encoded(path), raw_or_none(options_for(self.env, "output", options, keys)))

    trainable_parameters = property(lambda self: self._get_i64("trainable_parameters"))

    @property
    def head_name(self):
        """The parameter that makes logits; None where the head is the host's own."""
        name = invoke("student_head_name", self.raw)
        return name.decode() if name is not None else None

    def parameter_names(self):
        names = []
        while True:
            name = invoke("student_parameter_name", self.raw, len(names))
            if name is None:
                return names
            names.append(name.decode())

    def parameter(self, name, gradient=False):
        """A view, borrowed until the next step; say weights_changed() after writing to it."""
        tensor = c.distill_tensor()
        call("student_parameter", self.raw, name.encode(), c.DISTILL_GRADIENT if gradient else c.DISTILL_WEIGHT, tensor)
        return View(tensor, owner=self)

    def weights_changed(self):
        call("student_weights_changed", self.raw)
