/* Reader of GGUF v2 and v3: magic, version, counts; metadata; descriptions of tensors; aligned data. */
#include "format/format_parts.h"

#include <string.h>

enum { DEPTH_LIMIT = 8, ALIGNMENT_DEFAULT = 32, ALIGNMENT_LEAST = 8, ALIGNMENT_LIMIT = 1 << 20 };
static const uint8_t value_sizes[DK_GGUF_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct cursor {
    dk_checkpoint *checkpoint;
    const uint8_t *data;
    uint64_t size, at;
} cursor;

int32_t dk_gguf_magic(const dk_mapping *map) { return map->size >= 4 && !memcmp(map->data, "GGUF", 4); }

/* ---- parts of a file ---- */
static int32_t need(const cursor *in, uint64_t bytes, const char *what, dk_error *err)
{
    if (bytes <= in->size - in->at) return DK_OK;
    return dk_fail_at(err, DK_E_FORMAT, (int64_t)in->at, "%s: ends at byte %llu inside %s; the file is cut or damaged",
                      in->checkpoint->path, (unsigned long long)in->size, what);
}

static uint64_t load(const uint8_t *data, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | data[i];
    return value;
}

static int32_t take(cursor *in, size_t size, const char *what, uint64_t *out, dk_error *err)
{
    int32_t rc = need(in, size, what, err);
    if (rc) return rc;
    *out = load(in->data + in->at, size);
    in->at += size;
    return DK_OK;
}

static int32_t take_text(cursor *in, const char *what, dk_slice *out, dk_error *err)
{
    uint64_t size = 0;
    int32_t rc;
    DK_TRY(take(in, 8, what, &size, err));
    DK_TRY(need(in, size, what, err));
    *out = (dk_slice){(const char *)in->data + in->at, (size_t)size};
    in->at += size;
out:
    return rc;
}

static int32_t take_name(cursor *in, const char *what, dk_slice *out, dk_error *err)
{
    uint64_t before = in->at;
    int32_t rc = take_text(in, what, out, err);
    if (rc) return rc;
    if (out->size && out->size <= 512 && !memchr(out->data, 0, out->size)) return DK_OK;
    return dk_fail_at(err, DK_E_FORMAT, (int64_t)before, "%s: %s at byte %llu is empty, too long or holds a NUL",
                      in->checkpoint->path, what, (unsigned long long)before);
}

/* ---- metadata ---- */
static int64_t sign_extend(uint64_t bits, size_t size)
{
    uint64_t sign = 1ull << (8 * size - 1);
    return (int64_t)((bits ^ sign) - sign);
}

static double float_of(uint64_t bits, int32_t code)
{
    uint32_t half = (uint32_t)bits;
    float single;
    double wide;
    memcpy(&single, &half, sizeof single);
    memcpy(&wide, &bits, sizeof wide);
    return code == DK_GGUF_F32 ? (double)single : wide;
}

static dk_metadata_type type_of(int32_t code)
{
    switch (code) {
    case DK_GGUF_F32:
    case DK_GGUF_F64:
        return DK_META_FLOAT;
    case DK_GGUF_BOOL:
        return DK_META_BOOL;
    case DK_GGUF_TEXT:
        return DK_META_TEXT;
    case DK_GGUF_LIST:
        return DK_META_LIST;
    default:
        return DK_META_INT;
    }
}

static int64_t int_of(uint64_t bits, int32_t code)
{
    switch (code) {
    case DK_GGUF_I8:
    case DK_GGUF_I16:
    case DK_GGUF_I32:
        return sign_extend(bits, value_sizes[code]);
    case DK_GGUF_U64:
        return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    default:
        return (int64_t)bits;
    }
}

int64_t dk_metadata_item_i64(const dk_metadata *list, int64_t index)
{
    size_t size = value_sizes[list->item_code];
    uint64_t bits = load(list->items + (size_t)index * size, size);
    return int_of(bits, list->item_code);
}

double dk_metadata_item_f64(const dk_metadata *list, int64_t index)
{
    size_t size = value_sizes[list->item_code];
    uint64_t bits = load(list->items + (size_t)index * size, size);
    return list->item_type == DK_META_FLOAT ? float_of(bits, list->item_code) : (double)int_of(bits, list->item_code);
}

static int32_t fail_code(const cursor *in, uint64_t code, dk_error *err)
{
    return dk_fail_at(err, DK_E_FORMAT, (int64_t)in->at,
                      "%s: metadata before byte %llu has the unknown value type %llu", in->checkpoint->path,
                      (unsigned long long)in->at, (unsigned long long)code);
}

static int32_t take_texts(cursor *in, int64_t count, dk_slice **out, dk_error *err)
{
    int32_t rc;
    dk_slice *texts = NULL;
    DK_TRY(dk_new(in->checkpoint->host, count ? count : 1, &texts, err));
    for (int64_t i = 0; i < count; i++) DK_TRY(take_text(in, "a list of texts", &texts[i], err));
    *out = texts;
    texts = NULL;
out:
    dk_free(in->checkpoint->host, texts);
    return rc;
}

static int32_t take_list(cursor *in, int32_t depth, dk_metadata *out, dk_error *err);

/* Lists in lists are checked and passed over: no key that anybody reads has them. */
static int32_t take_nested(cursor *in, int64_t count, int32_t depth, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count && !rc; i++) {
        dk_metadata inner = {0};
        rc = take_list(in, depth + 1, &inner, err);
        dk_free(in->checkpoint->host, (void *)(uintptr_t)inner.texts);
    }
    return rc;
}

