#include "evaluate/samples.h"

#include <string.h>

enum { BEGINNING = 24, LONGEST = 512 }; /* tokens of a text that are given; of a prompt that stands in the data */

typedef struct answer {
    int32_t *ids; /* [capacity] */
    int64_t count, capacity;
} answer;

typedef struct writer {
    const di_sample_args *args;
    dk_tokenizer *tokenizer; /* borrowed */
    answer written;
} writer;

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    answer *to = user;
    (void)sequence, (void)log_prob;
    if (finished != 1 && to->count < to->capacity) to->ids[to->count++] = id;
    return 0;
}

static int32_t text(const writer *w, const char *name, const int32_t *ids, int64_t count, dk_strbuf *out, dk_error *err)
{
    dk_strbuf decoded;
    int32_t rc;
    dk_strbuf_init(&decoded, w->args->host);
    DK_TRY(dk_tokenizer_decode_to(w->tokenizer, ids, count, 0, &decoded, err));
    DK_TRY(dk_strbuf_check(&decoded, err));
    dk_strbuf_printf(out, "\"%s\":", name);
    dk_strbuf_json(out, decoded.data ? decoded.data : "", decoded.size);
out:
    dk_strbuf_free(&decoded);
    return rc;
}

/* A model that does not write is passed over. */
static int32_t continued(writer *w, const char *name, di_teacher *model, const int32_t *ids, int64_t count,
                         dk_strbuf *out, dk_error *err)
{
    const int64_t offsets[2] = {0, count};
    const dk_tokens prompt = {ids, offsets, 1};
    const int64_t end = dk_tokenizer_eos(w->tokenizer), known = dk_tokenizer_vocab_size(w->tokenizer);
    const int32_t stop = (int32_t)end;
    int64_t vocab = model ? di_teacher_vocab_valid(model) : 0;
    if (!model) return DK_OK;
    if (known < vocab) vocab = known;
    const dk_generate_args args = {.max_tokens = w->args->tokens,
                                   .top_p = 1,
                                   .vocab_valid = vocab,
                                   .stop = &stop,
                                   .stop_count = end >= 0,
                                   .emit = on_token,
                                   .user = &w->written};
    w->written.count = 0;
    int32_t rc = di_teacher_write(model, &prompt, &args, err);
    if (rc == DK_E_UNSUPPORTED) {
        dk_error_clear(err);
        return DK_OK;
    }
    DK_TRY(rc);
    dk_strbuf_puts(out, ",");
    DK_TRY(text(w, name, w->written.ids, w->written.count, out, err));
out:
    return rc;
}

/* How much of a sequence is the beginning: its prompt, where it has one. */
static int64_t beginning(const uint8_t *learn, int64_t length)
{
    int64_t prompt = 0;
    while (prompt < length && !learn[prompt]) prompt++;
    if (prompt > 1 && prompt < length) return prompt <= LONGEST ? prompt : 0;
    return length / 2 < BEGINNING ? length / 2 : BEGINNING;
}

static int32_t sample(writer *w, const di_batch *batch, int32_t first, dk_strbuf *out, dk_error *err)
{
    const int64_t length = batch->offsets[1], prompt = beginning(batch->learn, length);
    const int64_t rest = length - prompt < w->args->tokens ? length - prompt : w->args->tokens;
    int32_t rc;
    if (prompt < 1) return DK_OK;
    dk_strbuf_puts(out, first ? "{" : ",{");
    DK_TRY(text(w, "prompt", batch->ids, prompt, out, err));
    dk_strbuf_puts(out, ",");
    DK_TRY(text(w, "text", batch->ids + prompt, rest, out, err));
    DK_TRY(continued(w, "teacher", w->args->teacher, batch->ids, prompt, out, err));
    DK_TRY(continued(w, "student", w->args->student, batch->ids, prompt, out, err));
    dk_strbuf_puts(out, "}");
out:
    return rc;
}

static dk_tokenizer *tokenizer_of(const di_sample_args *args)
{
    dk_tokenizer *own = args->student ? di_teacher_tokenizer(args->student) : NULL;
    return own || !args->teacher ? own : di_teacher_tokenizer(args->teacher);
}

int32_t di_samples_json(const di_sample_args *args, dk_strbuf *out, dk_error *err)
{
    writer w = {.args = args, .tokenizer = tokenizer_of(args), .written = {.capacity = args->tokens}};
    di_batch *batch = NULL;
    int64_t windows = 0;
    int32_t rc;
    if (args->count < 1) return DK_OK;
    if (!w.tokenizer) {
        dk_strbuf_puts(out, ",\"samples_problem\":\"no tokenizer is known, so that nothing could be read\"");
        return DK_OK;
    }
    DK_TRY(dk_new(args->host, args->tokens, &w.written.ids, err));
    DK_TRY(di_dataset_get_i64(args->data, "windows", &windows, err));
    DK_TRY(di_batch_create(args->data, 1, &batch, err));
    const int64_t count = windows < args->count ? windows : args->count;
    dk_strbuf_puts(out, ",\"samples\":[");
    for (int64_t i = 0; i < count; i++) { /* from all over the data */
        const size_t before = out->size;
        DK_TRY(di_dataset_windows(args->data, (2 * i + 1) * windows / (2 * count), 1, batch, err));
        if (batch->sequences > 0) DK_TRY(sample(&w, batch, before > 0 && out->data[before - 1] == '[', out, err));
    }
    dk_strbuf_puts(out, "]");
    DK_TRY(dk_strbuf_check(out, err));
out:
    di_batch_free(batch);
    dk_free(args->host, w.written.ids);
    return rc;
}
