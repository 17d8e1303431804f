"""What a failed call raises, and what an exception inside a callback becomes on its way through C."""
import contextlib
import ctypes
import itertools
import threading

from . import _signatures as c
from ._lib import lib


class DistillError(Exception):
    """A call failed: code is a DISTILL_E_* number, str() says what, where and what to do."""

    def __init__(self, code, user_code, position, message):
        super().__init__(message)
        self.code, self.user_code, self.position = code, user_code, position

    def __reduce__(self):  # exceptions cross processes pickled
        return type(self), (self.code, self.user_code, self.position, str(self))


class InvalidArgument(DistillError, ValueError):
    pass


class OptionError(InvalidArgument):
    pass


class StageError(DistillError, RuntimeError):
    pass


class Unsupported(DistillError, NotImplementedError):
    pass


class OutOfMemory(DistillError, MemoryError):
    pass


class IOFailure(DistillError, OSError):
    pass


class NotFound(DistillError, LookupError):
    pass


class FormatError(DistillError, ValueError):
    pass


class Mismatch(DistillError, ValueError):
    pass


class NumericError(DistillError, ArithmeticError):
    pass


class CallbackError(DistillError):
    pass


class Cancelled(DistillError):
    pass


class EndOfData(DistillError):
    pass


_CLASSES = {
    c.DISTILL_E_INVALID: InvalidArgument, c.DISTILL_E_OPTION: OptionError, c.DISTILL_E_STAGE: StageError,
    c.DISTILL_E_REENTRANT: StageError, c.DISTILL_E_BUSY: StageError, c.DISTILL_E_BUFFER: InvalidArgument,
    c.DISTILL_E_UNSUPPORTED: Unsupported, c.DISTILL_E_NOMEM: OutOfMemory, c.DISTILL_E_IO: IOFailure,
    c.DISTILL_E_NOT_FOUND: NotFound, c.DISTILL_E_FORMAT: FormatError, c.DISTILL_E_MISMATCH: Mismatch,
    c.DISTILL_E_NUMERIC: NumericError, c.DISTILL_E_CALLBACK: CallbackError, c.DISTILL_E_CANCELLED: Cancelled,
    c.DISTILL_E_END: EndOfData,
}

# An exception inside a callback travels as the number that the callback returns, which comes back as err.user_code:
# so it finds its call whatever thread it was raised on. Few are ever waiting; old ones that no call asked for go.
_FIRST, _KEPT = 1 << 20, 64
_numbers = itertools.count(_FIRST)
_waiting = {}
_lock = threading.Lock()


def keep_exception(exception):
    """Stores the exception of a callback and gives the number to return."""
    with _lock:
        number = next(_numbers)
        _waiting[number] = exception
        while len(_waiting) > _KEPT:
            del _waiting[min(_waiting)]
    return number


def raise_error(err):
    """err: a filled distill_error."""
    with _lock:
        exception = _waiting.pop(err.user_code, None) if err.code == c.DISTILL_E_CALLBACK else None
    if exception is not None:
        raise exception
    message = err.message.decode("utf-8", "replace") or lib.distill_strerror(err.code).decode()
    raise _CLASSES.get(err.code, DistillError)(err.code, err.user_code, err.position, message)


def invoke(name, *arguments):
    """Calls distill_<name>. Handles among the arguments outlive the call, whoever closes them meanwhile."""
    with contextlib.ExitStack() as stack:
        for argument in arguments:
            owner = getattr(argument, "owner", None)
            if hasattr(owner, "in_use"):
                stack.enter_context(owner.in_use())
        try:
            return getattr(lib, "distill_" + name)(*arguments)
        except ctypes.ArgumentError as error:
            raise TypeError("distill_%s: %s" % (name, error)) from None


def call(name, *arguments):
    """The same with an error of its own as the last argument; raises what it says."""
    err = c.distill_error()
    if invoke(name, *arguments, err) != c.DISTILL_OK:
        raise_error(err)


def call_or_end(name, *arguments):
    """The same, but DISTILL_E_END is an answer: False."""
    err = c.distill_error()
    code = invoke(name, *arguments, err)
    if code not in (c.DISTILL_OK, c.DISTILL_E_END):
        raise_error(err)
    return code == c.DISTILL_OK
