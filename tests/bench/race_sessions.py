"""Sessions and llama.cpp on the same GGUF file and threads, in turns: the first token behind 512, and the time from token to token behind it (p50, p99).

Usage: race_sessions.py MODEL.gguf [--rounds 7] [--threads 2] [--prompt 512] [--tokens 128]
DISTILL_LIBRARY and PYTHONPATH (bindings/python) say where libdistill is, LLAMA_LIBRARIES a folder with llama.cpp's shared libraries, such as those in
the npm package node-llama-cpp. Both write greedily, in a process of their own that waits meanwhile, and are called through ctypes. Nothing else should run: ratios above 1 say that llama.cpp takes longer."""
import argparse
import ctypes
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time


def prompt_of(count, vocab):
    return [(i * 7919 + 13) % (vocab - 64) + 32 for i in range(count)]


# ---- one contender: a line of stdin is a round, a line of stdout its seconds ----

def ours(args):
    import distill
    model = distill.Teacher(args.model, env=distill.Env(threads=args.threads))
    session = distill.Session(model, max_tokens=args.tokens + 1, temperature=0, context=args.prompt + args.tokens + 8)
    ids = prompt_of(args.prompt, model.vocab_valid)

    def answer():
        session.truncate(0)
        session.append(ids)
        times, begin = [], time.perf_counter()
        while len(times) <= args.tokens:
            token = session.next()
            times.append(time.perf_counter())
            if token.finished:
                session.append([])
        return begin, times
    return answer


class Begins(ctypes.Structure):
    """A struct of parameters that begins with 32-bit numbers; there is room for whatever follows in any version."""
    _fields_ = [("numbers", ctypes.c_uint32 * 16), ("rest", ctypes.c_uint64 * 56)]


class Batch(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32)] + [(name, ctypes.c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")]


def llama_library():
    """libllama of LLAMA_LIBRARIES, a folder with libllama*.so, libggml*.so and its CPU kernels."""
    folder = pathlib.Path(os.environ["LLAMA_LIBRARIES"])
    ctypes.CDLL(str(next(folder.glob("libggml-base*.so"))), mode=ctypes.RTLD_GLOBAL)
    ggml = ctypes.CDLL(str(next(p for p in folder.glob("libggml*.so") if "cpu" not in p.name and "base" not in p.name)), mode=ctypes.RTLD_GLOBAL)
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    c = ctypes.CDLL(str(next(p for p in folder.glob("libllama*.so") if "common" not in p.name)))
    pointer = ctypes.c_void_p
    for name, result, arguments in (
            ("llama_model_default_params", Begins, []), ("llama_context_default_params", Begins, []),
            ("llama_model_load_from_file", pointer, [ctypes.c_char_p, Begins]), ("llama_init_from_model", pointer, [pointer, Begins]),
            ("llama_get_memory", pointer, [pointer]), ("llama_memory_clear", None, [pointer, ctypes.c_bool]),
            ("llama_batch_get_one", Batch, [pointer, ctypes.c_int32]), ("llama_decode", ctypes.c_int32, [pointer, Batch]),
            ("llama_sampler_init_greedy", pointer, []), ("llama_sampler_sample", ctypes.c_int32, [pointer, pointer, ctypes.c_int32]),
            ("llama_model_get_vocab", pointer, [pointer]), ("llama_vocab_n_tokens", ctypes.c_int32, [pointer])):
        function = getattr(c, name)
        function.restype, function.argtypes = result, arguments
    return c


def llama(args):
    c = llama_library()
    silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    c.llama_log_set(silent, None)
    model = c.llama_model_load_from_file(args.model.encode(), c.llama_model_default_params())
    wanted = c.llama_context_default_params()  # n_ctx, n_batch, n_ubatch, ..., n_threads, n_threads_batch
    at = list(wanted.numbers).index(512)  # n_ctx is 512 unless said
    wanted.numbers[at], wanted.numbers[at + 1], wanted.numbers[at + 2] = args.prompt + args.tokens + 8, args.prompt, args.prompt
    at = list(wanted.numbers).index(4)  # threads of a token and of a batch are 4
    wanted.numbers[at] = wanted.numbers[at + 1] = args.threads
    context = c.llama_init_from_model(model, wanted)
    if not model or not context:
        raise SystemExit("llama.cpp did not open the model")
    sampler = c.llama_sampler_init_greedy()
    ids = prompt_of(args.prompt, c.llama_vocab_n_tokens(c.llama_model_get_vocab(model)))
    prompt, one = (ctypes.c_int32 * len(ids))(*ids), (ctypes.c_int32 * 1)()

    def read(tokens):
        if c.llama_decode(context, c.llama_batch_get_one(tokens, len(tokens))):
            raise SystemExit("llama_decode failed")
        return c.llama_sampler_sample(sampler, context, -1)

    def answer():
        c.llama_memory_clear(c.llama_get_memory(context), True)
        times, begin = [], time.perf_counter()
        one[0] = read(prompt)
        times.append(time.perf_counter())
        while len(times) <= args.tokens:
            one[0] = read(one)
            times.append(time.perf_counter())
        return begin, times
    return answer


def serve(args):
    answer = {"ours": ours, "llama": llama}[args.who](args)
    answer()  # touches memory
    print("ready", flush=True)
    for _ in sys.stdin:
        begin, times = answer()
        print(json.dumps([times[0] - begin] + [b - a for a, b in zip(times, times[1:])]), flush=True)


# ---- the race ----

def p99(gaps):
    return sorted(gaps)[min(int(0.99 * len(gaps)), len(gaps) - 1)]


def race(args):
    names = ("ours", "llama")
    runners = {name: subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--who", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
               for name in names}
    if any(runner.stdout.readline() != "ready\n" for runner in runners.values()):
        raise SystemExit("race_sessions.py: a contender did not begin")
    rounds = {name: [] for name in names}
    for i in range(args.rounds):
        for name in names if i % 2 else names[::-1]:
            runners[name].stdin.write("\n")
            runners[name].stdin.flush()
            rounds[name].append(json.loads(runners[name].stdout.readline()))
    for runner in runners.values():
        runner.stdin.close()
        runner.wait()
    cpu = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    print(f"{cpu}, {args.threads} threads, {pathlib.Path(args.model).name}, {args.rounds} rounds in turns\n")
    print("| ms | libdistill | llama.cpp | llama.cpp over libdistill, median of rounds (lowest, highest) |\n|---|---|---|---|")
    figures = {f"first token behind {args.prompt}": lambda r: r[0], "token to token, p50": lambda r: statistics.median(r[1:]), "token to token, p99": lambda r: p99(r[1:])}
    for label, of in figures.items():
        values = {name: [1e3 * of(r) for r in rounds[name]] for name in names}
        ratios = sorted(b / a for a, b in zip(values["ours"], values["llama"]))
        print(f"| {label} | {statistics.median(values['ours']):.2f} | {statistics.median(values['llama']):.2f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f}, {ratios[-1]:.2f}) |")


parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--who")
for name, default in (("rounds", 7), ("threads", 2), ("prompt", 512), ("tokens", 128)):
    parser.add_argument("--" + name, type=int, default=default)
arguments = parser.parse_args()
serve(arguments) if arguments.who else race(arguments)
