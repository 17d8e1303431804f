// distill.hpp: handles, exceptions through callbacks, the trainer from C++.
#include <array>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "distill.hpp"

#include "test.h"

static const char config[] =
    R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 32, "hidden_size": 16,
    "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu",
    "bos_token_id": 1, "eos_token_id": 2})";

static std::string write_config(const char *name)
{
    std::string path = std::string(test_folder(name)) + "/config.json";
    std::ofstream(path) << config;
    return path;
}

static distill::batch some_tokens()
{
    distill::batch tokens;
    for (int s = 0; s < 16; s++) {
        std::vector<std::int32_t> ids;
        for (int i = 0; i < 12; i++) ids.push_back((7 * s + 3 * i) % 29 + 3);
        tokens.add(ids);
    }
    return tokens;
}

static distill::options small_run(const distill::env &env)
{
    distill::options options(env);
    options.set("train.steps", 3)
        .set("train.batch_size", 2)
        .set("train.learning_rate", 1e-3)
        .set("data.sequence_length", 12);
    return options;
}

TEST(options_take_values_and_name_mistakes)
{
    distill::env env;
    distill::options options(env);
    options.set("train.steps", 12)
        .set("train.learning_rate", 0.5)
        .set("data.shuffle", false)
        .set("loss.type", "forward_kl");
    CHECK(options.get_text("train.steps") == "12");
    CHECK(options.get_text("data.shuffle") == "false");
    CHECK(options.unset("train.steps").get_text("train.steps") == "1000");
    try {
        options.set("train.step", 3);
        FAIL("no exception");
    } catch (const distill::error &e) {
        CHECK_INT(e.code(), DISTILL_E_OPTION);
        CHECK_HAS(e.what(), "train.steps");
    }
    CHECK(distill::option_table().size() > 40);
}

TEST(handles_move)
{
    distill::env env;
    distill::options first(env);
    first.set("train.steps", 4);
    distill::options second(std::move(first));
    CHECK(!first && second);
    CHECK(second.get_text("train.steps") == "4");
}

TEST(losses_are_functions)
{
    distill::env env;
    int calls = 0;
    env.add_loss("square", [&calls](const distill_loss_rows &rows) {
        calls++;
        for (std::int64_t i = 0; i < rows.rows * rows.vocab; i++) {
            double d = double(rows.student[i]) - double(rows.teacher[i]);
            rows.value[i / rows.vocab] += d * d;
            if (rows.gradient) rows.gradient[i] = float(2 * d);
        }
        return DISTILL_CB_OK;
    });
    distill::loss loss(env, "square");
    std::array<float, 6> q{1, 2, 3, 4, 5, 6}, p{0, 2, 3, 4, 5, 8}, gradient{};
    distill::tensor q_view(q.data(), {2, 3}), p_view(p.data(), {2, 3}), gradient_view(gradient.data(), {2, 3});
    auto student = distill::init<distill_target>(), teacher = distill::init<distill_target>();
    student.kind = teacher.kind = DISTILL_DENSE;
    student.values = q_view, teacher.values = p_view;
    auto args = distill::init<distill_loss_args>();
    args.student = &student, args.teacher = &teacher, args.grad_values = gradient_view;
    loss.eval(args);
    CHECK(calls > 0);
    CHECK_NEAR(args.sum, 5, 1e-6);
    CHECK_INT(args.count, 2);
    CHECK_NEAR(gradient[5], -4, 1e-6);
}

