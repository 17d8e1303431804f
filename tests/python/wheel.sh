#!/usr/bin/env bash
# wheel.sh [CC]: the wheel in a clean virtual environment: distils two steps, and maps no library but its own and those of libc.
set -euo pipefail
# compiled as the build of the tests is, so that ccache has its objects
export CC=${1:-cc} CMAKE_ARGS="-DDISTILL_WERROR=ON ${CMAKE_ARGS:-}"
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! python3 -m venv "$work/probe" > /dev/null 2>&1 || ! "$work/probe/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$work" auditwheel > /dev/null 2>&1; then
    echo "skipped: needs python3-venv and PyPI"
    exit 77
fi
wheel=$("$root/bindings/python/build_wheel.sh" "$work/wheels")
python3 -m venv "$work/clean"
"$work/clean/bin/pip" install --quiet --no-index "$wheel"
cd "$work"
env -u DISTILL_LIBRARY -u PYTHONPATH -u LD_LIBRARY_PATH "$work/clean/bin/python" - "$root" "$work" <<'END'
import re
import sys

import distill

root, work = sys.argv[1:]
report = distill.run({
    "teacher": root + "/examples/quickstart/teacher", "student": {"from": "teacher", "layers": [0, 5]},
    "data": {"train": root + "/tests/data/sentences.txt", "sequence_length": 32}, "train": {"steps": 2, "batch_size": 2},
    "output": work + "/out"})
assert report["training.steps"] == 2
mapped = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
ours = re.compile(r"distill|openblas|gfortran|quadmath|yaml|jansson|pcre2|utf8proc|blas")
loaded = sorted(path for path in mapped if ours.search(path.rsplit("/", 1)[-1]))
assert any("openblas" in path or "blas" in path for path in loaded), loaded
foreign = [path for path in loaded if not path.startswith(work)]
assert not foreign, "not from the wheel: %s" % foreign
print("the wheel runs on its own libraries: %s" % ", ".join(path.rsplit("/", 1)[-1] for path in loaded))
END
