/* powercap.h - the system's own energy counters: RAPL of Intel and AMD, as Linux shows them in /sys/class/powercap.
 *
 * What is counted is what a machine's packages take, and the memory beside them ("dram"), each once; the cores inside a
 * package are part of it, and "psys" is the whole platform again. The counters are of whole packages: what other
 * processes take meanwhile is in them. */
#ifndef DI_METER_POWERCAP_H
#define DI_METER_POWERCAP_H

#include "base/strbuf.h"

typedef struct di_powercap_zone {
    char *folder, *label; /* "package-0", "package-0/dram" */
    int64_t last, range;  /* microjoules; range: where it begins again from 0; 0 = not said */
    int32_t moved;        /* since it was opened */
} di_powercap_zone;
typedef struct di_powercap {
    dk_host *host;
    di_powercap_zone *zones;
    int64_t count, capacity;
    double joules;    /* since it was opened */
    double opened;    /* when */
    dk_strbuf others; /* "core, psys": zones that are there and not added */
    dk_strbuf why;    /* why nothing can be told; empty = it can */
} di_powercap;
/* root: a folder as /sys/class/powercap, or one that holds zones in folders of their kind. That nothing can be read is
 * no error: `why` says it. */
int32_t di_powercap_open(dk_host *host, const char *root, di_powercap *out, dk_error *err);
void di_powercap_close(di_powercap *powercap); /* zeroed is fine */
/* Joules since it was opened, -1 where they cannot be told; 0 = no counter has moved on yet. To be asked before a
 * counter goes round twice: about every 20 minutes of full load. */
double di_powercap_read(di_powercap *powercap);

#endif
