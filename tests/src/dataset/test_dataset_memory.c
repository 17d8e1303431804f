/* test_dataset_memory.c - batches in memory, a host's callbacks, streams. */
#include "dataset_fixture.h"

static const int32_t ids[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
static const int64_t offsets[] = {0, 4, 9};

static distill_batch tokens(void)
{
    distill_batch batch;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 2;
    return batch;
}

TEST(a_batch_is_copied_whole)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    distill_batch batch = tokens();
    REQUIRE(fixture_open(&f, NULL));
    REQUIRE_OK(di_dataset_from_tokens(f.host, &batch, f.options, &dataset, &err));
    di_batch *out = fixture_all(dataset);
    CHECK_INT(out->sequences, 2);
    CHECK_INT(out->rows, 7);
    CHECK(memcmp(out->ids, ids, sizeof ids) == 0);
    CHECK_INT(fixture_number(dataset, "bytes"), -1);
    CHECK_INT(di_dataset_check_vocab(dataset, 10, &err), DK_OK);
    CHECK_INT(di_dataset_check_vocab(dataset, 9, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "tokens has token 9, the model's vocabulary ends at 8");
    di_batch_free(out);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(rows_and_weights_say_what_is_learnt)
{
    const int64_t rows[] = {0, 2, 5, 6};
    const float weights[] = {1, 0.5f, 0, 2};
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    distill_batch batch = tokens();
    batch.rows = rows;
    batch.weights = weights;
    batch.row_count = 4;
    REQUIRE(fixture_open(&f, NULL));
    REQUIRE_OK(di_dataset_from_tokens(f.host, &batch, f.options, &dataset, &err));
    di_batch *out = fixture_all(dataset);
    CHECK_INT(out->rows, 3); /* weight 0 is no label */
    CHECK(out->row[0] == 0 && out->row[1] == 2 && out->row[2] == 6);
    CHECK(out->labels[0] == 2 && out->labels[1] == 4 && out->labels[2] == 8);
    CHECK(out->weights[0] == 1 && out->weights[1] == 0.5f && out->weights[2] == 2);
    CHECK_NEAR(out->weight_sum, 3.5, 0);
    di_batch_free(out);
    di_dataset_release(dataset);
    fixture_close(&f);
}

static void check_batch(const distill_batch *batch, int32_t code, const char *part)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, NULL));
    CHECK_INT(di_dataset_from_tokens(f.host, batch, f.options, &dataset, &err), code);
    CHECK_HAS(err.message, part);
    fixture_close(&f);
}

TEST(wrong_batches_are_refused)
{
    const int32_t negative[] = {1, -2, 3, 4, 5, 6, 7, 8, 9};
    const int64_t falling[] = {0, 5, 4}, late[] = {1, 4, 9}, behind[] = {3}, twice[] = {1, 1};
    const float nan_weight[] = {NAN}, less[] = {-1};
    distill_batch batch = tokens();
    batch.ids = negative;
    check_batch(&batch, DK_E_INVALID, "tokens: sequence 0: token 1 of a sample is id -2");
    batch = tokens();
    batch.offsets = falling;
    check_batch(&batch, DK_E_INVALID, "offsets[2] is 4, less than the one before");
    batch.offsets = late;
    check_batch(&batch, DK_E_INVALID, "offsets[0] is 1");
    batch = tokens();
    batch.sequences = 0;
    check_batch(&batch, DK_E_INVALID, "at least one is needed");
    batch = tokens();
    batch.rows = behind;
    batch.row_count = 1;
    check_batch(&batch, DK_E_INVALID, "rows[0] is 3, the last token of its sequence");
    batch.rows = twice;
    batch.row_count = 2;
    check_batch(&batch, DK_E_INVALID, "rows[1] is 1; rows ascend");
    batch.row_count = 1;
    batch.weights = nan_weight;
    check_batch(&batch, DK_E_NUMERIC, "tokens: token 1, in sequence 0: row 0 has weight nan");
    batch.weights = less;
    check_batch(&batch, DK_E_INVALID, "tokens: token 1, in sequence 0: row 0 has weight -1: a number >= 0 that");
}

