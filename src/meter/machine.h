/* machine.h - where figures of time and energy come from: they mean nothing without it. */
#ifndef DI_METER_MACHINE_H
#define DI_METER_MACHINE_H

#include "base/strbuf.h"
#include "compute/compute.h"

/* {"cpu":"...","cores":2,"threads":2,"isa":"avx512","products":"amx","cblas":"...","memory_bytes":...,"system":"..."};
 * cores: those that the process may use */
void di_machine_json(const dk_backend *backend, dk_strbuf *out);

#endif
