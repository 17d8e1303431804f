#!/usr/bin/env python3
"""Prints C that is made of include/distill.h: sources.py link_all (a program that touches every exported function) or
sources.py stubs [HEADER] (a library of that header whose functions do nothing, for the canaries of the ABI gate)."""
import os
import sys

from generate import HEADER, ROOT, Header


def link_all(header):
    names = list(header.functions)
    return "\n".join(
        ["#include <stdio.h>", "#include <string.h>", "#include \"distill.h\"", "typedef void (*any)(void);",
         "static any volatile every[] = {"] + ["    (any)%s," % name for name in names] +
        ["};", "int main(void)", "{", "    for (size_t i = 0; i < sizeof every / sizeof *every; i++)",
         "        if (!every[i]) return 1;",
         "    if (strcmp(distill_version(), DISTILL_VERSION) || distill_abi_version() != DISTILL_ABI_VERSION) return 2;",
         "    printf(\"%d functions of %s\\n\", (int)(sizeof every / sizeof *every), distill_version());",
         "    return 0;", "}", ""])


def spell(kind):
    stars = "*const " + "*" * (kind.stars - 1) if kind.inner else "*" * kind.stars
    return "%s%s %s" % ("const " if kind.const else "", kind.base, stars)


def stubs(header):
    out = ["#include \"distill.h\""]
    for function in header.functions.values():
        params = ", ".join(spell(kind) + name for name, kind in function.params) or "void"
        result = "return 0;" if function.result.base != "void" or function.result.stars else ""
        used = "".join("(void)%s; " % name for name, _ in function.params)
        out.append("%s%s(%s) { %s%s }" % (spell(function.result), function.name, params, used, result))
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    what = {"link_all": link_all, "stubs": stubs}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if not what:
        sys.exit("usage: sources.py link_all|stubs [HEADER]")
    with open(sys.argv[2] if len(sys.argv) > 2 else os.path.join(ROOT, HEADER), encoding="utf-8") as file:
        sys.stdout.write(what(Header(file.read())))
