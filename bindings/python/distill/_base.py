"""What all handles share, the env, and the options."""
import ctypes
import json
import logging
import math
import os
import signal
import threading
import weakref

from . import _signatures as c
from ._callbacks import Borrowed, destroy, lookup, register, trampoline
from ._communicator import table_of
from ._errors import call, call_or_end, invoke, raise_error
from ._lib import lib
from ._targets import Target
from ._tensor import View, numpy


def sized(kind, /, **fields):
    return kind(struct_size=ctypes.sizeof(kind), **fields)


def encoded(text):
    data = os.fsencode(text) if isinstance(text, (str, os.PathLike)) else text
    if isinstance(data, bytes) and b"\0" in data:
        raise ValueError("%r has a NUL byte, where C would end it" % (text,))
    return data


def text_of(name, *arguments):
    """A text that comes by (buf, cap, needed)."""
    needed, err = ctypes.c_size_t(), c.distill_error()
    code = invoke(name, *arguments, None, 0, needed, err)
    if not code:
        buffer = ctypes.create_string_buffer(max(needed.value, 1))
        code = invoke(name, *arguments, buffer, len(buffer), needed, err)
    if code:
        raise_error(err)
    return buffer.raw[:max(needed.value, 1) - 1]


class _Interrupts:
    """While C works: Ctrl-C cancels instead of raising in the middle of the wait. A handler of the host's own stays."""

    def __init__(self, cancel):
        self.cancel, self.seen, self.mine = cancel, None, False

    def __enter__(self):
        self.mine = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.mine:
            signal.signal(signal.SIGINT, lambda *_: self.note(KeyboardInterrupt()))
        return self

    def note(self, exception):
        if self.seen is None:
            self.cancel(True)
        self.seen = exception

    def __exit__(self, *_):
        if self.mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait(self, done):
        while not done.is_set():
            try:
                done.wait(0.2)
            except BaseException as exception:  # from the host's handler: raised when C is done
                self.note(exception)


def interruptible(function, cancel):
    """Runs function in a thread, so that Ctrl-C reaches Python while C works: then cancel(True), and the interrupt when C is done."""
    if threading.current_thread() is not threading.main_thread():
        return function()
    outcome, done = [], threading.Event()

    def work():
        try:
            outcome.append((function(), None))
        except BaseException as exception:
            outcome.append((None, exception))
        finally:
            done.set()

    thread = threading.Thread(target=work, name="distill", daemon=True)
    with _Interrupts(cancel) as interrupts:
        thread.start()
        interrupts.wait(done)
        thread.join()
    if interrupts.seen is not None:
        cancel(False)
        raise interrupts.seen
    result, exception = outcome[0]
    if exception is not None:
        raise exception
    return result


class _Owned:
    """A C handle and the calls that run with it: closing it during a call frees it when the last one returns."""

    def __init__(self, raw, free):
        self.raw, self.free, self.calls, self.closed, self.lock = raw, free, 0, False, threading.Lock()

    def __enter__(self):
        with self.lock:
            self.calls += 1
            if self.closed and self.calls == 1:
                self.calls = 0
                raise ValueError("the handle was closed meanwhile")

    def __exit__(self, *_):
        with self.lock:
            self.calls -= 1
            due = self.closed and not self.calls
        if due:
            self.free(self.raw)

    def close(self):
        with self.lock:
            due = not self.closed and not self.calls
            self.closed = True
        if due:
            self.free(self.raw)


class Handle:
    """Owns a C handle. close() or `with` frees it at once, the garbage collector later; in any order."""
    _kind = None

    def _take(self, raw):
        self._owned = _Owned(raw, getattr(lib, self._kind.__name__ + "_free"))
        self._finalizer = weakref.finalize(self, self._owned.close)

    def _create(self, name, *arguments):
        raw = ctypes.POINTER(self._kind)()
        call(name, *arguments, raw)
        self._take(raw)

    @classmethod
    def _wrap(cls, raw, env):
        self = cls.__new__(cls)
        self.env = env
        self._take(raw)
        return self

    @property
    def raw(self):
        """The C handle, for what is not wrapped. It keeps this object alive, so a call may be made on a temporary one."""
        self.check()
        raw = type(self._owned.raw).from_buffer_copy(self._owned.raw)
        raw.owner = self
        return raw

    def check(self):
        """Raises ValueError where the handle is closed."""
        if not self._finalizer.alive:
            raise ValueError("this %s is closed" % type(self).__name__)

    def in_use(self):
        """`with` it around a call: a close meanwhile waits for its end."""
        return self._owned

    def close(self):
        self._finalizer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _get_i64(self, key):
        value = ctypes.c_int64()
        call(self._kind.__name__[len("distill_"):] + "_get_i64", self.raw, key.encode(), value)
        return value.value


