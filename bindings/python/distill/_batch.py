"""Ragged sequences of token ids on their way in and out."""
import array
import ctypes
import json
from ctypes import c_float, c_int32, c_int64, c_uint8

from . import _signatures as c
from ._base import encoded
from ._callbacks import Borrowed
from ._tensor import View, numpy

_CODES = {c_int32: "i", c_int64: "q", c_uint8: "B"}


def int_array(kind, values):
    values = values.tolist() if hasattr(values, "tolist") else list(values)
    try:  # ctypes would wrap around
        held = array.array(_CODES[kind], values)
    except OverflowError:
        raise ValueError("a value does not fit into %d bits" % (8 * ctypes.sizeof(kind))) from None
    return (kind * max(len(held), 1)).from_buffer(held if held else array.array(_CODES[kind], [0])), len(held)


def name_array(what, value, count):
    """A name or None for each sequence; one name stands for all of them."""
    names = [value] * count if isinstance(value, str) else list(value)
    if len(names) != count:
        raise ValueError("%d %s for %d sequences" % (len(names), what, count))
    return (ctypes.c_char_p * max(count, 1))(*(None if name is None else encoded(name) for name in names))


def sequences_of(value):
    """[[ids], ...] of one sequence of ids or of several."""
    items = list(value)
    if items and not hasattr(items[0], "__len__"):
        return [items]
    return items


class BatchIn:
    """A distill_batch of Python's sequences. rows: places in all ids whose next token is asked for."""

    def __init__(self, sequences, rows=None, weights=None, sources=None, tags=None):
        sequences = [s.tolist() if hasattr(s, "tolist") else list(s) for s in sequences_of(sequences)]
        flat, offsets = [], [0]
        for sequence in sequences:
            flat.extend(sequence)
            offsets.append(len(flat))
        self.ids, _ = int_array(c_int32, flat)
        self.offsets, _ = int_array(c_int64, offsets)
        self.rows = self.weights = None
        self.row_count = sum(max(len(sequence) - 1, 0) for sequence in sequences)
        self.batch = c.distill_batch(struct_size=ctypes.sizeof(c.distill_batch), sequences=len(sequences))
        self.batch.ids = ctypes.cast(self.ids, ctypes.POINTER(c_int32))
        self.batch.offsets = ctypes.cast(self.offsets, ctypes.POINTER(c_int64))
        if rows is not None:
            self.rows, self.row_count = int_array(c_int64, rows)
            self.batch.rows, self.batch.row_count = ctypes.cast(self.rows, ctypes.POINTER(c_int64)), self.row_count
        if weights is not None:
            values = weights.tolist() if hasattr(weights, "tolist") else list(weights)
            if rows is None or len(values) != self.row_count:
                raise ValueError("weights go with rows, one for each")
            self.weights = (c_float * max(len(values), 1))(*values)
            self.batch.weights = ctypes.cast(self.weights, ctypes.POINTER(c_float))
        self.names = {"sources": sources, "tags": tags}
        for key, value in self.names.items():
            if value is not None:
                self.names[key] = name_array(key, value, len(sequences))
                setattr(self.batch, key, ctypes.cast(self.names[key], ctypes.POINTER(ctypes.POINTER(ctypes.c_char))))


class Batch(Borrowed):
    """What a callback is asked about: views that end with the callback."""

    def __init__(self, batch):
        self.sequences, self.views = batch.sequences, []
        self.offsets = [batch.offsets[i] for i in range(batch.sequences + 1)]
        self.ids = self._view(batch.ids, c.DISTILL_INT, 32, self.offsets[-1])
        if batch.rows:
            self.rows = self._view(batch.rows, c.DISTILL_INT, 64, batch.row_count)
        else:
            places = [at for s in range(self.sequences) for at in range(self.offsets[s], self.offsets[s + 1] - 1)]
            self.rows = numpy.array(places, dtype="int64") if numpy is not None else places
        self.sources, self.tags = self._names(batch.sources), self._names(batch.tags)

    def _names(self, pointer):
        """Of each sequence, None where it is not said."""
        return [ctypes.string_at(pointer[i]).decode("utf-8", "replace") if pointer and pointer[i] else None for i in range(self.sequences)]

    def _view(self, pointer, code, bits, count):
        view = View.of_pointer(pointer, code, bits, (count,), writable=False)
        self.views.append(view)
        return view.array()

    def expire(self):
        for view in self.views:
            view.expire()
        super().expire()

    def __len__(self):
        return self.sequences

    def __getitem__(self, sequence):
        """The ids of one sequence."""
        if not 0 <= sequence < self.sequences:
            raise IndexError(sequence)
        return self.ids[self.offsets[sequence]:self.offsets[sequence + 1]]


def chat_json(messages, tools, chat_template, variables):
    """A conversation and what its template is given, as the library takes it."""
    if isinstance(messages, (dict, str, bytes)):
        raise TypeError("messages is a %s; a list of {\"role\", \"content\"} is wanted: tools, chat_template and variables are arguments of their own"
                        % type(messages).__name__)
    return json.dumps({"messages": list(messages), "tools": tools, "chat_template": chat_template, "chat_template_kwargs": variables or None}).encode()
