/* writing.c - section generate, checked against the model that writes. */
#include <stdlib.h>

#include "teacher/teacher_parts.h"

static int32_t check_id(const char *key, int64_t id, int64_t vocab, dk_error *err)
{
    if (id < vocab) return DK_OK;
    return dk_fail(err, DK_E_OPTION, "%s: %lld is no id of this model, whose ids are below %lld", key, (long long)id,
                   (long long)vocab);
}

static int32_t read_stops(di_writing *w, const di_options *options, const int32_t *stops, int64_t count, int64_t vocab,
                          dk_error *err)
{
    int64_t more = di_options_list_size(options, "generate.stop_ids");
    int32_t rc;
    DK_TRY(dk_new(w->host, count + more + 1, &w->stops, err));
    for (int64_t i = 0; i < count; i++) w->stops[i] = stops[i];
    for (int64_t i = 0; i < more; i++) {
        int64_t id = di_options_list_i64(options, "generate.stop_ids", i);
        DK_TRY(check_id("generate.stop_ids", id, vocab, err));
        w->stops[count + i] = (int32_t)id;
    }
    w->args.stop = w->stops;
    w->args.stop_count = count + more;
out:
    return rc;
}

/* The names of the map are whole numbers. */
static int32_t read_id(const char *name, int64_t vocab, int32_t *out, dk_error *err)
{
    int64_t id = strtoll(name, NULL, 10);
    int32_t rc = check_id("generate.logit_bias", id, vocab, err);
    if (rc == DK_OK) *out = (int32_t)id;
    return rc;
}

static int32_t read_bias(di_writing *w, const di_options *options, int64_t vocab, dk_error *err)
{
    int64_t count = di_options_list_size(options, "generate.logit_bias");
    int32_t rc;
    DK_TRY(dk_new(w->host, count + 1, &w->bias_ids, err));
    DK_TRY(dk_new(w->host, count + 1, &w->bias, err));
    for (int64_t i = 0; i < count; i++) {
        const di_options *entry = di_options_item(options, "generate.logit_bias", i);
        DK_TRY(read_id(di_options_name(entry), vocab, &w->bias_ids[i], err));
        w->bias[i] = di_options_f64(entry, "");
    }
    w->args.bias_ids = w->bias_ids;
    w->args.bias = w->bias;
    w->args.bias_count = count;
out:
    return rc;
}

static int32_t read_texts(di_writing *w, const di_teacher *teacher, const di_options *options, dk_error *err)
{
    int32_t rc;
    w->text_count = di_options_list_size(options, "generate.stop");
    if (w->text_count && !teacher->tokenizer)
        return dk_fail(err, DK_E_OPTION, "generate.stop: this model has no tokenizer, and so no text: give stop_ids");
    DK_TRY(dk_new(w->host, w->text_count + 1, &w->texts, err));
    for (int64_t i = 0; i < w->text_count; i++) {
        w->texts[i] = di_options_list_text(options, "generate.stop", i);
        if (!*w->texts[i]) return dk_fail(err, DK_E_OPTION, "generate.stop: an empty text would end every answer");
    }
out:
    return rc;
}

static int32_t read_precision(di_writing *w, const di_teacher *teacher, const di_options *options, dk_error *err)
{
    const int32_t has = teacher->backend->precisions >> DK_PRECISION_INT8 & 1,
                  int8 = di_options_is(options, "generate.quantized", "int8"),
                  bf16 = di_options_is(options, "generate.precision", "bf16");
    if (!has && int8)
        return dk_fail(err, DK_E_UNSUPPORTED, "generate.quantized: int8 is of our own kernels, and products are by %s",
                       teacher->backend->products);
    if (bf16 && int8)
        return dk_fail(err, DK_E_OPTION, "generate.quantized: int8 goes with generate.precision fp32 only");
    if (bf16 && !(teacher->backend->precisions >> DK_PRECISION_BF16 & 1))
        return dk_fail(err, DK_E_UNSUPPORTED, "generate.precision: bf16 is of our own kernels, and products are by %s",
                       teacher->backend->products);
    if (bf16) w->args.precision = DK_PRECISION_BF16;
    else if (has && !di_options_is(options, "generate.quantized", "exact")) w->args.precision = DK_PRECISION_INT8;
    if (di_options_is(options, "generate.cache_type", "bf16")) w->args.cache_type = DK_BF16;
    return DK_OK;
}

static int32_t read_top(di_writing *w, const di_options *options, const di_reader *reader, int64_t vocab, dk_error *err)
{
    const int64_t count = di_options_i64(options, "generate.top_logprobs");
    if (count && reader->fn)
        return dk_fail(err, DK_E_OPTION,
                       "generate.top_logprobs: distill_token_fn has no room for them: distill_teacher_generate_with "
                       "hands them out");
    if (count > vocab)
        return dk_fail(err, DK_E_OPTION, "generate.top_logprobs: %lld of a model that draws from %lld ids",
                       (long long)count, (long long)vocab);
    w->args.top = di_speaker_top;
    w->args.top_count = count;
    if (!reader->fn && reader->table->logits) w->args.logits = di_speaker_logits;
    return DK_OK;
}

int32_t di_writing_open(const di_teacher *teacher, const di_options *options, const di_reader *reader,
                        const int32_t *stops, int64_t stop_count, int64_t vocab, di_writing *out, dk_error *err)
{
    int32_t rc;
    out->host = teacher->host;
    out->args = (dk_generate_args){.max_tokens = di_options_i64(options, "generate.max_tokens"),
                                   .temperature = di_options_f64(options, "generate.temperature"),
                                   .top_p = di_options_f64(options, "generate.top_p"),
                                   .top_k = di_options_i64(options, "generate.top_k"),
                                   .min_p = di_options_f64(options, "generate.min_p"),
                                   .repetition_penalty = di_options_f64(options, "generate.repetition_penalty"),
                                   .presence_penalty = di_options_f64(options, "generate.presence_penalty"),
                                   .samples = di_options_i64(options, "generate.samples"),
                                   .seed = (uint64_t)di_options_i64(options, "generate.seed"),
                                   .draws = reader->draws,
                                   .vocab_valid = vocab,
                                   .emit = di_speaker_emit};
    DK_TRY(read_top(out, options, reader, vocab, err));
    DK_TRY(read_precision(out, teacher, options, err));
    DK_TRY(read_stops(out, options, stops, stop_count, vocab, err));
    DK_TRY(read_bias(out, options, vocab, err));
    DK_TRY(read_texts(out, teacher, options, err));
out:
    return rc;
}

di_teacher *di_teacher_writer(di_teacher *t)
{
    while (t->kind->from && t->kind->from(t)) t = t->kind->from(t);
    return t->kind->session == di_local_session ? t : NULL;
}

void di_writing_close(di_writing *w)
{
    if (!w->host) return;
    dk_free(w->host, w->stops);
    dk_free(w->host, w->bias_ids);
    dk_free(w->host, w->bias);
    dk_free(w->host, w->texts);
}
