#include <string.h>

#include "api/handles.h"

/* ---- what is handed in ---- */

static int32_t precision_of(const distill_options *options, dk_precision *out, dk_error *err)
{
    *out = di_options_is(di_tree(options), "generate.precision", "bf16") ? DK_PRECISION_BF16 : DK_PRECISION_FULL;
    return di_options_check(di_tree(options), 1 << DI_GENERATE, err);
}

static int32_t check_cap(const distill_classifier *c, const void *probabilities, int64_t cap, dk_error *err)
{
    if (!probabilities || cap >= c->classifier->classes) return DK_OK;
    return dk_fail(err, DK_E_BUFFER, "probabilities has room for %lld, there are %lld classes", (long long)cap,
                   (long long)c->classifier->classes);
}

static int32_t check_text(const char *text, size_t size, dk_error *err)
{
    return text || !size ? DK_OK : dk_fail(err, DK_E_INVALID, "text is NULL");
}

static int32_t read_samples(const distill_env *env, const distill_sample *samples, int64_t count, dk_slice **out,
                            dk_error *err)
{
    int32_t rc = DK_OK;
    if (count < 1) return dk_fail(err, DK_E_INVALID, "samples: %lld of them, at least 1", (long long)count);
    DK_TRY(di_check_struct(samples, "samples[0]", sizeof *samples, err));
    DK_TRY(dk_new(env->host, count, out, err));
    for (int64_t i = 0; i < count; i++) {
        const distill_sample *s =
            (const distill_sample *)(const void *)((const char *)samples + (size_t)i * samples->struct_size);
        if (s->struct_size != samples->struct_size || s->kind != DISTILL_SAMPLE_JSON || !s->text || s->size < 0)
            return dk_fail(err, DK_E_INVALID, "samples[%lld] is no JSON text, or of another struct_size", (long long)i);
        (*out)[i] = (dk_slice){s->text, (size_t)s->size};
    }
out:
    return rc;
}

static int32_t wrap(const distill_env *env, di_classifier *classifier, distill_classifier **out, dk_error *err)
{
    distill_classifier *handle = di_computing_handle_create(env, sizeof *handle, err);
    if (!handle) {
        di_classifier_free(classifier);
        return DK_E_NOMEM;
    }
    handle->classifier = classifier;
    *out = handle;
    return DK_OK;
}

/* ---- made, kept ---- */

int32_t distill_classifier_train(const distill_env *env, const distill_sample *samples, int64_t count,
                                 const distill_options *options, int32_t flags, distill_progress_fn fn, void *user,
                                 distill_classifier **out, distill_report **report, distill_error *error)
{
    dk_error *err = di_err(error);
    di_classifier *classifier = NULL;
    distill_report *made = NULL;
    dk_slice *lines = NULL;
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    if (flags & ~DISTILL_RUN_RESUME)
        DK_TRY(dk_fail(err, DK_E_INVALID, "flags 0x%x has bits that are not known", (unsigned)flags));
    if (samples) DK_TRY(read_samples(env, samples, count, &lines, err));
    const di_classifier_args args = {.backend = env->backend,
                                     .registry = env->registry,
                                     .options = di_tree(options),
                                     .lines = lines,
                                     .count = count,
                                     .resume = flags & DISTILL_RUN_RESUME,
                                     .fn = fn,
                                     .user = user};
    atomic_store(&((distill_env *)(uintptr_t)env)->computing, 1);
    DI_OPEN(env, di_tree(options), di_classifier_train(&args, &classifier, &json, err));
    if (report) DK_TRY(di_report_handle(env, &json, &made, err));
    rc = wrap(env, classifier, out, err);
    classifier = NULL;
    if (rc == DK_OK && report) *report = made;
    if (rc == DK_OK) made = NULL;
out:
    di_classifier_free(classifier);
    distill_report_free(made);
    dk_free(env->host, lines);
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_classifier_open(const distill_env *env, const char *path, const distill_options *options,
                                distill_classifier **out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_classifier *classifier = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_check_pointer(out, "out", err));
    const char *model = di_options_text(di_tree(options), "classifier.embedding.path");
    DI_OPEN(env, di_tree(options), di_classifier_open(env->backend, path, model, &classifier, err));
    DK_TRY(wrap(env, classifier, out, err));
out:
    return rc;
}

void distill_classifier_free(distill_classifier *c)
{
    if (!c) return;
    di_classifier_free(c->classifier);
    di_handle_free(c);
}

int32_t distill_classifier_save(const distill_classifier *c, const char *path, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(c, "classifier", err));
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_classifier_save(c->classifier, path, err));
out:
    return rc;
}

/* ---- asked ---- */

int32_t distill_classifier_predict(const distill_classifier *c, const char *text, size_t size, float *probabilities,
                                   int64_t cap, distill_verdict *out, distill_error *error)
{
    dk_error *err = di_err(error);
    di_verdict verdict;
    float few[64], *shares = NULL;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(c, "classifier", err)) != DK_OK) return rc;
    DK_TRY(check_text(text, size, err));
    DK_TRY(check_cap(c, probabilities, cap, err));
    if (out) DK_TRY(di_check_struct(out, "out", sizeof *out, err));
    if (c->classifier->classes > 64) DK_TRY(dk_new(c->env->host, c->classifier->classes, &shares, err));
    float *all = shares ? shares : few;
    DI_COMPUTE(di_classifier_predict(c->classifier, text, size, all, &verdict, err));
    if (probabilities) memcpy(probabilities, all, sizeof *all * (size_t)c->classifier->classes);
    if (out) {
        out->sure = verdict.sure;
        out->answer = verdict.answer;
        out->confidence = verdict.confidence;
    }
