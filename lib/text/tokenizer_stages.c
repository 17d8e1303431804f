/* normalizer, pre_tokenizer, decoder and post_processor of a tokenizer.json. */
#include "text/codepoint.h"
#include "text/json_reader.h"

#define NORMALIZERS                                                                                                   \
    "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, ByteLevel, Precompiled, Nmt, " \
    "BertNormalizer"
#define PRE_TOKENIZERS                                                                                              \
    "Sequence, Split, ByteLevel, Metaspace, Whitespace, WhitespaceSplit, Digits, Punctuation, CharDelimiterSplit, " \
    "BertPreTokenizer, FixedLength"
#define DECODERS "Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace, BPEDecoder"
#define POST_PROCESSORS "Sequence, ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing"
#define BEHAVIORS "Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous"

static int32_t read_text(dk_json_reader *r, const dk_node *node, const char *key, const char *what, const dk_node **out)
{
    *out = dk_node_get(node, key);
    return *out && (*out)->type == DK_NODE_TEXT ? DK_OK : dk_malformed(r, what, "text");
}

static int32_t add_plain(dk_json_reader *r, dk_steps *steps, dk_step_kind kind)
{
    return dk_steps_add(steps, kind, r->err) ? DK_OK : DK_E_UNSUPPORTED;
}

static int32_t add_text(dk_json_reader *r, dk_steps *steps, dk_step_kind kind, const dk_node *text, dk_step **out)
{
    dk_step *step = dk_steps_add(steps, kind, r->err);
    if (!step) return DK_E_UNSUPPORTED;
    if (out) *out = step;
    return dk_step_set_text(r->tok->host, step, text->text, text->size, r->err);
}

/* Runs read over the members of a Sequence. */
static int32_t sequence(dk_json_reader *r, const dk_node *node, const char *key,
                        int32_t (*read)(dk_json_reader *, const dk_node *))
{
    const dk_node *list = dk_node_get(node, key);
    if (!list || list->type != DK_NODE_LIST) return dk_malformed(r, key, "a list");
    for (size_t i = 0; i < list->size; i++) {
        int32_t rc = read(r, list->items[i]);
        if (rc) return rc;
    }
    return DK_OK;
}

/* {"String": text} or {"Regex": text} */
static int32_t read_pattern(dk_json_reader *r, const dk_node *node, dk_matcher *out)
{
    const dk_node *pattern = dk_node_get(node, "pattern");
    const dk_node *text = dk_node_get(pattern, "String"), *regex = dk_node_get(pattern, "Regex");
    int32_t rc;
    if (pattern && pattern->type == DK_NODE_TEXT) text = pattern;
    if (text && text->type == DK_NODE_TEXT) {
        rc = dk_matcher_set_text(r->tok->host, out, text->text, text->size, r->err);
    } else if (regex && regex->type == DK_NODE_TEXT) {
        out->kind = DK_MATCH_REGEX;
        out->size = regex->size; /* the pattern is kept for writing */
        if (!(out->text = dk_strndup(r->tok->host, regex->text, regex->size))) return dk_fail_nomem(r->err, out->size);
        rc = dk_regex_compile(r->tok->host, regex->text, regex->size, &out->regex, r->err);
    } else {
        return dk_malformed(r, "pattern", "{\"String\": text} or {\"Regex\": text}");
    }
    if (rc) dk_error_context(r->err, "%s", dk_document_name(r->doc));
    return rc;
}

static int32_t read_replace(dk_json_reader *r, dk_steps *steps, const dk_node *node)
{
    dk_step *step;
    const dk_node *content;
    int32_t rc = read_text(r, node, "content", "content of Replace", &content);
    if (!rc) rc = add_text(r, steps, DK_STEP_REPLACE, content, &step);
    return rc ? rc : read_pattern(r, node, &step->matcher);
}

/* ---- normalizer ---- */
static int32_t read_strip_normalizer(dk_json_reader *r, const dk_node *node)
{
    int32_t left, right;
    int32_t rc = dk_node_bool(r->doc, node, "strip_left", 1, &left, r->err);
    if (!rc) rc = dk_node_bool(r->doc, node, "strip_right", 1, &right, r->err);
    if (rc) return rc;
    dk_step *step = dk_steps_add(&r->tok->normalizer, DK_STEP_STRIP, r->err);
    if (!step) return DK_E_UNSUPPORTED;
    step->left = left;
    step->right = right;
    return DK_OK;
}

