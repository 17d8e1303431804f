#include "format/format_parts.h"

#include "base/notes.h"
#include "conf/document.h"

#include <string.h>

/* Reads the file that was just mapped as number file_count - 1. */
static int32_t read_single(dk_checkpoint *checkpoint, uint32_t flags, dk_error *err)
{
    const dk_mapping *map = &checkpoint->files[0];
    if (dk_gguf_magic(map)) {
        checkpoint->gguf = 1;
        return dk_gguf_read(checkpoint, flags & DK_OPEN_VOCABULARY, err);
    }
    if (dk_safetensors_magic(map)) return dk_safetensors_read(checkpoint, 0, checkpoint->path, err);
    int32_t rc = dk_refuse_pointer(checkpoint->path, map->data, map->size, err);
    if (rc) return rc;
    return dk_fail(err, DK_E_FORMAT, "%s: is neither a GGUF nor a safetensors file (%llu bytes, wrong beginning)",
                   checkpoint->path, (unsigned long long)map->size);
}

static int32_t open_file(dk_host *host, const char *path, uint32_t flags, dk_checkpoint **out, dk_error *err)
{
    int32_t rc;
    dk_checkpoint *made = NULL;
    DK_TRY(dk_checkpoint_new(host, path, 1, &made, err));
    DK_TRY(dk_map_open(host, path, flags & DK_OPEN_MMAP ? 1 : 0, &made->files[0], err));
    made->file_count = 1;
    DK_TRY(read_single(made, flags, err));
    DK_TRY(dk_checkpoint_sort(made, err));
    if (made->gguf) DK_TRY(dk_gguf_add_parts(made, flags, err));
    *out = made;
    made = NULL;
out:
    dk_checkpoint_close(made);
    return rc;
}

int32_t dk_checkpoint_parse(dk_host *host, const void *data, uint64_t size, const char *name, uint32_t flags,
                            dk_checkpoint **out, dk_error *err)
{
    int32_t rc;
    uint8_t *copy = NULL;
    dk_checkpoint *made = NULL;
    DK_TRY(dk_checkpoint_new(host, name, 1, &made, err));
    DK_TRY(dk_new(host, size ? size : 1, &copy, err));
    if (size) memcpy(copy, data, (size_t)size);
    made->files[0] = (dk_mapping){.data = copy, .size = size, .host = host};
    made->file_count = 1;
    DK_TRY(read_single(made, flags, err));
    DK_TRY(dk_checkpoint_sort(made, err));
    if (made->gguf) DK_TRY(dk_gguf_refuse_part(made, err));
    *out = made;
    made = NULL;
out:
    dk_checkpoint_close(made);
    return rc;
}

/* ---- shards ---- */
static int32_t shard_number(const dk_checkpoint *checkpoint, const char *name)
{
    for (int32_t i = 0; i < checkpoint->file_count; i++)
        if (checkpoint->file_names[i] && !strcmp(checkpoint->file_names[i], name)) return i;
    return -1;
}

static int32_t open_shard(dk_checkpoint *checkpoint, const char *folder, const char *name, uint32_t flags,
                          dk_error *err)
{
    int32_t rc, file = checkpoint->file_count;
    char *path = dk_path_join(checkpoint->host, folder, name);
    if (!path) DK_TRY(dk_fail_nomem(err, strlen(folder) + strlen(name) + 2));
    if (!dk_path_exists(path))
        DK_TRY(dk_fail(err, DK_E_NOT_FOUND, "%s: names the shard %s, which is not there; copy it into the folder",
                       checkpoint->path, name));
    checkpoint->file_names[file] = dk_strdup(checkpoint->host, name);
    if (!checkpoint->file_names[file]) DK_TRY(dk_fail_nomem(err, strlen(name) + 1));
    rc = dk_map_open(checkpoint->host, path, flags & DK_OPEN_MMAP ? 1 : 0, &checkpoint->files[file], err);
    checkpoint->file_count++;
    if (rc) goto out;
    rc = dk_safetensors_read(checkpoint, file, path, err);
out:
    dk_free(checkpoint->host, path);
    return rc;
}

static int32_t check_shard_name(const dk_checkpoint *checkpoint, const dk_node *entry, dk_error *err)
{
    if (entry->type != DK_NODE_TEXT || !entry->size || strlen(entry->text) != entry->size)
        return dk_fail(err, DK_E_FORMAT, "%s: weight_map has no file name for tensor '%s'", checkpoint->path,
                       entry->key);
    if (strchr(entry->text, '/') || entry->text[0] == '.')
        return dk_fail(err, DK_E_FORMAT,
                       "%s: weight_map names '%s' for tensor '%s'; only files of the same folder are allowed",
                       checkpoint->path, entry->text, entry->key);
    return DK_OK;
}

