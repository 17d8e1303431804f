#include "shape/shape.h"

#include <math.h>
#include <string.h>

#include "evaluate/evaluate.h"
#include "shape/shape_parts.h"

typedef struct shaper {
    const di_shape_args *args;
    dk_host *host;
    const di_options *options;
    di_teacher *teacher; /* a reference: that of args, or the same of fewer ids */
    di_dataset *data;    /* a reference */
    uint64_t seed;
    int64_t tokens;
    di_choice choice;
    di_student *cut;     /* what the last step left; NULL = the teacher is still whole */
    di_teacher *scorer;  /* the same as one that scores */
    di_evaluation known; /* of it */
    dk_strbuf *report;
} shaper;

/* ---- what is asked for ---- */
static int64_t auto_layers(const di_options *o)
{
    return di_options_text(o, "student.layers") ? di_options_i64(o, "student.layers") : 0;
}

static const char *const widths[] = {"student.heads", "student.intermediate_size", "student.hidden_size"};

static int32_t is_narrower(const di_options *o)
{
    int32_t any = 0;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) any |= di_options_is_set(o, widths[i]);
    return any;
}

static int32_t has_fewer_ids(const di_options *o) { return di_options_is_set(o, "student.vocabulary"); }

int32_t di_shape_reads_text(const di_options *o) { return auto_layers(o) > 0 || is_narrower(o) || has_fewer_ids(o); }

static int32_t check_size(const char *key, int64_t asked, int64_t of, dk_error *err)
{
    if (asked <= of) return DK_OK;
    return dk_fail(err, DK_E_OPTION, "%s %lld: the teacher has %lld, give a number in [1, %lld]", key, (long long)asked,
                   (long long)of, (long long)of);
}

static int32_t check_asked(const di_options *o, const dk_config *c, dk_error *err)
{
    const int64_t share = c->heads / c->kv_heads, heads = di_options_i64(o, "student.heads");
    int32_t rc;
    if (auto_layers(o) > c->layers)
        return dk_fail(err, DK_E_OPTION, "student.layers auto:%lld: the teacher has %lld blocks, give N in [1, %lld]",
                       (long long)auto_layers(o), (long long)c->layers, (long long)c->layers);
    if (!auto_layers(o))
        DK_TRY(di_options_refuse(o, "student.layers_by",
                                 "says how layers auto:N are chosen: give student.layers auto:N", err));
    if (!is_narrower(o))
        DK_TRY(di_options_refuse(o, "student.importance",
                                 "says how heads and channels are chosen: give student.heads, "
                                 "student.intermediate_size or student.hidden_size",
                                 err));
    if (!di_shape_reads_text(o))
        DK_TRY(di_options_refuse(o, "student.calibration_tokens",
                                 "is of a shape chosen by text: give student.layers auto:N, student.heads, "
                                 "student.intermediate_size, student.hidden_size or student.vocabulary",
                                 err));
    if (!has_fewer_ids(o))
        DK_TRY(di_options_refuse(o, "student.vocabulary_text", "has its ids counted: give student.vocabulary", err));
    DK_TRY(check_size("student.hidden_size", di_options_i64(o, "student.hidden_size"), c->hidden_size, err));
    DK_TRY(check_size("student.intermediate_size", di_options_i64(o, "student.intermediate_size"), c->intermediate_size,
                      err));
    DK_TRY(check_size("student.heads", heads, c->heads, err));
    if (heads % share)
        return dk_fail(
            err, DK_E_OPTION,
            "student.heads %lld: %lld query heads share a key-value head and go together: give a multiple of "
            "%lld in [%lld, %lld]",
            (long long)heads, (long long)share, (long long)share, (long long)share, (long long)c->heads);
out:
    return rc;
}

