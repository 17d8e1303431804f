#include "text/codepoint.h"
#include "text/tokenizer_impl.h"

#include "base/file.h"

enum { FILE_LIMIT = 1 << 28 };

int32_t dk_unsupported(dk_json_reader *r, const char *what, const char *value, const char *supported)
{
    return dk_fail(r->err, DK_E_UNSUPPORTED, "%s: %s '%.60s' is not supported; supported: %s", dk_document_name(r->doc),
                   what, value, supported);
}

int32_t dk_malformed(dk_json_reader *r, const char *what, const char *expected)
{
    return dk_fail(r->err, DK_E_FORMAT, "%s: %s must be %s", dk_document_name(r->doc), what, expected);
}

int32_t dk_read_type(dk_json_reader *r, const dk_node *node, const char *what, const char **type)
{
    const dk_node *name = dk_node_get(node, "type");
    if (node->type != DK_NODE_MAP || !name || name->type != DK_NODE_TEXT)
        return dk_malformed(r, what, "an object with a type");
    *type = name->text;
    return DK_OK;
}

/* ---- added tokens ---- */
static int32_t flag(dk_json_reader *r, const dk_node *node, const char *key, int32_t fallback, uint8_t *out)
{
    int32_t value;
    int32_t rc = dk_node_bool(r->doc, node, key, fallback, &value, r->err);
    if (!rc) *out = (uint8_t)value;
    return rc;
}

static int32_t read_added(dk_json_reader *r, const dk_node *node, int64_t next_id)
{
    int32_t rc;
    int64_t id = -1;
    dk_token_table *table = &r->tok->bpe.tokens;
    const dk_node *content = dk_node_get(node, "content");
    dk_added_token token = {0};
    if (node->type != DK_NODE_MAP || !content || content->type != DK_NODE_TEXT)
        return dk_malformed(r, "an entry of added_tokens", "an object with id and content");
    if (!content->size) return DK_OK;
    DK_TRY(dk_node_i64(r->doc, node, "id", 0, DK_TOKEN_LIMIT - 1, -1, &id, r->err));
    DK_TRY(flag(r, node, "special", 0, &token.special));
    DK_TRY(flag(r, node, "single_word", 0, &token.single_word));
    DK_TRY(flag(r, node, "lstrip", 0, &token.lstrip));
    DK_TRY(flag(r, node, "rstrip", 0, &token.rstrip));
    DK_TRY(flag(r, node, "normalized", !token.special, &token.normalized));
    int64_t known = dk_token_table_find(table, content->text, content->size);
    int64_t expected = known >= 0 ? known : next_id;
    if (id >= 0 && id != expected) /* the reference would go on with an id that the file does not state */
        return dk_fail(r->err, DK_E_FORMAT, "%s: added token '%.40s' has id %lld, but the vocabulary gives it %lld",
                       dk_document_name(r->doc), content->text, (long long)id, (long long)expected);
    if (known < 0) DK_TRY(dk_token_table_add(table, content->text, content->size, expected, DK_TOKEN_ADDED, r->err));
    token.id = (int32_t)expected;
    rc = dk_tokenizer_add(r->tok, &token, r->err);
out:
    return rc;
}

static int32_t read_all_added(dk_json_reader *r, const dk_node *list)
{
    int64_t model_count = (int64_t)r->tok->bpe.tokens.used, largest = -1;
    if (!list || list->type == DK_NODE_NULL) return DK_OK;
    if (list->type != DK_NODE_LIST) return dk_malformed(r, "added_tokens", "a list");
    for (size_t i = 0; i < list->size; i++) {
        /* the next free id as the reference counts: behind the model's tokens, or behind the largest added one */
        int64_t next = largest >= model_count ? largest + 1 : model_count;
        int32_t rc = read_added(r, list->items[i], next);
        if (rc) return rc;
        if (r->tok->added_count && r->tok->added[r->tok->added_count - 1].id > largest)
            largest = r->tok->added[r->tok->added_count - 1].id;
    }
    return DK_OK;
}

/* ---- tokenizer_config.json ---- */
static int32_t read_special_id(dk_json_reader *r, const dk_document *config, const char *key, int64_t *out)
{
    const dk_node *node = dk_node_get(dk_document_root(config), key);
    if (node && node->type == DK_NODE_MAP) node = dk_node_get(node, "content");
    if (!node || node->type == DK_NODE_NULL) return DK_OK;
    if (node->type != DK_NODE_TEXT)
        return dk_fail(r->err, DK_E_FORMAT, "%s: %s must be a token's text", dk_document_name(config), key);
    int64_t id = dk_tokenizer_text_id(r->tok, node->text, node->size);
    if (id >= 0) *out = id;
    return DK_OK;
}

static const dk_node *find_template(const dk_node *root)
{
    const dk_node *node = dk_node_get(root, "chat_template");
    if (node && node->type == DK_NODE_LIST) { /* several by name */
        const dk_node *chosen = NULL;
        for (size_t i = 0; i < node->size; i++)
            if (dk_node_is_text(dk_node_get(node->items[i], "name"), "default"))
                chosen = dk_node_get(node->items[i], "template");
        node = chosen;
    }
    return node && node->type == DK_NODE_TEXT ? node : NULL;
}

static int32_t read_config(dk_json_reader *r, const dk_document *config)
{
    int32_t rc;
    dk_tokenizer *tok = r->tok;
    DK_TRY(read_special_id(r, config, "bos_token", &tok->bos));
    DK_TRY(read_special_id(r, config, "eos_token", &tok->eos));
    DK_TRY(read_special_id(r, config, "pad_token", &tok->pad));
    DK_TRY(read_special_id(r, config, "unk_token", &tok->unk));
    const dk_node *chat = find_template(dk_document_root(config));
    if (chat && !tok->chat_template && !(tok->chat_template = dk_strndup(tok->host, chat->text, chat->size)))
        rc = dk_fail_nomem(r->err, chat->size);
out:
    return rc;
}

/* ---- the whole ---- */
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
    DK_TRY(read_all_added(r, dk_node_get(root, "added_tokens")));
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
    if (config) DK_TRY(read_config(&r, config));
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