/* What a list sums is the weighted sum of its losses, value and gradient; a preset is divided already. */
TEST(losses_are_lists)
{
    const std::array<const char *, 3> names{"jsd", "cross_entropy", "logit_mse"};
    const std::array<double, 3> weights{0.5, 0.25, 2};
    std::array<float, 8> q{1, -0.5f, 2, 0.25f, -1, 3, 0.5f, 0}, p{0.5f, 1, 2, -1, 0, 1, 2, 3}, got{}, one{};
    std::array<std::int32_t, 2> ids{2, 1};
    distill::tensor q_view(q.data(), {2, 4}), p_view(p.data(), {2, 4}), gradient(got.data(), {2, 4}),
        part(one.data(), {2, 4}), labels(ids.data(), {2});
    auto student = distill::init<distill_target>(), teacher = distill::init<distill_target>();
    student.kind = teacher.kind = DISTILL_DENSE;
    student.values = q_view, teacher.values = p_view;
    auto args = distill::init<distill_loss_args>();
    args.student = &student, args.teacher = &teacher, args.labels = labels, args.grad_values = gradient;
    distill::env env;
    distill::options options(env);
    options.parse(
        "loss: [{type: jsd, weight: 0.5, temperature: 2}, {type: cross_entropy, weight: 0.25}, {type: logit_mse, "
        "weight: 2}]\n");
    distill::loss list(env, options);
    list.eval(args);
    const double sum = args.sum;
    double wanted = 0;
    std::array<double, 8> slopes{};
    args.grad_values = part;
    for (std::size_t i = 0; i < names.size(); i++) {
        distill::options of(env);
        if (!i) of.set("loss.temperature", 2.0);
        distill::loss(env, names[i], &of).eval(args);
        wanted += weights[i] * args.sum;
        for (std::size_t k = 0; k < slopes.size(); k++) slopes[k] += weights[i] * double(one[k]);
    }
    CHECK_NEAR(sum, wanted, 1e-6);
    for (std::size_t k = 0; k < slopes.size(); k++) CHECK_NEAR(double(got[k]), slopes[k], 1e-6);
    distill::options of(env);
    of.set("loss.t_squared", "off");
    distill::loss(env, "jsd", &of).eval(args);
    const double whole = args.sum;
    distill::loss(env, "trl-gkd").eval(args);
    CHECK_NEAR(args.sum, whole / 2, 1e-9);
    CHECK_NEAR(args.weight_sum, 1, 0);
    args.divisor = 5;
    distill::loss(env, "trl-gkd").eval(args);
    CHECK_NEAR(args.sum, whole / 5, 1e-9);
}

/* The mean of the students' first logits over a sequence, less each row's own. */
TEST(losses_that_measure_sequences_first)
{
    distill::env env;
    env.add_loss(
        "apart",
        [](const distill_loss_rows &rows) {
            for (std::int64_t i = 0; i < rows.rows; i++) {
                const double *sums = rows.sequence_sums + 2 * rows.sequences[i];
                rows.value[i] = sums[0] / sums[1] - double(rows.student[i * rows.vocab]);
            }
            return DISTILL_CB_OK;
        },
        [](const distill_loss_rows &rows, double *out) {
            for (std::int64_t i = 0; i < rows.rows; i++) {
                out[2 * i] = double(rows.student[i * rows.vocab]);
                out[2 * i + 1] = 1;
            }
            return DISTILL_CB_OK;
        },
        2, 0);
    distill::loss loss(env, "apart");
    std::array<float, 6> q{1, 0, 4, 0, 9, 0};
    std::array<float, 3> values{};
    std::array<std::int32_t, 3> whose{0, 0, 1};
    distill::tensor q_view(q.data(), {3, 2}), value_view(values.data(), {3}), whose_view(whose.data(), {3});
    auto student = distill::init<distill_target>();
    student.kind = DISTILL_DENSE;
    student.values = q_view;
    auto args = distill::init<distill_loss_args>();
    args.student = &student, args.sequences = whose_view, args.row_values = value_view;
    loss.eval(args);
    CHECK_NEAR(values[0], 1.5, 0);
    CHECK_NEAR(values[1], -1.5, 0);
    CHECK_NEAR(values[2], 0, 0);
}

TEST(exceptions_pass_through_callbacks)
{
    distill::env env;
    env.add_loss("thrower", [](const distill_loss_rows &) -> std::int32_t { throw std::out_of_range("from inside"); });
    distill::loss loss(env, "thrower");
    std::array<float, 3> q{1, 2, 3};
    distill::tensor view(q.data(), {1, 3});
    auto target = distill::init<distill_target>();
    target.kind = DISTILL_DENSE;
    target.values = view;
    auto args = distill::init<distill_loss_args>();
    args.student = args.teacher = &target;
    try {
        loss.eval(args);
        FAIL("no exception");
    } catch (const std::out_of_range &e) {
        CHECK_STR(e.what(), "from inside");
    }
}

TEST(functions_are_destroyed_once)
{
    auto alive = std::make_shared<int>(1);
    {
        distill::env env;
        env.add_loss("kept", [alive](const distill_loss_rows &) { return DISTILL_CB_OK; });
        CHECK_INT(alive.use_count(), 2);
    }
    CHECK_INT(alive.use_count(), 1);
}

