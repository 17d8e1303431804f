#!/usr/bin/env python3
"""Derives from include/distill.h everything that repeats it:

    src/libdistill.map                     the exported names by version node
    tests/abi/symbols-in-versions          every name of the header and the ABI level that brought it
    tests/abi/layout.c                     static asserts of every size, offset and constant
    bindings/python/distill/_signatures.py every struct, callback, constant and function for ctypes

generate.py writes them, generate.py --check compares and prints what differs. A name keeps the level that
symbols-in-versions gives it; a new one gets the header's DISTILL_ABI_VERSION, so stanzas of the map never change.
"""
import difflib
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = "include/distill.h"
FROZEN = ("distill_error", "distill_tensor")  # public structs without struct_size
SCALARS = {  # name: (size, ctypes)
    "int32_t": (4, "c_int32"), "uint32_t": (4, "c_uint32"), "int64_t": (8, "c_int64"), "uint64_t": (8, "c_uint64"),
    "uint8_t": (1, "c_uint8"), "uint16_t": (2, "c_uint16"), "size_t": (8, "c_size_t"), "double": (8, "c_double"),
    "float": (4, "c_float"), "char": (1, "c_char"),
}
SIGNATURE_SCALARS = {"int32_t", "uint32_t", "int64_t", "uint64_t", "size_t", "double", "void"}


class HeaderError(Exception):
    pass


class Type:
    """A parameter, field or result: a base name, how many stars, constness of the base, a function type or a length;
    inner: whether the first of two pointers is const."""

    def __init__(self, base, stars=0, const=False, function=None, length=0, inner=False):
        self.base, self.stars, self.const, self.function, self.length = base, stars, const, function, length
        self.inner = inner


class Function:
    def __init__(self, name, result, params):
        self.name, self.result, self.params = name, result, params  # params: [(name, Type)]


class Header:
    def __init__(self, text):
        self.constants, self.strings = {}, {}
        self.handles, self.structs, self.callbacks, self.functions = [], {}, {}, {}
        self.order = []  # (kind, name) as they stand in the header
        self.parse(text)

    def parse(self, text):
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
        text = re.sub(r"\\\n", " ", text)
        code = []
        for line in text.split("\n"):
            if not line.startswith("#"):
                code.append(line)
                continue
            define = re.match(r'#define (DISTILL_\w+) ("[^"]*"|-?\d+)\s*$', line)
            if define:
                self.define(define.group(1), define.group(2))
        code = " ".join(code).replace('extern "C" {', " ", 1)
        for statement in split_statements(code):
            self.statement(statement)

    def define(self, name, value):
        if value.startswith('"'):
            self.strings[name] = value[1:-1]
        else:
            self.constant(name, int(value))

    def constant(self, name, value):
        if name in self.constants:
            raise HeaderError("%s is defined twice" % name)
        self.constants[name] = value
        self.order.append(("constant", name))

    def statement(self, text):
        text = " ".join(text.split())
        if text in ("", "}"):
            return
        enum = re.fullmatch(r"enum \{(.*)\}", text)
        handle = re.fullmatch(r"typedef struct (\w+) (\w+)", text)
        struct = re.fullmatch(r"typedef struct (\w+) \{(.*)\} (\w+)", text)
        callback = re.fullmatch(r"typedef (.+?)\(\*(\w+)\)\((.*)\)", text)
        function = re.fullmatch(r"DISTILL_API (.+?)(\w+)\(([^()]*)\)", text)
        if enum:
            self.enum(enum.group(1))
        elif handle:
            self.handles.append(handle.group(1))
            self.order.append(("type", handle.group(1)))
        elif struct:
            self.struct(struct.group(1), struct.group(2))
        elif callback:
            self.callbacks[callback.group(2)] = Function(callback.group(2), parse_type(callback.group(1)),
                                                         parse_params(callback.group(3)))
            self.order.append(("type", callback.group(2)))
        elif function:
            self.function(function)
        else:
            raise HeaderError("cannot read this declaration: %s" % text)

    def enum(self, body):
        for item in filter(None, (part.strip() for part in body.split(","))):
            pair = re.fullmatch(r"(DISTILL_\w+) = (-?\d+)", item)
            if not pair:
                raise HeaderError("an enum constant without an explicit number: %s" % item)
            self.constant(pair.group(1), int(pair.group(2)))

    def struct(self, name, body):
        fields = []
        for item in filter(None, (part.strip() for part in body.split(";"))):
            fields.append(parse_field(name, item))
        if name not in FROZEN and fields[0][0] != "struct_size":
            raise HeaderError("%s does not begin with struct_size" % name)
        self.structs[name] = fields
        self.order.append(("type", name))

    def function(self, match):
        result, name, params = parse_type(match.group(1)), match.group(2), parse_params(match.group(3))
        for what, kind in [("result", result)] + params:
            if not kind.stars and kind.base in SCALARS and kind.base not in SIGNATURE_SCALARS:
                raise HeaderError("%s: %s has the type %s, which does not travel well" % (name, what, kind.base))
        if result.base == "int32_t" and not result.stars and name not in ("distill_abi_version",):
            if not params or params[-1][0] != "err":
                raise HeaderError("%s can fail, so its last parameter is distill_error *err" % name)
        self.functions[name] = Function(name, result, params)
        self.order.append(("function", name))


