/* A tokenizer from tokenizer.json and the files beside it: the parts in order, and the bytes kept for saving. */
#include "text/json_reader.h"

#include "base/file.h"
#include "base/notes.h"

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

static int32_t build(dk_host *host, const dk_tokenizer_documents *from, dk_tokenizer **out, dk_error *err)
{
    dk_json_reader r = {.doc = from->json, .err = err};
    int32_t rc = dk_tokenizer_new(host, &r.tok, err);
    if (rc) return rc;
    DK_TRY(read_parts(&r, dk_document_root(from->json)));
    r.tok->unk = r.tok->bpe.unk;
    DK_TRY(dk_read_tokenizer_config(&r, from));
    rc = dk_tokenizer_seal(r.tok, err);
out:
    if (rc) dk_tokenizer_release(r.tok);
    else *out = r.tok;
    return rc;
}

static int32_t keep_document(dk_tokenizer *tok, const dk_document *doc, dk_text_file *out, dk_error *err)
{
    dk_strbuf text;
    dk_strbuf_init(&text, tok->host);
    dk_node_write_json(dk_document_root(doc), &text);
    int32_t rc = dk_strbuf_check(&text, err);
    if (!rc) out->data = dk_strndup(tok->host, text.data, text.size);
    if (!rc && !out->data) rc = dk_fail_nomem(err, text.size);
    out->size = text.size;
    dk_strbuf_free(&text);
    return rc;
}

int32_t dk_tokenizer_from_json(dk_host *host, const dk_document *json, const dk_document *config, dk_tokenizer **out,
                               dk_error *err)
{
    dk_tokenizer *tok;
    const dk_tokenizer_documents from = {.json = json, .config = config};
    int32_t rc = build(host, &from, &tok, err);
    if (rc) return rc;
    rc = keep_document(tok, json, &tok->files[DK_TOKENIZER_JSON], err);
    if (!rc && config) rc = keep_document(tok, config, &tok->files[DK_TOKENIZER_CONFIG], err);
    if (!rc) dk_notes_log(&tok->notes, host, "tokenizer");
    if (rc) dk_tokenizer_release(tok);
    else *out = tok;
    return rc;
}

/* ---- a folder ---- */
static int32_t find_file(dk_host *host, const char *folder, const char *name, char **path, int32_t *kind, dk_error *err)
{
    *path = dk_path_join(host, folder, name);
    if (!*path) return dk_fail_nomem(err, strlen(folder) + strlen(name) + 2);
    *kind = dk_path_exists(*path);
    return DK_OK;
}

static void skip_mark(dk_text_file *file)
{
    if (file->size < 3 || memcmp(file->data, "\xef\xbb\xbf", 3) != 0) return;
    file->size -= 3;
    memmove(file->data, file->data + 3, file->size + 1);
}

/* Only a tokenizer.json must be there, or a tokenizer.model in its place. */
static int32_t read_file(dk_host *host, const char *folder, dk_tokenizer_file which, dk_text_file *out,
                         dk_document **doc, dk_error *err)
{
    int32_t rc, kind = 0;
    char *path = NULL;
    DK_TRY(find_file(host, folder, dk_tokenizer_file_name(which), &path, &kind, err));
    if (which != DK_TOKENIZER_JSON && kind != 1) goto out;
    DK_TRY(dk_file_read(host, path, FILE_LIMIT, &out->data, &out->size, err));
    if (which == DK_TOKENIZER_SPM) goto out;
    if (which != DK_TOKENIZER_JINJA && which != DK_TOKENIZER_TOOLS)
        DK_TRY(dk_json_parse(host, out->data, out->size, path, doc, err));
    skip_mark(out);
out:
    dk_free(host, path);
    return rc;
}

/* Templates for occasions that nobody here knows. */
static int32_t add_unread(void *names, const char *name, int32_t is_dir, dk_error *err)
{
    dk_strbuf *out = names;
    (void)is_dir;
    if (strcmp(name, "tool_use.jinja") != 0) dk_strbuf_printf(out, "%s%.60s", out->size ? ", " : "", name);
    return dk_strbuf_check(out, err);
}

static int32_t list_unread(dk_host *host, const char *folder, dk_strbuf *names, dk_error *err)
{
    char *path = NULL;
    int32_t kind = 0, rc = find_file(host, folder, "additional_chat_templates", &path, &kind, err);
    if (!rc && kind == 2) rc = dk_dir_list(host, path, add_unread, names, err);
    dk_free(host, path);
    return rc;
}

static int32_t has_file(dk_host *host, const char *folder, dk_tokenizer_file which, int32_t *yes, dk_error *err)
{
    char *path = NULL;
    int32_t kind = 0, rc = find_file(host, folder, dk_tokenizer_file_name(which), &path, &kind, err);
    *yes = kind == 1;
    dk_free(host, path);
    return rc;
}

static int32_t build_spm(dk_host *host, const char *folder, const dk_text_file *file,
                         const dk_tokenizer_documents *from, dk_tokenizer **out, dk_error *err)
{
    char *path = dk_path_join(host, folder, dk_tokenizer_file_name(DK_TOKENIZER_SPM));
    if (!path) return dk_fail_nomem(err, strlen(folder) + 17);
    int32_t rc = dk_tokenizer_build_model(host, path, (dk_slice){file->data, file->size}, from, out, err);
    dk_free(host, path);
    return rc;
}

int32_t dk_tokenizer_open(dk_host *host, const char *folder, dk_tokenizer **out, dk_error *err)
{
    int32_t rc, json, spm;
    dk_text_file files[DK_TOKENIZER_FILES] = {{0}};
    dk_document *docs[DK_TOKENIZER_FILES] = {0};
    dk_tokenizer_documents from = {0};
    dk_tokenizer *tok = NULL;
    dk_strbuf unread;
    dk_strbuf_init(&unread, host);
    DK_TRY(has_file(host, folder, DK_TOKENIZER_JSON, &json, err));
    DK_TRY(has_file(host, folder, DK_TOKENIZER_SPM, &spm, err));
    spm = spm && !json;
    for (int32_t i = 0; i < DK_TOKENIZER_FILES; i++)
        if (i != (spm ? DK_TOKENIZER_JSON : DK_TOKENIZER_SPM))
            DK_TRY(read_file(host, folder, (dk_tokenizer_file)i, &files[i], &docs[i], err));
    DK_TRY(list_unread(host, folder, &unread, err));
    from.json = docs[DK_TOKENIZER_JSON];
    from.config = docs[DK_TOKENIZER_CONFIG];
    from.map = docs[DK_TOKENIZER_MAP];
    from.added = docs[DK_TOKENIZER_ADDED];
    from.jinja = files[DK_TOKENIZER_JINJA].data;
    from.tools = files[DK_TOKENIZER_TOOLS].data;
    from.old_template = docs[DK_TOKENIZER_OLD_TEMPLATE];
    from.unread = unread.size ? unread.data : NULL;
    if (spm) DK_TRY(build_spm(host, folder, &files[DK_TOKENIZER_SPM], &from, &tok, err));
    else DK_TRY(build(host, &from, &tok, err));
    memcpy(tok->files, files, sizeof files);
    memset(files, 0, sizeof files);
    dk_notes_log(&tok->notes, host, "tokenizer");
    *out = tok;
out:
    dk_strbuf_free(&unread);
    for (int32_t i = 0; i < DK_TOKENIZER_FILES; i++) {
        dk_document_free(docs[i]);
        dk_free(host, files[i].data);
    }
    return rc;
}
