/* sample_json.c - one JSON object becomes tokens: which fields it may have, and what they mean. */
#include <stdio.h>
#include <string.h>

#include "dataset/sample.h"

#define RENDER "render the conversation yourself and give it as text, or as prompt and completion"
#define TOKENS "give such samples as token files or from memory"
static const di_key refused[] = {
    {"functions", RENDER},
    {"tool_choice", RENDER},
    {"system", "put it in front of the prompt, or into messages"},
    {"images", "only text is learnt"},
    {"image", "only text is learnt"},
    {"audio", "only text is learnt"},
    {"audios", "only text is learnt"},
    {"video", "only text is learnt"},
    {"videos", "only text is learnt"},
    {"label", "an answer is not learnt as good or bad: give pairs of chosen and rejected, or the good answers alone"},
    {"suffix", "give the whole text, or prompt and completion"},
    {"loss", "set \"weight\" to 0 or more"},
    {"loss_weight", "call it \"weight\""},
    {"mask", TOKENS},
    {"loss_mask", TOKENS},
    {"labels", TOKENS},
    {"input_ids", TOKENS},
    {"token_ids", TOKENS},
    {"tokens", TOKENS},
    {"attention_mask", TOKENS},
    {NULL, NULL},
};

static int32_t need_text(const dk_node *node, const char *field, const char *place, dk_error *err)
{
    if (node && node->type == DK_NODE_TEXT) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, node ? "%s: \"%s\" must be text" : "%s: \"%s\" is missing", place, field);
}

static int32_t encode_prompt(const di_encoder *encoder, const dk_node *root, const dk_node *prompt,
                             const dk_node *completion, const char *place, di_encoded *out, dk_error *err)
{
    int32_t lists = (prompt && prompt->type == DK_NODE_LIST) + (completion && completion->type == DK_NODE_LIST), rc;
    if (lists == 2) return di_encode_talk(encoder, root, prompt, completion, place, out, err);
    if (lists && prompt && completion)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: \"prompt\" and \"completion\" must both be text or both be lists of messages", place);
    DK_TRY(need_text(prompt, "prompt", place, err));
    DK_TRY(need_text(completion, "completion", place, err));
    rc = di_encode_completion(encoder, prompt, completion, out, err);
out:
    return rc;
}

/* What a sample that has none of the fields may have been meant as. */
static const char *advice(const dk_node *root)
{
    if (di_member(root, "conversations"))
        return "; rename \"conversations\" to messages, \"from\" to role and \"value\" to content";
    if (di_member(root, "instruction"))
        return "; put \"instruction\" and \"input\" into prompt and \"output\" into completion";
    if (di_member(root, "question")) return "; rename \"question\" to prompt and \"answer\" to completion";
    if (di_member(root, "content")) return "; rename \"content\" to text";
    if (di_member(root, "data")) return "; the file is to have one sample a line, or to be an array of samples";
    return "";
}

/* "source" is a name where it is a short text; data sets have other things there, too. */
static int32_t read_tag(const dk_node *root, const char *place, di_tag *tag, dk_error *err)
{
    const dk_node *source = di_member(root, "source"), *teacher = di_member(root, "teacher");
    if (source && source->type == DK_NODE_TEXT && source->size < DI_TAG_SIZE && !memchr(source->text, 0, source->size))
        memcpy(tag->source, source->text, source->size);
    if (!teacher) return DK_OK;
    if (teacher->type != DK_NODE_TEXT || teacher->size >= DI_TAG_SIZE || memchr(teacher->text, 0, teacher->size))
        return dk_fail(err, DK_E_FORMAT, "%s: \"teacher\" must be a name of at most %d bytes", place, DI_TAG_SIZE - 1);
    memcpy(tag->teacher, teacher->text, teacher->size);
    return DK_OK;
}

static int32_t encode_object(const di_encoder *encoder, const dk_node *root, const char *place, uint32_t *flags,
                             di_encoded *out, dk_error *err)
{
    static const char *const used[] = {"text",   "messages", "prompt", "completion",           "chosen", "rejected",
                                       "weight", "teacher",  "tools",  "chat_template_kwargs", NULL};
    const dk_node *text = di_member(root, "text"), *messages = di_member(root, "messages");
    const dk_node *prompt = di_member(root, "prompt"), *completion = di_member(root, "completion");
    const int32_t pair = di_member(root, "chosen") || di_member(root, "rejected");
    int32_t kinds = (text != NULL) + (messages != NULL) + (pair ? 1 + (completion != NULL) : prompt || completion), rc;
    int64_t first = out->count;
    double weight;
    *flags = 0;
    if (!root || root->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_FORMAT, "%s: a sample must be a JSON object", place);
    DK_TRY(di_check_keys(root, used, refused, place, "", out, err));
    DK_TRY(di_check_talk(encoder, root, place, err));
    DK_TRY(read_tag(root, place, &out->tag, err));
    if (kinds != 1)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: a sample has exactly one of \"text\", \"prompt\" with \"completion\", \"chosen\" with "
                       "\"rejected\", or \"messages\"; this one has %s%s",
                       place, kinds ? "more" : "none", kinds ? "" : advice(root));
    DK_TRY(di_read_weight(di_member(root, "weight"), place, "", &weight, err));
    if (messages) {
        DK_TRY(di_encode_talk(encoder, root, messages, NULL, place, out, err));
    } else if (text) {
        DK_TRY(need_text(text, "text", place, err));
        *flags = DI_DOCUMENT_TEXT;
        DK_TRY(di_encode_text(encoder, text->text, text->size, 0, DI_PIECE_FIRST | DI_PIECE_LAST, out, err));
    } else if (pair) DK_TRY(di_encode_pair(encoder, root, place, flags, out, err));
    else DK_TRY(encode_prompt(encoder, root, prompt, completion, place, out, err));
    if ((rc = di_encoded_weigh(out, first, weight, err))) dk_error_context(err, "%s", place);
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

/* "MESSAGE: HINT", where there is room. */
static void add_hint(dk_error *err, const char *hint)
{
    size_t used = err ? strlen(err->message) : 0;
    if (err) snprintf(err->message + used, sizeof err->message - used, ": %s", hint);
}

int32_t di_encode_json(const di_encoder *encoder, const char *json, size_t size, const char *place, uint32_t *flags,
                       di_encoded *out, dk_error *err)
{
    dk_document *document = NULL;
    int32_t rc = dk_json_parse(encoder->host, json, size, place, &document, err);
    if (rc != DK_OK) {
        shorten(err, place);
        if (size && !memchr(json, '}', size)) add_hint(err, "a sample stands on one line, or in an array of samples");
        return rc;
    }
    rc = encode_object(encoder, dk_document_root(document), place, flags, out, err);
    dk_document_free(document);
    return rc;
}
