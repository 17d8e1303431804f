/* Energy counters of made-up systems: what is added, what is not, and why nothing can be told. */
#include <sys/stat.h>
#include <unistd.h>

#include "meter/meter.h"
#include "test_files.h"

static dk_host *host;
static char folder[1024];

static const char *below(const char *name) { return path_in(folder, name); }

/* A host and a folder for each test. */
static int begin(const char *name)
{
    const char *path = test_folder(name);
    dk_error err;
    if (!path || dk_host_create(NULL, &host, &err)) return 0;
    snprintf(folder, sizeof folder, "%s", path);
    return 1;
}
static void end(void) { dk_host_release(host); }

static const char *zone_file(const char *zone, const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", zone, name);
    return below(path);
}

static void put_number(const char *zone, const char *name, long long value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld\n", value);
    CHECK(write_text(zone_file(zone, name), text));
}

/* A zone below root, with a counter that begins at `energy`. */
static void put_zone(const char *zone, const char *name, long long energy, long long range)
{
    char command[4200], line[80];
    snprintf(command, sizeof command, "mkdir -p '%s'", below(zone));
    CHECK(system(command) == 0);
    snprintf(line, sizeof line, "%s\n", name);
    CHECK(write_text(zone_file(zone, "name"), line));
    put_number(zone, "energy_uj", energy);
    if (range) put_number(zone, "max_energy_range_uj", range);
}

/* Two packages with cores, memory beside one of them, the platform, and the first package again by another driver. */
static void put_system(const char *root)
{
    char zone[200];
#define ZONE(path) (snprintf(zone, sizeof zone, "%s/%s", root, path), zone)
    put_zone(ZONE("intel-rapl:0"), "package-0", 1000000, 262143328850);
    put_zone(ZONE("intel-rapl:0:0"), "core", 5000000, 262143328850);
    put_zone(ZONE("intel-rapl:0:1"), "dram", 7000000, 65712999613);
    put_zone(ZONE("intel-rapl:0/intel-rapl:0:0"), "core", 5000000, 262143328850);
    put_zone(ZONE("intel-rapl:0/intel-rapl:0:1"), "dram", 7000000, 65712999613);
    put_zone(ZONE("intel-rapl:1"), "package-1", 262143000000, 262143328850);
    put_zone(ZONE("intel-rapl:1/intel-rapl:1:0"), "uncore", 1, 262143328850);
    put_zone(ZONE("intel-rapl:2"), "psys", 99000000, 262143328850);
    put_zone(ZONE("intel-rapl-mmio:0"), "package-0", 1000000, 262143328850);
#undef ZONE
}

static void move_on(const char *root)
{
    char zone[200];
#define SET(path, value) (snprintf(zone, sizeof zone, "%s/%s", root, path), put_number(zone, "energy_uj", value))
    SET("intel-rapl:0", 4000000); /* 3 J */
    SET("intel-rapl:0/intel-rapl:0:0", 9000000);
    SET("intel-rapl:0/intel-rapl:0:1", 7500000); /* 0.5 J */
    SET("intel-rapl:1", 671150);                 /* around the end: 328850 + 671150 = 1 J */
    SET("intel-rapl:2", 199000000);
    SET("intel-rapl-mmio:0", 4000000);
#undef SET
}

TEST(packages_and_memory)
{
    di_powercap p;
    dk_error err;
    REQUIRE(begin("powercap_packages_and_memory"));
    put_system("two");
    REQUIRE_OK(di_powercap_open(host, below("two"), &p, &err));
    CHECK_STR(p.why.size ? p.why.data : "", "");
    REQUIRE(p.count == 3);
    CHECK_STR(p.zones[0].label, "package-0");
    CHECK_STR(p.zones[1].label, "package-0/dram");
    CHECK_STR(p.zones[2].label, "package-1");
    CHECK_STR(p.others.data, "package-0/core, package-1/uncore, psys");
    CHECK_NEAR(di_powercap_read(&p), 0, 0);
    move_on("two");
    CHECK_NEAR(di_powercap_read(&p), 4.5, 1e-12);
    CHECK_NEAR(di_powercap_read(&p), 4.5, 1e-12);
    di_powercap_close(&p);
    end();
}

