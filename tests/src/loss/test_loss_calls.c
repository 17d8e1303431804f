/* The registry, a host's own losses and everything that they may return, HIDDEN students, strips, and refusals. */
#include "loss_fixture.h"
#include <pthread.h>

enum { R = 24, V = 41, W = 11 };
static float z[R * V], p[R * V], g1[R * V], g2[R * V];

typedef struct host_loss {
    int destroyed, calls, answer, poison;
    int64_t rows, longest, cuts; /* rows seen; of one call; calls that began inside a sequence */
    int64_t last_sequence;
    const distill_target *target;
} host_loss;

static void destroy(void *user) { ((host_loss *)user)->destroyed++; }

/* What calls looked like; with DISTILL_LOSS_MT they come from several threads at once. */
static pthread_mutex_t noting = PTHREAD_MUTEX_INITIALIZER;
static void note(host_loss *h, const distill_loss_rows *rows)
{
    pthread_mutex_lock(&noting);
    h->calls++;
    h->rows += rows->rows;
    if (rows->rows > h->longest) h->longest = rows->rows;
    if (rows->sequences[0] == h->last_sequence) h->cuts++;
    h->last_sequence = rows->sequences[rows->rows - 1];
    h->target = rows->target;
    pthread_mutex_unlock(&noting);
}

/* Squared Hellinger distance, 1 - sum sqrt(p q); d/d log q = -sqrt(p q)/2. */
static int32_t hellinger(void *user, const distill_loss_rows *rows)
{
    host_loss *h = user;
    note(h, rows);
    if (h->answer) return h->answer;
    for (int64_t i = 0; i < rows->rows; i++) {
        rows->value[i] = 1;
        for (int64_t v = i * rows->vocab; v < (i + 1) * rows->vocab; v++) {
            double s = exp(0.5 * ((double)rows->student[v] + (double)rows->teacher[v]));
            rows->value[i] -= s;
            if (rows->gradient) rows->gradient[v] = (float)(-0.5 * s);
        }
        if (h->poison == 1) rows->value[i] = NAN;
        if (h->poison == 2 && rows->gradient) rows->gradient[i * rows->vocab] = INFINITY;
    }
    return DISTILL_CB_OK;
}

static double hellinger64(const double *a, const double *b)
{
    double lq[V], lp[V], value = 1;
    softmax64(a, V, 1, lq);
    softmax64(b, V, 1, lp);
    for (int v = 0; v < V; v++) value -= exp(0.5 * (lq[v] + lp[v]));
    return value;
}

static distill_loss_callbacks table_of(host_loss *h, uint32_t flags)
{
    distill_loss_callbacks table;
    DISTILL_INIT(&table);
    table.flags = flags;
    table.user = h;
    table.destroy = destroy;
    table.eval = hellinger;
    table.targets = 1 << DISTILL_DENSE;
    h->last_sequence = -1;
    return table;
}

static void fill_inputs(void)
{
    randomize(z, R * V, 2, 1);
    randomize(p, R * V, 2, 2);
}

TEST(custom_loss)
{
    fixture f;
    dense_call c;
    dk_error err;
    host_loss h = {0};
    float rows[R];
    int32_t labels[R];
    open_fixture(&f);
    fill_inputs();
    distill_loss_callbacks table = table_of(&h, DISTILL_LOSS_LOG_PROBS);
    CHECK_OK(di_registry_add(f.registry, "hellinger", &table, &err));
    di_loss *loss = make_loss(&f, "hellinger", NULL);
    for (int r = 0; r < R; r++) labels[r] = r % 3 ? r : -1;
    set_dense(&c, z, R, V, p, V);
    with_labels(&c, labels);
    with_gradient(&c, g1);
    with_rows(&c, rows);
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    CHECK_INT(h.calls, 1);
    CHECK_INT(h.rows, 16); /* masked rows never reach it */
    for (int r = 1; r < R; r += 7) {
        double a[V], b[V];
        for (int v = 0; v < V; v++) a[v] = (double)z[r * V + v], b[v] = (double)p[r * V + v];
        if (labels[r] < 0) continue;
        CHECK_NEAR((double)rows[r], hellinger64(a, b), 2e-6);
        for (int v = 0; v < V; v += 5) {
            const double at = a[v];
            a[v] = at + 1e-4;
            double high = hellinger64(a, b);
            a[v] = at - 1e-4;
            CHECK_NEAR((double)g1[r * V + v], (high - hellinger64(a, b)) / 2e-4, 1e-6);
            a[v] = at;
        }
    }
    /* the same table from several threads gives the same bits */
    host_loss mt = {0};
    distill_loss_callbacks parallel = table_of(&mt, DISTILL_LOSS_LOG_PROBS | DISTILL_LOSS_MT);
    CHECK_OK(di_registry_add(f.registry, "parallel", &parallel, &err));
    di_loss *other = make_loss(&f, "parallel", NULL);
    with_gradient(&c, g2);
    double sum = c.args.sum;
    CHECK_OK(di_loss_eval(f.backend, other, &c.args, &err));
    CHECK_NEAR(c.args.sum, sum, 0);
    CHECK(memcmp(g1, g2, sizeof g1) == 0);

    di_loss_release(other);
    di_loss_release(loss);
    CHECK_INT(h.destroyed, 0);
    close_fixture(&f);
    CHECK_INT(h.destroyed, 1);
    CHECK_INT(mt.destroyed, 1);
}

/* Raw logits: the value's gradient goes to the logits as it is. */
static int32_t half_square(void *user, const distill_loss_rows *rows)
{
    (void)user;
    for (int64_t i = 0; i < rows->rows * rows->vocab; i++) {
        double d = (double)rows->student[i] - (double)rows->teacher[i];
        rows->value[i / rows->vocab] += 0.5 * d * d;
        if (rows->gradient) rows->gradient[i] = (float)d;
    }
    return DISTILL_CB_OK;
}