static int32_t take_list(cursor *in, int32_t depth, dk_metadata *out, dk_error *err)
{
    int32_t rc;
    uint64_t code = 0, count = 0;
    DK_TRY(take(in, 4, "a list", &code, err));
    DK_TRY(take(in, 8, "a list", &count, err));
    if (code >= DK_GGUF_COUNT) return fail_code(in, code, err);
    uint64_t least = code == DK_GGUF_TEXT ? 8 : code == DK_GGUF_LIST ? 12 : value_sizes[code];
    if (count > (in->size - in->at) / least || depth > DEPTH_LIMIT)
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)in->at,
                          "%s: list at byte %llu says it has %llu items (depth %d); the file is damaged",
                          in->checkpoint->path, (unsigned long long)in->at, (unsigned long long)count, (int)depth);
    out->type = DK_META_LIST;
    out->count = (int64_t)count;
    out->item_code = (int32_t)code;
    out->item_type = type_of((int32_t)code);
    if (code == DK_GGUF_TEXT) {
        dk_slice *texts = NULL;
        DK_TRY(take_texts(in, out->count, &texts, err));
        out->texts = texts;
    } else if (code == DK_GGUF_LIST) {
        DK_TRY(take_nested(in, out->count, depth, err));
    } else {
        out->items = in->data + in->at;
        in->at += count * least;
    }
out:
    return rc;
}

static int32_t take_value(cursor *in, uint64_t code, dk_metadata *out, dk_error *err)
{
    uint64_t bits = 0;
    if (code >= DK_GGUF_COUNT) return fail_code(in, code, err);
    out->type = type_of((int32_t)code);
    if (code == DK_GGUF_TEXT) return take_text(in, "a text", &out->text, err);
    if (code == DK_GGUF_LIST) return take_list(in, 0, out, err);
    int32_t rc = take(in, value_sizes[code], "a value", &bits, err);
    if (rc) return rc;
    if (code == DK_GGUF_BOOL && bits > 1)
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)in->at, "%s: boolean before byte %llu is %llu",
                          in->checkpoint->path, (unsigned long long)in->at, (unsigned long long)bits);
    if (out->type == DK_META_FLOAT) {
        out->f64 = float_of(bits, (int32_t)code);
    } else {
        out->i64 = int_of(bits, (int32_t)code);
        out->f64 = (double)out->i64;
    }
    return DK_OK;
}

