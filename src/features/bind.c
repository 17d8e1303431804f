/* bind.c - which places of student and teacher a loss compares: layer maps of the options, what is asked of each side,
 * and whether the two fit. */
#include <string.h>

#include "features/features_parts.h"

typedef struct binder {
    const di_features_spec *spec;
    di_features *features;
    di_feature *term;
    const di_options *options; /* of the term; NULL = all as usual */
} binder;

static int32_t takes_outputs(const di_feature *term) { return (term->builtin->taps >> DISTILL_TAP_OUTPUT & 1) != 0; }

/* ---- which blocks ---- */

static int64_t given(const binder *b, int which)
{
    return di_options_list_size(b->options, b->term->builtin->fixed[which]);
}

/* The student's block is to the teacher's as its end is to the whole: of 3 and 12 blocks 0 goes with 3, 2 with 11. */
static int64_t opposite(int64_t layer, int64_t layers, int64_t teacher_layers)
{
    return ((layer + 1) * teacher_layers + layers - 1) / layers - 1;
}

static int32_t fail_unknown(const binder *b, int which, const char *side, dk_error *err)
{
    return dk_fail(err, DK_E_OPTION, "give loss.%s: how many blocks %s has is not known",
                   b->term->builtin->fixed[which], side);
}

/* Of a relation the last ones, of others all. */
static int32_t count_pairs(const binder *b, int64_t *out, dk_error *err)
{
    const char *const *names = b->term->builtin->fixed;
    const int64_t own = given(b, 0), other = given(b, 1), layers = b->spec->student.layers;
    if (!own && layers < 0) return fail_unknown(b, 0, "the student", err);
    *out = own ? own : b->term->builtin->feature == DI_FEATURE_RELATION ? 1 : layers;
    if (other && other != *out)
        return dk_fail(err, DK_E_OPTION, "loss.%s names %lld blocks, and loss.%s %lld: give one for each", names[1],
                       (long long)other, names[0], (long long)*out);
    if (!other && b->spec->teacher.layers < 0) return fail_unknown(b, 1, "the teacher", err);
    return DK_OK;
}

static void choose_layers(const binder *b, int64_t index, di_pair *pair)
{
    const char *const *names = b->term->builtin->fixed;
    const int64_t layers = b->spec->student.layers, teacher_layers = b->spec->teacher.layers;
    const int32_t last = b->term->builtin->feature == DI_FEATURE_RELATION;
    pair->layer = given(b, 0) ? di_options_list_i64(b->options, names[0], index) : last ? layers - 1 : index;
    if (given(b, 1)) pair->teacher_layer = di_options_list_i64(b->options, names[1], index);
    else if (pair->layer < 0) pair->teacher_layer = -1;
    else if (last || layers < 0) pair->teacher_layer = teacher_layers - 1;
    else pair->teacher_layer = opposite(pair->layer, layers, teacher_layers);
}

static int32_t check_twice(const di_feature *term, int64_t index, dk_error *err)
{
    const di_pair *pair = &term->pairs[index];
    for (int64_t i = 0; i < index; i++)
        if (term->pairs[i].layer == pair->layer && term->pairs[i].teacher_layer == pair->teacher_layer)
            return dk_fail(err, DK_E_OPTION, "loss.%s and loss.%s name the pair %lld, %lld twice",
                           term->builtin->fixed[0], term->builtin->fixed[1], (long long)pair->layer,
                           (long long)pair->teacher_layer);
    return DK_OK;
}

/* ---- what is asked of one side ---- */

static int32_t ask(di_features *f, di_taken *taken, const dk_tap_spec *tap, int64_t *out, dk_error *err)
{
    dk_tap_spec *larger = NULL;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < taken->asked.count; i++) {
        *out = i;
        if (taken->taps[i].kind == tap->kind && (taken->taps[i].layer == tap->layer || tap->kind == DK_TAP_FINAL))
            return DK_OK;
    }
    if (taken->asked.count == taken->capacity) {
        DK_TRY(dk_new(f->host, 2 * taken->capacity + 8, &larger, err));
        if (taken->asked.count) memcpy(larger, taken->taps, (size_t)taken->asked.count * sizeof *larger);
        dk_free(f->host, taken->taps);
        taken->taps = larger;
        taken->capacity = 2 * taken->capacity + 8;
    }
    *out = taken->asked.count;
    taken->taps[taken->asked.count++] = *tap;
    taken->asked.taps = taken->taps;
out:
    return rc;
}

/* The places of one layer: its output, or q, k and v as far as the loss reads them. */
static int32_t ask_side(const binder *b, const di_side *side, di_taken *taken, int64_t layer, int64_t tap[3],
                        di_place place[3], dk_error *err)
{
    int32_t rc = DK_OK, at = 0;
    for (int32_t kind = DK_TAP_BLOCK; kind <= DK_TAP_V; kind++) {
        const dk_tap_spec spec = {layer, (dk_tap_kind)kind};
        if (!(b->term->builtin->taps >> kind & 1)) continue;
        if (takes_outputs(b->term) && (kind == DK_TAP_FINAL) != (layer < 0)) continue;
        DK_TRY(side->place(side->model, &spec, &place[at], err));
        DK_TRY(ask(b->features, taken, &spec, &tap[at], err));
        at++;
    }
out:
    return rc;
}

