"""Files that keep a teacher's targets, so that it runs once (docs/target-cache.md). Teacher.cached reads and fills them while it is asked."""
import contextlib
import ctypes

from . import _signatures as c
from ._base import Report, default_env, encoded, env_of, interruptible, options_for, raw_or_none
from ._callbacks import destroy, register
from ._errors import call
from ._training import _on_progress


def _settings(env, options, keys):
    return options_for(env, "teacher.cache", options, {"teacher.cache." + key: value for key, value in keys.items()})


@contextlib.contextmanager
def _progress(function):
    """The callback and what it finds the function by, as long as the call takes."""
    if function is None:
        yield c.distill_progress_fn(), None
        return
    key = register(function)
    try:
        yield _on_progress, key
    finally:
        destroy(key)


def build(path=None, teacher=None, data=None, options=None, on_progress=None, env=None, **keys):
    """Asks the teacher about all rows of data that the file lacks and keeps them: a Report. Without path the caches that the teacher
    has, without teacher and data what the options (a recipe) name. Keywords are options of teacher.cache: tier, k, draws, ...
    on_progress(progress) may return False to stop; what there is stays, and the next call goes on."""
    env = env_of(env, teacher, data)
    with_options = _settings(env, options, keys)
    raw = ctypes.POINTER(c.distill_report)()
    with _progress(on_progress) as (fn, key):
        interruptible(lambda: call("cache_build", env.raw, raw_or_none(teacher), raw_or_none(data), encoded(path) if path is not None else None,
                                   raw_or_none(with_options), fn, key, raw), env.cancel)
    return Report._wrap(raw, env)


def plan(path=None, teacher=None, data=None, options=None, env=None, **keys):
    """What build would make: size, rows that are missing, time, from some windows that are asked. Nothing is written."""
    env = env_of(env, teacher, data)
    with_options = _settings(env, options, keys)
    raw = ctypes.POINTER(c.distill_report)()
    interruptible(lambda: call("cache_plan", env.raw, raw_or_none(teacher), raw_or_none(data), encoded(path) if path is not None else None,
                               raw_or_none(with_options), raw), env.cancel)
    return Report._wrap(raw, env)


def measure(teacher=None, data=None, student=None, rows=4096, options=None, on_progress=None, env=None, **keys):
    """Bytes of a token and KL(teacher||what is read back) of the tiers and some settings, on about so many rows (0 = all): a Report.
    With a student also its own KL, to compare. Keywords are options of teacher.cache: temperature, k, ..."""
    env = env_of(env, teacher, data, student)
    with_options = _settings(env, options, keys)
    raw = ctypes.POINTER(c.distill_report)()
    with _progress(on_progress) as (fn, key):
        interruptible(lambda: call("cache_measure", env.raw, raw_or_none(teacher), raw_or_none(student), raw_or_none(data), rows,
                                   raw_or_none(with_options), fn, key, raw), env.cancel)
    return Report._wrap(raw, env)


def merge(paths, into, options=None, env=None, **keys):
    """What `into` lacks of the files is added to it. skip_damaged=True leaves damaged blocks out."""
    env = env if env is not None else default_env()
    with_options = _settings(env, options, keys)
    text = ctypes.POINTER(ctypes.c_char)
    names = (text * max(len(paths), 1))(*[ctypes.cast(ctypes.c_char_p(encoded(path)), text) for path in paths])
    interruptible(lambda: call("cache_merge", env.raw, names, len(paths), encoded(into), raw_or_none(with_options)), env.cancel)


def _described(name, path, env):
    env = env if env is not None else default_env()
    raw = ctypes.POINTER(c.distill_report)()
    interruptible(lambda: call(name, env.raw, encoded(path), raw), env.cancel)
    return Report._wrap(raw, env)


def inspect(path, env=None):
    """What a cache says of itself: a Report."""
    return _described("cache_inspect", path, env)


def verify(path, env=None):
    """The same, with every block and row read: "whole", and where it is not "problem" and "damaged"."""
    return _described("cache_verify", path, env)