/* ---- callbacks ---- */

typedef struct source {
    int64_t calls, destroyed, last;
    int64_t fail_at;
    int32_t answer;
    distill_sample sample; /* what fail_at gives when answer is DISTILL_CB_OK */
    int64_t end;
} source;

static int32_t get(void *user, int64_t index, distill_sample *out)
{
    static int32_t sample[5];
    static char text[64];
    source *s = user;
    s->calls++;
    s->last = index;
    if (index == s->fail_at && s->answer) return s->answer;
    if (s->end && index >= s->end) return DISTILL_CB_END;
    if (index == s->fail_at) {
        *out = s->sample;
        return DISTILL_CB_OK;
    }
    out->kind = (int32_t)(1 + index % 3);
    if (out->kind == DISTILL_SAMPLE_TOKENS) {
        for (int i = 0; i < 5; i++) sample[i] = 'A' + (int32_t)(index % 26);
        out->ids = sample;
        out->count = 5;
        out->prompt_count = 2;
        out->weight = 0.5;
    } else {
        snprintf(text, sizeof text,
                 out->kind == DISTILL_SAMPLE_TEXT ? "%c%lld" : "{\"prompt\": \"%c\", \"completion\": \"%lld\"}",
                 (int)('A' + index % 26), (long long)index);
        out->text = text;
        out->size = (int64_t)strlen(text);
    }
    return DISTILL_CB_OK;
}

static void destroy(void *user) { ((source *)user)->destroyed++; }

static distill_dataset_callbacks table_of(source *s, int64_t count)
{
    distill_dataset_callbacks table;
    DISTILL_INIT(&table);
    table.user = s;
    table.get = get;
    table.destroy = destroy;
    table.count = count;
    return table;
}

TEST(callbacks_give_tokens_text_and_json)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    source s = {.fail_at = -1};
    distill_dataset_callbacks table = table_of(&s, 3);
    REQUIRE(fixture_open(&f, OPTIONS("data.pack=false")));
    REQUIRE_OK(di_dataset_from_callbacks(f.host, &table, f.tokenizer, f.options, &dataset, &err));
    CHECK_INT(s.calls, 3);
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 1), "AAAAA|B1<|endoftext|>|C2<|endoftext|>");
    CHECK_STR(fixture_learnt(batch, 0), "__AAA|_1<|endoftext|>|_2<|endoftext|>");
    CHECK_NEAR(batch->weight_sum, 1.5 + 4, 0);
    CHECK_INT(s.destroyed, 0);
    di_batch_free(batch);
    di_dataset_release(dataset);
    CHECK_INT(s.destroyed, 1);
    fixture_close(&f);
}

static void check_get(source *s, int with_tokenizer, int32_t code, int32_t user_code, const char *part)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    distill_dataset_callbacks table = table_of(s, 5);
    REQUIRE(fixture_open(&f, NULL));
    CHECK_INT(di_dataset_from_callbacks(f.host, &table, with_tokenizer ? f.tokenizer : NULL, f.options, &dataset, &err),
              code);
    CHECK_HAS(err.message, part);
    CHECK_INT(err.user_code, user_code);
    CHECK_INT(s->destroyed, 1);
    CHECK(dataset == NULL);
    fixture_close(&f);
}

