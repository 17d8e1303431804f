/* What ranks of an augmentation tell each other: any bytes are read within themselves, and what is taken has offsets
 * and rows that a loop may go by; or they are refused. The first byte says which message. */
#include <string.h>

#include "augment/rank_messages.h"
#include "test.h"

static uint64_t touched; /* so that every byte is read */

static void touch(const void *items, int64_t count, size_t size)
{
    for (int64_t i = 0; i < count * (int64_t)size; i++) touched += ((const unsigned char *)items)[i];
}

static int64_t item(const void *items, int64_t i)
{
    int64_t value;
    memcpy(&value, (const char *)items + i * (int64_t)sizeof value, sizeof value);
    return value;
}

static void check_offsets(const void *offsets, int64_t count, int64_t ids)
{
    for (int64_t i = 0; i < count; i++)
        if (item(offsets, i) < 0 || item(offsets, i) > item(offsets, i + 1) || item(offsets, i + 1) > ids)
            __builtin_trap();
}

static void read_prompts(const dk_strbuf *bytes)
{
    di_prompts_question q;
    dk_error err;
    if (di_prompts_question_read(bytes, &q, &err)) return;
    check_offsets(q.offsets, q.count, q.ids_count);
    touch(q.draws, q.count * q.samples, sizeof(uint64_t));
    touch(q.ids, q.ids_count, sizeof(int32_t));
}

static void read_rows(const dk_strbuf *bytes)
{
    di_rows_question q;
    dk_error err;
    if (di_rows_question_read(bytes, &q, &err)) return;
    check_offsets(q.offsets, q.sequences, q.count);
    for (int64_t i = 0; i < q.row_count; i++)
        if (item(q.rows, i) < 0 || item(q.rows, i) >= q.count) __builtin_trap();
    touch(q.ids, q.count, sizeof(int32_t));
}

static void read_answers(const dk_strbuf *bytes, int64_t keep)
{
    di_prompts_answer a;
    dk_message m;
    dk_error err;
    dk_message_open(&m, bytes->data, bytes->size);
    while (m.left && di_prompts_answer_read(&m, keep, &a, &err) == DK_OK) {
        touch(a.text, a.text_size, 1);
        touch(a.ids, a.count, sizeof(int32_t));
        touch(a.top_ids, a.count * keep, sizeof(int32_t));
        touch(a.top, a.count * keep, sizeof(float));
    }
    (void)dk_message_end(&m, "answers", &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dk_host *host;
    dk_strbuf bytes;
    dk_error err;
    if (!size || (!host && dk_host_create(NULL, &host, &err))) return 0;
    dk_strbuf_init(&bytes, host);
    dk_strbuf_append(&bytes, data + 1, size - 1);
    if (data[0] % 3 == 0) read_prompts(&bytes);
    else if (data[0] % 3 == 1) read_rows(&bytes);
    else read_answers(&bytes, data[0] / 3);
    dk_strbuf_free(&bytes);
    return 0;
}