TEST(raw_logits_among_other_terms)
{
    static float g3[R * V];
    fixture f;
    dense_call c;
    dk_error err;
    host_loss h = {0};
    double parts[2];
    open_fixture(&f);
    fill_inputs();
    distill_loss_callbacks table = table_of(&h, DISTILL_LOSS_MT);
    table.eval = half_square;
    CHECK_OK(di_registry_add(f.registry, "square", &table, &err));
    set_dense(&c, z, R, V, p, V);
    float *gradients[2] = {g1, g2};
    const char *names[2] = {"square", "forward_kl"};
    for (int i = 0; i < 2; i++) {
        di_loss *loss = make_loss(&f, names[i], "{type: forward_kl, temperature: 3}");
        with_gradient(&c, gradients[i]);
        CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
        parts[i] = c.args.sum;
        di_loss_release(loss);
    }
    CHECK_NEAR((double)g1[5], (double)z[5] - (double)p[5], 1e-6); /* no T squared for raw logits */
    di_loss *loss = make_loss(&f, NULL,
                              "[{type: square, weight: 0.25, temperature: 3}, {type: forward_kl, weight: 2, "
                              "temperature: 3}, {type: square, weight: 0.25}]");
    with_gradient(&c, g3);
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    CHECK_NEAR(c.args.sum, 0.5 * parts[0] + 2 * parts[1], 1e-4);
    for (int i = 0; i < R * V; i++) CHECK_NEAR((double)g3[i], 0.5 * (double)g1[i] + 2 * (double)g2[i], 2e-6);
    dk_strbuf text;
    dk_strbuf_init(&text, f.host);
    di_loss_describe(loss, &text);
    CHECK_STR(text.data, "0.25*square(T=3) + 2*forward_kl(T=3) + 0.25*square");
    dk_strbuf_free(&text);
    di_loss_release(loss);
    close_fixture(&f);
}

static int32_t run_answer(fixture *f, const di_loss *loss, host_loss *h, int answer, int poison, double *sum,
                          dk_error *err)
{
    dense_call c;
    set_dense(&c, z, R, V, p, V);
    with_gradient(&c, g1);
    c.args.sum = -1;
    h->answer = answer;
    h->poison = poison;
    int32_t rc = di_loss_eval(f->backend, loss, &c.args, err);
    *sum = c.args.sum;
    return rc;
}

