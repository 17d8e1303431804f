/* dataset_fixture.h - a tokenizer whose ids are bytes (0..255) followed by special tokens, files to read, and datasets
 * of options. */
#ifndef TESTS_DATASET_FIXTURE_H
#define TESTS_DATASET_FIXTURE_H

#include "dataset/dataset_parts.h"
#include "test.h"

enum {
    END_ID = 256,
    IM_START,
    IM_END,
    S_BEGIN,
    S_END,
    BEGIN_TEXT,
    START_HEADER,
    END_HEADER,
    EOT,
    INST,
    INST_END,
    PAD_ID,
    FIXTURE_VOCAB
};
static const char *const fixture_special[] = {
    "<|endoftext|>",       "<|im_start|>",      "<|im_end|>", "<s>",    "</s>",    "<|begin_of_text|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[INST]", "[/INST]", "<pad>"};

typedef struct fixture {
    dk_host *host;
    dk_tokenizer *tokenizer;
    di_options *options;
} fixture;

/* The character that byte-level BPE writes for a byte. */
static inline size_t fixture_byte(int byte, int *others, char out[4])
{
    int point = byte;
    if (byte < 33 || (byte > 126 && byte < 161) || byte == 173) point = 256 + (*others)++;
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    out[0] = (char)(0xc0 | point >> 6);
    out[1] = (char)(0x80 | (point & 63));
    return 2;
}

static inline dk_tokenizer *fixture_tokenizer(dk_host *host, int bos, int eos, const char *chat_template, dk_error *err)
{
    static char spelled[256][4];
    dk_slice tokens[FIXTURE_VOCAB];
    int32_t types[FIXTURE_VOCAB];
    dk_vocabulary vocabulary;
    dk_tokenizer *tokenizer = NULL;
    int others = 0;
    dk_vocabulary_init(&vocabulary);
    for (int i = 0; i < FIXTURE_VOCAB; i++) {
        size_t size = i < 256 ? fixture_byte(i, &others, spelled[i]) : strlen(fixture_special[i - 256]);
        tokens[i] = (dk_slice){i < 256 ? spelled[i] : fixture_special[i - 256], size};
        types[i] = i < 256 ? DK_TOKEN_NORMAL : DK_TOKEN_CONTROL;
    }
    vocabulary.kind = DK_VOCABULARY_BPE;
    vocabulary.pre = "gpt-2";
    vocabulary.tokens = tokens;
    vocabulary.types = types;
    vocabulary.count = FIXTURE_VOCAB;
    vocabulary.bos = bos;
    vocabulary.eos = eos;
    vocabulary.pad = eos;
    vocabulary.add_bos = bos >= 0;
    vocabulary.add_eos = 0;
    vocabulary.chat_template = chat_template;
    return dk_tokenizer_from_vocabulary(host, &vocabulary, &tokenizer, err) == DK_OK ? tokenizer : NULL;
}

/* options: "key=value" texts, ended by NULL. Sections are written out: "data.pack=false". */
static inline int fixture_open(fixture *f, const char *const *settings)
{
    dk_error err;
    memset(f, 0, sizeof *f);
    if (dk_host_create(NULL, &f->host, &err) || !(f->tokenizer = fixture_tokenizer(f->host, -1, END_ID, NULL, &err)) ||
        di_options_create(f->host, &f->options, &err)) {
        FAIL("fixture: %s", err.message);
        return 0;
    }
    for (; settings && *settings; settings++) {
        char key[64];
        const char *equals = strchr(*settings, '=');
        snprintf(key, sizeof key, "%.*s", (int)(equals - *settings), *settings);
        if (di_options_set(f->options, key, equals + 1, &err)) FAIL("%s: %s", *settings, err.message);
    }
    return 1;
}
#define OPTIONS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline void fixture_close(fixture *f)
{
    di_options_free(f->options);
    dk_tokenizer_release(f->tokenizer);
    dk_host_release(f->host);
}

static inline const char *fixture_bytes(const char *name, const void *data, size_t size)
{
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], TEST_TMP "/%s", name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) FAIL("%s cannot be written", path);
    return path;
}
static inline const char *fixture_file(const char *name, const char *text)
{
    return fixture_bytes(name, text, strlen(text));
}

static inline int64_t fixture_number(const di_dataset *dataset, const char *key)
{
    int64_t value = -99;
    dk_error err;
    if (di_dataset_get_i64(dataset, key, &value, &err)) FAIL("%s: %s", key, err.message);
    return value;
}

/* Texts of the tokens that are learnt ('_' for the others), with '|' between sequences. Special tokens in full. */
static inline const char *fixture_learnt(const di_batch *batch, int all)
{
    static char out[4][4096];
    static int next;
    char *text = out[next++ % 4];
    size_t at = 0;
    for (int64_t s = 0; s < batch->sequences; s++) {
        if (s) text[at++] = '|';
        for (int64_t i = batch->offsets[s]; i < batch->offsets[s + 1] && at < 4000; i++) {
            int32_t id = batch->ids[i];
            if (!all && !batch->learn[i]) text[at++] = '_';
            else if (id < 256) text[at++] = (char)id;
            else at += (size_t)snprintf(text + at, 40, "%s", fixture_special[id - 256]);
        }
    }
    text[at] = 0;
    return text;
}

/* One batch of all windows in order of the data. */
static inline di_batch *fixture_all(di_dataset *dataset)
{
    int64_t windows = fixture_number(dataset, "windows");
    di_batch *batch = NULL;
    dk_error err;
    if (di_batch_create(dataset, windows, &batch, &err) || di_dataset_windows(dataset, 0, windows, batch, &err))
        FAIL("%s", err.message);
    return batch;
}

#endif
