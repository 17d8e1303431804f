/* Shapes: what parts of a model do on text, against a forward pass written out here in double; what is chosen by it,
 * what it costs, what is stored; what is refused. */
#include <math.h>

#include "../teacher/model_fixture.h"
#include "evaluate/evaluate.h"
#include "shape/shape_parts.h"

enum { HEADS = 4, KV = 2, SIZE = 4, INNER = 24, SEQUENCES = 4, LENGTH = 12 };

/* ---- the model again, one position after the other ---- */
typedef struct plain {
    double influence[TINY_LAYERS], hidden[TINY_WIDTH], head[TINY_LAYERS][HEADS], inner[TINY_LAYERS][INNER];
    double square_hidden[2 * TINY_LAYERS + 1][TINY_WIDTH], square_head[TINY_LAYERS][HEADS],
        square_inner[TINY_LAYERS][INNER];
} plain;

static const float *weight(di_student *s, const char *format, int64_t layer)
{
    char name[96];
    distill_tensor t;
    dk_error err;
    snprintf(name, sizeof name, format, (int)layer);
    if (di_student_parameter(s, name, DISTILL_WEIGHT, &t, &err)) FAIL("%s", err.message), exit(3);
    return t.data;
}

static void times(const float *w, const double *x, int64_t rows, int64_t columns, double *y)
{
    for (int64_t r = 0; r < rows; r++) {
        y[r] = 0;
        for (int64_t k = 0; k < columns; k++) y[r] += (double)w[r * columns + k] * x[k];
    }
}

static void rms(const float *w, const double *x, double *y)
{
    double squares = 0;
    for (int i = 0; i < TINY_WIDTH; i++) squares += x[i] * x[i];
    for (int i = 0; i < TINY_WIDTH; i++) y[i] = (double)w[i] * x[i] / sqrt(squares / TINY_WIDTH + 1e-5);
}

static void turn(double *head, int64_t position)
{
    for (int i = 0; i < SIZE / 2; i++) {
        const double angle = (double)position * pow(10000.0, -2.0 * i / SIZE), a = head[i], b = head[i + SIZE / 2];
        head[i] = a * cos(angle) - b * sin(angle);
        head[i + SIZE / 2] = b * cos(angle) + a * sin(angle);
    }
}

typedef struct sums { /* of |a| over a sequence */
    double hidden[2 * TINY_LAYERS + 1][TINY_WIDTH], head[TINY_LAYERS][HEADS], inner[TINY_LAYERS][INNER];
} sums;

static void attend(double q[LENGTH][HEADS * SIZE], double k[LENGTH][KV * SIZE], double v[LENGTH][KV * SIZE], int64_t t,
                   double *out)
{
    for (int h = 0; h < HEADS; h++) {
        double p[LENGTH], total = 0;
        for (int64_t j = 0; j <= t; j++) {
            double dot = 0;
            for (int i = 0; i < SIZE; i++) dot += q[t][h * SIZE + i] * k[j][h / 2 * SIZE + i];
            total += p[j] = exp(dot / sqrt(SIZE));
        }
        for (int i = 0; i < SIZE; i++) {
            out[h * SIZE + i] = 0;
            for (int64_t j = 0; j <= t; j++) out[h * SIZE + i] += p[j] / total * v[j][h / 2 * SIZE + i];
        }
    }
}

static void add_abs(const double *x, int64_t count, double *out)
{
    for (int64_t i = 0; i < count; i++) out[i] += fabs(x[i]);
}

