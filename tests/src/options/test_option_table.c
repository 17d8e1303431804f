#include "options/options.h"
#include "options/suggest.h"
#include "test.h"

/* Every option that a condition speaks of is there. */
static void check_condition(const di_option_info *option)
{
    const char *dot = strrchr(option->name, '.');
    for (const char *at = option->when; at && *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
        char name[96];
        const char *key = at + (*at == '!');
        if (*key == '/') snprintf(name, sizeof name, "%.*s", (int)strcspn(key + 1, "=,"), key + 1);
        else
            snprintf(name, sizeof name, "%.*s.%.*s", (int)(dot - option->name), option->name, (int)strcspn(key, "=,"),
                     key);
        if (di_option_find(name, strlen(name)) < 0) FAIL("%s: its condition names %s", option->name, name);
    }
}

TEST(rows_are_sound)
{
    for (int64_t i = 0; i < di_option_count(); i++) {
        const di_option_info *option = di_option_at(i);
        int32_t section = di_table_section(&di_public_table, i);
        if (section < 0 || section >= DI_SECTIONS) FAIL("%s: section", option->name);
        if (i && section < di_table_section(&di_public_table, i - 1)) FAIL("%s: out of order", option->name);
        check_condition(option);
        CHECK_INT(di_option_find(option->name, strlen(option->name)), i); /* no name twice */
        if (!option->help || !*option->help || strchr(option->help, '\n')) FAIL("%s: help", option->name);
        const int32_t may_choose = option->type == DI_OPTION_CHOICE || option->type == DI_OPTION_PATH;
        if (option->choices ? !may_choose : option->type == DI_OPTION_CHOICE) FAIL("%s: choices", option->name);
        if ((option->type == DI_OPTION_LIST) != (option->item_type != 0)) FAIL("%s: item type", option->name);
        if (option->type == DI_OPTION_INT || option->type == DI_OPTION_NUMBER) {
            CHECK(option->low < option->high);
            /* No number so small that it is neither off nor of use. */
            if (option->type == DI_OPTION_NUMBER && option->low >= 0 && option->low < 1e-16 &&
                !(option->flags & DI_OPTION_OPEN_HIGH))
                FAIL("%s: lower bound", option->name);
        }
    }
    CHECK(!di_option_at(-1) && !di_option_at(di_option_count()));
    CHECK_INT(di_option_find("train.step", 10), -1);
}

/* A default must pass its own check, and the getters must read the same. */
TEST(defaults_pass_their_checks)
{
    dk_error err;
    dk_host *host;
    di_options *options;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(di_options_create(host, &options, &err));
    for (int64_t i = 0; i < di_option_count(); i++) {
        const di_option_info *option = di_option_at(i);
        if (!option->default_text) {
            CHECK(!di_options_text(NULL, option->name));
            continue;
        }
        char key[96];
        snprintf(key, sizeof key, "%s", option->name);
        if (strstr(key, ".N.")) strstr(key, ".N.")[1] = '0'; /* of the first item of a list */
        CHECK_OK(di_options_set_str(options, key, option->default_text, &err));
        CHECK(di_options_is_set(options, key));
        if (option->type == DI_OPTION_INT || option->type == DI_OPTION_FLAG)
            CHECK_INT(di_options_i64(options, key), di_options_i64(NULL, option->name));
        if (option->type != DI_OPTION_FLAG) CHECK(di_options_f64(options, key) == di_options_f64(NULL, option->name));
        if (option->type == DI_OPTION_TEXT || option->type == DI_OPTION_CHOICE)
            CHECK_STR(di_options_text(options, key), option->default_text);
    }
    di_options_free(options);
    dk_host_release(host);
}

TEST(groups)
{
    const di_table *table = &di_public_table;
    const int64_t loss = di_table_member(table, DI_ROOT, "loss", 4);
    CHECK_INT(di_table_section(table, loss), DI_LOSS);
    CHECK_INT(di_table_member(table, DI_ROOT, "los", 3), DI_NONE);
    CHECK_INT(di_table_member(table, DI_ROOT, "losses", 6), DI_NONE);
    CHECK_STR(di_table_name(table, di_table_member(table, loss, "type", 4)), "loss.type");
    CHECK_INT(di_table_member(table, loss, "steps", 5), DI_NONE);
    CHECK(!di_table_row(table, loss) && !di_table_group(table, 0) && !di_table_group(table, loss + 100));
    for (int64_t i = 0; i < table->group_count; i++) {
        const di_group *group = &table->groups[i];
        const int64_t members = di_table_members(table, table->row_count + i);
        if (group->main && di_table_member(table, members, group->main, strlen(group->main)) == DI_NONE)
            FAIL("%s: main option", group->name);
    }
}

static const char *suggest(const char *text)
{
    const char *name = di_option_suggest(&di_public_table, text, strlen(text));
    return name ? name : "nothing";
}

TEST(suggestions)
{
    char near[40];
    const di_option_info *schedule = di_option_at(di_option_find("train.schedule", 14));
    CHECK_STR(suggest("train.stpes"), "train.steps");
    CHECK_STR(suggest("train.learningrate"), "train.learning_rate");
    CHECK_STR(suggest("trian.steps"), "train.steps");
    CHECK_STR(suggest("learning_rate"), "train.learning_rate");
    CHECK_STR(suggest("train.temperature"), "loss.temperature");
    CHECK_STR(suggest("hard_label_weigth"), "loss.hard_label_weight");
    CHECK_STR(suggest("studnet"), "student");
    CHECK_STR(suggest("train.frobnicate"), "nothing");
    CHECK_STR(suggest(""), "nothing");
    CHECK_STR(suggest("x.y"), "nothing");
    CHECK_STR(suggest("a very long text that is nowhere near any option of the table, longer than all of them"),
              "nothing");
    CHECK_STR(di_choice_suggest(schedule->choices, "cosin", near, sizeof near), "cosine");
    CHECK(!di_choice_suggest(schedule->choices, "sawtooth", near, sizeof near));
    CHECK(di_option_has_choice(schedule->choices, "wsd", 3) && !di_option_has_choice(schedule->choices, "ws", 2) &&
          !di_option_has_choice(schedule->choices, "", 0));
}

TEST_MAIN(TEST_CASE(rows_are_sound) TEST_CASE(defaults_pass_their_checks) TEST_CASE(groups) TEST_CASE(suggestions))