TEST(failures_of_callbacks_are_told)
{
    const int32_t outside[] = {1, 2, 99999};
    source s = {.fail_at = 2, .answer = 42};
    check_get(&s, 1, DK_E_CALLBACK, 42, "sample 2: the host's get returned 42");
    s = (source){.fail_at = 2, .answer = DISTILL_CB_CANCEL};
    check_get(&s, 1, DK_E_CANCELLED, 0, "sample 2: cancelled");
    s = (source){.fail_at = -1, .end = 4};
    check_get(&s, 1, DK_E_CALLBACK, DISTILL_CB_END, "sample 4: the host's get says that there is none, but count is 5");
    s = (source){.fail_at = 1};
    DISTILL_INIT(&s.sample);
    s.sample.kind = DISTILL_SAMPLE_TOKENS;
    s.sample.ids = outside;
    s.sample.count = 3;
    check_get(&s, 1, DK_E_INVALID, 0, "sample 1: token 2 is id 99999, outside the vocabulary of 268");
    s.destroyed = 0;
    s.sample.count = 2;
    s.sample.weight = NAN;
    check_get(&s, 1, DK_E_NUMERIC, 0, "sample 1 has weight nan");
    s.destroyed = 0;
    s.sample.weight = 0;
    s.sample.prompt_count = 3;
    check_get(&s, 1, DK_E_INVALID, 0, "sample 1: prompt_count 3 is not in [0, 2]");
    s.destroyed = 0;
    s.sample.kind = 9;
    check_get(&s, 1, DK_E_INVALID, 0, "sample 1: kind 9 is none of");
    s.destroyed = 0;
    s.sample.kind = DISTILL_SAMPLE_JSON;
    s.sample.text = "{\"text\": 1}";
    s.sample.size = 11;
    check_get(&s, 1, DK_E_FORMAT, 0, "sample 1: \"text\" must be text");
    s = (source){.fail_at = -1};
    check_get(&s, 0, DK_E_INVALID, 0, "sample 1: is text, and no tokenizer was given");
}

TEST(weights_that_a_float_cannot_hold_are_refused)
{
    static const struct {
        double weight;
        int32_t code;
        const char *part;
    } wrong[] = {{-1, DK_E_INVALID, "sample 1 has weight -1"},
                 {INFINITY, DK_E_NUMERIC, "sample 1 has weight inf"},
                 {1e300, DK_E_INVALID, "sample 1 has weight 1e+300"},
                 {1e-300, DK_E_INVALID, "sample 1 has weight 1e-300"}};
    const int32_t some[] = {1, 2};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        source s = {.fail_at = 1};
        DISTILL_INIT(&s.sample);
        s.sample.kind = DISTILL_SAMPLE_TOKENS;
        s.sample.ids = some;
        s.sample.count = 2;
        s.sample.weight = wrong[i].weight;
        check_get(&s, 1, wrong[i].code, 0, wrong[i].part);
    }
}

