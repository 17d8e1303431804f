"""Sessions: a model that answers in real time."""
import ctypes
from ctypes import c_int32, c_int64

from . import _signatures as c
from ._base import Handle, interruptible, option_table, options_for, raw_or_none, sized
from ._batch import chat_json, int_array
from ._callbacks import destroy, register, trampoline
from ._errors import call, call_or_end, invoke, raise_error
from ._meter import ENERGY
from ._models import Generation, Teacher
from ._tensor import numpy


class Token:
    """One token of an answer: id; text, what is whole of it so far (a character may come with the last of several tokens); data, the same as
    bytes; log_prob; finished, 0 while it goes on, 1 a stop token, 2 length, 3 a stop text; from_draft; nanoseconds since the one before;
    top, with top_logprobs=k the k likeliest, [(id, log_prob)]."""

    def __init__(self, raw):
        self.id, self.log_prob, self.finished = raw.id, raw.log_prob, raw.finished
        self.data = ctypes.string_at(raw.text, raw.size) if raw.size else b""
        self.from_draft, self.nanoseconds = bool(raw.from_draft), raw.nanoseconds
        self.top = [(raw.top_ids[i], raw.top_log_probs[i]) for i in range(raw.top_count)]

    @property
    def text(self):
        return self.data.decode("utf-8", "replace")

    def __repr__(self):
        return "<distill.Token %d %r>" % (self.id, self.text)


class SessionStats:
    """Since the session was created or emptied: prompt_tokens, kept_tokens (of these, not read again), tokens (written), drafted, accepted;
    first_token_seconds of the last answer, token_seconds_p50, _p95, _p99; context, length, dropped_messages. What it cost: seconds of its
    calls, cpu_seconds, model_tokens and flops of the passes of its models; energy "measured", "estimated" or None; joules, eur and usd, None
    where they are not known."""

    def __init__(self, raw):
        for name, _ in c.distill_session_stats._fields_[2:]:
            value = getattr(raw, name)
            setattr(self, name, None if name in ("joules", "eur", "usd") and value < 0 else value)
        self.energy = ENERGY[raw.energy]

    def __repr__(self):
        return "<distill.SessionStats %s>" % ", ".join("%s=%r" % item for item in vars(self).items())


@trampoline(c.distill_logits_fn)
def _on_logits(function, _, logits, vocab):
    shared = (ctypes.c_float * vocab).from_address(ctypes.addressof(logits.contents))
    row = numpy.frombuffer(shared, dtype="float32") if numpy is not None else memoryview(shared).cast("B").cast("f")
    changed = function(row)
    if changed is False:
        return c.DISTILL_CB_CANCEL
    if changed is not None:
        row[:] = changed
    return c.DISTILL_CB_OK


def _named(keys):
    """Keywords as keys of the sections that they are of: context is session's, temperature generate's."""
    if isinstance(keys.get("stop"), (str, bytes)):
        keys = dict(keys, stop=[keys["stop"]])
    mine = {option["name"] for option in option_table() if option["name"].startswith("session.")} if keys else ()
    return {"session." + key if "session." + key in mine else key: value for key, value in keys.items()}


