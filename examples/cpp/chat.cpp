// chat.cpp - talks with a model, as the words come; Ctrl-C stops an answer.
// Usage: chat MODEL [TEMPLATE]
#include <csignal>
#include <iostream>
#include <string>

#include <distill.hpp>

static distill::session *answering;

static std::string json(std::string_view text)
{
    static const char digits[] = "0123456789abcdef";
    std::string out = "\"";
    for (const char byte : text) {
        const unsigned code = static_cast<unsigned char>(byte);
        if (code < 0x20 || byte == '"' || byte == '\\') (out += "\\u00") += {digits[code / 16], digits[code % 16]};
        else out += byte;
    }
    return out + "\"";
}

static std::string message(const char *role, std::string_view text)
{
    return std::string("{\"role\": \"") + role + "\", \"content\": " + json(text) + "}";
}

int main(int argc, char **argv)
{
    if (argc < 2) return std::cerr << "usage: chat MODEL [chatml|llama2|llama3|mistral]\n", 2;
    try {
        distill::env env;
        distill::teacher model(env, argv[1]);
        distill::options how(env); // the likeliest token; the oldest turns make room
        how.set("generate.temperature", 0).set("session.overflow", "oldest");
        distill::session session(model, &how);
        answering = &session;
        std::signal(SIGINT, [](int) { answering->cancel(); });
        std::string talk = argc > 2 ? "{\"chat_template\": " + json(argv[2]) + ", \"messages\": [" : "{\"messages\": [";
        for (std::string line; std::cerr << "> " && std::getline(std::cin, line);) {
            std::string answer;
            talk += message("user", line);
            session.cancel(false);
            session.chat(talk + "]}"); // what stood is not read again
            try {
                session.generate([&](const distill_token &token) {
                    std::cout << distill::text_of(token) << std::flush;
                    answer += distill::text_of(token);
                });
            } catch (const distill::error &e) {
                if (e.code() != DISTILL_E_CANCELLED) throw;
            }
            std::cout << "\n";
            talk += ", " + message("assistant", answer) + ", ";
        }
    } catch (const distill::error &e) {
        return std::cerr << e.what() << "\n", 1;
    }
}
