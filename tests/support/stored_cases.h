/* stored_cases.h - cases of tests/data/families/<program>.json: a small model, what it is written as, and what another
 * program read in that. */
#ifndef TESTS_SUPPORT_STORED_CASES_H
#define TESTS_SUPPORT_STORED_CASES_H

#include "base/file.h"
#include "conf/document.h"
#include "test_model.h"

enum { MOST_STORED_IDS = 32 };

typedef struct stored_case {
    const dk_document *doc;
    const dk_node *node;
    const char *name, *type;
    char folder[600]; /* of the model */
} stored_case;

static inline const char *stored_text(const stored_case *c, const char *key)
{
    const char *out = NULL;
    dk_error err = {0};
    CHECK_OK(dk_node_text(c->doc, c->node, key, NULL, &out, &err));
    return out ? out : "";
}

static inline double stored_number(const dk_node *node)
{
    return node->type == DK_NODE_INT ? (double)node->i64 : node->f64;
}

/* ---- what we read in our own file ---- */
static inline double *stored_pass(fixture *f, dk_pass *pass, const dk_tokens *tokens)
{
    int64_t vocab = f->model->config.vocab_size, count = tokens->offsets[1];
    dk_error err = {0};
    dk_buffer *buffer = NULL;
    dk_queue queue;
    int rc = dk_pass_forward(pass, tokens, &err);
    if (!rc) rc = f->backend->ops->buffer_create(f->backend, count * vocab * 4, &buffer, &err);
    if (rc) return FAIL("forward: %d %s", rc, err.message), NULL;
    dk_view z = dk_view_2d(buffer, 0, DK_F32, count, vocab);
    (void)dk_queue_open(&queue, f->backend, NULL);
    dk_head_forward(&queue, f->model, DK_PRECISION_FULL, dk_pass_hidden(pass), z);
    CHECK_OK(dk_queue_wait(&queue, &err));
    double *logits = new_read(f, z);
    f->backend->ops->buffer_free(f->backend, buffer);
    return logits;
}

/* Logits [ids, vocab] of the case's ids; free() them. NULL after a failure. */
static inline double *stored_logits(const stored_case *c, fixture *f)
{
    const dk_node *ids = dk_node_get(c->node, "ids");
    int32_t numbers[MOST_STORED_IDS];
    int64_t offsets[2] = {0, ids ? (int64_t)ids->size : 0};
    dk_tokens tokens = {.ids = numbers, .offsets = offsets, .sequences = 1};
    dk_pass_spec spec = {.max_rows = offsets[1], .max_sequences = 1};
    dk_pass *pass = NULL;
    dk_error err = {0};
    if (!CHECK(offsets[1] > 0 && offsets[1] <= MOST_STORED_IDS)) return NULL;
    for (int64_t i = 0; i < offsets[1]; i++) numbers[i] = (int32_t)ids->items[i]->i64;
    CHECK_OK(dk_pass_create(f->model, &spec, &pass, &err));
    double *logits = pass ? stored_pass(f, pass, &tokens) : NULL;
    dk_pass_free(pass);
    return logits;
}

/* ---- going through them ---- */
static inline int stored_find(stored_case *c)
{
    int ours = strcmp(stored_text(c, "where"), "data") == 0;
    if (!ours && !test_assets()) return 0;
    snprintf(c->folder, sizeof c->folder, "%s/%s/%s", ours ? TEST_DATA : test_assets(),
             ours ? "families" : "oracle/models", c->name);
    return ours || dk_path_exists(c->folder);
}

/* How many were checked: those of DISTILL_TEST_ASSETS are passed over where that is not set. */
static inline int stored_check(const char *path, void (*check)(const stored_case *c))
{
    dk_host *host = NULL;
    dk_document *doc = NULL;
    dk_error err = {0};
    int checked = 0;
    int rc = dk_host_create(NULL, &host, &err);
    if (!rc) rc = dk_json_open(host, path, &doc, &err);
    if (rc) FAIL("%s: %d %s", path, rc, err.message);
    const dk_node *cases = doc ? dk_node_get(dk_document_root(doc), "cases") : NULL;
    for (size_t i = 0; cases && i < cases->size; i++) {
        stored_case c = {.doc = doc, .node = cases->items[i]};
        c.name = stored_text(&c, "name");
        c.type = stored_text(&c, "type");
        if (!stored_find(&c)) continue;
        check(&c);
        checked++;
    }
    dk_document_free(doc);
    dk_host_release(host);
    return checked;
}

#endif