/* Every tensor of the map must be in the shard that the map names. */
static int32_t check_index(const dk_checkpoint *checkpoint, const dk_node *map, dk_error *err)
{
    for (size_t i = 0; i < map->size; i++) {
        const dk_node *entry = map->items[i];
        const dk_tensor *tensor = dk_checkpoint_find(checkpoint, entry->key);
        if (!tensor || tensor->file != shard_number(checkpoint, entry->text))
            return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s' is not in the shard %s that the index names",
                           checkpoint->path, entry->key, entry->text);
    }
    return DK_OK;
}

/* The index's own sums: shards of two saves, or of one that is not complete, differ in them. */
static void note_sums(dk_checkpoint *checkpoint, const dk_node *root, const dk_node *map)
{
    uint64_t bytes = 0;
    const dk_node *said = dk_node_get(dk_node_get(root, "metadata"), "total_size");
    for (int64_t i = 0; i < checkpoint->tensor_count; i++) bytes += checkpoint->tensors[i].bytes;
    if (said && said->type != DK_NODE_NULL && said->f64 != (double)bytes)
        dk_note(&checkpoint->notes, "%s: metadata.total_size is not the %llu bytes that the tensors of its shards have",
                checkpoint->path, (unsigned long long)bytes);
    if ((int64_t)map->size != checkpoint->tensor_count)
        dk_note(&checkpoint->notes, "%s: weight_map names %lld tensors, its shards hold %lld; all are read",
                checkpoint->path, (long long)map->size, (long long)checkpoint->tensor_count);
}

static int32_t open_sharded(dk_host *host, const char *folder, const char *index, uint32_t flags, dk_checkpoint **out,
                            dk_error *err)
{
    int32_t rc;
    dk_document *document = NULL;
    dk_checkpoint *made = NULL;
    DK_TRY(dk_json_open(host, index, &document, err));
    const dk_node *map = dk_node_get(dk_document_root(document), "weight_map");
    if (!map || map->type != DK_NODE_MAP || !map->size || map->size > 1u << 20)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: has no weight_map with tensors", index));
    DK_TRY(dk_checkpoint_new(host, index, (int32_t)map->size, &made, err));
    for (size_t i = 0; i < map->size; i++) {
        DK_TRY(check_shard_name(made, map->items[i], err));
        if (shard_number(made, map->items[i]->text) < 0)
            DK_TRY(open_shard(made, folder, map->items[i]->text, flags, err));
    }
    DK_TRY(dk_checkpoint_sort(made, err));
    DK_TRY(check_index(made, map, err));
    note_sums(made, dk_document_root(document), map);
    *out = made;
    made = NULL;
out:
    dk_checkpoint_close(made);
    dk_document_free(document);
    return rc;
}

/* ---- folders ---- */
static int32_t has_file(dk_host *host, const char *folder, const char *name, int32_t *found, dk_error *err)
{
    char *path = dk_path_join(host, folder, name);
    if (!path) return dk_fail_nomem(err, strlen(folder) + strlen(name) + 2);
    *found = dk_path_exists(path) == 1;
    dk_free(host, path);
    return DK_OK;
}

static int32_t fail_no_weights(dk_host *host, const char *folder, dk_error *err)
{
    static const char *const others[] = {"pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5",
                                         "flax_model.msgpack"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        int32_t found = 0, rc = has_file(host, folder, others[i], &found, err);
        if (rc) return rc;
        if (found)
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: has %s, but no model.safetensors; save it again with safe_serialization=True", folder,
                           others[i]);
    }
    return dk_fail(err, DK_E_NOT_FOUND,
                   "%s: has no weights: neither model.safetensors nor model.safetensors.index.json", folder);
}

/* A small file of weights to be added to the others would be left out in silence. */
static int32_t refuse_adapter(dk_host *host, const char *folder, dk_error *err)
{
    int32_t found = 0, rc = has_file(host, folder, "adapter_config.json", &found, err);
    if (rc || !found) return rc;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: has adapter_config.json; merge the adapter into the model (merge_and_unload), or move it away",
                   folder);
}

typedef struct beside {
    dk_checkpoint *checkpoint;
    const char *used; /* the file that was opened */
} beside;

/* Weights in the folder that nobody opened. */
static int32_t note_stray(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    beside *in = user;
    size_t size = strlen(name);
    (void)err;
    if (is_dir || strncmp(name, "model", 5) != 0) return DK_OK;
    int32_t weights = size > 12 && !strcmp(name + size - 12, ".safetensors");
    if (!weights && strcmp(name, "model.safetensors.index.json") != 0) return DK_OK;
    if (!strcmp(name, in->used) || shard_number(in->checkpoint, name) >= 0) return DK_OK;
    dk_note(&in->checkpoint->notes, "%s is used; %.80s beside it is not", in->checkpoint->path, name);
    return DK_OK;
}

