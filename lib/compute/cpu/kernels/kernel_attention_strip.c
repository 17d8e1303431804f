/* kernel_attention_strip.c - what attention by blocks does to scores between its products (attention_forward.c,
 * attention_gradient.c).
 *
 * Layout. Scores are S^T [keys, DK_STRIP], each lane a query, as the product leaves them; maxima, sums and masks need
 * no step across lanes. All vectors of a strip go side by side, so that their maxima and sums are chains that run at
 * once. Weights are written as the next product takes them: floats where they lie, or pairs of BF16 of two neighbouring
 * keys, so that they are packed B already. Gradients of scores are written as packed B and as packed A: dq wants them
 * the one way and dk the other. */
#include "compute/cpu/kernel_variant.h"
#include "compute/cpu/product/micro/pack_pairs.h"
#include "compute/cpu/seen_values.h"

#define VECTORS (DK_STRIP / DK_VF)

/* Key `key` is seen by the queries at `positions`. */
static inline dk_vm seen(const dk_attention_strip *s, dk_vi positions, int64_t key)
{
    dk_vm past = dk_vi_less(dk_vi_set((int32_t)key), positions + 1);
    return s->window > 0 ? dk_vm_and(past, dk_vi_less(positions - (int32_t)s->window, dk_vi_set((int32_t)key))) : past;
}

/* Masks and caps scores where they lie. Those that are not capped keep their scale for the exponent, masked or not:
 * both must round alike. */
static void settle(const dk_attention_strip *s, dk_vf scale)
{
    dk_vf cap = dk_vf_set(s->softcap);
    for (int64_t j = 0; j < s->keys; j++)
        for (int64_t i = 0; i < DK_STRIP; i += DK_VF) {
            dk_vf v = dk_vf_load(s->scores + j * s->step + i) * scale;
            if (s->softcap > 0) v = cap * dk_vf_tanh(v / cap);
            if (s->masked) {
                dk_vi positions = dk_vi_load(s->positions + i);
                v = dk_vf_select(seen(s, positions, s->key + j), v, dk_vf_set(-INFINITY));
            }
            dk_vf_store(s->scores + j * s->step + i, v);
        }
}

static inline dk_vf weight_of(const float *score, dk_vf scale, dk_vf top)
{
    return dk_vf_exp(dk_vf_fma(dk_vf_load(score), scale, -top));
}

static void weigh_floats(const dk_attention_strip *s, dk_vf scale, const dk_vf *top, dk_vf *total)
{
    for (int64_t j = 0; j < s->keys; j++)
        for (int v = 0; v < VECTORS; v++) {
            float *at = s->scores + j * s->step + v * DK_VF;
            dk_vf p = weight_of(at, scale, top[v]);
            dk_vf_store(at, p);
            total[v] = total[v] + p;
        }
}

static inline void store_bits(void *to, dk_vi bits) { memcpy(to, &bits, sizeof bits); }

static void zero_pairs(uint32_t *pairs, int64_t keys, int64_t k)
{
    int64_t first = (keys + 1) / 2;
    if (2 * first < k) memset(pairs + first * DK_STRIP, 0, (size_t)((k / 2 - first) * DK_STRIP) * sizeof *pairs);
}

static void weigh_pairs(const dk_attention_strip *s, dk_vf scale, const dk_vf *top, dk_vf *total)
{
    for (int64_t j = 0; j < s->keys; j += 2)
        for (int v = 0; v < VECTORS; v++) {
            const float *at = s->scores + j * s->step + v * DK_VF;
            dk_vf first = weight_of(at, scale, top[v]),
                  second = j + 1 < s->keys ? weight_of(at + s->step, scale, top[v]) : dk_vf_set(0);
            total[v] = total[v] + first + second;
            store_bits(s->pairs + j / 2 * DK_STRIP + v * DK_VF, dk_pair(first, second));
        }
    zero_pairs(s->pairs, s->keys, s->k);
}

/* Scores become weights; highest, partition [DK_STRIP] move on; fade = what earlier sums are worth now. 0 = as much as
 * before. */
