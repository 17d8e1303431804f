#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "classifier/classifier_parts.h"
#include "report/page/page.h"

static const char *const of_run[] = {"result.json", "metrics.jsonl", "report.html", "checkpoints"};
enum { OF_RUN = sizeof of_run / sizeof *of_run };

static int32_t is_there(dk_host *host, const char *folder, const char *name)
{
    char *path = dk_path_join(host, folder, name);
    const int32_t there = path && dk_path_exists(path);
    dk_free(host, path);
    return there;
}

int32_t di_fit_output_prepare(const di_fit_output *o, int32_t overwrite, int32_t resume, dk_error *err)
{
    const char *found = NULL;
    int32_t rc;
    DK_TRY(dk_dir_create(o->host, o->path, err));
    DK_TRY(di_classifier_check_place(o->host, o->path, err));
    if (resume) goto out;
    if (is_there(o->host, o->path, "config.json")) found = "config.json";
    for (size_t i = 0; i < OF_RUN; i++)
        if (is_there(o->host, o->path, of_run[i])) found = of_run[i];
    if (!found) goto out;
    if (!overwrite)
        DK_TRY(dk_fail(err, DK_E_INVALID,
                       "%s already holds a run or a model (%s): resume it, give another output.path, or set "
                       "output.overwrite to true",
                       o->path, found));
    for (size_t i = 0; i < OF_RUN; i++) { /* the old classifier stays until the new one is there */
        char *path = dk_path_join(o->host, o->path, of_run[i]);
        rc = path ? dk_dir_remove(o->host, path, err) : dk_fail_nomem(err, strlen(o->path));
        dk_free(o->host, path);
        if (rc) goto out;
    }
out:
    return rc;
}

int32_t di_fit_output_metric(const di_fit_output *o, const dk_strbuf *line, dk_error *err)
{
    char *path = dk_path_join(o->host, o->path, "metrics.jsonl");
    int32_t rc = path ? dk_strbuf_check(line, err) : dk_fail_nomem(err, strlen(o->path));
    if (rc == DK_OK) rc = dk_file_append(o->host, path, line->data, line->size, err);
    dk_free(o->host, path);
    return rc;
}

/* Every line begins with {"step":N,; a torn last line has no end and is dropped. */
static int64_t step_of(const char *line, size_t size)
{
    static const char head[] = "{\"step\":";
    size_t digits = sizeof head - 1;
    int64_t step = INT64_MAX;
    if (size < sizeof head || memcmp(line, head, sizeof head - 1) != 0) return INT64_MAX;
    while (digits < size && line[digits] >= '0' && line[digits] <= '9') digits++;
    (void)dk_parse_i64(line + sizeof head - 1, digits - (sizeof head - 1), &step);
    return step;
}

int32_t di_fit_output_rewind(const di_fit_output *o, int64_t step, dk_error *err)
{
    char *path = dk_path_join(o->host, o->path, "metrics.jsonl"), *data = NULL;
    dk_strbuf kept;
    size_t size = 0, at = 0;
    int32_t rc = path ? DK_OK : dk_fail_nomem(err, strlen(o->path));
    dk_strbuf_init(&kept, o->host);
    if (rc || !dk_path_exists(path)) goto out;
    DK_TRY(dk_file_read(o->host, path, (uint64_t)1 << 32, &data, &size, err));
    for (const char *end; at < size && (end = memchr(data + at, '\n', size - at)); at = (size_t)(end - data) + 1) {
        const size_t length = (size_t)(end - (data + at)) + 1;
        if (step_of(data + at, length) <= step) dk_strbuf_append(&kept, data + at, length);
    }
    DK_TRY(dk_strbuf_check(&kept, err));
    DK_TRY(dk_file_replace(o->host, path, kept.data ? kept.data : "", kept.size, err));
out:
    dk_strbuf_free(&kept);
    dk_free(o->host, data);
    dk_free(o->host, path);
    return rc;
}

int32_t di_fit_output_result(const di_fit_output *o, const dk_strbuf *json, dk_error *err)
{
    char *path = dk_path_join(o->host, o->path, "result.json");
    const int32_t rc = path ? dk_file_replace(o->host, path, json->data, json->size, err) : dk_fail_nomem(err, 64);
    dk_free(o->host, path);
    return rc;
}

enum { SECONDS = 5, SHARE = 100 };

int32_t di_fit_output_page_due(const di_fit_output *o)
{
    if (!o->path || !o->page) return 0;
    return dk_seconds() - o->written >= (SHARE * o->took > SECONDS ? SHARE * o->took : SECONDS);
}

int32_t di_fit_output_page(di_fit_output *o, const dk_strbuf *json, int32_t live, dk_error *err)
{
    const di_page_settings settings = {o->portuguese, live ? SECONDS : 0};
    const double begin = dk_seconds();
    const int32_t rc = o->page ? di_page_of_folder(o->host, o->path, json, &settings, err) : DK_OK;
    o->written = dk_seconds();
    o->took = o->written - begin;
    return rc;
}
