#include "model/architecture.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read must be read the same from the text that would be saved. */
static void read_again(dk_host *host, const dk_config *config)
{
    dk_error err = {0};
    dk_config again = {0};
    dk_document *doc = NULL;
    char *derived = NULL;
    const int64_t layers[1] = {config->layers - 1};
    if (dk_json_parse(host, config->json, strlen(config->json), "saved", &doc, &err) ||
        dk_config_read(host, doc, &again, &err))
        abort();
    if (again.layers != config->layers || strcmp(again.json, config->json) || again.rope.kind != config->rope.kind)
        abort();
    if (dk_config_derive_text(host, config, &(dk_keep){.layers = layers, .layer_count = 1}, &derived, &err)) abort();
    dk_free(host, derived);
    dk_document_free(doc);
    dk_config_free(host, &again);
}

static void read_json(dk_host *host, const char *data, size_t size)
{
    dk_error err = {0};
    dk_config config = {0};
    dk_document *doc = NULL;
    if (!dk_json_parse(host, data, size, "input", &doc, &err) && !dk_config_read(host, doc, &config, &err))
        read_again(host, &config);
    dk_config_free(host, &config);
    dk_document_free(doc);
}

/* A GGUF file describes a model too. */
static void read_gguf(dk_host *host, const uint8_t *data, size_t size)
{
    dk_error err = {0};
    dk_config config = {0};
    dk_checkpoint *file = NULL;
    if (!dk_checkpoint_parse(host, data, size, "input", 0, &file, &err) &&
        !dk_config_from_gguf(host, file, &config, &err))
        read_again(host, &config);
    dk_config_free(host, &config);
    dk_checkpoint_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host = NULL;
    dk_error err = {0};
    if (dk_host_create(NULL, &host, &err)) return 0;
    if (size >= 4 && !memcmp(data, "GGUF", 4)) read_gguf(host, data, size);
    else read_json(host, (const char *)data, size);
    dk_host_release(host);
    return 0;
}
