/* work.h - what the models of a host computed so far: tokens that went through one, and operations. */
#ifndef DK_BASE_WORK_H
#define DK_BASE_WORK_H

#include "base/memory.h"

typedef struct dk_work {
    int64_t tokens; /* of every pass, each time: one that two models read counts twice */
    double flops;
} dk_work;
void dk_host_add_work(dk_host *host, int64_t tokens, double flops); /* any thread */
dk_work dk_host_work(const dk_host *host);

#endif
