#include "classifier/labelled.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "classifier/classifier.h"
#include "conf/document.h"

/* ---- lines ---- */

static const uint64_t limit = (uint64_t)1 << 36;

static int32_t check_kind(const char *path, const char *data, size_t size, dk_error *err)
{
    static const struct {
        const char *magic;
        size_t size;
        const char *what;
    } kinds[] = {{"\x1f\x8b", 2, "packed by gzip: unpack it"},
                 {"\x28\xb5\x2f\xfd", 4, "packed by zstd: unpack it"},
                 {"\xff\xfe", 2, "UTF-16: save it as UTF-8"},
                 {"\xfe\xff", 2, "UTF-16: save it as UTF-8"},
                 {"[", 1, "a JSON array: write one object on each line"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (size >= kinds[i].size && !memcmp(data, kinds[i].magic, kinds[i].size))
            return dk_fail(err, DK_E_FORMAT, "%s is %s", path, kinds[i].what);
    return DK_OK;
}

/* The next line that is not empty, without its end; 0 = there is none. */
static int32_t next_line(const char *data, size_t size, size_t *at, int64_t *number, dk_slice *out)
{
    while (*at < size) {
        const char *line = data + *at, *end = memchr(line, '\n', size - *at);
        size_t length = end ? (size_t)(end - line) : size - *at;
        *at += length + 1;
        ++*number;
        while (length && (line[length - 1] == '\r' || line[length - 1] == ' ')) length--;
        *out = (dk_slice){line, length};
        if (length) return 1;
    }
    return 0;
}

int32_t di_source_open(dk_host *host, const char *path, di_source_text *out, dk_error *err)
{
    size_t size = 0, at = 0, begin;
    int64_t number = 0, count = 0;
    dk_slice line;
    int32_t rc;
    *out = (di_source_text){.name = path};
    DK_TRY(dk_file_read(host, path, limit, &out->data, &size, err));
    DK_TRY(dk_refuse_pointer(path, out->data, size, err));
    begin = size >= 3 && !memcmp(out->data, "\xef\xbb\xbf", 3) ? 3 : 0;
    DK_TRY(check_kind(path, out->data + begin, size - begin, err));
    for (at = begin; next_line(out->data, size, &at, &number, &line);) count++;
    if (!count) DK_TRY(dk_fail(err, DK_E_FORMAT, "%s has no text: one JSON object on each line is wanted", path));
    DK_TRY(dk_new(host, count, &out->lines, err));
    DK_TRY(dk_new(host, count, &out->numbers, err));
    for (at = begin, number = 0; next_line(out->data, size, &at, &number, &line);) {
        out->numbers[out->count] = number;
        out->lines[out->count++] = line;
    }
out:
    if (rc) di_source_free(host, out);
    return rc;
}

void di_source_free(dk_host *host, di_source_text *source)
{
    dk_free(host, source->data);
    if (source->numbers) dk_free(host, source->lines); /* a host's lines are its own */
    dk_free(host, source->numbers);
    *source = (di_source_text){0};
}

typedef struct place { /* for messages */
    const di_source_text *source;
    int64_t index;
} place;

static int32_t fail_at(const place *at, dk_error *err, const char *format, ...) DK_PRINTF(3, 4);
static int32_t fail_at(const place *at, dk_error *err, const char *format, ...)
{
    const int64_t number = at->source->numbers ? at->source->numbers[at->index] : at->index + 1;
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return dk_fail_at(err, DK_E_FORMAT, number, "%s:%lld: %s", at->source->name, (long long)number, text);
}

/* The object of a line. */
static int32_t parse(dk_host *host, const place *at, dk_document **out, dk_error *err)
{
    const dk_slice line = at->source->lines[at->index];
    dk_error problem;
    const int32_t rc = dk_json_parse(host, line.data, line.size, "line", out, &problem);
    if (rc == DK_E_NOMEM) return dk_fail_nomem(err, line.size);
    if (rc) return fail_at(at, err, "%.300s", problem.message);
    if (dk_document_root(*out)->type == DK_NODE_MAP) return DK_OK;
    dk_document_free(*out);
    *out = NULL;
    return fail_at(at, err, "a JSON object with a text and its probabilities or label is wanted");
}

static const dk_node *member(const dk_node *map, const char *key)
{
    const dk_node *node = dk_node_get(map, key);
    return node && node->type != DK_NODE_NULL ? node : NULL;
}

/* ---- names of classes ---- */

void di_class_names_free(di_class_names *n)
{
    for (int64_t i = 0; n->names && i < n->count; i++) dk_free(n->host, n->names[i]);
    if (n->host) dk_free(n->host, n->names);
    if (n->host) dk_free(n->host, n->order);
    *n = (di_class_names){0};
}

typedef struct named {
    const char *name;
    int64_t index;
} named;

static int by_name(const void *a, const void *b)
{
    const named *x = a, *y = b;
    return strcmp(x->name, y->name);
}

int32_t di_class_names_take(dk_host *host, const char *const *names, int64_t count, di_class_names *out, dk_error *err)
{
    named *sorted = NULL;
    int32_t rc;
    *out = (di_class_names){.host = host};
    if (count > DI_CLASSES_MOST)
        return dk_fail(err, DK_E_INVALID, "%lld classes: at most %d", (long long)count, DI_CLASSES_MOST);
    DK_TRY(dk_new(host, count + 1, &sorted, err));
    DK_TRY(dk_new(host, count + 1, &out->names, err));
    DK_TRY(dk_new(host, count + 1, &out->order, err));
    for (; out->count < count; out->count++) {
        const char *name = names[out->count];
        if (!*name) DK_TRY(dk_fail(err, DK_E_INVALID, "class %lld has an empty name", (long long)out->count));
        if (!(out->names[out->count] = dk_strdup(host, name))) DK_TRY(dk_fail_nomem(err, strlen(name)));
        sorted[out->count] = (named){out->names[out->count], out->count};
    }
    if (count) qsort(sorted, (size_t)count, sizeof *sorted, by_name);
    for (int64_t i = 0; i < count; i++) {
        out->order[i] = sorted[i].index;
        if (i && !strcmp(sorted[i].name, sorted[i - 1].name))
            DK_TRY(dk_fail(err, DK_E_INVALID, "class \"%.80s\" is named twice", sorted[i].name));
    }
out:
    dk_free(host, sorted);
    if (rc) di_class_names_free(out);
    return rc;
}

int64_t di_class_names_find(const di_class_names *n, const char *name)
{
    int64_t low = 0, high = n->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(n->names[n->order[middle]], name);
        if (!order) return n->order[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return -1;
}

typedef struct gathered { /* names that were seen, each once */
    dk_host *host;
    char **slots; /* open addressing; [cap], a power of two */
    int64_t cap, count;
    int64_t listed, listed_at; /* most probabilities of a list; of a number as label */
} gathered;

static int32_t see_more(gathered *g, dk_error *err)
{
    gathered larger = {.host = g->host, .cap = g->cap ? 2 * g->cap : 64};
    int32_t rc;
    DK_TRY(dk_new(g->host, larger.cap, &larger.slots, err));
    for (int64_t i = 0; i < g->cap; i++) {
        if (!g->slots[i]) continue;
        uint64_t at = dk_hash64(g->slots[i], strlen(g->slots[i]));
        while (larger.slots[at & (uint64_t)(larger.cap - 1)]) at++;
        larger.slots[at & (uint64_t)(larger.cap - 1)] = g->slots[i];
    }
    dk_free(g->host, g->slots);
    g->slots = larger.slots;
    g->cap = larger.cap;
out:
    return rc;
}

static int32_t see(gathered *g, const char *name, dk_error *err)
{
    int32_t rc;
    if (2 * g->count >= g->cap && (rc = see_more(g, err)) != DK_OK) return rc;
    uint64_t at = dk_hash64(name, strlen(name));
    for (;; at++) {
        char **slot = &g->slots[at & (uint64_t)(g->cap - 1)];
        if (*slot && strcmp(*slot, name)) continue;
        if (*slot) return DK_OK;
        if (!(*slot = dk_strdup(g->host, name))) return dk_fail_nomem(err, strlen(name));
        g->count++;
        return g->count <= DI_CLASSES_MOST
                   ? DK_OK
                   : dk_fail(err, DK_E_FORMAT, "the texts name more than %d classes", DI_CLASSES_MOST);
    }
}

static int32_t see_line(gathered *g, const place *at, dk_error *err)
{
    dk_document *line = NULL;
    int32_t rc;
    DK_TRY(parse(g->host, at, &line, err));
    const dk_node *p = member(dk_document_root(line), "probabilities"),
                  *label = member(dk_document_root(line), "label");
    for (size_t i = 0; p && p->type == DK_NODE_MAP && i < p->size; i++) DK_TRY(see(g, p->items[i]->key, err));
    if (p && p->type == DK_NODE_LIST && (int64_t)p->size > g->listed) g->listed = (int64_t)p->size;
    if (label && label->type == DK_NODE_TEXT) DK_TRY(see(g, label->text, err));
    if (label && label->type == DK_NODE_INT && label->i64 >= g->listed_at) g->listed_at = label->i64 + 1;
out:
    dk_document_free(line);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* "0", "1", ...: as many as lists are long, or as labels count. */
static int32_t number_names(gathered *g, dk_error *err)
{
    const int64_t count = g->listed > g->listed_at ? g->listed : g->listed_at;
    int32_t rc = DK_OK;
    char name[24];
    if (count > DI_CLASSES_MOST)
        return dk_fail(err, DK_E_FORMAT, "the texts number %lld classes: at most %d", (long long)count,
                       DI_CLASSES_MOST);
    for (int64_t i = 0; i < count && rc == DK_OK; i++) {
        snprintf(name, sizeof name, "%lld", (long long)i);
        rc = see(g, name, err);
    }
    return rc;
}

static int by_number(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    const size_t m = strlen(*x), n = strlen(*y);
    return m != n ? (m < n ? -1 : 1) : strcmp(*x, *y);
}

int32_t di_class_names_gather(dk_host *host, const di_source_text *sources, int64_t count, di_class_names *out,
                              dk_error *err)
{
    gathered g = {.host = host};
    const char **names = NULL;
    int64_t found = 0;
    int32_t rc = DK_OK, numbered;
    for (int64_t s = 0; s < count; s++)
        for (int64_t i = 0; i < sources[s].count; i++) DK_TRY(see_line(&g, &(place){&sources[s], i}, err));
    if ((numbered = !g.count)) DK_TRY(number_names(&g, err));
    DK_TRY(dk_new(host, g.count + 1, &names, err));
    for (int64_t i = 0; i < g.cap; i++)
        if (g.slots[i]) names[found++] = g.slots[i];
    if (found) qsort(names, (size_t)found, sizeof *names, numbered ? by_number : by_text);
    DK_TRY(di_class_names_take(host, names, found, out, err));
out:
    for (int64_t i = 0; i < g.cap; i++) dk_free(host, g.slots[i]);
    dk_free(host, g.slots);
    dk_free(host, names);
    return rc;
}

/* ---- texts ---- */

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

static int32_t unknown_class(const di_labelled *l, const place *at, const char *name, dk_error *err)
{
    dk_strbuf known;
    dk_strbuf_init(&known, l->host);
    for (int64_t i = 0; i < l->names->count && known.size < 120; i++)
        dk_strbuf_printf(&known, "%s%s", i ? ", " : "", l->names->names[i]);
    fail_at(at, err, "\"%.80s\" is none of the %lld classes (%.140s)", name, (long long)l->names->count,
            known.data ? known.data : "");
    dk_strbuf_free(&known);
    return DK_E_FORMAT;
}

static int32_t take_share(const di_labelled *l, const place *at, const dk_node *node, int64_t class, float *row,
                          double *sum, dk_error *err)
{
    char text[32];
    if (node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT)
        return fail_at(at, err, "the probability of \"%.80s\" is no number", l->names->names[class]);
    dk_format_f64(node->f64, text);
    if (!(node->f64 >= 0 && node->f64 <= 1 + 1e-6))
        return fail_at(at, err, "the probability of \"%.80s\" is %s, not in [0, 1]", l->names->names[class], text);
    row[class] = (float)node->f64;
    *sum += node->f64;
    return DK_OK;
}

/* p of a map, whose classes that are not in it have 0, or of a list of all. */
static int32_t take_shares(di_labelled *l, const place *at, const dk_node *p, float *row, dk_error *err)
{
    const int64_t classes = l->names->count;
    double sum = 0;
    char text[32];
    int32_t rc = DK_OK;
    if (p->type != DK_NODE_MAP && p->type != DK_NODE_LIST)
        return fail_at(at, err, "probabilities is no map of classes and no list");
    if (p->type == DK_NODE_LIST && (int64_t)p->size != classes)
        return fail_at(at, err, "probabilities has %llu numbers for %lld classes", (unsigned long long)p->size,
                       (long long)classes);
    for (size_t i = 0; i < p->size && rc == DK_OK; i++) {
        const int64_t class = p->type == DK_NODE_LIST ? (int64_t)i : di_class_names_find(l->names, p->items[i]->key);
        if (class < 0) return unknown_class(l, at, p->items[i]->key, err);
        rc = take_share(l, at, p->items[i], class, row, &sum, err);
    }
    if (rc) return rc;
    dk_format_f64(sum, text);
    if (!(fabs(sum - 1) <= 1e-3)) return fail_at(at, err, "probabilities sum to %s, not to 1", text);
    for (int64_t j = 0; j < classes; j++) row[j] = (float)((double)row[j] / sum); /* were rounded when written */
    return DK_OK;
}

static int32_t take_label(const di_labelled *l, const place *at, const dk_node *label, int64_t *out, dk_error *err)
{
    if (label->type == DK_NODE_TEXT) {
        *out = di_class_names_find(l->names, label->text);
        return *out >= 0 ? DK_OK : unknown_class(l, at, label->text, err);
    }
    if (label->type != DK_NODE_INT) return fail_at(at, err, "label is neither the name of a class nor its number");
    if (label->i64 < 0 || label->i64 >= l->names->count)
        return fail_at(at, err, "label is %lld, not in [0, %lld), the classes", (long long)label->i64,
                       (long long)l->names->count);
    *out = label->i64;
    return DK_OK;
}

static int32_t take_text(di_labelled *l, const place *at, const dk_node *root, dk_error *err)
{
    const dk_node *text = member(root, "text"), *prompt = member(root, "prompt");
    if (text && prompt) return fail_at(at, err, "both text and prompt are there: which is to be classified?");
    if (!text) text = prompt;
    if (!text && member(root, "messages"))
        return fail_at(at, err, "messages: a classifier reads one text; write it as \"text\"");
    if (!text) return fail_at(at, err, "neither text nor prompt is there");
    if (text->type != DK_NODE_TEXT) return fail_at(at, err, "text is no text");
    if (strspn(text->text, " \t\r\n") == text->size) return fail_at(at, err, "the text is empty");
    if (!(l->texts[l->count] = dk_strndup(l->host, text->text, text->size))) return dk_fail_nomem(err, text->size);
    l->sizes[l->count] = text->size;
    return DK_OK;
}

static int32_t take_weight(di_labelled *l, const place *at, const dk_node *weight, dk_error *err)
{
    const double value = !weight ? 1 : weight->type == DK_NODE_INT || weight->type == DK_NODE_FLOAT ? weight->f64 : -1;
    if (!(value > 0 && value <= 1e6)) return fail_at(at, err, "weight is no number above 0 and up to 1e6");
    l->weights[l->count] = (float)value;
    return DK_OK;
}

static int32_t take_target(di_labelled *l, const place *at, const dk_node *root, dk_error *err)
{
    const dk_node *p = member(root, "probabilities"), *label = member(root, "label");
    const int64_t i = l->count;
    int64_t true_class = -1, likeliest = 0;
    float *row = NULL;
    int32_t rc = DK_OK;
    if (!p && !label) return fail_at(at, err, "neither probabilities nor label is there");
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

static int32_t add_line(di_labelled *l, const place *at, dk_error *err)
{
    dk_document *line = NULL;
    int32_t rc;
    DK_TRY(make_room(l, err));
    l->texts[l->count] = NULL;
    DK_TRY(parse(l->host, at, &line, err));
    const dk_node *root = dk_document_root(line);
    DK_TRY(take_target(l, at, root, err));
    DK_TRY(take_weight(l, at, member(root, "weight"), err));
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
        rc = add_line(l, &(place){source, i}, err);
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
