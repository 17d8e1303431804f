/* meter.h - what work costs while it runs: wall time, CPU time of the process, memory at its peak. Speed of models is
 * measured in evaluate/. */
#ifndef DI_METER_METER_H
#define DI_METER_METER_H

#include "base/host.h"

typedef struct di_meter { /* since di_meter_start, whose values it keeps */
    double wall, cpu;     /* seconds */
} di_meter;
typedef struct di_usage {
    double wall, cpu;    /* seconds since start; cpu is that of all threads of the process */
    int64_t peak_memory; /* bytes resident at most since the process began; -1 = not known */
} di_usage;

void di_meter_start(di_meter *meter);
di_usage di_meter_read(const di_meter *meter);

#endif
