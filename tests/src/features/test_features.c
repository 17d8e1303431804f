/* Losses on features against the formulas written down plainly, and their gradients, through the blocks and to the
 * projections, against finite differences in double; what must not change them. */
#include "feature_pair.h"

static const char *const students[] = {
    "{\"model_type\":\"llama\",\"hidden_size\":12,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":4,"
    "\"num_hidden_layers\":3,\"intermediate_size\":10,\"max_position_embeddings\":32,\"vocab_size\":17}",
    "{\"model_type\":\"gemma2\",\"hidden_size\":8,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":6,"
    "\"num_hidden_layers\":3,\"intermediate_size\":10,\"max_position_embeddings\":32,\"vocab_size\":17,"
    "\"sliding_window\":3,\"attn_logit_softcapping\":2.0,\"final_logit_softcapping\":4.0,"
    "\"query_pre_attn_scalar\":5}"};
static const char *const teachers[] = {
    "{\"model_type\":\"llama\",\"hidden_size\":12,\"num_attention_heads\":4,\"num_key_value_heads\":4,\"head_dim\":6,"
    "\"num_hidden_layers\":6,\"intermediate_size\":14,\"max_position_embeddings\":32,\"vocab_size\":17}",
    "{\"model_type\":\"mistral\",\"hidden_size\":20,\"num_attention_heads\":8,\"num_key_value_heads\":2,\"head_dim\":4,"
    "\"num_hidden_layers\":4,\"intermediate_size\":14,\"max_position_embeddings\":32,\"vocab_size\":17,"
    "\"sliding_window\":2}"};

enum { TOKENS = 15, ROWS = 9 };
static int32_t ids[TOKENS] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 16, 7, 0};
static const int64_t offsets[] = {0, 6, 7, 7, 15};
/* rows 2 and 6 are masked, by label and by weight */
static const int64_t places[ROWS] = {0, 2, 3, 4, 7, 9, 10, 12, 13}, sequence[ROWS] = {0, 0, 0, 0, 3, 3, 3, 3, 3};
static const int32_t labels[ROWS] = {1, 1, -1, 9, 5, 5, 8, 7, 0};
static const float weights[ROWS] = {1, 0.5f, 1, 2, 1, 1, 0, 0.25f, 1};

static const pair_text tiny_text = {ids, labels, offsets, places, sequence, weights, TOKENS, 4, ROWS};

static int begin(pair *p, backend_kind kind, const char *student, const char *teacher)
{
    dk_error err = {0};
    dk_document *document = NULL;
    memset(p, 0, sizeof *p);
    if (!fixture_make(&p->f, kind, student)) return 0;
    int32_t rc = dk_json_parse(p->f.host, teacher, strlen(teacher), "config.json", &document, &err);
    if (!rc) rc = dk_model_create(p->f.backend, document, 0.4, 5, &p->teacher.model, &err);
    dk_document_free(document);
    if (rc) FAIL("%s: %s", teacher, err.message);
    return rc == 0 && prepare(p, &tiny_text);
}

/* ---- the formulas, plainly ---- */

static const dk_model *model_of(const pair *p, int teacher) { return teacher ? p->teacher.model : p->student.model; }

/* What stands at a place, by a pass of its own: [TOKENS, width]. */
static double *read_place(pair *p, int teacher, int64_t layer, dk_tap_kind kind)
{
    const dk_tap_spec tap = {layer, kind};
    const di_asked asked = {&tap, 1};
    const dk_tokens tokens = {ids, offsets, 4};
    side s = {.model = teacher ? p->teacher.model : p->student.model, .max_tokens = TOKENS, .max_sequences = 4};
    dk_error err = {0};
    double *out = NULL;
    CHECK_OK(open_pass(&s, &asked, 0, 0, &err));
    CHECK_OK(dk_pass_forward(s.pass, &tokens, &err));
    out = new_read(&p->f, dk_pass_tap(s.pass, 0));
    dk_pass_free(s.pass);
    return out;
}

