#include "meter/meter.h"

#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define POLL_SECONDS 10.0

double di_meter_cpu(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) != 0) return 0;
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int64_t peak_memory(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return -1;
#ifdef __APPLE__
    return (int64_t)usage.ru_maxrss;
#else
    return (int64_t)usage.ru_maxrss * 1024;
#endif
}

/* In pieces: a host that stops does not wait for it. */
static void wait_idle(const dk_host *host, double seconds)
{
    const double until = dk_seconds() + seconds;
    for (double left = seconds; left > 0 && !dk_host_cancelled(host); left = until - dk_seconds()) {
        const double piece = fmin(left, 0.02);
        nanosleep(&(struct timespec){.tv_nsec = (long)(piece * 1e9)}, NULL);
    }
}

static double measure_idle(dk_host *host, di_powercap *powercap, double seconds)
{
    if (powercap->why.size || seconds <= 0) return -1;
    const double began = dk_seconds();
    wait_idle(host, seconds);
    const double joules = di_powercap_read(powercap), took = dk_seconds() - began;
    return joules <= 0 || took < seconds ? -1 : joules / took; /* a wait that was cancelled says nothing */
}

int32_t di_meter_start(dk_host *host, const di_options *options, int32_t idle, di_meter *out, dk_error *err)
{
    di_meter meter = {.watts_per_core = -1, .eur_per_kwh = -1, .usd_per_million_tokens = -1};
    int32_t rc;
    if (di_options_is_set(options, "cost.watts_per_core"))
        meter.watts_per_core = di_options_f64(options, "cost.watts_per_core");
    if (di_options_is_set(options, "cost.eur_per_kwh")) meter.eur_per_kwh = di_options_f64(options, "cost.eur_per_kwh");
    if (di_options_is_set(options, "cost.usd_per_million_tokens"))
        meter.usd_per_million_tokens = di_options_f64(options, "cost.usd_per_million_tokens");
    DK_TRY(di_options_check(options, 1 << DI_COST, err));
    DK_TRY(di_powercap_open(host, di_options_text(options, "cost.powercap"), &meter.powercap, err));
    meter.idle_watts = !idle ? -1 : measure_idle(host, &meter.powercap, di_options_f64(options, "cost.idle_seconds"));
    meter.powercap.joules = 0;
    meter.wall = meter.polled = dk_seconds();
    meter.cpu = di_meter_cpu();
    meter.work = dk_host_work(host);
    *out = meter;
out:
    return rc;
}

void di_meter_end(di_meter *meter)
{
    di_powercap_close(&meter->powercap);
    memset(meter, 0, sizeof *meter);
}

void di_meter_poll(di_meter *meter)
{
    const double now = dk_seconds();
    if (now - meter->polled < POLL_SECONDS) return;
    meter->polled = now;
    (void)di_powercap_read(&meter->powercap);
}

double di_meter_price(const di_meter *meter, int64_t tokens)
{
    return meter->usd_per_million_tokens < 0 ? -1 : 1e-6 * meter->usd_per_million_tokens * (double)tokens;
}

double di_meter_eur(const di_meter *meter, double joules)
{
    return joules < 0 || meter->eur_per_kwh < 0 ? -1 : joules / 3.6e6 * meter->eur_per_kwh;
}

/* No machine works for nothing: counters that say 0 have not moved on yet. */
di_energy di_meter_energy(const di_meter *meter, double measured, double cpu, double *joules)
{
    if (measured > 0) {
        *joules = measured;
        return DI_ENERGY_MEASURED;
    }
    *joules = meter->watts_per_core < 0 ? -1 : meter->watts_per_core * cpu;
    return meter->watts_per_core < 0 ? DI_ENERGY_NONE : DI_ENERGY_ESTIMATED;
}

di_cost di_meter_read(di_meter *meter)
{
    di_cost cost = {.wall = dk_seconds() - meter->wall,
                    .cpu = di_meter_cpu() - meter->cpu,
                    .peak_memory = peak_memory(),
                    .work = dk_host_work(meter->powercap.host)};
    cost.work.tokens -= meter->work.tokens;
    cost.work.flops -= meter->work.flops;
    cost.energy = di_meter_energy(meter, di_powercap_read(&meter->powercap), cost.cpu, &cost.joules);
    cost.eur = di_meter_eur(meter, cost.joules);
    cost.usd = di_meter_price(meter, cost.work.tokens);
    return cost;
}

static void put(dk_strbuf *json, const char *name, double value)
{
    dk_strbuf_printf(json, ",\"%s\":", name);
    dk_strbuf_f64(json, value);
}

static void put_text(dk_strbuf *json, const char *name, const char *text)
{
    dk_strbuf_printf(json, ",\"%s\":", name);
    dk_strbuf_json(json, text, strlen(text));
}

static void counted(const di_powercap *powercap, dk_strbuf *json)
{
    dk_strbuf_puts(json, ",\"energy_of\":[");
    for (int64_t i = 0; i < powercap->count; i++) {
        if (i) dk_strbuf_puts(json, ",");
        dk_strbuf_json(json, powercap->zones[i].label, strlen(powercap->zones[i].label));
    }
    dk_strbuf_puts(json, "]");
    if (powercap->others.size) put_text(json, "energy_not_of", powercap->others.data);
}

static void energy_json(const di_meter *meter, const di_cost *cost, dk_strbuf *json)
{
    static const char *const names[] = {"none", "measured", "estimated"};
    put_text(json, "energy", names[cost->energy]);
    if (cost->energy == DI_ENERGY_MEASURED) {
        put_text(json, "energy_note", "of whole packages: what other processes took meanwhile is in it");
        counted(&meter->powercap, json);
    } else
        put_text(json, "energy_problem",
                 meter->powercap.why.size ? meter->powercap.why.data : "no counter moved on in this time");
    if (cost->energy == DI_ENERGY_ESTIMATED) {
        put_text(json, "energy_note", "an estimate: CPU seconds times cost.watts_per_core");
        put(json, "watts_per_core", meter->watts_per_core);
    }
    if (cost->joules >= 0) put(json, "joules", cost->joules);
    if (meter->idle_watts >= 0) put(json, "idle_watts", meter->idle_watts);
}

void di_cost_json(const di_meter *meter, const di_cost *cost, dk_strbuf *json)
{
    dk_strbuf_puts(json, "{\"seconds\":");
    dk_strbuf_f64(json, cost->wall);
    put(json, "cpu_seconds", cost->cpu);
    put(json, "peak_memory_bytes", (double)cost->peak_memory);
    put(json, "model_tokens", (double)cost->work.tokens);
    put(json, "model_flops", cost->work.flops);
    energy_json(meter, cost, json);
    if (cost->eur >= 0) put(json, "eur", cost->eur);
    if (cost->usd >= 0) put(json, "usd", cost->usd);
    dk_strbuf_puts(json, "}");
}
