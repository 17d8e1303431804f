#include "augment/curate/sample_texts.h"

static int32_t each_of(const dk_node *node, di_text_fn fn, void *user, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!node) return DK_OK;
    if (node->type == DK_NODE_TEXT) return fn(user, node->text, node->size, err);
    if (node->type == DK_NODE_MAP) { /* a message, or a part of one */
        DK_TRY(each_of(dk_node_get(node, "content"), fn, user, err));
        DK_TRY(each_of(dk_node_get(node, "text"), fn, user, err));
    } else if (node->type == DK_NODE_LIST)
        for (size_t i = 0; i < node->size; i++) DK_TRY(each_of(node->items[i], fn, user, err));
out:
    return rc;
}

int32_t di_each_text(const dk_node *sample, di_text_fn fn, void *user, dk_error *err)
{
    static const char *const fields[] = {"text", "prompt", "completion", "messages", "chosen", "rejected"};
    int32_t rc = DK_OK;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        DK_TRY(each_of(dk_node_get(sample, fields[i]), fn, user, err));
out:
    return rc;
}
