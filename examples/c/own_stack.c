/* own_stack.c - a training stack of one's own that takes nothing but the loss: a language model over characters with
 * its own forward, backward and SGD learns from counts of the text. The library sees hidden states and the head, forms
 * the logits strip by strip, and gives the gradients of both.
 * Usage: own_stack TEXT [STEPS] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <distill.h>

enum { ROWS = 64, EMBED = 12, CONTEXT = 2, WIDTH = 48 };

typedef struct corpus { /* characters that occur, numbered */
    int *ids;
    long length;
    int vocab, number_of[256];
} corpus;

typedef struct counts { /* the teacher: how often a character followed one, and two */
    double *alone, *pairs, *triples;
} counts;

typedef struct model { /* logits = head * tanh(inner * embeddings of the last two characters + offset) + bias */
    int vocab;
    float *embed, *inner, *offset, *head, *bias;
} model;

static int read_text(const char *path, corpus *out)
{
    FILE *file = fopen(path, "rb");
    long capacity = 1 << 16, size = 0;
    if (!file) return fprintf(stderr, "%s cannot be opened\n", path), 0;
    out->ids = malloc((size_t)capacity * sizeof *out->ids);
    memset(out->number_of, -1, sizeof out->number_of);
    for (int c; out->ids && size < capacity && (c = fgetc(file)) != EOF; size++) {
        if (out->number_of[c] < 0) out->number_of[c] = out->vocab++;
        out->ids[size] = out->number_of[c];
    }
    fclose(file);
    out->length = size;
    return size > CONTEXT + 1 ? 1 : (fprintf(stderr, "%s has fewer than %d characters\n", path, CONTEXT + 2), 0);
}

static int count(const corpus *text, counts *out)
{
    const size_t v = (size_t)text->vocab;
    out->alone = calloc(v, sizeof *out->alone);
    out->pairs = calloc(v * v, sizeof *out->pairs);
    out->triples = calloc(v * v * v, sizeof *out->triples);
    if (!out->alone || !out->pairs || !out->triples) return 0;
    for (long i = CONTEXT; i < text->length; i++) {
        const size_t a = (size_t)text->ids[i - 2], b = (size_t)text->ids[i - 1], c = (size_t)text->ids[i];
        out->alone[c]++;
        out->pairs[b * v + c]++;
        out->triples[(a * v + b) * v + c]++;
    }
    return 1;
}

static double sum(const double *x, int n)
{
    double total = 0;
    for (int i = 0; i < n; i++) total += x[i];
    return total;
}

/* log p(c | a, b): counts of three, where they are few those of two, where these are few those of one. */
static void teach(const counts *known, int vocab, int a, int b, float *log_p)
{
    const size_t v = (size_t)vocab;
    const double *two = known->pairs + (size_t)b * v, *three = known->triples + ((size_t)a * v + (size_t)b) * v;
    const double all = sum(known->alone, vocab), of_two = sum(two, vocab), of_three = sum(three, vocab);
    for (int c = 0; c < vocab; c++) {
        const double p1 = (known->alone[c] + 1) / (all + vocab), p2 = (two[c] + 2 * p1) / (of_two + 2);
        log_p[c] = (float)log((three[c] + 2 * p2) / (of_three + 2));
    }
}

static float *noise(size_t count, double size)
{
    float *made = malloc(count * sizeof *made);
    for (size_t i = 0; made && i < count; i++) made[i] = (float)(size * (2.0 * rand() / RAND_MAX - 1));
    return made;
}

static int create(model *m, int vocab)
{
    const size_t v = (size_t)vocab;
    m->vocab = vocab;
    m->embed = noise(v * EMBED, 0.5);
    m->inner = noise((size_t)WIDTH * CONTEXT * EMBED, 0.3);
    m->offset = noise(WIDTH, 0);
    m->head = noise(v * WIDTH, 0.1);
    m->bias = noise(v, 0);
    return m->embed && m->inner && m->offset && m->head && m->bias;
}

static float input_of(const model *m, const int *context, int j)
{
    return m->embed[context[j / EMBED] * EMBED + j % EMBED];
}

static void forward(const model *m, const int *context, float *hidden)
{
    for (int h = 0; h < WIDTH; h++) {
        float total = m->offset[h];
        for (int j = 0; j < CONTEXT * EMBED; j++) total += m->inner[h * CONTEXT * EMBED + j] * input_of(m, context, j);
        hidden[h] = tanhf(total);
    }
}

/* From dL/d hidden to what stands before it; SGD, at once. */
static void backward(model *m, const int *context, const float *hidden, const float *gradient, float rate)
{
    float inputs[CONTEXT * EMBED] = {0};
    for (int h = 0; h < WIDTH; h++) {
        const float slope = gradient[h] * (1 - hidden[h] * hidden[h]);
        float *row = m->inner + h * CONTEXT * EMBED;
        for (int j = 0; j < CONTEXT * EMBED; j++) {
            inputs[j] += slope * row[j];
            row[j] -= rate * slope * input_of(m, context, j);
        }
        m->offset[h] -= rate * slope;
    }
    for (int j = 0; j < CONTEXT * EMBED; j++) m->embed[context[j / EMBED] * EMBED + j % EMBED] -= rate * inputs[j];
}

static distill_tensor matrix(float *data, const int64_t *shape, int32_t dimensions)
{
    distill_tensor tensor = {0};
    tensor.data = data;
    tensor.device_type = DISTILL_CPU;
    tensor.ndim = dimensions;
    tensor.dtype_code = DISTILL_FLOAT;
    tensor.dtype_bits = 32;
    tensor.dtype_lanes = 1;
    tensor.shape = shape;
    return tensor;
}

