/* run_folder.c - what a run left in its output folder, for whoever looks at it later. */
#include <string.h>

#include "base/file.h"
#include "conf/document.h"
#include "run/run.h"

static void put(const dk_node *node, const char *key, dk_strbuf *json)
{
    if (!node) return;
    dk_strbuf_printf(json, ",\"%s\":", key);
    dk_node_write_json(node, json);
}

/* A result.json of somebody else's is passed over. */
static int32_t describe_result(const dk_node *root, dk_strbuf *json)
{
    const dk_node *finished = dk_node_get(root, "finished"), *teacher = dk_node_get(root, "teacher");
    if (!finished || finished->type != DK_NODE_BOOL || !dk_node_get(root, "training")) return 0;
    dk_strbuf_printf(json, ",\"run\":{\"finished\":%s", finished->i64 ? "true" : "false");
    put(dk_node_get(root, "reason"), "reason", json);
    put(dk_node_get(dk_node_get(root, "training"), "steps"), "step", json);
    put(dk_node_get(teacher, "manifest"), "teacher", json);
    dk_strbuf_puts(json, "}");
    return 1;
}

static int32_t describe_checkpoint(dk_host *host, const char *path, dk_strbuf *json, dk_error *err)
{
    dk_document *doc = NULL;
    char *state = dk_path_join(host, path, "state.json");
    int32_t rc;
    if (!state) return dk_fail_nomem(err, strlen(path));
    DK_TRY(dk_json_open(host, state, &doc, err));
    dk_strbuf_puts(json, ",\"run\":{\"finished\":false");
    put(dk_node_get(dk_document_root(doc), "step"), "step", json);
    put(dk_node_get(dk_document_root(doc), "teacher"), "teacher", json);
    dk_strbuf_puts(json, "}");
out:
    dk_document_free(doc);
    dk_free(host, state);
    return rc;
}

int32_t di_run_folder_describe(dk_host *host, const char *path, dk_strbuf *json, int32_t *found, dk_error *err)
{
    char *result = dk_path_join(host, path, "result.json"), *checkpoint = NULL;
    dk_document *doc = NULL;
    int32_t rc = result ? DK_OK : dk_fail_nomem(err, strlen(path));
    *found = 0;
    if (rc != DK_OK || dk_path_exists(path) != 2) goto out;
    if (dk_path_exists(result) == 1) {
        DK_TRY(dk_json_open(host, result, &doc, err));
        *found = describe_result(dk_document_root(doc), json);
        if (*found) goto out;
    }
    DK_TRY(di_checkpoint_newest(host, path, &checkpoint, err));
    if (!checkpoint) goto out;
    DK_TRY(describe_checkpoint(host, checkpoint, json, err));
    *found = 1;
out:
    dk_document_free(doc);
    dk_free(host, checkpoint);
    dk_free(host, result);
    return rc;
}