static int32_t take_metadata(cursor *in, uint64_t count, dk_error *err)
{
    int32_t rc = DK_OK;
    for (uint64_t i = 0; i < count; i++) {
        dk_slice key;
        uint64_t code = 0;
        dk_metadata value = {0};
        DK_TRY(take_name(in, "a metadata key", &key, err));
        DK_TRY(take(in, 4, "a metadata value", &code, err));
        DK_TRY(take_value(in, code, &value, err));
        rc = dk_checkpoint_add_metadata(in->checkpoint, key.data, key.size, &value, err);
        if (rc) {
            dk_free(in->checkpoint->host, (void *)(uintptr_t)value.texts);
            goto out;
        }
    }
out:
    return rc;
}

/* ---- tensors: rank, then dimensions innermost first, type, offset from the start of the data ---- */
static int32_t take_shape(cursor *in, dk_tensor *tensor, dk_error *err)
{
    int32_t rc;
    uint64_t rank = 0, size = 0;
    DK_TRY(take(in, 4, "a tensor's description", &rank, err));
    if (rank < 1 || rank > 4)
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)in->at, "%s: tensor '%s' has %llu dimensions; 1 to 4 are allowed",
                          in->checkpoint->path, tensor->name, (unsigned long long)rank);
    tensor->rank = (int32_t)rank;
    for (int32_t i = tensor->rank - 1; i >= 0; i--) {
        DK_TRY(take(in, 8, "a tensor's description", &size, err));
        tensor->shape[i] = size > INT64_MAX ? -1 : (int64_t)size;
    }
out:
    return rc;
}

static int32_t take_tensor(cursor *in, dk_error *err)
{
    int32_t rc;
    dk_slice text;
    uint64_t code = 0, offset = 0;
    char name[513];
    dk_tensor tensor = {.name = name};
    DK_TRY(take_name(in, "a tensor's name", &text, err));
    memcpy(name, text.data, text.size);
    name[text.size] = 0;
    DK_TRY(take_shape(in, &tensor, err));
    DK_TRY(take(in, 4, "a tensor's description", &code, err));
    DK_TRY(take(in, 8, "a tensor's description", &offset, err));
    const dk_gguf_type *type = dk_gguf_type_find((uint32_t)code);
    if (!type)
        DK_TRY(dk_fail_at(err, DK_E_UNSUPPORTED, (int64_t)in->at, "%s: tensor '%s' has the unknown type %llu; %s",
                          in->checkpoint->path, name, (unsigned long long)code, dk_gguf_way_out()));
    tensor.dtype = type->dtype;
    tensor.type_name = type->name;
    DK_TRY(dk_tensor_bytes(in->checkpoint->path, &tensor, &tensor.bytes, err));
    tensor.data =
        in->data + (offset <= in->size ? offset : in->size); /* the start of the data is added when it is known */
    if (offset > in->size || tensor.bytes > in->size - offset)
        DK_TRY(dk_fail_at(err, DK_E_FORMAT, (int64_t)in->at,
                          "%s: tensor '%s' would end behind the file; the file is cut or damaged", in->checkpoint->path,
                          name));
    DK_TRY(dk_checkpoint_add_tensor(in->checkpoint, name, text.size, &tensor, err));
out:
    return rc;
}