TEST(a_host_changes_logits)
{
    distill::env env;
    auto model = distill::student::fresh(env, write_config("logits"));
    auto teacher = model.as_teacher();
    distill::options options(env);
    options.set("generate.max_tokens", 4).set("generate.top_logprobs", 2);
    distill::batch prompt;
    prompt.add(std::vector<std::int32_t>{5, 6});
    std::vector<std::int32_t> written;
    std::int64_t likeliest = 0;
    distill::writer_functions functions;
    functions.token = [&](std::int64_t, const distill_token &token) {
        written.push_back(token.id);
        likeliest += token.top_count;
        return true;
    };
    functions.logits = [](std::int64_t, const std::int32_t *, std::int64_t, float *logits, std::int64_t vocab) {
        for (std::int64_t v = 0; v < vocab; v++) logits[v] = v == 7 ? 0.0F : -100.0F;
        return true;
    };
    teacher.generate(prompt, functions, &options);
    CHECK(written == std::vector<std::int32_t>(4, 7));
    CHECK_INT(likeliest, 8);
    functions.token = [](std::int64_t, const distill_token &) -> bool { throw std::runtime_error("the host's"); };
    try {
        teacher.generate(prompt, functions, &options);
        FAIL("no exception");
    } catch (const std::runtime_error &error) {
        CHECK_HAS(error.what(), "the host's");
    }
}

TEST(trains_a_student_from_a_teacher)
{
    distill::env env;
    auto options = small_run(env);
    auto model = distill::student::fresh(env, write_config("cxx_trains"), nullptr, &options);
    auto teacher = model.as_teacher();
    auto student = distill::student::derive(teacher, &options);
    distill::dataset data(env, some_tokens(), &options);
    distill::trainer trainer(env, {&teacher, &student, &data, nullptr}, options);
    std::int64_t last = 0;
    trainer.on_progress([&last](const distill_progress &p) { last = p.step; });
    trainer.run();
    CHECK_INT(last, 3);
    CHECK(!trainer.step());
    CHECK_INT(teacher["vocab_size"], 32);
    CHECK_INT((std::int64_t)teacher.score(some_tokens()).size(), 16 * 11 * 32);
    const std::string file = std::string(test_folder("cxx_export")) + "/m.gguf";
    distill::options as_gguf(env);
    as_gguf.set("output.format", "gguf");
    teacher.export_to(file, &as_gguf);
    CHECK(distill::teacher(env, file).score(some_tokens()) == teacher.score(some_tokens()));
    auto both = distill::teacher::blend(env, {{teacher.get(), "one", 0.7}, {teacher.get(), "two", 0.3}});
    CHECK_INT(both["vocab_size"], 32);
    auto alone = teacher.log_probs(some_tokens(), 2), together = both.log_probs(some_tokens(), 2);
    for (std::size_t i = 0; i < alone.size(); i++) CHECK_NEAR((double)together[i], (double)alone[i], 1e-5);
    auto second = student.as_teacher();
    std::vector<distill::member> names = {{teacher.get(), "pt"}, {second.get(), "en"}};
    const std::int32_t ids[] = {1, 2, 3};
    distill::batch one(distill::span<const std::int32_t>(ids, 3)), same = one;
    one.origin("pt");
    auto by_source = distill::teacher::route(env, names);
    CHECK(by_source.score(one) == teacher.score(one));
    auto by_length = distill::teacher::route(env, names, nullptr,
                                             [](const distill_batch &, std::int64_t, std::string_view source,
                                                std::string_view) { return source == "pt" ? 1 : 0; });
    CHECK(by_length.score(same) == teacher.score(same));
    CHECK(by_length.score(one) == second.score(one));
    CHECK(!student.parameter_names().empty());
    auto weight = student.parameter(student.parameter_names().front());
    CHECK(distill::size(weight) > 0);
    std::string json = trainer.report().json();
    CHECK_HAS(json.c_str(), "\"training\"");
}

