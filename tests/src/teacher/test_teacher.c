/* Teachers that are models: opened, live, scoring, in strips, generating; and what is said when something is wrong. */
#include "base/utf8.h"
#include "model_fixture.h"

typedef struct counter {
    int retained, released;
} counter;
static void retain(void *owner) { ((counter *)owner)->retained++; }
static void release(void *owner) { ((counter *)owner)->released++; }

static int64_t number(const di_teacher *teacher, const char *key)
{
    int64_t value = -99;
    dk_error err;
    CHECK_OK(di_teacher_get_i64(teacher, key, &value, &err));
    return value;
}

TEST(opened_is_live)
{
    static float live_logits[9 * TINY_VOCAB], logits[9 * TINY_VOCAB], chosen[2 * TINY_VOCAB];
    int64_t rows[2] = {2, 10}, unused = 5;
    char a[65], b[65];
    di_teacher *live = NULL, *opened = NULL;
    counter owner = {0};
    dk_error err;
    fixture f;
    open_fixture(&f, "teacher");
    dk_model *model = fresh_model(&f);
    distill_batch batch = tiny_batch();
    CHECK_OK(di_teacher_from_model(f.backend, model, NULL, &owner, retain, release, &live, &err));
    CHECK_OK(score_with(live, &batch, live_logits, &err));
    CHECK_OK(dk_model_save(model, f.folder, DK_F32, &err));
    CHECK_OK(di_teacher_open(f.backend, f.folder, 1, &opened, &err));
    CHECK(di_teacher_tokenizer(opened) == NULL); /* a model without a tokenizer scores ids */
    CHECK_STR(di_teacher_path(opened), f.folder);
    CHECK_OK(score_with(opened, &batch, logits, &err));
    for (int i = 0; i < 9 * TINY_VOCAB; i++) CHECK_NEAR((double)logits[i], (double)live_logits[i], 1e-6);
    CHECK_OK(di_teacher_hash(live, a, &err));
    CHECK_OK(di_teacher_hash(opened, b, &err));
    CHECK_STR(a, b);

    batch.rows = rows; /* rows that were asked for, the last of a sequence among them */
    batch.row_count = 2;
    CHECK_OK(score_with(opened, &batch, chosen, &err));
    for (int v = 0; v < TINY_VOCAB; v++) CHECK_NEAR((double)chosen[v], (double)logits[2 * TINY_VOCAB + v], 1e-6);

    CHECK_INT(number(opened, "vocab_size"), TINY_VOCAB);
    CHECK_INT(number(opened, "hidden_size"), TINY_WIDTH);
    CHECK_INT(number(opened, "layers"), TINY_LAYERS);
    CHECK_INT(number(opened, "context_length"), 64);
    CHECK_INT(number(opened, "parameters"), number(live, "parameters"));
    CHECK_INT(di_teacher_get_i64(opened, "colour", &unused, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "colour");
    CHECK_INT(unused, 5);
    CHECK_INT(owner.retained, 1);
    CHECK_INT(owner.released, 0);
    di_teacher_release(live);
    CHECK_INT(owner.released, 1);
    di_teacher_release(opened);
    dk_model_free(model);
    close_fixture(&f);
}

static di_teacher *blend_of(fixture *f, di_teacher *a, di_teacher *b)
{
    const di_blend_settings linear = {.softness = 1};
    const di_blend_member members[2] = {{a, "a", 0.5, 0}, {b, "b", 0.5, 0}};
    di_teacher *out = NULL;
    dk_error err;
    CHECK_OK(di_teacher_blend(f->backend, members, 2, &linear, &out, &err));
    return out;
}

static di_teacher *route_of(fixture *f, di_teacher *a, di_teacher *b, double temperature)
{
    const di_route_settings how = {.by = DI_ROUTE_SOURCE, .other = "a"};
    const di_blend_member members[2] = {{a, "a", 0, temperature}, {b, "b", 0, 0}};
    di_teacher *out = NULL;
    dk_error err;
    CHECK_OK(di_teacher_route(f->backend, members, 2, &how, &out, &err));
    return out;
}

static di_teacher *cached_of(fixture *f, const char *name, const char *tier, di_teacher *from)
{
    char path[600];
    di_teacher *out = NULL;
    dk_error err;
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    CHECK_OK(di_options_set(f->options, "teacher.cache.tier", tier, &err));
    CHECK_OK(di_options_set(f->options, "teacher.cache.k", strcmp(tier, "top_k") ? "null" : "4", &err));
    CHECK_OK(di_teacher_cached(f->backend, path, from, f->options, &out, &err));
    return out;
}

/* What is made of a live model changes with it, however deep it stands; targets that are kept of it say so. */
TEST(versions)
{
    enum { COUNT = 8, KEPT = 4 };
    counter owner = {0};
    di_teacher *live = NULL, *still = NULL, *all[COUNT];
    int64_t before[COUNT], changed = 0;
    dk_queue queue;
    dk_error err;
    fixture f;
    open_fixture(&f, "versions");
    dk_model *model = fresh_model(&f), *other = fresh_model(&f);
    REQUIRE_OK(di_teacher_from_model(f.backend, model, NULL, &owner, retain, release, &live, &err));
    REQUIRE_OK(di_teacher_from_model(f.backend, other, NULL, &owner, retain, release, &still, &err));
    all[0] = blend_of(&f, live, still);
    all[1] = route_of(&f, still, live, 0);
    all[2] = route_of(&f, live, still, 1.5);
    all[3] = blend_of(&f, still, all[2]);
    all[4] = cached_of(&f, "full.dtc", "full", live);
    all[5] = cached_of(&f, "blend.dtc", "top_k", all[0]);
    all[6] = cached_of(&f, "route.dtc", "top_k", all[2]);
    di_teacher *sparse = cached_of(&f, "still.dtc", "top_k", still);
    all[7] = blend_of(&f, sparse, live); /* of TOPK targets */
    for (int i = 0; i < COUNT; i++) before[i] = di_teacher_version(all[i]);
    REQUIRE_OK(dk_queue_open(&queue, f.backend, &err));
    f.backend->ops->refresh(&queue, &model->parameters[1]);
    dk_queue_close(&queue);
    for (int i = 0; i < COUNT; i++) changed += di_teacher_version(all[i]) != before[i];
    CHECK_INT(changed, COUNT);
    CHECK_INT(di_teacher_version(sparse), di_teacher_version(still));
    distill_batch batch = tiny_batch();
    for (int i = KEPT; i < COUNT - 1; i++) {
        di_session *session = NULL;
        REQUIRE_OK(di_session_create(all[i], 11, 2, 9, &session, &err));
        CHECK_INT(di_session_forward(session, &batch, &err), DK_E_MISMATCH);
        CHECK_HAS(err.message, "was trained since it was opened");
        di_session_free(session);
    }
    for (int i = COUNT - 1; i >= 0; i--) di_teacher_release(all[i]);
    di_teacher_release(sparse);
    di_teacher_release(live);
    di_teacher_release(still);
    dk_model_free(model);
    dk_model_free(other);
    close_fixture(&f);
}

/* Strips of a session, and its hidden states with its head, say the same as a whole score. */
TEST(sessions)
{
    static float want[9 * TINY_VOCAB], got[3 * TINY_VOCAB];
    di_teacher *teacher = NULL;
    di_session *session = NULL;
    const distill_target *target = NULL;
    dk_buffer *buffer = NULL;
    dk_queue queue;
    dk_error err;
    fixture f;
    open_fixture(&f, "sessions");
    dk_model *model = fresh_model(&f);
    distill_batch batch = tiny_batch();
    CHECK_OK(di_teacher_from_model(f.backend, model, NULL, NULL, NULL, NULL, &teacher, &err));
    CHECK_OK(score_with(teacher, &batch, want, &err));
    CHECK_OK(di_session_create(teacher, 11, 2, 9, &session, &err));
    CHECK_OK(f.backend->ops->buffer_create(f.backend, sizeof got, &buffer, &err));
    dk_view strip = dk_view_2d(buffer, 0, DK_F32, 3, TINY_VOCAB);
    (void)dk_queue_open(&queue, f.backend, NULL);
    for (int again = 0; again < 2; again++) {
        const int64_t before = dk_host_allocations(f.host);
        CHECK_OK(di_session_forward(session, &batch, &err));
        const di_source *source = di_session_source(session);
        CHECK_INT(source->width, TINY_VOCAB);
        for (int64_t first = 0; first < 9; first += 3) {
            CHECK_OK(source->rows(source->self, first, 3, strip, &target, &err));
            CHECK(target == NULL);
            f.backend->ops->copy_out(&queue, strip, got);
            for (int i = 0; i < 3 * TINY_VOCAB; i++)
                CHECK_NEAR((double)got[i], (double)want[first * TINY_VOCAB + i], 1e-5);
        }
        if (again) CHECK_INT(dk_host_allocations(f.host), before); /* a warm session allocates nothing */
    }
    target = di_session_hidden(session);
    REQUIRE(target && target->kind == DISTILL_HIDDEN);
    CHECK_OK(di_check_target(target, "hidden", 9, &err));
    const float *hidden = target->values->data, *head = target->head->data;
    for (int r = 0; r < 9; r++)
        for (int v = 0; v < TINY_VOCAB; v++) {
            double sum = 0;
            for (int w = 0; w < TINY_WIDTH; w++)
                sum += (double)hidden[r * TINY_WIDTH + w] * (double)head[v * TINY_WIDTH + w];
            CHECK_NEAR((double)want[r * TINY_VOCAB + v], sum, 1e-5);
        }
    di_session_free(session);
    CHECK_OK(di_session_create(teacher, 11, 2, 8, &session, &err));
    CHECK_INT(di_session_forward(session, &batch, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "9 rows do not fit a session of 8");
    di_session_free(session);
    f.backend->ops->buffer_free(f.backend, buffer);
    di_teacher_release(teacher);
    dk_model_free(model);
    close_fixture(&f);
}

TEST(wrong_outputs)
{
    static float logits[9 * TINY_VOCAB];
    int64_t shape[2] = {9, TINY_VOCAB - 1};
    distill_tensor values = di_tensor_of(logits, DISTILL_FLOAT, 32, 2, shape);
    distill_target out;
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "outputs");
    dk_model *model = fresh_model(&f);
    distill_batch batch = tiny_batch();
    CHECK_OK(di_teacher_from_model(f.backend, model, NULL, NULL, NULL, NULL, &teacher, &err));
    DISTILL_INIT(&out);
    out.kind = DISTILL_DENSE;
    out.values = &values;
    CHECK_INT(di_teacher_score(teacher, &batch, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "dimension 1 is 28, not 29");
    out.kind = DISTILL_TOPK;
    CHECK_INT(di_teacher_score(teacher, &batch, &out, &err), DK_E_UNSUPPORTED);
    CHECK_INT(out.vocab_valid, 0);
    di_teacher_release(teacher);
    CHECK_INT(di_teacher_open(f.backend, "no/such/folder", 1, &teacher, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "no/such/folder");
    dk_model_free(model);
    close_fixture(&f);
}

/* ---- generating ---- */

typedef struct heard {
    int32_t ids[2][64];
    int64_t counts[2];
    char text[2][512];
    size_t sizes[2];
    int32_t finished[2], answer;
    size_t ends[2][64]; /* of the pieces */
} heard;

static int32_t hear(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                    int32_t finished)
{
    heard *h = user;
    CHECK(log_prob <= 0);
    h->ids[sequence][h->counts[sequence]++] = id;
    memcpy(h->text[sequence] + h->sizes[sequence], text, size);
    h->sizes[sequence] += size;
    h->finished[sequence] = finished;
    h->ends[sequence][h->counts[sequence] - 1] = h->sizes[sequence];
    return h->answer;
}

TEST(generate_ids)
{
    heard both = {0}, alone = {0}, stopped = {.answer = DISTILL_CB_CANCEL}, failed = {.answer = 9};
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "generate");
    dk_model *model = fresh_model(&f);
    distill_batch batch = tiny_batch();
    CHECK_OK(di_options_set(f.options, "generate", "{max_tokens: 12, temperature: 0.8, seed: 4}", &err));
    CHECK_OK(di_teacher_from_model(f.backend, model, NULL, NULL, NULL, NULL, &teacher, &err));
    CHECK_OK(di_teacher_generate(teacher, &batch, f.options, NULL, hear, &both, &err));
    for (int s = 0; s < 2; s++) {
        const int64_t count = both.counts[s];
        CHECK(count > 0 && count <= 12);
        CHECK(both.finished[s] == (both.ids[s][count - 1] == 2 ? 1 : 2)); /* the model's end of sequence */
        CHECK_INT(both.sizes[s], 0);                                      /* no tokenizer, no text */
    }
    batch.sequences = 1; /* a neighbour changes nothing */
    CHECK_OK(di_teacher_generate(teacher, &batch, f.options, NULL, hear, &alone, &err));
    CHECK_INT(alone.counts[0], both.counts[0]);
    CHECK(memcmp(alone.ids[0], both.ids[0], sizeof alone.ids[0]) == 0);
    CHECK_INT(di_teacher_generate(teacher, &batch, f.options, NULL, hear, &stopped, &err), DK_E_CANCELLED);
    CHECK_INT(stopped.counts[0], 1);
    CHECK_INT(di_teacher_generate(teacher, &batch, f.options, NULL, hear, &failed, &err), DK_E_CALLBACK);
    CHECK_INT(err.user_code, 9);
    di_teacher_release(teacher);
    dk_model_free(model);
    close_fixture(&f);
}

/* Pieces put together are the text of all tokens, and none ends inside a character. */
TEST(generate_text)
{
    dk_tokenizer *tokenizer = NULL;
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "text");
    dk_model *model = fresh_model(&f);
    REQUIRE_OK(tiny_tokenizer(&f, &tokenizer, &err));
    CHECK_OK(di_teacher_from_model(f.backend, model, tokenizer, NULL, NULL, NULL, &teacher, &err));
    for (int seed = 1; seed < 12; seed++) {
        heard h = {0};
        distill_batch batch = tiny_batch();
        dk_strbuf whole, prompt;
        int32_t all[80];
        CHECK_OK(di_options_set_i64(f.options, "generate.seed", seed, &err));
        CHECK_OK(di_options_set(f.options, "generate.max_tokens", "20", &err));
        CHECK_OK(di_teacher_generate(teacher, &batch, f.options, NULL, hear, &h, &err));
        for (int s = 0; s < 2; s++) { /* the text that follows the prompt's */
            const int64_t length = tiny_offsets[s + 1] - tiny_offsets[s];
            memcpy(all, tiny_ids + tiny_offsets[s], (size_t)length * sizeof *all);
            memcpy(all + length, h.ids[s], (size_t)h.counts[s] * sizeof *all);
            dk_strbuf_init(&whole, f.host);
            dk_strbuf_init(&prompt, f.host);
            CHECK_OK(
                dk_tokenizer_decode_to(tokenizer, all, length + h.counts[s], DK_DECODE_SKIP_SPECIAL, &whole, &err));
            CHECK_OK(dk_tokenizer_decode_to(tokenizer, all, length, DK_DECODE_SKIP_SPECIAL, &prompt, &err));
            for (size_t i = 0, length_of; i < h.sizes[s]; i += length_of ? length_of : 1) {
                length_of = dk_utf8_length((const unsigned char *)h.text[s] + i, h.sizes[s] - i);
                for (int64_t piece = 0; piece < h.counts[s]; piece++)
                    CHECK(h.ends[s][piece] <= i || h.ends[s][piece] >= i + length_of);
            }
            if (CHECK(whole.size - prompt.size == h.sizes[s]))
                CHECK(memcmp(whole.data + prompt.size, h.text[s], h.sizes[s]) == 0);
            dk_strbuf_free(&whole);
            dk_strbuf_free(&prompt);
        }
    }
    di_teacher_release(teacher);
    dk_tokenizer_release(tokenizer);
    dk_model_free(model);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(opened_is_live) TEST_CASE(versions) TEST_CASE(sessions) TEST_CASE(wrong_outputs)
              TEST_CASE(generate_ids) TEST_CASE(generate_text))