TEST(answers)
{
    fixture f;
    dk_error err;
    host_loss h = {0}, alone = {0};
    double sum, want;
    open_fixture(&f);
    fill_inputs();
    distill_loss_callbacks table = table_of(&h, DISTILL_LOSS_LOG_PROBS), second = table_of(&alone, 0);
    table.fallback = "forward_kl";
    CHECK_OK(di_registry_add(f.registry, "mine", &table, &err));
    CHECK_OK(di_registry_add(f.registry, "alone", &second, &err));
    di_loss *loss = make_loss(&f, "mine", "{type: mine, temperature: 2}"),
            *plain = make_loss(&f, "forward_kl", "{type: mine, temperature: 2}");
    di_loss *single = make_loss(&f, "alone", NULL);
    CHECK_INT(run_answer(&f, plain, &h, 0, 0, &want, &err), 0);
    memcpy(g2, g1, sizeof g1);
    CHECK_INT(run_answer(&f, loss, &h, DISTILL_CB_DEFAULT, 0, &sum, &err), 0);
    CHECK_NEAR(sum, want, 0);
    CHECK(memcmp(g1, g2, sizeof g1) == 0);
    CHECK_INT(run_answer(&f, loss, &h, DISTILL_CB_CANCEL, 0, &sum, &err), DK_E_CANCELLED);
    CHECK_NEAR(sum, -1, 0); /* untouched */
    CHECK_INT(run_answer(&f, loss, &h, 77, 0, &sum, &err), DK_E_CALLBACK);
    CHECK_INT(err.user_code, 77);
    CHECK_HAS(err.message, "mine");
    CHECK_INT(run_answer(&f, loss, &h, 0, 1, &sum, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "value of row 0 is nan");
    CHECK_INT(run_answer(&f, loss, &h, 0, 2, &sum, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "gradient of row 0 is inf");
    CHECK_INT(run_answer(&f, single, &alone, DISTILL_CB_DEFAULT, 0, &sum, &err), DK_E_CALLBACK);
    CHECK_HAS(err.message, "fallback");
    di_loss_release(loss);
    di_loss_release(plain);
    di_loss_release(single);
    close_fixture(&f);
    CHECK_INT(h.destroyed, 1);
    CHECK_INT(alone.destroyed, 1);
}

TEST(registry)
{
    fixture f;
    dk_error err;
    host_loss a = {0}, b = {0}, c = {0};
    dk_strbuf names;
    di_loss *none = NULL;
    open_fixture(&f);
    distill_loss_callbacks table = table_of(&a, 0), other = table_of(&b, 0), broken = table_of(&c, 0);
    CHECK_OK(di_registry_add(f.registry, "mine", &table, &err));
    di_loss *loss = make_loss(&f, "mine", NULL);
    CHECK_INT(di_registry_add(f.registry, "mine", &other, &err), DK_E_INVALID); /* never replaced in silence */
    CHECK_HAS(err.message, "loss mine is registered already; take another name");
    CHECK_INT(b.destroyed, 1);
    di_loss_release(loss);
    CHECK_INT(a.destroyed, 0);
    CHECK_INT(di_registry_add(f.registry, "forward_kl", &broken, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "built in");
    CHECK_INT(c.destroyed, 1);
    broken.fallback = "nothing";
    CHECK_INT(di_registry_add(f.registry, "x", &broken, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "fallback of loss x: loss nothing is not registered; there are ");
    CHECK_HAS(err.message, "cross_entropy");
    broken.fallback = "relation";
    CHECK_INT(di_registry_add(f.registry, "x", &broken, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "relation is a loss on features, which no rows can fall back to");
    broken.fallback = NULL;
    broken.eval = NULL;
    CHECK_INT(di_registry_add(f.registry, "x", &broken, &err), DK_E_INVALID);
    CHECK_INT(c.destroyed, 4);
    CHECK_INT(di_loss_create(f.registry, "forward_lk", NULL, &none, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "forward_lk");
    dk_strbuf_init(&names, f.host);
    CHECK_OK(di_registry_names(f.registry, &names, &err));
    CHECK_STR(
        names.data,
        "cross_entropy, forward_kl, reverse_kl, symmetric_kl, jsd, skew_forward_kl, skew_reverse_kl, tvd, "
        "alpha_beta, taid, adaptive_kl, dkd, logit_mse, logit_cosine, acceptance, rank_hinge, rank_logistic, "
        "dpo, hidden_mse, hidden_cosine, attention_mse, relation, trl-gkd, distillkit, msswift-topk, verl-trunc, mine");
    dk_strbuf_free(&names);
    close_fixture(&f);
    CHECK_INT(a.destroyed, 1);
    CHECK_INT(b.destroyed, 1);
}

/* ---- strips ---- */

typedef struct strip_call {
    di_workspace *workspace;
    di_wrapped *student, *teacher;
    di_loss_sums sums;
    int64_t rows; /* of a strip */
} strip_call;

/* The dense call through strips of what fits into memory. */
static int32_t run_strips(fixture *f, const di_loss *loss, int64_t memory, float *gradient, const int64_t *sequences,
                          strip_call *s, dk_error *err)
{
    int64_t places[R];
    int32_t rc;
    dense_call c;
    di_wrapped_spec spec = {0};
    di_loss_batch batch = {0};
    memset(s, 0, sizeof *s);
    for (int64_t r = 0; r < R; r++) places[r] = r;
    set_dense(&c, z, R, V, p, V);
    with_gradient(&c, gradient);
    spec.target = &c.teacher;
    spec.name = "teacher";
    spec.places = places;
    spec.rows = spec.max_count = R;
    const di_workspace_spec plan = {
        .memory = memory, .limit = "memory", .student_width = V, .teacher_width = V, .max_rows = R};
    DK_TRY(di_workspace_create(f->backend, loss, &plan, &s->workspace, err));
    s->rows = di_workspace_strip_rows(s->workspace);
    DK_TRY(di_wrapped_create(f->backend, &spec, &s->teacher, err));
    spec.target = &c.student;
    spec.grad_values = &c.gradient;
    DK_TRY(di_wrapped_create(f->backend, &spec, &s->student, err));
    batch.student = di_wrapped_source(s->student);
    batch.teacher = di_wrapped_source(s->teacher);
    batch.rows = R;
    batch.sequences = sequences;
    batch.want_gradient = 1;
    batch.grad_scale = 1;
    DK_TRY(di_loss_run(loss, s->workspace, &batch, NULL, &s->sums, err));
    int64_t before = dk_host_allocations(f->host);
    di_loss_sums again = {0};
    DK_TRY(di_loss_run(loss, s->workspace, &batch, NULL, &again, err));
    CHECK_INT(dk_host_allocations(f->host), before); /* a warm evaluation allocates nothing */
    CHECK_NEAR(again.sum, s->sums.sum, 0);
out:
    di_wrapped_free(s->student);
    di_wrapped_free(s->teacher);
    di_workspace_free(s->workspace);
    return rc;
}

/* The least that so many rows fit into. */
static int64_t memory_of(fixture *f, const di_loss *loss, int64_t rows)
{
    int64_t low = 1, high = 1 << 20;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const di_workspace_spec plan = {
            .memory = middle, .limit = "memory", .student_width = V, .teacher_width = V, .max_rows = rows};
        di_workspace *workspace = NULL;
        dk_error err;
        const int32_t rc = di_workspace_create(f->backend, loss, &plan, &workspace, &err);
        if (rc == DK_OK && di_workspace_strip_rows(workspace) == rows) high = middle;
        else low = middle + 1;
        di_workspace_free(workspace);
    }
    return low;
}

TEST(strips_of_any_height)
{
    fixture f;
    dk_error err;
    strip_call whole, cut;
    open_fixture(&f);
    fill_inputs();
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl, temperature: 2}");
    CHECK_OK(run_strips(&f, loss, 1 << 20, g1, NULL, &whole, &err));
    CHECK_INT(whole.rows, R);
    for (int64_t rows = 1; rows < R; rows += 3) {
        CHECK_OK(run_strips(&f, loss, memory_of(&f, loss, rows), g2, NULL, &cut, &err));
        CHECK_INT(cut.rows, rows > 16 ? R : rows); /* then multiples of 8 */
        CHECK_NEAR(cut.sums.sum, whole.sums.sum, 1e-12);
        CHECK(memcmp(g1, g2, sizeof g1) == 0);
    }
    CHECK_INT(run_strips(&f, loss, memory_of(&f, loss, 1) - 1, g2, NULL, &cut, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "does not hold one row of logits with what belongs to it; give it at least ");
    dk_host_cancel(f.host, 1);
    CHECK_INT(run_strips(&f, loss, 1 << 20, g2, NULL, &cut, &err), DK_E_CANCELLED);
    di_loss_release(loss);
    close_fixture(&f);
}

TEST(threads_and_instruction_sets)
{
    fixture f;
    dk_error err;
    strip_call a, b;
    open_fixture(&f);
    fill_inputs();
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl, temperature: 2, hard_label_weight: 0}");
    CHECK_OK(dk_host_set_threads(f.host, 1, NULL, NULL, NULL, &err));
    CHECK_OK(run_strips(&f, loss, 1 << 20, g1, NULL, &a, &err));
    CHECK_OK(dk_host_set_threads(f.host, 4, NULL, NULL, NULL, &err));
    CHECK_OK(run_strips(&f, loss, 1 << 20, g2, NULL, &b, &err));
    CHECK_NEAR(a.sums.sum, b.sums.sum, 0);
    CHECK(memcmp(g1, g2, sizeof g1) == 0);
    const int32_t best = f.backend->isa;
    for (f.backend->isa = DK_ISA_PORTABLE; f.backend->isa < best; f.backend->isa++) { /* every variant says the same */
        CHECK_OK(run_strips(&f, loss, 1 << 20, g2, NULL, &b, &err));
        CHECK_NEAR(a.sums.sum, b.sums.sum, 1e-5);
        for (int i = 0; i < R * V; i++) CHECK_NEAR((double)g1[i], (double)g2[i], 1e-6);
    }
    di_loss_release(loss);
    close_fixture(&f);
}

TEST(whole_sequences)
{
    static const int64_t lengths[] = {5, 7, 3, 9};
    int64_t sequences[R];
    fixture f;
    dk_error err;
    host_loss h = {0};
    strip_call s;
    open_fixture(&f);
    fill_inputs();
    for (int64_t i = 0, r = 0; i < 4; i++)
        for (int64_t k = 0; k < lengths[i]; k++) sequences[r++] = i;
    distill_loss_callbacks table =
        table_of(&h, DISTILL_LOSS_LOG_PROBS | DISTILL_LOSS_WHOLE_SEQUENCES | DISTILL_LOSS_MT);
    CHECK_OK(di_registry_add(f.registry, "mine", &table, &err));
    di_loss *loss = make_loss(&f, "mine", NULL);
    CHECK_OK(run_strips(&f, loss, memory_of(&f, loss, 13), g1, sequences, &s, &err));
    CHECK_INT(h.cuts, 0);
    CHECK_INT(h.longest, 12);
    CHECK_INT(h.rows, 2 * R);
    CHECK_INT(h.calls, 4); /* 5 + 7, 3 + 9; twice */
    CHECK_INT(run_strips(&f, loss, memory_of(&f, loss, 8), g1, sequences, &s, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "sequence at row 15 does not fit into a strip of 8 rows");
    CHECK_HAS(err.message, "raise memory");
    CHECK_INT(h.calls, 4); /* refused before anything ran */
    di_loss_release(loss);
    close_fixture(&f);
}

/* As many rows whatever the vocabulary, until that is too much memory. */
TEST(rows_of_a_strip)
{
    static const int64_t cases[][3] = {{0, 2 * 32000 * 4, 256},  {0, 2 * 151936 * 4, 256},
                                       {0, 2 * 300000 * 4, 223}, {(int64_t)64 << 20, 2 * 151936 * 4, 55},
                                       {65536, 100, 655},        {65536, 65536, 1}};
    int64_t rows;
    dk_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_OK(di_strip_rows(cases[i][0], cases[i][1], &rows, &err));
        CHECK_INT(rows, cases[i][2]);
    }
    CHECK_INT(di_strip_rows(0, (int64_t)1 << 40, &rows, &err), DK_E_OPTION);
    CHECK_INT(di_strip_rows(65536, 65537, &rows, &err), DK_E_OPTION);
    CHECK_STR(err.message, "train.loss_memory of 65536 bytes does not hold one row of logits with what belongs to it; "
                           "give it at least 65537");
}

/* ---- HIDDEN ---- */

typedef struct hidden_call {
    dense_call c;
    int64_t shape[2], head_shape[2], strides[2];
    distill_tensor hidden, head, bias, grad_hidden, grad_head, grad_bias;
} hidden_call;

static float hidden[R * W], head[V * W], bias[V], grad_hidden[R * W], grad_head[V * W], grad_bias[V];

static void set_hidden(hidden_call *h)
{
    set_dense(&h->c, z, R, V, p, V);
    h->shape[0] = R;
    h->shape[1] = h->head_shape[1] = W;
    h->head_shape[0] = V;
    h->hidden = di_tensor_of(hidden, DISTILL_FLOAT, 32, 2, h->shape);
    h->head = di_tensor_of(head, DISTILL_FLOAT, 32, 2, h->head_shape);
    h->bias = di_tensor_of(bias, DISTILL_FLOAT, 32, 1, h->head_shape);
    h->grad_hidden = di_tensor_of(grad_hidden, DISTILL_FLOAT, 32, 2, h->shape);
    h->grad_head = di_tensor_of(grad_head, DISTILL_FLOAT, 32, 2, h->head_shape);
    h->grad_bias = di_tensor_of(grad_bias, DISTILL_FLOAT, 32, 1, h->head_shape);
    h->c.student.kind = DISTILL_HIDDEN;
    h->c.student.values = &h->hidden;
    h->c.student.head = &h->head;
    h->c.student.bias = &h->bias;
    h->c.args.grad_values = &h->grad_hidden;
    h->c.args.grad_head = &h->grad_head;
    h->c.args.grad_bias = &h->grad_bias;
}

/* Logits of the hidden states, and what a gradient of them is for hidden states, head and bias: the chain rule by
 * hand. */
static void logits_of(double scale, double cap, float *out)
{
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) {
            double s = (double)bias[v];
            for (int w = 0; w < W; w++) s += (double)hidden[r * W + w] * (double)head[v * W + w];
            out[r * V + v] = (float)(cap > 0 ? cap * tanh(scale * s / cap) : scale * s);
        }
}

static void check_chain(const float *logits, const float *dlogits, double scale, double cap, double before)
{
    static double want_hidden[R * W], want_head[V * W], want_bias[V];
    memset(want_hidden, 0, sizeof want_hidden);
    for (int i = 0; i < V * W; i++) want_head[i] = before;
    for (int v = 0; v < V; v++) want_bias[v] = before;
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) {
            const double t = cap > 0 ? (double)logits[r * V + v] / cap : 0,
                         d = (double)dlogits[r * V + v] * scale * (1 - t * t);
            if (d == 0) continue;
            want_bias[v] += d;
            for (int w = 0; w < W; w++) {
                want_hidden[r * W + w] += d * (double)head[v * W + w];
                want_head[v * W + w] += d * (double)hidden[r * W + w];
            }
        }
    for (int i = 0; i < R * W; i++) CHECK_NEAR((double)grad_hidden[i], want_hidden[i], 1e-5);
    for (int i = 0; i < V * W; i++) CHECK_NEAR((double)grad_head[i], want_head[i], 1e-5);
    for (int v = 0; v < V; v++) CHECK_NEAR((double)grad_bias[v], want_bias[v], 1e-5);
}

TEST(hidden_is_dense_fused)
{
    static const struct {
        double scale, cap;
    } heads[] = {{1, 0}, {0.5, 0}, {1, 3}, {1.5, 4}};
    fixture f;
    dk_error err;
    int32_t labels[R];
    open_fixture(&f);
    fill_inputs();
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl, temperature: 2, hard_label_weight: 0.25}");
    for (int r = 0; r < R; r++) labels[r] = r % 4 == 1 ? -100 : r;
    randomize(hidden, R * W, 1, 5);
    randomize(head, V * W, 0.5, 6);
    randomize(bias, V, 0.5, 7);
    for (int i = 0; i < 4; i++) {
        hidden_call h;
        dense_call c;
        const float add = i % 2 ? 0.75f : 0;
        logits_of(heads[i].scale, heads[i].cap, z);
        set_dense(&c, z, R, V, p, V);
        with_labels(&c, labels);
        with_gradient(&c, g1);
        CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
        set_hidden(&h);
        with_labels(&h.c, labels);
        h.c.student.logit_scale = heads[i].scale == 1 ? 0 : heads[i].scale;
        h.c.student.softcap = heads[i].cap;
        h.c.args.flags = i % 2 ? DISTILL_ADD_HEAD : 0;
        for (int k = 0; k < V * W; k++) grad_head[k] = i % 2 ? add : NAN;
        for (int v = 0; v < V; v++) grad_bias[v] = i % 2 ? add : NAN;
        for (int k = 0; k < W; k++) hidden[W + k] = NAN; /* a masked row: reaches no gradient */
        CHECK_OK(di_loss_eval(f.backend, loss, &h.c.args, &err));
        for (int k = 0; k < W; k++) hidden[W + k] = 1;
        CHECK_NEAR(h.c.args.sum, c.args.sum, 1e-4);
        CHECK_INT(h.c.args.count, 18);
        check_chain(z, g1, heads[i].scale, heads[i].cap, (double)add);
    }
    di_loss_release(loss);
    close_fixture(&f);
}

/* Every row's gradient is finite, and what they are multiplied by, added to or added up to is not. */
TEST(sums_that_fp32_does_not_hold_are_named)
{
    fixture f;
    dk_error err;
    int32_t labels[R];
    hidden_call h;
    dense_call c;
    open_fixture(&f);
    fill_inputs();
    randomize(bias, V, 0.5, 7);
    di_loss *loss = make_loss(&f, NULL, "[{type: cross_entropy}, {type: forward_kl, weight: 1e-6}]");
    for (int r = 0; r < R; r++) labels[r] = 3;
    for (int at = 0; at < 5; at++) {
        static const char *const part[] = {"", "args.grad_values: a number of row 7 adds up",
                                           "args.grad_values: a number of row 0", "args.grad_head: a number of row",
                                           "args.grad_bias: a number of row 3"};
        memset(g1, 0, sizeof g1);
        for (int i = 0; i < V * W; i++) head[i] = at == 2 && i / W == 3 ? 100.0f : 0;
        for (int i = 0; i < R * W; i++) hidden[i] = at == 3 ? 100.0f : -0.1f;
        set_hidden(&h);
        set_dense(&c, z, R, V, p, V);
        with_gradient(&c, g1);
        if (at >= 2) c = h.c;
        with_labels(&c, labels);
        c.args.flags = at < 2 ? DISTILL_ADD_VALUES : 0;
        c.args.grad_scale = at == 4 ? 5e37 : 1e37;
        if (at == 1) g1[7 * V + 3] = -3.4028e38f;
        if (at >= 2) {
            c.args.student = &h.c.student;
            c.args.teacher = &h.c.teacher;
            c.args.grad_head = at == 3 ? &h.grad_head : NULL;
            c.args.grad_bias = at == 4 ? &h.grad_bias : NULL;
        }
        CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), at ? DK_E_NUMERIC : DK_OK);
        if (at) CHECK_HAS(err.message, part[at]);
    }
    di_loss_release(loss);
    close_fixture(&f);
}

