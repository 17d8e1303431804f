/* Which keys of a GGUF file are refused. What nobody asked for is named. */
#include "model/gguf_source.h"

#include "base/notes.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *key;
    double neutral;
    uint32_t used_by; /* DK_HAS_ of the families that read it */
} refused[] = {{"expert_count", 0, DK_HAS_EXPERTS},
               {"expert_used_count", 0, DK_HAS_EXPERTS},
               {"expert_feed_forward_length", 0, DK_HAS_DENSE_LAYERS},
               {"expert_shared_count", 0, 0},
               {"expert_shared_feed_forward_length", 0, 0},
               {"expert_weights_scale", 1, 0},
               {"expert_weights_norm", 1, 0},
               {"expert_gating_func", 1, 0}, /* softmax */
               {"attention.scale", 0, DK_HAS_MULTIPLIERS},
               {"logit_scale", 0, DK_HAS_MULTIPLIERS},
               {"embedding_scale", 0, DK_HAS_MULTIPLIERS},
               {"residual_scale", 0, DK_HAS_MULTIPLIERS},
               {"attention.temperature_scale", 0, DK_HAS_QUERY_SCALE},
               {"attention.temperature_length", 0, 0},
               {"attention.sliding_window_pattern", 0, DK_HAS_PATTERN},
               {"rope.freq_base_swa", 0, DK_HAS_LOCAL_ROPE},
               {"attn_logit_softcapping", 0, DK_HAS_SOFTCAPS},
               {"final_logit_softcapping", 0, DK_HAS_SOFTCAPS},
               {"rope.scaling.yarn_log_multiplier", 0, DK_HAS_QUERY_SCALE},
               {"attention.clamp_kqv", 0, 0},
               {"attention.max_alibi_bias", 0, 0},
               {"attention.causal", 1, 0},
               {"attention.kv_lora_rank", 0, 0},
               {"use_parallel_residual", 0, DK_HAS_PARALLEL},
               {"rope.dimension_sections", 0, 0},
               {"rope.scaling.yarn_ext_factor", 1, 0},
               {"rope.scaling.yarn_attn_factor", 1, 0}};

/* The part behind "llama." of a key, or NULL. */
static const char *suffix_of(const dk_metadata *found, const dk_architecture *row)
{
    size_t size = strlen(row->gguf);
    return !strncmp(found->key, row->gguf, size) && found->key[size] == '.' ? found->key + size + 1 : NULL;
}

static int32_t is_neutral(const dk_metadata *found, double neutral)
{
    if (found->type == DK_META_LIST) return found->count == 0;
    return found->type == DK_META_TEXT ? found->text.size == 0
                                       : (found->type == DK_META_BOOL ? (double)found->i64 : found->f64) == neutral;
}

/* Adapters, encoders of images and matrices of importance come in files of their own, with tensors, too. */
static int32_t check_kind(const dk_checkpoint *file, dk_error *err)
{
    const dk_metadata *kind = dk_metadata_find(file, "general.type");
    if (!kind || kind->type != DK_META_TEXT || (kind->text.size == 5 && !memcmp(kind->text.data, "model", 5)))
        return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: general.type is '%.*s': the file holds no model of text",
                   dk_checkpoint_path(file), (int)(kind->text.size < 40 ? kind->text.size : 40), kind->text.data);
}

static int32_t check_blocks(const dk_checkpoint *file, dk_error *err)
{
    int64_t version = 2;
    int32_t blocks = 0, rc = dk_metadata_i64(file, "general.quantization_version", 0, INT32_MAX, 2, &version, err);
    for (int64_t i = 0; i < dk_checkpoint_count(file); i++)
        blocks |= dk_dtype_find(dk_checkpoint_at(file, i)->dtype)->block > 1;
    if (rc || version == 2 || !blocks) return rc;
    return dk_fail(
        err, DK_E_UNSUPPORTED,
        "%s: general.quantization_version is %lld; blocks of version 2 are read: quantise the model's F16 or "
        "BF16 file anew",
        dk_checkpoint_path(file), (long long)version);
}

int32_t dk_gguf_check_keys(const dk_checkpoint *file, const dk_architecture *row, dk_error *err)
{
    char key[96];
    int32_t rc;
    DK_TRY(check_kind(file, err));
    DK_TRY(check_blocks(file, err));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(key, sizeof key, "%s.%s", row->gguf, refused[i].key);
        const dk_metadata *found = dk_metadata_find(file, key);
        if (found && !(refused[i].used_by & row->has) && !is_neutral(found, refused[i].neutral))
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: metadata key '%s' changes the arithmetic in a way that is not supported",
                           dk_checkpoint_path(file), key);
    }
out:
    return rc;
}

/* Values that change nothing, of keys that not every family or way of scaling asks for. */
static const struct {
    const char *key;
    double neutral;
} neutral[] = {{"attention.sliding_window", 0},
               {"rope.scale_linear", 1},
               {"rope.scaling.factor", 1},
               {"rope.scaling.attn_factor", 1}};

/* How a model came to be, and what stands for nothing. Keys of tokenizers are named where those are opened. */
static int32_t is_harmless(const dk_metadata *found, const dk_architecture *row)
{
    static const char *const others[] = {"general.", "tokenizer.", "split.", "quantize."};
    const char *suffix = suffix_of(found, row);
    if (!strncmp(found->key, "general.sampling.", 17)) return 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strncmp(found->key, others[i], strlen(others[i]))) return 1;
    if (!suffix) return 0;
    if (!strcmp(suffix, "rope.scaling.finetuned")) return 1;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!strcmp(refused[i].key, suffix)) return is_neutral(found, refused[i].neutral);
    for (size_t i = 0; i < sizeof neutral / sizeof *neutral; i++)
        if (!strcmp(neutral[i].key, suffix)) return is_neutral(found, neutral[i].neutral);
    return 0;
}

/* Two keys say how positions are scaled; the newer one is used. */
static void note_scaling(const dk_checkpoint *file, const dk_architecture *row, dk_strbuf *notes)
{
    char key[96];
    snprintf(key, sizeof key, "%s.rope.scale_linear", row->gguf);
    const dk_metadata *old = dk_metadata_find(file, key);
    snprintf(key, sizeof key, "%s.rope.scaling.factor", row->gguf);
    const dk_metadata *newer = dk_metadata_find(file, key);
    if (old && newer && old->f64 != newer->f64)
        dk_note(notes, "%s: metadata key '%s' is used, not rope.scale_linear, which says otherwise",
                dk_checkpoint_path(file), key);
}

int32_t dk_gguf_note_keys(const dk_gguf_source *in, dk_strbuf *notes, dk_error *err)
{
    dk_strbuf names;
    dk_strbuf_init(&names, in->host);
    note_scaling(in->file, in->row, notes);
    for (int64_t i = 0; i < dk_metadata_count(in->file); i++) {
        const dk_metadata *found = dk_metadata_at(in->file, i);
        if (in->asked[i] || is_harmless(found, in->row)) continue;
        dk_strbuf_printf(&names, "%s%.80s", names.size ? ", " : "", found->key);
    }
    if (names.size) dk_note(notes, "%s: metadata that is not used: %s", dk_checkpoint_path(in->file), names.data);
    int32_t rc = dk_strbuf_check(&names, err);
    dk_strbuf_free(&names);
    return rc ? rc : dk_strbuf_check(notes, err);
}