_LEVELS = {c.DISTILL_LOG_ERROR: logging.ERROR, c.DISTILL_LOG_WARN: logging.WARNING, c.DISTILL_LOG_INFO: logging.INFO,
           c.DISTILL_LOG_DEBUG: logging.DEBUG}


@c.distill_log_fn
def _on_log(key, level, component, message):
    try:
        lookup(key).log(_LEVELS.get(level, logging.INFO), "%s", message.decode("utf-8", "replace"),
                        extra={"component": component.decode("utf-8", "replace")})
    except BaseException:  # a log line has nowhere to raise
        pass


class LossRows(Borrowed):
    """A chunk of rows for a loss of one's own: arrays that end with the callback."""

    def __init__(self, rows, sums=0):
        shape = (rows.rows, rows.vocab)
        self.views = []
        self.count, self.vocab, self.temperature, self.step = rows.rows, rows.vocab, rows.temperature, rows.step
        self.student = self._array(rows.student, c.DISTILL_FLOAT, 32, shape, False)
        self.teacher = self._array(rows.teacher, c.DISTILL_FLOAT, 32, shape, False)
        self.labels = self._array(rows.labels, c.DISTILL_INT, 32, shape[:1], False)
        self.sequences = self._array(rows.sequences, c.DISTILL_INT, 64, shape[:1], False)
        self.weights = self._array(rows.weights, c.DISTILL_FLOAT, 32, shape[:1], False)
        self.sequence_count = rows.sequence_count
        self.value = self._doubles(rows.value, rows.rows) if rows.value else None
        self.sequence_sums = self._doubles(rows.sequence_sums, rows.sequence_count, sums) if rows.sequence_sums else None
        self.gradient = self._array(rows.gradient, c.DISTILL_FLOAT, 32, shape, True)
        self.target = Target(rows.target.contents) if rows.target else None

    def _array(self, pointer, code, bits, shape, writable):
        view = View.of_pointer(pointer, code, bits, shape, writable=writable)
        if view is None:
            return None
        self.views.append(view)
        return view.array()

    def expire(self):
        for view in self.views:
            view.expire()
        if self.target is not None:
            self.target.expire()
        super().expire()

    @staticmethod
    def _doubles(pointer, *shape):
        flat = (ctypes.c_double * math.prod(shape)).from_address(ctypes.cast(pointer, ctypes.c_void_p).value)
        if numpy is not None:
            return numpy.frombuffer(flat, dtype="float64").reshape(shape)
        return memoryview(flat).cast("B").cast("d", shape)


class _OwnLoss:
    def __init__(self, function, measure, sums):
        self.function, self.measure, self.sums = function, measure, sums


@trampoline(c.distill_loss_callbacks_eval)
def _on_loss(own, rows):
    given = LossRows(rows.contents, own.sums)
    try:
        return own.function(given)
    finally:
        given.expire()


@trampoline(c.distill_loss_callbacks_measure)
def _on_measure(own, rows, out):
    given = LossRows(rows.contents, own.sums)
    try:
        return own.measure(given, LossRows._doubles(out, given.count, own.sums))
    finally:
        given.expire()


@trampoline(c.distill_operator_callbacks_apply)
def _on_sample(function, sample, emit, emit_user):
    given = json.loads(ctypes.string_at(sample.contents.text, sample.contents.size))
    made = function(given)
    for one in made if isinstance(made, (list, tuple)) else [] if made is None else [made]:
        text = json.dumps(one).encode()
        code = emit(emit_user, ctypes.pointer(sized(c.distill_sample, kind=c.DISTILL_SAMPLE_JSON, text=text, size=len(text))))
        if code != c.DISTILL_CB_OK:
            return code
    return c.DISTILL_CB_OK


