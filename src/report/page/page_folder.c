/* page_folder.c - a run's folder as JSON: what is damaged there is told, and what is whole is used. */
#include <string.h>

#include "base/file.h"
#include "report/page/page.h"

#define MOST ((uint64_t)1 << 30)

typedef struct folder {
    dk_host *host;
    const char *path;
    dk_strbuf *json;
    dk_strbuf problems;
    int32_t found;
} folder;

static void problem(folder *f, const char *text)
{
    if (f->problems.size) dk_strbuf_puts(&f->problems, ",");
    dk_strbuf_json(&f->problems, text, strlen(text));
}

/* *data NULL = there is none. */
static int32_t read_file(folder *f, const char *name, char **data, size_t *size, dk_error *err)
{
    char *path = dk_path_join(f->host, f->path, name);
    int32_t there = 0, rc;
    *data = NULL;
    if (!path) return dk_fail_nomem(err, strlen(f->path));
    DK_TRY(dk_path_look(path, &there, err));
    if (there) DK_TRY(dk_file_read(f->host, path, MOST, data, size, err));
    if (there) f->found = 1;
out:
    dk_free(f->host, path);
    return rc;
}

static int32_t put_result(folder *f, const char *text, size_t size, dk_error *err)
{
    dk_document *doc = NULL;
    dk_error found;
    dk_error_clear(&found);
    int32_t rc = dk_json_parse(f->host, text, size, "result.json", &doc, &found);
    if (rc == DK_OK && dk_document_root(doc)->type != DK_NODE_MAP)
        rc = dk_fail(&found, DK_E_FORMAT, "result.json is no JSON object");
    if (rc == DK_OK) dk_node_write_json(dk_document_root(doc), f->json);
    else {
        dk_strbuf_puts(f->json, "null");
        problem(f, found.message);
    }
    dk_document_free(doc);
    return rc == DK_E_NOMEM ? dk_fail_nomem(err, size) : DK_OK;
}

int32_t di_page_folder(dk_host *host, const char *path, const dk_strbuf *result, dk_strbuf *json, dk_error *err)
{
    folder f = {.host = host, .path = path, .json = json};
    char *text = NULL;
    size_t size = strlen(path);
    int32_t rc;
    dk_strbuf_init(&f.problems, host);
    while (size > 1 && path[size - 1] == '/') size--;
    dk_strbuf_puts(json, "{\"folder\":");
    dk_strbuf_json(json, path, size);
    dk_strbuf_puts(json, ",\"result\":");
    if (!result) DK_TRY(read_file(&f, "result.json", &text, &size, err));
    if (result) dk_strbuf_append(json, result->data, result->size);
    else if (text) DK_TRY(put_result(&f, text, size, err));
    else dk_strbuf_puts(json, "null");
    dk_free(host, text);
    DK_TRY(read_file(&f, "metrics.jsonl", &text, &size, err));
    if (!f.found && !result) {
        rc = dk_fail(err, DK_E_NOT_FOUND, "%s holds no run: there is neither result.json nor metrics.jsonl", path);
        goto out;
    }
    if (text) DK_TRY(di_page_history(host, text, size, json, err));
    dk_strbuf_puts(json, ",\"problems\":[");
    dk_strbuf_append(json, f.problems.data ? f.problems.data : "", f.problems.size);
    dk_strbuf_puts(json, "]}");
    DK_TRY(dk_strbuf_check(&f.problems, err));
    DK_TRY(dk_strbuf_check(json, err));
out:
    dk_free(host, text);
    dk_strbuf_free(&f.problems);
    return rc;
}

int32_t di_page_of_folder(dk_host *host, const char *path, const dk_strbuf *result, const di_page_settings *settings,
                          dk_error *err)
{
    char *page = dk_path_join(host, path, "report.html");
    dk_document *doc = NULL;
    dk_strbuf json;
    int32_t rc = page ? DK_OK : dk_fail_nomem(err, strlen(path));
    dk_strbuf_init(&json, host);
    if (rc) goto out;
    DK_TRY(di_page_folder(host, path, result, &json, err));
    DK_TRY(dk_json_parse(host, json.data, json.size, "report", &doc, err));
    const dk_node *root = dk_document_root(doc);
    DK_TRY(di_page_write(host, &root, 1, settings, page, err));
out:
    dk_document_free(doc);
    dk_strbuf_free(&json);
    dk_free(host, page);
    return rc;
}
