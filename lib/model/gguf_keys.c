/* Which keys of a GGUF file's architecture are read, and which are refused. What is left is named. */
#include "model/architecture.h"

#include "base/notes.h"

#include <stdio.h>
#include <string.h>

static const char *const used[] = {"vocab_size",
                                   "context_length",
                                   "embedding_length",
                                   "block_count",
                                   "feed_forward_length",
                                   "attention.head_count",
                                   "attention.head_count_kv",
                                   "attention.key_length",
                                   "attention.value_length",
                                   "attention.layer_norm_epsilon",
                                   "attention.layer_norm_rms_epsilon",
                                   "attention.sliding_window",
                                   "rope.dimension_count",
                                   "rope.freq_base",
                                   "rope.scale_linear",
                                   "rope.scaling.type",
                                   "rope.scaling.factor",
                                   "rope.scaling.original_context_length",
                                   "rope.scaling.finetuned",
                                   "rope.scaling.attn_factor",
                                   "rope.scaling.yarn_beta_fast",
                                   "rope.scaling.yarn_beta_slow"};

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
               {"rope.dimension_sections", 0, 0}};

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

int32_t dk_gguf_check_keys(const dk_checkpoint *file, const dk_architecture *row, dk_error *err)
{
    char key[96];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(key, sizeof key, "%s.%s", row->gguf, refused[i].key);
        const dk_metadata *found = dk_metadata_find(file, key);
        if (found && !(refused[i].used_by & row->has) && !is_neutral(found, refused[i].neutral))
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: metadata key '%s' changes the arithmetic in a way that is not supported",
                           dk_checkpoint_path(file), key);
    }
    return DK_OK;
}

static int32_t is_known(const char *suffix)
{
    for (size_t i = 0; i < sizeof used / sizeof *used; i++)
        if (!strcmp(used[i], suffix)) return 1;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!strcmp(refused[i].key, suffix)) return 1;
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

void dk_gguf_note_keys(const dk_checkpoint *file, const dk_architecture *row, dk_strbuf *notes)
{
    char names[512] = "";
    size_t size = 0;
    note_scaling(file, row, notes);
    for (int64_t i = 0; i < dk_metadata_count(file); i++) {
        const dk_metadata *found = dk_metadata_at(file, i);
        const char *suffix = suffix_of(found, row);
        if (!suffix || is_known(suffix)) continue;
        int length = snprintf(names + size, sizeof names - size, "%s%.80s", size ? ", " : "", found->key);
        if ((size_t)length >= sizeof names - size) break;
        size += (size_t)length;
    }
    if (size) dk_note(notes, "%s: metadata that is not used: %s", dk_checkpoint_path(file), names);
}