/* Other dtypes and strides than compact fp32, for every input, and a strided gradient of the head. */
TEST(tensors_as_they_come)
{
    static float transposed[W * V], wide_gradient[V * 2 * W];
    static uint16_t halves[R * W], brains[V * W];
    static double doubles[R * V];
    static int64_t long_labels[R];
    float weight = 0.5f;
    int64_t zero[1] = {0}, wide[2] = {2 * W, 2};
    fixture f;
    dk_error err;
    hidden_call h;
    open_fixture(&f);
    fill_inputs();
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl, hard_label_weight: 0.5}");
    randomize(hidden, R * W, 1, 5);
    randomize(head, V * W, 0.5, 6);
    randomize(bias, V, 0.5, 7);
    for (int i = 0; i < R * W; i++) hidden[i] = dk_f16_to_f32(halves[i] = dk_f32_to_f16(hidden[i]));
    for (int i = 0; i < V * W; i++) head[i] = dk_bf16_to_f32(brains[i] = dk_f32_to_bf16(head[i]));
    for (int v = 0; v < V; v++)
        for (int w = 0; w < W; w++) transposed[w * V + v] = head[v * W + w];
    for (int i = 0; i < R * V; i++) doubles[i] = (double)p[i];
    for (int r = 0; r < R; r++) long_labels[r] = r;
    set_hidden(&h);
    h.c.labels = di_tensor_of(long_labels, DISTILL_INT, 64, 1, h.shape);
    h.c.args.labels = &h.c.labels;
    h.c.weights = di_tensor_of(&weight, DISTILL_FLOAT, 32, 1, h.shape);
    h.c.weights.strides = zero; /* one weight for all rows */
    h.c.args.weights = &h.c.weights;
    CHECK_OK(di_loss_eval(f.backend, loss, &h.c.args, &err));
    const double sum = h.c.args.sum;
    memcpy(g1, grad_hidden, sizeof grad_hidden);
    memcpy(g2, grad_head, sizeof grad_head);
    CHECK_NEAR(h.c.args.weight_sum, 0.5 * R, 0);

    h.hidden = di_tensor_of(halves, DISTILL_FLOAT, 16, 2, h.shape);
    h.head = di_tensor_of(brains, DISTILL_BFLOAT, 16, 2, h.head_shape);
    h.c.teacher_values = di_tensor_of(doubles, DISTILL_FLOAT, 64, 2, h.c.teacher_shape);
    h.grad_head.data = wide_gradient;
    h.grad_head.strides = wide;
    CHECK_OK(di_loss_eval(f.backend, loss, &h.c.args, &err));
    CHECK_NEAR(h.c.args.sum, sum, 1e-4);
    for (int i = 0; i < R * W; i++) CHECK_NEAR((double)grad_hidden[i], (double)g1[i], 1e-5);
    for (int i = 0; i < V * W; i++) CHECK_NEAR((double)wide_gradient[i / W * 2 * W + i % W * 2], (double)g2[i], 1e-5);

    h.strides[0] = 1;
    h.strides[1] = V;
    h.head = di_tensor_of(transposed, DISTILL_FLOAT, 32, 2, h.head_shape);
    h.head.strides = h.strides;
    h.c.args.grad_head = NULL;
    h.c.args.grad_bias = NULL;
    CHECK_OK(di_loss_eval(f.backend, loss, &h.c.args, &err));
    CHECK_NEAR(h.c.args.sum, sum, 1e-4);
    h.head = di_tensor_of(brains, DISTILL_BFLOAT, 16, 2, h.head_shape); /* frozen bf16 head, in place */
    CHECK_OK(di_loss_eval(f.backend, loss, &h.c.args, &err));
    CHECK_NEAR(h.c.args.sum, sum, 1e-4);
    for (int i = 0; i < R * W; i++) CHECK_NEAR((double)grad_hidden[i], (double)g1[i], 1e-5);
    di_loss_release(loss);
    close_fixture(&f);
}

