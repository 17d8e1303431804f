#!/usr/bin/env python3
"""Checks the rules that keep the tree in order. Prints file:line and the rule, exit code 1 where one is broken.

The layers are those of the dk_folder lines in CMakeLists.txt: a folder includes itself and what stands behind it there.
Files of lib/ and src/ do not call each other in a circle, except through a table of functions.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCES = (".c", ".h", ".inc", ".cpp", ".hpp")
ONLY_IN = {  # header: the folders that may include it
    "cblas": ("lib/compute/cpu",), "yaml": ("lib/conf",), "jansson": ("lib/conf", "src/cli", "tests", "examples"),
    "pcre2": ("lib/text",), "utf8proc": ("lib/text", "lib/jinja"), "immintrin": ("lib/compute", "lib/base"),
}
BANNED = """abort exit _exit _Exit quick_exit atexit assert printf fprintf vprintf vfprintf puts putchar perror sprintf vsprintf
    setlocale getenv secure_getenv setenv putenv rand srand random srandom drand48 strtok strtod strtof strtold atof atoi atol
    atoll gets scanf sscanf fscanf setjmp longjmp signal sigaction system popen tmpnam mktemp tmpfile localtime
    gmtime asctime ctime alloca openblas_set_num_threads goto_set_num_threads omp_set_num_threads""".split()
BANNED_CALL = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(BANNED))
MEMORY_CALL = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|aligned_alloc|posix_memalign|strdup|strndup)\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')

DEFINITION = re.compile(r"^(?!static\b)[A-Za-z_][\w \t*]*?\b(d[ki]_\w+)\s*\(", re.M)
CALL = re.compile(r"\b(d[ki]_\w+)\s*\(")


def layers():
    """{folder: every folder that it may include}, from CMakeLists.txt."""
    allowed, where = {}, {}
    with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as file:
        for name, folder, deps in re.findall(r"^dk_folder\((\w+) (\S+?)((?: \w+)*)\)", file.read(), re.M):
            where[name] = folder
            allowed[folder] = {folder}
            for dep in deps.split():
                allowed[folder] |= allowed[where[dep]]
    return allowed


def files(top):
    for folder, folders, names in os.walk(os.path.join(ROOT, top)):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "build", "__")))
        for name in sorted(names):
            if name.endswith(SOURCES):
                yield os.path.relpath(os.path.join(folder, name), ROOT)


def code_of(text):
    """The text without comments and literals, line by line as it was."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def definitions(code):
    """The names of functions that the code of a file defines for others."""
    for match in DEFINITION.finditer(code):
        at, depth = match.end(), 1
        while depth and at < len(code):
            depth += (code[at] == "(") - (code[at] == ")")
            at += 1
        if code[at:].lstrip().startswith("{"):
            yield match.group(1)


def circles(calls):
    """Groups of more than one file that reach each other; calls = {file: files}."""
    reach = {}
    for file in calls:
        seen, todo = set(), list(calls[file])
        while todo:
            other = todo.pop()
            if other not in seen:
                seen.add(other)
                todo += calls[other]
        reach[file] = seen
    groups = {frozenset(other for other in reach[file] if file in reach[other]) for file in calls if file in reach[file]}
    return sorted((sorted(group) for group in groups if len(group) > 1))


class Checker:
    def __init__(self):
        self.found, self.allowed, self.names, self.code = [], layers(), {}, {}

    def complain(self, path, line, rule):
        self.found.append("%s:%d: %s" % (path, line, rule))

    def folder_of(self, path):
        fitting = [folder for folder in self.allowed if path.startswith(folder + "/")]
        return max(fitting, key=len) if fitting else ""

    def check_file(self, path):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        for number, line in enumerate(text.split("\n"), 1):
            include = INCLUDE.match(line)
            if include:
                self.check_include(path, number, include.group(1) == '"', include.group(2))
            word = re.search(r"teacher|student|distil", line, re.I)
            if path.startswith("lib/") and word:
                self.complain(path, number, "lib/ knows nothing of distillation and never says %s" % word.group())
        if self.folder_of(path):
            self.code[path] = code_of(text)
            self.check_calls(path, self.code[path])

    def check_calls(self, path, code):
        for number, line in enumerate(code.split("\n"), 1):
            for call in BANNED_CALL.findall(line):
                if call == "strtod" and path == "lib/base/number.c":
                    continue
                self.complain(path, number, "%s is banned in lib/ and src/" % call)
            memory = MEMORY_CALL.search(line)
            if memory and path != "lib/base/host.c":
                self.complain(path, number, "%s goes past the host's allocator" % memory.group(1))

    def check_include(self, path, line, quoted, name):
        for header, folders in ONLY_IN.items():
            if os.path.basename(name).startswith(header) and not path.startswith(tuple(f + "/" for f in folders)):
                self.complain(path, line, "only %s may include %s" % (" and ".join(folders), name))
        own = self.folder_of(path)
        if own and quoted:
            self.check_layer(path, line, own, name)
        elif path.startswith(("src/cli/", "examples/", "bindings/", "tests/cli/", "tests/abi/")):
            beside = os.path.exists(os.path.join(ROOT, os.path.dirname(path), name))
            if quoted and not beside and name not in ("distill.h", "distill.hpp", "test.h"):
                self.complain(path, line, "uses the public header alone, not %s" % name)

    def check_layer(self, path, line, own, name):
        if name == "distill.h":
            if own.startswith("lib/"):
                self.complain(path, line, "lib/ never includes distill.h")
            return
        for root in ("lib", "src"):
            target = self.folder_of("%s/%s" % (root, name))
            if target and os.path.exists(os.path.join(ROOT, root, name)):
                if target not in self.allowed[own]:
                    self.complain(path, line, "%s may not include %s (see dk_folder in CMakeLists.txt)" % (own, target))
                return
        self.complain(path, line, "%s is not found from the root of lib/ or src/" % name)

    def check_circles(self):
        owner = {name: path for path, code in self.code.items() if path.endswith(".c") for name in definitions(code)}
        calls = {path: {owner[name] for name in CALL.findall(code) if owner.get(name, path) != path}
                 for path, code in self.code.items() if path.endswith(".c")}
        for group in circles(calls):
            self.complain(group[0], 1, "calls and is called by, in a circle: %s" % ", ".join(group[1:]))

    def check_name(self, path):
        name = os.path.basename(path)
        if name in self.names:
            self.complain(path, 1, "the name is taken by %s" % self.names[name])
        self.names.setdefault(name, path)

    def run(self):
        for top in ("lib", "src", "include"):
            for path in files(top):
                self.check_name(path)
                self.check_file(path)
        self.check_circles()
        for top in ("examples", "bindings", "tests/cli", "tests/abi"):
            for path in files(top):
                self.check_file(path)
        return self.found


if __name__ == "__main__":
    broken = Checker().run()
    print("\n".join(broken) if broken else "the layers hold")
    sys.exit(1 if broken else 0)
