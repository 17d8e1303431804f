#include "meter/powercap.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES = 64 };          /* numbers and names of zones are shorter */
static const double still_for = 1; /* seconds: a processor's counters move on every millisecond */

/* The first line of folder/name, whole; 0, or errno. */
static int read_line(const di_powercap *p, const char *folder, const char *name, char line[FILE_BYTES])
{
    char *path = dk_path_join(p->host, folder, name);
    int file = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    int problem = path ? errno : ENOMEM;
    dk_free(p->host, path);
    if (file < 0) return problem;
    ssize_t size = read(file, line, FILE_BYTES - 1);
    problem = size < 0 ? errno : 0;
    (void)close(file);
    line[size > 0 ? size : 0] = 0;
    if (!problem && size == FILE_BYTES - 1 && !strchr(line, '\n')) problem = EOVERFLOW;
    line[strcspn(line, "\n")] = 0;
    return problem;
}

static void cannot(di_powercap *p, const char *folder, const char *name, const char *what)
{
    dk_strbuf_clear(&p->why);
    dk_strbuf_printf(&p->why, "%s/%s: %s", folder, name, what);
}

/* A counter that is >= 0, or -1 and the reason. */
static int64_t read_counter(di_powercap *p, const char *folder, const char *name)
{
    char line[FILE_BYTES];
    int64_t value = -1;
    int problem = read_line(p, folder, name, line);
    if (problem == EACCES || problem == EPERM)
        cannot(p, folder, name, "permission denied: most systems let root alone read it (chmod a+r, or run as root)");
    else if (problem) cannot(p, folder, name, strerror(problem));
    else if (!dk_parse_i64(line, strlen(line), &value) || value < 0) {
        cannot(p, folder, name, "is no number of microjoules");
        value = -1;
    }
    return value;
}

static int32_t known(const di_powercap *p, const char *label)
{
    for (int64_t i = 0; i < p->count; i++)
        if (!strcmp(p->zones[i].label, label)) return 1;
    return 0;
}

/* A zone that is added. The same package may be shown by several drivers (intel-rapl, intel-rapl-mmio). */
static int32_t add_zone(di_powercap *p, const char *folder, const char *label, dk_error *err)
{
    char line[FILE_BYTES];
    int32_t rc = DK_OK;
    if (known(p, label) || p->why.size) return DK_OK;
    if (p->count == p->capacity) {
        int64_t capacity = 2 * p->capacity + 4;
        di_powercap_zone *zones = dk_realloc(p->host, p->zones, (uint64_t)capacity, sizeof *zones);
        if (!zones) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *zones);
        p->zones = zones;
        p->capacity = capacity;
    }
    di_powercap_zone *zone = &p->zones[p->count];
    memset(zone, 0, sizeof *zone);
    if ((zone->last = read_counter(p, folder, "energy_uj")) < 0) return DK_OK;
    if (read_line(p, folder, "max_energy_range_uj", line) || !dk_parse_i64(line, strlen(line), &zone->range))
        zone->range = 0;
    p->count++;
    if (!(zone->folder = dk_strdup(p->host, folder)) || !(zone->label = dk_strdup(p->host, label)))
        rc = dk_fail_nomem(err, strlen(folder) + 1);
    return rc;
}

static void note_other(di_powercap *p, const char *label)
{
    if (p->others.size) dk_strbuf_puts(&p->others, ", ");
    dk_strbuf_puts(&p->others, label);
}

typedef struct walk {
    di_powercap *powercap;
    const char *folder;
    const char *package; /* label of the zone that this one is in; NULL = none */
} walk;

static int32_t look_at(void *user, const char *name, int32_t is_dir, dk_error *err);

/* A zone's name and what is below it. */
static int32_t look_into(di_powercap *p, const char *folder, const char *package, dk_error *err)
{
    char name[FILE_BYTES];
    dk_strbuf label;
    int32_t rc = DK_OK;
    if (read_line(p, folder, "name", name)) {
        note_other(p, dk_path_name(folder));
        return DK_OK;
    }
    dk_strbuf_init(&label, p->host);
    if (package) dk_strbuf_printf(&label, "%s/", package);
    dk_strbuf_puts(&label, name);
    DK_TRY(dk_strbuf_check(&label, err));
    int32_t is_package = !package && !strncmp(name, "package", strlen("package"));
    if (is_package || !strcmp(name, "dram")) DK_TRY(add_zone(p, folder, label.data, err));
    else note_other(p, label.data);
    if (!package) DK_TRY(dk_dir_list(p->host, folder, look_at, &(walk){p, folder, label.data}, err));
out:
    dk_strbuf_free(&label);
    return rc;
}