class Session(Handle):
    """A model that answers, a Teacher, with its keys and values:

        session = distill.Session(model, max_tokens=200)
        session.chat([{"role": "user", "content": "Hello."}])
        for token in session:
            print(token.text, end="", flush=True)

    draft: a smaller model of the same tokenizer, whose proposals are verified: the same text, sooner. Keywords are options of the sections
    generate (max_tokens, temperature, ...) and session (context, places, overflow, ...)."""
    _kind = c.distill_session

    def __init__(self, model, draft=None, options=None, **keys):
        if not isinstance(model, Teacher):
            raise TypeError("model is a %s; a Teacher is wanted: distill.Teacher(PATH), or student.as_teacher()" % type(model).__name__)
        self.env = model.env
        self._reads = False
        self._create("session_create", model.raw, raw_or_none(draft), raw_or_none(options_for(self.env, "generate", options, _named(keys))))

    def append(self, prompt, special=False, plain=False):
        """ids, or text (str or bytes), behind what stands; the next token begins another answer. special, plain: as Tokenizer.encode."""
        if isinstance(prompt, (str, bytes, bytearray)):
            data = prompt.encode("utf-8", "surrogatepass") if isinstance(prompt, str) else bytes(prompt)
            flags = (c.DISTILL_ENCODE_SPECIAL if special else 0) | (c.DISTILL_ENCODE_PLAIN if plain else 0)
            call("session_append_text", self.raw, data, len(data), flags)
        else:
            array, count = int_array(c_int32, prompt)
            call("session_append", self.raw, array, count)
        self._reads = True
        return self

    def chat(self, messages, tools=None, answer=True, continue_last=False, chat_template=None, **variables):
        """The conversation as it is to stand, as Tokenizer.chat takes it; what it shares with what stands already is kept."""
        given = chat_json(messages, tools, chat_template, variables)
        flags = (c.DISTILL_CHAT_ANSWER if answer and not continue_last else 0) | (c.DISTILL_CHAT_CONTINUE if continue_last else 0)
        call("session_chat", self.raw, given, flags)
        self._reads = True
        return self

    def next(self):
        """The next Token of the answer, None after the last one."""
        raw = sized(c.distill_token)
        if self._reads:  # a long prompt is read: Ctrl-C should not wait for its end
            more = interruptible(lambda: call_or_end("session_next", self.raw, raw), self.cancel)
            self._reads = False
        else:
            more = call_or_end("session_next", self.raw, raw)
        return Token(raw) if more else None

    def __iter__(self):
        return self

    def __next__(self):
        token = self.next()
        if token is None:
            raise StopIteration
        return token

    def generate(self, on_token=None):
        """The rest of the answer as a Generation. on_token(token) sees them as they come; False stops, and a later call goes on."""
        answer = Generation()
        for token in self:
            answer.ids.append(token.id)
            answer.log_probs.append(token.log_prob)
            answer.finished = token.finished
            answer._bytes += token.data
            if token.top:
                answer.top.append(token.top)
            if on_token is not None and on_token(token) is False:
                break
        return answer

    def on_logits(self, function):
        """function(row) may change the logits that a token is drawn from, in place or by returning others; False cancels. None = none."""
        if function is None:
            call("session_on_logits", self.raw, c.distill_logits_fn(), None, c.distill_destroy_fn())
        else:
            call("session_on_logits", self.raw, _on_logits, register(function), destroy)

    def configure(self, options=None, **keys):
        """Section generate anew, from the next answer on; nothing given = defaults."""
        call("session_configure", self.raw, raw_or_none(options_for(self.env, "generate", options, _named(keys))))

    def truncate(self, tokens):
        """Forgets all but the first tokens; 0 sets the stats back, too."""
        call("session_truncate", self.raw, tokens)

    def fork(self):
        """A second session that stands where this one does, in the middle of an answer, too, and goes its own way; at most `places` of one
        family. What both have in common lies in memory once."""
        raw = ctypes.POINTER(self._kind)()
        call("session_fork", self.raw, raw)
        twin = Session._wrap(raw, self.env)
        twin._reads = self._reads
        return twin

    @property
    def ids(self):
        """What stands in it, prompts and answers."""
        cap = self.stats().length
        while True:
            array, needed, err = (c_int32 * max(cap, 1))(), c_int64(), c.distill_error()
            code = invoke("session_ids", self.raw, array, cap, needed, err)
            if code != c.DISTILL_E_BUFFER:
                break
            cap = needed.value
        if code:
            raise_error(err)
        return array[:needed.value]

    def stats(self):
        """What was read, written and spent. Called by the thread that works with this session and its forks: it shares energy out among them."""
        raw = sized(c.distill_session_stats)
        call("session_get_stats", self.raw, raw)
        return SessionStats(raw)

    def cancel(self, on=True):
        """From any thread: the answer ends with Cancelled, until cancel(False)."""
        invoke("session_cancel", self.raw, int(on))


def next_many(sessions):
    """A token of each of a session and its forks, in one pass over the weights: a list of Tokens, None for one that still reads its prompt or
    has no answer any more. None where that goes for all: their answers have ended."""
    sessions = list(sessions)
    handles = [session.raw for session in sessions]  # they keep their sessions in memory
    table = (ctypes.POINTER(c.distill_session) * max(len(handles), 1))(*handles)
    outs = (c.distill_token * max(len(handles), 1))(*(sized(c.distill_token) for _ in handles))
    more = interruptible(lambda: call_or_end("session_next_many", table, len(handles), outs),
                         lambda on=True: [session.cancel(on) for session in sessions])
    return [Token(raw) if raw.id >= 0 else None for raw in outs] if more else None
