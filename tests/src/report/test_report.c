/* Reports as numbers by name, and what a path is said to be. */
#include "../teacher/model_fixture.h"
#include "report/report.h"

TEST(numbers)
{
    static const char json[] = "{\"a\":{\"b\":2.5,\"list\":[1,{\"c\":true}],\"text\":\"x\"},\"n\":7}";
    di_report *report = NULL;
    double value = 0;
    dk_error err;
    fixture f;
    size_t size = 0;
    open_fixture(&f, "numbers");
    REQUIRE_OK(di_report_create(f.host, json, sizeof json - 1, &report, &err));
    CHECK_OK(di_report_get_f64(report, "a.b", &value, &err));
    CHECK_NEAR(value, 2.5, 0);
    CHECK_OK(di_report_get_f64(report, "a.list.0", &value, &err));
    CHECK_NEAR(value, 1, 0);
    CHECK_OK(di_report_get_f64(report, "a.list.1.c", &value, &err));
    CHECK_NEAR(value, 1, 0);
    CHECK_INT(di_report_get_f64(report, "a.list.2", &value, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "a.list.2");
    CHECK_INT(di_report_get_f64(report, "n.b", &value, &err), DK_E_NOT_FOUND);
    CHECK_INT(di_report_get_f64(report, "a.text", &value, &err), DK_E_INVALID);
    CHECK_STR(di_report_json(report, &size), json);
    CHECK_INT(size, sizeof json - 1);
    di_report_free(report);
    CHECK(di_report_create(f.host, "{\"a\":", 5, &report, &err) != DK_OK);
    close_fixture(&f);
}

TEST(inspected)
{
    dk_strbuf json;
    dk_error err;
    fixture f;
    open_fixture(&f, "inspected");
    dk_strbuf_init(&json, f.host);
    CHECK_OK(di_inspect_path(f.backend, f.folder, &json, &err)); /* a config without weights */
    CHECK_HAS(json.data, "\"kind\":\"model\"");
    CHECK_HAS(json.data, "\"whole\":false");
    dk_strbuf_clear(&json);
    CHECK_INT(di_inspect_path(f.backend, "no/such", &json, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "no/such");
    dk_strbuf_free(&json);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(numbers) TEST_CASE(inspected))
