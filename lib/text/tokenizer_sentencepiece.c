/* A tokenizer from a SentencePiece model, and from the files beside it, which say what stands around a text. */
#include "text/json_reader.h"
#include "text/spm_proto.h"

#include "base/notes.h"

typedef enum { AS_MODEL, AS_LLAMA, AS_CODE_LLAMA, AS_OTHER } marking; /* who says where marks stand */
typedef struct custom { /* what a class of transformers puts around a text; its ids are those of the file */
    const char *name;
    int32_t bos, eos;
    marking marks;
} custom;
static const custom customs[] = {{"LlamaTokenizer", 1, 0, AS_LLAMA},
                                 {"LlamaTokenizerFast", 1, 0, AS_LLAMA},
                                 {"CodeLlamaTokenizer", 1, 0, AS_CODE_LLAMA},
                                 {"CodeLlamaTokenizerFast", 1, 0, AS_CODE_LLAMA},
                                 {"GemmaTokenizer", 1, 0, AS_OTHER},
                                 {"GemmaTokenizerFast", 1, 0, AS_OTHER},
                                 {"T5Tokenizer", 0, 1, AS_OTHER},
                                 {"T5TokenizerFast", 0, 1, AS_OTHER},
                                 {"MT5Tokenizer", 0, 1, AS_OTHER},
                                 {"MT5TokenizerFast", 0, 1, AS_OTHER}};

static int32_t refuse(const char *name, const char *what, const char *why, dk_error *err)
{
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: %s is not supported: %s; use a tokenizer.json", name, what, why);
}

static int32_t check(const dk_spm_model *m, const char *name, dk_error *err)
{
    if (m->type == DK_SPM_WORD || m->type == DK_SPM_CHAR)
        return refuse(name, m->type == DK_SPM_WORD ? "model_type WORD" : "model_type CHAR",
                      "models that write text are trained with UNIGRAM or BPE", err);
    if (m->type != DK_SPM_UNIGRAM && m->type != DK_SPM_BPE)
        return dk_fail(err, DK_E_FORMAT, "%s: model_type %lld is unknown, must be 1 (UNIGRAM) or 2 (BPE)", name,
                       (long long)m->type);
    if (m->suffix) return refuse(name, "treat_whitespace_as_suffix", "spaces belong to the word behind them", err);
    if (!m->escape) return refuse(name, "escape_whitespaces false", "spaces become U+2581", err);
    if (m->denormal.size)
        return refuse(name, "a denormalizer_spec with rules", "text comes back as the tokens have it", err);
    return DK_OK;
}

/* Only a piece of the right type stands for it. */
static int64_t find_name(const dk_spm_model *m, int32_t which)
{
    for (int64_t id = 0; id < m->count; id++)
        if (m->pieces[id].size == m->names[which].size && m->pieces[id].size &&
            !memcmp(m->pieces[id].data, m->names[which].data, m->pieces[id].size))
            return m->types[id] == (which == DK_SPM_UNK ? DK_TOKEN_UNKNOWN : DK_TOKEN_CONTROL) ? id : -1;
    return -1;
}

static int32_t find_unknown(const dk_spm_model *m, const char *name, int64_t *out, dk_error *err)
{
    *out = -1;
    for (int64_t id = 0; id < m->count; id++) {
        if (m->types[id] != DK_TOKEN_UNKNOWN) continue;
        if (*out >= 0)
            return dk_fail(err, DK_E_FORMAT, "%s: pieces %lld and %lld are both of type UNKNOWN", name, (long long)*out,
                           (long long)id);
        *out = id;
    }
    if (*out >= 0) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, "%s: has no piece of type UNKNOWN", name);
}

/* ---- what stands around a text ---- */
/* Llama's classes know no charsmap, and leave spaces as they are. */
static void drop_rules(const dk_document *config, dk_vocabulary *v, dk_strbuf *notes)
{
    if (v->charsmap.size || v->remove_extra_whitespaces)
        dk_note(notes, "%s: its tokenizer_class does not apply the model's %s", dk_document_name(config),
                v->charsmap.size ? "charsmap" : "remove_extra_whitespaces");
    v->charsmap.size = 0;
    v->remove_extra_whitespaces = 0;
}

/* Where marks stand, as transformers 5 reads `legacy`: models were trained both ways. */
static int32_t read_marks(const dk_document *config, marking marks, dk_vocabulary *v, dk_strbuf *notes, dk_error *err)
{
    const dk_node *root = config ? dk_document_root(config) : NULL;
    int32_t legacy, prefix;
    int32_t rc = dk_node_bool(config, root, "legacy", marks == AS_MODEL, &legacy, err);
    if (!rc) rc = dk_node_bool(config, root, "add_prefix_space", 1, &prefix, err);
    if (rc) return rc;
    if (marks == AS_MODEL) {
        if (v->add_space_prefix && !legacy) v->add_space_prefix = DK_MARK_FIRST;
        return DK_OK;
    }
    if (marks != AS_LLAMA && dk_node_get(root, "legacy"))
        dk_note(notes, "%s: legacy is not used, as its tokenizer_class does not", dk_document_name(config));
    if (marks == AS_OTHER || v->kind != DK_VOCABULARY_SPM) return DK_OK;
    drop_rules(config, v, notes);
    v->add_space_prefix = !prefix ? DK_MARK_NEVER : legacy && marks == AS_LLAMA ? DK_MARK_MISSING : DK_MARK_FIRST;
    return DK_OK;
}