/* As /sys/devices/virtual/powercap has them: below a folder for each driver. */
TEST(folders_of_kinds)
{
    di_powercap p;
    dk_error err;
    REQUIRE(begin("powercap_folders_of_kinds"));
    put_zone("nested/intel-rapl/intel-rapl:0", "package-0", 10, 1000);
    put_zone("nested/intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram", 20, 1000);
    REQUIRE_OK(di_powercap_open(host, below("nested"), &p, &err));
    REQUIRE(p.count == 2);
    put_number("nested/intel-rapl/intel-rapl:0", "energy_uj", 5); /* 10 -> 5: 995 uJ */
    CHECK_NEAR(di_powercap_read(&p), 995e-6, 1e-12);
    di_powercap_close(&p);
    end();
}

static void check_why(const char *root, const char *expected)
{
    di_powercap p;
    dk_error err;
    REQUIRE_OK(di_powercap_open(host, below(root), &p, &err));
    CHECK_HAS(p.why.size ? p.why.data : "", expected);
    CHECK_NEAR(di_powercap_read(&p), -1, 0);
    di_powercap_close(&p);
}

TEST(nothing_to_tell)
{
    REQUIRE(begin("powercap_nothing_to_tell"));
    put_zone("psys/intel-rapl:0", "psys", 1, 10);
    put_zone("text/intel-rapl:0", "package-0", 1, 10);
    CHECK(write_text(zone_file("text/intel-rapl:0", "energy_uj"), "lots\n"));
    put_zone("partly/intel-rapl:0", "package-0", 1, 10);
    put_zone("partly/intel-rapl:1", "package-1", 1, 10);
    CHECK(unlink(zone_file("partly/intel-rapl:1", "energy_uj")) == 0);
    check_why("absent", "absent: no such folder; this system shows no energy counters");
    check_why("psys", "psys: no zone of a package in it");
    check_why("text", "text/intel-rapl:0/energy_uj: is no number of microjoules");
    check_why("partly", "partly/intel-rapl:1/energy_uj: No such file");
    if (geteuid() != 0) { /* who may read everything */
        put_zone("closed/intel-rapl:0", "package-0", 1, 10);
        CHECK(chmod(zone_file("closed/intel-rapl:0", "energy_uj"), 0) == 0);
        check_why("closed", "closed/intel-rapl:0/energy_uj: permission denied");
    }
    end();
}

/* A counter that went back without a known end, or vanished: no sum any more, and the reason. */
TEST(lost_on_the_way)
{
    di_powercap p;
    dk_error err;
    REQUIRE(begin("powercap_lost_on_the_way"));
    put_zone("lost/intel-rapl:0", "package-0", 100, 0);
    REQUIRE_OK(di_powercap_open(host, below("lost"), &p, &err));
    put_number("lost/intel-rapl:0", "energy_uj", 150);
    CHECK_NEAR(di_powercap_read(&p), 50e-6, 1e-12);
    put_number("lost/intel-rapl:0", "energy_uj", 20);
    CHECK_NEAR(di_powercap_read(&p), -1, 0);
    CHECK_HAS(p.why.data, "went back, and max_energy_range_uj does not say from where");
    put_number("lost/intel-rapl:0", "energy_uj", 2000);
    CHECK_NEAR(di_powercap_read(&p), -1, 0);
    di_powercap_close(&p);
    end();
}