static double hidden_value(pair *p, int64_t layer, int64_t teacher_layer, int cosine, int64_t row)
{
    const int64_t ws = p->student.model->config.hidden_size, wt = p->teacher.model->config.hidden_size;
    double *y = read_place(p, 0, layer < 0 ? 0 : layer, layer < 0 ? DK_TAP_FINAL : DK_TAP_BLOCK), *matrix = NULL,
           *h =
               read_place(p, 1, teacher_layer < 0 ? 0 : teacher_layer, teacher_layer < 0 ? DK_TAP_FINAL : DK_TAP_BLOCK),
           sum = 0, yy = 0, hh = 0, yh = 0;
    dk_parameter *projections = NULL;
    char name[32];
    snprintf(name, sizeof name, layer < 0 ? ".final-" : ".%d-", (int)layer);
    for (int64_t i = 0; i < di_features_parameters(p->features, &projections); i++)
        if (strstr(projections[i].name, name)) matrix = new_read(&p->f, projections[i].value);
    for (int64_t i = 0; i < wt; i++) {
        double made = matrix ? 0 : y[row * ws + i];
        for (int64_t k = 0; matrix && k < ws; k++) made += matrix[i * ws + k] * y[row * ws + k];
        sum += (made - h[row * wt + i]) * (made - h[row * wt + i]) / (double)wt;
        yy += made * made;
        hh += h[row * wt + i] * h[row * wt + i];
        yh += made * h[row * wt + i];
    }
    free(y);
    free(h);
    free(matrix);
    return cosine ? 1 - yh / sqrt(yy * hh) : sum;
}

static int64_t begin_of(int64_t token) { return token < 6 ? 0 : token < 7 ? 6 : 7; }

/* Weights of a head of attention at a token, of all keys of its sequence up to it; zeros elsewhere. */
static void attention_weights(pair *p, int teacher, int64_t layer, int64_t head, int64_t token, double out[TOKENS])
{
    const dk_config *c = &model_of(p, teacher)->config;
    double *q = read_place(p, teacher, layer, DK_TAP_Q), *k = read_place(p, teacher, layer, DK_TAP_K), sum = 0;
    const int64_t group = head / (c->heads / c->kv_heads), first = begin_of(token);
    memset(out, 0, TOKENS * sizeof *out);
    for (int64_t s = first; s <= token; s++) {
        double score = 0;
        if (c->window[layer] && token - s >= c->window[layer]) continue;
        for (int64_t d = 0; d < c->head_dim; d++)
            score += q[token * c->heads * c->head_dim + head * c->head_dim + d] *
                     k[s * c->kv_heads * c->head_dim + group * c->head_dim + d];
        score *= c->attention_scale;
        if (c->attention_softcap != 0) score = c->attention_softcap * tanh(score / c->attention_softcap);
        sum += out[s] = exp(score);
    }
    for (int64_t s = first; s <= token; s++) out[s] /= sum;
    free(q);
    free(k);
}

static int64_t seen(pair *p, int64_t layer, int64_t teacher_layer, int64_t token)
{
    const int64_t all = token - begin_of(token) + 1, a = p->student.model->config.window[layer],
                  b = p->teacher.model->config.window[teacher_layer];
    if (!a || !b) return all;
    const int64_t wider = a > b ? a : b;
    return wider < all ? wider : all;
}

static double attention_value(pair *p, int64_t layer, int64_t teacher_layer, int by_mean, int64_t token)
{
    const int64_t heads = p->student.model->config.heads, others = p->teacher.model->config.heads;
    double own[TOKENS], other[TOKENS], sums[2][TOKENS] = {{0}}, sum = 0;
    for (int64_t h = 0; h < heads || h < others; h++) {
        if (h < heads) attention_weights(p, 0, layer, h, token, own);
        if (h < others) attention_weights(p, 1, teacher_layer, h, token, other);
        for (int64_t s = 0; s < TOKENS; s++) {
            if (!by_mean) sum += (own[s] - other[s]) * (own[s] - other[s]) / (double)heads;
            if (h < heads) sums[0][s] += own[s] / (double)heads;
            if (h < others) sums[1][s] += other[s] / (double)others;
        }
    }
    for (int64_t s = 0; by_mean && s < TOKENS; s++) sum += (sums[0][s] - sums[1][s]) * (sums[0][s] - sums[1][s]);
    return sum / (double)seen(p, layer, teacher_layer, token);
}

static void relation_row(pair *p, int teacher, int64_t layer, int part, int64_t heads, int64_t head, int64_t token,
                         double out[TOKENS])
{
    const dk_config *c = &model_of(p, teacher)->config;
    const int64_t width = (part ? c->kv_heads : c->heads) * c->head_dim, dim = width / heads, first = begin_of(token);
    double *x = read_place(p, teacher, layer, (dk_tap_kind)(DK_TAP_Q + part)), sum = 0;
    memset(out, 0, TOKENS * sizeof *out);
    for (int64_t s = first; s <= token; s++) {
        double score = 0;
        for (int64_t d = 0; d < dim; d++) score += x[token * width + head * dim + d] * x[s * width + head * dim + d];
        sum += out[s] = exp(score / sqrt((double)dim));
    }
    for (int64_t s = first; s <= token; s++) out[s] /= sum;
    free(x);
}