static int32_t read_precompiled(dk_json_reader *r, const dk_node *node)
{
    const dk_node *text;
    int32_t rc = read_text(r, node, "precompiled_charsmap", "precompiled_charsmap of Precompiled", &text);
    if (rc) return rc;
    dk_step *step = dk_steps_add(&r->tok->normalizer, DK_STEP_CHARSMAP, r->err);
    if (!step) return DK_E_UNSUPPORTED;
    rc = dk_charsmap_from_base64(r->tok->host, text->text, text->size, &step->charsmap, r->err);
    if (rc) dk_error_context(r->err, "%s", dk_document_name(r->doc));
    return rc;
}

/* strip_accents null goes with lowercase. */
static int32_t read_bert_normalizer(dk_json_reader *r, const dk_node *node)
{
    int32_t rc, clean, ideographs, accents, lowercase;
    dk_steps *steps = &r->tok->normalizer;
    DK_TRY(dk_node_bool(r->doc, node, "clean_text", 1, &clean, r->err));
    DK_TRY(dk_node_bool(r->doc, node, "handle_chinese_chars", 1, &ideographs, r->err));
    DK_TRY(dk_node_bool(r->doc, node, "lowercase", 1, &lowercase, r->err));
    DK_TRY(dk_node_bool(r->doc, node, "strip_accents", lowercase, &accents, r->err));
    if (clean) DK_TRY(add_plain(r, steps, DK_STEP_CLEAN));
    if (ideographs) DK_TRY(add_plain(r, steps, DK_STEP_SPACE_IDEOGRAPHS));
    if (accents) DK_TRY(add_plain(r, steps, DK_STEP_NFD));
    if (accents) DK_TRY(add_plain(r, steps, DK_STEP_STRIP_NONSPACING));
    if (lowercase) DK_TRY(add_plain(r, steps, DK_STEP_LOWERCASE));
out:
    return rc;
}

int32_t dk_read_normalizer(dk_json_reader *r, const dk_node *node)
{
    static const struct {
        const char *name;
        dk_step_kind kind;
    } plain[] = {{"NFC", DK_STEP_NFC},
                 {"NFD", DK_STEP_NFD},
                 {"NFKC", DK_STEP_NFKC},
                 {"NFKD", DK_STEP_NFKD},
                 {"Lowercase", DK_STEP_LOWERCASE},
                 {"StripAccents", DK_STEP_STRIP_ACCENTS},
                 {"Nmt", DK_STEP_NMT},
                 {"ByteLevel", DK_STEP_BYTES}};
    const char *type;
    const dk_node *text;
    dk_steps *steps = &r->tok->normalizer;
    if (!node || node->type == DK_NODE_NULL) return DK_OK;
    int32_t rc = dk_read_type(r, node, "normalizer", &type);
    if (rc) return rc;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (!strcmp(type, plain[i].name)) return add_plain(r, steps, plain[i].kind);
    if (!strcmp(type, "Sequence")) return sequence(r, node, "normalizers", dk_read_normalizer);
    if (!strcmp(type, "Strip")) return read_strip_normalizer(r, node);
    if (!strcmp(type, "Precompiled")) return read_precompiled(r, node);
    if (!strcmp(type, "BertNormalizer")) return read_bert_normalizer(r, node);
    if (!strcmp(type, "Replace")) return read_replace(r, steps, node);
    if (strcmp(type, "Prepend") != 0) return dk_unsupported(r, "normalizer", type, NORMALIZERS);
    rc = read_text(r, node, "prepend", "prepend of Prepend", &text);
    return rc ? rc : add_text(r, steps, DK_STEP_PREPEND, text, NULL);
}

/* ---- pre-tokenizer ---- */
static int32_t read_behavior(dk_json_reader *r, const dk_node *node, const char *fallback, dk_split_behavior *out)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name;
    int32_t rc = dk_node_text(r->doc, node, "behavior", fallback, &name, r->err);
    if (rc) return rc;
    for (int32_t i = 0; i < 5; i++)
        if (!strcmp(name, names[i])) return *out = (dk_split_behavior)i, DK_OK;
    return dk_unsupported(r, "behavior", name, BEHAVIORS);
}

static int32_t read_split(dk_json_reader *r, const dk_node *node)
{
    dk_step *step = dk_steps_add(&r->tok->pre, DK_STEP_SPLIT, r->err);
    if (!step) return DK_E_UNSUPPORTED;
    int32_t rc = read_pattern(r, node, &step->matcher);
    if (!rc) rc = dk_node_bool(r->doc, node, "invert", 0, &step->matcher.invert, r->err);
    return rc ? rc : read_behavior(r, node, "Removed", &step->behavior);
}

