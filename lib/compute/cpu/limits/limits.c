#include "compute/cpu/limits/limits.h"

#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { TRIES = 5, READ_BYTES = 1 << 30, LINE = 64 };
static const double LEAST = 0.02; /* seconds of one try: long enough for clocks and threads to settle */

/* One range of a loop over all threads: when it worked and what it did. */
typedef struct share {
    double begin, end, done;
    char apart[LINE];
} share;

typedef struct
try {
    double (*work)(struct try * t, int64_t index);
    const dk_limit_kernel *kernel;
    int64_t turns, shares;
    uint8_t *memory;
    share *of;
}
try;

static void run_share(void *context, int64_t begin, int64_t end)
{
    try *t = context;
    for (int64_t i = begin; i < end; i++) {
        t->of[i].begin = dk_seconds();
        t->of[i].done = t->work(t, i);
        t->of[i].end = dk_seconds();
    }
}

/* What all shares did over the time from the first one's beginning to the last one's end. */
static double rate_of(dk_host *host, try *t)
{
    dk_parallel_for(host, t->shares, 1, run_share, t);
    double begin = t->of[0].begin, end = t->of[0].end, done = 0;
    for (int64_t i = 0; i < t->shares; i++) {
        if (t->of[i].begin < begin) begin = t->of[i].begin;
        if (t->of[i].end > end) end = t->of[i].end;
        done += t->of[i].done;
    }
    return end > begin ? done / (end - begin) : 0;
}

static double best_of(dk_host *host, try *t)
{
    double best = 0;
    for (int i = 0; i < TRIES && !dk_host_cancelled(host); i++) {
        double rate = rate_of(host, t);
        if (rate > best) best = rate;
    }
    return best;
}

/* ---- products ---- */

static double multiply(try *t, int64_t index)
{
    (void)index;
    return t->kernel->run(t->turns);
}

static double product_rate(dk_host *host, try *t, const dk_limit_kernel *kernel)
{
    t->work = multiply;
    t->kernel = kernel;
    for (t->turns = 4096;; t->turns *= 2) {
        double begin = dk_seconds();
        kernel->run(t->turns);
        if (dk_seconds() - begin >= LEAST) break;
    }
    return best_of(host, t);
}

static void measure_products(dk_host *host, try *t, dk_limits *out)
{
    int32_t count;
    const dk_limit_kernel *kernels = dk_limit_kernels(&count);
    for (int32_t i = 0; i < count && !dk_host_cancelled(host); i++) {
        if (!kernels[i].has()) continue;
        double rate = product_rate(host, t, &kernels[i]);
        if (rate <= out->product[kernels[i].kind].rate) continue;
        out->product[kernels[i].kind].rate = rate;
        out->product[kernels[i].kind].by = kernels[i].name;
    }
}

/* ---- memory ---- */

static int64_t share_bytes(const try *t) { return READ_BYTES / t->shares / LINE * LINE; }

/* By the thread that is likely to read it, so that it lies near. */
static double touch(try *t, int64_t index)
{
    memset(t->memory + index * share_bytes(t), 1, (size_t)share_bytes(t));
    return 0;
}

static double read_memory(try *t, int64_t index)
{
    dk_limit_read(t->memory + index * share_bytes(t), share_bytes(t));
    return (double)share_bytes(t);
}

/* A third of the share each. */
static double stream_memory(try *t, int64_t index)
{
    const int64_t bytes = share_bytes(t) / 3 / 256 * 256;
    uint8_t *memory = t->memory + index * share_bytes(t);
    dk_limit_stream(memory, memory + bytes, memory + 2 * bytes, bytes);
    return 3 * (double)bytes;
}

/* Pages of 2 MiB where the system has them: a limit is not made of its tables. */
static void want_large_pages(uint8_t *memory, int64_t bytes)
{
#ifdef MADV_HUGEPAGE
    enum { PAGE = 4096 };
    uintptr_t first = ((uintptr_t)memory + PAGE - 1) / PAGE * PAGE,
              end = ((uintptr_t)memory + (uint64_t)bytes) / PAGE * PAGE;
    (void)madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

static int32_t measure_memory(dk_host *host, try *t, dk_limits *out, dk_error *err)
{
    if (!(t->memory = dk_alloc(host, READ_BYTES, 1))) return dk_fail_nomem(err, READ_BYTES);
    want_large_pages(t->memory, READ_BYTES);
    t->work = touch;
    rate_of(host, t);
    t->work = read_memory;
    out->read = best_of(host, t);
    t->work = stream_memory;
    out->stream = best_of(host, t);
    dk_free(host, t->memory);
    return DK_OK;
}

int32_t dk_limits_measure(dk_host *host, dk_limits *out, dk_error *err)
{
    try t = {.shares = dk_host_threads(host)};
    int32_t rc;
    memset(out, 0, sizeof *out);
    out->threads = t.shares;
    DK_TRY(dk_new(host, t.shares, &t.of, err));
    measure_products(host, &t, out);
    if (!dk_host_cancelled(host)) DK_TRY(measure_memory(host, &t, out, err));
    if (dk_host_cancelled(host)) rc = dk_fail(err, DK_E_CANCELLED, "cancelled while measuring the machine's limits");
    else rc = dk_parallel_check(host, err);
out:
    dk_free(host, t.of);
    return rc;
}