TEST(targets_are_kept_in_a_file)
{
    std::string path = write_config("cxx_kept"), file = path + ".dtc";
    distill::env env;
    auto options = small_run(env);
    options.set("teacher.cache.tier", "hidden");
    auto student = distill::student::fresh(env, path, nullptr, &options);
    auto live = student.as_teacher();
    auto kept = distill::teacher::cached(env, file, &live, &options);
    CHECK(kept.score(some_tokens()) == live.score(some_tokens()));
    distill::dataset data(env, some_tokens(), &options);
    const std::string built = file + ".built", merged = file + ".merged";
    std::int64_t done = 0;
    auto made = distill::cache::build(env, &live, &data, built.c_str(), &options, [&](const distill_progress &p) {
        done = p.done;
        return true;
    });
    CHECK_INT(done, 16);
    CHECK_INT(made["added"], 16 * 11);
    distill::cache::merge(env, {built}, merged);
    CHECK_INT(distill::cache::inspect(env, merged)["sequences"], 16);
    const std::string verified = distill::cache::verify(env, merged).json();
    CHECK_HAS(verified.c_str(), "\"whole\":true");
    try {
        distill::teacher::cached(env, file + ".none");
        FAIL("a file that is not there was opened");
    } catch (const distill::error &problem) {
        CHECK_INT(problem.code(), DISTILL_E_NOT_FOUND);
    }
}

TEST(samples_go_through_operators)
{
    distill::env env;
    distill::options options(env);
    const std::string in = std::string(TEST_TMP) + "/cxx_seeds.jsonl", out = std::string(TEST_TMP) + "/cxx_out.jsonl";
    FILE *file = std::fopen(in.c_str(), "wb");
    std::fputs("{\"text\": \"abc\"}\n{\"text\": \"d\"}\n", file);
    std::fclose(file);
    std::remove(out.c_str());
    env.add_operator("twice", [](std::string_view json, const distill::env::emit_function &emit) {
        if (json.find("\"abc\"") == std::string_view::npos) return;
        emit(std::string(json));
        emit("{\"text\": \"more\"}");
    });
    options.set("augment.steps", "[{name: twice}, {keep: length, min: 2}]");
    auto made = distill::augment(env, options, nullptr, in.c_str(), out.c_str());
    CHECK_INT(made["written"], 2);
    const std::string told = made.json();
    CHECK_HAS(told.c_str(), "\"counts\":{\"not_emitted\":1}");
    CHECK_INT(distill::augment_plan(env, options, nullptr, in.c_str())["samples"], 2);
    env.add_operator("throws",
                     [](std::string_view, const distill::env::emit_function &) { throw std::runtime_error("enough"); });
    options.set("augment.steps", "[{name: throws}]");
    options.set("augment.overwrite", "true");
    try {
        distill::augment(env, options, nullptr, in.c_str(), out.c_str());
        FAIL("no exception");
    } catch (const std::runtime_error &e) {
        CHECK_STR(e.what(), "enough");
    }
}

TEST(progress_can_stop_and_throw)
{
    distill::env env;
    auto options = small_run(env);
    auto student = distill::student::fresh(env, write_config("cxx_stops"), nullptr, &options);
    distill::dataset data(env, some_tokens(), &options);
    options.set("loss.type", "cross_entropy");
    distill::trainer trainer(env, {nullptr, &student, &data, nullptr}, options);
    trainer.on_progress([](const distill_progress &) { return false; });
    try {
        trainer.run();
        FAIL("no exception");
    } catch (const distill::error &e) {
        CHECK_INT(e.code(), DISTILL_E_CANCELLED);
    }
    trainer.on_progress([](const distill_progress &) { throw std::runtime_error("enough"); });
    try {
        trainer.run();
        FAIL("no exception");
    } catch (const std::runtime_error &e) {
        CHECK_STR(e.what(), "enough");
    }
}

TEST(datasets_are_functions)
{
    distill::env env;
    auto options = small_run(env);
    std::array<std::int32_t, 8> ids{3, 4, 5, 6, 7, 8, 9, 10};
    distill::dataset data(
        env,
        [&ids](std::int64_t index, distill_sample &out) -> std::int32_t {
            ids[0] = static_cast<std::int32_t>(index) + 3;
            out.kind = DISTILL_SAMPLE_TOKENS;
            out.ids = ids.data();
            out.count = static_cast<std::int64_t>(ids.size());
            return DISTILL_CB_OK;
        },
        4, nullptr, &options);
    CHECK_INT(data["samples"], 4);
    distill_sample sample;
    CHECK(data.next(sample) && sample.count > 0);
    std::string cursor = data.tell();
    data.seek("");
    CHECK(data.next(sample));
    CHECK(data.tell() == cursor);
}

