"""Memory that both sides see: Python's arrays as distill_tensor, the library's memory as views; nothing is copied."""
import array
import ctypes
from ctypes import c_int64

from . import _signatures as c
from ._dlpack import capsule_of

try:
    import numpy
except ImportError:
    numpy = None

_CODES = {"f4": (c.DISTILL_FLOAT, 32), "f2": (c.DISTILL_FLOAT, 16), "i4": (c.DISTILL_INT, 32), "i8": (c.DISTILL_INT, 64)}
_FORMATS = {"f": "f4", "e": "f2", "i": "i4", "q": "i8", "l": "i%d" % ctypes.sizeof(ctypes.c_long)}
_TYPES = {(c.DISTILL_FLOAT, 32): ("<f4", "f", 4), (c.DISTILL_FLOAT, 16): ("<f2", "e", 2), (c.DISTILL_BFLOAT, 16): ("<u2", "H", 2),
          (c.DISTILL_INT, 32): ("<i4", "i", 4), (c.DISTILL_INT, 64): ("<i8", "q", 8), (c.DISTILL_UINT, 8): ("|u1", "B", 1)}
_DTYPES = "float32, float16, bfloat16 (through DLPack), int32 and int64"


class _Buffer(ctypes.Structure):
    """Py_buffer: gives the address of read-only and of strided memory, which ctypes does not."""
    _fields_ = [("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t), ("itemsize", ctypes.c_ssize_t),
                ("readonly", ctypes.c_int), ("ndim", ctypes.c_int), ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p),
                ("strides", ctypes.c_void_p), ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p)]


def _address(view):
    """Of the first element; valid while view, which pins the memory, lives."""
    buffer = _Buffer()
    full_read_only = 0x0018 | 0x0100 | 0x0004  # PyBUF_STRIDES, PyBUF_INDIRECT, PyBUF_FORMAT
    get, release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    get.argtypes, release.argtypes, release.restype = [ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int], [ctypes.POINTER(_Buffer)], None
    get(view, buffer, full_read_only)
    try:
        return buffer.buf
    finally:
        release(buffer)


class Argument:
    """A distill_tensor that borrows somebody's memory, and what has to live as long."""

    def __init__(self, tensor, *kept):
        self.tensor, self.kept = tensor, kept

    @property
    def shape(self):
        return tuple(self.tensor.shape[i] for i in range(self.tensor.ndim))


