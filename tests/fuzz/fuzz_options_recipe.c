#include "options/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted must read back as the same tree, from YAML and from JSON. */
static void check(dk_host *host, const di_options *options, int32_t json)
{
    dk_strbuf out;
    di_options *again;
    dk_error err;
    dk_strbuf_init(&out, host);
    if (json ? di_options_write_json(options, 0, &out, &err) : di_options_write_yaml(options, 0, &out, &err))
        __builtin_trap();
    if (di_options_create(host, &again, &err)) __builtin_trap();
    if (di_options_parse(again, out.data ? out.data : "", out.size, "again", NULL, &err)) __builtin_trap();
    if (!di_options_equal(options, again)) __builtin_trap();
    di_options_free(again);
    dk_strbuf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host;
    di_options *options;
    dk_error err;
    if (dk_host_create(NULL, &host, NULL)) return 0;
    if (!di_options_create(host, &options, &err)) {
        if (!di_options_parse(options, (const char *)data, size, "input", "folder", &err)) {
            check(host, options, 0);
            check(host, options, 1);
        }
        di_options_free(options);
    }
    dk_host_release(host);
    return 0;
}