class Env(Handle):
    """What the process lends: log, threads; and the losses known by name. log: a logging.Logger, default "distill". products: what forms
    matrix products, as option compute.products."""
    _kind = c.distill_env

    def __init__(self, threads=None, log=None, log_level=c.DISTILL_LOG_INFO, products=None):
        self._create("env_create", None)
        key = register(log if log is not None else logging.getLogger("distill"))
        call("env_set_logger", self.raw, log_level, _on_log, key, destroy)
        if threads is not None:
            call("env_set_threads", self.raw, threads, c.distill_parallel_fn(), None, c.distill_destroy_fn())
        if products is not None:
            call("env_set_products", self.raw, products.encode())

    @property
    def env(self):
        return self

    def cancel(self, on=True):
        invoke("env_cancel", self.raw, int(on))

    def set_communicator(self, communicator):
        """The ranks of a job, before the first model, dataset or trainer; None = alone. An object with rank, size, and methods that every rank
        calls in the same order, on writable memoryviews of bytes: all_to_all(given, out), of which part j of given goes to rank j;
        all_gather(given, out); broadcast(data, root); barrier(). What they raise ends the call. Or a table that mpi_communicator gives."""
        table = communicator
        if communicator is not None and not isinstance(communicator, c.distill_communicator):
            table = table_of(communicator)
        call("env_set_communicator", self.raw, table)

    def add_loss(self, name, function, targets=(c.DISTILL_DENSE,), fallback=None, log_probs=False, whole_sequences=False,
                 measure=None, sums=0):
        """From now on options may say loss.type: name. function(rows) writes rows.value and, where it is not None, rows.gradient.
        measure(rows, out), before it: writes `sums` numbers for each row to out [rows, sums]; function finds them added up over sequences in
        rows.sequence_sums [sequences, sums], where rows.sequences says which is whose."""
        flags = (c.DISTILL_LOSS_LOG_PROBS if log_probs else 0) | (c.DISTILL_LOSS_WHOLE_SEQUENCES if whole_sequences else 0)
        table = sized(c.distill_loss_callbacks, flags=flags, user=register(_OwnLoss(function, measure, sums)), destroy=destroy, eval=_on_loss,
                      fallback=fallback.encode() if fallback else None, targets=sum(1 << kind for kind in targets), sums=sums)
        if measure is not None:
            table.measure = _on_measure
        call("env_add_loss", self.raw, name.encode(), table)

    def add_operator(self, name, function):
        """From now on a step of augment.steps may be {name: ...}. function(sample) is given the fields of a sample, its id and provenance
        among them, and returns what becomes of it: a dict, a list of some, or None. What keeps its id is that sample."""
        table = sized(c.distill_operator_callbacks, user=register(function), destroy=destroy, apply=_on_sample)
        call("env_add_operator", self.raw, name.encode(), table)

    def inspect(self, path=None):
        """What a path is (model, tokenizer, token file, checkpoint) and whether it is whole; without path the library."""
        raw = ctypes.POINTER(c.distill_report)()
        call("inspect", self.raw, encoded(path), raw)
        return Report._wrap(raw, self)

    def report(self, folder):
        """What a run left in its output folder: a Report with "result", "metrics", "damaged" and "problems"."""
        raw = ctypes.POINTER(c.distill_report)()
        call("report_open", self.raw, encoded(folder), raw)
        return Report._wrap(raw, self)

    def limits(self):
        """What this machine can do at most, on the threads of this env: a Report. Measures, in about three seconds."""
        raw = ctypes.POINTER(c.distill_report)()
        call("limits", self.raw, raw)
        return Report._wrap(raw, self)


_default = []
_default_lock = threading.Lock()


def default_env():
    """The env of handles that are made without one."""
    with _default_lock:
        if not _default:
            _default.append(Env())
        return _default[0]


def _yaml(value):
    """JSON, which is YAML."""
    return json.dumps(value, default=os.fspath)