/* Counters of which one stands still, and a zone whose name is no name. */
TEST(nothing_is_counted)
{
    di_powercap p;
    dk_error err;
    char name[100];
    REQUIRE(begin("powercap_nothing_is_counted"));
    put_zone("still/intel-rapl:0", "package-0", 100, 1000);
    put_zone("still/intel-rapl:0/intel-rapl:0:0", "dram", 100, 1000);
    REQUIRE_OK(di_powercap_open(host, below("still"), &p, &err));
    put_number("still/intel-rapl:0", "energy_uj", 150);
    p.opened -= 3;
    CHECK_NEAR(di_powercap_read(&p), 50e-6, 1e-12); /* memory may rest */
    di_powercap_close(&p);
    REQUIRE_OK(di_powercap_open(host, below("still"), &p, &err));
    CHECK_NEAR(di_powercap_read(&p), 0, 0);
    p.opened -= 3;
    CHECK_NEAR(di_powercap_read(&p), -1, 0);
    CHECK_HAS(p.why.data, "intel-rapl:0/energy_uj: stands still");
    di_powercap_close(&p);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    memcpy(name, "package-0", 9);
    put_zone("long/intel-rapl:0", name, 100, 1000);
    put_zone("long/intel-rapl:1", "package-1", 100, 1000);
    REQUIRE_OK(di_powercap_open(host, below("long"), &p, &err));
    CHECK_INT(p.count, 1);
    CHECK_STR(p.others.data, "intel-rapl:0");
    di_powercap_close(&p);
    end();
}

/* A counter that cannot be read, to whoever asks: root reads what its mode forbids, but no folder. */
TEST(unreadable)
{
    REQUIRE(begin("powercap_unreadable"));
    put_zone("folder/intel-rapl:0", "package-0", 1, 10);
    CHECK(unlink(zone_file("folder/intel-rapl:0", "energy_uj")) == 0);
    CHECK(mkdir(zone_file("folder/intel-rapl:0", "energy_uj"), 0700) == 0);
    check_why("folder", "folder/intel-rapl:0/energy_uj: Is a directory");
    end();
}

/* ---- the meter around them ---- */

static di_options *options_of(const char *root, const char *more)
{
    di_options *options = NULL;
    dk_error err;
    CHECK_OK(di_options_create(host, &options, &err));
    CHECK_OK(di_options_set_str(options, "cost.powercap", below(root), &err));
    if (*more) CHECK_OK(di_options_parse(options, more, strlen(more), "test", NULL, &err));
    return options;
}

TEST(measured)
{
    di_meter meter;
    dk_error err;
    dk_strbuf json;
    REQUIRE(begin("powercap_measured"));
    put_system("measured");
    di_options *options = options_of("measured", "cost: {idle_seconds: 0.01, eur_per_kwh: 0.36, watts_per_core: 5}");
    REQUIRE_OK(di_meter_start(host, options, 1, &meter, &err));
    CHECK_NEAR(meter.idle_watts, -1, 0);
    CHECK_INT(di_meter_read(&meter).energy, DI_ENERGY_ESTIMATED); /* none of them has moved on */
    move_on("measured");
    dk_host_add_work(host, 70, 2e6);
    const di_cost cost = di_meter_read(&meter);
    CHECK_INT(cost.energy, DI_ENERGY_MEASURED);
    CHECK_NEAR(cost.joules, 4.5, 1e-12);
    CHECK_NEAR(cost.eur, 4.5 / 3.6e6 * 0.36, 1e-18);
    CHECK_NEAR(cost.usd, -1, 0);
    CHECK_INT(cost.work.tokens, 70);
    CHECK_NEAR(cost.work.flops, 2e6, 0);
    dk_strbuf_init(&json, host);
    di_cost_json(&meter, &cost, &json);
    CHECK_HAS(json.data, "\"energy\":\"measured\"");
    CHECK_HAS(json.data, "other processes");
    CHECK_HAS(json.data, "\"energy_of\":[\"package-0\",\"package-0/dram\",\"package-1\"]");
    CHECK_HAS(json.data, "\"energy_not_of\":\"package-0/core, package-1/uncore, psys\"");
    dk_strbuf_free(&json);
    di_meter_end(&meter);
    REQUIRE_OK(di_meter_start(host, options, 0, &meter, &err)); /* nothing is waited for */
    CHECK_NEAR(meter.idle_watts, -1, 0);
    di_meter_end(&meter);
    di_options_free(options);
    end();
}

