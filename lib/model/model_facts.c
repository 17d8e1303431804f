/* Where a folder's tensors and its config.json speak of the same fact. */
#include "model/architecture.h"

#include "base/notes.h"
#include "compute/half.h"

#include <string.h>

/* ---- the head ---- */
static int32_t is_plain(const dk_tensor *tensor)
{
    return tensor->dtype == DK_F32 || tensor->dtype == DK_F16 || tensor->dtype == DK_BF16;
}

static float value_at(const dk_tensor *tensor, uint64_t i)
{
    const uint8_t *data = tensor->data;
    uint16_t half;
    float single;
    if (tensor->dtype == DK_F32) {
        memcpy(&single, data + 4 * i, sizeof single);
        return single;
    }
    memcpy(&half, data + 2 * i, sizeof half);
    return tensor->dtype == DK_F16 ? dk_widen_f16(half) : dk_widen_bf16(half);
}

static int32_t same_values(const dk_tensor *a, const dk_tensor *b)
{
    if (a->rank != 2 || b->rank != 2 || memcmp(a->shape, b->shape, sizeof a->shape) != 0) return 0;
    if (a->dtype == b->dtype) return a->bytes == b->bytes && !memcmp(a->data, b->data, (size_t)a->bytes);
    if (!is_plain(a) || !is_plain(b)) return 0;
    for (uint64_t i = 0, count = a->bytes / dk_dtype_size(a->dtype); i < count; i++)
        if (value_at(a, i) != value_at(b, i)) return 0;
    return 1;
}

static const dk_tensor *find_embedding(const dk_checkpoint *file, const dk_architecture *row)
{
    const char *name = row->slots->at[0].name;
    const dk_tensor *found = dk_checkpoint_find(file, name);
    return found ? found : dk_checkpoint_find(file, name + strlen(row->prefix));
}

/* A tied head that the file holds with other values is a head of its own, in the saved config.json too. */
static int32_t untie(dk_host *host, dk_config *config, dk_error *err)
{
    int32_t rc;
    dk_document *doc = NULL;
    char *text = NULL;
    const dk_config_change change = {"tie_word_embeddings", "false", 1};
    DK_TRY(dk_json_parse(host, config->json, strlen(config->json), "config.json", &doc, err));
    DK_TRY(dk_config_rewrite(host, dk_document_root(doc), &change, 1, &text, err));
    dk_free(host, config->json);
    config->json = text;
    config->tied = 0;
out:
    dk_document_free(doc);
    return rc;
}

static int32_t check_head(dk_host *host, const dk_checkpoint *file, const dk_architecture *row, dk_config *config,
                          dk_error *err)
{
    const dk_tensor *head = dk_checkpoint_find(file, dk_head_name(row)), *embedding = find_embedding(file, row);
    if (!config->tied || !head || !embedding || same_values(head, embedding)) return DK_OK;
    dk_note(
        &config->notes,
        "%s: '%s' differs from the embedding, though config.json says tie_word_embeddings; the head is used as it is, "
        "not tied",
        dk_checkpoint_path(file), dk_head_name(row));
    return untie(host, config, err);
}

/* ---- the type ---- */
/* Only a narrower type than the file's would change a value. */
static void check_dtype(const dk_checkpoint *file, const dk_architecture *row, dk_config *config, dk_document *doc)
{
    const dk_tensor *tensor = find_embedding(file, row);
    const dk_node *said = dk_node_get(dk_document_root(doc), "dtype");
    if (!said || said->type != DK_NODE_TEXT) said = dk_node_get(dk_document_root(doc), "torch_dtype");
    if (!tensor || !said || said->type != DK_NODE_TEXT || !is_plain(tensor)) return;
    const char *stored = tensor->dtype == DK_F32 ? "float32" : tensor->dtype == DK_F16 ? "float16" : "bfloat16";
    if (dk_node_is_text(said, "float32") || dk_node_is_text(said, stored)) return;
    dk_note(&config->notes, "%s: the tensors are %s, though config.json says %.20s; they are used as they are stored",
            dk_checkpoint_path(file), tensor->type_name, said->text);
}

int32_t dk_config_meet_tensors(dk_host *host, const dk_checkpoint *file, dk_config *config, dk_error *err)
{
    int32_t rc;
    dk_document *doc = NULL;
    const dk_architecture *row = dk_architecture_find(config->architecture);
    DK_TRY(dk_json_parse(host, config->json, strlen(config->json), "config.json", &doc, err));
    check_dtype(file, row, config, doc);
    DK_TRY(check_head(host, file, row, config, err));
out:
    dk_document_free(doc);
    return rc;
}
