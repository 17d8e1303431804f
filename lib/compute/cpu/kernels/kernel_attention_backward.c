#include "compute/cpu/kernel_variant.h"
#include "compute/cpu/tile.h"

/* Gradients of attention by blocks (Dao et al. 2022): weights come back from the saved partition, a block of keys at a
 * time, so that dk and dv of the block are complete, over all heads of the group, when it is left. */
#define KEYS 64
#define QUERIES 64

typedef struct sheets {
    int64_t width;           /* dim, rounded up to whole vectors */
    float *keys, *values;    /* [dim, KEYS]: k and v of the block, transposed */
    float *weights, *slopes; /* [QUERIES, KEYS]: P; dP, then dS */
    float *dk, *dv;          /* [KEYS, width] */
    float *dq;               /* [QUERIES, width] */
    float *q, *dy, *k;       /* [64, width], where dim is no multiple of DK_VF */
} sheets;

static int64_t kernel_attention_backward_scratch(int64_t dim)
{
    int64_t width = dk_lanes_up(dim);
    return 2 * dim * KEYS + 2 * QUERIES * KEYS + 3 * KEYS * width + 3 * QUERIES * width;
}

static sheets lay_out(const dk_attention_gradient *w)
{
    sheets s = {.width = dk_lanes_up(w->dim), .keys = w->scratch};
    s.values = s.keys + w->dim * KEYS;
    s.weights = s.values + w->dim * KEYS;
    s.slopes = s.weights + QUERIES * KEYS;
    s.dk = s.slopes + QUERIES * KEYS;
    s.dv = s.dk + KEYS * s.width;
    s.k = s.dv + KEYS * s.width;
    s.dq = s.k + KEYS * s.width;
    s.q = s.dq + QUERIES * s.width;
    s.dy = s.q + QUERIES * s.width;
    return s;
}

/* x [rows, dim] -> y [dim, KEYS], zeros behind the last row. */
static void transpose(const float *x, int64_t step, int64_t rows, int64_t dim, float *y)
{
    for (int64_t d = 0; d < dim; d++) {
        int64_t r = 0;
        for (; r < rows; r++) y[d * KEYS + r] = x[r * step + d];
        for (; r < KEYS; r++) y[d * KEYS + r] = 0;
    }
}

static inline float product(const float *a, const float *b, int64_t n)
{
    dk_vf sum = dk_vf_set(0);
    for (int64_t i = 0; i < n; i += DK_VF)
        sum = dk_vf_fma(dk_vf_take(a + i, n - i, 0), dk_vf_take(b + i, n - i, 0), sum);
    return dk_vf_sum(sum);
}

/* One query's row of scores and dP become P and dS. `first` = the block's first key, counted from the query. */
static void slope_row(const dk_attention_gradient *w, float *weights, float *slopes, int64_t lanes, int64_t first,
                      float lse, float delta)
{
    const dk_vf scale = dk_vf_set(w->scale), partition = dk_vf_set(lse), shift = dk_vf_set(delta), zero = dk_vf_set(0),
                one = dk_vf_set(1);
    const dk_vf cap = dk_vf_set(w->softcap);
    int32_t masked = first + lanes > 1 || (w->window > 0 && first <= -w->window);
    for (int64_t c = 0; c < lanes; c += DK_VF) {
        dk_vf s = dk_vf_load(weights + c) * scale, slope = scale;
        if (w->softcap > 0) {
            dk_vf t = dk_vf_tanh(s / cap);
            s = cap * t;
            slope = scale * ((one - t) * (one + t));
        }
        dk_vf p = dk_vf_exp(s - partition);
        if (masked) {
            dk_vi key = dk_vi_iota() + (int32_t)(first + c);
            dk_vm seen = dk_vi_less(key, dk_vi_set(1));
            if (w->window > 0) seen = dk_vm_and(seen, dk_vi_less(dk_vi_set(-(int32_t)w->window), key));
            p = dk_vf_select(seen, p, zero);
        }
        dk_vf_store(weights + c, p);
        dk_vf_store(slopes + c, p * (dk_vf_load(slopes + c) - shift) * slope);
    }
}