static int32_t kernel_weigh(const dk_attention_strip *s, float *highest, float *partition, float *fade)
{
    int32_t later = !(s->softcap > 0) && s->scale > 0, faded = 0; /* when the scale comes */
    dk_vf top[VECTORS], total[VECTORS], scale = dk_vf_set(later ? s->scale : 1);
    if (s->masked || !later) settle(s, dk_vf_set(later ? 1 : s->scale));
    for (int v = 0; v < VECTORS; v++) {
        total[v] = dk_vf_set(0);
        top[v] = dk_vf_set(-INFINITY);
    }
    for (int64_t j = 0; j < s->keys; j++)
        for (int v = 0; v < VECTORS; v++) top[v] = dk_vf_max(top[v], dk_vf_load(s->scores + j * s->step + v * DK_VF));
    for (int v = 0; v < VECTORS; v++) {
        dk_vf old = dk_vf_load(highest + v * DK_VF);
        top[v] = dk_vf_max(old, top[v] * scale);
        dk_vf by = dk_vf_exp(old - top[v]);
        dk_vf_store(highest + v * DK_VF, top[v]);
        dk_vf_store(fade + v * DK_VF, by);
        faded |= dk_vm_any(dk_vf_less(old, top[v]));
    }
    if (s->pairs) weigh_pairs(s, scale, top, total);
    else weigh_floats(s, scale, top, total);
    for (int v = 0; v < VECTORS; v++) {
        float *at = partition + v * DK_VF;
        dk_vf_store(at, dk_vf_fma(dk_vf_load(at), dk_vf_load(fade + v * DK_VF), total[v]));
    }
    return faded;
}

/* x [rows, DK_STRIP] times a factor for each lane. */
static void kernel_fade(float *x, int64_t rows, const float *factor)
{
    dk_vf by[VECTORS];
    for (int v = 0; v < VECTORS; v++) by[v] = dk_vf_load(factor + v * DK_VF);
    for (int64_t r = 0; r < rows; r++, x += DK_STRIP)
        for (int v = 0; v < VECTORS; v++) dk_vf_store(x + v * DK_VF, dk_vf_load(x + v * DK_VF) * by[v]);
}

/* ---- values that are no numbers ---- */
static int32_t kernel_clean(const float *v, int64_t step, int64_t keys, int64_t dim, float *clean)
{
    if (dk_rows_are_finite(v, step, keys, dim)) return 0;
    dk_rows_clean(v, step, keys, dim, clean, dim);
    return 1;
}

static float weight_at(const dk_attention_strip *s, int64_t key, int64_t lane)
{
    if (!s->pairs) return s->scores[key * s->step + lane];
    return dk_widen_bf16((uint16_t)(s->pairs[key / 2 * DK_STRIP + lane] >> (key % 2 ? 16 : 0)));
}

static void kernel_odd(const dk_attention_strip *s, const float *v, int64_t step, int64_t dim, float *sums)
{
    for (int64_t j = 0; j < s->keys; j++)
        for (int64_t d = 0; d < dim; d++) {
            const float value = v[j * step + d];
            for (int64_t i = 0; i < DK_STRIP && !isfinite(value); i++)
                if (dk_is_seen(s->positions[i], s->key + j, s->window))
                    sums[d * DK_STRIP + i] += weight_at(s, j, i) * value;
        }
}

/* One vector of scores and dP. */
static inline void slope_of(const dk_attention_strip *s, int64_t key, int64_t i, dk_vf score, dk_vf *slope,
                            const float *lse, const float *delta, dk_vf *weight)
{
    const dk_vf scale = dk_vf_set(s->scale), cap = dk_vf_set(s->softcap), one = dk_vf_set(1);
    dk_vf by = scale, p;
    if (s->softcap > 0) {
        dk_vf t = dk_vf_tanh(score * scale / cap);
        p = dk_vf_exp(cap * t - dk_vf_load(lse + i));
        by = scale * ((one - t) * (one + t));
    } else {
        p = dk_vf_exp(dk_vf_fma(score, scale, -dk_vf_load(lse + i)));
    }
    if (s->masked) p = dk_vf_select(seen(s, dk_vi_load(s->positions + i), key), p, dk_vf_set(0));
    *weight = p;
    *slope = p * (*slope - dk_vf_load(delta + i)) * by;
}

static void slope_floats(const dk_attention_strip *s, float *slopes, const float *lse, const float *delta)
{
    for (int64_t j = 0; j < s->keys; j++)
        for (int64_t i = 0; i < s->lanes; i += DK_VF) {
            float *scores = s->scores + j * s->step + i, *at = slopes + j * s->step + i;
            dk_vf p, slope = dk_vf_load(at);
            slope_of(s, s->key + j, i, dk_vf_load(scores), &slope, lse, delta, &p);
            dk_vf_store(scores, p);
            dk_vf_store(at, slope);
        }
}