/* ---- refusals ---- */

static fixture *at;
static const di_loss *refused;
static void check_refused(dense_call *c, int32_t code, const char *words)
{
    dk_error err;
    for (int i = 0; i < R * V; i++) g1[i] = 5;
    c->args.sum = -1;
    CHECK_INT(di_loss_eval(at->backend, refused, &c->args, &err), code);
    CHECK_HAS(err.message, words);
    CHECK_NEAR(c->args.sum, -1, 0);
    for (int i = 0; i < R * V; i++)
        if (g1[i] != 5) {
            FAIL("\"%s\": the gradient was written", words);
            return;
        }
}

TEST(refusals)
{
    int32_t labels[R], ids[R] = {0};
    int64_t narrow[2] = {R, V - 1}, backwards[2] = {V, -1};
    fixture f;
    dense_call c;
    open_fixture(&f);
    fill_inputs();
    at = &f;
    di_loss *loss = make_loss(&f, NULL, "{type: forward_kl, hard_label_weight: 0.5, temperature: 2}");
    refused = loss;
    for (int r = 0; r < R; r++) labels[r] = r;
#define AGAIN (set_dense(&c, z, R, V, p, V), with_labels(&c, labels), with_gradient(&c, g1))
    AGAIN, c.args.labels = NULL, check_refused(&c, DK_E_INVALID, "loss cross_entropy needs labels");
    AGAIN, c.args.teacher = NULL, check_refused(&c, DK_E_INVALID, "loss forward_kl needs a teacher");
    AGAIN, c.args.struct_size = 8, check_refused(&c, DK_E_INVALID, "DISTILL_INIT");
    AGAIN, c.args.flags = 64, check_refused(&c, DK_E_INVALID, "args.flags 0x40");
    AGAIN, c.student.kind = 9, check_refused(&c, DK_E_INVALID, "args.student.kind is 9");
    AGAIN, c.student.temperature = 2, check_refused(&c, DK_E_INVALID, "loss.temperature");
    AGAIN, c.student.vocab_valid = V + 1,
           check_refused(&c, DK_E_INVALID, "args.student.vocab_valid is 42, outside 0..41");
    AGAIN, c.shape[1] = 0,
           check_refused(&c, DK_E_INVALID, "args.student.values is empty: rows are of one number at least");
    AGAIN, c.teacher_shape[1] = 0, check_refused(&c, DK_E_INVALID, "args.teacher.values is empty");
    AGAIN, c.teacher_shape[0] = R - 1,
           check_refused(&c, DK_E_INVALID, "args.teacher.values: dimension 0 is 23, not 24");
    AGAIN, c.gradient.shape = narrow, check_refused(&c, DK_E_INVALID, "args.grad_values: dimension 1 is 40, not 41");
    AGAIN, c.gradient.strides = backwards, check_refused(&c, DK_E_INVALID, "outputs need positive ones");
    AGAIN, c.gradient.dtype_bits = 16, check_refused(&c, DK_E_INVALID, "it must be fp32");
    AGAIN, c.labels.dtype_code = DISTILL_FLOAT, check_refused(&c, DK_E_INVALID, "args.labels has dtype code 2");
    AGAIN, c.student_values.device_type = DISTILL_CUDA, check_refused(&c, DK_E_UNSUPPORTED, "device type 2");
    AGAIN, c.student_values.data = NULL, check_refused(&c, DK_E_INVALID, "args.student.values has no data");
    AGAIN, c.student_values.byte_offset = 1, check_refused(&c, DK_E_INVALID, "not aligned");
    AGAIN, c.args.grad_head = &c.gradient, check_refused(&c, DK_E_INVALID, "args.grad_head: the student has none");
    AGAIN, labels[3] = V, check_refused(&c, DK_E_INVALID, "args.labels: entry 3 is 41, outside the 41 ids");
    labels[3] = 3;
    AGAIN, c.args.step = -1, check_refused(&c, DK_E_INVALID, "args.step is -1; steps count from 0");
    static const float bad[] = {-1, -INFINITY, INFINITY, NAN};
    static const char *const words[] = {"args.weights: entry 4 is -1; weights are at least 0",
                                        "args.weights: entry 4 is not finite", "args.weights: entry 4 is not finite",
                                        "args.weights: entry 4 is not finite"};
    for (int i = 0; i < 4; i++) {
        float weights[R];
        for (int r = 0; r < R; r++) weights[r] = r == 4 ? bad[i] : (float)(r % 2);
        AGAIN, with_weights(&c, weights), check_refused(&c, DK_E_INVALID, words[i]);
    }
    AGAIN, labels[7] = 40, c.teacher.vocab_valid = 40,
           check_refused(&c, DK_E_INVALID, "args.labels: entry 7 is 40, outside the 40 ids");

    labels[7] = 7;
    AGAIN;
    int64_t shape[2] = {R, 1};
    distill_tensor id_tensor = di_tensor_of(ids, DISTILL_INT, 32, 2, shape),
                   values = di_tensor_of(p, DISTILL_FLOAT, 32, 2, shape);
    c.teacher.kind = DISTILL_TOPK;
    c.teacher.values = &values;
    c.teacher.ids = &id_tensor;
    check_refused(&c, DK_E_MISMATCH, "loss forward_kl is at temperature 2 and the teacher's TOPK targets carry 1");
    di_loss_release(loss);

    host_loss h = {0};
    dk_error err;
    distill_loss_callbacks table = table_of(&h, 0);
    CHECK_OK(di_registry_add(f.registry, "mine", &table, &err));
    refused = loss = make_loss(&f, "mine", NULL);
    check_refused(&c, DK_E_UNSUPPORTED, "loss mine does not take a teacher that gives TOPK; it takes DENSE");
    di_loss_release(loss);
    close_fixture(&f);
}

