/* Teachers that are a host's callbacks: every kind, ranges in order, every answer, and destroy exactly once. */
#include <stddef.h>

#include "model_fixture.h"

enum { ROWS = 9, K = 3 };

typedef struct host {
    int destroyed, calls, answer;
    int64_t next; /* row that has to come */
    const distill_batch *batch;
    int32_t kind;
} host;

static void destroy(void *user) { ((host *)user)->destroyed++; }

static float entry(int64_t row, int64_t column) { return (float)row - 0.25f * (float)column; }

static int32_t score(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    host *h = user;
    h->calls++;
    if (h->answer) return h->answer;
    CHECK_INT(first, h->next);
    CHECK_INT(batch->sequences, 2);
    CHECK_INT(out->kind, h->kind);
    h->next = first + count;
    if (out->values) {
        const int64_t stride = out->values->strides ? out->values->strides[0] : out->values->shape[1];
        CHECK_INT(out->values->shape[0], count);
        for (int64_t r = 0; r < count; r++)
            for (int64_t v = 0; v < out->values->shape[1]; v++)
                ((float *)out->values->data)[r * stride + v] = entry(first + r, v);
    }
    if (out->ids) {
        const int64_t k = out->ids->ndim == 2 ? out->ids->shape[1] : 1;
        for (int64_t i = 0; i < count * k; i++) ((int32_t *)out->ids->data)[i] = (int32_t)(first + i);
    }
    if (out->tail)
        for (int64_t r = 0; r < count; r++) ((float *)out->tail->data)[r] = -2;
    return DISTILL_CB_OK;
}

static distill_teacher_callbacks table_of(host *h, const distill_target *form)
{
    distill_teacher_callbacks table;
    DISTILL_INIT(&table);
    table.user = h;
    table.destroy = destroy;
    table.score = score;
    table.form = form;
    h->kind = form->kind;
    return table;
}

TEST(dense)
{
    static float logits[ROWS * TINY_VOCAB];
    int64_t shape[1] = {TINY_VOCAB}, unused;
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    distill_target form;
    di_teacher *teacher = NULL;
    dk_error err;
    host h = {0};
    fixture f;
    open_fixture(&f, "dense");
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    distill_teacher_callbacks table = table_of(&h, &form);
    distill_batch batch = tiny_batch();
    REQUIRE_OK(di_teacher_from_callbacks(f.backend, &table, NULL, &teacher, &err));
    values.shape = NULL; /* the form was copied */
    CHECK_INT(di_teacher_vocab(teacher), TINY_VOCAB);
    CHECK(di_teacher_model(teacher) == NULL);
    CHECK_OK(score_with(teacher, &batch, logits, &err));
    CHECK_INT(h.next, ROWS);
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < TINY_VOCAB; v++) CHECK_NEAR((double)logits[r * TINY_VOCAB + v], (double)entry(r, v), 0);
    CHECK_INT(di_teacher_get_i64(teacher, "layers", &unused, &err), DK_E_NOT_FOUND);
    CHECK_INT(di_teacher_generate(teacher, &batch, NULL, NULL, NULL, NULL, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "no generate");
    h.answer = DISTILL_CB_CANCEL;
    CHECK_INT(score_with(teacher, &batch, logits, &err), DK_E_CANCELLED);
    h.answer = -4;
    CHECK_INT(score_with(teacher, &batch, logits, &err), DK_E_CALLBACK);
    CHECK_INT(err.user_code, -4);
    CHECK_HAS(err.message, "-4");
    h.answer = 0; /* the failure left the teacher usable */
    h.next = 0;
    CHECK_OK(score_with(teacher, &batch, logits, &err));
    di_teacher_release(di_teacher_retain(teacher));
    CHECK_INT(h.destroyed, 0);
    di_teacher_release(teacher);
    CHECK_INT(h.destroyed, 1);
    close_fixture(&f);
}

TEST(hidden)
{
    enum { WIDTH = 4 };
    static float logits[ROWS * TINY_VOCAB], head[TINY_VOCAB * WIDTH], bias[TINY_VOCAB];
    int64_t shape[1] = {WIDTH}, head_shape[2] = {TINY_VOCAB, WIDTH};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape),
                   weights = di_tensor_of(head, DISTILL_FLOAT, 32, 2, head_shape);
    distill_tensor offsets = di_tensor_of(bias, DISTILL_FLOAT, 32, 1, head_shape);
    distill_target form;
    di_teacher *teacher = NULL;
    dk_error err;
    host h = {0};
    fixture f;
    open_fixture(&f, "hosted_hidden");
    for (int i = 0; i < TINY_VOCAB * WIDTH; i++) head[i] = (float)(i % 7) - 3;
    for (int i = 0; i < TINY_VOCAB; i++) bias[i] = (float)i;
    DISTILL_INIT(&form);
    form.kind = DISTILL_HIDDEN;
    form.values = &values;
    form.head = &weights;
    form.bias = &offsets;
    form.logit_scale = 0.5;
    distill_teacher_callbacks table = table_of(&h, &form);
    distill_batch batch = tiny_batch();
    REQUIRE_OK(di_teacher_from_callbacks(f.backend, &table, NULL, &teacher, &err));
    memset(bias, 0, sizeof bias); /* copied */
    CHECK_OK(score_with(teacher, &batch, logits, &err));
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < TINY_VOCAB; v++) {
            double sum = v;
            for (int w = 0; w < WIDTH; w++) sum += (double)entry(r, w) * (double)head[v * WIDTH + w];
            CHECK_NEAR((double)logits[r * TINY_VOCAB + v], 0.5 * sum, 1e-5);
        }
    di_teacher_release(teacher);
    CHECK_INT(h.destroyed, 1);
    close_fixture(&f);
}

