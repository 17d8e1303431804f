/* distill_report_open and distill_report_html: a run's folder, what is damaged there, texts that would be markup,
 * arguments that are wrong, and every allocation that may fail. */
#include <stdlib.h>

#include "small.h"

#define HOSTILE "</script><script>alert(1)</script>&amp;\\\"'\\u0007\\u202e"

static const char result[] =
    "{\"version\":\"0.1.0\",\"finished\":true,\"reason\":\"" HOSTILE "\",\"name\":\"" HOSTILE
    "\",\"training\":{\"steps\":2,"
    "\"loss\":\"" HOSTILE
    "\",\"terms\":[{\"loss\":\"forward_kl\",\"weight\":1}]},\"student\":{\"path\":\"out\",\"perplexity\":"
    "12.5,\"nats\":2.5257,\"forward_kl\":0.5,\"top1_agreement\":0.75},\"teacher\":{\"path\":\"" HOSTILE
    "\",\"perplexity\":10,"
    "\"nats\":2.3026},\"eval\":{\"tokens\":7,\"sources\":{\"" HOSTILE "\":{\"tokens\":7,\"perplexity\":12.5}},"
    "\"disagreements\":[{\"forward_kl\":2,\"context\":\"" HOSTILE "\",\"label\":{\"id\":1,\"text\":\"" HOSTILE "\"},"
    "\"tokens\":[{\"id\":1,\"text\":\"" HOSTILE
    "\",\"teacher\":0.5,\"student\":0.25}]}]},\"samples\":[{\"prompt\":\"" HOSTILE "\",\"student\":\"" HOSTILE
    "\"}],\"warnings\":[\"" HOSTILE "\"],\"options\":{\"" HOSTILE "\":\"" HOSTILE "\"}}\n";
static const char lines[] =
    "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2.25,\"eval\":{\"perplexity\":12.5,\"forward_kl\":0.5}}\n";

static char folder[600], page[700];

static int write_run(const char *json, const char *metrics)
{
    char path[800];
    snprintf(folder, sizeof folder, "%s/run", TEST_TMP);
    snprintf(page, sizeof page, "%s/page.html", TEST_TMP);
    (void)mkdir(folder, 0777);
    (void)remove(page);
    snprintf(path, sizeof path, "%s/result.json", folder);
    (void)remove(path);
    if (json && !small_write(path, json)) return 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    (void)remove(path);
    return !metrics || small_write(path, metrics);
}

/* "" = there is none; good until the next call. */
static const char *read_page(void)
{
    static char text[1 << 20];
    FILE *file = fopen(page, "rb");
    const size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[size] = 0;
    if (file) fclose(file);
    return text;
}

static distill_report *open_run(const distill_env *env)
{
    distill_report *report = NULL;
    distill_error err;
    CHECK_OK(distill_report_open(env, folder, &report, &err));
    return report;
}

/* What data brings is text: nothing of it is an element, and the page asks nobody for anything. */
TEST(hostile_names)
{
    distill_env *env = NULL;
    distill_error err;
    double value = 0;
    REQUIRE(write_run(result, lines));
    REQUIRE_OK(distill_env_create(NULL, &env, &err));
    distill_report *report = open_run(env);
    CHECK_OK(distill_report_get_f64(report, "result.student.perplexity", &value, &err));
    CHECK_NEAR(value, 12.5, 0);
    REQUIRE_OK(distill_report_html((const distill_report *const *)&report, 1, page, NULL, &err));
    const char *html = read_page();
    CHECK(!strstr(html, "<script") && !strstr(html, "</script") && !strstr(html, "http:") && !strstr(html, "https:") &&
          !strstr(html, "src="));
    CHECK(!strchr(html, '\a') && !strstr(html, "\xe2\x80\xae"));
    CHECK_HAS(html, "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;&quot;&#39;&#9223;[U+202E]");
    CHECK_HAS(html, "default-src 'none'");
    CHECK_HAS(html, "</html>");
    distill_report_free(report);
    distill_env_free(env);
}

/* A run beside its baseline, several of them, and a language. */
TEST(several)
{
    distill_options *options = NULL;
    distill_env *env = NULL;
    distill_error err;
    REQUIRE(write_run(result, lines));
    REQUIRE_OK(distill_env_create(NULL, &env, &err));
    REQUIRE_OK(distill_options_create(env, &options, &err));
    REQUIRE_OK(distill_options_set_str(options, "output.language", "pt", &err));
    distill_report *report = open_run(env);
    const distill_report *all[3] = {report, report, report};
    REQUIRE_OK(distill_report_html(all, 3, page, options, &err));
    const char *html = read_page();
    CHECK_HAS(html, "Lado a lado");
    CHECK_HAS(html, "lang=\"pt-BR\"");
    distill_report_free(report);
    distill_options_free(options);
    distill_env_free(env);
}

