// distill.hpp: what a run would take, what it left, two models side by side, questions with answers.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "distill.hpp"

#include "test.h"

static const char own_teacher[] = TEST_DATA "/../../examples/quickstart/teacher";

static std::string write_text(const std::string &path, int lines)
{
    std::ofstream file(path);
    for (int i = 0; i < lines; i++) file << "a vessel number " << i << " that carries the people across a river\n";
    return path;
}

static distill::options small_run(const distill::env &env, const std::string &folder)
{
    distill::options options(env);
    options.set("teacher.path", own_teacher).set("student.from", "teacher").yaml("student.layers", "[0, 7]");
    options.set("data.train", write_text(folder + "/train.txt", 40))
        .set("data.eval", write_text(folder + "/held.txt", 8));
    options.set("data.sequence_length", 16).set("train.steps", 2).set("train.batch_size", 2);
    options.set("output.path", folder + "/out").set("output.samples", 0);
    return options;
}

static std::string text_of(const std::string &path)
{
    std::ostringstream out;
    out << std::ifstream(path).rdbuf();
    return out.str();
}

TEST(a_run_is_planned_made_and_told)
{
    distill::env env;
    const std::string folder = test_folder("results_run");
    const distill::options options = small_run(env, folder);
    const distill::report planned = distill::plan(env, options);
    CHECK(planned["steps"] == 2 && planned["memory.peak_bytes"] > 0 && planned["time.seconds"] > 0);
    CHECK(!std::ifstream(folder + "/out/config.json"));

    const distill::report made = distill::run(env, options), opened = distill::report::open(env, folder + "/out");
    CHECK(made["training.steps"] == 2 && made["student.parameters"] == planned["parameters"]);
    CHECK(opened["result.student.forward_kl"] == made["student.forward_kl"]);
    opened.html(folder + "/again.html");
    CHECK(text_of(folder + "/again.html") == text_of(folder + "/out/report.html"));
    distill::html({&made, &opened}, folder + "/both.html");
    CHECK(text_of(folder + "/both.html").find("<svg") != std::string::npos);

    std::int32_t code = 0;
    try {
        distill::report::open(env, folder + "/none");
    } catch (const distill::error &e) {
        code = e.code();
    }
    CHECK(code != 0);
}

TEST(a_plan_is_stopped)
{
    distill::env env;
    std::int32_t code = 0;
    try {
        distill::plan(env, small_run(env, test_folder("results_stopped")),
                      [](const distill_progress &) { return false; });
    } catch (const distill::error &e) {
        code = e.code();
    }
    CHECK(code == DISTILL_E_CANCELLED);
}

TEST(models_are_compared_and_questioned)
{
    distill::env env;
    const std::string folder = test_folder("results_compare"), data = write_text(folder + "/text.txt", 8);
    distill::options options(env);
    options.set("teacher.path", own_teacher).set("data.sequence_length", 16);
    const distill::teacher a(env, own_teacher, &options), b(env, own_teacher, &options);
    distill::options with(env);
    with.set("data.sequence_length", 16);
    const distill::report compared = distill::compare(a, b, data.c_str(), &with);
    CHECK(compared["a.perplexity"] == compared["b.perplexity"] && std::fabs(compared["between.forward_kl"]) < 1e-6);

    std::ofstream(folder + "/choices.jsonl")
        << R"({"prompt": "a vessel that carries", "choices": [" people", " qzx"], "answer": 0})"
        << "\n";
    distill::options questions(env);
    questions.set("tasks.choices", folder + "/choices.jsonl");
    const distill::report answered = distill::evaluate_tasks(a, &questions);
    CHECK(answered["choices.questions"] == 1 && answered["choices.accuracy"] == 1);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {TEST_CASE(a_run_is_planned_made_and_told) TEST_CASE(a_plan_is_stopped)
                                          TEST_CASE(models_are_compared_and_questioned)};
    try {
        return test_main(cases, static_cast<int>(sizeof cases / sizeof *cases), argc, argv);
    } catch (const std::exception &e) {
        std::fprintf(stderr, "uncaught: %s\n", e.what());
        return 1;
    }
}
