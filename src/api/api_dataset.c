#include "api/handles.h"

#include <string.h>

static int32_t wrap(const distill_env *env, di_dataset *dataset, const distill_options *options, distill_dataset **out,
                    dk_error *err)
{
    distill_dataset *handle = di_computing_handle_create(env, sizeof *handle, err);
    if (!handle) {
        di_dataset_release(dataset);
        return DK_E_NOMEM;
    }
    handle->dataset = dataset;
    handle->seed = (uint64_t)di_options_i64(di_tree(options), "train.seed");
    *out = handle;
    return DK_OK;
}

static int32_t open_data(dk_host *host, const char *path, dk_tokenizer *tokenizer, const di_options *options,
                         di_dataset **out, dk_error *err)
{
    if (path) return di_dataset_open(host, path, tokenizer, options, out, err);
    if (di_options_is_set(options, "data.train"))
        return di_dataset_open_list(host, "data.train", tokenizer, options, out, err);
    return dk_fail(err, DK_E_INVALID, "path is NULL, and the options give no data.train");
}

int32_t distill_dataset_open(const distill_env *env, const char *path, const distill_tokenizer *tokenizer,
                             const distill_options *options, distill_dataset **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_dataset *dataset = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(open_data(env->host, path, tokenizer ? tokenizer->tokenizer : NULL, di_tree(options), &dataset, err));
    DK_TRY(wrap(env, dataset, options, out, err));
out:
    return rc;
}

int32_t distill_dataset_from_tokens(const distill_env *env, const distill_batch *tokens, const distill_options *options,
                                    distill_dataset **out, distill_error *error)
{
    dk_error *err = di_err(error);
    distill_batch own;
    di_dataset *dataset = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_take_batch(tokens, "tokens", &own, err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(di_dataset_from_tokens(env->host, &own, di_tree(options), &dataset, err));
    DK_TRY(wrap(env, dataset, options, out, err));
out:
    return rc;
}

int32_t distill_dataset_from_callbacks(const distill_env *env, const distill_dataset_callbacks *table,
                                       const distill_tokenizer *tokenizer, const distill_options *options,
                                       distill_dataset **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_dataset *dataset = NULL;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_struct(table, "table", offsetof(distill_dataset_callbacks, count) + sizeof table->count, err)) !=
        DK_OK)
        return rc;
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK || (rc = di_check_pointer(out, "out", err)) != DK_OK) {
        if (table->destroy) table->destroy(table->user);
        return rc;
    }
    DI_COMPUTE(di_dataset_from_callbacks(env->host, table, tokenizer ? tokenizer->tokenizer : NULL, di_tree(options),
                                         &dataset, err));
    DK_TRY(wrap(env, dataset, options, out, err));
out:
    return rc;
}

void distill_dataset_free(distill_dataset *dataset)
{
    if (!dataset) return;
    di_batch_free(dataset->batch);
    di_dataset_release(dataset->dataset);
    di_handle_free(dataset);
}

int32_t distill_dataset_get_i64(const distill_dataset *dataset, const char *key, int64_t *out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(dataset, "dataset", err));
    DK_TRY(di_check_pointer(key, "key", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(di_dataset_get_i64(dataset->dataset, key, out, err));
out:
    return rc;
}

static void fill_sample(const di_batch *batch, distill_sample *out)
{
    distill_sample sample;
    DISTILL_INIT(&sample);
    sample.kind = DISTILL_SAMPLE_TOKENS;
    sample.ids = batch->ids;
    sample.count = batch->offsets[batch->sequences];
    sample.learn = batch->learn;
    sample.weight = batch->rows ? (double)batch->weights[0] : 1;
    uint32_t size = out->struct_size < sizeof sample ? out->struct_size : (uint32_t)sizeof sample;
    sample.struct_size = out->struct_size;
    memcpy(out, &sample, size);
}

int32_t distill_dataset_next(distill_dataset *dataset, distill_sample *out, distill_error *error)
{
    dk_error *err = di_err(error);
    int64_t windows = 0;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(dataset, "dataset", err));
    DK_TRY(di_check_struct(out, "out", sizeof out->struct_size, err));
    DK_TRY(di_dataset_get_i64(dataset->dataset, "windows", &windows, err));
    if (windows > 0 && dataset->position && dataset->position % windows == 0 && !dataset->told_end) {
        dataset->told_end = 1; /* the next call begins the next epoch */
        return dk_fail(err, DK_E_END, "epoch %lld is over", (long long)(dataset->position / windows));
    }
    if (!dataset->batch) DI_COMPUTE(di_batch_create(dataset->dataset, 1, &dataset->batch, err));
    DI_COMPUTE(di_dataset_batch(dataset->dataset, dataset->seed, dataset->position, 1, dataset->batch, err));
    dataset->position++;
    dataset->told_end = 0;
    fill_sample(dataset->batch, out);
out:
    return rc;
}

int32_t distill_dataset_tell(const distill_dataset *dataset, char *buf, size_t cap, size_t *needed,
                             distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf text;
    dk_error_clear(err);
    int32_t rc = di_check_pointer(dataset, "dataset", err);
    if (rc != DK_OK) return rc;
    dk_strbuf_init(&text, dataset->env->host);
    dk_strbuf_printf(&text, "seed=%llu window=%lld", (unsigned long long)dataset->seed, (long long)dataset->position);
    DK_TRY(dk_strbuf_check(&text, err));
    DK_TRY(dk_text_out(text.data, text.size, buf, cap, needed, err));
out:
    dk_strbuf_free(&text);
    return rc;
}

/* "NAME=" and digits, up to a space or the end. */
static int32_t number_of(const char *cursor, const char *name, int64_t *out)
{
    const char *at = strstr(cursor, name);
    return at && dk_parse_i64(at + strlen(name), strcspn(at + strlen(name), " "), out) && *out >= 0;
}

int32_t distill_dataset_seek(distill_dataset *dataset, const char *cursor, distill_error *error)
{
    dk_error *err = di_err(error);
    int64_t seed = 0, window = 0;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(dataset, "dataset", err));
    DK_TRY(di_check_pointer(cursor, "cursor", err));
    if (*cursor && (!number_of(cursor, "seed=", &seed) || !number_of(cursor, "window=", &window)))
        return dk_fail(err, DK_E_FORMAT, "cursor \"%s\" is not what distill_dataset_tell gives: seed=N window=N",
                       cursor);
    if (*cursor) dataset->seed = (uint64_t)seed;
    dataset->position = window;
    dataset->told_end = 0;
out:
    return rc;
}