TEST(a_table_is_destroyed_once_whatever_happens)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL, *train = NULL, *held_out = NULL;
    source s = {.fail_at = -1};
    distill_dataset_callbacks table = table_of(&s, 20);
    REQUIRE(fixture_open(&f, NULL));
    table.get = NULL;
    CHECK_INT(di_dataset_from_callbacks(f.host, &table, f.tokenizer, f.options, &dataset, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "get is NULL");
    CHECK_INT(s.destroyed, 1);
    table = table_of(&s, -2);
    CHECK_INT(di_dataset_from_callbacks(f.host, &table, f.tokenizer, f.options, &dataset, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "count -2 is neither");
    CHECK_INT(s.destroyed, 2);
    table = table_of(&s, 0);
    CHECK_INT(di_dataset_from_callbacks(f.host, &table, f.tokenizer, f.options, &dataset, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "it has no sample at all");
    CHECK_INT(s.destroyed, 3);
    table = table_of(&s, 20);
    REQUIRE_OK(di_dataset_from_callbacks(f.host, &table, f.tokenizer, f.options, &dataset, &err));
    REQUIRE_OK(di_dataset_split(dataset, 0.2, &train, &held_out, &err));
    di_dataset_release(dataset);
    di_dataset_release(train);
    CHECK_INT(s.destroyed, 3);
    di_dataset_release(held_out);
    CHECK_INT(s.destroyed, 4);
    fixture_close(&f);
}

/* ---- streams ---- */

/* ---- epochs, identities ---- */

static int32_t several(void *user, int64_t index, distill_sample *out)
{
    static int32_t own[3];
    (void)user;
    for (int i = 0; i < 3; i++) own[i] = (int32_t)(index % 200) + i;
    out->kind = DISTILL_SAMPLE_TOKENS;
    out->ids = own;
    out->count = 3;
    return DISTILL_CB_OK;
}

/* 41 samples one by one; NULL = failed. */
static di_dataset *open_several(fixture *f, dk_error *err)
{
    distill_dataset_callbacks table;
    di_dataset *dataset = NULL;
    DISTILL_INIT(&table);
    table.get = several;
    table.count = 41;
    if (fixture_open(f, OPTIONS("data.pack=false")))
        di_dataset_from_callbacks(f->host, &table, f->tokenizer, f->options, &dataset, err);
    return dataset;
}

TEST(an_epoch_sees_every_sample_once_and_ends_with_a_smaller_batch)
{
    fixture f;
    dk_error err;
    di_batch *batch = NULL, *again = NULL;
    di_epochs epochs;
    int seen[41] = {0};
    di_dataset *dataset = open_several(&f, &err);
    REQUIRE(dataset != NULL);
    REQUIRE_OK(di_batch_create(dataset, 8, &batch, &err));
    REQUIRE_OK(di_batch_create(dataset, 8, &again, &err));
    CHECK_INT(di_epoch_steps(&(di_epochs){41, 41}, 8), 6);
    CHECK_INT(di_epoch_steps(&(di_epochs){41, 82}, 8), 12);
    CHECK_INT(di_epoch_steps(&(di_epochs){41, 3 * 41}, 64), 3);
    REQUIRE_OK(di_dataset_epochs(dataset, 7, 50.0 / 41, &epochs, &err));
    CHECK(epochs.length == 41 && epochs.total == 41 + 9);
    CHECK_INT(di_epoch_steps(&epochs, 8), 8);
    CHECK_INT(di_epoch_place(&epochs, 8, 6), 41);
    CHECK_INT(di_epoch_place(&epochs, 8, 8), 41 + 9);
    for (int64_t k = 0; k < 8; k++) {
        REQUIRE_OK(di_dataset_epoch_batch(dataset, 7, k, 8, &epochs, batch, &err));
        CHECK_INT(batch->windows, k == 5 || k == 7 ? 1 : 8);
        for (int64_t s = 0; s < batch->sequences; s++) seen[di_batch_identity(batch, s).origin.index]++;
        for (int i = 0; i < 41 && k == 5; i++) CHECK_INT(seen[i], 1);
    }
    int total = 0;
    for (int i = 0; i < 41; i++) total += seen[i];
    CHECK_INT(total, 41 + 9);
    CHECK_INT(di_dataset_epoch_batch(dataset, 7, 8, 8, &epochs, batch, &err), DK_E_END);
    REQUIRE_OK(di_dataset_epoch_batch(dataset, 7, 2, 8, &epochs, again, &err)); /* by steps the same but for the ends */
    REQUIRE_OK(di_dataset_batch(dataset, 7, 2, 8, batch, &err));
    CHECK_STR(fixture_learnt(again, 1), fixture_learnt(batch, 1));
    di_batch_free(batch);
    di_batch_free(again);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(a_sequence_knows_its_sample_wherever_it_stands)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=4")));
    const char *path =
        fixture_file("who.jsonl", "{\"text\": \"abcdefg\"}\n\n{\"prompt\": \"x\", \"completion\": \"y\"}\n");
    REQUIRE_OK(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err));
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 1), "abcd|efg<|endoftext|>|xy<|endoftext|>");
    for (int64_t s = 0; s < 3; s++) {
        di_identity who = di_batch_identity(batch, s);
        int64_t begin = batch->offsets[s], count = batch->offsets[s + 1] - begin;
        CHECK_STR(who.origin.source, path);
        CHECK_INT(who.origin.index, s == 2 ? 3 : 1);
        CHECK_INT(who.origin.first, s == 1 ? 4 : 0);
        CHECK(who.hash == dk_hash64(batch->ids + begin, (size_t)count * sizeof *batch->ids));
    }
    CHECK(di_batch_identity(batch, 0).hash != di_batch_identity(batch, 1).hash);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

