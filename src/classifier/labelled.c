#include "classifier/labelled.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "text/codepoint.h"

void di_labelled_init(di_labelled *l, dk_host *host, const di_class_names *names)
{
    *l = (di_labelled){.host = host, .names = names};
}

void di_labelled_free(di_labelled *l)
{
    if (!l->host) return;
    for (int64_t i = 0; i < l->count; i++) dk_free(l->host, l->texts[i]);
    for (int64_t i = 0; i < l->unused_count; i++) dk_free(l->host, l->unused[i]);
    dk_free(l->host, l->texts);
    dk_free(l->host, l->sizes);
    dk_free(l->host, l->answers);
    dk_free(l->host, l->labels);
    dk_free(l->host, l->weights);
    dk_free(l->host, l->rows);
    dk_free(l->host, l->probabilities);
    *l = (di_labelled){0};
}

#define GROW(host, array, cap, err)                                                 \
    do {                                                                            \
        void *larger_ = dk_realloc(host, array, (uint64_t)(cap), sizeof *(array));  \
        if (!larger_) return dk_fail_nomem(err, (uint64_t)(cap) * sizeof *(array)); \
        (array) = larger_;                                                          \
    } while (0)

static int32_t make_room(di_labelled *l, dk_error *err)
{
    if (l->count < l->cap) return DK_OK;
    const int64_t cap = l->cap + l->cap / 2 + 256;
    GROW(l->host, l->texts, cap, err);
    GROW(l->host, l->sizes, cap, err);
    GROW(l->host, l->answers, cap, err);
    GROW(l->host, l->labels, cap, err);
    GROW(l->host, l->weights, cap, err);
    GROW(l->host, l->rows, cap, err);
    l->cap = cap;
    return DK_OK;
}

static int32_t new_row(di_labelled *l, float **row, dk_error *err)
{
    const int64_t classes = l->names->count;
    if (l->row_count == l->row_cap) {
        const int64_t cap = l->row_cap + l->row_cap / 2 + 64;
        GROW(l->host, l->probabilities, cap * classes, err);
        l->row_cap = cap;
    }
    *row = l->probabilities + l->row_count * classes;
    memset(*row, 0, sizeof **row * (size_t)classes);
    return DK_OK;
}

static int32_t unknown_class(const di_labelled *l, const di_line *at, const char *name, dk_error *err)
{
    dk_strbuf known;
    dk_strbuf_init(&known, l->host);
    for (int64_t i = 0; i < l->names->count && known.size < 120; i++)
        dk_strbuf_printf(&known, "%s%s", i ? ", " : "", l->names->names[i]);
    di_fail_line(at, err, "\"%.80s\" is none of the %lld classes (%.140s)", name, (long long)l->names->count,
                 known.data ? known.data : "");
    dk_strbuf_free(&known);
    return DK_E_FORMAT;
}

static int32_t take_share(const di_labelled *l, const di_line *at, const dk_node *node, int64_t class, float *row,
                          double *sum, dk_error *err)
{
    char text[32];
    if (node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT)
        return di_fail_line(at, err, "the probability of \"%.80s\" is no number", l->names->names[class]);
    dk_format_f64(node->f64, text);
    if (!(node->f64 >= 0 && node->f64 <= 1 + 1e-6))
        return di_fail_line(at, err, "the probability of \"%.80s\" is %s, not in [0, 1]", l->names->names[class], text);
    row[class] = (float)node->f64;
    *sum += node->f64;
    return DK_OK;
}

