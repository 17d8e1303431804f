#include "meter/meter.h"

#include <sys/resource.h>
#include <time.h>

static double cpu_seconds(void)
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

void di_meter_start(di_meter *meter)
{
    meter->wall = dk_seconds();
    meter->cpu = cpu_seconds();
}

di_usage di_meter_read(const di_meter *meter)
{
    return (di_usage){dk_seconds() - meter->wall, cpu_seconds() - meter->cpu, peak_memory()};
}