static int32_t add_class(dk_json_reader *r, dk_match_kind kind, dk_split_behavior behavior)
{
    dk_step *step = dk_steps_add(&r->tok->pre, DK_STEP_SPLIT, r->err);
    if (!step) return DK_E_UNSUPPORTED;
    step->matcher.kind = kind;
    step->behavior = behavior;
    return DK_OK;
}

static int32_t read_byte_level(dk_json_reader *r, const dk_node *node)
{
    int32_t prefix, split;
    int32_t rc = dk_node_bool(r->doc, node, "add_prefix_space", 1, &prefix, r->err);
    if (!rc) rc = dk_node_bool(r->doc, node, "use_regex", 1, &split, r->err);
    if (!rc && prefix) rc = add_plain(r, &r->tok->pre, DK_STEP_SPACE_PREFIX);
    if (!rc && split)
        rc = dk_steps_add_split(r->tok->host, &r->tok->pre, DK_GPT2_PATTERN, DK_SPLIT_ISOLATED, 0, r->err);
    return rc ? rc : add_plain(r, &r->tok->pre, DK_STEP_BYTES);
}

/* The replacement and the scheme of a Metaspace, which old files spell add_prefix_space. */
static int32_t read_metaspace_step(dk_json_reader *r, dk_steps *steps, const dk_node *node, dk_step **out)
{
    static const char *const names[] = {"never", "first", "always"};
    int32_t prefix, found = -1;
    const char *scheme;
    const dk_node *mark;
    int32_t rc = read_text(r, node, "replacement", "replacement of Metaspace", &mark);
    if (!rc) rc = dk_node_bool(r->doc, node, "add_prefix_space", 1, &prefix, r->err);
    if (!rc) rc = dk_node_text(r->doc, node, "prepend_scheme", prefix ? "always" : "never", &scheme, r->err);
    if (rc) return rc;
    for (int32_t i = 0; i < 3; i++)
        if (!strcmp(scheme, names[i])) found = i;
    if (found < 0) return dk_unsupported(r, "prepend_scheme", scheme, "first, never, always");
    if (!prefix && found) return dk_malformed(r, "prepend_scheme of a Metaspace without add_prefix_space", "\"never\"");
    if (!mark->size || dk_codepoint_size(mark->text) != mark->size)
        return dk_malformed(r, "replacement of Metaspace", "one character");
    rc = add_text(r, steps, DK_STEP_METASPACE, mark, out);
    if (!rc) (*out)->scheme = (dk_prefix_scheme)found;
    return rc;
}

static int32_t read_metaspace(dk_json_reader *r, const dk_node *node)
{
    int32_t split;
    dk_step *step;
    int32_t rc = read_metaspace_step(r, &r->tok->pre, node, &step);
    if (!rc) rc = dk_node_bool(r->doc, node, "split", 1, &split, r->err);
    if (rc || !split) return rc;
    dk_step *cut = dk_steps_add(&r->tok->pre, DK_STEP_SPLIT, r->err);
    if (!cut) return DK_E_UNSUPPORTED;
    cut->behavior = DK_SPLIT_NEXT;
    return dk_matcher_set_text(r->tok->host, &cut->matcher, step->text, step->size, r->err);
}

static int32_t read_delimiter(dk_json_reader *r, const dk_node *node)
{
    const dk_node *text;
    int32_t rc = read_text(r, node, "delimiter", "delimiter of CharDelimiterSplit", &text);
    if (rc) return rc;
    dk_step *step = dk_steps_add(&r->tok->pre, DK_STEP_SPLIT, r->err);
    if (!step) return DK_E_UNSUPPORTED;
    step->behavior = DK_SPLIT_REMOVED;
    return dk_matcher_set_text(r->tok->host, &step->matcher, text->text, text->size, r->err);
}

static int32_t read_digits(dk_json_reader *r, const dk_node *node)
{
    int32_t single;
    int32_t rc = dk_node_bool(r->doc, node, "individual_digits", 0, &single, r->err);
    return rc ? rc : add_class(r, DK_MATCH_NUMBER, single ? DK_SPLIT_ISOLATED : DK_SPLIT_CONTIGUOUS);
}

static int32_t read_fixed_length(dk_json_reader *r, const dk_node *node)
{
    int64_t length;
    int32_t rc = dk_node_i64(r->doc, node, "length", 1, INT32_MAX, 5, &length, r->err);
    if (rc) return rc;
    dk_step *step = dk_steps_add(&r->tok->pre, DK_STEP_FIXED_LENGTH, r->err);
    if (!step) return DK_E_UNSUPPORTED;
    step->left = length;
    return DK_OK;
}