def split_statements(code):
    depth, start = 0, 0
    for i, char in enumerate(code):
        depth += (char == "{") - (char == "}")
        if char == ";" and depth == 0:
            yield code[start:i]
            start = i + 1
    yield code[start:]


def parse_type(text):
    stars = text.count("*")
    words = text.replace("*", " ").split()
    inner = "*const*" in text.replace(" ", "")
    const = words.count("const") > inner
    words = [word for word in words if word not in ("const", "struct")]
    if len(words) != 1:
        raise HeaderError("cannot read the type: %s" % text)
    return Type(words[0], stars, const, inner=inner)


def parse_params(text):
    if text.strip() == "void":
        return []
    params = []
    for item in text.split(","):
        match = re.fullmatch(r"(.+?[\s*])(\w+)", item.strip())
        if not match:
            raise HeaderError("a parameter without a name: %s" % item)
        params.append((match.group(2), parse_type(match.group(1))))
    return params


def parse_field(struct, text):
    pointer = re.fullmatch(r"(.+?)\(\*(\w+)\)\((.*)\)", text)
    if pointer:
        name = "%s_%s" % (struct, pointer.group(2))
        function = Function(name, parse_type(pointer.group(1)), parse_params(pointer.group(3)))
        return pointer.group(2), Type("", function=function)
    match = re.fullmatch(r"(.+?[\s*])(\w+)(?:\[(\d+)\])?", text)
    if not match:
        raise HeaderError("%s: cannot read the field: %s" % (struct, text))
    kind = parse_type(match.group(1))
    kind.length = int(match.group(3) or 0)
    return match.group(2), kind


# ---- layout on 64 bit ----

def size_of(header, kind):
    if kind.stars or kind.function or kind.base in header.callbacks:
        return 8, 8
    if kind.base not in SCALARS:
        raise HeaderError("a field of type %s: structs are not nested by value" % kind.base)
    size = SCALARS[kind.base][0]
    return size * max(kind.length, 1), size