/* Offsets are right once the end of the descriptions, rounded up, is known as the start of the data. */
static int32_t place_tensors(const cursor *in, uint64_t alignment, dk_error *err)
{
    uint64_t start = in->at % alignment ? in->at + alignment - in->at % alignment : in->at;
    for (int64_t i = 0; i < in->checkpoint->tensor_count; i++) {
        dk_tensor *tensor = &in->checkpoint->tensors[i];
        uint64_t offset = (uint64_t)((const uint8_t *)tensor->data - in->data);
        if (offset % alignment)
            return dk_fail(
                err, DK_E_FORMAT, "%s: tensor '%s' has the offset %llu, which is not a multiple of the alignment %llu",
                in->checkpoint->path, tensor->name, (unsigned long long)offset, (unsigned long long)alignment);
        if (start > in->size || offset > in->size - start || tensor->bytes > in->size - start - offset)
            return dk_fail(err, DK_E_FORMAT,
                           "%s: tensor '%s' ends at byte %llu, behind the file's %llu; the file is cut or damaged",
                           in->checkpoint->path, tensor->name, (unsigned long long)(start + offset + tensor->bytes),
                           (unsigned long long)in->size);
        tensor->data = in->data + start + offset;
    }
    if (!in->checkpoint->tensor_count) return DK_OK;
    return dk_checkpoint_check_layout(in->checkpoint, in->checkpoint->path, 0, in->data + start, in->data + in->size, 1,
                                      err);
}

/* ---- the whole file ---- */
static int32_t check_version(const cursor *in, uint64_t version, dk_error *err)
{
    if (version == 2 || version == 3) return DK_OK;
    if (version == 0x02000000 || version == 0x03000000)
        return dk_fail(err, DK_E_UNSUPPORTED, "%s: is a big-endian GGUF file; convert it to little-endian",
                       in->checkpoint->path);
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: has GGUF version %llu; versions 2 and 3 are supported",
                   in->checkpoint->path, (unsigned long long)version);
}

static int32_t check_counts(const cursor *in, uint64_t tensors, uint64_t metadata, dk_error *err)
{
    uint64_t room = in->size - in->at;
    if (tensors <= room / 24 && metadata <= room / 13) return DK_OK; /* the least that one of each takes */
    return dk_fail_at(err, DK_E_FORMAT, (int64_t)in->at,
                      "%s: says it has %llu tensors and %llu metadata keys in %llu bytes; the file is damaged",
                      in->checkpoint->path, (unsigned long long)tensors, (unsigned long long)metadata,
                      (unsigned long long)room);
}

static int32_t find_alignment(const dk_checkpoint *checkpoint, uint64_t *out, dk_error *err)
{
    int64_t value = ALIGNMENT_DEFAULT;
    const dk_metadata *found = NULL;
    for (int64_t i = 0; i < checkpoint->metadata_count && !found; i++)
        if (!strcmp(checkpoint->metadata[i].key, "general.alignment")) found = &checkpoint->metadata[i];
    if (found && found->type != DK_META_INT)
        return dk_fail(err, DK_E_FORMAT, "%s: general.alignment is not a whole number", checkpoint->path);
    if (found) value = found->i64;
    if (value < ALIGNMENT_LEAST || value > ALIGNMENT_LIMIT || value & (value - 1))
        return dk_fail(err, DK_E_FORMAT, "%s: general.alignment is %lld; a power of two from %d to %d is expected",
                       checkpoint->path, (long long)value, (int)ALIGNMENT_LEAST, (int)ALIGNMENT_LIMIT);
    *out = (uint64_t)value;
    return DK_OK;
}

int32_t dk_gguf_read(dk_checkpoint *checkpoint, int32_t vocabulary_only, dk_error *err)
{
    int32_t rc;
    uint64_t version = 0, tensors = 0, metadata = 0, alignment = 0;
    cursor in = {checkpoint, checkpoint->files[0].data, checkpoint->files[0].size, 4};
    DK_TRY(take(&in, 4, "its beginning", &version, err));
    DK_TRY(check_version(&in, version, err));
    DK_TRY(take(&in, 8, "its beginning", &tensors, err));
    DK_TRY(take(&in, 8, "its beginning", &metadata, err));
    DK_TRY(check_counts(&in, tensors, metadata, err));
    DK_TRY(take_metadata(&in, metadata, err));
    if (vocabulary_only) goto out;
    DK_TRY(find_alignment(checkpoint, &alignment, err));
    for (uint64_t i = 0; i < tensors; i++) DK_TRY(take_tensor(&in, err));
    DK_TRY(place_tensors(&in, alignment, err));
out:
    return rc;
}
