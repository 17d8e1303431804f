/* checkpoint_names.c - what tensors in a checkpoint are called. */
#include "run/checkpoint_parts.h"

char *di_moment_name(dk_host *host, const char *parameter, int32_t second)
{
    dk_strbuf name;
    dk_strbuf_init(&name, host);
    dk_strbuf_puts(&name, second ? "v." : "m.");
    dk_strbuf_puts(&name, parameter);
    char *text = name.failed ? NULL : dk_strdup(host, name.data);
    dk_strbuf_free(&name);
    return text;
}
