/* Reader of one safetensors file: u64 length of the header, header as JSON, data. */
#include "format/format_parts.h"

#include "conf/document.h"

#include <string.h>

#define HEADER_LIMIT 100000000u /* as the reference implementation */

typedef struct safetensors_type {
    const char *name;
    dk_dtype dtype;
} safetensors_type;

static const safetensors_type types[] = {
    {"F32", DK_F32},         {"F16", DK_F16}, {"BF16", DK_BF16}, {"F64", DK_F64},         {"I64", DK_I64},
    {"U64", DK_U64},         {"I32", DK_I32}, {"U32", DK_U32},   {"I16", DK_I16},         {"U16", DK_U16},
    {"I8", DK_I8},           {"U8", DK_U8},   {"BOOL", DK_BOOL}, {"F8_E4M3", DK_F8_E4M3}, {"F8_E5M2", DK_F8_E5M2},
    {"F8_E8M0", DK_F8_E8M0}, {"C64", DK_C64},
};

static uint64_t header_size(const dk_mapping *map)
{
    uint64_t size = 0;
    for (int i = 7; i >= 0; i--) size = size << 8 | map->data[i];
    return size;
}

int32_t dk_safetensors_magic(const dk_mapping *map)
{
    return map->size >= 9 && map->data[8] == '{' && header_size(map) <= HEADER_LIMIT;
}

static const safetensors_type *type_find(const dk_node *node)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (dk_node_is_text(node, types[i].name)) return &types[i];
    return NULL;
}

const char *dk_safetensors_type(dk_dtype dtype)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].dtype == dtype) return types[i].name;
    return NULL;
}

static int32_t read_shape(const char *file, const dk_node *list, dk_tensor *tensor, dk_error *err)
{
    if (!list || list->type != DK_NODE_LIST || list->size > 4)
        return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s' has no shape of at most 4 dimensions", file, tensor->name);
    tensor->rank = (int32_t)list->size;
    for (size_t i = 0; i < list->size; i++) {
        if (list->items[i]->type != DK_NODE_INT || list->items[i]->i64 < 0)
            return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s': dimension %d of its shape is not a number of entries",
                           file, tensor->name, (int)i);
        tensor->shape[i] = list->items[i]->i64;
    }
    return DK_OK;
}

/* Offsets count from the end of the header. */
static int32_t read_offsets(const char *file, const dk_node *list, uint64_t room, dk_tensor *tensor, uint64_t *begin,
                            dk_error *err)
{
    const dk_node *from = dk_node_at(list, 0), *to = dk_node_at(list, 1);
    if (!list || list->type != DK_NODE_LIST || list->size != 2 || from->type != DK_NODE_INT || to->type != DK_NODE_INT)
        return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s' has no pair of data_offsets", file, tensor->name);
    if (from->i64 < 0 || to->i64 < from->i64 || (uint64_t)to->i64 > room)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: tensor '%s' lies at bytes %lld to %lld of %llu; the file is cut or damaged", file,
                       tensor->name, (long long)from->i64, (long long)to->i64, (unsigned long long)room);
    *begin = (uint64_t)from->i64;
    tensor->bytes = (uint64_t)(to->i64 - from->i64);
    return DK_OK;
}

static int32_t read_tensor(dk_checkpoint *checkpoint, int32_t file, const char *name, const dk_node *entry,
                           uint64_t start, dk_error *err)
{
    int32_t rc;
    char shape[DK_SHAPE_TEXT];
    uint64_t begin = 0, bytes = 0;
    const dk_mapping *map = &checkpoint->files[file];
    dk_tensor tensor = {.name = entry->key, .file = file};
    const dk_node *dtype = dk_node_get(entry, "dtype");
    const safetensors_type *type = type_find(dtype);
    if (entry->type != DK_NODE_MAP || !entry->key_size || strlen(entry->key) != entry->key_size)
        return dk_fail(err, DK_E_FORMAT, "%s: the header's entry '%s' does not describe a tensor", name, entry->key);
    if (!type)
        return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s' has the unknown dtype '%s'", name, tensor.name,
                       dtype && dtype->type == DK_NODE_TEXT ? dtype->text : "");
    tensor.dtype = type->dtype;
    tensor.type_name = type->name;
    DK_TRY(read_shape(name, dk_node_get(entry, "shape"), &tensor, err));
    DK_TRY(read_offsets(name, dk_node_get(entry, "data_offsets"), map->size - start, &tensor, &begin, err));
    DK_TRY(dk_tensor_bytes(name, &tensor, &bytes, err));
    if (bytes != tensor.bytes)
        return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s' of shape %s and type %s needs %llu bytes, but has %llu", name,
                       tensor.name, dk_shape_text(tensor.rank, tensor.shape, shape), type->name,
                       (unsigned long long)bytes, (unsigned long long)tensor.bytes);
    tensor.data = map->data + start + begin;
    DK_TRY(dk_checkpoint_add_tensor(checkpoint, entry->key, entry->key_size, &tensor, err));
out:
    return rc;
}

/* The header of each shard has its own __metadata__; nobody reads it, so only its form is checked. */
static int32_t check_metadata(const char *name, const dk_node *entry, dk_error *err)
{
    for (size_t i = 0; entry->type == DK_NODE_MAP && i < entry->size; i++)
        if (entry->items[i]->type != DK_NODE_TEXT)
            return dk_fail(err, DK_E_FORMAT, "%s: __metadata__ '%s' is not text", name, entry->items[i]->key);
    return entry->type == DK_NODE_MAP ? DK_OK : dk_fail(err, DK_E_FORMAT, "%s: __metadata__ is not an object", name);
}

int32_t dk_safetensors_read(dk_checkpoint *checkpoint, int32_t file, const char *name, dk_error *err)
{
    int32_t rc;
    const dk_mapping *map = &checkpoint->files[file];
    dk_document *header = NULL;
    int64_t first = checkpoint->tensor_count;
    uint64_t size = map->size >= 8 ? header_size(map) : 0;
    DK_TRY(dk_refuse_pointer(name, map->data, map->size, err));
    if (map->size < 10)
        return dk_fail(err, DK_E_FORMAT, "%s: has %llu bytes, too few for a safetensors file", name,
                       (unsigned long long)map->size);
    if (size > HEADER_LIMIT || size > map->size - 8)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: says that its header has %llu bytes, but %llu are there; the file is cut or damaged", name,
                       (unsigned long long)size, (unsigned long long)(map->size - 8));
    DK_TRY(dk_json_parse(checkpoint->host, (const char *)map->data + 8, (size_t)size, name, &header, err));
    const dk_node *root = dk_document_root(header);
    if (root->type != DK_NODE_MAP) DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: the header is not an object", name));
    for (size_t i = 0; i < root->size; i++)
        if (!strcmp(root->items[i]->key, "__metadata__")) DK_TRY(check_metadata(name, root->items[i], err));
        else DK_TRY(read_tensor(checkpoint, file, name, root->items[i], 8 + size, err));
    DK_TRY(dk_checkpoint_check_layout(checkpoint, name, first, map->data + 8 + size, map->data + map->size, 0, err));
out:
    dk_document_free(header);
    return rc;
}
