/* vocabulary.c - the ids that a text uses most, with all that a tokenizer of them needs; the teacher that speaks of
 * them alone; the text again, in that tokenizer. */
#include <math.h>
#include <string.h>

#include "evaluate/evaluate.h"
#include "shape/shape_parts.h"

/* Every token of every window once. */
static int32_t count_ids(dk_host *host, di_dataset *data, double *counts, int64_t size, dk_error *err)
{
    di_patience patience = di_patience_begin(host, "windows read to count ids");
    di_batch *batch = NULL;
    int64_t windows = 0;
    int32_t rc;
    DK_TRY(di_dataset_check_vocab(data, size, err));
    DK_TRY(di_dataset_get_i64(data, "windows", &windows, err));
    DK_TRY(di_batch_create(data, 1, &batch, err));
    for (int64_t w = 0; w < windows; w++) {
        DK_TRY(di_patience_tell(&patience, w, windows, err));
        DK_TRY(di_dataset_windows(data, w, 1, batch, err));
        for (int64_t i = 0; i < batch->offsets[batch->sequences]; i++) counts[batch->ids[i]]++;
    }
out:
    di_batch_free(batch);
    return rc;
}

static int32_t check_size(const dk_tokenizer *tokenizer, int64_t asked, dk_error *err)
{
    const int64_t size = tokenizer ? dk_tokenizer_vocab_size(tokenizer) : 0;
    if (!tokenizer)
        return dk_fail(err, DK_E_OPTION, "student.vocabulary: the teacher has no tokenizer whose ids could be counted");
    if (asked <= size) return DK_OK;
    return dk_fail(err, DK_E_OPTION,
                   "student.vocabulary %lld: the teacher's tokenizer has %lld ids, give a number in "
                   "[1, %lld]",
                   (long long)asked, (long long)size, (long long)size);
}

/* The `asked` most frequent of counts, and what they need, ascending. */
static int32_t list_ids(dk_host *host, const dk_tokenizer *tokenizer, const double *counts, int64_t asked,
                        di_choice *choice, dk_error *err)
{
    const int64_t size = dk_tokenizer_vocab_size(tokenizer);
    int64_t *often = NULL;
    uint8_t *kept = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, size, &often, err));
    DK_TRY(dk_new(host, size, &kept, err));
    DK_TRY(di_rank(host, counts, size, asked, often, err));
    for (int64_t i = 0; i < asked; i++) kept[often[i]] = counts[often[i]] > 0;
    DK_TRY(dk_tokenizer_close_over(tokenizer, kept, err));
    DK_TRY(dk_new(host, size, &choice->ids, err));
    for (int64_t id = 0; id < size; id++)
        if (kept[id]) choice->ids[choice->vocab_size++] = id;
out:
    dk_free(host, often);
    dk_free(host, kept);
    return rc;
}

int32_t di_vocabulary_choose(const di_options *options, di_teacher *teacher, di_dataset *data, di_choice *choice,
                             dk_error *err)
{
    dk_tokenizer *tokenizer = di_teacher_tokenizer(teacher);
    const char *path = di_options_text(options, "student.vocabulary_text");
    const int64_t asked = di_options_i64(options, "student.vocabulary");
    dk_host *host = choice->host;
    di_dataset *text = NULL;
    double *counts = NULL;
    int32_t rc;
    DK_TRY(check_size(tokenizer, asked, err));
    DK_TRY(dk_new(host, dk_tokenizer_vocab_size(tokenizer), &counts, err));
    if (path) DK_TRY(di_dataset_open(host, path, tokenizer, options, &text, err));
    DK_TRY(count_ids(host, text ? text : data, counts, dk_tokenizer_vocab_size(tokenizer), err));
    DK_TRY(list_ids(host, tokenizer, counts, asked, choice, err));
out:
    di_dataset_release(text);
    dk_free(host, counts);
    return rc;
}

int32_t di_vocabulary_apply(const di_options *options, const di_choice *choice, di_teacher **teacher, di_dataset **data,
                            dk_error *err)
{
    dk_tokenizer *trimmed = NULL;
    di_teacher *fewer = NULL;
    di_dataset *again = NULL;
    int32_t rc;
    DK_TRY(dk_tokenizer_trim(di_teacher_tokenizer(*teacher), choice->ids, choice->vocab_size, &trimmed, err));
    DK_TRY(di_teacher_of_ids(*teacher, choice->ids, choice->vocab_size, trimmed, &fewer, err));
    DK_TRY(di_dataset_open_list(choice->host, "data.train", trimmed, options, &again, err));
    di_teacher_release(*teacher);
    di_dataset_release(*data);
    *teacher = fewer;
    *data = again;
    fewer = NULL;
    again = NULL;
out:
    di_dataset_release(again);
    di_teacher_release(fewer);
    dk_tokenizer_release(trimmed);
    return rc;
}

/* ---- what it costs: -log of the mass that p has on the kept ids, at every position that is scored ---- */
/* The first windows of data, with the ids that they have in the whole vocabulary. */
static int32_t old_ids(const di_choice *choice, di_dataset *data, int64_t tokens, const di_options *options,
                       di_dataset **fewer, di_dataset **whole, dk_error *err)
{
    di_batch *batch = NULL;
    distill_batch given;
    int64_t windows = 0, count = 0, room;
    int32_t rc;
    DK_TRY(di_dataset_get_i64(data, "windows", &windows, err));
    DK_TRY(di_batch_create(data, 1, &batch, err));
    room = tokens / (batch->max_tokens > 0 ? batch->max_tokens : 1) + 1;
    count = windows < room ? windows : room;
    di_batch_free(batch);
    batch = NULL;
    DK_TRY(di_batch_create(data, count, &batch, err));
    DK_TRY(di_dataset_windows(data, 0, count, batch, err));
    di_batch_view(batch, &given);
    DK_TRY(di_dataset_from_tokens(choice->host, &given, options, fewer, err));
    for (int64_t i = 0; i < batch->offsets[batch->sequences]; i++) batch->ids[i] = (int32_t)choice->ids[batch->ids[i]];
    DK_TRY(di_dataset_from_tokens(choice->host, &given, options, whole, err));
out:
    di_batch_free(batch);
    return rc;
}

int32_t di_vocabulary_cost(dk_backend *backend, const di_options *options, const di_choice *choice, di_teacher *whole,
                           di_teacher *fewer, di_dataset *data, int64_t tokens, di_cut *cut, dk_error *err)
{
    di_dataset *texts[2] = {NULL, NULL};
    di_teacher *const scorers[2] = {fewer, whole};
    di_evaluation found[2];
    int32_t rc;
    DK_TRY(old_ids(choice, data, tokens, options, &texts[0], &texts[1], err));
    for (int i = 0; i < 2; i++) {
        const di_evaluate_args args = {.backend = backend,
                                       .student = scorers[i],
                                       .data = texts[i],
                                       .memory = di_options_i64(options, "train.loss_memory")};
        DK_TRY(di_evaluate(&args, &found[i], err));
    }
    *cut = (di_cut){.parameters_before = di_teacher_facts(whole).parameters,
                    .parameters_after = di_teacher_facts(fewer).parameters,
                    .nats_before = found[1].nats,
                    .nats_after = found[0].nats,
                    .kl = found[1].nats - found[0].nats,
                    .agreement = NAN,
                    .tokens = found[0].tokens};
out:
    for (int i = 0; i < 2; i++) di_dataset_release(texts[i]);
    return rc;
}