static int32_t note_strays(dk_checkpoint *checkpoint, const char *folder, dk_error *err)
{
    beside in = {checkpoint, dk_path_name(checkpoint->path)};
    int32_t rc = dk_dir_list(checkpoint->host, folder, note_stray, &in, err);
    return rc ? rc : dk_strbuf_check(&checkpoint->notes, err);
}

static int32_t open_folder(dk_host *host, const char *folder, uint32_t flags, dk_checkpoint **out, dk_error *err)
{
    int32_t rc;
    dk_checkpoint *made = NULL;
    char *single = dk_path_join(host, folder, "model.safetensors");
    char *index = dk_path_join(host, folder, "model.safetensors.index.json");
    if (!single || !index) DK_TRY(dk_fail_nomem(err, strlen(folder) + 32));
    DK_TRY(refuse_adapter(host, folder, err));
    if (dk_path_exists(single) == 1) DK_TRY(open_file(host, single, flags, &made, err));
    else if (dk_path_exists(index) == 1) DK_TRY(open_sharded(host, folder, index, flags, &made, err));
    else DK_TRY(fail_no_weights(host, folder, err));
    DK_TRY(note_strays(made, folder, err));
    *out = made;
    made = NULL;
out:
    dk_checkpoint_close(made);
    dk_free(host, single);
    dk_free(host, index);
    return rc;
}

int32_t dk_checkpoint_open(dk_host *host, const char *path, uint32_t flags, dk_checkpoint **out, dk_error *err)
{
    if (dk_path_exists(path) == 2) return open_folder(host, path, flags, out, err);
    return open_file(host, path, flags, out, err);
}

/* ---- what is at a path ---- */
const char *dk_path_kind_text(dk_path_type kind)
{
    switch (kind) {
    case DK_PATH_MISSING:
        return "nothing";
    case DK_PATH_MODEL:
        return "a folder with a model";
    case DK_PATH_TOKENIZER:
        return "a folder with a tokenizer, but no model";
    case DK_PATH_GGUF:
        return "a GGUF model";
    case DK_PATH_GGUF_VOCABULARY:
        return "a GGUF file with a vocabulary only";
    case DK_PATH_SAFETENSORS:
        return "a safetensors file";
    case DK_PATH_UNKNOWN:
        break;
    }
    return "neither a model nor a tokenizer";
}

/* Tensors are counted behind magic and version. */
static int32_t gguf_has_tensors(const dk_mapping *map)
{
    for (uint64_t i = 8; i < 16 && i < map->size; i++)
        if (map->data[i]) return 1;
    return 0;
}

static int32_t kind_of_folder(dk_host *host, const char *path, dk_path_type *kind, dk_error *err)
{
    int32_t rc, config = 0, tokenizer = 0;
    DK_TRY(has_file(host, path, "config.json", &config, err));
    DK_TRY(has_file(host, path, "tokenizer.json", &tokenizer, err));
    if (!tokenizer) DK_TRY(has_file(host, path, "tokenizer.model", &tokenizer, err));
    *kind = config ? DK_PATH_MODEL : tokenizer ? DK_PATH_TOKENIZER : DK_PATH_UNKNOWN;
out:
    return rc;
}

static int32_t kind_of_file(dk_host *host, const char *path, dk_path_type *kind, dk_error *err)
{
    dk_mapping map = {0};
    int32_t rc = dk_map_open(host, path, 1, &map, err);
    if (rc) return rc;
    if (dk_gguf_magic(&map))
        *kind = gguf_has_tensors(&map) || dk_gguf_is_part(path) ? DK_PATH_GGUF : DK_PATH_GGUF_VOCABULARY;
    else *kind = dk_safetensors_magic(&map) ? DK_PATH_SAFETENSORS : DK_PATH_UNKNOWN;
    if (*kind == DK_PATH_UNKNOWN) rc = dk_refuse_pointer(path, map.data, map.size, err);
    dk_map_close(&map);
    return rc;
}

int32_t dk_path_kind(dk_host *host, const char *path, dk_path_type *kind, dk_error *err)
{
    int32_t found = 0, rc = dk_path_look(path, &found, err);
    if (rc) return rc;
    if (found == 2) return kind_of_folder(host, path, kind, err);
    if (found == 1) return kind_of_file(host, path, kind, err);
    *kind = DK_PATH_MISSING;
    return DK_OK;
}
