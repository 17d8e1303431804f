/* A pipeline with operators that remember, a barrier and kept targets, killed at random moments: it ends with the same
 * bytes, and the same rows of targets, as one that was let alone. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "augment_fixture.h"
#include "augment/record.h"
#include "base/hash.h"
#include "base/random.h"
#include "cache/target_cache.h"
#include "dataset/sample.h"

enum { SEEDS = 80, K = 3, KILLS = 20 };
static const char *const own = TEST_DATA "/../../examples/quickstart/teacher";
static const char *const steps =
    "[{label: answer, samples: 2, max_new_tokens: 5, temperature: 1, keep_logprobs: 3}, {drop: duplicate}, "
    "{drop: near_duplicate, jaccard: 0.9, ngram: 2}, {keep: novelty, rouge_l: 0.95, window: 50}, "
    "{keep: balance, field: kind, max: 90}, {keep: best, by: teacher_likelihood}, "
    "{vote: dawid_skene, classes: [x, y], fields: [va, vb, vc]}, {drop: duplicate, field: completion}]";

static void make_seeds(dk_host *host, dk_strbuf *out)
{
    static const char *const names[] = {"x", "y"}, *const words[] = {"boat", "tree", "person", "stone", "river"};
    dk_strbuf_init(out, host);
    for (uint64_t i = 0; i < SEEDS; i++) {
        const uint64_t draw = dk_random_u64(5, 1, i);
        dk_strbuf_printf(out, "{\"prompt\": \"a %s and a %s %d\", \"kind\": \"%s\"", words[draw % 5],
                         words[draw / 5 % 5], (int)(i / 2), words[i % 3]);
        for (int v = 0; v < 3; v++) {
            const uint64_t vote = draw >> (20 + 4 * v) & 15;
            dk_strbuf_printf(out,
                             vote == 15  ? ", \"v%c\": \"z\""
                             : vote > 12 ? ", \"v%c\": null"
                                         : ", \"v%c\": \"%s\"",
                             'a' + v, names[(i + (vote < 3)) % 2]);
        }
        dk_strbuf_puts(out, "}\n");
    }
}

static void open_run(bench *b, const char *name)
{
    open_bench(b, name, steps, "");
    dk_strbuf seeds;
    make_seeds(b->host, &seeds);
    write_text(b->in, seeds.data);
    dk_strbuf_free(&seeds);
    CHECK_OK(di_teacher_open(b->backend, own, 1, &b->teacher, &err));
    CHECK_OK(di_options_set(b->options, "generate.quantized", "exact", &err));
}

/* Of a file, "" where there is none. */
static void digest_of(const char *path, char hex[65])
{
    dk_sha256 sha;
    uint8_t digest[32];
    const char *text = read_text_of(path);
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, text, strlen(text));
    dk_sha256_end(&sha, digest);
    dk_hex(digest, 32, hex);
}

static void add_rows(dk_sha256 *sha, di_cache *cache, const di_cache_rows *found)
{
    di_row_reader reader;
    float values[K], rest;
    int32_t ids[K];
    int64_t k;
    REQUIRE_OK(di_cache_reader(cache, found, &reader, &err));
    for (int64_t r = 0; r < found->record.rows; r++) {
        REQUIRE_OK(di_row_get(&reader, ids, values, &k, &rest, &err));
        dk_sha256_add(sha, ids, sizeof ids);
        dk_sha256_add(sha, values, sizeof values);
        dk_sha256_add(sha, &rest, sizeof rest);
    }
}