static void block(di_student *s, int l, double x[LENGTH][TINY_WIDTH], sums *of, double *influence)
{
    double q[LENGTH][HEADS * SIZE], k[LENGTH][KV * SIZE], v[LENGTH][KV * SIZE], n[TINY_WIDTH], before[TINY_WIDTH];
    for (int t = 0; t < LENGTH; t++) {
        rms(weight(s, "model.layers.%d.input_layernorm.weight", l), x[t], n);
        add_abs(n, TINY_WIDTH, of->hidden[2 * l]);
        times(weight(s, "model.layers.%d.self_attn.q_proj.weight", l), n, HEADS * SIZE, TINY_WIDTH, q[t]);
        times(weight(s, "model.layers.%d.self_attn.k_proj.weight", l), n, KV * SIZE, TINY_WIDTH, k[t]);
        times(weight(s, "model.layers.%d.self_attn.v_proj.weight", l), n, KV * SIZE, TINY_WIDTH, v[t]);
        for (int h = 0; h < HEADS; h++) turn(q[t] + h * SIZE, t);
        for (int h = 0; h < KV; h++) turn(k[t] + h * SIZE, t);
    }
    for (int t = 0; t < LENGTH; t++) {
        double given[HEADS * SIZE], branch[TINY_WIDTH], gate[INNER], up[INNER], ab = 0, aa = 0, bb = 0;
        memcpy(before, x[t], sizeof before);
        attend(q, k, v, t, given);
        for (int h = 0; h < HEADS; h++) {
            double squares = 0;
            for (int i = 0; i < SIZE; i++) squares += given[h * SIZE + i] * given[h * SIZE + i];
            of->head[l][h] += sqrt(squares);
        }
        times(weight(s, "model.layers.%d.self_attn.o_proj.weight", l), given, TINY_WIDTH, HEADS * SIZE, branch);
        for (int i = 0; i < TINY_WIDTH; i++) x[t][i] += branch[i];
        rms(weight(s, "model.layers.%d.post_attention_layernorm.weight", l), x[t], n);
        add_abs(n, TINY_WIDTH, of->hidden[2 * l + 1]);
        times(weight(s, "model.layers.%d.mlp.gate_proj.weight", l), n, INNER, TINY_WIDTH, gate);
        times(weight(s, "model.layers.%d.mlp.up_proj.weight", l), n, INNER, TINY_WIDTH, up);
        for (int i = 0; i < INNER; i++) up[i] *= gate[i] / (1 + exp(-gate[i]));
        add_abs(up, INNER, of->inner[l]);
        times(weight(s, "model.layers.%d.mlp.down_proj.weight", l), up, TINY_WIDTH, INNER, branch);
        for (int i = 0; i < TINY_WIDTH; i++) x[t][i] += branch[i];
        for (int i = 0; i < TINY_WIDTH; i++) {
            ab += before[i] * x[t][i];
            aa += before[i] * before[i];
            bb += x[t][i] * x[t][i];
        }
        influence[l] += 1 - ab / sqrt(aa * bb);
    }
}

static void fold(const double *of, int64_t count, double *mean, double *square)
{
    for (int64_t i = 0; i < count; i++) {
        mean[i] += of[i] / (SEQUENCES * LENGTH);
        square[i] += of[i] / LENGTH * (of[i] / LENGTH);
    }
}

static void run_plainly(di_student *s, const int32_t *ids, plain *out)
{
    const float *embedding = weight(s, "model.embed_tokens.weight", 0);
    memset(out, 0, sizeof *out);
    for (int q = 0; q < SEQUENCES; q++) {
        double x[LENGTH][TINY_WIDTH], n[TINY_WIDTH];
        sums of = {0};
        for (int t = 0; t < LENGTH; t++)
            for (int i = 0; i < TINY_WIDTH; i++) x[t][i] = (double)embedding[ids[q * LENGTH + t] * TINY_WIDTH + i];
        for (int l = 0; l < TINY_LAYERS; l++) block(s, l, x, &of, out->influence);
        for (int t = 0; t < LENGTH; t++) {
            rms(weight(s, "model.norm.weight", 0), x[t], n);
            add_abs(n, TINY_WIDTH, of.hidden[2 * TINY_LAYERS]);
        }
        for (int p = 0; p <= 2 * TINY_LAYERS; p++) fold(of.hidden[p], TINY_WIDTH, out->hidden, out->square_hidden[p]);
        fold(of.head[0], TINY_LAYERS * HEADS, out->head[0], out->square_head[0]);
        fold(of.inner[0], TINY_LAYERS * INNER, out->inner[0], out->square_inner[0]);
    }
    for (int l = 0; l < TINY_LAYERS; l++) out->influence[l] /= SEQUENCES * LENGTH;
}