enum { WIDE = 3 * V };
static float wide_room[(R + 1) * WIDE];

/* Student and teacher as two columns of a matrix that has a third one. */
static void fill_columns(dense_call *c, int gradient_at, int64_t strides[2])
{
    fill_inputs();
    for (int i = 0; i < R * V; i++) {
        wide_room[i / V * WIDE + i % V] = z[i];
        wide_room[i / V * WIDE + i % V + V] = p[i];
    }
    strides[0] = WIDE;
    strides[1] = 1;
    set_dense(c, wide_room, R, V, wide_room + V, V);
    with_gradient(c, wide_room + gradient_at);
    c->student_values.strides = c->teacher_values.strides = c->gradient.strides = strides;
}

/* A gradient may take the place of the logits, and of the teacher's, or lie beside them. */
static void check_column(fixture *f, const di_loss *loss, int at_column)
{
    int64_t strides[2];
    dense_call c;
    dk_error err;
    fill_columns(&c, at_column * V, strides);
    CHECK_OK(di_loss_eval(f->backend, loss, &c.args, &err));
    for (int i = 0; i < R * V; i++)
        CHECK_NEAR((double)wide_room[i / V * WIDE + at_column * V + i % V], (double)g2[i], 0);
}

TEST(overlaps)
{
    int64_t strides[2], folded[2] = {1, 1}, down[2] = {1, WIDE}, up[1] = {WIDE};
    fixture f;
    dense_call c;
    dk_error err;
    open_fixture(&f);
    fill_inputs();
    at = &f;
    di_loss *loss = make_loss(&f, NULL, "forward_kl");
    refused = loss;
    set_dense(&c, z, R, V, p, V), with_gradient(&c, g2);
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    for (int column = 0; column < 3; column++) check_column(&f, loss, column);
#define OVER(offset, change, words) fill_columns(&c, offset, strides), change, check_refused(&c, DK_E_INVALID, words)
    distill_tensor values = di_tensor_of(wide_room + WIDE - 1, DISTILL_FLOAT, 32, 1, c.shape);
    values.strides = up;
    OVER(2 * V, c.args.row_values = &values, "args.row_values lies over args.grad_values in memory");
    OVER(V + 1, (void)0, "args.grad_values lies over args.teacher.values in memory");
    OVER(WIDE, (void)0, "args.student.values in memory; give it memory of its own, or the place of that");
    OVER(0, c.gradient.strides = down, "args.grad_values lies over args.student.values");
    OVER(0, c.gradient.strides = folded, "args.grad_values: its strides let two entries share a place in memory");
    di_loss_release(loss);
    close_fixture(&f);
}

