/* A line of samples: any bytes give a record that is written and read back as itself, or an error; and what stands as
 * a value of any bytes is looked for within them. */
#include "augment/record.h"
#include "test.h"

static void check(dk_host *host, const char *json, size_t size)
{
    di_record *one = NULL, *two = NULL;
    dk_strbuf first, second;
    dk_error err;
    dk_strbuf_init(&first, host);
    dk_strbuf_init(&second, host);
    if (di_record_parse(host, json, size, "line:1", "#1", &one, &err)) return;
    di_record_write(one, 1, &first);
    if (dk_strbuf_check(&first, &err)) __builtin_trap();
    if (di_record_parse(host, first.data, first.size, "line:1", "#2", &two, &err)) __builtin_trap();
    di_record_write(two, 1, &second);
    if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0) __builtin_trap();
    (void)di_id_generation(one->id);
    di_record_free(one);
    di_record_free(two);
    dk_strbuf_free(&first);
    dk_strbuf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host = NULL;
    dk_strbuf out;
    dk_error err;
    if (size > 65536 || dk_host_create(NULL, &host, &err)) return 0;
    check(host, (const char *)data, size);
    dk_strbuf_init(&out, host);
    for (size_t i = 0; i < 4; i++) (void)di_raw_member((const char *)data, size, i, &out); /* of what is no JSON, too */
    dk_strbuf_free(&out);
    dk_host_release(host);
    return 0;
}
