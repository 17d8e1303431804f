// distill.hpp: sessions, which answer token by token.
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

static distill::teacher small_model(const distill::env &env, const char *name)
{
    std::string path = std::string(test_folder(name)) + "/config.json";
    std::ofstream(path) << config;
    return distill::student::fresh(env, path).as_teacher();
}

static distill::options short_answers(const distill::env &env)
{
    distill::options options(env);
    options.set("generate.temperature", 0.0).set("generate.max_tokens", 6).set("session.context", 40);
    options.yaml("generate.logit_bias", "{2: -1000}");
    return options;
}

static std::vector<std::int32_t> answer_of(distill::session &session)
{
    std::vector<std::int32_t> ids;
    session.generate([&](const distill_token &token) { ids.push_back(token.id); });
    return ids;
}

TEST(a_session_answers_as_generate_does)
{
    distill::env env;
    distill::teacher model = small_model(env, "session_answers");
    const distill::options options = short_answers(env);
    const std::vector<std::int32_t> prompt = {5, 6, 7};
    std::vector<std::int32_t> written;
    distill::session session(model, &options);
    model.generate(
        distill::batch(prompt), [&](const distill::generated &t) { return written.push_back(t.id), true; }, &options);
    session.append(prompt);
    CHECK(answer_of(session) == written && written.size() == 6);
    distill_token token;
    CHECK(!session.next(token));
    const distill_session_stats stats = session.stats();
    CHECK(stats.tokens == 6 && stats.context == 40 && stats.prompt_tokens == 3);
    CHECK(stats.model_tokens == 3 + 5 && stats.flops > 0 && stats.seconds > 0 && stats.usd == -1);
    CHECK(session.ids().size() == static_cast<std::size_t>(stats.length) && session.ids()[0] == 5);
    session.truncate(0);
    session.append(prompt);
    int seen = 0;
    session.generate([&](const distill_token &) { return ++seen < 2; });
    CHECK(seen == 2 && answer_of(session) == std::vector<std::int32_t>(written.begin() + 2, written.end()));
}

TEST(a_session_takes_logits_and_orders)
{
    distill::env env;
    distill::teacher model = small_model(env, "session_orders");
    distill::options options = short_answers(env);
    distill::session session(model, &options);
    const std::vector<std::int32_t> prompt = {5, 6, 7};
    session.on_logits([](const distill_session *, distill::span<float> logits) { return logits[9] = 1e4F, true; });
    session.append(prompt);
    CHECK(answer_of(session) == std::vector<std::int32_t>(6, 9));
    session.on_logits([](const distill_session *, distill::span<float>) -> bool { throw std::domain_error("mine"); });
    session.append(prompt);
    bool thrown = false;
    try {
        answer_of(session);
    } catch (const std::domain_error &) {
        thrown = true;
    }
    CHECK(thrown);
    session.on_logits({});
    session.truncate(0);
    session.configure(&options.set("generate.max_tokens", 2));
    session.append(prompt);
    CHECK(answer_of(session).size() == 2);
    session.cancel();
    session.append(prompt);
    std::int32_t code = 0;
    try {
        answer_of(session);
    } catch (const distill::error &e) {
        code = e.code();
    }
    CHECK(code == DISTILL_E_CANCELLED);
    session.cancel(false);
    session.append(prompt);
    CHECK(answer_of(session).size() == 2);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {TEST_CASE(a_session_answers_as_generate_does)
                                          TEST_CASE(a_session_takes_logits_and_orders)};
    try {
        return test_main(cases, static_cast<int>(sizeof cases / sizeof *cases), argc, argv);
    } catch (const std::exception &e) {
        std::fprintf(stderr, "uncaught: %s\n", e.what());
        return 1;
    }
}