/* p of a map, whose classes that are not in it have 0, or of a list of all. */
static int32_t take_shares(di_labelled *l, const di_line *at, const dk_node *p, float *row, dk_error *err)
{
    const int64_t classes = l->names->count;
    double sum = 0;
    char text[32];
    int32_t rc = DK_OK;
    if (p->type != DK_NODE_MAP && p->type != DK_NODE_LIST)
        return di_fail_line(at, err, "probabilities is no map of classes and no list");
    if (p->type == DK_NODE_LIST && (int64_t)p->size != classes)
        return di_fail_line(at, err, "probabilities has %llu numbers for %lld classes", (unsigned long long)p->size,
                            (long long)classes);
    for (size_t i = 0; i < p->size && rc == DK_OK; i++) {
        const int64_t class = p->type == DK_NODE_LIST ? (int64_t)i : di_class_names_find(l->names, p->items[i]->key);
        if (class < 0) return unknown_class(l, at, p->items[i]->key, err);
        rc = take_share(l, at, p->items[i], class, row, &sum, err);
    }
    if (rc) return rc;
    dk_format_f64(sum, text);
    if (!(fabs(sum - 1) <= 1e-3)) return di_fail_line(at, err, "probabilities sum to %s, not to 1", text);
    for (int64_t j = 0; j < classes; j++) row[j] = (float)((double)row[j] / sum); /* were rounded when written */
    return DK_OK;
}

static int32_t take_label(const di_labelled *l, const di_line *at, const dk_node *label, int64_t *out, dk_error *err)
{
    if (label->type == DK_NODE_TEXT) {
        if (strlen(label->text) != label->size) return di_fail_line(at, err, "label has a NUL, which no class has");
        *out = di_class_names_find(l->names, label->text);
        return *out >= 0 ? DK_OK : unknown_class(l, at, label->text, err);
    }
    if (label->type != DK_NODE_INT) return di_fail_line(at, err, "label is neither the name of a class nor its number");
    if (label->i64 < 0 || label->i64 >= l->names->count)
        return di_fail_line(at, err, "label is %lld, not in [0, %lld), the classes", (long long)label->i64,
                            (long long)l->names->count);
    *out = label->i64;
    return DK_OK;
}

static int32_t is_blank(const char *text, size_t size)
{
    uint32_t c;
    for (size_t at = 0; at < size;) {
        at += dk_codepoint(text + at, &c);
        if (!dk_is_space(c)) return 0;
    }
    return 1;
}

static int32_t take_text(di_labelled *l, const di_line *at, const dk_node *root, dk_error *err)
{
    const dk_node *text = di_line_member(root, "text"), *prompt = di_line_member(root, "prompt");
    if (text && prompt) return di_fail_line(at, err, "both text and prompt are there: which is to be classified?");
    if (!text) text = prompt;
    if (!text && di_line_member(root, "messages"))
        return di_fail_line(at, err, "messages: a classifier reads one text; write it as \"text\"");
    if (!text) return di_fail_line(at, err, "neither text nor prompt is there");
    if (text->type != DK_NODE_TEXT) return di_fail_line(at, err, "text is no text");
    if (is_blank(text->text, text->size)) return di_fail_line(at, err, "the text is empty");
    if (!(l->texts[l->count] = dk_strndup(l->host, text->text, text->size))) return dk_fail_nomem(err, text->size);
    l->sizes[l->count] = text->size;
    return DK_OK;
}

static int32_t take_weight(di_labelled *l, const di_line *at, const dk_node *weight, dk_error *err)
{
    const double value = !weight ? 1 : weight->type == DK_NODE_INT || weight->type == DK_NODE_FLOAT ? weight->f64 : -1;
    if (!((float)value > 0 && value <= 1e6)) return di_fail_line(at, err, "weight is no number above 0 and up to 1e6");
    l->weights[l->count] = (float)value;
    return DK_OK;
}

