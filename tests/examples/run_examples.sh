#!/usr/bin/env bash
# run_examples.sh BUILD [CC]: installs the build below a temporary prefix, builds the examples against it as a project of their
# own (find_package), and runs every one of them for a few steps with the quickstart's teacher.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$1 cc=${2:-cc} scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() {
    [ ! -s "$scratch/log" ] || tail -20 "$scratch/log"
    echo "failed: $*"
    exit 1
}
quiet() { "$@" > "$scratch/log" 2>&1 || fail "$@"; }
says() { # text, then the command: it must succeed and print the text
    local text=$1
    shift
    quiet "$@"
    grep -q "$text" "$scratch/log" || fail "$* does not say \"$text\""
}
usage() { # without arguments: exit code 2 and one line of usage
    local code=0
    "$@" > "$scratch/log" 2>&1 || code=$?
    [ $code = 2 ] && grep -q "^usage: " "$scratch/log" || fail "$* without arguments: exit code $code"
}

quiet cmake --install "$build" --prefix "$scratch/prefix"
library=$(find "$scratch/prefix" -name 'libdistill.so.1')
export LD_LIBRARY_PATH=$(dirname "$library")
quiet cmake -S "$root/examples" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_C_COMPILER="$cc"
quiet cmake --build "$scratch/build"

teacher=$root/examples/quickstart/teacher
bin=$scratch/build text=$scratch/text.txt
for number in $(seq 400); do # a text with something to predict
    echo "note $number: a small thing that is kept in the house number $((number * 7 % 50)) near the river"
done > "$text"
cat > "$scratch/recipe.yaml" <<END
teacher: {path: $teacher}
student: {from: teacher, layers: [0, 7]}
data: {train: text.txt, eval_fraction: 0.1, sequence_length: 64}
train: {steps: 3, batch_size: 2, warmup_steps: 1}
END

for name in minimal custom_loss pull_mode callback_teacher own_stack raii read_target_cache chat chat_cpp; do usage "$bin/$name"; done
says "KL(teacher || student) = [0-9]" "$bin/minimal" "$scratch/recipe.yaml" train.learning_rate=0.001
says "step 5: loss 0\." "$bin/custom_loss" "$teacher" "$text" 5
says "step 5: KL " "$bin/pull_mode" "$teacher" "$text" 5
cp "$scratch/log" "$scratch/strips"
says "step 5: KL " "$bin/pull_mode" "$teacher" "$text" 5 fused
# Two ways to the same loss: the values agree to the last printed digit but one.
[ "$(cut -c1-14 "$scratch/strips")" = "$(cut -c1-14 "$scratch/log")" ] || fail "strips and fused differ: $(cat "$scratch/strips")"
says "step 5: KL to the bigram " "$bin/callback_teacher" "$teacher" "$text" 5
says "KL from [0-9.]* to [0-9.]* nats" "$bin/own_stack" "$text" 200
python3 -c 'import re, sys; first, last = map(float, re.search("from (\S+) to (\S+)", open(sys.argv[1]).read()).groups()); sys.exit(last > first / 2)' \
    "$scratch/log" || fail "own_stack learnt little: $(cat "$scratch/log")"
says "KL(teacher || student) = [0-9]" "$bin/raii" "$teacher" "$text" 5
says "tail:-2.30" "$bin/read_target_cache" "$root/tests/fuzz/corpora/targets/top_k" 3
# Two turns of a chat; C and C++ say the same.
talk() { # file for the answers, then the command: one line each
    printf 'a river\na "sea"\n' | "${@:2}" > "$1" 2> "$scratch/log" || fail "${@:2}"
    [ -s "$1" ] || fail "${@:2} answers nothing"
}
talk "$scratch/chat_c" "$bin/chat" "$teacher" chatml
talk "$scratch/chat_cpp" "$bin/chat_cpp" "$teacher" chatml
cmp "$scratch/chat_c" "$scratch/chat_cpp" || fail "chat in C and C++ differ"

export DISTILL_LIBRARY=$library PYTHONPATH=$root/bindings/python PYTHONDONTWRITEBYTECODE=1
if command -v python3 > /dev/null; then
    says "perplexity " python3 "$root/examples/python/distill_recipe.py" "$teacher" "$text" --steps 3
    talk "$scratch/chat_python" python3 "$root/examples/python/chat.py" "$teacher" --chat-template chatml
    if python3 -c "import numpy" 2> /dev/null; then
        says "hellinger: KL" python3 "$root/examples/python/custom_loss.py" "$teacher" "$text" --steps 3
    fi
fi
echo "all examples ran"