/* ---- the library's ---- */
typedef struct bench {
    fixture f;
    di_student *student;
    di_teacher *teacher;
    di_dataset *data;
    int32_t ids[SEQUENCES * LENGTH];
} bench;

static void open_bench(bench *b, const char *name)
{
    int64_t offsets[SEQUENCES + 1];
    distill_batch tokens;
    open_fixture(&b->f, name);
    for (int i = 0; i < SEQUENCES * LENGTH; i++) b->ids[i] = (i * 11 + i / 5 + i * i % 7) % TINY_VOCAB;
    for (int i = 0; i <= SEQUENCES; i++) offsets[i] = i * LENGTH;
    DISTILL_INIT(&tokens);
    tokens.ids = b->ids;
    tokens.offsets = offsets;
    tokens.sequences = SEQUENCES;
    b->student = NULL, b->teacher = NULL, b->data = NULL;
    if (di_options_set(b->f.options, "data.sequence_length", "12", &b->f.err) ||
        di_options_set(b->f.options, "data.pack", "false", &b->f.err) ||
        di_dataset_from_tokens(b->f.host, &tokens, b->f.options, &b->data, &b->f.err) ||
        di_student_create(b->f.backend, b->f.config, NULL, b->f.options, &b->student, &b->f.err) ||
        di_student_as_teacher(b->student, &b->teacher, &b->f.err) ||
        di_options_set(b->f.options, "student.init_std", NULL, &b->f.err)) {
        FAIL("%s", b->f.err.message);
        exit(3);
    }
}

static void close_bench(bench *b)
{
    di_teacher_release(b->teacher);
    di_student_release(b->student);
    di_dataset_release(b->data);
    close_fixture(&b->f);
}

static void check_all(const double *got, const double *want, int64_t count, int32_t squared)
{
    for (int64_t i = 0; i < count; i++) {
        const double value = squared ? sqrt(want[i]) : want[i];
        CHECK_NEAR(got[i], value, 2e-5 * (1 + fabs(value)));
    }
}

TEST(activity)
{
    static plain want;
    static bench b;
    open_bench(&b, "shape_activity");
    run_plainly(b.student, b.ids, &want);
    for (int32_t mean = 0; mean < 2; mean++) {
        di_activity got;
        dk_error err;
        REQUIRE_OK(di_activity_measure(di_teacher_model(b.teacher), b.data, 1, 1000,
                                       mean ? DI_IMPORTANCE_MEAN : DI_IMPORTANCE_L2, &got, &err));
        CHECK_INT(got.tokens, SEQUENCES * LENGTH); /* all there are */
        check_all(got.influence, want.influence, TINY_LAYERS, 0);
        check_all(got.head, mean ? want.head[0] : want.square_head[0], TINY_LAYERS * HEADS, !mean);
        check_all(got.inner, mean ? want.inner[0] : want.square_inner[0], TINY_LAYERS * INNER, !mean);
        for (int i = 0; i < TINY_WIDTH; i++) {
            double root = 0;
            for (int p = 0; p <= 2 * TINY_LAYERS; p++) root += sqrt(want.square_hidden[p][i]);
            CHECK_NEAR(got.hidden[i], mean ? want.hidden[i] : root, 1e-4 * (1 + root));
        }
        di_activity_free(&got);
    }
    close_bench(&b);
}

TEST(rank)
{
    static const double scores[6] = {3, 1, 5, 3, 3, -1};
    int64_t kept[6] = {0};
    dk_error err;
    dk_host *host = NULL;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    CHECK_OK(di_rank(host, scores, 6, 3, kept, &err));
    CHECK(kept[0] == 0 && kept[1] == 2 && kept[2] == 3); /* of equals the first */
    dk_host_release(host);
}