TEST(hostile_sparse_targets)
{
    int32_t ids[R * 2];
    float values[R * 2], tails[R];
    int64_t shape[2] = {R, 2};
    const distill_tensor tail_tensor = di_tensor_of(tails, DISTILL_FLOAT, 32, 1, shape);
    fixture f;
    dense_call c;
    dk_error err;
    open_fixture(&f);
    fill_inputs();
    di_loss *loss = make_loss(&f, "forward_kl", NULL);
    distill_tensor id_tensor = di_tensor_of(ids, DISTILL_INT, 32, 2, shape),
                   value_tensor = di_tensor_of(values, DISTILL_FLOAT, 32, 2, shape);
    for (int i = 0; i < R * 2; i++) ids[i] = i % 2, values[i] = -1;
    set_dense(&c, z, R, V, NULL, 0);
    c.teacher.kind = DISTILL_TOPK;
    c.teacher.values = &value_tensor;
    c.teacher.ids = &id_tensor;
    c.args.teacher = &c.teacher;
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    ids[9] = V;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "id of row 4 is 41, outside the 41 ids");
    ids[9] = 1;
    values[9] = NAN;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "the log-probability of id 1 of row 4 is nan");
    values[9] = 1;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    values[9] = -0.1f; /* e^-1 + e^-0.1 is more than there is */
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "the ids of row 4 hold a mass of 1.27");
    CHECK_HAS(err.message, "above 1 (most of it id 1)");
    values[9] = -1;
    c.teacher.tail = &tail_tensor;
    for (int i = 0; i < R; i++) tails[i] = (float)log(1 - 2 * exp(-1));
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    tails[5] = -0.5f;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "the ids of row 5 hold a mass of 0.735");
    CHECK_HAS(err.message, "and the tail 0.606");
    tails[5] = -5; /* and less than there is */
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "together not 1");
    values[10] = values[11] = (float)log(0.5); /* a full mass, and a tail */
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    tails[5] = -INFINITY;
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    tails[5] = NAN;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    c.teacher.tail = NULL;
    ids[9] = 0;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "row 4 has id 0 twice");
    c.teacher.kind = DISTILL_SAMPLED;
    for (int i = 0; i < R * 2; i++) values[i] = 2;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "row 4 has id 0 twice");
    ids[8] = ids[9] = -1; /* unused slots may be as many as they like; but an id there must be */
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "row 4 of a SAMPLED target has no id");
    ids[8] = 0;
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    values[8] = -1;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "the count of id 0 of row 4 is -1");
    ids[9] = 1;
    for (int i = 0; i < R * 2; i++) values[i] = i / 2 == 7 ? 0 : 2;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "row 7 of a SAMPLED target has no id");
    di_loss_release(loss);
    close_fixture(&f);
}

