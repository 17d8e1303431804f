#include "base/resident.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"

/* /proc/self/statm of Linux: size and resident, in pages. */
int64_t dk_resident_bytes(void)
{
    char line[128];
    int64_t pages;
    const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    const ssize_t size = read(file, line, sizeof line - 1);
    (void)close(file);
    if (size <= 0) return -1;
    line[size] = 0;
    const char *second = strchr(line, ' ');
    const char *end = second ? strchr(second + 1, ' ') : NULL;
    if (!end || !dk_parse_i64(second + 1, (size_t)(end - second - 1), &pages)) return -1;
    return pages * (int64_t)sysconf(_SC_PAGESIZE);
}