/* ---- do they fit ---- */

static int32_t check_widths(const binder *b, di_pair *pair, dk_error *err)
{
    const int64_t own = pair->place[0].width, other = pair->teacher_place[0].width;
    const char *key = b->term->builtin->fixed[2];
    const char *how = b->options ? di_options_text(b->options, key) : NULL;
    if (!how) how = "auto";
    if (!strcmp(how, "none") && own != other)
        return dk_fail(err, DK_E_OPTION,
                       "loss.%s is none, and the outputs compared are %lld and %lld wide: take auto, or a student of "
                       "the teacher's width",
                       key, (long long)own, (long long)other);
    if (!strcmp(how, "linear") || own != other) pair->projection = b->features->projection_count++;
    return DK_OK;
}

/* Heads are compared one by one, or as a mean over them, whatever their widths are. */
static int32_t check_heads(const binder *b, const di_pair *pair, dk_error *err)
{
    const char *key = b->term->builtin->fixed[2], *how = b->options ? di_options_text(b->options, key) : NULL;
    const int64_t own = pair->place[0].heads, other = pair->teacher_place[0].heads;
    b->term->by_mean = how && !strcmp(how, "mean");
    if (own < 1 || other < 1 || pair->place[1].heads < 1 || pair->teacher_place[1].heads < 1)
        return dk_fail(err, DK_E_OPTION, "how many heads there are is not known of both models");
    if (b->term->by_mean || own == other) return DK_OK;
    return dk_fail(err, DK_E_OPTION,
                   "block %lld of the student has %lld heads, block %lld of the teacher %lld: take loss.%s mean, or a "
                   "relation, which takes any",
                   (long long)pair->layer, (long long)own, (long long)pair->teacher_layer, (long long)other, key);
}

/* All of a width is cut into as many heads on both sides; with keys and values of fewer heads than queries have, they
 * are cut as they are. */
static int32_t check_relation(const binder *b, const di_pair *pair, dk_error *err)
{
    const char *key = b->term->builtin->fixed[2];
    const int64_t asked = b->options ? di_options_i64(b->options, key) : 0;
    const int64_t heads = asked ? asked : pair->place[1].heads > 0 ? pair->place[1].heads : 1;
    b->term->heads = heads;
    for (int i = 0; i < 3; i++) {
        const int64_t widths[2] = {pair->place[i].width, pair->teacher_place[i].width};
        for (int k = 0; k < 2; k++)
            if (widths[k] % heads)
                return dk_fail(err, DK_E_OPTION,
                               "the %s of the %s are %lld wide, which %lld heads do not divide: give "
                               "loss.%s",
                               di_tap_name((dk_tap_kind)(DK_TAP_Q + i)), k ? "teacher" : "student",
                               (long long)widths[k], (long long)heads, key);
    }
    return DK_OK;
}

static int32_t check_pair(const binder *b, di_pair *pair, dk_error *err)
{
    pair->projection = -1;
    if (takes_outputs(b->term)) return check_widths(b, pair, err);
    return b->term->builtin->feature == DI_FEATURE_RELATION ? check_relation(b, pair, err) : check_heads(b, pair, err);
}

static int32_t bind_pair(const binder *b, int64_t index, dk_error *err)
{
    di_pair *pair = &b->term->pairs[index];
    di_features *f = b->features;
    int32_t rc;
    choose_layers(b, index, pair);
    DK_TRY(check_twice(b->term, index, err));
    DK_TRY(ask_side(b, &b->spec->student, &f->student, pair->layer, pair->tap, pair->place, err));
    DK_TRY(
        ask_side(b, &b->spec->teacher, &f->teacher, pair->teacher_layer, pair->teacher_tap, pair->teacher_place, err));
    DK_TRY(check_pair(b, pair, err));
out:
    return rc;
}

int32_t di_feature_bind(di_features *f, const di_features_spec *spec, const di_feature_term *term, di_feature *out,
                        dk_error *err)
{
    binder b = {spec, f, out, di_options_item(spec->options, "loss", term->item)};
    int64_t count = 0;
    int32_t rc;
    out->builtin = term->builtin;
    out->number = term->number;
    out->item = term->item;
    DK_TRY(count_pairs(&b, &count, err));
    DK_TRY(dk_new(f->host, count, &out->pairs, err));
    while (out->count < count) {
        out->count++;
        DK_TRY(bind_pair(&b, out->count - 1, err));
    }
out:
    if (rc) dk_error_context(err, "loss %s", term->builtin->name);
    return rc;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t di_feature_width(const di_features *f)
{
    int64_t width = 0;
    for (int64_t i = 0; i < f->count; i++)
        for (int64_t k = 0; takes_outputs(&f->terms[i]) && k < f->terms[i].count; k++)
            width =
                larger(width, larger(f->terms[i].pairs[k].place[0].width, f->terms[i].pairs[k].teacher_place[0].width));
    return width;
}