out:
    dk_free(c->env->host, shares);
    return rc;
}

typedef struct many {
    const distill_classifier *handle;
    const char *const *texts;
    const size_t *sizes;
    float *probabilities;
    distill_verdict *out;
    distill_error *errors; /* [count]: of each text */
} many;

static void predict_some(void *context, int64_t begin, int64_t end)
{
    const many *m = context;
    const int64_t classes = m->handle->classifier->classes;
    for (int64_t i = begin; i < end; i++) {
        distill_verdict *out =
            m->out ? (distill_verdict *)(void *)((char *)m->out + (size_t)i * m->out->struct_size) : NULL;
        float *shares = m->probabilities ? m->probabilities + i * classes : NULL;
        const size_t size = m->sizes ? m->sizes[i] : strlen(m->texts[i]);
        (void)distill_classifier_predict(m->handle, m->texts[i], size, shares, classes, out, &m->errors[i]);
    }
}

int32_t distill_classifier_predict_many(const distill_classifier *c, const char *const *texts, const size_t *sizes,
                                        int64_t count, float *probabilities, distill_verdict *out, distill_error *error)
{
    dk_error *err = di_err(error);
    many m = {c, texts, sizes, probabilities, out, NULL};
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(c, "classifier", err)) != DK_OK) return rc;
    if (count < 0) return dk_fail(err, DK_E_INVALID, "count is %lld", (long long)count);
    if (count) DK_TRY(di_check_pointer(texts, "texts", err));
    for (int64_t i = 0; i < count; i++)
        if (!texts[i]) return dk_fail_at(err, DK_E_INVALID, i, "texts[%lld] is NULL", (long long)i);
    if (out && count) DK_TRY(di_check_struct(out, "out[0]", sizeof *out, err));
    DK_TRY(dk_new(c->env->host, count + 1, &m.errors, err));
    dk_parallel_for(c->env->host, count, 8, predict_some, &m);
    DK_TRY(dk_parallel_check(c->env->host, err));
    for (int64_t i = 0; i < count; i++)
        if (m.errors[i].code)
            DK_TRY(dk_fail_at(err, m.errors[i].code, i, "texts[%lld]: %s", (long long)i, m.errors[i].message));
out:
    dk_free(c->env->host, m.errors);
    return rc;
}

int32_t distill_classifier_ask(const distill_classifier *c, const distill_teacher *teacher, const char *text,
                               size_t size, const distill_options *options, double *probabilities, int64_t cap,
                               distill_error *error)
{
    dk_error *err = di_err(error);
    dk_precision precision;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(c, "classifier", err));
    DK_TRY(di_check_pointer(teacher, "teacher", err));
    DK_TRY(check_text(text, size, err));
    DK_TRY(di_check_pointer(probabilities, "probabilities", err));
    DK_TRY(check_cap(c, probabilities, cap, err));
    DK_TRY(precision_of(options, &precision, err));
    DI_COMPUTE(di_classifier_ask(c->classifier, teacher->teacher, text, size, precision, probabilities, err));
out:
    return rc;
}

/* ---- what it is ---- */

const char *distill_classifier_class_name(const distill_classifier *c, int64_t index)
{
    return c && index >= 0 && index < c->classifier->classes ? c->classifier->names[index] : NULL;
}

int32_t distill_classifier_get_f64(const distill_classifier *c, const char *key, double *out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(c, "classifier", err));
    DK_TRY(di_check_pointer(key, "key", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(di_classifier_get_f64(c->classifier, key, out, err));
out:
    return rc;
}

int32_t distill_classifier_report(const distill_classifier *c, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(c, "classifier", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, c->env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    di_classifier_json(c->classifier, &json);
    DK_TRY(di_report_handle(c->env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_classifier_evaluate(const distill_classifier *c, const char *path, distill_report **out,
                                    distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(c, "classifier", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, c->env->host);
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(di_classifier_measure(c->classifier, path, &json, err));
    DK_TRY(di_report_handle(c->env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t distill_teacher_choose(const distill_teacher *teacher, const char *prompt, size_t size, int32_t flags,
                               const char *const *choices, int64_t count, const distill_options *options,
                               double *probabilities, distill_error *error)
{
    dk_error *err = di_err(error);
    di_choice_question q = {.prompt = prompt,
                            .size = size,
                            .chat = flags & DISTILL_CHOOSE_CHAT,
                            .per_token = flags & DISTILL_CHOOSE_PER_TOKEN,
                            .choices = choices,
                            .count = count};
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(teacher, "teacher", err));
    DK_TRY(di_check_pointer(prompt, "prompt", err));
    DK_TRY(di_check_pointer(choices, "choices", err));
    DK_TRY(di_check_pointer(probabilities, "probabilities", err));
    if (flags & ~(DISTILL_CHOOSE_CHAT | DISTILL_CHOOSE_PER_TOKEN))
        return dk_fail(err, DK_E_INVALID, "flags 0x%x has bits that are not known", (unsigned)flags);
    for (int64_t i = 0; i < count; i++)
        if (!choices[i]) return dk_fail(err, DK_E_INVALID, "choices[%lld] is NULL", (long long)i);
    DK_TRY(precision_of(options, &q.precision, err));
    DI_COMPUTE(di_choose(teacher->env->host, teacher->teacher, &q, probabilities, err));
out:
    return rc;
}