static int32_t open_text(shaper *s, dk_error *err)
{
    int32_t rc;
    if (has_fewer_ids(s->options) && (s->args->alone || s->args->given))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "student.vocabulary gives ids other numbers: it needs a trainer that opens %s itself",
                       s->args->alone ? "teacher, student and data" : "data.train and data.eval");
    if (s->args->data) s->data = di_dataset_retain(s->args->data);
    else if (!di_options_is_set(s->options, "data.train"))
        return dk_fail(err, DK_E_OPTION,
                       "data.train is not set: the student's shape is chosen by what the teacher does on its text");
    else
        DK_TRY(
            di_dataset_open_list(s->host, "data.train", di_teacher_tokenizer(s->teacher), s->options, &s->data, err));
    if (di_dataset_is_stream(s->data))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "a student's shape is chosen by text that is read before training, and a stream is read once: "
                       "give data.train a file");
    rc = di_dataset_check_vocab(s->data, di_teacher_vocab_valid(s->teacher), err);
out:
    return rc;
}

/* ---- measuring ---- */
static int32_t evaluate(shaper *s, di_teacher *scorer, int32_t against, di_evaluation *out, dk_error *err)
{
    const di_evaluate_args args = {.backend = s->args->backend,
                                   .student = scorer,
                                   .teacher = against ? s->teacher : NULL,
                                   .data = s->data,
                                   .tokens = s->tokens,
                                   .memory = di_options_i64(s->options, "train.loss_memory")};
    return di_evaluate(&args, out, err);
}

static int64_t parameters_now(const shaper *s)
{
    return s->cut ? di_student_facts(s->cut).parameters : di_teacher_facts(s->teacher).parameters;
}

static void let_go(shaper *s)
{
    di_teacher_release(s->scorer);
    di_student_release(s->cut);
    s->scorer = NULL;
    s->cut = NULL;
}

/* The teacher with what is chosen so far becomes what is left, and is measured. */
static int32_t take_cut(shaper *s, di_cut *cut, dk_error *err)
{
    const dk_keep keep = di_choice_keep(&s->choice);
    int32_t first = !s->cut, rc;
    *cut = (di_cut){.parameters_before = parameters_now(s), .nats_before = s->known.nats};
    let_go(s);
    DK_TRY(di_student_derive_kept(s->args->backend, s->teacher, &keep, NULL, &s->cut, err));
    DK_TRY(di_student_as_teacher(s->cut, &s->scorer, err));
    DK_TRY(evaluate(s, s->scorer, 1, &s->known, err));
    if (first) cut->nats_before = s->known.teacher_nats;
    cut->parameters_after = parameters_now(s);
    cut->nats_after = s->known.nats;
    cut->kl = s->known.kl_mean;
    cut->agreement = s->known.top1_agreement;
    cut->tokens = s->known.tokens;
out:
    return rc;
}

static void tell_cut(const shaper *s, const char *what, const di_cut *cut)
{
    char before[32], after[32], kl[32];
    dk_format_f64(round(exp(cut->nats_before) * 100) / 100, before);
    dk_format_f64(round(exp(cut->nats_after) * 100) / 100, after);
    dk_format_f64(round(cut->kl * 1e4) / 1e4, kl);
    dk_log(s->host, DK_LOG_INFO, "student", "%s: %lld -> %lld parameters, perplexity %s -> %s, KL to the teacher %s",
           what, (long long)cut->parameters_before, (long long)cut->parameters_after, before, after, kl);
}

/* ---- blocks ---- */
static int32_t by_influence(shaper *s, double *scores, dk_error *err)
{
    di_activity activity = {.host = NULL};
    int32_t rc = di_activity_measure(di_teacher_model(s->teacher), s->data, s->seed, s->tokens, DI_IMPORTANCE_L2,
                                     &activity, err);
    for (int64_t l = 0; rc == DK_OK && l < activity.layers; l++) scores[l] = activity.influence[l];
    di_activity_free(&activity);
    return rc;
}