/* ---- weights and terms ---- */

static double sums_of(fixture *f, const di_loss *loss, di_loss_sums *sums)
{
    strip_call s;
    dk_error err;
    CHECK_OK(run_strips(f, loss, 1 << 20, g1, NULL, &s, &err));
    *sums = s.sums;
    return s.sums.sum;
}

TEST(terms_and_weights)
{
    fixture f;
    dk_error err;
    di_loss_sums one, sums, again;
    dk_strbuf text;
    di_loss *other = NULL;
    open_fixture(&f);
    fill_inputs();
    dk_strbuf_init(&text, f.host);
    di_loss *plain = make_loss(&f, NULL, "{type: forward_kl}");
    const double value = sums_of(&f, plain, &one);
    di_loss *heavy = make_loss(&f, NULL, "[{type: forward_kl, weight: 3}]");
    CHECK_NEAR(sums_of(&f, heavy, &sums), 3 * value, 1e-9 * value);
    CHECK_NEAR(sums.terms[0], value, 0); /* a term's sum is without its weight */
    di_loss *two =
        make_loss(&f, NULL, "[{type: forward_kl, weight: 0.5}, {type: forward_kl, temperature: 2, weight: 0.25}]");
    sums_of(&f, two, &sums);
    CHECK_NEAR(sums.terms[0], value, 0);
    CHECK_NEAR(0.5 * sums.terms[0] + 0.25 * sums.terms[1], sums.sum, 1e-9 * value);
    di_loss_terms_json(two, &sums, &text);
    CHECK_HAS(text.data, "[{\"loss\":\"forward_kl\",\"weight\":0.5,\"value\":");
    CHECK_HAS(text.data, "{\"loss\":\"forward_kl(T=2)\",\"weight\":0.25,\"value\":");
    /* other weights: another loss of the same terms, also one that had none */
    CHECK_OK(di_options_set(f.options, "loss.0.weight", "0", &err));
    CHECK_OK(di_options_set(f.options, "loss.1.weight", "2", &err));
    CHECK_OK(di_loss_reweighed(two, f.options, &other, &err));
    sums_of(&f, other, &again);
    CHECK_NEAR(again.sum, 2 * sums.terms[1], 1e-9 * value);
    di_loss_release(two);
    CHECK_OK(di_options_set(f.options, "loss.0.weight", "1", &err));
    CHECK_OK(di_loss_reweighed(other, f.options, &two, &err));
    sums_of(&f, two, &again);
    CHECK_NEAR(again.sum, sums.terms[0] + 2 * sums.terms[1], 1e-9 * value);
    di_loss_release(two);
    two = NULL;
    CHECK_OK(di_options_set(f.options, "loss.0.weight", "0", &err));
    CHECK_OK(di_options_set(f.options, "loss.1.weight", "0", &err));
    CHECK_INT(di_loss_reweighed(other, f.options, &two, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "every term has weight 0");
    dk_strbuf_free(&text);
    di_loss_release(plain);
    di_loss_release(heavy);
    di_loss_release(other);
    close_fixture(&f);
}

/* A NaN is told by the row of the caller's tensor, counted with the masked ones. */
static int32_t nan_at_label_7(void *user, const distill_loss_rows *rows)
{
    (void)user;
    for (int64_t i = 0; i < rows->rows; i++) rows->value[i] = rows->labels[i] == 7 ? NAN : 1;
    return DISTILL_CB_OK;
}

TEST(nan_names_the_row)
{
    fixture f;
    dense_call c;
    dk_error err;
    host_loss h = {0};
    int32_t labels[R];
    float w[R];
    open_fixture(&f);
    fill_inputs();
    distill_loss_callbacks table = table_of(&h, DISTILL_LOSS_LOG_PROBS);
    table.eval = nan_at_label_7;
    CHECK_OK(di_registry_add(f.registry, "mine", &table, &err));
    di_loss *loss = make_loss(&f, NULL, "[{type: mine, weight: 2}]");
    for (int r = 0; r < R; r++) labels[r] = r % 3 == 1 ? -1 : r == 17 ? 7 : 0, w[r] = r == 0 ? 0 : 0.5f;
    set_dense(&c, z, R, V, p, V);
    with_labels(&c, labels);
    with_weights(&c, w);
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "loss mine: value of row 17 is nan");
    w[17] = 0; /* masked by its weight: never asked */
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    CHECK_INT(c.args.count, 14);
    CHECK_NEAR(c.args.sum, 14.0, 1e-9); /* weight 2 of the loss, 0.5 of the rows */
    for (int r = 0; r < R; r++) w[r] = 0;
    with_gradient(&c, g1);
    g1[3] = 5;
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    CHECK_NEAR(c.args.sum, 0, 0);
    CHECK_INT(c.args.count, 0);
    CHECK_NEAR((double)g1[3], 0, 0);
    di_loss_release(loss);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(custom_loss) TEST_CASE(raw_logits_among_other_terms) TEST_CASE(answers) TEST_CASE(registry)
              TEST_CASE(strips_of_any_height) TEST_CASE(threads_and_instruction_sets) TEST_CASE(whole_sequences)
                  TEST_CASE(rows_of_a_strip) TEST_CASE(hidden_is_dense_fused)
                      TEST_CASE(sums_that_fp32_does_not_hold_are_named) TEST_CASE(tensors_as_they_come)
                          TEST_CASE(refusals) TEST_CASE(overlaps) TEST_CASE(hostile_sparse_targets)
                              TEST_CASE(terms_and_weights) TEST_CASE(nan_names_the_row))
