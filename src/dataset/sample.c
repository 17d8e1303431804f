#include "dataset/sample.h"

#include <string.h>

static int64_t end_token(const dk_tokenizer *tokenizer, const di_options *options)
{
    const char *separator = di_options_text(options, "data.separator");
    int64_t id = separator && *separator ? dk_tokenizer_text_id(tokenizer, separator, strlen(separator)) : -1;
    return id >= 0 && dk_tokenizer_is_special(tokenizer, id) ? id : dk_tokenizer_eos(tokenizer);
}

static void find_chat(di_encoder *encoder, const char *name)
{
    dk_error *problem = &encoder->chat_problem;
    if (strcmp(name, "none") == 0)
        dk_fail(problem, DK_E_OPTION,
                "messages need a chat template, and data.chat_template is none: set it to one of %s", dk_chat_names());
    else if (strcmp(name, "auto") != 0) dk_chat_by_name(name, encoder->tokenizer, &encoder->chat, problem);
    else if (dk_chat_of_tokenizer(encoder->tokenizer, &encoder->chat, problem) == DK_E_NOT_FOUND)
        dk_fail(problem, DK_E_OPTION,
                "messages need a chat template, and the tokenizer has none: set data.chat_template to one of %s",
                dk_chat_names());
    else if (problem->code == DK_E_UNSUPPORTED)
        dk_fail(problem, DK_E_UNSUPPORTED,
                "the tokenizer's own chat template is not one that is known: set data.chat_template to one of %s",
                dk_chat_names());
}

void di_encoder_init(di_encoder *encoder, dk_host *host, const dk_tokenizer *tokenizer, const di_options *options)
{
    memset(encoder, 0, sizeof *encoder);
    encoder->host = host;
    encoder->tokenizer = tokenizer;
    encoder->prompt_loss = di_options_flag(options, "data.prompt_loss");
    encoder->bos = encoder->end = -1;
    if (!tokenizer) return;
    if (dk_tokenizer_adds_bos(tokenizer)) encoder->bos = dk_tokenizer_bos(tokenizer);
    encoder->end = end_token(tokenizer, options);
    find_chat(encoder, di_options_text(options, "data.chat_template"));
}

/* ---- tokens that grow ---- */

void di_encoded_init(di_encoded *encoded, dk_host *host)
{
    memset(encoded, 0, sizeof *encoded);
    encoded->host = host;
}

void di_encoded_clear(di_encoded *encoded)
{
    encoded->count = encoded->document_count = 0;
    encoded->masked = 0;
}

void di_encoded_free(di_encoded *encoded)
{
    dk_free(encoded->host, encoded->ids);
    dk_free(encoded->host, encoded->learn);
    dk_free(encoded->host, encoded->documents);
    dk_free(encoded->host, encoded->scratch);
    memset(encoded, 0, sizeof *encoded);
}

/* Room for `wanted` entries in *block. */
static int32_t reserve(dk_host *host, void **block, int64_t *capacity, int64_t wanted, size_t size, dk_error *err)
{
    int64_t larger = *capacity ? *capacity : 256;
    if (wanted <= *capacity) return DK_OK;
    while (larger < wanted) larger *= 2;
    void *grown = dk_realloc(host, *block, (uint64_t)larger, size);
    if (!grown) return dk_fail_nomem(err, (uint64_t)larger * size);
    *block = grown;
    *capacity = larger;
    return DK_OK;
}

/* Marks the tokens from `first` on. */
static int32_t mark(di_encoded *encoded, int64_t first, int32_t learn, dk_error *err)
{
    void *block = encoded->learn;
    int32_t rc = reserve(encoded->host, &block, &encoded->learn_capacity, encoded->count, 1, err);
    encoded->learn = block;
    if (rc != DK_OK || encoded->count == first) return rc;
    memset(encoded->learn + first, learn != 0, (size_t)(encoded->count - first));
    if (!learn) encoded->masked = 1;
    return DK_OK;
}

int32_t di_encoded_append(di_encoded *encoded, const int32_t *ids, int64_t count, int32_t learn, dk_error *err)
{
    void *block = encoded->ids;
    int32_t rc = reserve(encoded->host, &block, &encoded->capacity, encoded->count + count, sizeof *ids, err);
    encoded->ids = block;
    if (rc != DK_OK || !count) return rc;
    memcpy(encoded->ids + encoded->count, ids, (size_t)count * sizeof *ids);
    encoded->count += count;
    return mark(encoded, encoded->count - count, learn, err);
}

