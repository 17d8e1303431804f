/* classifier_fixture.h - texts of three kinds that words tell apart, as lines of JSON and as a file. */
#ifndef TESTS_CLASSIFIER_CLASSIFIER_FIXTURE_H
#define TESTS_CLASSIFIER_CLASSIFIER_FIXTURE_H

#include "base/file.h"
#include "classifier/classifier_parts.h"
#include "test.h"

typedef struct fixture {
    dk_host *host;
    dk_backend *backend;
    di_registry *registry;
    di_options *options;
    char folder[600];
    dk_error err;
} fixture;

static inline void fixture_open(fixture *f, const char *name)
{
    memset(f, 0, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "%s/%s", TEST_TMP, name);
    if (dk_host_create(NULL, &f->host, &f->err) || dk_backend_cpu(f->host, &f->backend, &f->err) ||
        di_registry_create(f->host, &f->registry, &f->err) || di_options_create(f->host, &f->options, &f->err) ||
        dk_dir_remove(f->host, f->folder, &f->err) || dk_dir_create(f->host, f->folder, &f->err)) {
        fprintf(stderr, "%s\n", f->err.message);
        exit(3);
    }
}

static inline void fixture_close(fixture *f)
{
    di_options_free(f->options);
    di_registry_free(f->registry);
    dk_backend_free(f->backend);
    dk_host_release(f->host);
}

static inline void set(fixture *f, const char *key, const char *value)
{
    if (di_options_set(f->options, key, value, &f->err)) FAIL("%s: %s", key, f->err.message);
}

static inline void set_path(fixture *f, const char *key, const char *name)
{
    if (di_options_set_str(f->options, key, test_path(f->folder, name), &f->err)) FAIL("%s: %s", key, f->err.message);
}

static inline void write_text(fixture *f, const char *name, const char *text)
{
    if (dk_file_replace(f->host, test_path(f->folder, name), text, strlen(text), &f->err)) FAIL("%s", f->err.message);
}

/* Line number i of texts that say "ball", "paint" or "atom" among other words; p is 0.9 of theirs. */
static inline void some_line(int i, char *out, size_t size)
{
    static const char *const words[3] = {"the ball flew over goal", "she would paint a canvas",
                                         "an atom has electrons"};
    static const char *const names[3] = {"sport", "art", "science"};
    const int kind = i % 3;
    snprintf(out, size, "{\"text\": \"%s %d and %d\", \"probabilities\": {\"%s\": 0.9, \"%s\": 0.06, \"%s\": 0.04}}\n",
             words[kind], i, i * 7 % 13, names[kind], names[(kind + 1) % 3], names[(kind + 2) % 3]);
}

static inline void write_lines(fixture *f, const char *name, int first, int count)
{
    dk_strbuf text;
    dk_strbuf_init(&text, f->host);
    for (int i = first; i < first + count; i++) {
        char line[256];
        some_line(i, line, sizeof line);
        dk_strbuf_puts(&text, line);
    }
    write_text(f, name, text.data);
    dk_strbuf_free(&text);
}

static inline int32_t train(fixture *f, int32_t resume, di_classifier **out, dk_strbuf *json, dk_error *err)
{
    const di_classifier_args args = {
        .backend = f->backend, .registry = f->registry, .options = f->options, .resume = resume};
    return di_classifier_train(&args, out, json, err);
}

/* A recipe that learns them in a moment. */
static inline void set_recipe(fixture *f)
{
    write_lines(f, "train.jsonl", 0, 60);
    write_lines(f, "eval.jsonl", 600, 120);
    set_path(f, "data.train", "train.jsonl");
    set_path(f, "data.eval", "eval.jsonl");
    set(f, "loss.type", "forward_kl");
    set(f, "train.steps", "60");
    set(f, "train.batch_size", "16");
    set(f, "train.learning_rate", "0.05");
    set(f, "train.weight_decay", "0");
    set(f, "classifier.ngrams.bits", "12");
}

#endif