def _make(address, dtype, shape, byte_strides, kept):
    code, bits = _CODES[dtype]
    size = bits // 8
    tensor = c.distill_tensor(data=address, device_type=c.DISTILL_CPU, ndim=len(shape), dtype_code=code, dtype_bits=bits, dtype_lanes=1)
    shape_array = (c_int64 * max(len(shape), 1))(*shape)
    tensor.shape = ctypes.cast(shape_array, ctypes.POINTER(c_int64))
    strides_array = None
    if byte_strides is not None:
        if any(stride % size for stride in byte_strides):
            raise ValueError("strides of %s bytes are no multiple of the element's %d" % (byte_strides, size))
        strides_array = (c_int64 * max(len(shape), 1))(*[stride // size for stride in byte_strides])
        tensor.strides = ctypes.cast(strides_array, ctypes.POINTER(c_int64))
    return Argument(tensor, shape_array, strides_array, kept)


def _from_interface(value, writable):
    interface = value.__array_interface__
    dtype = interface["typestr"].lstrip("<|=")
    if dtype not in _CODES:
        raise TypeError("elements of type %s: %s are taken; nothing is converted silently" % (interface["typestr"], _DTYPES))
    address, read_only = interface["data"]
    if writable and read_only:
        raise ValueError("the array is read-only, and the library is to write to it")
    return _make(address, dtype, interface["shape"], interface.get("strides"), value)


def bfloat16(value):
    """A numpy array whose elements are bfloat16 of a package that numpy does not know (ml_dtypes)."""
    made = _from_interface(value.view(numpy.int16).view(numpy.float16), False)
    made.tensor.dtype_code = c.DISTILL_BFLOAT
    return Argument(made.tensor, *made.kept)


def _from_dlpack(value):
    capsule = value.__dlpack__()
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = c.distill_tensor.from_address(get(capsule, b"dltensor"))  # a DLManagedTensor begins with its DLTensor
    return Argument(tensor, capsule, value)


def _from_buffer(value, writable):
    view = memoryview(value)
    if view.format.lstrip("<=@") not in _FORMATS:
        raise TypeError("elements of format %s: %s are taken; nothing is converted silently" % (view.format, _DTYPES))
    if writable and view.readonly:
        raise ValueError("the buffer is read-only, and the library is to write to it")
    return _make(_address(view), _FORMATS[view.format.lstrip("<=@")], view.shape, view.strides, view)


def _from_list(value):
    rows = value if value and isinstance(value[0], (list, tuple)) else None
    flat = [item for row in rows for item in row] if rows else list(value)
    if rows and any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("rows of different lengths")
    whole = all(isinstance(item, int) for item in flat)
    held = array.array("q" if whole else "f", flat)
    shape = (len(rows), len(rows[0])) if rows else (len(flat),)
    return _make(held.buffer_info()[0], "i8" if whole else "f4", shape, None, held)


def argument(value, writable=False):
    """A distill_tensor of anything with __array_interface__, a buffer or DLPack; lists are copied where nothing is written."""
    if isinstance(value, Argument):
        return value
    if isinstance(value, View):
        if writable and not value.writable:
            raise ValueError("the view is read-only, and the library is to write to it")
        return Argument(value.live(), value)
    if hasattr(value, "__array_interface__"):
        return _from_interface(value, writable)
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(value)
    if isinstance(value, (list, tuple)) and not writable:
        return _from_list(value)
    return _from_buffer(value, writable)


class View:
    """The library's memory: array() gives a numpy array or a memoryview of it. After expire() it refuses."""

    def __init__(self, tensor, owner=None, writable=True):
        self.owner, self.writable, self.shape = owner, writable, tuple(tensor.shape[i] for i in range(tensor.ndim))
        self._shape = (c_int64 * max(tensor.ndim, 1))(*self.shape)
        self._strides = None
        self.tensor = c.distill_tensor()
        ctypes.memmove(ctypes.byref(self.tensor), ctypes.byref(tensor), ctypes.sizeof(tensor))
        self.tensor.shape = ctypes.cast(self._shape, ctypes.POINTER(c_int64))
        if tensor.strides:
            self._strides = (c_int64 * max(tensor.ndim, 1))(*[tensor.strides[i] for i in range(tensor.ndim)])
            self.tensor.strides = ctypes.cast(self._strides, ctypes.POINTER(c_int64))

    @classmethod
    def of_pointer(cls, pointer, code, bits, shape, strides=None, owner=None, writable=True):
        if not pointer:
            return None
        tensor = c.distill_tensor(data=ctypes.cast(pointer, ctypes.c_void_p), device_type=c.DISTILL_CPU, ndim=len(shape), dtype_code=code,
                                  dtype_bits=bits, dtype_lanes=1)
        shape_array = (c_int64 * len(shape))(*shape)
        tensor.shape = ctypes.cast(shape_array, ctypes.POINTER(c_int64))
        if strides:
            strides_array = (c_int64 * len(shape))(*strides)
            tensor.strides = ctypes.cast(strides_array, ctypes.POINTER(c_int64))
        return cls(tensor, owner, writable)

    def expire(self):
        self.tensor = None

    def live(self):
        """The tensor, while its memory is there."""
        if self.tensor is None:
            raise RuntimeError("this memory was borrowed until the callback or step ended; copy what is to be kept")
        if self.owner is not None:
            self.owner.check()
        return self.tensor

    @property
    def __array_interface__(self):
        tensor = self.live()
        typestr, _, size = _TYPES[tensor.dtype_code, tensor.dtype_bits]
        strides = tuple(stride * size for stride in self._strides[:len(self.shape)]) if self._strides is not None else None
        return {"version": 3, "typestr": typestr, "shape": self.shape, "strides": strides,
                "data": ((tensor.data or 0) + tensor.byte_offset, not self.writable)}

    def __dlpack_device__(self):
        return c.DISTILL_CPU, 0

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """For torch.from_dlpack and the like; the memory is the library's and ends as this view does."""
        versioned = max_version is not None and max_version[0] >= 1
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError("the library's memory is lent where it is: copy it on the consumer's side")
        if not self.writable and not versioned:
            raise BufferError("this memory is read-only, which DLPack before 1.0 cannot say: take array().copy()")
        return capsule_of(self.live(), self.writable, versioned, self, self._shape, self._strides)

    def array(self):
        """numpy's array where numpy is installed, else a memoryview; both look at the same memory."""
        return numpy.asarray(self) if numpy is not None else self.memory()

    def memory(self):
        tensor = self.live()
        _, form, size = _TYPES[tensor.dtype_code, tensor.dtype_bits]
        count = 1
        for extent in self.shape:
            count *= extent
        if self._strides is not None and not self._compact():
            raise TypeError("rows with a stride need numpy")
        if not count:
            return memoryview(b"")
        flat = (ctypes.c_char * (count * size)).from_address(tensor.data + tensor.byte_offset)
        flat.view = self  # and with it the owner, as long as the memoryview lives
        view = memoryview(flat).cast("B").cast(form, self.shape)
        return view if self.writable else view.toreadonly()

    def _compact(self):
        expected = 1
        for extent, stride in zip(reversed(self.shape), reversed(self._strides[:len(self.shape)])):
            if extent > 1 and stride != expected:
                return False
            expected *= extent
        return True

    def tolist(self):
        return self.array().tolist()

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return "<distill.View %s%s>" % ("x".join(map(str, self.shape)), "" if self.tensor is not None else ", expired")
