/* step.c - what operators ask their step for. */
#include "augment/operator.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"

uint64_t di_step_number(const di_step *step, const di_record *record, uint64_t k)
{
    const uint64_t stream = dk_hash64(record->id, strlen(record->id));
    return dk_random_u64(step->seed, stream, (uint64_t)step->number << 40 | k);
}

int32_t di_step_path(const di_step *step, const char *kind, char **out, dk_error *err)
{
    dk_strbuf path;
    int32_t rc;
    dk_strbuf_init(&path, step->host);
    dk_strbuf_printf(&path, "%s.step%lld.%s", step->out, (long long)step->number, kind);
    DK_TRY(dk_strbuf_check(&path, err));
    if (!(*out = dk_strdup(step->host, path.data))) rc = dk_fail_nomem(err, path.size + 1);
out:
    dk_strbuf_free(&path);
    return rc;
}

int32_t di_step_fail(const di_step *step, dk_error *err, const char *format, ...)
{
    const char *origin = di_options_origin(step->options, step->verb);
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return dk_fail(err, DK_E_OPTION, "%s%saugment.steps.%lld (%s %s): %s", origin, *origin ? ": " : "",
                   (long long)step->number - 1, step->verb, step->name, text);
}
