#include <math.h>

#include "shape/shape_parts.h"

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

void di_cut_json(const di_cut *cut, dk_strbuf *out)
{
    dk_strbuf_printf(out, ",\"parameters_before\":%lld,\"parameters_after\":%lld,\"tokens\":%lld",
                     (long long)cut->parameters_before, (long long)cut->parameters_after, (long long)cut->tokens);
    number(out, "perplexity_before", exp(cut->nats_before));
    number(out, "perplexity_after", exp(cut->nats_after));
    number(out, "forward_kl", cut->kl);
    number(out, "top1_agreement", cut->agreement);
}

void di_numbers_json(const int64_t *numbers, int64_t count, dk_strbuf *out)
{
    dk_strbuf_puts(out, "[");
    for (int64_t i = 0; i < count; i++) dk_strbuf_printf(out, "%s%lld", i ? "," : "", (long long)numbers[i]);
    dk_strbuf_puts(out, "]");
}

void di_scores_json(const double *scores, int64_t count, dk_strbuf *out)
{
    dk_strbuf_puts(out, "[");
    for (int64_t i = 0; i < count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        if (isfinite(scores[i])) dk_strbuf_f64(out, scores[i]);
        else dk_strbuf_puts(out, "null");
    }
    dk_strbuf_puts(out, "]");
}
