#include "base/work.h"
#include "base/host_parts.h"

/* Sums are kept as whole thousands of operations: more than a machine makes in a century fit. */
void dk_host_add_work(dk_host *host, int64_t tokens, double flops)
{
    atomic_fetch_add_explicit(&host->worked_tokens, tokens, memory_order_relaxed);
    atomic_fetch_add_explicit(&host->worked_kiloflops, (int64_t)(flops / 1e3 + 0.5), memory_order_relaxed);
}

dk_work dk_host_work(const dk_host *host)
{
    return (dk_work){atomic_load_explicit(&host->worked_tokens, memory_order_relaxed),
                     1e3 * (double)atomic_load_explicit(&host->worked_kiloflops, memory_order_relaxed)};
}