static double relation_value(pair *p, int64_t layer, int64_t teacher_layer, int64_t heads, int64_t token)
{
    double own[TOKENS], other[TOKENS], sum = 0;
    for (int part = 0; part < 3; part++)
        for (int64_t h = 0; h < heads; h++) {
            relation_row(p, 0, layer, part, heads, h, token, own);
            relation_row(p, 1, teacher_layer, part, heads, h, token, other);
            for (int64_t s = begin_of(token); s <= token; s++) sum += other[s] * (log(other[s]) - log(own[s]));
        }
    return sum / (3 * (double)heads);
}

typedef struct item {
    const char *yaml;
    int student, teacher;
    int kind; /* 0 mse, 1 cosine, 2 attention, 3 means of it, 4 relation */
    int64_t heads, count, layers[3], teacher_layers[3];
} item;
static const item items[] = {
    {"{type: hidden_mse}", 0, 0, 0, 0, 3, {0, 1, 2}, {1, 3, 5}},
    {"{type: hidden_mse}", 1, 1, 0, 0, 3, {0, 1, 2}, {1, 2, 3}},
    {"{type: hidden_mse, hidden_mse.layers: [2, -1], hidden_mse.teacher_layers: [0, 3], hidden_mse.projection: linear}",
     0,
     0,
     0,
     0,
     2,
     {2, -1},
     {0, 3}},
    {"{type: hidden_cosine, hidden_cosine.layers: [1, -1]}", 0, 1, 1, 0, 2, {1, -1}, {2, -1}},
    {"{type: attention_mse}", 0, 0, 2, 0, 3, {0, 1, 2}, {1, 3, 5}},
    {"{type: attention_mse, attention_mse.layers: [2, 0], attention_mse.teacher_layers: [4, 1]}",
     1,
     0,
     2,
     0,
     2,
     {2, 0},
     {4, 1}},
    {"{type: attention_mse, attention_mse.layers: [0, 1], attention_mse.heads: mean}", 1, 1, 3, 0, 2, {0, 1}, {1, 2}},
    {"{type: relation}", 0, 0, 4, 2, 1, {2}, {5}},
    {"{type: relation, relation.layers: [1, 2], relation.teacher_layers: [0, 2], relation.heads: 4}",
     1,
     1,
     4,
     4,
     2,
     {1, 2},
     {0, 2}},
};
enum { ITEMS = sizeof items / sizeof *items };

static double plain_value(pair *p, const item *t, int64_t row)
{
    double sum = 0;
    for (int64_t k = 0; k < t->count; k++) {
        const int64_t own = t->layers[k], other = t->teacher_layers[k], token = places[row];
        sum += t->kind < 2   ? hidden_value(p, own, other, t->kind, token)
               : t->kind < 4 ? attention_value(p, own, other, t->kind == 3, token)
                             : relation_value(p, own, other, t->heads, token);
    }
    return sum / (double)t->count;
}

TEST(values)
{
    for (int i = 0; i < ITEMS; i++) {
        pair p;
        double want = 0;
        if (!begin(&p, ON_F64, students[items[i].student], teachers[items[i].teacher])) continue;
        if (make_ready(&p, items[i].yaml, 0)) {
            for (int64_t r = 0; r < ROWS; r++)
                if (labels[r] >= 0 && weights[r] > 0) want += (double)weights[r] * plain_value(&p, &items[i], r);
            const double have = loss_of(&p);
            CHECK(want > 1e-6);
            if (!(fabs(have - want) <= 1e-12 * (1 + fabs(want))))
                FAIL("%s: %.15g, not %.15g", items[i].yaml, have, want);
            CHECK_NEAR(p.sums.terms[0], have, 0);
        }
        end(&p);
    }
}

/* ---- gradients ---- */

