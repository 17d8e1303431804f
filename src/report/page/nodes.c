/* nodes.c - members of JSON by their path; what is missing or of another type is not there. */
#include <math.h>
#include <string.h>

#include "report/page/sheet.h"

const dk_node *di_node(const dk_node *map, const char *path)
{
    char key[64];
    while (map && *path) {
        const size_t length = strcspn(path, "/");
        if (map->type != DK_NODE_MAP || length >= sizeof key) return NULL;
        memcpy(key, path, length);
        key[length] = 0;
        map = dk_node_get(map, key);
        path += length + (path[length] == '/');
    }
    return map;
}

int32_t di_value(const dk_node *map, const char *path, double *out)
{
    const dk_node *node = di_node(map, path);
    if (!node || (node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT) || !isfinite(node->f64)) return 0;
    *out = node->f64;
    return 1;
}

const char *di_text(const dk_node *map, const char *path)
{
    const dk_node *node = di_node(map, path);
    return node && node->type == DK_NODE_TEXT ? node->text : "";
}
