/* keep_length.c - keep: length. Samples whose words are neither too short nor too long. */
#include "augment/operator.h"

#include <string.h>

typedef struct keep_length {
    const di_step *step;
    const char *field;             /* NULL = the words that are learnt */
    const dk_tokenizer *tokenizer; /* of unit tokens */
    int32_t words;                 /* unit words */
    int64_t low, high;             /* high 0 = no bound */
    dk_strbuf text;
} keep_length;

static void free_state(void *state)
{
    keep_length *k = state;
    dk_strbuf_free(&k->text);
    dk_free(k->step->host, k);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    keep_length *k = NULL;
    int32_t rc;
    const int64_t low = di_options_i64(step->options, "min"), high = di_options_i64(step->options, "max");
    const int32_t tokens = di_options_is(step->options, "unit", "tokens");
    if (!low && !high) return di_step_fail(step, err, "neither min nor max is given: it would keep everything");
    if (high && low > high)
        return di_step_fail(step, err, "min %lld is above max %lld: it would keep nothing", (long long)low,
                            (long long)high);
    if (tokens && !step->tokenizer)
        return di_step_fail(
            step, err, "unit tokens needs a tokenizer, of the teacher or augment.tokenizer: take characters or words");
    DK_TRY(dk_new(step->host, 1, &k, err));
    k->step = step;
    k->field = di_options_text(step->options, "field");
    k->tokenizer = tokens ? step->tokenizer : NULL;
    k->words = di_options_is(step->options, "unit", "words");
    k->low = low;
    k->high = high;
    dk_strbuf_init(&k->text, step->host);
    *state = k;
out:
    return rc;
}

static int64_t count_characters(const char *text, size_t size)
{
    int64_t count = 0;
    for (size_t i = 0; i < size; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* Runs of what is no blank. */
static int64_t count_words(const char *text, size_t size)
{
    int64_t count = 0;
    int32_t inside = 0;
    for (size_t i = 0; i < size; i++) {
        const int32_t blank = memchr(" \t\r\n\v\f", text[i], 6) != NULL;
        count += !blank && !inside;
        inside = !blank;
    }
    return count;
}

static int32_t measure(keep_length *k, const di_record *record, int64_t *out, dk_error *err)
{
    size_t size = 0;
    const char *text = k->field ? di_record_text(record, k->field, &size) : NULL;
    int32_t rc = DK_OK;
    *out = -1;
    if (k->field && !text) return DK_OK;
    if (!k->field) {
        dk_strbuf_clear(&k->text);
        DK_TRY(di_record_words(record, &k->text, err));
        text = k->text.data ? k->text.data : "";
        size = k->text.size;
    }
    if (k->tokenizer) rc = dk_tokenizer_encode(k->tokenizer, text, size, 0, NULL, 0, out, err);
    else *out = k->words ? count_words(text, size) : count_characters(text, size);
    if (rc == DK_E_BUFFER) rc = DK_OK; /* only the number was asked for */
out:
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    keep_length *k = state;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) {
        int64_t length;
        DK_TRY(measure(k, in[i], &length, err));
        const char *why = length < 0                    ? "no_such_field"
                          : length < k->low             ? "too_short"
                          : k->high && length > k->high ? "too_long"
                                                        : NULL;
        DK_TRY(why ? di_flow_drop(flow, &in[i], why, err) : di_flow_emit(flow, &in[i], err));
    }
out:
    return rc;
}

const di_operator_functions di_keep_length = {.create = create, .free = free_state, .apply = apply};