/* ---- chosen ---- */
static di_student *shaped(bench *b, di_shape *shape, const char *remembered)
{
    const di_shape_args args = {.backend = b->f.backend,
                                .teacher = b->teacher,
                                .data = b->data,
                                .options = b->f.options,
                                .remembered = remembered};
    di_student *out = NULL;
    dk_error err;
    if (di_shape_derive(&args, &out, shape, &err)) FAIL("%s", err.message);
    return out;
}

static void set(bench *b, const char *key, const char *value)
{
    if (di_options_set(b->f.options, key, value, &b->f.err)) FAIL("%s", b->f.err.message);
}

static void check_same(const di_student *a, const di_student *b)
{
    const dk_model *x = di_student_model(a), *y = di_student_model(b);
    CHECK_INT(x->parameter_count, y->parameter_count);
    for (int64_t i = 0; i < x->parameter_count; i++) {
        const dk_view v = x->parameters[i].value, w = y->parameters[i].value;
        CHECK_INT(dk_view_count(&v), dk_view_count(&w));
        CHECK(memcmp(x->backend->ops->map(v), y->backend->ops->map(w), sizeof(float) * (size_t)dk_view_count(&v)) == 0);
    }
}

static double member(const di_shape *shape, const char *group, const char *name)
{
    dk_document *doc = NULL;
    dk_host *host = shape->report.host;
    dk_error err;
    double out = NAN;
    if (dk_json_parse(host, shape->report.data, shape->report.size, "report", &doc, &err)) FAIL("%s", err.message);
    const dk_node *node = doc ? dk_node_get(dk_node_get(dk_document_root(doc), group), name) : NULL;
    if (node) out = node->f64;
    else FAIL("the report has no %s.%s: %s", group, name, shape->report.data);
    dk_document_free(doc);
    return out;
}

/* The blocks that turn their input most, or without which the loss rises most. */
TEST(layers)
{
    static plain want;
    static bench b;
    int64_t kept[3];
    dk_error err;
    open_bench(&b, "shape_layers");
    run_plainly(b.student, b.ids, &want);
    CHECK_OK(di_rank(b.f.host, want.influence, TINY_LAYERS, 3, kept, &err));
    set(&b, "student.layers", "auto:3");
    for (int32_t by_loss = 0; by_loss < 2; by_loss++) {
        di_shape shape, again;
        di_shape_init(&shape, b.f.host);
        di_shape_init(&again, b.f.host);
        set(&b, "student.layers_by", by_loss ? "loss" : "influence");
        di_student *student = shaped(&b, &shape, NULL);
        REQUIRE(student);
        CHECK_INT(di_student_model(student)->config.layers, 3);
        for (int i = 0; i < 3 && !by_loss; i++)
            CHECK(memcmp(b.f.backend->ops->map(di_student_model(student)->layers[i].down->value),
                         b.f.backend->ops->map(di_teacher_model(b.teacher)->layers[kept[i]].down->value),
                         sizeof(float) * TINY_WIDTH * INNER) == 0);
        CHECK_NEAR(member(&shape, "layers", "parameters_after"), (double)di_student_facts(student).parameters, 0);
        CHECK_NEAR(member(&shape, "layers", "parameters_before"), (double)di_teacher_facts(b.teacher).parameters, 0);
        CHECK(member(&shape, "layers", "forward_kl") > 0);
        CHECK_HAS(shape.report.data, by_loss ? "\"by\":\"loss\"" : "\"by\":\"influence\"");
        di_student *remembered = shaped(&b, &again, shape.choice.data); /* chosen once */
        REQUIRE(remembered);
        check_same(student, remembered);
        CHECK_STR(again.choice.data, shape.choice.data);
        CHECK_STR(again.report.data, shape.report.data);
        di_student_release(remembered);
        di_student_release(student);
        di_shape_free(&shape);
        di_shape_free(&again);
    }
    close_bench(&b);
}

