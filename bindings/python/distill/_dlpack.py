"""DLPack's capsules (dmlc.github.io/dlpack, versions 0.x and 1.x) of the library's memory, for numpy, torch, JAX and the like."""
import ctypes
import itertools

from . import _signatures as c

_NAME, _VERSIONED = b"dltensor", b"dltensor_versioned"
_READ_ONLY = 1
_lent, _keys = {}, itertools.count(1)  # what a consumer still looks at: key, which stands in manager_ctx -> what has to live


class _Managed(ctypes.Structure):  # DLManagedTensor
    pass


class _ManagedVersioned(ctypes.Structure):  # DLManagedTensorVersioned
    pass


_deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Managed._fields_ = [("tensor", c.distill_tensor), ("context", ctypes.c_void_p), ("deleter", _deleter)]
_ManagedVersioned._fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p), ("deleter", _deleter),
                              ("flags", ctypes.c_uint64), ("tensor", c.distill_tensor)]


@_deleter
def _give_back(address):
    _lent.pop(_Managed.from_address(address).context, None)


@_deleter
def _give_back_versioned(address):
    _lent.pop(_ManagedVersioned.from_address(address).context, None)


_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _unused(capsule):
    """The destructor: a consumer renames the capsule and calls the deleter itself."""
    for name, give_back in ((_NAME, _give_back), (_VERSIONED, _give_back_versioned)):
        if _is_valid(capsule, name):
            give_back(_pointer(capsule, name))


def capsule_of(tensor, writable, versioned, *kept):
    """A capsule of a distill_tensor, whose layout is DLTensor's. kept lives until the consumer lets go."""
    key = next(_keys)
    if versioned:
        managed = _ManagedVersioned(major=1, minor=0, context=key, deleter=_give_back_versioned, flags=0 if writable else _READ_ONLY)
    else:
        managed = _Managed(context=key, deleter=_give_back)
    ctypes.memmove(ctypes.byref(managed.tensor), ctypes.byref(tensor), ctypes.sizeof(tensor))
    _lent[key] = managed, kept
    return _new(ctypes.addressof(managed), _VERSIONED if versioned else _NAME, ctypes.cast(_unused, ctypes.c_void_p))