/* Hosts on both sides give what is inside of them, and the student's comes back as a gradient. */
TEST(places_inside_are_functions)
{
    distill::env env;
    auto options = small_run(env);
    options.set("loss.type", "hidden_mse").set("loss.hidden_mse.layers", "[1]");
    options.set("loss.hidden_mse.teacher_layers", "[0]");
    auto form = distill::init<distill_target>();
    std::array<float, 32> row{};
    distill::tensor values(row.data(), {1, 32});
    form.kind = DISTILL_DENSE;
    form.values = values;
    int reads = 0, gradients = 0;
    auto place = [](std::int64_t layer) {
        auto tap = distill::init<distill_tap>();
        tap.kind = DISTILL_TAP_OUTPUT;
        tap.layer = layer;
        tap.width = 2;
        return tap;
    };
    auto read = [&reads](const distill_batch &, std::int64_t, const distill_tensor &to) -> std::int32_t {
        reads++;
        for (std::int64_t i = 0; i < to.shape[0] * to.shape[1]; i++) static_cast<float *>(to.data)[i] = float(reads);
        return DISTILL_CB_OK;
    };
    auto rows = [](const distill_batch &, std::int64_t, std::int64_t, distill_target &) -> std::int32_t {
        return DISTILL_CB_OK;
    };
    distill::teacher_functions of_teacher;
    of_teacher.score = rows;
    of_teacher.taps = {place(0)};
    of_teacher.read_tap = read;
    distill::student_functions of_student;
    of_student.forward = rows;
    of_student.backward = [](std::int64_t, std::int64_t, const distill_tensor &) -> std::int32_t { return 0; };
    of_student.apply = [](std::int64_t, double, double) -> std::int32_t { return 0; };
    of_student.taps = {place(1)};
    of_student.read_tap = read;
    of_student.tap_gradient = [&gradients](const distill_batch &, std::int64_t tap, const distill_tensor &from) {
        gradients += tap == 0 && static_cast<float *>(from.data)[0] != 0;
        return static_cast<std::int32_t>(DISTILL_CB_OK);
    };
    distill::teacher teacher(env, of_teacher, form);
    distill::student student(env, of_student, form);
    distill::dataset data(env, some_tokens(), &options);
    distill::trainer trainer(env, {&teacher, &student, &data, nullptr}, options);
    auto progress = distill::init<distill_progress>();
    CHECK(trainer.step(&progress));
    CHECK_NEAR(progress.loss, 1, 1e-6);
    CHECK(gradients > 0 && reads == 2 * gradients);
}

/* A student of functions writes for train.on_policy; what stops it is passed on. */
TEST(a_student_writes)
{
    distill::env env;
    distill::options options(env);
    std::int64_t shape[2] = {1, 32}, rows = 0;
    distill_tensor values = {nullptr, DISTILL_CPU, 0, 2, DISTILL_FLOAT, 32, 1, shape, nullptr, 0};
    auto form = distill::init<distill_target>();
    form.kind = DISTILL_DENSE;
    form.temperature = 1;
    form.vocab_valid = 32;
    form.values = &values;
    options.parse("data: {sequence_length: 12, pack: false}\ntrain: {batch_size: 2, steps: 4}\n"
                  "train.on_policy: {lambda: 1, max_new_tokens: 3, prompt_tokens: 2}\n");
    auto flat = [](const distill_batch &, std::int64_t, std::int64_t count, distill_target &out) -> std::int32_t {
        for (std::int64_t i = 0; i < 32 * count; i++) static_cast<float *>(out.values->data)[i] = float(i % 5);
        return DISTILL_CB_OK;
    };
    bool broken = false;
    distill::teacher_functions of_teacher;
    of_teacher.score = flat;
    distill::student_functions of_student;
    of_student.forward = flat;
    of_student.backward = [&rows](std::int64_t, std::int64_t count, const distill_tensor &) -> std::int32_t {
        rows += count;
        return DISTILL_CB_OK;
    };
    of_student.apply = [](std::int64_t, double, double) -> std::int32_t { return DISTILL_CB_OK; };
    of_student.generate = [&broken](const distill_batch &prompts, const distill_writing &how,
                                    const distill::token_function &emit) -> std::int32_t {
        if (broken) throw std::runtime_error("no words");
        for (std::int64_t s = 0; s < prompts.sequences; s++)
            for (std::int64_t k = 0; k < how.most[s]; k++)
                if (!emit({s, 7, 0, {}, 0})) return DISTILL_CB_OK;
        return DISTILL_CB_OK;
    };
    distill::teacher teacher(env, of_teacher, form);
    distill::student student(env, of_student, form);
    distill::dataset data(env, some_tokens(), &options);
    distill::trainer trainer(env, {&teacher, &student, &data, nullptr}, options);
    auto progress = distill::init<distill_progress>();
    CHECK(trainer.step(&progress));
    CHECK(rows == 6 && progress.generated == 6 && progress.weight_sum == 6);
    broken = true;
    bool told = false;
    try {
        trainer.step(&progress);
    } catch (const std::exception &) {
        told = true;
    }
    CHECK(told);
}

