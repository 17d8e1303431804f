/* Students: fresh, derived, opened, saved, frozen, and at work: gradients against finite differences, and callbacks. */
#include "../teacher/model_fixture.h"
#include "student/student.h"

static di_student *fresh_student(fixture *f)
{
    di_student *student = NULL;
    if (di_student_create(f->backend, f->config, NULL, f->options, &student, &f->err)) {
        FAIL("%s", f->err.message);
        exit(3);
    }
    return student;
}

static void score_student(di_student *student, const distill_batch *batch, float *logits)
{
    di_teacher *live = NULL;
    dk_error err;
    CHECK_OK(di_student_as_teacher(student, &live, &err));
    CHECK_OK(score_with(live, batch, logits, &err));
    di_teacher_release(live);
}

static const di_files f32 = {.folder = 1, .folder_type = DK_F32}, bf16 = {.folder = 1, .folder_type = DK_BF16};

TEST(saved_and_opened)
{
    static float want[9 * TINY_VOCAB], got[9 * TINY_VOCAB];
    char path[600];
    di_student *student, *opened = NULL;
    distill_tensor a, b;
    dk_error err;
    fixture f;
    open_fixture(&f, "saved");
    student = fresh_student(&f);
    distill_batch batch = tiny_batch();
    score_student(student, &batch, want);
    snprintf(path, sizeof path, "%s/out", f.folder);
    for (int half = 0; half < 2; half++) {
        CHECK_OK(di_student_save(student, path, half ? &bf16 : &f32, &err)); /* the second one replaces the first */
        CHECK_OK(di_student_open(f.backend, path, NULL, &opened, &err));
        score_student(opened, &batch, got);
        for (int i = 0; i < 9 * TINY_VOCAB; i++) CHECK_NEAR((double)got[i], (double)want[i], half ? 0.2 : 1e-6);
        for (int64_t i = 0; di_student_parameter_name(student, i); i++) {
            const char *name = di_student_parameter_name(student, i);
            CHECK_OK(di_student_parameter(student, name, DISTILL_WEIGHT, &a, &err));
            CHECK_OK(di_student_parameter(opened, name, DISTILL_WEIGHT, &b, &err));
            CHECK_INT(a.ndim, b.ndim);
            const int64_t count = a.shape[0] * (a.ndim == 2 ? a.shape[1] : 1);
            if (!half) CHECK(memcmp(a.data, b.data, (size_t)count * sizeof(float)) == 0); /* bit for bit */
        }
        di_student_release(opened);
    }
    CHECK_INT(di_student_parameter(student, "model.nothing", DISTILL_WEIGHT, &a, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "model.nothing");
    CHECK_INT(di_student_parameter(student, "model.norm.weight", 9, &a, &err), DK_E_INVALID);
    CHECK_INT(di_student_parameter(student, "model.norm.weight", DISTILL_GRADIENT, &a, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "no trainer holds");
    di_student_release(student);
    close_fixture(&f);
}

/* A fresh one is a pure function of (config, std, seed). */
TEST(fresh)
{
    static float one[9 * TINY_VOCAB], same[9 * TINY_VOCAB], other[9 * TINY_VOCAB];
    di_student *student;
    dk_error err;
    fixture f;
    open_fixture(&f, "fresh");
    distill_batch batch = tiny_batch();
    student = fresh_student(&f), score_student(student, &batch, one), di_student_release(student);
    student = fresh_student(&f), score_student(student, &batch, same), di_student_release(student);
    CHECK(memcmp(one, same, sizeof one) == 0);
    CHECK_OK(di_options_set(f.options, "train.seed", "2", &err));
    student = fresh_student(&f), score_student(student, &batch, other), di_student_release(student);
    CHECK(memcmp(one, other, sizeof one) != 0);
    student = NULL;
    CHECK_INT(di_student_create(f.backend, "no/config.json", NULL, f.options, &student, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "no/config.json");
    close_fixture(&f);
}

static void check_layers(fixture *f, const di_teacher *teacher, const char *layers, const int64_t *want, int64_t count)
{
    di_student *student = NULL;
    const dk_model *from = di_teacher_model(teacher);
    dk_error err;
    CHECK_OK(di_options_set(f->options, "student.layers", layers, &err));
    REQUIRE_OK(di_student_derive(f->backend, teacher, f->options, &student, &err));
    const dk_model *model = di_student_model(student);
    CHECK_INT(model->config.layers, count);
    for (int64_t i = 0; i < count && i < model->config.layers; i++) {
        const float *a = f->backend->ops->map(model->layers[i].down->value),
                    *b = f->backend->ops->map(from->layers[want[i]].down->value);
        CHECK(memcmp(a, b, sizeof(float) * TINY_WIDTH * 24) == 0);
    }
    CHECK(memcmp(f->backend->ops->map(model->embedding->value), f->backend->ops->map(from->embedding->value),
                 sizeof(float) * TINY_VOCAB * TINY_WIDTH) == 0);
    di_student_release(student);
}

TEST(derived)
{
    static const int64_t half[] = {0, 2, 4}, chosen[] = {1, 4};
    di_student *student, *none = NULL;
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "derived");
    student = fresh_student(&f);
    CHECK_OK(di_student_as_teacher(student, &teacher, &err));
    di_student_release(student); /* the teacher keeps it */
    CHECK_INT(di_student_derive(f.backend, teacher, f.options, &none, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "student.init_std is of random weights");
    CHECK_OK(di_options_set(f.options, "student.init_std", NULL, &err));
    check_layers(&f, teacher, NULL, half, 3);
    check_layers(&f, teacher, "[1, 4]", chosen, 2);
    CHECK_OK(di_options_set(f.options, "student.layers", "[0, 5]", &err));
    CHECK_INT(di_student_derive(f.backend, teacher, f.options, &none, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "student.layers names block 5");
    di_teacher_release(teacher);
    close_fixture(&f);
}

/* A model with experts can be a teacher only, wherever a student may come from. */
TEST(experts_are_teachers_only)
{
    static const char folder[] = TEST_DATA "/families/qwen3_moe",
                      says[] = "qwen3_moe model has experts and can be a teacher only";
    di_student *none = NULL;
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "experts");
    CHECK_OK(di_options_set(f.options, "student.init_std", NULL, &err));
    CHECK_INT(di_student_open(f.backend, folder, f.options, &none, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, says);
    CHECK_INT(di_student_create(f.backend, TEST_DATA "/families/qwen3_moe/config.json", NULL, f.options, &none, &err),
              DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, says);
    CHECK_OK(di_teacher_open(f.backend, folder, 1, &teacher, &err));
    CHECK_INT(di_student_derive(f.backend, teacher, f.options, &none, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, says);
    CHECK(!none);
    di_teacher_release(teacher);
    close_fixture(&f);
}

TEST(held_and_frozen)
{
    di_student *student = NULL;
    distill_tensor tensor;
    dk_error err;
    fixture f;
    open_fixture(&f, "held");
    CHECK_OK(di_options_set(f.options, "student.freeze", "['model.embed_*', '*layers.0.*']", &err));
    student = fresh_student(&f);
    CHECK_OK(di_student_acquire(student, &err));
    CHECK_INT(di_student_acquire(student, &err), DK_E_BUSY);
    CHECK_OK(di_student_parameter(student, "model.layers.1.mlp.down_proj.weight", DISTILL_GRADIENT, &tensor, &err));
    CHECK_INT(di_student_parameter(student, "model.layers.0.mlp.down_proj.weight", DISTILL_GRADIENT, &tensor, &err),
              DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "frozen");
    const int64_t version = dk_model_find(di_student_model(student), "model.norm.weight")->version;
    CHECK_OK(di_student_weights_changed(student, &err));
    CHECK(dk_model_find(di_student_model(student), "model.norm.weight")->version > version);
    di_student_let_go(student);
    CHECK_OK(di_student_acquire(student, &err));
    di_student_release(student);
    student = NULL;
    CHECK_OK(di_options_set(f.options, "student.freeze", "['model.layer.*']", &err));
    CHECK_INT(di_student_create(f.backend, f.config, NULL, f.options, &student, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "model.layer.*");
    close_fixture(&f);
}

/* ---- at work ---- */

enum { ROWS = 3 };
static int64_t rows[ROWS] = {1, 4, 9};
static float factors[ROWS * TINY_VOCAB]; /* the loss is the sum of factor times logit */

static double loss_of(di_student *student)
{
    static float logits[ROWS * TINY_VOCAB];
    distill_batch batch = tiny_batch();
    double sum = 0;
    batch.rows = rows;
    batch.row_count = ROWS;
    score_student(student, &batch, logits);
    for (int i = 0; i < ROWS * TINY_VOCAB; i++) sum += (double)factors[i] * (double)logits[i];
    return sum;
}

/* Through the source strip by strip (way 0), or with the gradient of the hidden states from the host (way 1). */
static void run_backward(fixture *f, di_student *student, int way)
{
    static float dhidden[ROWS * TINY_WIDTH];
    const int64_t shape[2] = {ROWS, TINY_WIDTH};
    distill_tensor given = di_tensor_of(dhidden, DISTILL_FLOAT, 32, 2, shape);
    const distill_target *target = NULL;
    di_trainee *trainee = NULL;
    dk_buffer *buffer = NULL;
    dk_queue queue;
    dk_error err;
    distill_batch batch = tiny_batch();
    batch.rows = rows;
    batch.row_count = ROWS;
    (void)dk_queue_open(&queue, f->backend, NULL);
    REQUIRE_OK(f->backend->ops->buffer_create(f->backend, 2 * TINY_VOCAB * (int64_t)sizeof(float), &buffer, &err));
    REQUIRE_OK(di_trainee_create(student, 11, 2, ROWS, 0, NULL, &trainee, &err));
    CHECK_OK(di_trainee_forward(trainee, &batch, &err));
    const di_source *source = di_trainee_source(trainee);
    for (int64_t first = 0; !way && first < ROWS; first += 2) {
        const int64_t count = ROWS - first < 2 ? ROWS - first : 2;
        dk_view strip = dk_view_2d(buffer, 0, DK_F32, count, TINY_VOCAB);
        CHECK_OK(source->rows(source->self, first, count, strip, &target, &err));
        f->backend->ops->copy_in(&queue, strip, factors + first * TINY_VOCAB);
        CHECK_OK(source->gradient(source->self, first, count, strip, strip, &err));
    }
    if (way) { /* the host does the head: dhidden = factors W, and the head's own gradient goes to its tensor */
        distill_tensor gradient;
        const distill_target *hidden = di_trainee_hidden(trainee);
        const float *head = hidden->head->data, *values = hidden->values->data;
        CHECK_OK(di_student_parameter(student, "model.embed_tokens.weight", DISTILL_GRADIENT, &gradient, &err));
        memset(dhidden, 0, sizeof dhidden);
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < TINY_VOCAB; v++)
                for (int w = 0; w < TINY_WIDTH; w++) {
                    dhidden[r * TINY_WIDTH + w] += factors[r * TINY_VOCAB + v] * head[v * TINY_WIDTH + w];
                    ((float *)gradient.data)[v * TINY_WIDTH + w] +=
                        factors[r * TINY_VOCAB + v] * values[r * TINY_WIDTH + w];
                }
    }
    CHECK_OK(di_trainee_backward(trainee, way ? &given : NULL, &err));
    di_trainee_free(trainee);
    f->backend->ops->buffer_free(f->backend, buffer);
}

TEST(gradients)
{
    static const char *const names[] = {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
                                        "model.layers.4.mlp.down_proj.weight", "model.layers.2.input_layernorm.weight"};
    di_student *student;
    dk_error err;
    fixture f;
    open_fixture(&f, "gradients");
    for (int i = 0; i < ROWS * TINY_VOCAB; i++) factors[i] = (float)((i * 7) % 11 - 5) / 5;
    for (int way = 0; way < 2; way++) {
        student = fresh_student(&f);
        CHECK_OK(di_student_acquire(student, &err));
        run_backward(&f, student, way);
        for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
            distill_tensor weight, gradient;
            CHECK_OK(di_student_parameter(student, names[n], DISTILL_WEIGHT, &weight, &err));
            CHECK_OK(di_student_parameter(student, names[n], DISTILL_GRADIENT, &gradient, &err));
            for (int64_t i = 3; i < 16; i += 6) {
                float *at = (float *)weight.data + i;
                const float was = *at, step = 1e-2f;
                *at = was + step;
                CHECK_OK(di_student_weights_changed(student, &err));
                const double high = loss_of(student);
                *at = was - step;
                CHECK_OK(di_student_weights_changed(student, &err));
                const double slope = (high - loss_of(student)) / (2 * (double)step);
                *at = was;
                CHECK_NEAR((double)((const float *)gradient.data)[i], slope, 3e-2 * (1 + fabs(slope)));
            }
        }
        di_student_release(student);
    }
    close_fixture(&f);
}

/* ---- callbacks ---- */

enum { HOST_WIDTH = 4 };
typedef struct host {
    int destroyed, forwards, backwards, saves, answer;
    int64_t gradient_width;
    float gradient[9 * TINY_VOCAB];
} host;

static void destroy(void *user) { ((host *)user)->destroyed++; }

static int32_t host_forward(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    host *h = user;
    const int64_t stride = out->values->strides ? out->values->strides[0] : out->values->shape[1];
    (void)batch;
    h->forwards++;
    for (int64_t r = 0; r < count; r++)
        for (int64_t v = 0; v < out->values->shape[1]; v++)
            ((float *)out->values->data)[r * stride + v] = (float)(first + r) - (float)v;
    return h->answer;
}

static int32_t host_backward(void *user, int64_t first, int64_t count, const distill_tensor *gradient)
{
    host *h = user;
    h->backwards++;
    h->gradient_width = gradient->shape[1];
    di_tensor_read_rows(gradient, 0, count, h->gradient + first * gradient->shape[1]);
    return h->answer;
}

static int32_t host_apply(void *user, int64_t step, double learning_rate, double scale)
{
    (void)user, (void)step, (void)learning_rate, (void)scale;
    return DISTILL_CB_OK;
}

static int32_t host_save(void *user, const char *folder)
{
    char path[800];
    host *h = user;
    h->saves++;
    if (h->answer) return h->answer;
    snprintf(path, sizeof path, "%s/mine.txt", folder);
    put_text(path, "weights");
    return DISTILL_CB_OK;
}

static distill_student_callbacks table_of(host *h, const distill_target *form)
{
    distill_student_callbacks table;
    DISTILL_INIT(&table);
    table.user = h;
    table.destroy = destroy;
    table.forward = host_forward;
    table.backward = host_backward;
    table.apply = host_apply;
    table.save = host_save;
    table.form = form;
    return table;
}

static void check_hosted(fixture *f, const distill_target *form, int64_t width, const float *head)
{
    static float logits[9 * TINY_VOCAB];
    char path[600];
    const distill_target *target = NULL;
    di_student *student = NULL;
    di_trainee *trainee = NULL;
    dk_buffer *buffer = NULL;
    dk_queue queue;
    host h = {0};
    dk_error err;
    distill_student_callbacks table = table_of(&h, form);
    distill_batch batch = tiny_batch();
    batch.rows = rows;
    batch.row_count = ROWS;
    (void)dk_queue_open(&queue, f->backend, NULL);
    REQUIRE_OK(di_student_from_callbacks(f->backend, &table, NULL, &student, &err));
    CHECK_INT(di_student_vocab_valid(student), TINY_VOCAB);
    CHECK(di_student_model(student) == NULL);
    CHECK(di_student_parameter_name(student, 0) == NULL);
    REQUIRE_OK(di_trainee_create(student, 11, 2, ROWS, 0, NULL, &trainee, &err));
    REQUIRE_OK(f->backend->ops->buffer_create(f->backend, ROWS * TINY_VOCAB * (int64_t)sizeof(float), &buffer, &err));
    dk_view strip = dk_view_2d(buffer, 0, DK_F32, ROWS, TINY_VOCAB);
    CHECK_OK(di_trainee_forward(trainee, &batch, &err));
    const di_source *source = di_trainee_source(trainee);
    CHECK_OK(source->rows(source->self, 0, ROWS, strip, &target, &err));
    f->backend->ops->copy_out(&queue, strip, logits);
    for (int v = 0; v < TINY_VOCAB; v++) {
        double want = 2 - v;
        if (head) want = 0;
        for (int64_t w = 0; head && w < width; w++) want += (2 - (double)w) * (double)head[v * width + w];
        CHECK_NEAR((double)logits[2 * TINY_VOCAB + v], want, 1e-5);
    }
    f->backend->ops->copy_in(&queue, strip, factors);
    CHECK_OK(source->gradient(source->self, 0, ROWS, strip, strip, &err));
    CHECK_INT(h.gradient_width, width);
    for (int64_t i = 0; i < ROWS * width; i++) {
        double want = head ? 0 : (double)factors[i];
        for (int v = 0; head && v < TINY_VOCAB; v++)
            want += (double)factors[i / width * TINY_VOCAB + v] * (double)head[v * width + i % width];
        CHECK_NEAR((double)h.gradient[i], want, 1e-5);
    }
    CHECK_OK(di_trainee_backward(trainee, NULL, &err));
    h.answer = 12;
    CHECK_INT(source->gradient(source->self, 0, ROWS, strip, strip, &err), DK_E_CALLBACK);
    CHECK_INT(err.user_code, 12);
    CHECK_INT(source->rows(source->self, 0, ROWS, strip, &target, &err), DK_E_CALLBACK);
    snprintf(path, sizeof path, "%s/hosted", f->folder);
    CHECK_INT(di_student_save(student, path, &f32, &err), DK_E_CALLBACK);
    CHECK_INT(dk_path_exists(path), 0); /* nothing is left of a save that failed */
    h.answer = 0;
    CHECK_OK(di_student_save(student, path, &f32, &err));
    CHECK_INT(dk_path_exists(path), 2);
    CHECK_OK(dk_dir_remove(f->host, path, &err));
    di_trainee_free(trainee);
    f->backend->ops->buffer_free(f->backend, buffer);
    di_teacher *live = NULL;
    CHECK_OK(di_student_as_teacher(student, &live, &err));
    di_student_release(student);
    CHECK_INT(h.destroyed, 0);
    CHECK_OK(score_with(live, &batch, logits, &err));
    di_teacher_release(live);
    CHECK_INT(h.destroyed, 1);
}

TEST(callbacks)
{
    static float head[TINY_VOCAB * HOST_WIDTH];
    int64_t shape[1] = {TINY_VOCAB}, narrow[1] = {HOST_WIDTH}, head_shape[2] = {TINY_VOCAB, HOST_WIDTH};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape),
                   weights = di_tensor_of(head, DISTILL_FLOAT, 32, 2, head_shape);
    distill_target form;
    di_student *student = NULL;
    host h = {0};
    dk_error err;
    fixture f;
    open_fixture(&f, "callbacks");
    for (int i = 0; i < TINY_VOCAB * HOST_WIDTH; i++) head[i] = (float)(i % 5) - 2;
    for (int i = 0; i < ROWS * TINY_VOCAB; i++) factors[i] = (float)((i * 7) % 11 - 5) / 5;
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    check_hosted(&f, &form, TINY_VOCAB, NULL);
    form.kind = DISTILL_HIDDEN;
    values.shape = narrow;
    form.head = &weights;
    check_hosted(&f, &form, HOST_WIDTH, head);
    form.kind = DISTILL_TOPK;
    distill_student_callbacks table = table_of(&h, &form);
    CHECK_INT(di_student_from_callbacks(f.backend, &table, NULL, &student, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "TOPK");
    table.backward = NULL;
    CHECK_INT(di_student_from_callbacks(f.backend, &table, NULL, &student, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "backward");
    CHECK_INT(h.destroyed, 2);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(saved_and_opened) TEST_CASE(fresh) TEST_CASE(derived) TEST_CASE(experts_are_teachers_only)
              TEST_CASE(held_and_frozen) TEST_CASE(gradients) TEST_CASE(callbacks))