static int32_t read_bert(dk_json_reader *r)
{
    int32_t rc = add_class(r, DK_MATCH_SPACE, DK_SPLIT_REMOVED);
    return rc ? rc : add_class(r, DK_MATCH_PUNCTUATION, DK_SPLIT_ISOLATED);
}

int32_t dk_read_pre_tokenizer(dk_json_reader *r, const dk_node *node)
{
    const char *type;
    dk_split_behavior behavior = DK_SPLIT_REMOVED;
    if (!node || node->type == DK_NODE_NULL) return DK_OK;
    int32_t rc = dk_read_type(r, node, "pre_tokenizer", &type);
    if (rc) return rc;
    if (!strcmp(type, "Sequence")) return sequence(r, node, "pretokenizers", dk_read_pre_tokenizer);
    if (!strcmp(type, "Split")) return read_split(r, node);
    if (!strcmp(type, "ByteLevel")) return read_byte_level(r, node);
    if (!strcmp(type, "Metaspace")) return read_metaspace(r, node);
    if (!strcmp(type, "Digits")) return read_digits(r, node);
    if (!strcmp(type, "CharDelimiterSplit")) return read_delimiter(r, node);
    if (!strcmp(type, "FixedLength")) return read_fixed_length(r, node);
    if (!strcmp(type, "BertPreTokenizer")) return read_bert(r);
    if (!strcmp(type, "WhitespaceSplit")) return add_class(r, DK_MATCH_SPACE, DK_SPLIT_REMOVED);
    if (!strcmp(type, "Whitespace"))
        return dk_steps_add_split(r->tok->host, &r->tok->pre, "[\\w\\u200c\\u200d]+|[^\\w\\u200c\\u200d\\s]+",
                                  DK_SPLIT_REMOVED, 1, r->err);
    if (strcmp(type, "Punctuation") != 0) return dk_unsupported(r, "pre-tokenizer", type, PRE_TOKENIZERS);
    rc = read_behavior(r, node, "Isolated", &behavior);
    return rc ? rc : add_class(r, DK_MATCH_PUNCTUATION, behavior);
}

/* ---- decoder ---- */
static int32_t read_strip_decoder(dk_json_reader *r, const dk_node *node)
{
    int64_t left, right;
    dk_step *step;
    const dk_node *content;
    int32_t rc = read_text(r, node, "content", "content of Strip", &content);
    if (!rc) rc = dk_node_i64(r->doc, node, "start", 0, INT32_MAX, 0, &left, r->err);
    if (!rc) rc = dk_node_i64(r->doc, node, "stop", 0, INT32_MAX, 0, &right, r->err);
    if (!rc && !content->size) rc = dk_malformed(r, "content of Strip", "one character");
    if (!rc) rc = add_text(r, &r->tok->decoder, DK_STEP_STRIP, content, &step);
    if (rc) return rc;
    step->left = left;
    step->right = right;
    return DK_OK;
}

int32_t dk_read_decoder(dk_json_reader *r, const dk_node *node)
{
    const char *type;
    const dk_node *suffix;
    dk_step *step;
    dk_steps *steps = &r->tok->decoder;
    if (!node || node->type == DK_NODE_NULL) return DK_OK;
    int32_t rc = dk_read_type(r, node, "decoder", &type);
    if (rc) return rc;
    if (!strcmp(type, "Sequence")) return sequence(r, node, "decoders", dk_read_decoder);
    if (!strcmp(type, "ByteLevel")) {
        rc = add_plain(r, steps, DK_STEP_LETTERS);
        return rc ? rc : add_plain(r, steps, DK_STEP_FUSE);
    }
    if (!strcmp(type, "ByteFallback")) return add_plain(r, steps, DK_STEP_BYTE_FALLBACK);
    if (!strcmp(type, "Fuse")) return add_plain(r, steps, DK_STEP_FUSE);
    if (!strcmp(type, "Replace")) return read_replace(r, steps, node);
    if (!strcmp(type, "Strip")) return read_strip_decoder(r, node);
    if (!strcmp(type, "Metaspace")) return read_metaspace_step(r, steps, node, &step);
    if (strcmp(type, "BPEDecoder") != 0) return dk_unsupported(r, "decoder", type, DECODERS);
    rc = read_text(r, node, "suffix", "suffix of BPEDecoder", &suffix);
    if (!rc && !suffix->size) rc = dk_malformed(r, "suffix of BPEDecoder", "text that is not empty");
    return rc ? rc : add_text(r, steps, DK_STEP_SUFFIX, suffix, NULL);
}

