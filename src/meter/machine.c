#include "meter/machine.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/pool.h"
#include "base/processor.h"
#include "base/threads.h"

static void text(dk_strbuf *out, const char *name, const char *value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    dk_strbuf_json(out, value, strlen(value));
}

static void memory(dk_strbuf *out)
{
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    if (pages > 0 && size > 0) dk_strbuf_printf(out, ",\"memory_bytes\":%lld", (long long)pages * size);
}

static void operating_system(dk_strbuf *out)
{
    struct utsname name;
    if (uname(&name) != 0) return;
    dk_strbuf_puts(out, ",\"system\":\"");
    dk_strbuf_printf(out, "%s %s %s\"", name.sysname, name.release, name.machine);
}

void di_machine_json(const dk_backend *backend, dk_strbuf *out)
{
    char cpu[DK_PROCESSOR_NAME], cblas[128];
    dk_processor_name(cpu);
    dk_backend_cblas(cblas, sizeof cblas);
    dk_strbuf_puts(out, "{\"cpu\":");
    dk_strbuf_json(out, cpu, strlen(cpu));
    dk_strbuf_printf(out, ",\"cores\":%lld,\"threads\":%lld", (long long)dk_pool_cores(),
                     (long long)dk_host_threads(backend->host));
    text(out, "backend", backend->name);
    text(out, "isa", dk_isa_name(backend->isa));
    text(out, "products", backend->products);
    text(out, "cblas", cblas);
    memory(out);
    operating_system(out);
    dk_strbuf_puts(out, "}");
}