static int32_t read_ends(const dk_document *config, const char *name, dk_vocabulary *v, dk_strbuf *notes, dk_error *err)
{
    const dk_node *root = config ? dk_document_root(config) : NULL;
    const dk_node *type = dk_node_get(root, "tokenizer_class");
    const custom *found = NULL;
    if (type && type->type == DK_NODE_TEXT) {
        for (size_t i = 0; i < sizeof customs / sizeof *customs; i++)
            if (!strcmp(customs[i].name, type->text)) found = &customs[i];
        if (!found)
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: tokenizer_class %.60s has rules of its own beside tokenizer.model; supported without a "
                           "tokenizer.json: Llama, CodeLlama, Gemma, T5, MT5 (its save_pretrained writes one)",
                           dk_document_name(config), type->text);
    } else {
        dk_note(notes,
                "%s: nothing beside it says what stands around a text (tokenizer_class, add_bos_token, "
                "add_eos_token of tokenizer_config.json): nothing is put there",
                name);
    }
    int32_t rc = dk_node_bool(config, root, "add_bos_token", found && found->bos, &v->add_bos, err);
    if (!rc) rc = dk_node_bool(config, root, "add_eos_token", found && found->eos, &v->add_eos, err);
    return rc ? rc : read_marks(config, found ? found->marks : AS_MODEL, v, notes, err);
}

static int32_t fill(const dk_spm_model *m, const char *name, dk_vocabulary *v, dk_error *err)
{
    dk_vocabulary_init(v);
    v->kind = m->type == DK_SPM_BPE ? DK_VOCABULARY_SPM : DK_VOCABULARY_UNIGRAM;
    v->tokens = m->pieces;
    v->count = m->count;
    v->scores = m->scores;
    v->types = m->types;
    v->bos = find_name(m, DK_SPM_BOS);
    v->eos = find_name(m, DK_SPM_EOS);
    v->pad = find_name(m, DK_SPM_PAD);
    v->add_space_prefix = m->prefix != 0;
    v->remove_extra_whitespaces = m->merge_spaces != 0;
    v->byte_fallback = m->byte_fallback != 0;
    v->charsmap = m->charsmap;
    v->own_rules = 1;
    return find_unknown(m, name, &v->unk, err);
}

static int32_t note_unused(const dk_spm_model *m, const char *name, dk_strbuf *notes, dk_error *err)
{
    static const char surface[] = " \xe2\x81\x87 ";
    if (m->unused.size) dk_note(notes, "%s: not used: %s", name, m->unused.data);
    if (m->unk_surface.size &&
        (m->unk_surface.size != sizeof surface - 1 || memcmp(m->unk_surface.data, surface, sizeof surface - 1) != 0))
        dk_note(notes, "%s: unk_surface is not used: an unknown token comes back as its own text", name);
    if (m->charsmap.size)
        dk_note(notes,
                "%s: its charsmap is applied as SentencePiece does it; a tokenizer.json made of it maps letters "
                "with marks by grapheme, so that rare text gets other ids there",
                name);
    return dk_strbuf_check(notes, err);
}

static int32_t build(dk_tokenizer *tok, const char *name, dk_slice bytes, const dk_tokenizer_documents *from,
                     dk_error *err)
{
    int32_t rc;
    dk_spm_model model = {0};
    dk_vocabulary v;
    dk_json_reader r = {.tok = tok, .doc = from->json, .err = err};
    DK_TRY(dk_spm_read(tok->host, name, bytes.data, bytes.size, &model, err));
    DK_TRY(check(&model, name, err));
    DK_TRY(fill(&model, name, &v, err));
    DK_TRY(read_ends(from->config, name, &v, &tok->notes, err));
    if ((rc = dk_vocabulary_build(tok, &v, err))) {
        dk_error_context(err, "%s", name);
        goto out;
    }
    DK_TRY(note_unused(&model, name, &tok->notes, err));
    DK_TRY(dk_read_added(&r, NULL));
    DK_TRY(dk_read_tokenizer_config(&r, from));
    rc = dk_tokenizer_seal(tok, err);
out:
    dk_spm_free(&model);
    return rc;
}

int32_t dk_tokenizer_build_model(dk_host *host, const char *name, dk_slice bytes, const dk_tokenizer_documents *beside,
                                 dk_tokenizer **out, dk_error *err)
{
    int32_t rc;
    dk_tokenizer *tok = NULL;
    dk_document *empty = NULL;
    dk_tokenizer_documents from = *beside;
    DK_TRY(dk_tokenizer_new(host, &tok, err));
    DK_TRY(dk_json_parse(host, "{}", 2, name, &empty, err)); /* what messages name in the place of a tokenizer.json */
    from.json = empty;
    DK_TRY(build(tok, name, bytes, &from, err));
    *out = tok;
    tok = NULL;
out:
    dk_tokenizer_release(tok);
    dk_document_free(empty);
    return rc;
}

int32_t dk_tokenizer_from_model(dk_host *host, const char *name, const char *bytes, size_t size, dk_tokenizer **out,
                                dk_error *err)
{
    const dk_tokenizer_documents beside = {0};
    dk_tokenizer *tok;
    int32_t rc = dk_tokenizer_build_model(host, name, (dk_slice){bytes, size}, &beside, &tok, err);
    if (rc) return rc;
    dk_text_file *kept = &tok->files[DK_TOKENIZER_SPM];
    kept->size = size;
    if (!(kept->data = dk_strndup(host, bytes, size))) rc = dk_fail_nomem(err, size);
    if (!rc) dk_notes_log(&tok->notes, host, "tokenizer");
    if (rc) dk_tokenizer_release(tok);
    else *out = tok;
    return rc;
}
