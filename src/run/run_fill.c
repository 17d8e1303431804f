/* run_fill.c - several ranks, and a cache of targets that its teacher fills: what it lacks of the run's data is asked
 * before the run, by all of them, and then it is read alone. One process asks on the way. */
#include <math.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "fill/fill.h"
#include "run/run_state.h"

enum { EVERY = 20 }; /* seconds */

typedef struct telling {
    dk_host *host;
    double last;
} telling;

static int32_t tell(void *user, const distill_progress *p)
{
    telling *t = user;
    const double now = dk_seconds();
    if (now - t->last < EVERY) return DISTILL_CB_OK;
    t->last = now;
    dk_log(t->host, DK_LOG_INFO, "cache", "all ranks ask for targets: window %lld of %lld, about %.0f s are left",
           (long long)p->done, (long long)p->total, fmax(p->seconds_left, 0));
    return DISTILL_CB_OK;
}

static int32_t names_cache(const di_options *options)
{
    int32_t named = di_options_text(options, "teacher.cache.path") != NULL;
    for (int64_t i = 0; !named && i < di_options_list_size(options, "teachers"); i++)
        named = di_options_is_set(di_options_item(options, "teachers", i), "cache.path");
    return named;
}

int32_t di_run_fill(const di_parts *parts, const di_options *options, dk_error *err)
{
    dk_host *host = parts->backend->host;
    telling now = {host, dk_seconds()};
    di_fill_args args = {.backend = parts->backend,
                         .teacher = parts->teacher,
                         .data = parts->train,
                         .eval = parts->eval,
                         .of_run = 1,
                         .options = options,
                         .fn = tell,
                         .user = &now};
    dk_strbuf json;
    int32_t rc;
    if (dk_ranks(host) == 1 || di_teacher_names_self(options) || !names_cache(options)) return DK_OK;
    if (parts->teacher) args.path = di_options_text(options, "teacher.cache.path");
    if (parts->teacher && (!args.path || di_teacher_is_cached(parts->teacher))) return DK_OK;
    dk_strbuf_init(&json, host);
    DK_TRY(di_cache_build(&args, &json, err));
    if (json.size) dk_log(host, DK_LOG_INFO, "cache", "targets of all of the data are kept");
out:
    dk_strbuf_free(&json);
    return rc;
}