static void check_sparse(fixture *f, int32_t kind, int with_tail)
{
    int64_t shape[2] = {1, K};
    float logits[ROWS * TINY_VOCAB];
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, shape),
                   tail = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    const distill_target *target = NULL;
    distill_target form;
    di_teacher *teacher = NULL;
    di_session *session = NULL;
    dk_error err;
    host h = {0};
    DISTILL_INIT(&form);
    form.kind = kind;
    form.values = kind == DISTILL_ONE_HOT ? NULL : &values;
    form.tail = with_tail ? &tail : NULL;
    form.temperature = 2;
    form.vocab_valid = TINY_VOCAB;
    distill_teacher_callbacks table = table_of(&h, &form);
    distill_batch batch = tiny_batch();
    REQUIRE_OK(di_teacher_from_callbacks(f->backend, &table, NULL, &teacher, &err));
    CHECK_OK(di_session_create(teacher, 11, 2, ROWS, &session, &err));
    CHECK_OK(di_session_forward(session, &batch, &err));
    const di_source *source = di_session_source(session);
    CHECK_INT(source->kind, kind);
    CHECK_NEAR(source->temperature, 2, 0);
    for (int64_t first = 0; first < ROWS; first += 3) {
        const int64_t count = 3;
        CHECK_OK(source->rows(source->self, first, count, dk_view_none(), &target, &err));
        REQUIRE(target != NULL);
        CHECK_INT(target->ids->shape[0], count);
        CHECK_INT(((const int32_t *)target->ids->data)[1], first + 1);
        if (kind != DISTILL_ONE_HOT)
            CHECK_NEAR((double)((const float *)target->values->data)[K + 1], (double)entry(first + 1, 1), 0);
        CHECK((target->tail != NULL) == with_tail);
    }
    CHECK_INT(h.calls, 3);
    CHECK_INT(score_with(teacher, &batch, logits, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, di_kind_name(kind));
    di_session_free(session);
    di_teacher_release(teacher);
    CHECK_INT(h.destroyed, 1);
}

TEST(sparse)
{
    fixture f;
    open_fixture(&f, "sparse");
    check_sparse(&f, DISTILL_TOPK, 1);
    check_sparse(&f, DISTILL_TOPK, 0);
    check_sparse(&f, DISTILL_SAMPLED, 0);
    check_sparse(&f, DISTILL_ONE_HOT, 0);
    close_fixture(&f);
}

TEST(broken_tables)
{
    distill_target form;
    di_teacher *teacher = NULL;
    dk_error err;
    host h = {0};
    fixture f;
    open_fixture(&f, "broken");
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE;
    distill_teacher_callbacks table = table_of(&h, &form);
    CHECK_INT(di_teacher_from_callbacks(f.backend, &table, NULL, &teacher, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "form->values has no width");
    form.kind = DISTILL_HIDDEN;
    CHECK_INT(di_teacher_from_callbacks(f.backend, &table, NULL, &teacher, &err), DK_E_INVALID);
    form.kind = 77;
    CHECK_INT(di_teacher_from_callbacks(f.backend, &table, NULL, &teacher, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "77");
    table.form = NULL;
    CHECK_INT(di_teacher_from_callbacks(f.backend, &table, NULL, &teacher, &err), DK_E_INVALID);
    CHECK_INT(h.destroyed, 4); /* a call that fails has destroyed the table */
    CHECK(teacher == NULL);
    close_fixture(&f);
}

/* Two of one form are taken for one, unless they say who they are; the text is copied. */
TEST(identity)
{
    int64_t shape[1] = {TINY_VOCAB};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    static const char *const names[4] = {NULL, NULL, "large 1", "large 2"};
    distill_target form;
    char hex[5][65], name[16];
    host h = {0};
    dk_error err;
    fixture f;
    open_fixture(&f, "hosted_identity");
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    for (int i = 0; i < 5; i++) {
        distill_teacher_callbacks table = table_of(&h, &form);
        di_teacher *teacher = NULL;
        if (i < 4 && names[i]) {
            snprintf(name, sizeof name, "%s", names[i]);
            table.identity = name;
        }
        if (i == 4) { /* an older caller's struct ends before it */
            table.identity = "not there";
            table.struct_size = offsetof(distill_teacher_callbacks, identity);
        }
        REQUIRE_OK(di_teacher_from_callbacks(f.backend, &table, NULL, &teacher, &err));
        memset(name, 'x', sizeof name - 1);
        CHECK_OK(di_teacher_hash(teacher, hex[i], &err));
        dk_strbuf json;
        dk_strbuf_init(&json, f.host);
        CHECK_OK(di_teacher_manifest(teacher, &json, &err));
        if (i == 2) CHECK_HAS(json.data, "\"identity\":\"large 1\"");
        if (i != 2 && i != 3) CHECK(!strstr(json.data, "identity"));
        dk_strbuf_free(&json);
        di_teacher_release(teacher);
        CHECK_INT(h.destroyed, i + 1);
    }
    CHECK_STR(hex[0], hex[1]);
    CHECK_STR(hex[0], hex[4]);
    CHECK(strcmp(hex[0], hex[2]) && strcmp(hex[2], hex[3]));
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(dense) TEST_CASE(hidden) TEST_CASE(sparse) TEST_CASE(broken_tables) TEST_CASE(identity))
