/* paired.c - intervals over blocks of held-out text. The mean per token is a ratio of two sums, of what was measured
 * and of tokens; its variance is that of Cochran, Sampling Techniques, chapter 6.3: sum (y_b - m n_b)^2 B / (B - 1)
 * over (sum n_b)^2. Windows inside a block hang together, and so blocks are what is counted. Of two runs on the same
 * text y_b is the difference of theirs: what is hard about a block falls out. */
#include <math.h>
#include <string.h>

#include "report/page/sheet.h"

enum { FEWEST = 8 }; /* blocks that an interval needs */

/* The 97.5 % quantile of Student's t: Cornish-Fisher about the normal one (Abramowitz and Stegun 26.7.5). */
static double t_quantile(double freedom)
{
    const double z = 1.959963984540054, z2 = z * z;
    return z + z * (z2 + 1) / 4 / freedom + z * ((5 * z2 + 16) * z2 + 3) / 96 / (freedom * freedom) +
           z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384 / (freedom * freedom * freedom);
}

static int32_t item(const dk_node *list, size_t i, double *out)
{
    const dk_node *node = dk_node_at(list, i);
    if (!node || (node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT) || !isfinite(node->f64)) return 0;
    *out = node->f64;
    return 1;
}

static int32_t same_tokens(const dk_node *a, const dk_node *b)
{
    double x = 0, y = 0;
    if (!a || !b || a->type != DK_NODE_LIST || b->type != DK_NODE_LIST || a->size != b->size) return 0;
    for (size_t i = 0; i < a->size; i++)
        if (!item(a, i, &x) || !item(b, i, &y) || x != y || x < 0) return 0;
    return 1;
}

typedef struct lists {
    const dk_node *tokens, *values, *less;
} lists;

/* y_b and n_b; 0 = one of them is no number. */
static int32_t block(const lists *l, size_t i, double *y, double *n)
{
    double less = 0;
    if (!item(l->tokens, i, n) || !item(l->values, i, y)) return 0;
    if (l->less && !item(l->less, i, &less)) return 0;
    *y -= less;
    return 1;
}

int32_t di_paired(const dk_node *a, const char *key, const dk_node *b, const char *other, di_interval *out)
{
    const lists l = {di_node(a, "tokens"), di_node(a, key), b ? di_node(b, other) : NULL};
    double sum = 0, tokens = 0, squares = 0, y, n;
    int64_t blocks = 0;
    if (!l.values || l.values->type != DK_NODE_LIST || (b && !l.less)) return 0;
    if (!same_tokens(l.tokens, b ? di_node(b, "tokens") : l.tokens) || l.values->size != l.tokens->size) return 0;
    for (size_t i = 0; i < l.tokens->size; i++) {
        if (!block(&l, i, &y, &n)) return 0;
        sum += y;
        tokens += n;
        blocks += n > 0;
    }
    if (blocks < FEWEST || tokens <= 0) return 0;
    for (size_t i = 0; i < l.tokens->size; i++) {
        if (!block(&l, i, &y, &n)) return 0;
        squares += (y - sum / tokens * n) * (y - sum / tokens * n);
    }
    const double count = (double)blocks;
    *out = (di_interval){sum / tokens, t_quantile(count - 1) * sqrt(squares * count / (count - 1)) / tokens, blocks};
    return isfinite(out->mean) && isfinite(out->half);
}

int32_t di_same_text(const di_sheet_run *a, const di_sheet_run *b)
{
    const char *one = di_text(a->result, "data/eval/hash"), *two = di_text(b->result, "data/eval/hash");
    return !*one || !*two || strcmp(one, two) == 0;
}

int32_t di_paired_runs(const di_sheet_run *a, const char *key, const di_sheet_run *b, const char *other,
                       di_interval *out)
{
    return di_same_text(a, b) && di_paired(di_node(a->eval, "blocks"), key, di_node(b->eval, "blocks"), other, out);
}
