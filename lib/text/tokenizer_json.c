/* A tokenizer from tokenizer.json and the files beside it: the parts in order, and the bytes kept for saving. */
#include "text/json_reader.h"

#include "base/file.h"

enum { FILE_LIMIT = 1 << 28 };

static int32_t read_parts(dk_json_reader *r, const dk_node *root)
{
    int32_t rc;
    if (!root || root->type != DK_NODE_MAP) return dk_malformed(r, "a tokenizer.json", "a JSON object");
    if (!dk_node_get(root, "model"))
        return dk_malformed(r, "model", "an object with a type (is this a tokenizer.json?)");
    DK_TRY(dk_read_model(r, dk_node_get(root, "model")));
    DK_TRY(dk_read_normalizer(r, dk_node_get(root, "normalizer")));
    DK_TRY(dk_read_pre_tokenizer(r, dk_node_get(root, "pre_tokenizer")));
    DK_TRY(dk_read_decoder(r, dk_node_get(root, "decoder")));
    DK_TRY(dk_read_added(r, dk_node_get(root, "added_tokens")));
    DK_TRY(dk_read_post_processor(r, dk_node_get(root, "post_processor")));
out:
    return rc;
}

static int32_t keep_text(dk_tokenizer *tok, const char *data, size_t size, char **out, size_t *out_size, dk_error *err)
{
    *out = dk_strndup(tok->host, data, size);
    *out_size = size;
    return *out ? DK_OK : dk_fail_nomem(err, size);
}

static int32_t keep_document(dk_tokenizer *tok, const dk_document *doc, char **out, size_t *out_size, dk_error *err)
{
    dk_strbuf text;
    dk_strbuf_init(&text, tok->host);
    dk_node_write_json(dk_document_root(doc), &text);
    int32_t rc = dk_strbuf_check(&text, err);
    if (!rc) rc = keep_text(tok, text.data, text.size, out, out_size, err);
    dk_strbuf_free(&text);
    return rc;
}

static int32_t build(dk_host *host, const dk_document *json, const dk_document *config, const char *jinja,
                     dk_tokenizer **out, dk_error *err)
{
    dk_json_reader r = {.doc = json, .err = err};
    int32_t rc = dk_tokenizer_new(host, &r.tok, err);
    if (rc) return rc;
    DK_TRY(read_parts(&r, dk_document_root(json)));
    r.tok->unk = r.tok->bpe.unk;
    if (jinja && !(r.tok->chat_template = dk_strdup(host, jinja))) {
        rc = dk_fail_nomem(err, strlen(jinja));
        goto out;
    }
    if (config) DK_TRY(dk_read_tokenizer_config(&r, config));
    rc = dk_tokenizer_seal(r.tok, err);
out:
    if (rc) dk_tokenizer_release(r.tok);
    else *out = r.tok;
    return rc;
}

int32_t dk_tokenizer_from_json(dk_host *host, const dk_document *json, const dk_document *config, dk_tokenizer **out,
                               dk_error *err)
{
    dk_tokenizer *tok;
    int32_t rc = build(host, json, config, NULL, &tok, err);
    if (rc) return rc;
    rc = keep_document(tok, json, &tok->json, &tok->json_size, err);
    if (!rc && config) rc = keep_document(tok, config, &tok->config, &tok->config_size, err);
    if (rc) dk_tokenizer_release(tok);
    else *out = tok;
    return rc;
}

typedef struct file { /* one of a tokenizer's files as bytes and as a tree */
    char *data;
    size_t size;
    dk_document *doc;
} file;

static int32_t read_file(dk_host *host, const char *folder, const char *name, int32_t parse, file *out, dk_error *err)
{
    int32_t rc = DK_OK;
    char *path = dk_path_join(host, folder, name);
    if (!path) return dk_fail_nomem(err, strlen(folder) + strlen(name) + 2);
    if (parse < 2 && dk_path_exists(path) != 1) goto out; /* only a tokenizer.json must be there */
    DK_TRY(dk_file_read(host, path, FILE_LIMIT, &out->data, &out->size, err));
    if (parse) DK_TRY(dk_json_parse(host, out->data, out->size, path, &out->doc, err));
out:
    dk_free(host, path);
    return rc;
}

static void file_free(dk_host *host, file *f)
{
    dk_document_free(f->doc);
    dk_free(host, f->data);
}

static void hand_over(file *from, char **to, size_t *size)
{
    *to = from->data;
    *size = from->size;
    from->data = NULL;
}

int32_t dk_tokenizer_open(dk_host *host, const char *folder, dk_tokenizer **out, dk_error *err)
{
    int32_t rc;
    file json = {0}, config = {0}, jinja = {0};
    dk_tokenizer *tok = NULL;
    DK_TRY(read_file(host, folder, "tokenizer.json", 2, &json, err));
    DK_TRY(read_file(host, folder, "tokenizer_config.json", 1, &config, err));
    DK_TRY(read_file(host, folder, "chat_template.jinja", 0, &jinja, err));
    DK_TRY(build(host, json.doc, config.doc, jinja.data, &tok, err));
    hand_over(&json, &tok->json, &tok->json_size);
    hand_over(&config, &tok->config, &tok->config_size);
    hand_over(&jinja, &tok->jinja, &tok->jinja_size);
    *out = tok;
out:
    file_free(host, &json);
    file_free(host, &config);
    file_free(host, &jinja);
    return rc;
}