/* The upper halves of 32 bits. */
static inline void store_halves(uint16_t *to, dk_vi bits)
{
#if DK_VF > 1
    typedef uint16_t halves __attribute__((vector_size(2 * DK_VF)));
    halves narrow = __builtin_convertvector(bits >> 16, halves);
    memcpy(to, &narrow, sizeof narrow);
#else
    *to = (uint16_t)((uint32_t)bits >> 16);
#endif
}

/* Where lane i of line j stands in panels of A over `lanes` queries. */
static inline int64_t tile_at(const dk_attention_strip *s, int64_t j, int64_t i)
{
    int64_t panel = j / s->tile_rows, height = s->keys_up - panel * s->tile_rows;
    if (height > s->tile_rows) height = s->tile_rows;
    return panel * s->tile_rows * s->lanes + (i / DK_TILE_K * height + j % s->tile_rows) * DK_TILE_K + i % DK_TILE_K;
}

/* Two keys at a time: a pair of B, and a line each of A. */
static void slope_packed(const dk_attention_strip *s, const float *slopes, const float *lse, const float *delta)
{
    const dk_vf zero = dk_vf_set(0);
    for (int64_t i = 0; i < s->lanes; i += DK_STRIP) zero_pairs(s->pairs + i * s->k / 2, s->keys, s->k);
    for (int64_t j = 0; j < s->keys_up; j += 2)
        for (int64_t i = 0; i < s->lanes; i += DK_VF) {
            const float *scores = s->scores + j * s->step + i, *at = slopes + j * s->step + i;
            dk_vf p[2] = {zero, zero}, slope[2] = {zero, zero};
            for (int64_t r = 0; r < 2 && j + r < s->keys; r++) {
                slope[r] = dk_vf_load(at + r * s->step);
                slope_of(s, s->key + j + r, i, dk_vf_load(scores + r * s->step), &slope[r], lse, delta, &p[r]);
            }
            dk_vi low = dk_vf_round_bf16(slope[0]), high = dk_vf_round_bf16(slope[1]);
            if (j < s->k)
                store_bits(s->pairs + (i / DK_STRIP * s->k / 2 + j / 2) * DK_STRIP + i % DK_STRIP,
                           ((low >> 16) & dk_vi_set(0xffff)) | high);
            store_halves(s->tiles + tile_at(s, j, i), low);
            store_halves(s->tiles + tile_at(s, j + 1, i), high);
            store_halves(s->weight_tiles + tile_at(s, j, i), dk_vf_round_bf16(p[0]));
            store_halves(s->weight_tiles + tile_at(s, j + 1, i), dk_vf_round_bf16(p[1]));
        }
}

static void kernel_slopes(const dk_attention_strip *s, float *slopes, const float *lse, const float *delta)
{
    if (s->pairs) slope_packed(s, slopes, lse, delta);
    else slope_floats(s, slopes, lse, delta);
}

static void kernel_row_dots(const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t rows, int64_t n,
                            float *y)
{
    for (int64_t r = 0; r < rows; r++, a += a_step, b += b_step) {
        dk_vf sum = dk_vf_set(0);
        for (int64_t i = 0; i < n; i += DK_VF)
            sum = dk_vf_fma(dk_vf_take(a + i, n - i, 0), dk_vf_take(b + i, n - i, 0), sum);
        y[r] = dk_vf_sum(sum);
    }
}

/* x [rows, columns] -> y [columns, rows] */
static void kernel_turn(const float *x, int64_t x_step, int64_t rows, int64_t columns, float *y, int64_t y_step)
{
    for (int64_t r = 0; r < rows; r += DK_VF)
        for (int64_t c = 0; c < columns; c += DK_VF) {
            int64_t height = rows - r < DK_VF ? rows - r : DK_VF, width = columns - c < DK_VF ? columns - c : DK_VF;
            dk_vf square[DK_VF];
            for (int64_t i = 0; i < DK_VF; i++)
                square[i] = i < height ? dk_vf_take(x + (r + i) * x_step + c, width, 0) : dk_vf_set(0);
            dk_transpose(square);
            for (int64_t i = 0; i < width; i++) dk_vf_give(y + (c + i) * y_step + r, square[i], height);
        }
}

void DK_VARIANT(dk_kernels_fill_attention_strip)(dk_kernels *kernels)
{
    kernels->attention_weigh = kernel_weigh;
    kernels->attention_clean = kernel_clean;
    kernels->attention_odd = kernel_odd;
    kernels->attention_fade = kernel_fade;
    kernels->attention_slopes = kernel_slopes;
    kernels->row_dots = kernel_row_dots;
    kernels->turn = kernel_turn;
}
