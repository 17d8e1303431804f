/* machine_limits.c - what the machine can do at most, as JSON. */
#include <string.h>

#include "base/processor.h"
#include "compute/cpu/limits/limits.h"
#include "report/report.h"

static void product(dk_strbuf *out, const dk_limits *limits, int32_t kind, const char *name, const char *unit)
{
    if (!limits->product[kind].by) return;
    dk_strbuf_printf(out, ",\"%s\":{\"%s\":", name, unit);
    dk_strbuf_f64(out, limits->product[kind].rate);
    dk_strbuf_printf(out, ",\"by\":\"%s\"}", limits->product[kind].by);
}

int32_t di_limits_json(dk_host *host, dk_strbuf *out, dk_error *err)
{
    dk_limits limits;
    char name[DK_PROCESSOR_NAME];
    int32_t rc = dk_limits_measure(host, &limits, err);
    if (rc != DK_OK) return rc;
    dk_processor_name(name);
    dk_strbuf_puts(out, "{\"cpu\":");
    dk_strbuf_json(out, name, strlen(name));
    dk_strbuf_printf(out, ",\"threads\":%lld", (long long)limits.threads);
    product(out, &limits, DK_LIMIT_FP32, "fp32", "flops");
    product(out, &limits, DK_LIMIT_BF16, "bf16", "flops");
    product(out, &limits, DK_LIMIT_INT8, "int8", "ops");
    dk_strbuf_puts(out, ",\"read\":{\"bytes_per_second\":");
    dk_strbuf_f64(out, limits.read);
    dk_strbuf_puts(out, "},\"stream\":{\"bytes_per_second\":");
    dk_strbuf_f64(out, limits.stream);
    dk_strbuf_puts(out, "}}");
    return dk_strbuf_check(out, err);
}
