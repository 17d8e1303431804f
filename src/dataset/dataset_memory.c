/* dataset_memory.c - datasets of what the host hands over: a batch of tokens, callbacks. */
#include <string.h>

#include "dataset/dataset_parts.h"
#include "dataset/read_memory.h"

int32_t di_dataset_from_tokens(dk_host *host, const distill_batch *tokens, const di_options *options, di_dataset **out,
                               dk_error *err)
{
    di_builder builder = {0};
    di_store *store;
    di_rules rules;
    int32_t rc;
    di_rules_read(&rules, options);
    DK_TRY(di_builder_init(&builder, host, "tokens", NULL, DI_MEMORY_LIMIT, err));
    DK_TRY(di_read_batch(tokens, &builder, host, err));
    DK_TRY(di_builder_finish(&builder, &store, err));
    DK_TRY(di_dataset_create(store, &rules, NULL, out, err));
    di_dataset_tell(*out);
out:
    di_builder_free(&builder);
    return rc;
}

static int32_t check_table(const distill_dataset_callbacks *table, dk_error *err)
{
    if (!table->get) return dk_fail(err, DK_E_INVALID, "table: get is NULL");
    if (table->count < -1)
        return dk_fail(err, DK_E_INVALID, "table: count %lld is neither a number of samples nor -1 for a stream",
                       (long long)table->count);
    return DK_OK;
}

int32_t di_dataset_from_callbacks(dk_host *host, const distill_dataset_callbacks *table, dk_tokenizer *tokenizer,
                                  const di_options *options, di_dataset **out, dk_error *err)
{
    di_builder builder = {0};
    di_dataset *dataset = NULL;
    di_store *store = NULL;
    di_encoder encoder = {0};
    di_rules rules;
    int32_t rc, owned = 0;
    di_rules_read(&rules, options);
    DK_TRY(check_table(table, err));
    DK_TRY(di_encoder_init(&encoder, host, tokenizer, options, err));
    DK_TRY(di_builder_init(&builder, host, "the host's samples", tokenizer, DI_MEMORY_LIMIT, err));
    builder.store->callbacks = *table;
    owned = 1; /* from here on the store calls destroy */
    if (table->count >= 0) DK_TRY(di_read_callbacks(&encoder, table, &builder, err));
    DK_TRY(di_builder_finish(&builder, &store, err));
    DK_TRY(di_dataset_create(store, &rules, NULL, &dataset, err));
    if (table->count < 0) DK_TRY(di_sample_stream_create(&encoder, table, &rules, &dataset->stream, err));
    di_dataset_tell(dataset);
    *out = dataset;
    dataset = NULL;
out:
    di_encoder_free(&encoder);
    di_builder_free(&builder);
    di_dataset_release(dataset);
    if (!owned && table->destroy) table->destroy(table->user);
    return rc;
}