static double difference(pair *p, dk_parameter *parameter, double *numbers, int64_t at)
{
    const double old = numbers[at], step = 1e-5;
    double sides[2];
    for (int k = 0; k < 2; k++) {
        numbers[at] = k ? old + step : old - step;
        write_view(&p->f, parameter->value, numbers);
        refresh(&p->f, parameter);
        sides[k] = loss_of(p);
    }
    numbers[at] = old;
    write_view(&p->f, parameter->value, numbers);
    refresh(&p->f, parameter);
    return (sides[1] - sides[0]) / (2 * step);
}

static double check_parameter(pair *p, const char *what, dk_parameter *parameter)
{
    enum { ENTRIES = 2 };
    double *numbers = new_read(&p->f, parameter->value), *have = new_read(&p->f, parameter->gradient), largest = 0;
    const int64_t count = dk_view_count(&parameter->value);
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(have[i]));
    for (int64_t k = 0; k < ENTRIES && k < count; k++) {
        const int64_t at = (int64_t)(dk_random_u64(1, DK_STREAM_TEST, (uint64_t)k) % (uint64_t)count);
        const double want = difference(p, parameter, numbers, at);
        if (!(fabs(want - have[at]) <= 1e-7 * (largest + 1e-2)))
            FAIL("%s: %s[%d] has gradient %.10g, not %.10g", what, parameter->name, (int)at, have[at], want);
    }
    free(numbers);
    free(have);
    return largest;
}

TEST(finite_differences)
{
    for (int i = 0; i < ITEMS; i++) {
        pair p;
        dk_parameter *projections = NULL;
        double largest = 0;
        if (!begin(&p, ON_F64, students[items[i].student], teachers[items[i].teacher])) continue;
        if (make_ready(&p, items[i].yaml, i % 2)) {
            (void)gradients_of(&p);
            for (int64_t k = 0; k < p.student.model->parameter_count; k++)
                largest = fmax(largest, check_parameter(&p, items[i].yaml, &p.student.model->parameters[k]));
            CHECK(largest > 1e-6);
            for (int64_t k = 0; k < di_features_parameters(p.features, &projections); k++) {
                (void)gradients_of(&p); /* differences have added to it */
                CHECK(check_parameter(&p, items[i].yaml, &projections[k]) > 1e-6);
            }
        }
        end(&p);
    }
}

/* A list of terms, with weights and one that is a schedule which begins at 0: its value is told, its gradient is not
 * made; the sum of the parts is the whole. */
TEST(several_terms)
{
    static const char list[] =
        "[{type: cross_entropy}, {type: hidden_mse, weight: 0.5}, {type: relation, weight: {schedule: linear, from: 0, "
        "to: 2, steps: 4}}, {type: hidden_mse, weight: 0}, {type: attention_mse, weight: 3}]";
    static const char *const alone[] = {"{type: hidden_mse}", "{type: relation}", "{type: attention_mse}"};
    double values_alone[3], have;
    pair p;
    if (!begin(&p, ON_F64, students[0], teachers[0])) return;
    for (int i = 0; i < 3; i++) {
        if (make_ready(&p, alone[i], 0)) values_alone[i] = loss_of(&p);
        unbind(&p);
    }
    if (make_ready(&p, list, 0)) {
        have = loss_of(&p);
        CHECK_NEAR(have, 0.5 * values_alone[0] + 3 * values_alone[2], 1e-12);
        CHECK_NEAR(p.sums.terms[2], values_alone[1], 1e-12);
        CHECK_NEAR(p.sums.terms[3], values_alone[2], 1e-12);
        p.step = 2;
        CHECK_NEAR(loss_of(&p), have + values_alone[1], 1e-12);
        CHECK_INT(di_features_of_student(p.features)->count, 3 + 3 * 2 + 1); /* outputs; q and k; v of the last */
    }
    end(&p);
}

static double *all_gradients(pair *p, int64_t *count)
{
    double *out = NULL;
    *count = 0;
    for (int64_t i = 0; i < p->student.model->parameter_count; i++) {
        const dk_view view = p->student.model->parameters[i].gradient;
        const int64_t n = dk_view_count(&view);
        out = realloc(out, sizeof *out * (size_t)(*count + n + 1));
        read_view(&p->f, view, out + *count);
        *count += n;
    }
    return out;
}

static double *gradients_with(const char *student, const char *teacher, const char *yaml, backend_kind kind,
                              int64_t threads, int32_t checkpointing, int64_t *count)
{
    pair p;
    dk_error err = {0};
    double *out = NULL;
    if (!begin(&p, kind, student, teacher)) return NULL;
    CHECK_OK(dk_host_set_threads(p.f.host, threads, NULL, NULL, NULL, &err));
    if (make_ready(&p, yaml, checkpointing)) {
        (void)gradients_of(&p);
        out = all_gradients(&p, count);
    }
    end(&p);
    return out;
}

