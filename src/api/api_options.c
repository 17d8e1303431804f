#include "api/handles.h"

#include <string.h>

int32_t distill_option_at(int64_t index, distill_option_info *out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_struct(out, "out", sizeof out->struct_size, err));
    if (index < 0) return dk_fail(err, DK_E_INVALID, "index %lld is negative", (long long)index);
    if (index >= di_option_count())
        return dk_fail(err, DK_E_END, "there are %lld options", (long long)di_option_count());
    const di_option_info *option = di_option_at(index);
    distill_option_info info;
    DISTILL_INIT(&info);
    info.type = option->type;
    info.name = option->name;
    info.help = option->help;
    info.default_text = option->default_text ? option->default_text : "";
    info.choices = option->choices ? option->choices : "";
    info.unit = option->unit ? option->unit : "";
    info.when = option->when ? option->when : "";
    info.low = option->flags & DI_OPTION_OR_ZERO ? 0 : option->low;
    info.high = option->high;
    info.flags = option->flags & (DISTILL_OPTION_LIVE | DISTILL_OPTION_SCHEDULE);
    uint32_t size = out->struct_size < sizeof info ? out->struct_size : (uint32_t)sizeof info;
    info.struct_size = out->struct_size;
    memcpy(out, &info, size);
out:
    return rc;
}

int32_t distill_options_create(const distill_env *env, distill_options **out, distill_error *error)
{
    dk_error *err = di_err(error);
    distill_options *handle = NULL;
    di_options *tree = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(di_options_create(env->host, &tree, err));
    if (!(handle = di_handle_create(env, sizeof *handle, err))) {
        di_options_free(tree);
        return DK_E_NOMEM;
    }
    handle->tree = tree;
    *out = handle;
out:
    return rc;
}

void distill_options_free(distill_options *options)
{
    if (!options) return;
    di_options_free(options->tree);
    di_handle_free(options);
}

static int32_t check(const distill_options *options, const void *argument, const char *name, dk_error *err)
{
    dk_error_clear(err);
    int32_t rc = di_check_pointer(options, "options", err);
    return rc == DK_OK ? di_check_pointer(argument, name, err) : rc;
}

int32_t distill_options_load(distill_options *options, const char *path, distill_error *error)
{
    int32_t rc;
    DK_TRY(check(options, path, "path", di_err(error)));
    DI_COMPUTE(di_options_load(options->tree, path, di_err(error)));
out:
    return rc;
}

int32_t distill_options_parse(distill_options *options, const char *yaml, size_t size, const char *name,
                              distill_error *error)
{
    int32_t rc;
    DK_TRY(check(options, yaml, "yaml", di_err(error)));
    DI_COMPUTE(di_options_parse(options->tree, yaml, size, name ? name : "options", NULL, di_err(error)));
out:
    return rc;
}

int32_t distill_options_set(distill_options *options, const char *key, const char *yaml_value, distill_error *error)
{
    int32_t rc;
    DK_TRY(check(options, key, "key", di_err(error)));
    DI_COMPUTE(di_options_set(options->tree, key, yaml_value, di_err(error)));
out:
    return rc;
}

int32_t distill_options_set_str(distill_options *options, const char *key, const char *value, distill_error *error)
{
    int32_t rc;
    DK_TRY(check(options, key, "key", di_err(error)));
    DI_COMPUTE(di_options_set_str(options->tree, key, value, di_err(error)));
out:
    return rc;
}

int32_t distill_options_set_i64(distill_options *options, const char *key, int64_t value, distill_error *error)
{
    int32_t rc;
    DK_TRY(check(options, key, "key", di_err(error)));
    DI_COMPUTE(di_options_set_i64(options->tree, key, value, di_err(error)));
out:
    return rc;
}

int32_t distill_options_set_f64(distill_options *options, const char *key, double value, distill_error *error)
{
    int32_t rc;
    DK_TRY(check(options, key, "key", di_err(error)));
    DI_COMPUTE(di_options_set_f64(options->tree, key, value, di_err(error)));
out:
    return rc;
}

int32_t distill_options_get(const distill_options *options, const char *key, char *buf, size_t cap, size_t *needed,
                            distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf text;
    int32_t rc = check(options, key, "key", err);
    if (rc != DK_OK) return rc;
    dk_strbuf_init(&text, options->env->host);
    DI_COMPUTE(di_options_get(options->tree, key, &text, err));
    DK_TRY(dk_strbuf_check(&text, err));
    DK_TRY(dk_text_out(text.data ? text.data : "", text.size, buf, cap, needed, err));
out:
    dk_strbuf_free(&text);
    return rc;
}