/* It goes round twice while the work is long: nothing of that is lost as long as it is polled. */
TEST(polled)
{
    static const int counts[] = {900, 200, 900, 100}; /* 100 + 800, + 300, + 700, + 200 */
    di_meter meter;
    dk_error err;
    REQUIRE(begin("powercap_polled"));
    put_zone("round/intel-rapl:0", "package-0", 100, 1000);
    di_options *options = options_of("round", "");
    REQUIRE_OK(di_meter_start(host, options, 0, &meter, &err));
    di_meter_poll(&meter);
    put_number("round/intel-rapl:0", "energy_uj", 500);
    di_meter_poll(&meter); /* not yet: counters are read every ten seconds */
    CHECK_NEAR(meter.powercap.joules, 0, 0);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        put_number("round/intel-rapl:0", "energy_uj", counts[i]);
        meter.polled -= 11;
        di_meter_poll(&meter);
    }
    CHECK_NEAR(di_meter_read(&meter).joules, 2000e-6, 1e-12);
    di_meter_end(&meter);
    di_options_free(options);
    end();
}

/* What a moment says is not what a machine takes while idle. */
TEST(idleness_that_was_cut_short)
{
    di_meter meter;
    dk_error err;
    REQUIRE(begin("powercap_idleness_that_was_cut_short"));
    put_system("cut");
    di_options *options = options_of("cut", "cost: {idle_seconds: 60}");
    dk_host_cancel(host, 1);
    REQUIRE_OK(di_meter_start(host, options, 1, &meter, &err));
    dk_host_cancel(host, 0);
    CHECK_NEAR(meter.idle_watts, -1, 0);
    move_on("cut");
    CHECK_NEAR(di_meter_read(&meter).joules, 4.5, 1e-12);
    di_meter_end(&meter);
    di_options_free(options);
    end();
}

TEST(estimated_or_not_told)
{
    di_meter meter;
    dk_error err;
    dk_strbuf json;
    REQUIRE(begin("powercap_estimated_or_not_told"));
    di_options *options = options_of("nowhere", "cost: {watts_per_core: 8, usd_per_million_tokens: 2}");
    REQUIRE_OK(di_meter_start(host, options, 1, &meter, &err));
    dk_host_add_work(host, 500000, 0);
    di_cost cost = di_meter_read(&meter);
    CHECK_INT(cost.energy, DI_ENERGY_ESTIMATED);
    CHECK_NEAR(cost.joules, 8 * cost.cpu, 1e-12);
    CHECK_NEAR(cost.usd, 1, 1e-12);
    dk_strbuf_init(&json, host);
    di_cost_json(&meter, &cost, &json);
    CHECK_HAS(json.data, "\"energy\":\"estimated\"");
    CHECK_HAS(json.data, "an estimate: CPU seconds times cost.watts_per_core");
    di_meter_end(&meter);
    di_options_free(options);
    options = options_of("nowhere", "cost: {eur_per_kwh: 0.3}");
    REQUIRE_OK(di_meter_start(host, options, 1, &meter, &err));
    cost = di_meter_read(&meter);
    CHECK_INT(cost.energy, DI_ENERGY_NONE);
    CHECK_NEAR(cost.joules, -1, 0);
    CHECK_NEAR(cost.eur, -1, 0);
    dk_strbuf_clear(&json);
    di_cost_json(&meter, &cost, &json);
    CHECK_HAS(json.data, "\"energy\":\"none\"");
    CHECK_HAS(json.data, "no such folder");
    CHECK(!strstr(json.data, "joules"));
    dk_strbuf_free(&json);
    di_meter_end(&meter);
    di_options_free(options);
    end();
}

TEST_MAIN(TEST_CASE(packages_and_memory) TEST_CASE(folders_of_kinds) TEST_CASE(nothing_to_tell)
              TEST_CASE(lost_on_the_way) TEST_CASE(nothing_is_counted) TEST_CASE(unreadable) TEST_CASE(polled)
                  TEST_CASE(measured) TEST_CASE(idleness_that_was_cut_short) TEST_CASE(estimated_or_not_told))
