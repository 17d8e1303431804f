/* document_open.c - files as documents. */
#include "base/file.h"
#include "conf/builder.h"

static int32_t open_with(dk_host *host, const char *path, uint64_t limit,
                         int32_t (*parse)(dk_host *, const char *, size_t, const char *, dk_document **, dk_error *),
                         dk_document **out, dk_error *err)
{
    char *data;
    size_t size;
    int32_t rc = dk_file_read(host, path, limit, &data, &size, err);
    if (rc) return rc;
    rc = parse(host, data, size, path, out, err);
    dk_free(host, data);
    return rc;
}

int32_t dk_json_open(dk_host *host, const char *path, dk_document **out, dk_error *err)
{
    return open_with(host, path, DK_JSON_FILE_LIMIT, dk_json_parse, out, err);
}

int32_t dk_yaml_open(dk_host *host, const char *path, dk_document **out, dk_error *err)
{
    return open_with(host, path, DK_YAML_FILE_LIMIT, dk_yaml_parse, out, err);
}
