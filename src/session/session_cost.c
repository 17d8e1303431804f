/* What a session's answers cost: time of its calls, passes of its models, and energy. Streams that go side by side
 * share what the process took. */
#include "session/session_parts.h"

#include <string.h>

di_moment di_cost_now(void) { return (di_moment){.wall = dk_seconds(), .cpu = di_meter_cpu()}; }

void di_cost_pass(di_stream *s, const dk_model *model, int64_t rows, int64_t stands)
{
    s->stats.model_tokens += rows;
    s->stats.flops += dk_fresh_flops(model, rows, stands);
}

void di_cost_head(di_stream *s, const dk_model *model, int64_t rows) { s->stats.flops += dk_head_flops(model, rows); }

/* ---- energy ---- */

static double waiting_cpu(const di_stream *s) { return s ? s->stats.cpu_seconds - s->told_cpu : 0; }

/* The counters are those of whole packages: what they moved on by goes to those that worked since, by their CPU time,
 * and to nobody where none did. */
void di_cost_settle(di_family *f)
{
    const double now = di_powercap_read(&f->meter.powercap), more = now - f->told_joules;
    double cpu = 0;
    for (int64_t i = 0; i < f->places; i++) cpu += waiting_cpu(f->at[i]);
    for (int64_t i = 0; cpu > 0 && i < f->places; i++) {
        di_stream *s = f->at[i];
        if (!s) continue;
        if (more > 0) s->stats.joules += more * waiting_cpu(s) / cpu;
        s->told_cpu = s->stats.cpu_seconds;
    }
    if (more > 0) f->told_joules = now;
}

void di_cost_add(di_stream *s, di_moment since, double share)
{
    const di_moment now = di_cost_now();
    s->stats.seconds += now.wall - since.wall;
    s->stats.cpu_seconds += share * (now.cpu - since.cpu);
}

void di_cost_forget(di_stream *s)
{
    di_cost_settle(s->family); /* the others get no part of what it took */
    s->told_cpu = 0;
}

void di_cost_tell(const di_stream *s, distill_session_stats *out)
{
    di_family *f = s->family;
    di_cost_settle(f);
    out->energy = di_meter_energy(&f->meter, s->stats.joules, s->stats.cpu_seconds, &out->joules);
    out->eur = di_meter_eur(&f->meter, out->joules);
    out->usd = di_meter_price(&f->meter, s->stats.model_tokens);
}
