"""Finds libdistill, checks its version and declares every signature."""
import ctypes
import ctypes.util
import os
import sys

from . import _signatures

_NAMES = {"darwin": "libdistill.1.dylib", "win32": "distill-1.dll"}
SONAME = _NAMES.get(sys.platform, "libdistill.so.%d" % (_signatures.DISTILL_ABI_VERSION // 1000))


def _candidates():
    """(what, path), in the order in which they are tried."""
    chosen = os.environ.get("DISTILL_LIBRARY")
    if chosen:
        yield "DISTILL_LIBRARY", chosen
        return
    packaged = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_lib", SONAME)
    if os.path.exists(packaged):
        yield "packaged", packaged
    found = ctypes.util.find_library("distill")
    if found:
        yield "system", found
    yield "system", SONAME


def _load():
    tried = []
    for what, path in _candidates():
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            tried.append("%s (%s): %s" % (path, what, error))
    raise ImportError("libdistill was not found; set DISTILL_LIBRARY to the file. Tried " + "; ".join(tried))


def _declare(library):
    for name, (result, arguments) in _signatures.FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError("%s has no %s: it is older than this package" % (library._name, name)) from None
        function.restype, function.argtypes = result, arguments


def _check_version(library):
    wanted, found = _signatures.DISTILL_ABI_VERSION, library.distill_abi_version()
    if found // 1000 != wanted // 1000 or found < wanted:
        raise ImportError("%s has ABI version %d, this package needs %d" % (library._name, found, wanted))


lib = _load()
lib.distill_abi_version.restype, lib.distill_abi_version.argtypes = _signatures.FUNCTIONS["distill_abi_version"]
_check_version(lib)
_declare(lib)
