// raii.cpp - the C++17 wrapper: handles that free themselves, errors as exceptions, a lambda for progress.
// Usage: raii TEACHER TEXT [STEPS]
#include <cstdlib>
#include <iostream>

#include <distill.hpp>

int main(int argc, char **argv)
{
    if (argc < 3) {
        std::cerr << "usage: raii TEACHER TEXT [STEPS]\n";
        return 2;
    }
    try {
        distill::env env;
        distill::options options(env);
        options.parse("student: {from: teacher}\n"
                      "data: {sequence_length: 64, eval_fraction: 0.1}\n"
                      "loss: {temperature: 2, hard_label_weight: 0.5}\n"
                      "train: {batch_size: 4, learning_rate: 1.0e-3, warmup_steps: 2}\n");
        options.set("teacher.path", argv[1])
            .set("data.train", argv[2])
            .set("train.steps", std::int64_t{argc > 3 ? std::atol(argv[3]) : 20});
        distill::trainer trainer(env, options);
        trainer.on_progress([](const distill_progress &p) {
            if (p.phase == DISTILL_PHASE_TRAINING && p.step % 5 == 0)
                std::cout << "step " << p.step << ": loss " << p.loss << "\n";
            return true; // false would stop the run
        });
        trainer.run();
        distill::report report = trainer.report();
        std::cout << "KL(teacher || student) = " << report["student.forward_kl"] << " nats per token\n";
    } catch (const distill::error &e) {
        std::cerr << e.what() << "\n";
        return 1;
    }
    return 0;
}
