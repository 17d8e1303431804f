#!/usr/bin/env bash
# One step of distillation and one evaluation, ours and that of others, in turns: the median of each and the ratios as a table. Nothing else should run
# meanwhile: where it does, the CPU time says more than the clock, of one thread most (threads that wait for each other are counted as busy).
# Usage: tests/bench/race.sh LIBRARY [BATCH SEQUENCE [ROUNDS]]     4 windows of 256 tokens and 3 rounds unless said otherwise
# PEERS names the virtual environment that peers.sh made, with transformers and TRL by `peers.sh --all`; OLD_TORCH a Python that has PyTorch 1.13, python3
# unless said otherwise (Debian's python3-torch); RACE_THREADS the threads of each, 2 unless said otherwise; RACE the contenders: torch, transformers, trl and
# old_torch unless said otherwise (torch_eager is torch without torch.compile); RACE_PRECISIONS "bf16 fp32" or one of them; RACE_STEPS the steps that a process
# is timed by, 6 unless said otherwise (2 do for long windows).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/usage.sh"
library=$(library_of "$@") batch=${2:-4} sequence=${3:-256} rounds=${4:-3} threads=${RACE_THREADS:-2} precisions=${RACE_PRECISIONS:-bf16 fp32}
python=${PEERS:-$root/build/peers}/bin/python old=${OLD_TORCH:-/usr/bin/python3}
whole BATCH "$batch"; whole SEQUENCE "$sequence"; whole ROUNDS "$rounds"; whole RACE_THREADS "$threads"; whole RACE_STEPS "${RACE_STEPS:-6}"
[ $# -le 4 ] || wrong "unexpected argument $5"
one_of() { # what, the words that are given, the words that may be
    for word in $2; do [[ " $3 " == *" $word "* ]] || wrong "$1 '$word' is none of: $3"; done
}
RACE=${RACE:-}
one_of RACE "${RACE//,/ }" "torch torch_eager transformers trl old_torch"
one_of RACE_PRECISIONS "$precisions" "bf16 fp32"
[ -x "$python" ] || { echo "run tests/bench/peers.sh first" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RACE_STEPS=${RACE_STEPS:-6} OMP_NUM_THREADS=$threads HF_HUB_OFFLINE=1 DISTILL_LIBRARY=$library PYTHONPATH=$root/bindings/python

has() { "$1" -c "import ${2//,/, }" 2> "$work/missing" || { echo "race.sh: without $3: $(tail -1 "$work/missing")" >&2; return 1; }; }
asked() { [ -z "${RACE:-}" ] || [[ " ${RACE//,/ } " == *" $1 "* ]]; }
peers=()
asked torch && peers+=(torch)
[ -n "${RACE:-}" ] && asked torch_eager && peers+=(torch_eager)
asked transformers && has "$python" transformers transformers && peers+=(transformers)
asked trl && has "$python" trl,datasets TRL && peers+=(trl)
asked old_torch && has "$old" torch "an old PyTorch" && peers+=(old_torch)
shape=("$batch" "$sequence" "$threads")
step() { # of one contender: $1, in precision $2
    case $1 in
        torch) "$python" "$here/race_torch.py" "$2" "${shape[@]}" ;;
        torch_eager) "$python" "$here/race_torch.py" "$2" "${shape[@]}" eager ;;
        old_torch) "$old" "$here/race_torch.py" "$2" "${shape[@]}" ;;
        transformers) "$python" "$here/race_transformers.py" "$work" "$2" "${shape[@]}" step ;;
        trl) "$python" "$here/race_trl.py" "$work" "$2" "${shape[@]}" ;;
    esac
}

"$python" "$here/race_models.py" "$work"
for ((round = 0; round < rounds; round++)); do
    for precision in $precisions; do
        "$python" "$here/race_ours.py" "$work" "$precision" "${shape[@]}" >> "$work/times"
        for peer in "${peers[@]}"; do step "$peer" "$precision" 2> "$work/said" >> "$work/times" || { tail -5 "$work/said" >&2; exit 1; }; done
    done
    [[ " ${peers[*]} " == *" transformers "* ]] || continue
    for precision in $precisions; do "$python" "$here/race_ours.py" "$work" "$precision" "${shape[@]}" evaluation >> "$work/times"; done
    "$python" "$here/race_transformers.py" "$work" bf16 "${shape[@]}" evaluation >> "$work/times"
done
"$python" "$here/race_table.py" "$work/times" "$((batch * sequence))"
