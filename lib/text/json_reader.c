/* What every part of a tokenizer.json says when it cannot be read. */
#include "text/json_reader.h"

int32_t dk_unsupported(dk_json_reader *r, const char *what, const char *value, const char *supported)
{
    return dk_fail(r->err, DK_E_UNSUPPORTED, "%s: %s '%.60s' is not supported; supported: %s", dk_document_name(r->doc),
                   what, value, supported);
}

int32_t dk_malformed(dk_json_reader *r, const char *what, const char *expected)
{
    return dk_fail(r->err, DK_E_FORMAT, "%s: %s must be %s", dk_document_name(r->doc), what, expected);
}

int32_t dk_read_type(dk_json_reader *r, const dk_node *node, const char *what, const char **type)
{
    const dk_node *name = dk_node_get(node, "type");
    if (node->type != DK_NODE_MAP || !name || name->type != DK_NODE_TEXT)
        return dk_malformed(r, what, "an object with a type");
    *type = name->text;
    return DK_OK;
}