/* What is damaged is counted and named; what is whole is used. */
TEST(damaged)
{
    distill_env *env = NULL;
    distill_error err;
    double value = 0;
    REQUIRE_OK(distill_env_create(NULL, &env, &err));
    REQUIRE(write_run("{\"version\":\"\xff\"}",
                      "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":\"\xc3\x28\"}\n{\"step\":3\n"));
    distill_report *report = open_run(env);
    CHECK_OK(distill_report_get_f64(report, "damaged_lines", &value, &err));
    CHECK_NEAR(value, 2, 0);
    REQUIRE_OK(distill_report_html((const distill_report *const *)&report, 1, page, NULL, &err));
    const char *html = read_page();
    CHECK_HAS(html, "2 damaged lines");
    CHECK_HAS(html, "no result");
    CHECK_HAS(html, "result.json");
    distill_report_free(report);
    distill_env_free(env);
}

TEST(wrong_arguments)
{
    const distill_report *none[2] = {NULL, NULL};
    distill_report *report = NULL, *kept = NULL;
    distill_env *env = NULL;
    distill_error err;
    REQUIRE_OK(distill_env_create(NULL, &env, &err));
    REQUIRE(write_run(NULL, NULL));
    CHECK_INT(distill_report_open(env, folder, &report, &err), DISTILL_E_NOT_FOUND);
    CHECK_HAS(err.message, "neither result.json nor metrics.jsonl");
    CHECK_INT(distill_report_open(env, "/nowhere/at/all", &report, &err), DISTILL_E_NOT_FOUND);
    CHECK_INT(distill_report_open(NULL, folder, &report, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_report_open(env, NULL, &report, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_report_open(env, folder, NULL, &err), DISTILL_E_INVALID);
    CHECK(report == NULL);
    CHECK_INT(distill_report_html(NULL, 1, page, NULL, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_report_html(none, 2, page, NULL, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "reports[0]");
    REQUIRE(write_run(result, NULL));
    kept = open_run(env);
    CHECK_INT(distill_report_html((const distill_report *const *)&kept, 0, page, NULL, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_report_html((const distill_report *const *)&kept, -1, page, NULL, &err), DISTILL_E_INVALID);
    CHECK_INT(distill_report_html((const distill_report *const *)&kept, 1, NULL, NULL, &err), DISTILL_E_INVALID);
    CHECK(distill_report_html((const distill_report *const *)&kept, 1, "/nowhere/page.html", NULL, &err) != DISTILL_OK);
    CHECK_HAS(err.message, "/nowhere/page.html");
    distill_report_free(kept);
    distill_env_free(env);
}

/* ---- memory ---- */

typedef struct pool {
    int64_t blocks, count, fails_at; /* from this allocation on all fail; 0 = none */
} pool;

static void *pool_alloc(void *user, size_t size, size_t align)
{
    pool *p = user;
    void *out = NULL;
    if (++p->count >= p->fails_at && p->fails_at) return NULL;
    if (posix_memalign(&out, align < sizeof(void *) ? sizeof(void *) : align, size ? size : 1)) return NULL;
    p->blocks++;
    return out;
}

static void pool_free(void *user, void *ptr, size_t size, size_t align)
{
    (void)size;
    (void)align;
    ((pool *)user)->blocks -= ptr != NULL;
    free(ptr);
}

static int32_t make(pool *p, distill_error *err)
{
    distill_env *env = NULL;
    distill_allocator allocator;
    distill_report *report = NULL;
    DISTILL_INIT(&allocator);
    allocator.user = p;
    allocator.alloc = pool_alloc;
    allocator.free = pool_free;
    int32_t rc = distill_env_create(&allocator, &env, err);
    if (!rc) rc = distill_report_open(env, folder, &report, err);
    if (!rc) rc = distill_report_html((const distill_report *const *)&report, 1, page, NULL, err);
    distill_report_free(report);
    distill_env_free(env);
    return rc;
}

TEST(memory)
{
    pool p = {0};
    distill_error err;
    REQUIRE(write_run(result, lines));
    REQUIRE_OK(make(&p, &err));
    CHECK_INT(p.blocks, 0);
    const int64_t total = p.count;
    for (int64_t n = 1; n <= total; n++) {
        p = (pool){.fails_at = n};
        (void)remove(page);
        const int32_t rc = make(&p, &err);
        const char *html = read_page();
        if (rc != DISTILL_E_NOMEM || p.blocks || (*html && !strstr(html, "</html>"))) /* none, or a whole one */
            FAIL("allocation %lld of %lld failed: %d %s, %lld blocks are left, %zu bytes of a page", (long long)n,
                 (long long)total, rc, err.message, (long long)p.blocks, strlen(html));
    }
}

TEST_MAIN(TEST_CASE(hostile_names) TEST_CASE(several) TEST_CASE(damaged) TEST_CASE(wrong_arguments) TEST_CASE(memory))
