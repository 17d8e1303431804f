/* augment_fixture.h - a recipe, its seeds and its result in a folder of their own. */
#ifndef TESTS_AUGMENT_FIXTURE_H
#define TESTS_AUGMENT_FIXTURE_H

#include "augment/augment.h"
#include "base/file.h"
#include "test.h"

static dk_error err;

typedef struct bench {
    dk_host *host;
    dk_backend *backend;
    di_options *options;
    di_teacher *teacher; /* NULL = none */
    dk_strbuf report;
    char in[1100], out[1100];
} bench;

static inline void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file)) exit(3);
}

/* The text of a file until the next call; "" = there is none. */
static inline const char *read_text_of(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[size] = 0;
    if (file) fclose(file);
    return text;
}

static inline void open_bench(bench *b, const char *name, const char *steps, const char *seeds)
{
    const char *folder = test_folder(name);
    memset(b, 0, sizeof *b);
    if (dk_host_create(NULL, &b->host, &err) || dk_backend_cpu(b->host, &b->backend, &err) ||
        di_options_create(b->host, &b->options, &err))
        exit(3);
    dk_strbuf_init(&b->report, b->host);
    snprintf(b->in, sizeof b->in, "%s/seeds.jsonl", folder);
    snprintf(b->out, sizeof b->out, "%s/out.jsonl", folder);
    write_text(b->in, seeds);
    CHECK_OK(di_options_set(b->options, "augment.steps", steps, &err));
}

static inline int32_t run_bench(bench *b)
{
    const di_augment_args args = {
        .backend = b->backend, .teacher = b->teacher, .options = b->options, .in = b->in, .out = b->out};
    dk_strbuf_clear(&b->report);
    return di_augment(&args, &b->report, &err);
}

static inline void close_bench(bench *b)
{
    di_teacher_release(b->teacher);
    dk_strbuf_free(&b->report);
    di_options_free(b->options);
    dk_backend_free(b->backend);
    dk_host_release(b->host);
}

#endif