static int same_identities(const di_batch *a, const di_batch *b)
{
    int same = a->sequences == b->sequences;
    for (int64_t s = 0; same && s < a->sequences; s++) {
        di_identity x = di_batch_identity(a, s), y = di_batch_identity(b, s);
        same = x.hash == y.hash && x.origin.index == y.origin.index && x.origin.first == y.origin.first;
    }
    return same;
}

/* ---- streams ---- */

TEST(a_stream_gives_what_a_known_source_gives)
{
    fixture f;
    dk_error err;
    di_dataset *known = NULL, *stream = NULL;
    di_batch *a = NULL, *b = NULL;
    source s = {.fail_at = -1}, t = {.fail_at = -1, .end = 400};
    distill_dataset_callbacks first = table_of(&s, 400), second = table_of(&t, -1);
    int64_t k = 0, windows = 0;
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=16")));
    REQUIRE_OK(di_dataset_from_callbacks(f.host, &first, f.tokenizer, f.options, &known, &err));
    REQUIRE_OK(di_dataset_from_callbacks(f.host, &second, f.tokenizer, f.options, &stream, &err));
    CHECK_INT(t.calls, 0);
    CHECK_INT(fixture_number(stream, "windows"), -1);
    CHECK_INT(fixture_number(stream, "samples"), -1);
    CHECK_INT(fixture_number(stream, "max_length"), 16);
    REQUIRE_OK(di_batch_create(known, 8, &a, &err));
    REQUIRE_OK(di_batch_create(stream, 8, &b, &err));
    for (; di_dataset_batch(stream, 1, k, 8, b, &err) == DK_OK; k++) {
        REQUIRE_OK(di_dataset_windows(known, 8 * k, 8, a, &err));
        CHECK_INT(b->windows, a->windows);
        CHECK_STR(fixture_learnt(b, 0), fixture_learnt(a, 0));
        CHECK_NEAR(b->weight_sum, a->weight_sum, 0);
        CHECK(same_identities(a, b));
        windows += b->windows;
        if (k == 3) { /* a step that was undone asks again */
            REQUIRE_OK(di_dataset_batch(stream, 1, k, 8, b, &err));
            CHECK_STR(fixture_learnt(b, 0), fixture_learnt(a, 0));
            CHECK(t.calls < 350); /* no further ahead than windows stay open */
        }
    }
    CHECK_INT(err.code, DK_E_END);
    CHECK_HAS(err.message, "the stream ended after 400 samples");
    CHECK_INT(windows, fixture_number(known, "windows"));
    CHECK_INT(di_dataset_batch(stream, 1, 0, 8, b, &err), DK_E_STAGE);
    CHECK_HAS(err.message, "windows are read in order");
    di_batch_free(a);
    di_batch_free(b);
    di_dataset_release(known);
    di_dataset_release(stream);
    CHECK_INT(t.destroyed, 1);
    fixture_close(&f);
}