/* The words of a tokenizer of 32 letters, and lines of them. */
static std::string write_texts(const std::string &folder)
{
    std::string vocabulary, lines;
    for (int i = 0; i < 32; i++)
        vocabulary +=
            (i ? ",\"" : "\"") + std::string(1, static_cast<char>('?' + i + (i > 28))) + "\":" + std::to_string(i);
    std::ofstream(folder + "/tokenizer.json")
        << R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"},)"
        << R"("model":{"type":"BPE","merges":[],"vocab":{)" << vocabulary << "}}}";
    for (int i = 0; i < 20; i++) {
        lines += "{\"text\": \"";
        for (int k = 0; k < 10; k++) lines += static_cast<char>('A' + (3 * i + 5 * k) % 26);
        lines += "\"}\n";
    }
    std::ofstream(folder + "/data.jsonl") << lines;
    return folder;
}

TEST(chats_become_text)
{
    const std::string path = write_config("cxx_chat"), folder = write_texts(path.substr(0, path.rfind('/')));
    distill::env env;
    distill::tokenizer tokenizer(env, folder);
    const char *given = R"({"messages": [{"role": "user", "content": "AB"}], "chat_template":)"
                        R"("{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %})"
                        R"({% if add_generation_prompt %}!{% endif %}"})";
    const std::string asked = tokenizer.chat(given), whole = tokenizer.chat(given, 0);
    CHECK_STR(asked.c_str(), "user=AB;!");
    CHECK_STR(whole.c_str(), "user=AB;");
    std::int32_t code = 0;
    try {
        tokenizer.chat(R"([{"role": "user", "content": "AB"}])");
    } catch (const distill::error &e) {
        code = e.code();
        CHECK_HAS(e.what(), "chat template");
    }
    CHECK(code < 0);
}

/* The same numbers, one after another and on two threads. */
TEST(members_go_side_by_side)
{
    distill::env env;
    env.set_threads(2);
    auto settings = small_run(env);
    auto model = distill::student::fresh(env, write_config("cxx_parallel"), nullptr, &settings);
    settings.set("train.seed", "9");
    auto second = distill::student::fresh(env, write_config("cxx_parallel"), nullptr, &settings);
    auto a = model.as_teacher(), b = second.as_teacher();
    distill::options parallel(env);
    parallel.set("teacher.parallel", "true");
    const std::vector<distill::member> members = {{a.get(), "a"}, {b.get(), "b"}};
    auto in_turn = distill::teacher::blend(env, members), together = distill::teacher::blend(env, members, &parallel);
    CHECK(together.score(some_tokens()) == in_turn.score(some_tokens()));
    CHECK(!(together.score(some_tokens()) == distill::teacher::blend(env, {{a.get(), "a"}}).score(some_tokens())));
}

TEST(stages_run_one_after_another)
{
    const std::string path = write_config("stages"), folder = write_texts(path.substr(0, path.rfind('/')));
    distill::env env;
    distill::options options = small_run(env);
    options.parse("loss: cross_entropy\nstages:\n- {name: a, student: {config: '" + path +
                  "'}}\n- {name: b, student: stages.a}\n");
    options.set("data.train.path", folder + "/data.jsonl").set("output.path", folder + "/out");
    std::int64_t last = 0;
    bool stopped = false;
    try {
        distill::run(env, options, 0, [](const distill_progress &p) { return p.step < 2; });
    } catch (const distill::error &e) {
        stopped = e.code() == DISTILL_E_CANCELLED;
    }
    CHECK(stopped);
    auto report = distill::run(env, options, 0, [&](const distill_progress &p) { return last = p.stage, true; });
    CHECK_INT(last, 2);
    CHECK_NEAR(report["stages.b.training.steps"], 3, 0);
}