typedef struct step { /* one batch: [ROWS, WIDTH] and [ROWS, vocab], and the gradients */
    int contexts[ROWS][CONTEXT];
    float hidden[ROWS * WIDTH], grad_hidden[ROWS * WIDTH];
    float *log_p, *grad_head, *grad_bias;
} step;

/* The only call into the library: the mean over the rows, and its gradients. */
static int32_t ask_loss(const distill_loss *loss, const model *m, step *s, double *mean, distill_error *err)
{
    const int64_t of_hidden[2] = {ROWS, WIDTH}, of_head[2] = {m->vocab, WIDTH}, of_teacher[2] = {ROWS, m->vocab};
    const distill_tensor hidden = matrix(s->hidden, of_hidden, 2), head = matrix(m->head, of_head, 2),
                         bias = matrix(m->bias, of_head, 1), log_p = matrix(s->log_p, of_teacher, 2),
                         grad_hidden = matrix(s->grad_hidden, of_hidden, 2),
                         grad_head = matrix(s->grad_head, of_head, 2), grad_bias = matrix(s->grad_bias, of_head, 1);
    distill_target student, teacher;
    distill_loss_args args;
    DISTILL_INIT(&student);
    DISTILL_INIT(&teacher);
    DISTILL_INIT(&args);
    student.kind = DISTILL_HIDDEN;
    student.values = &hidden;
    student.head = &head;
    student.bias = &bias;
    teacher.kind = DISTILL_DENSE; /* log-probabilities are logits, too */
    teacher.values = &log_p;
    args.student = &student;
    args.teacher = &teacher;
    args.grad_values = &grad_hidden;
    args.grad_head = &grad_head;
    args.grad_bias = &grad_bias;
    args.grad_scale = 1.0 / ROWS; /* of the mean */
    const int32_t rc = distill_loss_eval(loss, &args, err);
    *mean = rc ? 0 : args.sum / args.weight_sum;
    return rc;
}

static void fill(const corpus *text, const counts *known, const model *m, step *s)
{
    for (int r = 0; r < ROWS; r++) {
        const long at = CONTEXT + rand() % (text->length - CONTEXT);
        memcpy(s->contexts[r], text->ids + at - CONTEXT, sizeof s->contexts[r]);
        forward(m, s->contexts[r], s->hidden + r * WIDTH);
        teach(known, m->vocab, s->contexts[r][0], s->contexts[r][1], s->log_p + (size_t)r * (size_t)m->vocab);
    }
}

static void learn(model *m, const step *s, float rate)
{
    for (int i = 0; i < m->vocab * WIDTH; i++) m->head[i] -= rate * s->grad_head[i];
    for (int i = 0; i < m->vocab; i++) m->bias[i] -= rate * s->grad_bias[i];
    for (int r = 0; r < ROWS; r++) backward(m, s->contexts[r], s->hidden + r * WIDTH, s->grad_hidden + r * WIDTH, rate);
}

/* Means over the first and the last tenth of the steps. */
static int32_t train(const distill_loss *loss, const corpus *text, const counts *known, model *m, step *s, int steps,
                     double ends[2], distill_error *err)
{
    const int tenth = steps / 10 + 1;
    double mean;
    ends[0] = ends[1] = 0;
    for (int i = 0; i < steps; i++) {
        fill(text, known, m, s);
        const int32_t rc = ask_loss(loss, m, s, &mean, err);
        if (rc) return rc;
        learn(m, s, 0.5F);
        if (i < tenth) ends[0] += mean / tenth;
        if (i >= steps - tenth) ends[1] += mean / tenth;
    }
    return DISTILL_OK;
}

int main(int argc, char **argv)
{
    static corpus text;
    static counts known;
    static model m;
    static step s;
    distill_error err = {0};
    distill_env *env = NULL;
    distill_loss *loss = NULL;
    double ends[2] = {0, 0};
    const int steps = argc > 2 ? atoi(argv[2]) : 400;
    if (argc < 2 || steps < 1) return fprintf(stderr, "usage: own_stack TEXT [STEPS]\n"), 2;
    int32_t rc = read_text(argv[1], &text) && count(&text, &known) && create(&m, text.vocab) ? 0 : 1;
    s.log_p = noise((size_t)(ROWS * (text.vocab + 1)), 0);
    s.grad_head = noise((size_t)((text.vocab + 1) * WIDTH), 0);
    s.grad_bias = noise((size_t)text.vocab + 1, 0);
    if (!rc && (!s.log_p || !s.grad_head || !s.grad_bias)) rc = 1;
    if (!rc) rc = distill_env_create(NULL, &env, &err);
    if (!rc) rc = distill_loss_create(env, "forward_kl", NULL, &loss, &err);
    if (!rc) rc = train(loss, &text, &known, &m, &s, steps, ends, &err);
    if (rc) fprintf(stderr, "%s\n", err.message);
    else printf("%d steps, %d characters: KL from %.3f to %.3f nats\n", steps, text.vocab, ends[0], ends[1]);
    distill_loss_free(loss);
    distill_env_free(env);
    void *parts[] = {text.ids, known.alone, known.pairs, known.triples, m.embed,     m.inner,
                     m.offset, m.head,      m.bias,      s.log_p,       s.grad_head, s.grad_bias};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
    return rc != 0;
}
