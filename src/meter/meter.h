/* meter.h - what work costs while it runs: wall time, CPU time of the process, memory at its peak, energy, money. Speed
 * of models is measured in evaluate/, what was computed is counted by the host (base/work.h).
 *
 * Energy is measured by the system's counters (powercap.h), or estimated from CPU time where cost.watts_per_core says
 * what a core takes, or not told. It is never guessed. */
#ifndef DI_METER_METER_H
#define DI_METER_METER_H

#include "base/work.h"
#include "meter/powercap.h"
#include "options/options.h"

typedef struct di_meter { /* since di_meter_start, whose values it keeps */
    double wall, cpu;     /* seconds */
    dk_work work;
    di_powercap powercap;
    double polled;     /* when the counters were last read */
    double idle_watts; /* before the work began; -1 = not measured */
    /* of section cost; -1 = not said */
    double watts_per_core, eur_per_kwh, usd_per_million_tokens;
} di_meter;

typedef enum { DI_ENERGY_NONE = 0, DI_ENERGY_MEASURED = 1, DI_ENERGY_ESTIMATED = 2 } di_energy;
typedef struct di_cost {
    double wall, cpu;    /* seconds since start; cpu is that of all threads of the process */
    int64_t peak_memory; /* bytes resident at most since the process began; -1 = not known */
    dk_work work;        /* of the host's models */
    di_energy energy;    /* where joules come from */
    double joules;       /* -1 = not known, as below */
    double eur;          /* of the energy */
    double usd;          /* of the tokens, at cost.usd_per_million_tokens */
} di_cost;

/* idle 1 = where there are counters, idleness is measured first, for cost.idle_seconds: what is short does not wait.
 * Section: cost. */
int32_t di_meter_start(dk_host *host, const di_options *options, int32_t idle, di_meter *out, dk_error *err);
void di_meter_end(di_meter *meter); /* zeroed is fine */
/* Reads the counters, if it is time, before they go round. */
void di_meter_poll(di_meter *meter);
di_cost di_meter_read(di_meter *meter);
double di_meter_cpu(void); /* seconds of all threads of the process, since it began */
/* Joules of work that took cpu seconds, of which the counters told measured ones (0, -1 = none): those, an estimate, or
 * -1. */
di_energy di_meter_energy(const di_meter *meter, double measured, double cpu, double *joules);
double di_meter_eur(const di_meter *meter, double joules); /* or -1 */
/* What tokens that the host's models did not read themselves, as a callback teacher's, cost. */
double di_meter_price(const di_meter *meter, int64_t tokens); /* USD, or -1 */
/* {"seconds":...,"cpu_seconds":...,"energy":"measured",...} */
void di_cost_json(const di_meter *meter, const di_cost *cost, dk_strbuf *json);

#endif