TEST(work_has_a_cost)
{
    distill::env env;
    distill::options options(env);
    options.set("cost.powercap", "nowhere").set("cost.watts_per_core", "5");
    distill::meter meter(env, &options);
    auto cost = meter.read();
    CHECK(cost.energy == DISTILL_ENERGY_ESTIMATED && cost.joules >= 0 && cost.tokens == 0 && cost.usd == -1);
    const std::string told = meter.report().json();
    CHECK_HAS(told.c_str(), "nowhere: no such folder");
}

TEST(classifiers_learn_lines)
{
    distill::env env;
    distill::options options(env);
    options.parse("classifier: {ngrams: {bits: 8}}\nloss: forward_kl\n"
                  "train: {steps: 40, batch_size: 4, learning_rate: 0.05, weight_decay: 0}\n");
    const std::vector<std::string> lines = {
        "{\"text\": \"red apple\", \"probabilities\": {\"fruit\": 0.9, \"tool\": 0.1}}",
        "{\"text\": \"steel hammer\", \"probabilities\": {\"fruit\": 0.2, \"tool\": 0.8}}"};
    std::int64_t steps = 0;
    distill::report result;
    auto made = distill::classifier::train(
        env, options, lines, 0, [&](const distill_progress &p) { return steps = p.step, true; }, &result);
    CHECK_INT(steps, 40);
    CHECK_NEAR(result["training.steps"], 40, 0);
    CHECK(made.names() == std::vector<std::string>({"fruit", "tool"}));
    auto verdict = made.predict("a red apple");
    CHECK_INT(verdict.answer, 0);
    CHECK_NEAR(static_cast<double>(verdict.probabilities[0]), verdict.confidence, 1e-6);
    const std::string folder = std::string(TEST_TMP) + "/cxx_classifier";
    made.save(folder);
    distill::classifier opened(env, folder);
    auto both = opened.predict(std::vector<std::string>{"red", "hammer"});
    CHECK_INT(both[0].answer, 0);
    CHECK_INT(both[1].answer, 1);
    CHECK_NEAR(opened["parameters"], 256 * 2 + 2, 0);
    CHECK_NEAR(opened.what()["bytes"], opened["bytes"], 0);
    try {
        opened.predict("  ");
        CHECK(false);
    } catch (const distill::error &e) {
        CHECK_INT(e.code(), DISTILL_E_INVALID);
    }
}

TEST(machines_have_limits)
{
    distill::env env;
    auto limits = distill::limits(env);
    CHECK(limits["fp32.flops"] > 0 && limits["read.bytes_per_second"] > 0);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        TEST_CASE(options_take_values_and_name_mistakes) TEST_CASE(handles_move) TEST_CASE(losses_are_functions)
            TEST_CASE(losses_are_lists) TEST_CASE(losses_that_measure_sequences_first)
                TEST_CASE(exceptions_pass_through_callbacks) TEST_CASE(functions_are_destroyed_once)
                    TEST_CASE(a_host_changes_logits) TEST_CASE(trains_a_student_from_a_teacher)
                        TEST_CASE(targets_are_kept_in_a_file) TEST_CASE(progress_can_stop_and_throw)
                            TEST_CASE(datasets_are_functions) TEST_CASE(stages_run_one_after_another)
                                TEST_CASE(chats_become_text) TEST_CASE(members_go_side_by_side)
                                    TEST_CASE(machines_have_limits) TEST_CASE(classifiers_learn_lines)
                                        TEST_CASE(work_has_a_cost) TEST_CASE(a_student_writes)
                                            TEST_CASE(samples_go_through_operators)
                                                TEST_CASE(places_inside_are_functions)};
    try {
        return test_main(cases, static_cast<int>(sizeof cases / sizeof *cases), argc, argv);
    } catch (const std::exception &e) {
        std::fprintf(stderr, "uncaught: %s\n", e.what());
        return 1;
    }
}