/* Loss without each block, from models made by hand. */
TEST(layers_by_loss)
{
    static bench b;
    double scores[TINY_LAYERS];
    int64_t kept[2];
    di_shape shape;
    dk_error err;
    di_evaluation whole, part;
    open_bench(&b, "shape_loss");
    di_evaluate_args args = {.backend = b.f.backend, .student = b.teacher, .data = b.data, .memory = 1 << 20};
    REQUIRE_OK(di_evaluate(&args, &whole, &err));
    for (int l = 0; l < TINY_LAYERS; l++) {
        di_student *s = NULL;
        di_teacher *scorer = NULL;
        int64_t others[TINY_LAYERS - 1];
        for (int i = 0; i < TINY_LAYERS - 1; i++) others[i] = i < l ? i : i + 1;
        const dk_keep keep = {.layers = others, .layer_count = TINY_LAYERS - 1};
        REQUIRE_OK(di_student_derive_kept(b.f.backend, b.teacher, &keep, NULL, &s, &err));
        REQUIRE_OK(di_student_as_teacher(s, &scorer, &err));
        args.student = scorer;
        REQUIRE_OK(di_evaluate(&args, &part, &err));
        scores[l] = part.nats - whole.nats;
        di_teacher_release(scorer);
        di_student_release(s);
    }
    CHECK_OK(di_rank(b.f.host, scores, TINY_LAYERS, 2, kept, &err));
    set(&b, "student.layers", "auto:2");
    set(&b, "student.layers_by", "loss");
    di_shape_init(&shape, b.f.host);
    di_student *student = shaped(&b, &shape, NULL);
    REQUIRE(student);
    for (int i = 0; i < 2; i++)
        CHECK(memcmp(b.f.backend->ops->map(di_student_model(student)->layers[i].down->value),
                     b.f.backend->ops->map(di_teacher_model(b.teacher)->layers[kept[i]].down->value),
                     sizeof(float) * TINY_WIDTH * INNER) == 0);
    di_student_release(student);
    di_shape_free(&shape);
    close_bench(&b);
}

/* The slice of the teacher that the plain figures say. */
TEST(widths)
{
    static plain want;
    static bench b;
    di_shape shape;
    int64_t hidden[10], inner[TINY_LAYERS * 9], groups[TINY_LAYERS];
    di_student *by_hand = NULL;
    dk_error err;
    open_bench(&b, "shape_widths");
    run_plainly(b.student, b.ids, &want);
    CHECK_OK(di_rank(b.f.host, want.hidden, TINY_WIDTH, 10, hidden, &err));
    for (int l = 0; l < TINY_LAYERS; l++) {
        const double pairs[2] = {want.head[l][0] + want.head[l][1], want.head[l][2] + want.head[l][3]};
        CHECK_OK(di_rank(b.f.host, pairs, 2, 1, &groups[l], &err));
        CHECK_OK(di_rank(b.f.host, want.inner[l], INNER, 9, inner + 9 * l, &err));
    }
    const dk_keep keep = {
        .hidden = hidden, .hidden_size = 10, .groups = groups, .kv_heads = 1, .inner = inner, .intermediate_size = 9};
    REQUIRE_OK(di_student_derive_kept(b.f.backend, b.teacher, &keep, NULL, &by_hand, &err));
    set(&b, "student.hidden_size", "10");
    set(&b, "student.heads", "2");
    set(&b, "student.intermediate_size", "9");
    set(&b, "student.importance", "mean");
    di_shape_init(&shape, b.f.host);
    di_student *student = shaped(&b, &shape, NULL);
    REQUIRE(student);
    check_same(student, by_hand);
    CHECK_NEAR(member(&shape, "width", "heads_after"), 2, 0);
    CHECK_NEAR(member(&shape, "width", "kv_heads_after"), 1, 0);
    CHECK_NEAR(member(&shape, "width", "hidden_size_before"), TINY_WIDTH, 0);
    CHECK_NEAR(member(&shape, "width", "parameters_after"), (double)di_student_facts(student).parameters, 0);
    di_student_release(student);
    di_student_release(by_hand);
    di_shape_free(&shape);
    close_bench(&b);
}

