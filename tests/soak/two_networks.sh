#!/usr/bin/env bash
# Two ranks in two network namespaces, joined by a veth pair of 1 Gbit/s and 1 ms: the loss and weights of one rank, seconds of a
# step, and what the wire carried. usage: tests/soak/two_networks.sh [PROGRAM] [STEPS]; needs root, and ends with 77 where
# namespaces or tc are not permitted. Where the kernel has no netem the pair has its bandwidth and no delay of its own, which is said.
set -euo pipefail
program=$(realpath "${1:-build/tests-gcc/distill}")
steps=${2:-10}
here=$(realpath "$(dirname "$0")/../..")
a=distill-a-$$ b=distill-b-$$ work=$(mktemp -d)
end() {
    ip netns del "$a" 2> /dev/null || true
    ip netns del "$b" 2> /dev/null || true
    rm -rf "$work"
}
trap end EXIT
skip() { echo "two_networks.sh: $*" >&2; exit 77; }
for tool in ip tc mpirun unshare; do command -v $tool > /dev/null || skip "$tool is not installed"; done
[ -e "$(dirname "$program")/libdistill_mpi.so" ] || skip "no libdistill_mpi.so beside $program"
{ ip netns add "$a" && ip netns add "$b"; } 2> /dev/null || skip "network namespaces are not permitted here"
ip link add veth-a netns "$a" type veth peer name veth-b netns "$b" 2> /dev/null || skip "a veth pair is not permitted here"

delay="1 ms"
limit() { # namespace, device
    ip -n "$1" link set lo up
    ip -n "$1" link set "$2" up
    ip netns exec "$1" tc qdisc add dev "$2" root netem rate 1gbit delay 500us 2> /dev/null && return
    delay="none of its own (no netem in this kernel)"
    ip netns exec "$1" tc qdisc add dev "$2" root tbf rate 1gbit burst 256kb latency 20ms || skip "tc is not permitted here"
}
ip -n "$a" addr add 10.77.0.1/24 dev veth-a
ip -n "$b" addr add 10.77.0.2/24 dev veth-b
limit "$a" veth-a
limit "$b" veth-b

for i in $(seq 1 2000); do echo "the thing $i is in the inn and then the man went to number $((i * 7919 % 4001))"; done > "$work/text.txt"
cat > "$work/recipe.yaml" <<RECIPE
teacher: {path: $here/examples/quickstart/teacher}
student: {from: teacher, layers: [0, 2]}
data: {train: text.txt, sequence_length: 128, pack: true}
loss: forward_kl
train: {steps: $steps, batch_size: 8, learning_rate: 1.0e-3, log_every: 1}
output: {type: f32}
RECIPE
# what starts the second machine's daemon, where ssh would: in its own network, name and folder for temporary files
mkdir "$work/second"
cat > "$work/agent" <<AGENT
#!/bin/sh
shift
export TMPDIR=$work/second
exec ip netns exec $b unshare --uts sh -c "hostname second; \$*"
AGENT
chmod +x "$work/agent"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPENBLAS_NUM_THREADS=1
together() { # folder, more
    local out=$1
    shift
    ip netns exec "$a" mpirun --host 10.77.0.1:1,10.77.0.2:1 -n 2 --map-by node --bind-to none --mca plm_rsh_agent "$work/agent" \
        --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
        "$program" run "$work/recipe.yaml" --communicator mpi --quiet --set "output.path=$out" "$@" > "$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
}
counted() { ip netns exec "$a" cat /sys/class/net/veth-a/statistics/tx_bytes; }
"$program" run "$work/recipe.yaml" --quiet --set "output.path=$work/one" > /dev/null
report() { # name, folder, bytes on the wire
    python3 - "$1" "$work/one" "$2" "$3" <<'PYTHON'
import json, statistics, struct, sys
name, one, two, wire = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def weights(folder):
    data = open(folder + "/model.safetensors", "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    return struct.unpack("<%df" % ((len(data) - 8 - size) // 4), data[8 + size:])
lines = [[json.loads(line) for line in open(folder + "/metrics.jsonl")] for folder in (one, two)]
seconds = [statistics.median(b["seconds"] - a["seconds"] for a, b in zip(own, own[1:])) for own in lines]
training = json.load(open(two + "/result.json"))["training"]
a, b = weights(one), weights(two)
off = (sum((x - y) ** 2 for x, y in zip(a, b)) / sum(x * x for x in a)) ** 0.5
print("%-16s %.3f s a step (one rank %.3f)  loss off by %.1e  weights by %.1e  sent %.2f MB a step, on the wire %.2f MB" %
      (name, seconds[1], seconds[0], abs(lines[0][-1]["loss"] / lines[1][-1]["loss"] - 1), off,
       training["sent_bytes"] / training["steps"] / 1e6, wire / training["steps"] / 1e6))
PYTHON
}
echo "two network namespaces, 1 Gbit/s, delay: $delay"
before=$(counted); together "$work/two"; report "fp32" "$work/two" $(($(counted) - before))
before=$(counted); together "$work/wire" --set train.gradient_wire=bf16; report "bf16 on the wire" "$work/wire" $(($(counted) - before))
before=$(counted); together "$work/shares" --set train.shard_optimizer=true; report "shares" "$work/shares" $(($(counted) - before))