/* The rows that stand there for each sample of the result, in its order. */
static void digest_targets(bench *b, char hex[65], int64_t *records)
{
    char path[1200];
    uint8_t digest[32], key[16];
    di_encoder encoder;
    di_encoded one;
    di_cache *cache = NULL;
    di_cache_rows found;
    dk_strbuf buffer;
    dk_sha256 sha;
    *records = 0;
    snprintf(path, sizeof path, "%s.targets", b->out);
    if (di_cache_open(b->host, path, 0, &cache, &err) ||
        di_encoder_init(&encoder, b->host, di_teacher_tokenizer(b->teacher), b->options, &err))
        exit(3);
    di_encoded_init(&one, b->host);
    dk_strbuf_init(&buffer, b->host);
    dk_sha256_begin(&sha);
    char *text = strdup(read_text_of(b->out));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        uint32_t flags;
        int64_t first = 0;
        di_encoded_clear(&one);
        di_record *record = NULL;
        dk_strbuf learnt;
        dk_strbuf_init(&learnt, b->host);
        CHECK_OK(di_record_parse(b->host, line, strlen(line), "line", "", &record, &err));
        di_record_write_learnt(record, &learnt);
        CHECK_OK(di_encode_json(&encoder, learnt.data, learnt.size, "line", &flags, &one, &err));
        di_record_free(record);
        dk_strbuf_free(&learnt);
        while (first + 1 < one.count && !one.learn[first + 1]) first++;
        di_cache_key(one.ids, one.count, key);
        dk_sha256_add(&sha, key, sizeof key);
        if (!di_cache_has(cache, key, one.count, first)) continue;
        CHECK_OK(di_cache_find(cache, key, one.count, first, &buffer, &found, &err));
        add_rows(&sha, cache, &found);
        ++*records;
    }
    free(text);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, 32, hex);
    dk_strbuf_free(&buffer);
    di_encoded_free(&one);
    di_encoder_free(&encoder);
    di_cache_free(cache);
}

static void pause_for(uint64_t microseconds)
{
    const struct timespec time = {(time_t)(microseconds / 1000000), (long)(microseconds % 1000000) * 1000};
    nanosleep(&time, NULL);
}

/* 1 = it was killed before its end. */
static int killed_within(bench *b, uint64_t microseconds)
{
    const pid_t child = fork();
    int status = 0;
    if (child < 0) exit(3);
    if (!child) _exit(run_bench(b) ? 1 : 0);
    pause_for(microseconds);
    kill(child, SIGKILL);
    if (waitpid(child, &status, 0) != child) exit(3);
    if (WIFEXITED(status) && WEXITSTATUS(status)) FAIL("a run that goes on fails");
    return WIFSIGNALED(status);
}

TEST(killed_at_any_moment)
{
    char want[3][65], got[3][65], aside[1200];
    uint64_t whole_time;
    int64_t records;
    int kills = 0, runs = 0;
    bench b;
    open_run(&b, "whole");
    const double began = dk_seconds();
    REQUIRE_OK(run_bench(&b));
    whole_time = (uint64_t)((dk_seconds() - began) * 1e6);
    snprintf(aside, sizeof aside, "%s.aside.jsonl", b.out);
    digest_of(b.out, want[0]);
    digest_of(aside, want[1]);
    CHECK_HAS(read_text_of(aside), "unknown_class");
    digest_targets(&b, want[2], &records);
    CHECK(records > 10);
    close_bench(&b);

    for (; kills < KILLS && runs < 3 * KILLS; runs++) {
        char name[32];
        int again = 1;
        snprintf(name, sizeof name, "killed%d", runs);
        open_run(&b, name);
        for (int k = 0; again && k < 4; k++) {
            again = killed_within(&b, whole_time / 50 + dk_random_u64(9, 1, (uint64_t)(64 * runs + k)) % whole_time);
            kills += again;
        }
        if (again) REQUIRE_OK(run_bench(&b));
        snprintf(aside, sizeof aside, "%s.aside.jsonl", b.out);
        digest_of(b.out, got[0]);
        digest_of(aside, got[1]);
        digest_targets(&b, got[2], &records);
        for (int i = 0; i < 3; i++)
            if (strcmp(got[i], want[i]) != 0)
                FAIL("run %d: %s differs", runs, i == 0 ? "the result" : i == 1 ? "aside" : "targets");
        close_bench(&b);
    }
    CHECK(kills >= KILLS);
}

TEST_MAIN(TEST_CASE(killed_at_any_moment))
