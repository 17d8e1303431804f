#include "base/file.h"
#include "fail_alloc.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static dk_host *host;
static dk_error err;

static int setup(void) { return dk_host_create(NULL, &host, &err) == DK_OK; }

/* A new empty folder whose name leaves room for those of files. */
static const char *fresh(const char *name)
{
    static char path[512];
    return snprintf(path, sizeof path, "%s", test_folder(name)) < (int)sizeof path ? path : NULL;
}

static int32_t count_name(void *user, const char *name, int32_t is_dir, dk_error *error)
{
    char *names = user;
    (void)error;
    snprintf(names + strlen(names), 200 - strlen(names), "%s%s ", name, is_dir ? "/" : "");
    return DK_OK;
}

static const char *list(const char *folder)
{
    static char names[200];
    names[0] = 0;
    return dk_dir_list(host, folder, count_name, names, &err) ? err.message : names;
}

static const char *content(const char *path)
{
    static char text[100];
    char *data;
    size_t size;
    if (dk_file_read(host, path, 99, &data, &size, &err)) return err.message;
    snprintf(text, sizeof text, "%s", data);
    dk_free(host, data);
    return text;
}

/* None of them may wait: a pipe without a writer would, and the test with it. */
TEST(what_is_no_file_is_refused_at_once)
{
    static const char *const kinds[] = {"is a pipe", "is a socket", "is a device", "is a folder"};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char *data;
    size_t size;
    REQUIRE(setup());
    const char *folder = fresh("file_kinds"), *pipe_path = test_path(folder, "pipe");
    REQUIRE(mkfifo(pipe_path, 0600) == 0);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/distill-test-%ld", (long)getpid());
    REQUIRE(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    const char *paths[] = {pipe_path, address.sun_path, "/dev/zero", folder};
    for (int i = 0; i < 4; i++) {
        dk_mapping map = {0};
        CHECK_INT(dk_file_read(host, paths[i], 100, &data, &size, &err), DK_E_IO);
        CHECK_HAS(err.message, kinds[i]);
        CHECK_INT(dk_map_open(host, paths[i], 1, &map, &err), DK_E_IO);
        CHECK_HAS(err.message, kinds[i]);
    }
    CHECK_INT(dk_file_append(host, pipe_path, "x", 1, &err), DK_E_IO);
    close(listener);
    unlink(address.sun_path);
    dk_host_release(host);
}

TEST(reading)
{
    REQUIRE(setup());
    const char *folder = fresh("file_reading"), *path = test_path(folder, "a.txt");
    char *data = NULL;
    size_t size = 0;
    CHECK_OK(dk_file_replace(host, path, "hello", 5, &err));
    CHECK_OK(dk_file_read(host, path, 5, &data, &size, &err));
    CHECK_INT(size, 5);
    CHECK_STR(data, "hello");
    dk_free(host, data);
    CHECK_INT(dk_file_read(host, path, 4, &data, &size, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "larger than 4 bytes");
    CHECK_INT(dk_file_read(host, "/no/such/file", 9, &data, &size, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "/no/such/file: cannot be opened");
    CHECK_INT(dk_file_read(host, folder, 9, &data, &size, &err), DK_E_IO);
    CHECK_HAS(err.message, "is a folder");
    CHECK_INT(dk_file_read(host, "/proc/self/maps", 100, &data, &size, &err), DK_E_FORMAT); /* stat says 0 */
    for (int32_t use_mmap = 0; use_mmap < 2; use_mmap++) {
        dk_mapping map = {0};
        CHECK_OK(dk_map_open(host, path, use_mmap, &map, &err));
        CHECK_INT(map.mapped, use_mmap);
        CHECK(map.size == 5 && !memcmp(map.data, "hello", 5));
        dk_map_close(&map);
        dk_map_close(&map);
        CHECK_INT(dk_map_open(host, test_path(folder, "none"), use_mmap, &map, &err), DK_E_NOT_FOUND);
        CHECK_INT(dk_map_open(host, folder, use_mmap, &map, &err), DK_E_IO);
        CHECK(!map.data);
        CHECK_OK(dk_file_replace(host, test_path(folder, "empty"), "", 0, &err));
        CHECK_OK(dk_map_open(host, test_path(folder, "empty"), use_mmap, &map, &err));
        CHECK(map.size == 0 && map.data);
        dk_map_close(&map);
    }
    dk_host_release(host);
}

TEST(writing)
{
    REQUIRE(setup());
    const char *folder = fresh("file_writing"), *path = test_path(folder, "a.bin");
    dk_writer *writer;
    static uint8_t block[700001], back[700001];
    for (size_t i = 0; i < sizeof block; i++) block[i] = (uint8_t)(i * 2654435761u >> 13);
    CHECK_OK(dk_file_replace(host, path, "old", 3, &err));
    REQUIRE_OK(dk_writer_open(host, path, &writer, &err));
    for (size_t at = 0, step = 1; at < sizeof block; at += step, step = step * 3 % 300007) {
        if (step > sizeof block - at) step = sizeof block - at;
        CHECK_OK(dk_writer_write(writer, block + at, step, &err));
        CHECK_INT(dk_writer_tell(writer), at + step);
    }
    CHECK_OK(dk_writer_seek(writer, 10, &err));
    CHECK_OK(dk_writer_write(writer, "PATCH", 5, &err));
    CHECK_INT(dk_writer_tell(writer), 15);
    memcpy(block + 10, "PATCH", 5);
    CHECK_STR(content(path), "old"); /* until commit */
    CHECK_OK(dk_writer_commit(writer, &err));
    FILE *file = fopen(path, "rb");
    REQUIRE(file != NULL);
    CHECK_INT(fread(back, 1, sizeof back, file), sizeof back);
    CHECK(fgetc(file) == EOF && !memcmp(block, back, sizeof back));
    fclose(file);
    CHECK_STR(list(folder), "a.bin ");
    REQUIRE_OK(dk_writer_open(host, path, &writer, &err));
    CHECK_OK(dk_writer_write(writer, "x", 1, &err));
    dk_writer_abort(writer);
    dk_writer_abort(NULL);
    CHECK_STR(list(folder), "a.bin ");
    CHECK_INT(dk_writer_open(host, test_path(folder, "no/b"), &writer, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "no/b: cannot be created");
    dk_host_release(host);
}

/* A full disk, played by a limit on the size of files. */
TEST(full_disk)
{
    REQUIRE(setup());
    const char *folder = fresh("file_full"), *path = test_path(folder, "big");
    struct rlimit limit, small;
    dk_writer *writer;
    static uint8_t block[100000];
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 150000;
    signal(SIGXFSZ, SIG_IGN);
    CHECK_OK(dk_file_replace(host, path, "old", 3, &err));
    REQUIRE_OK(dk_writer_open(host, path, &writer, &err));
    CHECK_OK(dk_writer_write(writer, block, sizeof block, &err));
    CHECK_OK(dk_writer_write(writer, block, sizeof block, &err));
    setrlimit(RLIMIT_FSIZE, &small);
    CHECK_INT(dk_writer_commit(writer, &err), DK_E_IO);
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK_HAS(err.message, "file_full/big: cannot be written: File too large");
    CHECK_STR(list(folder), "big ");
    CHECK_STR(content(path), "old");
    if (dk_path_exists("/dev/full")) {
        CHECK_INT(dk_file_append(host, "/dev/full", "x", 1, &err), DK_E_IO);
        CHECK_STR(err.message, "/dev/full: cannot be written: No space left on device");
    }
    dk_host_release(host);
}

TEST(appending)
{
    REQUIRE(setup());
    const char *path = test_path(fresh("file_append"), "log");
    CHECK_OK(dk_file_append(host, path, "one\n", 4, &err));
    CHECK_OK(dk_file_append(host, path, "two\n", 4, &err));
    CHECK_STR(content(path), "one\ntwo\n");
    CHECK_INT(dk_file_append(host, "/no/such", "x", 1, &err), DK_E_NOT_FOUND);
    dk_host_release(host);
}

TEST(folders)
{
    REQUIRE(setup());
    const char *folder = fresh("file_folders"), *deep = test_path(folder, "a/b//c/");
    dk_staged staged = {.path = NULL};
    char run[600];
    snprintf(run, sizeof run, "%s/run", folder);
    CHECK_OK(dk_dir_create(host, deep, &err));
    CHECK_OK(dk_dir_create(host, deep, &err));
    CHECK_INT(dk_path_exists(deep), 2);
    CHECK_OK(dk_file_replace(host, test_path(folder, "a/file"), "x", 1, &err));
    CHECK_INT(dk_path_exists(test_path(folder, "a/file")), 1);
    CHECK_INT(dk_dir_create(host, test_path(folder, "a/file/x"), &err), DK_E_IO);
    CHECK_HAS(err.message, "a/file: the folder cannot be created");
    for (int round = 0; round < 3; round++) { /* into nothing, then over what is there */
        char text[2] = {(char)('0' + round), 0};
        REQUIRE_OK(dk_dir_stage(host, run, &staged, &err));
        CHECK_INT(dk_path_exists(staged.path), 2);
        char *name = dk_path_join(host, staged.path, "value"), *only = dk_path_join(host, staged.path, text);
        CHECK_OK(dk_file_replace(host, name, text, 1, &err));
        CHECK_OK(dk_file_replace(host, only, text, 1, &err));
        CHECK_OK(dk_dir_commit(host, &staged, run, &err));
        CHECK_STR(content(test_path(folder, "run/value")), text);
        CHECK_INT(dk_path_exists(staged.path), 0);
        dk_free(host, name);
        dk_free(host, only);
        dk_staged_end(host, &staged);
    }
    CHECK_STR(list(run), "2 value ");
    CHECK_STR(list(folder), "a/ run/ ");
    CHECK_HAS(list(test_path(folder, "none")), "none: the folder cannot be read");
    REQUIRE(!symlink(test_path(folder, "a"), test_path(folder, "run/link")));
    CHECK_OK(dk_dir_remove(host, run, &err));
    CHECK_INT(dk_path_exists(test_path(folder, "a/file")), 1); /* the link was removed, not what it led to */
    CHECK_OK(dk_dir_remove(host, run, &err));
    CHECK_STR(list(folder), "a/ ");
    dk_host_release(host);
}

static int32_t stop_at_b(void *user, const char *name, int32_t is_dir, dk_error *error)
{
    (void)is_dir;
    ++*(int *)user;
    return *name == 'b' ? dk_fail(error, DK_E_CANCELLED, "enough") : DK_OK;
}

TEST(listing_stops)
{
    REQUIRE(setup());
    const char *folder = fresh("file_listing");
    int calls = 0;
    for (const char *name = "cab"; *name; name++) {
        char text[2] = {*name, 0};
        CHECK_OK(dk_file_replace(host, test_path(folder, text), "", 0, &err));
    }
    CHECK_INT(dk_dir_list(host, folder, stop_at_b, &calls, &err), DK_E_CANCELLED);
    CHECK_INT(calls, 2);
    dk_host_release(host);
}

static void check_path(char *got, const char *want)
{
    CHECK_STR(got, want);
    dk_free(host, got);
}

TEST(paths)
{
    REQUIRE(setup());
    check_path(dk_path_join(host, "a", "b"), "a/b");
    check_path(dk_path_join(host, "a/", "b/c"), "a/b/c");
    check_path(dk_path_join(host, "a", "/b"), "/b");
    check_path(dk_path_join(host, "", "b"), "b");
    check_path(dk_path_folder(host, "a/b.txt"), "a");
    check_path(dk_path_folder(host, "b.txt"), ".");
    check_path(dk_path_folder(host, "/b"), "/");
    check_path(dk_path_folder(host, "a//b/"), "a");
    CHECK_STR(dk_path_name("a/b.txt"), "b.txt");
    CHECK_STR(dk_path_name("b.txt"), "b.txt");
    CHECK_STR(dk_path_name("a/b/"), "b/");
    dk_host_release(host);
}

static int32_t use_files(void *context, dk_host *from, dk_error *error)
{
    int32_t rc;
    char *data = NULL;
    dk_staged staged = {.path = NULL};
    size_t size;
    DK_TRY(dk_file_replace(from, test_path(context, "f"), "text", 4, error));
    DK_TRY(dk_file_read(from, test_path(context, "f"), 100, &data, &size, error));
    DK_TRY(dk_dir_stage(from, test_path(context, "d"), &staged, error));
    DK_TRY(dk_dir_commit(from, &staged, test_path(context, "d"), error));
out:
    dk_free(from, data);
    dk_staged_end(from, &staged);
    return rc;
}

TEST(every_allocation_may_fail) { CHECK(fail_every_alloc(use_files, (void *)(uintptr_t)fresh("file_alloc")) > 5); }

/* Messages show the names that a caller knows. */
TEST(temporary_names)
{
    dk_fail(&err, DK_E_IO, "a/b.tmp.12.0/c.json.tmp.3.14: cannot be written; x.tmp.y and .tmp.1 stay");
    dk_hide_temporary(&err);
    CHECK_STR(err.message, "a/b/c.json: cannot be written; x.tmp.y and .tmp.1 stay");
    dk_hide_temporary(NULL);
    CHECK(dk_is_temporary("step-1.tmp.77.0"));
    CHECK(!dk_is_temporary("step-1") && !dk_is_temporary("a.tmp.b") && !dk_is_temporary("student.tmp"));
}

/* The number of a process that is no more. */
static long dead_process(void)
{
    const pid_t child = fork();
    if (!child) _exit(0);
    return waitpid(child, NULL, 0) == child ? (long)child : -1;
}

static const char *left_path(const char *folder, const char *name, long pid, const char *end)
{
    static char path[700];
    snprintf(path, sizeof path, "%s/%s.tmp.%ld%s", folder, name, pid, end);
    return path;
}

static int32_t left(const char *folder, const char *name, long pid, const char *end)
{
    return dk_path_exists(left_path(folder, name, pid, end));
}

static const char *make_left(const char *folder, const char *name, long pid, const char *end)
{
    const char *path = left_path(folder, name, pid, end);
    return dk_file_replace(host, path, "x", 1, &err) ? NULL : path;
}

static int32_t folder_is_locked(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY);
    const int32_t locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (fd >= 0) close(fd);
    return locked;
}

/* What a killed process was writing goes when the next one writes there; nothing else does. */
TEST(leftovers)
{
    REQUIRE(setup());
    const char *folder = fresh("file_leftovers");
    const long dead = dead_process(), alive = (long)getppid();
    char staged_left[640];
    dk_staged staged = {.path = NULL};
    REQUIRE(dead > 0);
    snprintf(staged_left, sizeof staged_left, "%s/m.tmp.%ld.0", folder, dead);
    REQUIRE_OK(dk_dir_create(host, staged_left, &err));
    REQUIRE(make_left(staged_left, "model.safetensors", dead, ".0") && make_left(folder, "m", dead, ".1"));
    REQUIRE(make_left(folder, "m", alive, ".0") && make_left(folder, "n", dead, ".0"));
    REQUIRE(make_left(folder, "m", dead, ".0.old")); /* of a replacement: it may be all that is left */
    const int locked = open(make_left(folder, "m", dead, ".9"), O_RDONLY); /* another machine is at it */
    REQUIRE(locked >= 0 && !flock(locked, LOCK_EX));
    REQUIRE_OK(dk_dir_create(host, left_path(folder, "m", dead, ".8"), &err)); /* begins a folder there */
    const int begun = open(left_path(folder, "m", dead, ".8"), O_RDONLY | O_DIRECTORY);
    REQUIRE(begun >= 0 && !flock(begun, LOCK_EX));
    REQUIRE_OK(dk_dir_stage(host, test_path(folder, "m"), &staged, &err));
    CHECK_INT(dk_path_exists(staged.path), 2);
    CHECK(folder_is_locked(staged.path)); /* so that another machine leaves it alone */
    dk_staged_end(host, &staged);
    CHECK(!left(folder, "m", dead, ".0") && !left(folder, "m", dead, ".1") && left(folder, "m", dead, ".9"));
    CHECK(left(folder, "m", alive, ".0") && left(folder, "m", dead, ".0.old") && left(folder, "n", dead, ".0"));
    CHECK(left(folder, "m", dead, ".8"));
    close(locked);
    close(begun);
    CHECK_OK(dk_file_replace(host, test_path(folder, "m"), "x", 1, &err));
    CHECK_OK(dk_file_replace(host, test_path(folder, "n"), "x", 1, &err));
    CHECK(!left(folder, "m", dead, ".8") && !left(folder, "m", dead, ".9") && !left(folder, "n", dead, ".0"));
    CHECK(left(folder, "m", alive, ".0") && left(folder, "m", dead, ".0.old"));
    CHECK_INT(dk_file_replace(host, "", "x", 1, &err), DK_E_INVALID);
    CHECK_INT(dk_dir_stage(host, "", &staged, &err), DK_E_INVALID);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(temporary_names) TEST_CASE(leftovers) TEST_CASE(what_is_no_file_is_refused_at_once)
              TEST_CASE(reading) TEST_CASE(writing) TEST_CASE(full_disk) TEST_CASE(appending) TEST_CASE(folders)
                  TEST_CASE(listing_stops) TEST_CASE(paths) TEST_CASE(every_allocation_may_fail))
