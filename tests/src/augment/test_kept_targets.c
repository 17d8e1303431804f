/* keep_logprobs: what the teacher said of its own words is what training finds of them. */
#include "augment_fixture.h"
#include "cache/target_cache.h"
#include "dataset/dataset.h"
#include "dataset/sample.h"

enum { K = 8, MOST = 600 };
static const char *const own = TEST_DATA "/../../examples/quickstart/teacher";
static const char *const seeds = "{\"prompt\": \"the quality of being\"}\n{\"prompt\": \"someone who\"}\n"
                                 "{\"prompt\": \"a small boat\"}\n{\"prompt\": \"of or relating to\"}\n";

static void open_kept(bench *b, const char *name, const char *more)
{
    char steps[300];
    snprintf(steps, sizeof steps, "[{label: answer, max_new_tokens: 12, samples: 3, keep_logprobs: %d%s}]", K, more);
    open_bench(b, name, steps, seeds);
    CHECK_OK(di_teacher_open(b->backend, own, 1, &b->teacher, &err));
    CHECK_OK(di_options_set(b->options, "generate.quantized", "exact", &err));
}

static void targets_of(const bench *b, char path[1200]) { snprintf(path, 1200, "%s.targets", b->out); }

static int64_t others;

/* Rows of a record against what the teacher scores for the same sequence. */
static void check_record(bench *b, di_cache *cache, const int32_t *ids, int64_t count, int64_t first, int64_t rows)
{
    float values[MOST * K], tail[MOST], got[K], rest;
    int32_t top[MOST * K], got_ids[K];
    int64_t offsets[2] = {0, count}, shape[2] = {count - 1, K}, k;
    uint8_t key[16];
    distill_tensor value_tensor = di_tensor_of(values, DISTILL_FLOAT, 32, 2, shape),
                   id_tensor = di_tensor_of(top, DISTILL_INT, 32, 2, shape),
                   tail_tensor = di_tensor_of(tail, DISTILL_FLOAT, 32, 1, shape);
    distill_batch batch;
    distill_target target;
    di_cache_rows found;
    di_row_reader reader;
    dk_strbuf buffer;
    dk_strbuf_init(&buffer, b->host);
    DISTILL_INIT(&batch);
    batch.ids = ids, batch.offsets = offsets, batch.sequences = 1;
    DISTILL_INIT(&target);
    target.kind = DISTILL_TOPK, target.values = &value_tensor, target.ids = &id_tensor, target.tail = &tail_tensor;
    REQUIRE_OK(di_teacher_log_probs(b->teacher, &batch, 1, NULL, &target, &err));
    di_cache_key(ids, count, key);
    if (!di_cache_has(cache, key, count, first)) { /* its words have other tokens than were generated */
        others++;
        return;
    }
    REQUIRE_OK(di_cache_find(cache, key, count, first, &buffer, &found, &err));
    CHECK_INT(found.record.first, first);
    CHECK_INT(found.record.rows, rows);
    REQUIRE_OK(di_cache_reader(cache, &found, &reader, &err));
    for (int64_t r = 0; r < rows; r++) {
        REQUIRE_OK(di_row_get(&reader, got_ids, got, &k, &rest, &err));
        CHECK_INT(k, K);
        for (int64_t i = 0; i < k; i++) { /* found among the teacher's, within what the file rounds */
            int64_t at = 0;
            while (at < K && top[(first + r) * K + at] != got_ids[i]) at++;
            if (at == K) FAIL("row %d: id %d is none of the likeliest", (int)r, (int)got_ids[i]);
            else CHECK_NEAR((double)got[i], (double)values[(first + r) * K + at], 0.04);
        }
        CHECK_NEAR(exp((double)rest), exp((double)tail[first + r]), 0.01);
    }
    dk_strbuf_free(&buffer);
}

/* Every sample of the result, as the dataset reads it: {encoded, first learnt, rows}. */
static int64_t check_all(bench *b, di_cache *cache)
{
    di_encoder encoder;
    di_encoded encoded;
    int64_t lines = 0;
    char *text = strdup(read_text_of(b->out));
    if (di_encoder_init(&encoder, b->host, di_teacher_tokenizer(b->teacher), b->options, &err)) exit(3);
    di_encoded_init(&encoded, b->host);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        uint32_t flags;
        int64_t first = 0, learnt = 0;
        di_encoded_clear(&encoded);
        CHECK_OK(di_encode_json(&encoder, line, strlen(line), "out", &flags, &encoded, &err));
        while (!encoded.learn[first]) first++;
        while (first + learnt < encoded.count && encoded.learn[first + learnt]) learnt++;
        const int32_t cut = learnt == 13; /* twelve tokens, and an end that nobody wrote */
        check_record(b, cache, encoded.ids, encoded.count, first - 1, cut ? 12 : learnt);
    }
    di_encoded_free(&encoded);
    di_encoder_free(&encoder);
    free(text);
    return lines;
}