/* ---- post-processor ---- */
static int32_t put_id(dk_json_reader *r, int32_t **list, int64_t *count, int64_t at, int64_t id)
{
    if (id < 0 || !dk_token_at(&r->tok->bpe.tokens, id))
        return dk_fail(r->err, DK_E_FORMAT, "%s: post_processor adds id %lld, which is no token",
                       dk_document_name(r->doc), (long long)id);
    int32_t *grown = dk_realloc(r->tok->host, *list, (uint64_t)*count + 1, sizeof *grown);
    if (!grown) return dk_fail_nomem(r->err, (uint64_t)(*count + 1) * sizeof *grown);
    memmove(grown + at + 1, grown + at, (size_t)(*count - at) * sizeof *grown);
    grown[at] = (int32_t)id;
    *list = grown;
    ++*count;
    return DK_OK;
}

/* Processors of a Sequence wrap what is there: *front counts the ids that this one has put in front. */
static int32_t put_special(dk_json_reader *r, int32_t behind, int64_t *front, int64_t id)
{
    dk_tokenizer *tok = r->tok;
    if (behind) return put_id(r, &tok->after, &tok->after_count, tok->after_count, id);
    return put_id(r, &tok->before, &tok->before_count, (*front)++, id);
}

static int32_t read_template_special(dk_json_reader *r, const dk_node *specials, const dk_node *item, int32_t behind,
                                     int64_t *front)
{
    const dk_node *name = dk_node_get(item, "id");
    const dk_node *special = name && name->type == DK_NODE_TEXT ? dk_node_get(specials, name->text) : NULL;
    const dk_node *ids = dk_node_get(special, "ids");
    if (!ids || ids->type != DK_NODE_LIST)
        return dk_malformed(r, "a SpecialToken of TemplateProcessing", "listed in special_tokens with ids");
    for (size_t i = 0; i < ids->size; i++) {
        int32_t rc = put_special(r, behind, front, ids->items[i]->type == DK_NODE_INT ? ids->items[i]->i64 : -1);
        if (rc) return rc;
    }
    return DK_OK;
}

static int32_t read_template(dk_json_reader *r, const dk_node *node)
{
    int32_t behind = 0;
    int64_t front = 0;
    const dk_node *single = dk_node_get(node, "single"), *specials = dk_node_get(node, "special_tokens");
    if (!single || single->type != DK_NODE_LIST) return dk_malformed(r, "single of TemplateProcessing", "a list");
    for (size_t i = 0; i < single->size; i++) {
        const dk_node *item = dk_node_get(single->items[i], "SpecialToken");
        if (item) {
            int32_t rc = read_template_special(r, specials, item, behind, &front);
            if (rc) return rc;
        } else if (dk_node_is_text(dk_node_get(dk_node_get(single->items[i], "Sequence"), "id"), "A") && !behind) {
            behind = 1;
        } else {
            return dk_malformed(r, "single of TemplateProcessing", "SpecialToken entries around one Sequence A");
        }
    }
    return behind ? DK_OK
                  : dk_malformed(r, "single of TemplateProcessing", "SpecialToken entries around one Sequence A");
}

/* [CLS] A [SEP], each a pair [text, id] */
static int32_t read_cls_sep(dk_json_reader *r, const dk_node *node)
{
    int64_t front = 0;
    const dk_node *cls = dk_node_at(dk_node_get(node, "cls"), 1), *sep = dk_node_at(dk_node_get(node, "sep"), 1);
    if (!cls || !sep || cls->type != DK_NODE_INT || sep->type != DK_NODE_INT)
        return dk_malformed(r, "cls and sep", "pairs [text, id]");
    int32_t rc = put_special(r, 0, &front, cls->i64);
    return rc ? rc : put_special(r, 1, &front, sep->i64);
}

int32_t dk_read_post_processor(dk_json_reader *r, const dk_node *node)
{
    const char *type;
    if (!node || node->type == DK_NODE_NULL) return DK_OK;
    int32_t rc = dk_read_type(r, node, "post_processor", &type);
    if (rc) return rc;
    if (!strcmp(type, "ByteLevel")) return DK_OK; /* moves offsets, which nobody here asks for */
    if (!strcmp(type, "Sequence")) return sequence(r, node, "processors", dk_read_post_processor);
    if (!strcmp(type, "TemplateProcessing")) return read_template(r, node);
    if (!strcmp(type, "RobertaProcessing") || !strcmp(type, "BertProcessing")) return read_cls_sep(r, node);
    return dk_unsupported(r, "post-processor", type, POST_PROCESSORS);
}