def layout(header, name):
    at, widest, offsets = 0, 1, []
    for field, kind in header.structs[name]:
        size, align = size_of(header, kind)
        padded = -(-at // align) * align
        if padded != at:
            raise HeaderError("%s: padding before %s" % (name, field))
        offsets.append((field, at))
        at, widest = at + size, max(widest, align)
    if at % widest:
        raise HeaderError("%s ends in padding, so its size could not tell a field that is appended" % name)
    return at, offsets


def make_layout(header):
    out = ["/* Made by tests/abi/generate.py from include/distill.h: what binaries that exist rely on. */",
           "#include <stddef.h>", "", "#include \"distill.h\"", "",
           "_Static_assert(sizeof(void *) == 8, \"these numbers are for 64 bit\");", ""]
    for name in header.structs:
        size, offsets = layout(header, name)
        out.append("_Static_assert(sizeof(%s) == %d, \"sizeof %s\");" % (name, size, name))
        for field, at in offsets:
            out.append("_Static_assert(offsetof(%s, %s) == %d, \"%s.%s\");" % (name, field, at, name, field))
        last = offsets[-1][0]
        out.append("_Static_assert(sizeof(%s) == offsetof(%s, %s) + sizeof(((%s *)0)->%s), \"%s has no tail padding\");"
                   % (name, name, last, name, last, name))
        out.append("")
    for name, value in header.constants.items():
        out.append("_Static_assert(%s == %d, \"%s\");" % (name, value, name))
    out += ["", "int main(void)", "{", "    return 0;", "}"]
    return "\n".join(out) + "\n"


# ---- names by version ----

def read_levels(text):
    levels = {}
    for line in text.split("\n"):
        words = line.split()
        if len(words) == 3 and not line.startswith("#"):
            levels[words[0]] = int(words[2])
    return levels


def make_symbols(header, levels):
    out = ["# Every name of include/distill.h, what it is, and the DISTILL_ABI_VERSION that brought it.",
           "# Made by tests/abi/generate.py; a level once written here stays."]
    for kind, name in header.order:
        out.append("%-44s %-8s %d" % (name, kind, levels[name]))
    return "\n".join(out) + "\n"


def make_map(header, levels):
    out = ["# The exported names. A stanza never changes after a release; new names open a new one.",
           "# Kept by tests/abi/generate.py from include/distill.h and tests/abi/symbols-in-versions."]
    previous = ""
    for level in sorted({levels[name] for name in header.functions}):
        node = "LIBDISTILL_%d" % (level // 1000) + (".%d" % (level % 1000) if level % 1000 else "")
        out += ["%s {" % node, "global:"]
        out += ["    %s;" % name for name in header.functions if levels[name] == level]
        if not previous:
            out += ["local:", "    *;"]
        out.append("}%s;" % (" " + previous if previous else ""))
        previous = node
    return "\n".join(out) + "\n"


# ---- Python ----

def python_type(header, kind, sized_text=False):
    if kind.function:
        return kind.function.name
    if kind.base in header.callbacks:
        return kind.base
    stars, name = kind.stars, kind.base
    if stars and name == "void":
        stars, text = stars - 1, "c_void_p"
    elif stars == 1 and name == "char" and kind.const and not sized_text:
        stars, text = 0, "c_char_p"
    elif name in SCALARS:
        text = SCALARS[name][1]
    elif name in header.structs or name in header.handles:
        text = name
    elif name == "void":
        return "None"
    else:
        raise HeaderError("unknown type %s" % name)
    text = "POINTER(" * stars + text + ")" * stars
    return "%s * %d" % (text, kind.length) if kind.length else text


def python_params(header, params, incoming=False):
    """incoming: arguments of a callback, where text with a size beside it may hold NULs."""
    names = [name for name, _ in params] + [""]
    return [python_type(header, kind, incoming and names[i + 1] == "size") for i, (_, kind) in enumerate(params)]


def python_callback(header, function):
    types = [python_type(header, function.result)] + python_params(header, function.params, True)
    return "%s = CFUNCTYPE(%s)" % (function.name, ", ".join(types))


def make_python(header):
    out = ['"""Made by tests/abi/generate.py from include/distill.h: every constant, struct, callback and function."""',
           "from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int32, c_int64,",
           "                    c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p)", ""]
    out += ['%s = "%s"' % pair for pair in header.strings.items()]
    out += ["%s = %d" % pair for pair in header.constants.items()]
    for name in header.handles + list(header.structs):
        out += ["", "", "class %s(Structure):" % name, "    pass"]
    out += ["", ""]
    out += [python_callback(header, function) for function in header.callbacks.values()]
    for fields in header.structs.values():
        out += [python_callback(header, kind.function) for _, kind in fields if kind.function]
    for name, fields in header.structs.items():
        out.append("%s._fields_ = [" % name)
        out += ['    ("%s", %s),' % (field, python_type(header, kind)) for field, kind in fields]
        out.append("]")
    out += ["", "STRUCTS = {  # name: (size, offsets of the fields)"]
    for name in header.structs:
        size, offsets = layout(header, name)
        out.append('    "%s": (%d, {%s}),' % (name, size, ", ".join('"%s": %d' % pair for pair in offsets)))
    out += ["}", "FUNCTIONS = {  # name: (result, arguments)"]
    for name, function in header.functions.items():
        out.append('    "%s": (%s, [%s]),' % (name, python_type(header, function.result),
                                             ", ".join(python_params(header, function.params))))
    out.append("}")
    return "\n".join(out) + "\n"


def read(path):
    try:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def main(argv):
    if argv not in ([], ["--check"]):
        print("usage: generate.py [--check]", file=sys.stderr)
        return 2
    header = Header(read(HEADER))
    known = read_levels(read("tests/abi/symbols-in-versions"))
    levels = {name: known.get(name, header.constants["DISTILL_ABI_VERSION"]) for _, name in header.order}
    made = {
        "src/libdistill.map": make_map(header, levels),
        "tests/abi/symbols-in-versions": make_symbols(header, levels),
        "tests/abi/layout.c": make_layout(header),
        "bindings/python/distill/_signatures.py": make_python(header),
    }
    stale = [path for path, text in made.items() if read(path) != text]
    for path in stale:
        if argv:
            sys.stderr.writelines(difflib.unified_diff(read(path).splitlines(True), made[path].splitlines(True),
                                                       path, path + " as include/distill.h says"))
        else:
            with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
                file.write(made[path])
    if argv and stale:
        print("stale: %s; run tests/abi/generate.py" % ", ".join(stale), file=sys.stderr)
    return 1 if argv and stale else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HeaderError as error:
        print("%s: %s" % (HEADER, error), file=sys.stderr)
        sys.exit(1)