class Options(Handle):
    """A tree of named values. recipe: a path, a dict of sections, other Options, or None. settings: {"train.steps": 100}."""
    _kind = c.distill_options

    def __init__(self, recipe=None, settings=None, env=None):
        self.env = env if env is not None else default_env()
        self._create("options_create", self.env.raw)
        if isinstance(recipe, Options):
            self.parse(recipe.to_yaml())
        elif isinstance(recipe, dict):
            self.update(recipe)
        elif recipe is not None:
            self.load(recipe)
        if settings:
            self.update(settings)

    def load(self, path):
        call("options_load", self.raw, encoded(path))

    def parse(self, yaml, name="recipe"):
        data = yaml.encode() if isinstance(yaml, str) else yaml
        call("options_parse", self.raw, data, len(data), name.encode())

    def update(self, tree, prefix=""):
        for key, value in tree.items():
            if isinstance(value, dict):
                self.update(value, prefix + key + ".")
            else:
                self[prefix + key] = value

    def __setitem__(self, key, value):
        name = encoded(key)
        if hasattr(value, "tolist"):  # numpy's numbers and arrays
            value = value.tolist()
        if value is None:
            call("options_set", self.raw, name, None)
        elif isinstance(value, (str, os.PathLike)):
            call("options_set_str", self.raw, name, encoded(value))
        elif isinstance(value, bool):
            call("options_set", self.raw, name, b"true" if value else b"false")
        elif isinstance(value, int) and -1 << 63 <= value < 1 << 63:
            call("options_set_i64", self.raw, name, value)
        elif isinstance(value, float):
            call("options_set_f64", self.raw, name, value)
        else:
            call("options_set", self.raw, name, _yaml(value).encode())

    def __getitem__(self, key):
        """The value, or the default, as YAML."""
        return text_of("options_get", self.raw, key.encode()).decode()

    def __delitem__(self, key):
        self[key] = None

    def to_yaml(self):
        return self[""]


def option_table():
    """Every option: a list of dicts with name, type, help, default, choices, unit, low, high, live, when."""
    types = {value: name[len("DISTILL_TYPE_"):].lower() for name, value in vars(c).items() if name.startswith("DISTILL_TYPE_")}
    table, info = [], sized(c.distill_option_info)
    while call_or_end("option_at", len(table), info):
        table.append({"name": info.name.decode(), "type": types.get(info.type, "?"), "help": info.help.decode(),
                      "default": info.default_text.decode(), "choices": info.choices.decode().split("|") if info.choices else [],
                      "unit": info.unit.decode(), "low": info.low, "high": info.high, "live": bool(info.flags & c.DISTILL_OPTION_LIVE),
                      "schedule": bool(info.flags & c.DISTILL_OPTION_SCHEDULE), "when": info.when.decode()})
        info = sized(c.distill_option_info)
    return table


def options_for(env, section, options, keys):
    """The options of a create function: what was given, and keywords as keys of its section. None where nothing was said."""
    if options is None and not keys:
        return None
    tree = Options(options, env=env)
    for key, value in keys.items():
        name = key.replace("__", ".")
        tree[name if "." in name else "%s.%s" % (section, name)] = value
    return tree


def raw_or_none(handle):
    if handle is not None and not isinstance(handle, Handle):
        raise TypeError("%r is no handle of this package" % (handle,))
    return None if handle is None else handle.raw


def env_of(env, *parts):
    """The env that was given, or that of the first part that has one."""
    for part in parts if env is None else ():
        if part is not None:
            raw_or_none(part)
            return part.env
    return env if env is not None else default_env()


class Report(Handle):
    """Read-only results: report["student.perplexity"], to_dict(), json()."""
    _kind = c.distill_report

    def __getitem__(self, key):
        value = ctypes.c_double()
        call("report_get_f64", self.raw, key.encode(), value)
        return value.value

    def json(self):
        return text_of("report_json", self.raw).decode()

    def to_dict(self):
        return json.loads(self.json())

    def html(self, path, *others, language=None):
        """A page for a browser at path: of this report, or of this one beside others. language: "en" or "pt"."""
        reports = (self,) + others
        options = Options(settings={"output.language": language} if language else None)
        raw = (ctypes.POINTER(c.distill_report) * len(reports))(*[report.raw for report in reports])
        call("report_html", raw, len(reports), encoded(path), options.raw)

    def __repr__(self):
        return "<distill.Report %s>" % self.json().strip()