TEST(rows_are_what_the_teacher_says)
{
    bench b;
    di_cache *cache = NULL;
    char path[1200];
    open_kept(&b, "rows", "");
    REQUIRE_OK(run_bench(&b));
    targets_of(&b, path);
    REQUIRE_OK(di_cache_open(b.host, path, 0, &cache, &err));
    CHECK_INT(di_cache_get_header(cache)->tier, DI_TIER_TOP_K);
    CHECK_INT(di_cache_get_header(cache)->width, K);
    others = 0;
    CHECK_INT(check_all(&b, cache), 12);
    CHECK(others <= 3 && others == 12 - di_cache_get_info(cache).records);
    CHECK_HAS(b.report.data, "\"unmatched\":");
    di_cache_free(cache);
    close_bench(&b);
}

/* Answers that ended have a target for each learnt token: training on them asks no teacher. */
TEST(only_what_matches_is_trained_on_without_a_teacher)
{
    bench b;
    char path[1200];
    di_teacher *kept = NULL;
    di_dataset *data = NULL;
    di_batch *batch = NULL;
    di_session *session = NULL;
    distill_batch view;
    open_kept(&b, "matched", "");
    CHECK_OK(di_options_set(b.options, "augment.steps",
                            "[{label: answer, samples: 8, keep_logprobs: 8, only_matched: true, max_new_tokens: 60}]",
                            &err));
    CHECK_OK(di_options_set(b.options, "generate.logit_bias", "{0: 16}", &err)); /* it ends soon */
    REQUIRE_OK(run_bench(&b));
    CHECK(!strstr(b.report.data, "unmatched"));
    CHECK(strstr(read_text_of(b.out), "\"completion\"") != NULL);
    targets_of(&b, path);
    REQUIRE_OK(di_teacher_cached(b.backend, path, NULL, NULL, &kept, &err));
    REQUIRE_OK(di_dataset_open(b.host, b.out, di_teacher_tokenizer(b.teacher), NULL, &data, &err));
    REQUIRE_OK(di_batch_create(data, 1, &batch, &err));
    REQUIRE_OK(di_session_create(kept, batch->max_tokens, batch->max_sequences, batch->max_tokens, &session, &err));
    int64_t windows = 0;
    while (!di_dataset_windows(data, windows, 1, batch, &err)) { /* nothing is missing */
        di_batch_view(batch, &view);
        CHECK_OK(di_session_forward(session, &view, &err));
        windows++;
    }
    CHECK(windows > 0);
    di_session_free(session);
    di_batch_free(batch);
    di_dataset_release(data);
    di_teacher_release(kept);
    close_bench(&b);
}

/* Fields that training takes for something else, as the label of a vote, change no token. */
TEST(a_vote_beside_kept_targets)
{
    bench b;
    open_kept(&b, "vote", "");
    CHECK_OK(di_options_set(
        b.options, "augment.steps",
        "[{label: answer, max_new_tokens: 4, keep_logprobs: 4}, {label: class, classes: [sea, land], into: by_a}, "
        "{vote: majority, classes: [sea, land], fields: [by_a]}]",
        &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_HAS(read_text_of(b.out), "\"label\":\"");
    close_bench(&b);
}

TEST(one_file_of_targets_has_one_width)
{
    bench b;
    char path[1200];
    di_cache *cache = NULL;
    open_kept(&b, "twice", "");
    CHECK_OK(di_options_set(b.options, "augment.steps",
                            "[{label: answer, max_new_tokens: 4, keep_logprobs: 4}, {label: answer, keep_logprobs: 5}]",
                            &err));
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "keep_logprobs 5 is not the 4 of another step");
    CHECK_OK(di_options_set(b.options, "augment.steps", "[{label: answer, only_matched: true}]", &err));
    CHECK_INT(run_bench(&b), DK_E_OPTION);
    CHECK_HAS(err.message, "only_matched goes with keep_logprobs");
    /* a run that is overwritten begins with a new file of targets */
    CHECK_OK(
        di_options_set(b.options, "augment.steps", "[{label: answer, max_new_tokens: 4, keep_logprobs: 4}]", &err));
    REQUIRE_OK(run_bench(&b));
    CHECK_OK(
        di_options_set(b.options, "augment.steps", "[{label: answer, max_new_tokens: 4, keep_logprobs: 3}]", &err));
    CHECK_OK(di_options_set(b.options, "augment.overwrite", "true", &err));
    REQUIRE_OK(run_bench(&b));
    targets_of(&b, path);
    REQUIRE_OK(di_cache_open(b.host, path, 0, &cache, &err));
    CHECK_INT(di_cache_get_header(cache)->width, 3);
    CHECK_INT(di_cache_get_info(cache).records, 4);
    di_cache_free(cache);
    close_bench(&b);
}

TEST_MAIN(TEST_CASE(rows_are_what_the_teacher_says) TEST_CASE(only_what_matches_is_trained_on_without_a_teacher)
              TEST_CASE(a_vote_beside_kept_targets) TEST_CASE(one_file_of_targets_has_one_width))