TEST(a_stream_can_go_on_later)
{
    fixture f;
    dk_error err;
    di_dataset *one = NULL, *two = NULL;
    di_batch *a = NULL, *b = NULL;
    source s = {.fail_at = -1}, t = {.fail_at = -1};
    distill_dataset_callbacks first = table_of(&s, -1), second = table_of(&t, -1);
    REQUIRE(fixture_open(&f, OPTIONS("data.sequence_length=16")));
    REQUIRE_OK(di_dataset_from_callbacks(f.host, &first, f.tokenizer, f.options, &one, &err));
    REQUIRE_OK(di_dataset_from_callbacks(f.host, &second, f.tokenizer, f.options, &two, &err));
    REQUIRE_OK(di_batch_create(one, 4, &a, &err));
    REQUIRE_OK(di_batch_create(two, 4, &b, &err));
    for (int64_t k = 0; k <= 5000; k++) REQUIRE_OK(di_dataset_batch(one, 1, k, 4, a, &err));
    REQUIRE_OK(di_dataset_batch(two, 1, 5000, 4, b, &err));
    CHECK(same_identities(a, b) && di_batch_identity(a, 0).origin.index > 5000);
    CHECK(di_dataset_is_stream(one) && fixture_number(one, "stream") == 1);
    CHECK_STR(fixture_learnt(b, 1), fixture_learnt(a, 1));
    t.fail_at = t.last + 1;
    t.answer = 77;
    int64_t k = 5001;
    while (di_dataset_batch(two, 1, k, 4, b, &err) == DK_OK) k++;
    CHECK_INT(err.code, DK_E_CALLBACK);
    CHECK_INT(err.user_code, 77);
    t.answer = 0; /* the host got over it: nothing was lost */
    t.fail_at = -1;
    REQUIRE_OK(di_dataset_batch(two, 1, k, 4, b, &err));
    for (int64_t i = 5001; i <= k; i++) REQUIRE_OK(di_dataset_batch(one, 1, i, 4, a, &err));
    CHECK_STR(fixture_learnt(b, 1), fixture_learnt(a, 1));
    CHECK_INT(di_dataset_split(one, 0.1, &two, &two, &err), DK_E_UNSUPPORTED);
    di_batch_free(a);
    di_batch_free(b);
    di_dataset_release(one);
    di_dataset_release(two);
    fixture_close(&f);
}

/* ---- memory ---- */

typedef struct failing { /* an allocator that fails at one of its calls */
    int64_t calls, fail_at, live;
} failing;

static void *failing_alloc(void *user, size_t size, size_t align)
{
    failing *f = user;
    if (++f->calls == f->fail_at) return NULL;
    f->live++;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void failing_free(void *user, void *ptr, size_t size, size_t align)
{
    (void)size, (void)align;
    ((failing *)user)->live--;
    free(ptr);
}

TEST(every_allocation_may_fail)
{
    dk_error err;
    int32_t rc = DK_E_NOMEM;
    const char *path = fixture_file("nomem.jsonl", "{\"text\": \"abc\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    for (int64_t n = 1; n < 3000 && rc != DK_OK; n++) {
        failing f = {0, 0, 0};
        dk_allocator allocator = {&f, failing_alloc, failing_free, NULL};
        dk_host *host = NULL;
        di_dataset *dataset = NULL;
        REQUIRE_OK(dk_host_create(&allocator, &host, &err));
        REQUIRE_OK(dk_host_set_threads(host, 1, NULL, NULL, NULL, &err));
        dk_tokenizer *tokenizer = fixture_tokenizer(host, -1, END_ID, NULL, &err);
        f.fail_at = f.calls + n;
        rc = di_dataset_open(host, path, tokenizer, NULL, &dataset, &err);
        if (rc != DK_OK && (rc != DK_E_NOMEM || dataset))
            FAIL("allocation %lld: %d %s", (long long)n, (int)rc, err.message);
        f.fail_at = 0;
        di_dataset_release(dataset);
        dk_tokenizer_release(tokenizer);
        dk_host_release(host);
        CHECK_INT(f.live, 0);
    }
    CHECK_INT(rc, DK_OK);
}

TEST_MAIN(TEST_CASE(a_batch_is_copied_whole) TEST_CASE(rows_and_weights_say_what_is_learnt)
              TEST_CASE(wrong_batches_are_refused) TEST_CASE(callbacks_give_tokens_text_and_json)
                  TEST_CASE(failures_of_callbacks_are_told) TEST_CASE(weights_that_a_float_cannot_hold_are_refused)
                      TEST_CASE(a_table_is_destroyed_once_whatever_happens)
                          TEST_CASE(an_epoch_sees_every_sample_once_and_ends_with_a_smaller_batch)
                              TEST_CASE(a_sequence_knows_its_sample_wherever_it_stands)
                                  TEST_CASE(a_stream_gives_what_a_known_source_gives)
                                      TEST_CASE(a_stream_can_go_on_later) TEST_CASE(every_allocation_may_fail))