static int32_t take_target(di_labelled *l, const di_line *at, const dk_node *root, dk_error *err)
{
    const dk_node *p = di_line_member(root, "probabilities"), *label = di_line_member(root, "label");
    const int64_t i = l->count;
    int64_t true_class = -1, likeliest = 0;
    float *row = NULL;
    int32_t rc = DK_OK;
    if (!p && !label) return di_fail_line(at, err, "neither probabilities nor label is there");
    if (label) DK_TRY(take_label(l, at, label, &true_class, err));
    l->rows[i] = -1;
    if (p) {
        DK_TRY(new_row(l, &row, err));
        DK_TRY(take_shares(l, at, p, row, err));
        l->rows[i] = l->row_count++;
        for (int64_t j = 1; j < l->names->count; j++)
            if (row[j] > row[likeliest]) likeliest = j;
    }
    l->answers[i] = (int32_t)(p ? likeliest : true_class);
    l->labels[i] = label ? (int32_t)true_class : l->answers[i];
out:
    return rc;
}

static int32_t count_unused(di_labelled *l, const dk_node *root, dk_error *err)
{
    static const char *const used[] = {"text", "prompt", "probabilities", "label", "weight"};
    for (size_t i = 0; i < root->size; i++) {
        const char *key = root->items[i]->key;
        int64_t at = 0, is_used = 0;
        for (size_t u = 0; u < sizeof used / sizeof *used; u++) is_used |= !strcmp(used[u], key);
        if (is_used) continue;
        while (at < l->unused_count && strcmp(l->unused[at], key)) at++;
        if (at == l->unused_count && at == DI_UNUSED_KEYS - 1) key = "others";
        for (at = 0; at < l->unused_count && strcmp(l->unused[at], key);) at++;
        if (at == l->unused_count && !(l->unused[l->unused_count++] = dk_strdup(l->host, key))) {
            l->unused_count--;
            return dk_fail_nomem(err, strlen(key));
        }
        l->unused_counts[at]++;
    }
    return DK_OK;
}

static void mix_hash(di_labelled *l)
{
    const int64_t i = l->count, classes = l->names->count;
    uint64_t parts[6] = {l->hash, dk_hash64(l->texts[i], l->sizes[i]), (uint64_t)l->answers[i], (uint64_t)l->labels[i]};
    memcpy(&parts[4], &l->weights[i], sizeof *l->weights);
    if (l->rows[i] >= 0) parts[5] = dk_hash64(l->probabilities + l->rows[i] * classes, sizeof(float) * (size_t)classes);
    l->hash = dk_hash64(parts, sizeof parts);
}

static int32_t add_line(di_labelled *l, const di_line *at, dk_error *err)
{
    dk_document *line = NULL;
    int32_t rc;
    DK_TRY(make_room(l, err));
    l->texts[l->count] = NULL;
    DK_TRY(di_line_parse(l->host, at, &line, err));
    const dk_node *root = dk_document_root(line);
    DK_TRY(take_target(l, at, root, err));
    DK_TRY(take_weight(l, at, di_line_member(root, "weight"), err));
    DK_TRY(count_unused(l, root, err));
    DK_TRY(take_text(l, at, root, err));
    mix_hash(l);
    l->count++;
out:
    dk_document_free(line);
    return rc;
}

int32_t di_labelled_add(di_labelled *l, const di_source_text *source, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < source->count && rc == DK_OK; i++) {
        if (i % 1024 == 0 && dk_host_cancelled(l->host))
            return dk_fail(err, DK_E_CANCELLED, "cancelled at line %lld of %s", (long long)i, source->name);
        rc = add_line(l, &(di_line){source, i}, err);
    }
    return rc;
}

void di_labelled_log_p(const di_labelled *l, int64_t index, float *log_p)
{
    const int64_t classes = l->names->count;
    for (int64_t j = 0; j < classes; j++) {
        const float p =
            l->rows[index] < 0 ? (float)(j == l->answers[index]) : l->probabilities[l->rows[index] * classes + j];
        log_p[j] = p > 0 ? logf(p) : -INFINITY;
    }
}

void di_labelled_unused_json(const di_labelled *l, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{");
    for (int64_t i = 0; i < l->unused_count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, l->unused[i], strlen(l->unused[i]));
        dk_strbuf_printf(out, ":%lld", (long long)l->unused_counts[i]);
    }
    dk_strbuf_puts(out, "}");
}