static int32_t append_id(di_encoded *encoded, int64_t id, int32_t learn, dk_error *err)
{
    int32_t one = (int32_t)id;
    return id < 0 ? DK_OK : di_encoded_append(encoded, &one, 1, learn, err);
}

int32_t di_encoded_end(di_encoded *encoded, int64_t number, uint32_t flags, dk_error *err)
{
    void *block = encoded->documents;
    int32_t rc = reserve(encoded->host, &block, &encoded->document_capacity, encoded->document_count + 1,
                         sizeof *encoded->documents, err);
    encoded->documents = block;
    if (rc == DK_OK)
        encoded->documents[encoded->document_count++] = (di_encoded_document){encoded->count, number, flags};
    return rc;
}

/* ---- segments ---- */

static int32_t append_text(const di_encoder *encoder, const char *text, size_t size, di_encoded *out, dk_error *err)
{
    return dk_tokenizer_append(encoder->tokenizer, out->host, text, size, 0, &out->ids, &out->capacity, &out->count,
                               err);
}

/* The tokens of text[0, size) where text[-before, 0) came before it: see the head of sample.h. */
static int32_t append_segment(const di_encoder *encoder, const char *text, size_t size, size_t before, int32_t learn,
                              di_encoded *out, dk_error *err)
{
    int64_t first = out->count, known = 0;
    int32_t rc;
    if (!size) return DK_OK;
    if (before) {
        DK_TRY(dk_tokenizer_append(encoder->tokenizer, out->host, text - before, before, 0, &out->scratch,
                                   &out->scratch_capacity, &known, err));
        DK_TRY(append_text(encoder, text - before, before + size, out, err));
        int64_t both = out->count - first;
        int32_t *tokens = out->ids + first;
        if (known < both && memcmp(tokens, out->scratch, (size_t)known * sizeof *tokens) == 0) {
            memmove(tokens, tokens + known, (size_t)(both - known) * sizeof *tokens);
            out->count -= known;
            return mark(out, first, learn, err);
        }
        out->count = first;
    }
    uint32_t flags = before ? dk_tokenizer_continue_flags(encoder->tokenizer, out->ids, out->count) : 0;
    DK_TRY(dk_tokenizer_append(encoder->tokenizer, out->host, text, size, flags, &out->ids, &out->capacity, &out->count,
                               err));
    rc = mark(out, first, learn, err);
out:
    return rc;
}

int32_t di_encode_text(const di_encoder *encoder, const char *text, size_t size, size_t before, int32_t piece,
                       di_encoded *out, dk_error *err)
{
    int32_t rc;
    if (piece & DI_PIECE_FIRST) DK_TRY(append_id(out, encoder->bos, 1, err));
    DK_TRY(append_segment(encoder, text, size, before, 1, out, err));
    if (piece & DI_PIECE_LAST) DK_TRY(append_id(out, encoder->end, 1, err));
out:
    return rc;
}

/* ---- JSON ---- */

static int32_t need_text(const dk_node *node, const char *field, const char *place, dk_error *err)
{
    if (node && node->type == DK_NODE_TEXT) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, node ? "%s: \"%s\" must be text" : "%s: \"%s\" is missing", place, field);
}

static int32_t encode_prompt(const di_encoder *encoder, const dk_node *prompt, const dk_node *completion,
                             di_encoded *out, dk_error *err)
{
    dk_strbuf both;
    int32_t rc;
    dk_strbuf_init(&both, encoder->host);
    dk_strbuf_append(&both, prompt->text, prompt->size);
    dk_strbuf_append(&both, completion->text, completion->size);
    DK_TRY(dk_strbuf_check(&both, err));
    DK_TRY(append_id(out, encoder->bos, encoder->prompt_loss, err));
    DK_TRY(append_segment(encoder, both.data, prompt->size, 0, encoder->prompt_loss, out, err));
    DK_TRY(append_segment(encoder, both.data + prompt->size, completion->size, prompt->size, 1, out, err));
    DK_TRY(append_id(out, encoder->end, 1, err));
out:
    dk_strbuf_free(&both);
    return rc;
}