/* In floats near the doubles; the same bits with checkpointing and for any number of threads. */
TEST(threads_and_checkpointing)
{
    for (int i = 0; i < ITEMS; i++) {
        const char *student = students[items[i].student], *teacher = teachers[items[i].teacher], *yaml = items[i].yaml;
        int64_t count = 0, same = 0;
        double largest = 0, apart = 0, *exact = gradients_with(student, teacher, yaml, ON_F64, 1, 0, &count),
               *one = gradients_with(student, teacher, yaml, ON_F32, 1, 0, &same),
               *three = gradients_with(student, teacher, yaml, ON_F32, 3, 1, &same),
               *cpu = gradients_with(student, teacher, yaml, ON_CPU, 2, 1, &same);
        CHECK(exact && one && three && cpu && same == count);
        if (memcmp(one, three, sizeof *one * (size_t)count)) FAIL("%s: other bits", yaml);
        for (int64_t k = 0; k < count; k++) largest = fmax(largest, fabs(exact[k]));
        for (int64_t k = 0; k < count; k++)
            apart = test_worst(test_worst(apart, fabs(one[k] - exact[k])), fabs(cpu[k] - exact[k]));
        if (!(apart <= 2e-5 * largest)) FAIL("%s: %g of %g apart", yaml, apart, largest);
        free(exact);
        free(one);
        free(three);
        free(cpu);
    }
}

/* A loss without terms on features asks for nothing, and a pass without taps takes no room for any. */
TEST(nothing_asked_costs_nothing)
{
    const dk_tap_spec tap = {1, DK_TAP_BLOCK};
    dk_error err = {0};
    pair p;
    if (!begin(&p, ON_CPU, students[0], teachers[0])) return;
    CHECK_OK(bind(&p, "{type: forward_kl}", &err));
    CHECK(!p.features);
    CHECK(!di_features_of_student(p.features));
    dk_pass_spec spec = {.max_rows = 64, .max_sequences = 4, .backward = 1};
    const int64_t without = dk_pass_bytes(&spec, p.student.model);
    spec.taps = &tap;
    spec.tap_count = 1;
    CHECK_INT(dk_pass_bytes(&spec, p.student.model) - without, 2 * 64 * 12 * (int64_t)sizeof(float));
    end(&p);
}

static void check_refused(const char *student, const char *teacher, const char *yaml, const char *why)
{
    pair p;
    dk_error err = {0};
    if (!begin(&p, ON_CPU, student, teacher)) return;
    if (bind(&p, yaml, &err) != DK_E_OPTION || !strstr(err.message, why)) FAIL("%s: %s", yaml, err.message);
    end(&p);
}

TEST(refusals)
{
    check_refused(students[0], teachers[1], "{type: hidden_mse, hidden_mse.projection: none}",
                  "loss.hidden_mse.projection is none, and the outputs compared are 12 and 20 wide");
    check_refused(students[0], teachers[0], "{type: hidden_mse, hidden_mse.layers: [3]}",
                  "has blocks 0 to 2, and block 3 is named");
    check_refused(students[0], teachers[0],
                  "{type: hidden_mse, hidden_mse.layers: [1, 2], hidden_mse.teacher_layers: [1]}",
                  "loss.hidden_mse.teacher_layers names 1 blocks, and loss.hidden_mse.layers 2");
    check_refused(students[0], teachers[0], "{type: hidden_mse, hidden_mse.layers: [1, 1]}",
                  "name the pair 1, 3 twice");
    check_refused(students[0], teachers[1], "{type: attention_mse}",
                  "has 4 heads, block 1 of the teacher 8: take loss.attention_mse.heads mean");
    check_refused(students[0], teachers[0], "{type: relation, relation.heads: 5}",
                  "the queries of the student are 16 wide, which 5 heads do not divide: give loss.relation.heads");
    check_refused(students[0], teachers[0], "{type: hidden_mse, relation.heads: 5}",
                  "loss.relation.heads is an option of relation, and the loss is hidden_mse");
}

TEST_MAIN(TEST_CASE(values) TEST_CASE(finite_differences) TEST_CASE(several_terms) TEST_CASE(threads_and_checkpointing)
              TEST_CASE(nothing_asked_costs_nothing) TEST_CASE(refusals))