/* The mean negative log-likelihood of the teacher without each block, less that of the whole one. */
static int32_t by_loss(shaper *s, int64_t layers, double *scores, dk_error *err)
{
    di_patience patience = di_patience_begin(s->host, "blocks left out to see what the loss becomes");
    di_evaluation whole, without;
    int64_t *others = NULL;
    int32_t rc;
    DK_TRY(dk_new(s->host, layers, &others, err));
    DK_TRY(evaluate(s, s->teacher, 0, &whole, err));
    for (int64_t l = 0; l < layers; l++) {
        const dk_keep keep = {.layers = others, .layer_count = layers - 1};
        for (int64_t i = 0; i < layers - 1; i++) others[i] = i + (i >= l);
        DK_TRY(di_patience_tell(&patience, l, layers, err));
        DK_TRY(di_student_derive_kept(s->args->backend, s->teacher, &keep, NULL, &s->cut, err));
        DK_TRY(di_student_as_teacher(s->cut, &s->scorer, err));
        DK_TRY(evaluate(s, s->scorer, 0, &without, err));
        scores[l] = without.nats - whole.nats;
        let_go(s);
    }
out:
    let_go(s);
    dk_free(s->host, others);
    return rc;
}

static void tell_layers(const shaper *s, const char *asked, const char *by)
{
    dk_strbuf text;
    dk_strbuf_init(&text, s->host);
    for (int64_t i = 0; i < s->choice.layer_count; i++)
        dk_strbuf_printf(&text, "%s%lld", i ? ", " : "", (long long)s->choice.layers[i]);
    dk_log(s->host, DK_LOG_INFO, "student", "student.layers %s by %s keeps blocks %s", asked, by,
           text.data ? text.data : "");
    dk_strbuf_free(&text);
}

static int32_t choose_layers(shaper *s, const dk_config *c, dk_error *err)
{
    const char *asked = di_options_text(s->options, "student.layers"),
               *by = di_options_text(s->options, "student.layers_by");
    const int64_t kept = auto_layers(s->options);
    double *scores = NULL;
    di_cut cut;
    int32_t rc;
    DK_TRY(dk_new(s->host, c->layers, &scores, err));
    DK_TRY(dk_new(s->host, kept, &s->choice.layers, err));
    if (kept == c->layers || c->layers == 1) { /* nothing to choose */
    } else if (strcmp(by, "loss") == 0) DK_TRY(by_loss(s, c->layers, scores, err));
    else DK_TRY(by_influence(s, scores, err));
    DK_TRY(di_rank(s->host, scores, c->layers, kept, s->choice.layers, err));
    s->choice.layer_count = kept;
    tell_layers(s, asked, by);
    DK_TRY(take_cut(s, &cut, err));
    tell_cut(s, asked, &cut);
    dk_strbuf_printf(
        s->report, "%s\"layers\":{\"asked\":\"%s\",\"by\":\"%s\",\"kept\":", s->report->size > 1 ? "," : "", asked, by);
    di_numbers_json(s->choice.layers, kept, s->report);
    dk_strbuf_puts(s->report, ",\"scores\":");
    di_scores_json(scores, c->layers, s->report);
    di_cut_json(&cut, s->report);
    dk_strbuf_puts(s->report, "}");
out:
    dk_free(s->host, scores);
    return rc;
}

/* ---- widths ---- */
/* The highest of each of `lists` lists of scores. */
static int32_t rank_each(dk_host *host, const double *scores, int64_t lists, int64_t count, int64_t kept, int64_t **out,
                         dk_error *err)
{
    int32_t rc;
    if (!kept || kept == count) return DK_OK;
    DK_TRY(dk_new(host, lists * kept, out, err));
    for (int64_t i = 0; i < lists; i++) DK_TRY(di_rank(host, scores + i * count, count, kept, *out + i * kept, err));
out:
    return rc;
}

/* The query heads that share a key-value head count together. */
static void sum_groups(const di_activity *a, int64_t kv_heads, double *out)
{
    const int64_t share = a->heads / kv_heads;
    for (int64_t g = 0; g < a->layers * kv_heads; g++) {
        out[g] = 0;
        for (int64_t h = 0; h < share; h++) out[g] += a->head[g * share + h];
    }
}