static int32_t read_message(const dk_node *node, size_t index, const char *place, dk_chat_message *out, dk_error *err)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const dk_node *role = dk_node_get(node, "role"), *content = dk_node_get(node, "content");
    int32_t known = 0;
    if (!node || node->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_FORMAT, "%s: message %zu must be an object with role and content", place, index + 1);
    if (!role || role->type != DK_NODE_TEXT || !content || content->type != DK_NODE_TEXT)
        return dk_fail(err, DK_E_FORMAT, "%s: message %zu needs \"role\" and \"content\", both text", place, index + 1);
    for (int i = 0; i < 3; i++) known |= dk_node_is_text(role, roles[i]);
    if (!known)
        return dk_fail(err, DK_E_FORMAT, "%s: message %zu has the role \"%.32s\"; known are system, user and assistant",
                       place, index + 1, role->text);
    *out = (dk_chat_message){{role->text, role->size}, {content->text, content->size}};
    return DK_OK;
}

static int32_t encode_chat(const di_encoder *encoder, const dk_chat *chat, di_encoded *out, dk_error *err)
{
    const char *text = chat->text.data;
    int32_t rc = DK_OK;
    size_t before = 0;
    for (int64_t i = 0; i < chat->count; i++) {
        const dk_chat_segment *segment = &chat->segments[i];
        DK_TRY(
            append_segment(encoder, text, segment->size, before, segment->has_loss || encoder->prompt_loss, out, err));
        text += segment->size;
        before = segment->size;
    }
out:
    return rc;
}

static int32_t encode_messages(const di_encoder *encoder, const dk_node *list, const char *place, di_encoded *out,
                               dk_error *err)
{
    dk_chat_message *messages = NULL;
    dk_chat chat = {0};
    int32_t rc;
    if (list->type != DK_NODE_LIST || !list->size)
        return dk_fail(err, DK_E_FORMAT, "%s: \"messages\" must be a list of at least one message", place);
    if (encoder->chat_problem.code)
        return dk_fail(err, encoder->chat_problem.code, "%s: %s", place, encoder->chat_problem.message);
    DK_TRY(dk_new(encoder->host, list->size, &messages, err));
    for (size_t i = 0; i < list->size; i++) DK_TRY(read_message(list->items[i], i, place, &messages[i], err));
    rc = dk_chat_render(encoder->host, &encoder->chat, messages, (int64_t)list->size, &chat, err);
    if (rc != DK_OK) {
        dk_error_context(err, "%s", place);
        goto out;
    }
    DK_TRY(encode_chat(encoder, &chat, out, err));
out:
    dk_chat_free(&chat);
    dk_free(encoder->host, messages);
    return rc;
}

static int32_t encode_object(const di_encoder *encoder, const dk_node *root, const char *place, uint32_t *flags,
                             di_encoded *out, dk_error *err)
{
    const dk_node *text = dk_node_get(root, "text"), *messages = dk_node_get(root, "messages");
    const dk_node *prompt = dk_node_get(root, "prompt"), *completion = dk_node_get(root, "completion");
    int32_t kinds = (text != NULL) + (messages != NULL) + (prompt || completion), rc;
    *flags = 0;
    if (!root || root->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_FORMAT, "%s: a sample must be a JSON object", place);
    if (kinds != 1)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: a sample has exactly one of \"text\", \"prompt\" with \"completion\", or \"messages\"; "
                       "this one has %s",
                       place, kinds ? "more" : "none");
    if (messages) return encode_messages(encoder, messages, place, out, err);
    if (text) {
        DK_TRY(need_text(text, "text", place, err));
        *flags = DI_DOCUMENT_TEXT;
        return di_encode_text(encoder, text->text, text->size, 0, DI_PIECE_FIRST | DI_PIECE_LAST, out, err);
    }
    DK_TRY(need_text(prompt, "prompt", place, err));
    DK_TRY(need_text(completion, "completion", place, err));
    rc = encode_prompt(encoder, prompt, completion, out, err);
out:
    return rc;
}

/* "PLACE:1: what" of a one-line document becomes "PLACE: what". */
static void shorten(dk_error *err, const char *place)
{
    size_t size = strlen(place);
    if (!err || strncmp(err->message, place, size) != 0 || strncmp(err->message + size, ":1: ", 4) != 0) return;
    memmove(err->message + size, err->message + size + 2, strlen(err->message + size + 2) + 1);
}

int32_t di_encode_json(const di_encoder *encoder, const char *json, size_t size, const char *place, uint32_t *flags,
                       di_encoded *out, dk_error *err)
{
    dk_document *document = NULL;
    int32_t rc = dk_json_parse(encoder->host, json, size, place, &document, err);
    if (rc != DK_OK) {
        shorten(err, place);
        return rc;
    }
    rc = encode_object(encoder, dk_document_root(document), place, flags, out, err);
    dk_document_free(document);
    return rc;
}