/* Queries [row, row + rows) of one head against keys [key, key + keys). */
static void cross(const dk_attention_gradient *w, const sheets *s, int64_t head, int64_t row, int64_t rows, int64_t key,
                  int64_t keys)
{
    int64_t lanes = dk_lanes_up(keys), q_step = w->q_row, dy_step = w->dy_row, k_step = w->k_row;
    const float *q = w->q + row * w->q_row + head * w->q_head, *dy = w->dy + row * w->dy_row + head * w->dy_head;
    dk_tile scores = {.a = q,
                      .a_row = w->q_row,
                      .a_column = 1,
                      .b = s->keys,
                      .b_row = KEYS,
                      .c = s->weights,
                      .c_row = KEYS,
                      .m = rows,
                      .n = lanes,
                      .k = w->dim};
    dk_tile slopes = {.a = dy,
                      .a_row = w->dy_row,
                      .a_column = 1,
                      .b = s->values,
                      .b_row = KEYS,
                      .c = s->slopes,
                      .c_row = KEYS,
                      .m = rows,
                      .n = lanes,
                      .k = w->dim};
    dk_tile_run(&scores);
    dk_tile_run(&slopes);
    for (int64_t r = 0; r < rows; r++) {
        float lse = w->lse[(row + r) * w->lse_row + head * w->lse_head];
        float delta = product(dy + r * w->dy_row, w->y + (row + r) * w->y_row + head * w->y_head, w->dim);
        slope_row(w, s->weights + r * KEYS, s->slopes + r * KEYS, lanes, key - row - r, lse, delta);
    }
    const float *whole_dy = dk_whole_rows(dy, &dy_step, rows, w->dim, s->dy),
                *whole_q = dk_whole_rows(q, &q_step, rows, w->dim, s->q);
    const float *whole_k = dk_whole_rows(w->k + key * w->k_row, &k_step, keys, w->dim, s->k);
    dk_tile dv = {.a = s->weights,
                  .a_row = 1,
                  .a_column = KEYS,
                  .b = whole_dy,
                  .b_row = dy_step,
                  .c = s->dv,
                  .c_row = s->width,
                  .m = keys,
                  .n = s->width,
                  .k = rows,
                  .add = 1};
    dk_tile dk = {.a = s->slopes,
                  .a_row = 1,
                  .a_column = KEYS,
                  .b = whole_q,
                  .b_row = q_step,
                  .c = s->dk,
                  .c_row = s->width,
                  .m = keys,
                  .n = s->width,
                  .k = rows,
                  .add = 1};
    dk_tile dq = {.a = s->slopes,
                  .a_row = KEYS,
                  .a_column = 1,
                  .b = whole_k,
                  .b_row = k_step,
                  .c = s->dq,
                  .c_row = s->width,
                  .m = rows,
                  .n = s->width,
                  .k = keys};
    dk_tile_run(&dv);
    dk_tile_run(&dk);
    dk_tile_run(&dq);
    for (int64_t r = 0; r < rows; r++) {
        float *out = w->dq + (row + r) * w->dq_row + head * w->dq_head;
        for (int64_t d = 0; d < w->dim; d++) out[d] += s->dq[r * s->width + d];
    }
}

static void clear_queries(const dk_attention_gradient *w)
{
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t h = 0; h < w->group; h++)
            memset(w->dq + r * w->dq_row + h * w->dq_head, 0, (size_t)w->dim * sizeof(float));
}

static void kernel_attention_backward(const dk_attention_gradient *w)
{
    sheets s = lay_out(w);
    clear_queries(w);
    for (int64_t key = 0; key < w->rows; key += KEYS) {
        int64_t keys = w->rows - key < KEYS ? w->rows - key : KEYS;
        int64_t end = w->window > 0 && w->window < w->rows - key - keys + 1 ? key + keys - 1 + w->window : w->rows;
        transpose(w->k + key * w->k_row, w->k_row, keys, w->dim, s.keys);
        transpose(w->v + key * w->v_row, w->v_row, keys, w->dim, s.values);
        memset(s.dk, 0, (size_t)(KEYS * s.width) * sizeof *s.dk);
        memset(s.dv, 0, (size_t)(KEYS * s.width) * sizeof *s.dv);
        for (int64_t head = 0; head < w->group; head++)
            for (int64_t row = key; row < end; row += QUERIES)
                cross(w, &s, head, row, end - row < QUERIES ? end - row : QUERIES, key, keys);
        for (int64_t r = 0; r < keys; r++) {
            memcpy(w->dk + (key + r) * w->dk_row, s.dk + r * s.width, (size_t)w->dim * sizeof(float));
            memcpy(w->dv + (key + r) * w->dv_row, s.dv + r * s.width, (size_t)w->dim * sizeof(float));
        }
    }
}

void DK_VARIANT(dk_kernels_fill_attention_backward)(dk_kernels *kernels)
{
    kernels->attention_backward_scratch = kernel_attention_backward_scratch;
    kernels->attention_backward = kernel_attention_backward;
}
