#include "api/handles.h"

#include <stdio.h>

int32_t distill_report_open(const distill_env *env, const char *path, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(di_page_folder(env->host, path, NULL, &json, err));
    DI_COMPUTE(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

static int32_t check(const distill_report *const *reports, int64_t count, const char *path, dk_error *err)
{
    char name[48];
    int32_t rc;
    DK_TRY(di_check_pointer(reports, "reports", err));
    DK_TRY(di_check_pointer(path, "path", err));
    if (count < 1) return dk_fail(err, DK_E_INVALID, "count is %lld: a page needs a report", (long long)count);
    for (int64_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "reports[%lld]", (long long)i);
        DK_TRY(di_check_pointer(reports[i], name, err));
    }
out:
    return rc;
}

int32_t distill_report_html(const distill_report *const *reports, int64_t count, const char *path,
                            const distill_options *options, distill_error *error)
{
    dk_error *err = di_err(error);
    const di_page_settings settings = {di_options_is(di_tree(options), "output.language", "pt"), 0};
    const dk_node **roots = NULL;
    dk_host *host = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(check(reports, count, path, err));
    host = reports[0]->env->host;
    DK_TRY(dk_new(host, count, &roots, err));
    for (int64_t i = 0; i < count; i++) roots[i] = di_report_root(reports[i]->report);
    DI_COMPUTE(di_page_write(host, roots, count, &settings, path, err));
out:
    if (host) dk_free(host, (void *)roots);
    return rc;
}