/* Blocks first, then widths of what is left; stored and taken again at once. */
TEST(layers_and_widths)
{
    static bench b;
    di_shape shape, again;
    open_bench(&b, "shape_both");
    set(&b, "student.layers", "auto:2");
    set(&b, "student.intermediate_size", "8");
    di_shape_init(&shape, b.f.host);
    di_shape_init(&again, b.f.host);
    di_student *student = shaped(&b, &shape, NULL), *remembered = shaped(&b, &again, shape.choice.data);
    REQUIRE(student && remembered);
    CHECK_INT(di_student_model(student)->config.layers, 2);
    CHECK_INT(di_student_model(student)->config.intermediate_size, 8);
    CHECK_NEAR(member(&shape, "width", "parameters_before"), member(&shape, "layers", "parameters_after"), 0);
    CHECK_NEAR(member(&shape, "width", "perplexity_before"), member(&shape, "layers", "perplexity_after"), 0);
    check_same(student, remembered);
    CHECK_STR(again.choice.data, shape.choice.data);
    di_student_release(student);
    di_student_release(remembered);
    di_shape_free(&shape);
    di_shape_free(&again);
    close_bench(&b);
}

/* ---- refused ---- */
static void refuse(bench *b, const char *key, const char *value, int32_t code, const char *message)
{
    const di_shape_args args = {
        .backend = b->f.backend, .teacher = b->teacher, .data = b->data, .options = b->f.options};
    di_student *out = NULL;
    dk_error err;
    set(b, key, value);
    CHECK_INT(di_shape_derive(&args, &out, NULL, &err), code);
    CHECK_HAS(err.message, message);
    CHECK(!out);
    set(b, key, NULL);
}

TEST(refusals)
{
    static bench b;
    di_student *out = NULL;
    dk_error err;
    open_bench(&b, "shape_refused");
    refuse(&b, "student.layers", "auto:6", DK_E_OPTION,
           "student.layers auto:6: the teacher has 5 blocks, give N in [1, 5]");
    refuse(&b, "student.heads", "3", DK_E_OPTION,
           "2 query heads share a key-value head and go together: give a multiple of 2");
    refuse(&b, "student.heads", "6", DK_E_OPTION, "student.heads 6: the teacher has 4, give a number in [1, 4]");
    refuse(&b, "student.hidden_size", "17", DK_E_OPTION, "student.hidden_size 17: the teacher has 16");
    refuse(&b, "student.intermediate_size", "25", DK_E_OPTION, "give a number in [1, 24]");
    refuse(&b, "student.layers_by", "loss", DK_E_OPTION, "student.layers_by says how layers auto:N are chosen");
    refuse(&b, "student.importance", "mean", DK_E_OPTION, "student.importance says how heads and channels are chosen");
    refuse(&b, "student.calibration_tokens", "100", DK_E_OPTION,
           "student.calibration_tokens is of a shape chosen by text");
    refuse(&b, "student.vocabulary_text", "x.txt", DK_E_OPTION,
           "student.vocabulary_text has its ids counted: give student.vocabulary");
    refuse(&b, "student.vocabulary", "5", DK_E_OPTION, "the teacher has no tokenizer whose ids could be counted");
    set(&b, "student.heads", "2");
    CHECK_INT(di_student_create(b.f.backend, b.f.config, NULL, b.f.options, &out, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "student.heads shapes a copy of a teacher: it goes with student.from: teacher only");
    const di_shape_args no_text = {.backend = b.f.backend, .teacher = b.teacher, .options = b.f.options};
    CHECK_INT(di_shape_derive(&no_text, &out, NULL, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "data.train is not set: the student's shape is chosen by what the teacher does on its text");
    close_bench(&b);
}

TEST_MAIN(TEST_CASE(activity) TEST_CASE(rank) TEST_CASE(layers) TEST_CASE(layers_by_loss) TEST_CASE(widths)
              TEST_CASE(layers_and_widths) TEST_CASE(refusals))