/* Zones are called KIND:0 and, inside it, KIND:0:1; /sys/class/powercap lists both beside each other. */
static int32_t look_at(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    const walk *w = user;
    const char *colon = strchr(name, ':');
    int32_t deep = colon && strchr(colon + 1, ':');
    if (!is_dir || !colon || deep != (w->package != NULL)) return DK_OK;
    char *folder = dk_path_join(w->powercap->host, w->folder, name);
    if (!folder) return dk_fail_nomem(err, strlen(name));
    int32_t rc = look_into(w->powercap, folder, w->package, err);
    dk_free(w->powercap->host, folder);
    return rc;
}

/* Below a folder of a kind ("intel-rapl"), where zones do not stand in root itself. */
static int32_t look_below(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    const walk *w = user;
    if (!is_dir || strchr(name, ':')) return DK_OK;
    char *folder = dk_path_join(w->powercap->host, w->folder, name);
    if (!folder) return dk_fail_nomem(err, strlen(name));
    int32_t rc = dk_dir_list(w->powercap->host, folder, look_at, &(walk){w->powercap, folder, NULL}, err);
    dk_free(w->powercap->host, folder);
    return rc;
}

int32_t di_powercap_open(dk_host *host, const char *root, di_powercap *out, dk_error *err)
{
    di_powercap p = {.host = host, .opened = dk_seconds()};
    int32_t rc = DK_OK;
    dk_strbuf_init(&p.others, host);
    dk_strbuf_init(&p.why, host);
    const walk top = {&p, root, NULL};
    if (dk_path_exists(root) != 2) {
        dk_strbuf_printf(&p.why, "%s: no such folder; this system shows no energy counters", root);
    } else {
        DK_TRY(dk_dir_list(host, root, look_at, (void *)&top, err));
        if (!p.count && !p.why.size) DK_TRY(dk_dir_list(host, root, look_below, (void *)&top, err));
        if (!p.count && !p.why.size) dk_strbuf_printf(&p.why, "%s: no zone of a package in it", root);
    }
    DK_TRY(dk_strbuf_check(&p.why, err));
    DK_TRY(dk_strbuf_check(&p.others, err));
    *out = p;
    return DK_OK;
out:
    di_powercap_close(&p);
    return rc;
}

void di_powercap_close(di_powercap *p)
{
    if (!p->host) return;
    for (int64_t i = 0; i < p->count; i++) {
        dk_free(p->host, p->zones[i].folder);
        dk_free(p->host, p->zones[i].label);
    }
    dk_free(p->host, p->zones);
    dk_strbuf_free(&p->others);
    dk_strbuf_free(&p->why);
    memset(p, 0, sizeof *p);
}

/* Microjoules since the last reading; -1 and the reason where they cannot be told. */
static int64_t advance(di_powercap *p, di_powercap_zone *zone)
{
    int64_t now = read_counter(p, zone->folder, "energy_uj");
    if (now < 0) return -1;
    int64_t gone = now - zone->last;
    if (gone < 0 && zone->range < zone->last) {
        cannot(p, zone->folder, "energy_uj", "went back, and max_energy_range_uj does not say from where");
        return -1;
    }
    if (gone < 0) gone += zone->range;
    zone->last = now;
    zone->moved |= gone > 0;
    return gone;
}

/* Virtual machines may show counters that nobody counts in. Memory alone may be at rest. */
static void refuse_still(di_powercap *p)
{
    if (dk_seconds() - p->opened < still_for) return;
    for (int64_t i = 0; i < p->count && !p->why.size; i++)
        if (!p->zones[i].moved && !strchr(p->zones[i].label, '/'))
            cannot(p, p->zones[i].folder, "energy_uj", "stands still: nothing is counted there");
}

double di_powercap_read(di_powercap *p)
{
    for (int64_t i = 0; i < p->count && !p->why.size; i++) {
        int64_t gone = advance(p, &p->zones[i]);
        if (gone > 0) p->joules += 1e-6 * (double)gone;
    }
    if (!p->why.size) refuse_still(p);
    return p->why.size ? -1 : p->joules;
}
