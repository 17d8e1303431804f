/* sample_pair.c - a sample with a chosen and a rejected answer to one prompt. Texts or lists of messages; without a
 * prompt it is what both sides begin with: messages, or bytes up to a space. */
#include <string.h>

#include "dataset/sample.h"

static const char *const names[2] = {"chosen", "rejected"};

typedef struct pair {
    const di_encoder *encoder;
    const dk_node *sample;
    const char *place;
    dk_node prompt, sides[2]; /* what the sample has, or parts of it; an empty prompt = there is none */
} pair;

static int32_t same(const dk_node *a, const dk_node *b)
{
    if (a->type != b->type || a->size != b->size || a->i64 != b->i64 || a->f64 != b->f64) return 0;
    if (a->type == DK_NODE_TEXT) return memcmp(a->text, b->text, a->size) == 0;
    for (size_t i = 0; (a->type == DK_NODE_LIST || a->type == DK_NODE_MAP) && i < a->size; i++) {
        const dk_node *x = a->items[i], *y = b->items[i];
        const int32_t keyed = a->type == DK_NODE_MAP;
        if (keyed && (x->key_size != y->key_size || memcmp(x->key, y->key, x->key_size) != 0)) return 0;
        if (!same(x, y)) return 0;
    }
    return 1;
}

static int32_t read_side(const pair *p, int i, dk_node *out, dk_error *err)
{
    const dk_node *node = di_member(p->sample, names[i]);
    if (!node)
        return dk_fail(err, DK_E_FORMAT, "%s: \"%s\" is missing, and \"%s\" is there: a pair has both", p->place,
                       names[i], names[!i]);
    if (node->type != DK_NODE_TEXT && node->type != DK_NODE_LIST)
        return dk_fail(err, DK_E_FORMAT, "%s: \"%s\" must be text or a list of messages", p->place, names[i]);
    if (!node->size) return dk_fail(err, DK_E_FORMAT, "%s: \"%s\" is empty", p->place, names[i]);
    *out = *node;
    return DK_OK;
}

/* Bytes that both begin with, up to the space in front of the first word that differs, and no part of a character. */
static size_t common_text(const dk_node *a, const dk_node *b)
{
    size_t at = 0;
    while (at < a->size && at < b->size && a->text[at] == b->text[at]) at++;
    while (at && at < a->size && ((unsigned char)a->text[at] & 0xc0) == 0x80) at--;
    return at && a->text[at - 1] == ' ' ? at - 1 : at;
}

static size_t common_messages(const dk_node *a, const dk_node *b)
{
    size_t at = 0;
    while (at < a->size && at < b->size && same(a->items[at], b->items[at])) at++;
    return at;
}

static int32_t part(pair *p, dk_error *err)
{
    const int32_t texts = p->sides[0].type == DK_NODE_TEXT;
    const size_t at = texts ? common_text(&p->sides[0], &p->sides[1]) : common_messages(&p->sides[0], &p->sides[1]);
    p->prompt = p->sides[0];
    p->prompt.size = at;
    for (int i = 0; i < 2; i++) {
        if (at == p->sides[i].size)
            return dk_fail(err, DK_E_FORMAT,
                           "%s: \"%s\" begins with all of \"%s\", which is the prompt then: nothing is left as its "
                           "answer; give the \"prompt\"",
                           p->place, names[!i], names[i]);
        if (texts) p->sides[i].text += at;
        else p->sides[i].items += at;
        p->sides[i].size -= at;
    }
    return DK_OK;
}

static int32_t read_pair(pair *p, di_encoded *out, dk_error *err)
{
    const dk_node *prompt = di_member(p->sample, "prompt");
    int32_t rc;
    for (int i = 0; i < 2; i++) DK_TRY(read_side(p, i, &p->sides[i], err));
    if (p->sides[0].type != p->sides[1].type ||
        (prompt && prompt->type == DK_NODE_LIST && p->sides[0].type != prompt->type))
        return dk_fail(err, DK_E_FORMAT,
                       "%s: \"prompt\", \"chosen\" and \"rejected\" must be texts, or lists of messages", p->place);
    if (same(&p->sides[0], &p->sides[1]))
        return dk_fail(err, DK_E_FORMAT, "%s: \"chosen\" and \"rejected\" are the same: leave the pair out", p->place);
    if (!prompt) return part(p, err);
    if (prompt->type == p->sides[0].type) {
        p->prompt = *prompt;
        return DK_OK;
    }
    if (prompt->type != DK_NODE_TEXT) return dk_fail(err, DK_E_FORMAT, "%s: \"prompt\" must be text", p->place);
    di_note_key("prompt", 6, out); /* the lists have it as a message */
    rc = part(p, err);
out:
    return rc;
}

/* Log-probabilities of a side are sums over its tokens, each once. */
static int32_t check_learnt(const pair *p, int i, const di_encoded *out, int64_t first, dk_error *err)
{
    int32_t learnt = 0;
    for (int64_t t = first; t < out->count; t++) {
        learnt |= out->learn[t];
        if (out->learn[t] && t < out->weight_count && out->weights[t] != 1)
            return dk_fail(err, DK_E_FORMAT,
                           "%s: a message of \"%s\" has a weight, and tokens of a pair count alike: give the pair a "
                           "\"weight\", or the message 0 to leave it out",
                           p->place, names[i]);
    }
    if (learnt || !p->encoder->tokenizer) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, "%s: \"%s\" has no token to learn: an answer of the assistant is missing",
                   p->place, names[i]);
}

static int32_t encode_side(const pair *p, int i, di_encoded *out, dk_error *err)
{
    const int64_t first = out->count;
    const dk_node *side = &p->sides[i];
    int32_t rc;
    if (side->type == DK_NODE_TEXT) DK_TRY(di_encode_completion(p->encoder, &p->prompt, side, out, err));
    else if (!p->prompt.size) DK_TRY(di_encode_talk(p->encoder, p->sample, side, NULL, p->place, out, err));
    else DK_TRY(di_encode_talk(p->encoder, p->sample, &p->prompt, side, p->place, out, err));
    if (!p->encoder->chosen_alone) DK_TRY(check_learnt(p, i, out, first, err));
out:
    return rc;
}

int32_t di_encode_pair(const di_encoder *encoder, const dk_node *sample, const char *place, uint32_t *flags,
                       di_encoded *out, dk_error *err)
{
    pair p = {.encoder = encoder, .sample = sample, .place = place};
    const int64_t first = out->count;
    int32_t rc;
    DK_TRY(read_pair(&p, out, err));
    if (encoder->prompt_loss && !encoder->chosen_alone)
        return dk_fail(err, DK_E_OPTION,
                       "%s: data.prompt_loss is not for pairs, whose sides have the same prompt: leave it out", place);
    DK_TRY(encode_side(&p, 0, out, err));
    if (encoder->chosen_alone) goto out;
    DK_TRY(di_encoded_end(out, out->number, DI_DOCUMENT_PAIR, err));
    const int64_t middle = out->count;
    DK_TRY(encode_side(&p, 1, out, err));
    *flags = DI_DOCUMENT_PAIR;
    if (encoder->tokenizer && out->count - middle == middle - first &&
        !memcmp(out->ids + first, out->ids + middle, (size_t)(middle - first) * sizeof *out->ids))
        rc =
            dk_fail(err, DK_E_FORMAT, "%s: \"chosen\" and \"rejected\" are the same tokens: leave the pair out", place);
out:
    return rc;
}
