/* Lines of JSONL and pieces of text, with each chat template: any bytes give tokens or an error. */
#include "../src/dataset/dataset_fixture.h"

#include "dataset/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const templates[] = {"auto", "chatml", "llama2", "llama3", "mistral"};
    static fixture f;
    dk_error err;
    if (!f.host && !fixture_open(&f, OPTIONS("data.sequence_length=16"))) return 0;
    if (!size || size > 4096 || di_options_set(f.options, "data.chat_template", templates[data[0] % 5], &err)) return 0;
    di_encoder encoder;
    if (di_encoder_init(&encoder, f.host, f.tokenizer, f.options, NULL)) __builtin_trap();
    for (di_format format = DI_FORMAT_TEXT; format <= DI_FORMAT_ARRAY; format++) {
        di_builder builder;
        di_store *store = NULL;
        di_reading reading = {&encoder, &builder, "fuzz", NULL, NULL};
        if (di_builder_init(&builder, f.host, "fuzz", f.tokenizer, 64, &err) != DK_OK) break;
        if (di_read_file(&reading, data, size, format, "\n\n", &err) == DK_OK)
            di_builder_finish(&builder, &store, &err);
        di_builder_free(&builder);
        di_store_release(store);
    }
    di_encoder_free(&encoder);
    return 0;
}
