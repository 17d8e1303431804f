#include "options/options.h"
#include "test.h"

TEST(rows_are_sound)
{
    for (int64_t i = 0; i < di_option_count(); i++) {
        const di_option_info *option = di_option_at(i);
        int32_t section = di_option_section(i);
        if (section < 0 || strncmp(option->name, di_section_name(section), strlen(di_section_name(section))))
            FAIL("%s: section", option->name);
        if (i && section < di_option_section(i - 1)) FAIL("%s: out of order", option->name);
        CHECK_INT(di_option_find(option->name, strlen(option->name)), i); /* no name twice */
        if (!option->help || !*option->help || strchr(option->help, '\n')) FAIL("%s: help", option->name);
        if ((option->type == DI_OPTION_CHOICE) != (option->choices != NULL)) FAIL("%s: choices", option->name);
        if ((option->type == DI_OPTION_LIST) != (option->item_type != 0)) FAIL("%s: item type", option->name);
        if (option->type == DI_OPTION_INT || option->type == DI_OPTION_NUMBER) {
            CHECK(option->low < option->high);
            /* No number so small that it is neither off nor of use. */
            if (option->type == DI_OPTION_NUMBER && option->low >= 0 && option->low < 1e-16 &&
                !(option->flags & DI_OPTION_OPEN_HIGH))
                FAIL("%s: lower bound", option->name);
        }
        if ((option->flags & DI_OPTION_TERM) && section != DI_LOSS) FAIL("%s: only losses have terms", option->name);
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
        CHECK_OK(di_options_set_str(options, option->name, option->default_text, &err));
        CHECK(di_options_is_set(options, option->name));
        if (option->type == DI_OPTION_INT || option->type == DI_OPTION_FLAG)
            CHECK_INT(di_options_i64(options, option->name), di_options_i64(NULL, option->name));
        if (option->type != DI_OPTION_FLAG)
            CHECK(di_options_f64(options, option->name) == di_options_f64(NULL, option->name));
        if (option->type == DI_OPTION_TEXT || option->type == DI_OPTION_CHOICE)
            CHECK_STR(di_options_text(options, option->name), option->default_text);
    }
    di_options_free(options);
    dk_host_release(host);
}

TEST(sections)
{
    CHECK_INT(di_section_find("loss", 4), DI_LOSS);
    CHECK_INT(di_section_find("los", 3), -1);
    CHECK_INT(di_section_find("losses", 6), -1);
    for (int32_t i = 0; i < DI_SECTIONS; i++)
        if (di_section_main(i)) CHECK(di_option_find(di_section_main(i), strlen(di_section_main(i))) >= 0);
}

static const char *suggest(const char *text)
{
    const char *name = di_option_suggest(text, strlen(text));
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
    CHECK_STR(di_choice_suggest(schedule, "cosin", near, sizeof near), "cosine");
    CHECK(!di_choice_suggest(schedule, "sawtooth", near, sizeof near));
    CHECK(di_option_has_choice(schedule, "wsd", 3) && !di_option_has_choice(schedule, "ws", 2) &&
          !di_option_has_choice(schedule, "", 0));
}

TEST_MAIN(TEST_CASE(rows_are_sound) TEST_CASE(defaults_pass_their_checks) TEST_CASE(sections) TEST_CASE(suggestions))