static int32_t rank_widths(shaper *s, const di_activity *a, const dk_config *c, dk_error *err)
{
    const di_options *o = s->options;
    di_choice *choice = &s->choice;
    double *groups = NULL;
    int32_t rc;
    choice->hidden_size = di_options_i64(o, "student.hidden_size");
    choice->inner_size = di_options_i64(o, "student.intermediate_size");
    choice->kv_heads = di_options_i64(o, "student.heads") / (c->heads / c->kv_heads);
    DK_TRY(dk_new(s->host, a->layers * c->kv_heads, &groups, err));
    sum_groups(a, c->kv_heads, groups);
    DK_TRY(rank_each(s->host, a->hidden, 1, c->hidden_size, choice->hidden_size, &choice->hidden, err));
    DK_TRY(rank_each(s->host, groups, a->layers, c->kv_heads, choice->kv_heads, &choice->groups, err));
    DK_TRY(rank_each(s->host, a->inner, a->layers, c->intermediate_size, choice->inner_size, &choice->inner, err));
out:
    dk_free(s->host, groups);
    return rc;
}

static void size_json(dk_strbuf *out, const char *name, int64_t before, int64_t after)
{
    dk_strbuf_printf(out, ",\"%s_before\":%lld,\"%s_after\":%lld", name, (long long)before, name, (long long)after);
}

static void width_json(const shaper *s, const dk_config *before, const di_activity *a, const di_cut *cut)
{
    const dk_config *after = &di_student_model(s->cut)->config;
    dk_strbuf *out = s->report;
    dk_strbuf_printf(out, "%s\"width\":{\"importance\":\"%s\",\"calibration_tokens\":%lld", out->size > 1 ? "," : "",
                     di_options_text(s->options, "student.importance"), (long long)a->tokens);
    size_json(out, "heads", before->heads, after->heads);
    size_json(out, "kv_heads", before->kv_heads, after->kv_heads);
    size_json(out, "intermediate_size", before->intermediate_size, after->intermediate_size);
    size_json(out, "hidden_size", before->hidden_size, after->hidden_size);
    di_cut_json(cut, out);
    dk_strbuf_puts(out, "}");
}

/* By what the model does that is left of the teacher. */
static int32_t choose_widths(shaper *s, const dk_config *c, dk_error *err)
{
    const di_importance importance =
        di_options_is(s->options, "student.importance", "mean") ? DI_IMPORTANCE_MEAN : DI_IMPORTANCE_L2;
    const dk_keep blocks = {.layers = s->choice.layers, .layer_count = s->choice.layer_count};
    di_activity activity = {.host = NULL};
    di_student *chosen = NULL;
    di_cut cut;
    int32_t rc;
    if (!s->cut) DK_TRY(di_student_derive_kept(s->args->backend, s->teacher, &blocks, NULL, &chosen, err));
    DK_TRY(di_activity_measure(di_student_model(s->cut ? s->cut : chosen), s->data, s->seed, s->tokens, importance,
                               &activity, err));
    DK_TRY(rank_widths(s, &activity, c, err));
    di_student_release(chosen);
    chosen = NULL;
    DK_TRY(take_cut(s, &cut, err));
    tell_cut(s, "widths by importance", &cut);
    width_json(s, c, &activity, &cut);
out:
    di_student_release(chosen);
    di_activity_free(&activity);
    return rc;
}

/* ---- ids ---- */
static void vocabulary_json(const shaper *s, int64_t before, const di_cut *cut)
{
    dk_strbuf_printf(s->report, "\"vocabulary\":{\"asked\":%lld,\"ids_before\":%lld,\"ids_after\":%lld",
                     (long long)di_options_i64(s->options, "student.vocabulary"), (long long)before,
                     (long long)s->choice.vocab_size);
    di_cut_json(cut, s->report);
    dk_strbuf_puts(s->report, "}");
}

/* First of all, so that whatever follows is chosen and measured in the tokens that the student will have. */
static int32_t choose_ids(shaper *s, dk_error *err)
{
    di_teacher *whole = di_teacher_retain(s->teacher);
    di_cut cut;
    int32_t rc;
    DK_TRY(di_vocabulary_choose(s->options, s->teacher, s->data, &s->choice, err));
    DK_TRY(di_vocabulary_apply(s->options, &s->choice, &s->teacher, &s->data, err));
    DK_TRY(
        di_vocabulary_cost(s->args->backend, s->options, &s->choice, whole, s->teacher, s->data, s->tokens, &cut, err));
    dk_log(s->host, DK_LOG_INFO, "student",
           "student.vocabulary %lld keeps %lld of %lld ids: those, and the special, byte "
           "and shorter tokens that they need",
           (long long)di_options_i64(s->options, "student.vocabulary"), (long long)s->choice.vocab_size,
           (long long)dk_tokenizer_vocab_size(di_teacher_tokenizer(whole)));
    tell_cut(s, "fewer ids", &cut);
    vocabulary_json(s, dk_tokenizer_vocab_size(di_teacher_tokenizer(whole)), &cut);
out:
    di_teacher_release(whole);
    return rc;
}

