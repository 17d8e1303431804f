#include "teacher/model_files.h"

#include "base/file.h"
#include "base/notes.h"
#include "model/export_gguf.h"

#include <string.h>

dk_dtype di_stored_type(const dk_model *model)
{
    int64_t counts[3] = {0};
    for (int64_t i = 0; i < model->parameter_count; i++) {
        const dk_view *value = &model->parameters[i].value;
        counts[value->dtype == DK_F32 ? 0 : value->dtype == DK_F16 ? 1 : 2] += dk_view_count(value);
    }
    return counts[2] > counts[0] && counts[2] >= counts[1] ? DK_BF16 : counts[1] > counts[0] ? DK_F16 : DK_F32;
}

int32_t di_files_choose(const char *format, const char *type, dk_dtype stored, di_files *out, dk_error *err)
{
    static const struct {
        const char *name;
        dk_dtype dtype;
    } types[] = {{"f32", DK_F32},   {"bf16", DK_BF16}, {"f16", DK_F16},
                 {"q8_0", DK_Q8_0}, {"q4_0", DK_Q4_0}, {"q4_k", DK_Q4_K}};
    dk_dtype dtype = stored;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, type) == 0) dtype = types[i].dtype;
    *out = (di_files){.folder = strcmp(format, "gguf") != 0, .gguf = strcmp(format, "hf") != 0};
    out->gguf_type = dtype;
    out->folder_type = dk_dtype_size(dtype) ? dtype : stored;
    if (dk_dtype_size(dtype) || out->gguf) return DK_OK;
    return dk_fail(err, DK_E_OPTION,
                   "output.type %s is of GGUF files: give output.format gguf or both, or f32, bf16 or f16", type);
}

static int32_t write_gguf(const di_files *files, const dk_model *model, const dk_tokenizer *tokenizer, const char *path,
                          dk_error *err)
{
    dk_strbuf notes;
    dk_strbuf_init(&notes, model->host);
    int32_t rc = dk_model_export_gguf(model, tokenizer, files->chat_template, path, files->gguf_type, &notes, err);
    if (rc == DK_OK && path) dk_notes_log(&notes, model->host, "model");
    dk_strbuf_free(&notes);
    return rc;
}

int32_t di_files_check(const di_files *files, const dk_model *model, const dk_tokenizer *tokenizer, dk_error *err)
{
    return files->gguf ? write_gguf(files, model, tokenizer, NULL, err) : DK_OK;
}

int32_t di_files_write(const di_files *files, const dk_model *model, const dk_tokenizer *tokenizer, const char *folder,
                       dk_saved_fn saved, void *user, dk_error *err)
{
    int32_t rc = DK_OK;
    char *path = NULL;
    if (files->folder) {
        DK_TRY(dk_model_save_sharded(model, folder, files->folder_type, 0, saved, user, err));
        if (tokenizer) DK_TRY(dk_tokenizer_save_with(tokenizer, files->chat_template, folder, err));
    }
    if (files->gguf) {
        if (!(path = dk_path_join(model->host, folder, DI_GGUF_NAME))) DK_TRY(dk_fail_nomem(err, strlen(folder) + 12));
        DK_TRY(write_gguf(files, model, tokenizer, path, err));
    }
out:
    dk_free(model->host, path);
    return rc;
}

int32_t di_files_export(const di_files *files, const dk_model *model, const dk_tokenizer *tokenizer, const char *path,
                        dk_error *err)
{
    int32_t rc;
    dk_staged staged = {.path = NULL};
    if (dk_path_exists(path))
        return dk_fail(err, DK_E_INVALID, "%s: is there already; give another path, or remove it first", path);
    if (!files->folder) return write_gguf(files, model, tokenizer, path, err);
    DK_TRY(dk_dir_stage(model->host, path, &staged, err));
    DK_TRY(di_files_write(files, model, tokenizer, staged.path, NULL, NULL, err));
    DK_TRY(dk_dir_commit(model->host, &staged, path, err));
out:
    if (rc != DK_OK) dk_hide_temporary(err);
    dk_staged_end(model->host, &staged);
    return rc;
}
