"""Python functions as C callbacks: kept alive until C says destroy, exceptions kept for the call that ran them."""
import itertools
import threading

from . import _signatures as c
from ._errors import keep_exception

_registry = {}  # key, which C holds as `user` -> what it stands for
_keys = itertools.count(1)
_lock = threading.Lock()


def register(thing):
    """Keeps thing until C destroys the key that is returned."""
    with _lock:
        key = next(_keys)
        _registry[key] = thing
    return key


def registered():
    return len(_registry)


def lookup(key):
    return _registry[key]


@c.distill_destroy_fn
def destroy(key):
    _registry.pop(key, None)


class Borrowed:
    """What a callback or step hands out: after expire() every attribute refuses."""

    def expire(self):
        self.__dict__.clear()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError("%s was borrowed until the callback or step ended; copy what is to be kept" % type(self).__name__)


def trampoline(kind):
    """Decorator: makes a function that takes (thing, arguments...) and returns a code, or None for DISTILL_CB_OK, a callback of kind."""
    def wrap(function):
        def run(key, *arguments):
            try:
                code = function(_registry[key], *arguments)
                return c.DISTILL_CB_OK if code is None else int(code)
            except BaseException as exception:  # nothing may leave a callback
                return keep_exception(exception)
        return kind(run)
    return wrap