/* ---- all of it ---- */
/* Blocks that are listed, or all: widths alone change no depth. */
static int32_t given_layers(shaper *s, const dk_config *c, dk_error *err)
{
    const int64_t listed = di_options_list_size(s->options, "student.layers"), count = listed ? listed : c->layers;
    int32_t rc;
    DK_TRY(dk_new(s->host, count, &s->choice.layers, err));
    for (int64_t i = 0; i < count; i++)
        s->choice.layers[i] = listed ? di_options_list_i64(s->options, "student.layers", i) : i;
    s->choice.layer_count = count;
out:
    return rc;
}

static int32_t choose(shaper *s, dk_error *err)
{
    const dk_config *c;
    int32_t rc = DK_OK;
    dk_strbuf_puts(s->report, "{");
    if (has_fewer_ids(s->options)) DK_TRY(choose_ids(s, err));
    c = &di_teacher_model(s->teacher)->config;
    if (auto_layers(s->options)) DK_TRY(choose_layers(s, c, err));
    else DK_TRY(given_layers(s, c, err));
    if (is_narrower(s->options)) DK_TRY(choose_widths(s, c, err));
    dk_strbuf_puts(s->report, "}");
    DK_TRY(dk_strbuf_check(s->report, err));
out:
    return rc;
}

static int32_t derive(shaper *s, di_student **out, di_shape *shape, dk_error *err)
{
    char key[65];
    int32_t found = 0, rc;
    DK_TRY(open_text(s, err));
    DK_TRY(di_choice_key(s->args, s->data, key, err));
    DK_TRY(di_choice_read(s->args->remembered, key, &s->choice, s->report, &found, err));
    if (found)
        dk_log(s->host, DK_LOG_INFO, "student", "the student's shape is that of the checkpoint: %lld blocks",
               (long long)s->choice.layer_count);
    else DK_TRY(choose(s, err));
    if (found && s->choice.ids) DK_TRY(di_vocabulary_apply(s->options, &s->choice, &s->teacher, &s->data, err));
    let_go(s);
    const dk_keep keep = di_choice_keep(&s->choice);
    DK_TRY(di_student_derive_kept(s->args->backend, s->teacher, &keep, s->options, out, err));
    di_choice_write(&s->choice, key, s->report, &shape->choice);
    DK_TRY(dk_strbuf_check(&shape->choice, err));
    if (!s->choice.ids) goto out;
    shape->teacher = di_teacher_retain(s->teacher);
    shape->data = di_dataset_retain(s->data);
out:
    return rc;
}

int32_t di_shape_derive(const di_shape_args *args, di_student **out, di_shape *shape, dk_error *err)
{
    dk_host *host = args->backend->host;
    const dk_model *model = di_teacher_model(args->teacher);
    di_shape own;
    shaper s = {.args = args,
                .host = host,
                .options = args->options,
                .teacher = di_teacher_retain(args->teacher),
                .choice = {.host = host},
                .seed = (uint64_t)di_options_i64(args->options, "train.seed"),
                .tokens = di_options_i64(args->options, "student.calibration_tokens")};
    int32_t rc;
    di_shape_init(&own, host);
    s.report = shape ? &shape->report : &own.report;
    if (model) DK_TRY(di_student_check_kind(&model->config, err));
    if (model) DK_TRY(check_asked(args->options, &model->config, err));
    if (!model || !di_shape_reads_text(args->options))
        rc = di_student_derive(args->backend, args->teacher, args->options, out, err);
    else rc = derive(&s, out, shape ? shape : &own, err);
out:
    let_go(&s);
    di_choice_free(&s.choice);
    di_dataset_release(s.data);
    di_teacher_release(s.teacher);
    di_shape_free(&own);
    return rc;
}
