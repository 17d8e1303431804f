/* distill.hpp - distill.h for C++17: handles that free themselves, exceptions, std::function where C has callbacks.
 *
 * Copyright (c) 2026 the libdistill authors. MIT licence, see LICENSE.
 *
 *     distill::env env;
 *     distill::options options(env);
 *     options.load("recipe.yaml");
 *     distill::trainer trainer(env, options);
 *     trainer.on_progress([](const distill_progress &p) { std::printf("%lld %f\n", (long long)p.step, p.loss); });
 *     trainer.run();
 *
 * Handles move and do not copy. get() is the C handle, for what is not wrapped. A call that fails throws
 * distill::error, except that DISTILL_E_END becomes false or an empty value. An exception thrown inside a callback
 * stops the call and comes out of it as it was thrown. What distill.h says of threads, ownership and lifetimes holds
 * here too. */
#ifndef DISTILL_HPP
#define DISTILL_HPP

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "distill.h"

namespace distill
{

class error : public std::runtime_error
{
  public:
    error(std::int32_t code, std::int32_t user_code, const char *message)
        : std::runtime_error(*message ? message : distill_strerror(code)), code_(code), user_code_(user_code)
    {
    }
    std::int32_t code() const noexcept { return code_; } /* DISTILL_E_* */
    std::int32_t user_code() const noexcept { return user_code_; }

  private:
    std::int32_t code_, user_code_;
};

/* Elements in memory that stays the caller's: std::vector, std::array and std::string convert. */
template <class T> class span
{
  public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <std::size_t N> constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
    template <class C, class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<C &>().data()), T *>>>
    constexpr span(C &&container) noexcept : data_(container.data()), size_(container.size())
    {
    }
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/* A struct of distill.h, zeroed, with its struct_size set. */
template <class T> T init() noexcept
{
    T value;
    DISTILL_INIT(&value);
    return value;
}

namespace detail
{

inline constexpr std::int32_t threw = 1000; /* what a trampoline returns after an exception */

/* The exception that a callback of this thread left behind for the call that ran it. One thrown on another thread
 * (tables with DISTILL_CB_MT) cannot be carried over: the call throws distill::error with this user_code instead. */
inline std::exception_ptr &pending_exception() noexcept
{
    static thread_local std::exception_ptr exception;
    return exception;
}

[[noreturn]] inline void raise(const distill_error &err)
{
    if (err.code == DISTILL_E_CALLBACK && err.user_code == threw)
        if (auto exception = std::exchange(pending_exception(), nullptr)) std::rethrow_exception(exception);
    throw error(err.code, err.user_code, err.message);
}

template <class F, class... A> void call(F function, A &&...arguments)
{
    distill_error err;
    if (function(std::forward<A>(arguments)..., &err) != DISTILL_OK) raise(err);
}

/* The same where DISTILL_E_END is an answer: false. */
template <class F, class... A> bool call_or_end(F function, A &&...arguments)
{
    distill_error err;
    std::int32_t code = function(std::forward<A>(arguments)..., &err);
    if (code != DISTILL_OK && code != DISTILL_E_END) raise(err);
    return code == DISTILL_OK;
}

template <class F> std::int32_t guard(F &&function) noexcept
{
    try {
        return function();
    } catch (...) {
        pending_exception() = std::current_exception();
        return threw;
    }
}

/* A function on the heap as `user` of a table; destroy deletes it. */
template <class T> void *hold(T value) { return new T(std::move(value)); }
template <class T> void destroy(void *user) noexcept { delete static_cast<T *>(user); }

/* Text by (buf, cap, needed). */
template <class F> std::string text(F &&function)
{
    distill_error err;
    std::size_t needed = 0;
    if (function(nullptr, 0, &needed, &err) != DISTILL_OK) raise(err);
    std::string out(needed, '\0');
    if (function(out.data(), needed, &needed, &err) != DISTILL_OK) raise(err);
    out.resize(needed ? needed - 1 : 0);
    return out;
}

template <class T, void (*Free)(T *)> class handle
{
  public:
    handle() noexcept = default;
    explicit handle(T *raw) noexcept : raw_(raw) {}
    T *get() const noexcept { return raw_.get(); }
    explicit operator bool() const noexcept { return raw_ != nullptr; }
    T *release() noexcept { return raw_.release(); }

  protected:
    struct deleter {
        void operator()(T *raw) const noexcept { Free(raw); }
    };
    std::unique_ptr<T, deleter> raw_;
};

} // namespace detail

/* ---- env and options ---- */

using log_function = std::function<void(std::int32_t level, std::string_view component, std::string_view message)>;

class env : public detail::handle<distill_env, distill_env_free>
{
  public:
    env() : env(nullptr) {}
    explicit env(const distill_allocator *allocator)
    {
        distill_env *raw = nullptr;
        detail::call(distill_env_create, allocator, &raw);
        raw_.reset(raw);
    }
    /* log may be called by any thread; what it throws is lost. */
    void set_logger(std::int32_t level, log_function log)
    {
        auto run = [](void *user, std::int32_t at, const char *component, const char *message) {
            try {
                (*static_cast<log_function *>(user))(at, component, message);
            } catch (...) {
                return;
            }
        };
        detail::call(distill_env_set_logger, get(), level, static_cast<distill_log_fn>(run),
                     detail::hold(std::move(log)), detail::destroy<log_function>);
    }
    void set_threads(std::int64_t count)
    {
        detail::call(distill_env_set_threads, get(), count, nullptr, nullptr, nullptr);
    }
    void set_products(const std::string &name) { detail::call(distill_env_set_products, get(), name.c_str()); }
    /* Taken over, also where it is refused; nullptr = alone. */
    void set_communicator(const distill_communicator *table)
    {
        detail::call(distill_env_set_communicator, get(), table);
    }
    void cancel(bool on = true) const noexcept { distill_env_cancel(get(), on); }

    /* Gives each sample that emit is called with: JSON, as it gets one itself. */
    using emit_function = std::function<void(const std::string &json)>;
    using operator_function = std::function<void(std::string_view json, const emit_function &emit)>;
    void add_operator(const std::string &name, operator_function apply)
    {
        auto table = init<distill_operator_callbacks>();
        table.user = detail::hold(std::move(apply));
        table.destroy = detail::destroy<operator_function>;
        table.apply = [](void *user, const distill_sample *in, distill_emit_fn emit, void *emit_user) {
            return detail::guard([&] {
                std::int32_t code = DISTILL_CB_OK;
                (*static_cast<operator_function *>(user))(
                    std::string_view(in->text, static_cast<std::size_t>(in->size)), [&](const std::string &json) {
                        auto out = init<distill_sample>();
                        out.kind = DISTILL_SAMPLE_JSON;
                        out.text = json.c_str();
                        out.size = static_cast<std::int64_t>(json.size());
                        if (code == DISTILL_CB_OK) code = emit(emit_user, &out);
                    });
                return code;
            });
        };
        detail::call(distill_env_add_operator, get(), name.c_str(), &table);
    }

    using loss_function = std::function<std::int32_t(const distill_loss_rows &)>;
    using measure_function = std::function<std::int32_t(const distill_loss_rows &, double *)>;
    /* eval returns DISTILL_CB_*; targets is a bit set of 1 << DISTILL_<kind>, 0 = needs no teacher. */
    void add_loss(const std::string &name, loss_function eval, std::int64_t targets = 1 << DISTILL_DENSE,
                  std::uint32_t flags = 0, const char *fallback = nullptr)
    {
        add_loss(name, std::move(eval), nullptr, 0, targets, flags, fallback);
    }
    /* measure gives `sums` numbers for each row of a batch before eval sees the first, which finds them added up over
     * sequences. */
    void add_loss(const std::string &name, loss_function eval, measure_function measure, std::int64_t sums,
                  std::int64_t targets = 1 << DISTILL_DENSE, std::uint32_t flags = 0, const char *fallback = nullptr)
    {
        auto table = init<distill_loss_callbacks>();
        table.flags = flags;
        if (measure)
            table.measure = [](void *user, const distill_loss_rows *rows, double *out) {
                return detail::guard([&] { return static_cast<own_loss *>(user)->measure(*rows, out); });
            };
        table.user = detail::hold(own_loss{std::move(eval), std::move(measure)});
        table.destroy = detail::destroy<own_loss>;
        table.eval = [](void *user, const distill_loss_rows *rows) {
            return detail::guard([&] { return static_cast<own_loss *>(user)->eval(*rows); });
        };
        table.fallback = fallback;
        table.targets = targets;
        table.sums = sums;
        detail::call(distill_env_add_loss, get(), name.c_str(), &table);
    }

  private:
    struct own_loss {
        loss_function eval;
        measure_function measure;
    };
};

class options : public detail::handle<distill_options, distill_options_free>
{
  public:
    explicit options(const env &env)
    {
        distill_options *raw = nullptr;
        detail::call(distill_options_create, env.get(), &raw);
        raw_.reset(raw);
    }
    void load(const std::string &path) { detail::call(distill_options_load, get(), path.c_str()); }
    void parse(std::string_view yaml, const std::string &name = "recipe")
    {
        detail::call(distill_options_parse, get(), yaml.data(), yaml.size(), name.c_str());
    }
    /* A number, a truth value, or text that is taken as it is; yaml takes any value as YAML. */
    template <class T> options &set(const std::string &key, const T &value)
    {
        if constexpr (std::is_same_v<T, bool>)
            detail::call(distill_options_set, get(), key.c_str(), value ? "true" : "false");
        else if constexpr (std::is_integral_v<T>)
            detail::call(distill_options_set_i64, get(), key.c_str(), static_cast<std::int64_t>(value));
        else if constexpr (std::is_floating_point_v<T>)
            detail::call(distill_options_set_f64, get(), key.c_str(), static_cast<double>(value));
        else detail::call(distill_options_set_str, get(), key.c_str(), std::string(value).c_str());
        return *this;
    }
    options &yaml(const std::string &key, const std::string &value)
    {
        detail::call(distill_options_set, get(), key.c_str(), value.c_str());
        return *this;
    }
    options &unset(const std::string &key)
    {
        detail::call(distill_options_set, get(), key.c_str(), nullptr);
        return *this;
    }
    std::string get_text(const std::string &key) const /* as YAML */
    {
        return detail::text([&](char *buf, std::size_t cap, std::size_t *needed, distill_error *err) {
            return distill_options_get(get(), key.c_str(), buf, cap, needed, err);
        });
    }
};

inline std::vector<distill_option_info> option_table()
{
    std::vector<distill_option_info> all;
    for (auto info = init<distill_option_info>();
         detail::call_or_end(distill_option_at, static_cast<std::int64_t>(all.size()), &info);
         info = init<distill_option_info>())
        all.push_back(info);
    return all;
}

/* ---- tensors and batches ---- */

/* A compact view [shape...] of memory that stays the caller's. The object owns shape, so it must outlive the call. */
class tensor
{
  public:
    tensor(const float *data, std::vector<std::int64_t> shape) : tensor(data, DISTILL_FLOAT, 32, std::move(shape)) {}
    tensor(const std::int32_t *data, std::vector<std::int64_t> shape) : tensor(data, DISTILL_INT, 32, std::move(shape))
    {
    }
    tensor(const std::int64_t *data, std::vector<std::int64_t> shape) : tensor(data, DISTILL_INT, 64, std::move(shape))
    {
    }
    tensor(const void *data, std::uint8_t code, std::uint8_t bits, std::vector<std::int64_t> shape)
        : shape_(std::move(shape)), view_()
    {
        view_.data = const_cast<void *>(data);
        view_.device_type = DISTILL_CPU;
        view_.ndim = static_cast<std::int32_t>(shape_.size());
        view_.dtype_code = code;
        view_.dtype_bits = bits;
        view_.dtype_lanes = 1;
        view_.shape = shape_.data();
    }
    tensor(const tensor &) = delete;
    tensor &operator=(const tensor &) = delete;
    const distill_tensor *get() const noexcept { return &view_; }
    operator const distill_tensor *() const noexcept { return &view_; }

  private:
    std::vector<std::int64_t> shape_;
    distill_tensor view_;
};

inline std::int64_t size(const distill_tensor &view) noexcept
{
    std::int64_t count = 1;
    for (std::int32_t i = 0; i < view.ndim; i++) count *= view.shape[i];
    return count;
}

/* Ragged sequences, gathered one by one. */
class batch
{
  public:
    batch() = default;
    explicit batch(span<const std::int32_t> ids) { add(ids); }
    void add(span<const std::int32_t> ids)
    {
        ids_.insert(ids_.end(), ids.begin(), ids.end());
        offsets_.push_back(static_cast<std::int64_t>(ids_.size()));
        if (!sources_.empty()) sources_.push_back(nullptr), tags_.push_back(nullptr);
    }
    /* Where the sequence last added is from, for routes. */
    void origin(const std::string &source, const std::string &tag = {})
    {
        const std::size_t sequences = offsets_.size() - 1;
        if (sequences == 0) throw error(DISTILL_E_INVALID, 0, "origin: no sequence was added");
        sources_.resize(sequences), tags_.resize(sequences);
        sources_.back() = keep(source), tags_.back() = keep(tag);
    }
    /* Places whose next token is asked for; without, all but the last of each sequence. */
    void rows(std::vector<std::int64_t> rows) { rows_ = std::move(rows); }
    std::int64_t row_count() const noexcept
    {
        if (!rows_.empty()) return static_cast<std::int64_t>(rows_.size());
        std::int64_t count = 0;
        for (std::size_t i = 1; i < offsets_.size(); i++)
            count += offsets_[i] > offsets_[i - 1] ? offsets_[i] - offsets_[i - 1] - 1 : 0;
        return count;
    }
    distill_batch view() const noexcept
    {
        auto out = init<distill_batch>();
        out.ids = ids_.data();
        out.offsets = offsets_.data();
        out.sequences = static_cast<std::int64_t>(offsets_.size()) - 1;
        if (!rows_.empty()) out.rows = rows_.data(), out.row_count = static_cast<std::int64_t>(rows_.size());
        if (!sources_.empty()) out.sources = sources_.data(), out.tags = tags_.data();
        return out;
    }

  private:
    const char *keep(const std::string &name)
    {
        names_.push_back(std::make_shared<const std::string>(name));
        return names_.back()->c_str();
    }
    std::vector<std::int32_t> ids_;
    std::vector<std::int64_t> offsets_{0}, rows_;
    std::vector<std::shared_ptr<const std::string>> names_; /* shared by copies, whose pointers they stand behind */
    std::vector<const char *> sources_, tags_;
};

/* ---- tokenizer ---- */

class tokenizer : public detail::handle<distill_tokenizer, distill_tokenizer_free>
{
  public:
    using handle::handle;
    tokenizer(const env &env, const std::string &path)
    {
        distill_tokenizer *raw = nullptr;
        detail::call(distill_tokenizer_open, env.get(), path.c_str(), &raw);
        raw_.reset(raw);
    }
    std::vector<std::int32_t> encode(std::string_view text, std::int32_t flags = DISTILL_ENCODE_SPECIAL) const
    {
        std::vector<std::int32_t> ids(text.size() + 16);
        std::int64_t needed = 0;
        distill_error err;
        std::int32_t code = encode_into(text, flags, ids, needed, err);
        if (code == DISTILL_E_BUFFER) {
            ids.resize(static_cast<std::size_t>(needed));
            code = encode_into(text, flags, ids, needed, err);
        }
        if (code != DISTILL_OK) detail::raise(err);
        ids.resize(static_cast<std::size_t>(needed));
        return ids;
    }
    std::string decode(span<const std::int32_t> ids, std::int32_t flags = 0) const
    {
        return detail::text([&](char *buf, std::size_t cap, std::size_t *needed, distill_error *err) {
            return distill_tokenizer_decode(get(), ids.data(), static_cast<std::int64_t>(ids.size()), flags, buf, cap,
                                            needed, err);
        });
    }
    std::string chat(const std::string &messages_json, std::int32_t flags = DISTILL_CHAT_ANSWER) const
    {
        return detail::text([&](char *buf, std::size_t cap, std::size_t *needed, distill_error *err) {
            return distill_tokenizer_chat(get(), messages_json.c_str(), flags, buf, cap, needed, err);
        });
    }
    std::int64_t operator[](const char *key) const /* "vocab_size", "bos", ... */
    {
        std::int64_t value = 0;
        detail::call(distill_tokenizer_get_i64, get(), key, &value);
        return value;
    }

  private:
    std::int32_t encode_into(std::string_view text, std::int32_t flags, std::vector<std::int32_t> &ids,
                             std::int64_t &needed, distill_error &err) const
    {
        return distill_tokenizer_encode(get(), text.data(), text.size(), flags, ids.data(),
                                        static_cast<std::int64_t>(ids.size()), &needed, &err);
    }
};

/* ---- teacher ---- */

struct generated {
    std::int64_t sequence;
    std::int32_t id;
    double log_prob;
    std::string_view text; /* bytes that are complete so far */
    std::int32_t finished; /* 0 going on, 1 stop token, 2 length, 3 stop text */
};
using token_function = std::function<bool(const generated &)>; /* false stops */

/* What a text is told to its host by; see distill_writer_callbacks. */
struct writer_functions {
    std::function<bool(std::int64_t sequence, const distill_token &)> token; /* false stops */
    /* or empty */
    std::function<bool(std::int64_t sequence, const std::int32_t *ids, std::int64_t count, float *logits,
                       std::int64_t vocab)>
        logits;
};

/* What a teacher of the host's own does; see distill_teacher_callbacks. */
struct teacher_functions {
    std::function<std::int32_t(const distill_batch &, std::int64_t first_row, std::int64_t row_count, distill_target &)>
        score;
    /* or empty */
    std::function<std::int32_t(const distill_batch &, const distill_options *, const token_function &)> generate;
    /* or empty: for a teacher that takes its time */
    std::function<std::int32_t(const distill_batch &)> begin;
    std::function<void(const distill_batch &)> end;
    std::string identity; /* or empty */
    /* or empty: places inside that losses on features may ask for, by init<distill_tap>() */
    std::vector<distill_tap> taps = {};
    std::function<std::int32_t(const distill_batch &, std::int64_t tap, const distill_tensor &values)> read_tap = {};
};

namespace detail
{
inline std::int32_t on_token(void *user, std::int64_t sequence, std::int32_t id, double log_prob, const char *text,
                             std::size_t size, std::int32_t finished) noexcept
{
    return guard([&] {
        bool more =
            (*static_cast<const token_function *>(user))({sequence, id, log_prob, {text ? text : "", size}, finished});
        return more ? DISTILL_CB_OK : DISTILL_CB_CANCEL;
    });
}
inline std::int32_t on_written(void *user, std::int64_t sequence, const distill_token *token) noexcept
{
    return guard([&] {
        return static_cast<const writer_functions *>(user)->token(sequence, *token) ? DISTILL_CB_OK : DISTILL_CB_CANCEL;
    });
}
inline std::int32_t on_logits(void *user, std::int64_t sequence, const std::int32_t *ids, std::int64_t count,
                              float *logits, std::int64_t vocab) noexcept
{
    return guard([&] {
        bool more = static_cast<const writer_functions *>(user)->logits(sequence, ids, count, logits, vocab);
        return more ? DISTILL_CB_OK : DISTILL_CB_CANCEL;
    });
}
} // namespace detail

/* A teacher that is part of another one; see distill_member. */
struct member {
    const distill_teacher *teacher;
    std::string name = {}; /* empty = its number */
    double weight = 0;
    double temperature = 0;
};

/* Which member teaches a sequence of a batch: its number, below 0 = the default; see distill_route_fn. */
using route_function = std::function<std::int64_t(const distill_batch &, std::int64_t sequence, std::string_view source,
                                                  std::string_view tag)>;

namespace detail
{
inline std::vector<distill_member> raw(const std::vector<member> &members)
{
    std::vector<distill_member> out;
    for (const member &part : members) {
        auto one = init<distill_member>();
        one.teacher = part.teacher;
        one.name = part.name.empty() ? nullptr : part.name.c_str();
        one.weight = part.weight;
        one.temperature = part.temperature;
        out.push_back(one);
    }
    return out;
}
inline std::int32_t on_route(void *user, const distill_batch *batch, std::int64_t sequence, const char *source,
                             const char *tag, std::int64_t *member) noexcept
{
    return guard([&] {
        *member = (*static_cast<route_function *>(user))(*batch, sequence, source, tag);
        return static_cast<std::int32_t>(DISTILL_CB_OK);
    });
}
} // namespace detail

class teacher : public detail::handle<distill_teacher, distill_teacher_free>
{
  public:
    using handle::handle;
    teacher(const env &env, const std::string &path, const options *with = nullptr)
    {
        distill_teacher *raw = nullptr;
        detail::call(distill_teacher_open, env.get(), path.c_str(), with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
    teacher(const env &env, teacher_functions functions, const distill_target &form, std::uint32_t flags = 0,
            const options *with = nullptr)
    {
        auto table = init<distill_teacher_callbacks>();
        bool generates = static_cast<bool>(functions.generate), begins = static_cast<bool>(functions.begin);
        bool ends = static_cast<bool>(functions.end);
        const std::string identity = functions.identity;
        table.identity = identity.empty() ? nullptr : identity.c_str();
        table.flags = flags;
        const std::vector<distill_tap> taps = functions.taps;
        table.taps = taps.empty() ? nullptr : taps.data();
        table.tap_count = static_cast<std::int64_t>(taps.size());
        table.read_tap = functions.read_tap ? on_tap : nullptr;
        table.user = detail::hold(std::move(functions));
        table.destroy = detail::destroy<teacher_functions>;
        table.score = on_score;
        table.generate = generates ? on_generate : nullptr;
        table.form = &form;
        table.begin = begins ? on_begin : nullptr;
        table.end = ends ? on_end : nullptr;
        distill_teacher *raw = nullptr;
        detail::call(distill_teacher_from_callbacks, env.get(), &table, with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
    /* Several teachers as one; see distill_teacher_blend. */
    static teacher blend(const env &env, const std::vector<member> &members, const options *with = nullptr)
    {
        auto raw_members = detail::raw(members);
        distill_teacher *raw = nullptr;
        detail::call(distill_teacher_blend, env.get(), raw_members.data(),
                     static_cast<std::int64_t>(raw_members.size()), with ? with->get() : nullptr, &raw);
        return teacher(raw);
    }
    /* Each sample by one of several teachers, as the options or function say; see distill_teacher_route. */
    static teacher route(const env &env, const std::vector<member> &members, const options *with = nullptr,
                         route_function function = {})
    {
        auto raw_members = detail::raw(members);
        const bool decides = static_cast<bool>(function);
        distill_teacher *raw = nullptr;
        detail::call(distill_teacher_route, env.get(), raw_members.data(),
                     static_cast<std::int64_t>(raw_members.size()), decides ? detail::on_route : nullptr,
                     decides ? detail::hold(std::move(function)) : nullptr,
                     decides ? detail::destroy<route_function> : nullptr, with ? with->get() : nullptr, &raw);
        return teacher(raw);
    }
    static teacher from(const distill_student *student)
    {
        distill_teacher *raw = nullptr;
        detail::call(distill_teacher_from_student, student, &raw);
        return teacher(raw);
    }
    /* Targets kept in a file; from nullptr = what is not there is an error. */
    static teacher cached(const env &env, const std::string &path, const teacher *from = nullptr,
                          const options *with = nullptr)
    {
        distill_teacher *raw = nullptr;
        detail::call(distill_teacher_cached, env.get(), path.c_str(), from ? from->get() : nullptr,
                     with ? with->get() : nullptr, &raw);
        return teacher(raw);
    }
    std::int64_t operator[](const char *key) const /* "vocab_size", "layers", ... */
    {
        std::int64_t value = 0;
        detail::call(distill_teacher_get_i64, get(), key, &value);
        return value;
    }
    /* Logits [rows, vocab_size] of the rows of the batch. */
    std::vector<float> score(const batch &batch) const
    {
        std::int64_t rows = batch.row_count(), vocab = (*this)["vocab_size"];
        std::vector<float> logits(static_cast<std::size_t>(rows * vocab));
        tensor values(logits.data(), {rows, vocab});
        auto view = batch.view();
        auto target = init<distill_target>();
        target.kind = DISTILL_DENSE;
        target.values = values;
        detail::call(distill_teacher_score, get(), &view, &target);
        return logits;
    }
    /* Log-probabilities [rows] of the tokens that follow the rows of the batch. */
    std::vector<float> log_probs(const batch &batch, double temperature = 1) const
    {
        std::vector<float> chosen(static_cast<std::size_t>(batch.row_count()));
        tensor out(chosen.data(), {batch.row_count()});
        auto view = batch.view();
        const distill_tensor *given = out;
        detail::call(distill_teacher_log_probs, get(), &view, temperature, given, nullptr);
        return chosen;
    }
    /* The k likeliest ids of each row, descending, and the log of the mass of all others. */
    struct likeliest {
        std::int64_t k;
        std::vector<float> values; /* [rows, k] */
        std::vector<std::int32_t> ids;
        std::vector<float> tail; /* [rows] */
    };
    likeliest top(const batch &batch, std::int64_t k, double temperature = 1) const
    {
        if (k < 1) throw error(DISTILL_E_INVALID, 0, "k is below 1");
        const std::int64_t rows = batch.row_count();
        const auto size = static_cast<std::size_t>(rows * k);
        likeliest found{k, std::vector<float>(size), std::vector<std::int32_t>(size),
                        std::vector<float>(static_cast<std::size_t>(rows))};
        tensor values(found.values.data(), {rows, k}), ids(found.ids.data(), {rows, k}),
            tail(found.tail.data(), {rows});
        auto view = batch.view();
        auto target = init<distill_target>();
        target.kind = DISTILL_TOPK;
        target.values = values;
        target.ids = ids;
        target.tail = tail;
        detail::call(distill_teacher_log_probs, get(), &view, temperature, nullptr, &target);
        return found;
    }
    void generate(const batch &prompts, const token_function &on_token, const options *with = nullptr) const
    {
        auto view = prompts.view();
        detail::call(distill_teacher_generate, get(), &view, with ? with->get() : nullptr, detail::on_token,
                     const_cast<token_function *>(&on_token));
    }
    void generate(const batch &prompts, const writer_functions &functions, const options *with = nullptr) const
    {
        auto view = prompts.view();
        auto table = init<distill_writer_callbacks>();
        table.user = const_cast<writer_functions *>(&functions);
        table.token = functions.token ? detail::on_written : nullptr;
        table.logits = functions.logits ? detail::on_logits : nullptr;
        detail::call(distill_teacher_generate_with, get(), &view, &table, with ? with->get() : nullptr);
    }
    void export_to(const std::string &path, const options *with = nullptr) const
    {
        detail::call(distill_teacher_export, get(), path.c_str(), with ? with->get() : nullptr);
    }
    distill::tokenizer tokenizer() const
    {
        distill_tokenizer *raw = nullptr;
        detail::call(distill_teacher_tokenizer, get(), &raw);
        return distill::tokenizer(raw);
    }

  private:
    static std::int32_t on_score(void *user, const distill_batch *batch, std::int64_t first, std::int64_t count,
                                 distill_target *out) noexcept
    {
        return detail::guard([&] { return static_cast<teacher_functions *>(user)->score(*batch, first, count, *out); });
    }
    static std::int32_t on_tap(void *user, const distill_batch *batch, std::int64_t tap,
                               const distill_tensor *values) noexcept
    {
        return detail::guard([&] { return static_cast<teacher_functions *>(user)->read_tap(*batch, tap, *values); });
    }
    static std::int32_t on_begin(void *user, const distill_batch *batch) noexcept
    {
        return detail::guard([&] { return static_cast<teacher_functions *>(user)->begin(*batch); });
    }
    static void on_end(void *user, const distill_batch *batch) noexcept
    {
        try {
            static_cast<teacher_functions *>(user)->end(*batch);
        } catch (...) { /* nobody waits for it: what end throws is dropped */
        }
    }
    static std::int32_t on_generate(void *user, const distill_batch *prompts, const distill_options *with,
                                    distill_token_fn emit, void *emit_user) noexcept
    {
        std::int32_t stopped = DISTILL_CB_OK;
        std::int32_t code = detail::guard([&] {
            return static_cast<teacher_functions *>(user)->generate(*prompts, with, [&](const generated &t) {
                stopped = emit(emit_user, t.sequence, t.id, t.log_prob, t.text.data(), t.text.size(), t.finished);
                return stopped == DISTILL_CB_OK;
            });
        });
        return code == DISTILL_CB_OK ? stopped : code;
    }
};

/* ---- session ---- */

inline std::string_view text_of(const distill_token &token) noexcept /* borrowed until the next call */
{
    return {token.text ? token.text : "", static_cast<std::size_t>(token.size)};
}

/* A model that answers in real time; see distill_session_create. */
class session : public detail::handle<distill_session, distill_session_free>
{
  public:
    using handle::handle;
    explicit session(const teacher &model, const options *with = nullptr) { create(model, nullptr, with); }
    session(const teacher &model, const teacher &draft, const options *with = nullptr) { create(model, &draft, with); }

    void append(span<const std::int32_t> ids)
    {
        detail::call(distill_session_append, get(), ids.data(), static_cast<std::int64_t>(ids.size()));
    }
    void append_text(std::string_view text, std::int32_t flags = 0) /* DISTILL_ENCODE_* */
    {
        detail::call(distill_session_append_text, get(), text.data(), text.size(), flags);
    }
    /* The conversation as it is to stand, as tokenizer::chat takes it. */
    void chat(const std::string &messages_json, std::int32_t flags = DISTILL_CHAT_ANSWER)
    {
        detail::call(distill_session_chat, get(), messages_json.c_str(), flags);
    }
    /* false after the last token of an answer; what out points to is borrowed until the next call. */
    bool next(distill_token &out)
    {
        out = init<distill_token>();
        return detail::call_or_end(distill_session_next, get(), &out);
    }
    /* next until the end. function returns nothing, or false to stop: a later call goes on with the answer. */
    template <class F> void generate(F &&function)
    {
        for (distill_token token; next(token);) {
            if constexpr (std::is_void_v<decltype(function(token))>) function(token);
            else if (!function(token)) return;
        }
    }
    /* function(session, logits [vocab]) changes them before a token is drawn; false cancels. An empty one = none. */
    using logits_function = std::function<bool(const distill_session *, span<float>)>;
    void on_logits(logits_function function)
    {
        if (!function) {
            detail::call(distill_session_on_logits, get(), nullptr, nullptr, nullptr);
            return;
        }
        detail::call(distill_session_on_logits, get(), change_logits, detail::hold(std::move(function)),
                     detail::destroy<logits_function>);
    }
    /* Section generate anew, from the next answer on; nullptr = defaults. */
    void configure(const options *with)
    {
        detail::call(distill_session_configure, get(), with ? with->get() : nullptr);
    }
    void truncate(std::int64_t tokens) { detail::call(distill_session_truncate, get(), tokens); }
    /* Stands where this one does, and goes its own way in the same memory; session.places of one family at most. */
    session fork() const
    {
        distill_session *raw = nullptr;
        detail::call(distill_session_fork, get(), &raw);
        return session(raw);
    }
    /* One pass for a session and its forks: outs has as many tokens as there are sessions; false = all have ended. */
    static bool next_many(span<distill_session *const> sessions, std::vector<distill_token> &outs)
    {
        outs.assign(sessions.size(), init<distill_token>());
        return detail::call_or_end(distill_session_next_many, sessions.data(),
                                   static_cast<std::int64_t>(sessions.size()), outs.data());
    }
    std::vector<std::int32_t> ids() const /* that stand in it, prompts and answers */
    {
        std::vector<std::int32_t> all(static_cast<std::size_t>(stats().length));
        std::int64_t needed = 0;
        detail::call(distill_session_ids, get(), all.data(), static_cast<std::int64_t>(all.size()), &needed);
        all.resize(static_cast<std::size_t>(needed));
        return all;
    }
    distill_session_stats stats() const /* by the thread that works with this family's sessions */
    {
        auto out = init<distill_session_stats>();
        detail::call(distill_session_get_stats, get(), &out);
        return out;
    }
    void cancel(bool on = true) const noexcept { distill_session_cancel(get(), on); } /* any thread, signal handlers */

  private:
    void create(const teacher &model, const teacher *draft, const options *with)
    {
        distill_session *raw = nullptr;
        detail::call(distill_session_create, model.get(), draft ? draft->get() : nullptr, with ? with->get() : nullptr,
                     &raw);
        raw_.reset(raw);
    }
    static std::int32_t change_logits(void *user, const distill_session *session, float *logits,
                                      std::int64_t vocab) noexcept
    {
        return detail::guard([&] {
            bool more = (*static_cast<logits_function *>(user))(session, {logits, static_cast<std::size_t>(vocab)});
            return more ? DISTILL_CB_OK : DISTILL_CB_CANCEL;
        });
    }
};

/* ---- student ---- */

/* What a student of the host's own does; see distill_student_callbacks. */
struct student_functions {
    std::function<std::int32_t(const distill_batch &, std::int64_t first_row, std::int64_t row_count, distill_target &)>
        forward;
    std::function<std::int32_t(std::int64_t first_row, std::int64_t row_count, const distill_tensor &gradient)>
        backward;
    std::function<std::int32_t(std::int64_t step, double learning_rate, double scale)> apply;
    std::function<std::int32_t()> discard;
    std::function<std::int32_t(const std::string &folder)> save, load;
    /* or empty: places inside that losses on features may ask for */
    std::vector<distill_tap> taps = {};
    std::function<std::int32_t(const distill_batch &, std::int64_t tap, const distill_tensor &values)> read_tap = {};
    std::function<std::int32_t(const distill_batch &, std::int64_t tap, const distill_tensor &gradient)> tap_gradient =
        {};
    /* or empty: text for train.on_policy; tokens have no text */
    std::function<std::int32_t(const distill_batch &, const distill_writing &, const token_function &)> generate = {};
};

class student : public detail::handle<distill_student, distill_student_free>
{
  public:
    using handle::handle;
    student(const env &env, const std::string &path, const options *with = nullptr)
    {
        distill_student *raw = nullptr;
        detail::call(distill_student_open, env.get(), path.c_str(), with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
    student(const env &env, student_functions functions, const distill_target &form, const options *with = nullptr)
    {
        auto table = init<distill_student_callbacks>();
        table.discard = functions.discard ? on_discard : nullptr;
        table.save = functions.save ? on_save : nullptr;
        table.load = functions.load ? on_load : nullptr;
        const std::vector<distill_tap> taps = functions.taps;
        table.taps = taps.empty() ? nullptr : taps.data();
        table.tap_count = static_cast<std::int64_t>(taps.size());
        table.read_tap = functions.read_tap ? on_tap : nullptr;
        table.tap_gradient = functions.tap_gradient ? on_tap_gradient : nullptr;
        table.generate = functions.generate ? on_generate : nullptr;
        table.user = detail::hold(std::move(functions));
        table.destroy = detail::destroy<student_functions>;
        table.forward = on_forward;
        table.backward = on_backward;
        table.apply = on_apply;
        table.form = &form;
        distill_student *raw = nullptr;
        detail::call(distill_student_from_callbacks, env.get(), &table, with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
    static student fresh(const env &env, const std::string &config_path, const tokenizer *tokenizer = nullptr,
                         const options *with = nullptr)
    {
        distill_student *raw = nullptr;
        detail::call(distill_student_create, env.get(), config_path.c_str(), tokenizer ? tokenizer->get() : nullptr,
                     with ? with->get() : nullptr, &raw);
        return student(raw);
    }
    static student derive(const teacher &teacher, const options *with = nullptr)
    {
        distill_student *raw = nullptr;
        detail::call(distill_student_derive, teacher.get(), with ? with->get() : nullptr, &raw);
        return student(raw);
    }
    teacher as_teacher() const { return teacher::from(get()); }
    void save(const std::string &path, const options *with = nullptr) const
    {
        detail::call(distill_student_save, get(), path.c_str(), with ? with->get() : nullptr);
    }
    std::int64_t operator[](const char *key) const /* "vocab_size", "trainable_parameters", ... */
    {
        std::int64_t value = 0;
        detail::call(distill_student_get_i64, get(), key, &value);
        return value;
    }
    distill::tokenizer tokenizer() const
    {
        distill_tokenizer *raw = nullptr;
        detail::call(distill_student_tokenizer, get(), &raw);
        return distill::tokenizer(raw);
    }
    /* The parameter that makes logits; "" = the head is the host's own. */
    std::string head_name() const
    {
        const char *name = distill_student_head_name(get());
        return name ? name : "";
    }
    std::vector<std::string> parameter_names() const
    {
        std::vector<std::string> names;
        while (const char *name = distill_student_parameter_name(get(), static_cast<std::int64_t>(names.size())))
            names.emplace_back(name);
        return names;
    }
    distill_tensor parameter(const std::string &name, std::int32_t which = DISTILL_WEIGHT)
    {
        distill_tensor view;
        detail::call(distill_student_parameter, get(), name.c_str(), which, &view);
        return view;
    }
    void weights_changed() { detail::call(distill_student_weights_changed, get()); }

  private:
    static student_functions &of(void *user) noexcept { return *static_cast<student_functions *>(user); }
    static std::int32_t on_forward(void *user, const distill_batch *batch, std::int64_t first, std::int64_t count,
                                   distill_target *out) noexcept
    {
        return detail::guard([&] { return of(user).forward(*batch, first, count, *out); });
    }
    static std::int32_t on_backward(void *user, std::int64_t first, std::int64_t count,
                                    const distill_tensor *gradient) noexcept
    {
        return detail::guard([&] { return of(user).backward(first, count, *gradient); });
    }
    static std::int32_t on_apply(void *user, std::int64_t step, double learning_rate, double scale) noexcept
    {
        return detail::guard([&] { return of(user).apply(step, learning_rate, scale); });
    }
    static std::int32_t on_discard(void *user) noexcept
    {
        return detail::guard([&] { return of(user).discard(); });
    }
    static std::int32_t on_save(void *user, const char *folder) noexcept
    {
        return detail::guard([&] { return of(user).save(folder); });
    }
    static std::int32_t on_load(void *user, const char *folder) noexcept
    {
        return detail::guard([&] { return of(user).load(folder); });
    }
    static std::int32_t on_tap(void *user, const distill_batch *batch, std::int64_t tap,
                               const distill_tensor *values) noexcept
    {
        return detail::guard([&] { return of(user).read_tap(*batch, tap, *values); });
    }
    static std::int32_t on_tap_gradient(void *user, const distill_batch *batch, std::int64_t tap,
                                        const distill_tensor *gradient) noexcept
    {
        return detail::guard([&] { return of(user).tap_gradient(*batch, tap, *gradient); });
    }
    static std::int32_t on_generate(void *user, const distill_batch *prompts, const distill_writing *how,
                                    distill_token_fn emit, void *emit_user) noexcept
    {
        std::int32_t stopped = DISTILL_CB_OK;
        std::int32_t code = detail::guard([&] {
            return of(user).generate(*prompts, *how, [&](const generated &t) {
                stopped = emit(emit_user, t.sequence, t.id, t.log_prob, t.text.data(), t.text.size(), t.finished);
                return stopped == DISTILL_CB_OK;
            });
        });
        return code == DISTILL_CB_OK ? stopped : code;
    }
};

/* ---- dataset ---- */

using sample_function = std::function<std::int32_t(std::int64_t index, distill_sample &out)>;

class dataset : public detail::handle<distill_dataset, distill_dataset_free>
{
  public:
    using handle::handle;
    dataset(const env &env, const std::string &path, const tokenizer *tokenizer = nullptr,
            const options *with = nullptr)
    {
        distill_dataset *raw = nullptr;
        detail::call(distill_dataset_open, env.get(), path.c_str(), tokenizer ? tokenizer->get() : nullptr,
                     with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
    dataset(const env &env, const batch &tokens, const options *with = nullptr)
    {
        distill_dataset *raw = nullptr;
        auto view = tokens.view();
        detail::call(distill_dataset_from_tokens, env.get(), &view, with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
    /* count -1 = a stream. What get points to must live until its next call. */
    dataset(const env &env, sample_function get, std::int64_t count, const tokenizer *tokenizer = nullptr,
            const options *with = nullptr, std::uint32_t flags = 0)
    {
        auto table = init<distill_dataset_callbacks>();
        table.flags = flags;
        table.user = detail::hold(std::move(get));
        table.destroy = detail::destroy<sample_function>;
        table.get = [](void *user, std::int64_t index, distill_sample *out) {
            return detail::guard([&] { return (*static_cast<sample_function *>(user))(index, *out); });
        };
        table.count = count;
        distill_dataset *raw = nullptr;
        detail::call(distill_dataset_from_callbacks, env.get(), &table, tokenizer ? tokenizer->get() : nullptr,
                     with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
    std::int64_t operator[](const char *key) const /* "samples", "tokens", ... */
    {
        std::int64_t value = 0;
        detail::call(distill_dataset_get_i64, get(), key, &value);
        return value;
    }
    /* The next window, borrowed until the next call; false at the end of the epoch. */
    bool next(distill_sample &out)
    {
        out = init<distill_sample>();
        return detail::call_or_end(distill_dataset_next, get(), &out);
    }
    std::string tell() const
    {
        return detail::text([&](char *buf, std::size_t cap, std::size_t *needed, distill_error *err) {
            return distill_dataset_tell(get(), buf, cap, needed, err);
        });
    }
    void seek(const std::string &cursor) { detail::call(distill_dataset_seek, get(), cursor.c_str()); }
};

/* ---- loss ---- */

class loss : public detail::handle<distill_loss, distill_loss_free>
{
  public:
    loss(const env &env, const std::string &name, const options *with = nullptr) : loss(env, with, name.c_str()) {}
    /* as the section loss says */
    loss(const env &env, const options &with) : loss(env, &with, nullptr) {}
    void eval(distill_loss_args &args) const { detail::call(distill_loss_eval, get(), &args); }

  private:
    loss(const env &env, const options *with, const char *name)
    {
        distill_loss *raw = nullptr;
        detail::call(distill_loss_create, env.get(), name, with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
};

/* ---- results ---- */

class report : public detail::handle<distill_report, distill_report_free>
{
  public:
    using handle::handle;
    double operator[](const std::string &key) const
    {
        double value = 0;
        detail::call(distill_report_get_f64, get(), key.c_str(), &value);
        return value;
    }
    std::string json() const
    {
        return detail::text([&](char *buf, std::size_t cap, std::size_t *needed, distill_error *err) {
            return distill_report_json(get(), buf, cap, needed, err);
        });
    }
    static report open(const env &env, const std::string &folder)
    {
        distill_report *raw = nullptr;
        detail::call(distill_report_open, env.get(), folder.c_str(), &raw);
        return report(raw);
    }
    /* this one alone */
    void html(const std::string &path, const options *with = nullptr) const
    {
        const distill_report *self = get();
        detail::call(distill_report_html, &self, std::int64_t{1}, path.c_str(), with ? with->get() : nullptr);
    }
};
/* Several on one page. */
inline void html(const std::vector<const report *> &reports, const std::string &path, const options *with = nullptr)
{
    std::vector<const distill_report *> raw;
    for (const auto *one : reports) raw.push_back(one->get());
    detail::call(distill_report_html, raw.data(), static_cast<std::int64_t>(raw.size()), path.c_str(),
                 with ? with->get() : nullptr);
}

inline report evaluate(const student &student, const teacher *teacher, const dataset &data,
                       const options *with = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_evaluate, student.get(), teacher ? teacher->get() : nullptr, data.get(),
                 with ? with->get() : nullptr, &raw);
    return report(raw);
}
using progress_function = std::function<bool(const distill_progress &)>; /* false stops */
namespace detail
{
inline std::int32_t on_step(void *user, const distill_progress *progress) noexcept
{
    return guard(
        [&] { return (*static_cast<progress_function *>(user))(*progress) ? DISTILL_CB_OK : DISTILL_CB_CANCEL; });
}
} // namespace detail

/* A whole recipe, with stages or without; flags DISTILL_RUN_*. fn may return false to stop. */
inline report run(const env &env, const options &with, std::int32_t flags = 0, progress_function fn = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_run, env.get(), with.get(), flags, fn ? detail::on_step : nullptr, &fn, &raw);
    return report(raw);
}

/* nullptr and no path: as distill_dataset_augment has them. fn may return false to stop. */
inline report augment(const env &env, const options &with, const teacher *teacher = nullptr, const char *in = nullptr,
                      const char *path = nullptr, progress_function fn = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_dataset_augment, env.get(), teacher ? teacher->get() : nullptr, in, path, with.get(),
                 fn ? detail::on_step : nullptr, &fn, &raw);
    return report(raw);
}
inline report augment_plan(const env &env, const options &with, const teacher *teacher = nullptr,
                           const char *in = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_dataset_augment_plan, env.get(), teacher ? teacher->get() : nullptr, in, with.get(), &raw);
    return report(raw);
}

/* A student that is no language model; see distill_classifier_train. */
class classifier : public detail::handle<distill_classifier, distill_classifier_free>
{
  public:
    struct verdict {
        std::int64_t answer = 0;
        double confidence = 0;
        bool sure = false;
        std::vector<float> probabilities;
    };
    using handle::handle;
    classifier(const env &env, const std::string &path, const options *with = nullptr)
    {
        distill_classifier *raw = nullptr;
        detail::call(distill_classifier_open, env.get(), path.c_str(), with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
    /* lines: JSON objects; none = files, as data.train says. fn may return false to stop. result: or nullptr. */
    static classifier train(const env &env, const options &with, const std::vector<std::string> &lines = {},
                            std::int32_t flags = 0, progress_function fn = nullptr, report *result = nullptr)
    {
        std::vector<distill_sample> samples(lines.size(), init<distill_sample>());
        for (std::size_t i = 0; i < lines.size(); i++) {
            samples[i].kind = DISTILL_SAMPLE_JSON;
            samples[i].text = lines[i].data();
            samples[i].size = static_cast<std::int64_t>(lines[i].size());
        }
        distill_classifier *raw = nullptr;
        distill_report *made = nullptr;
        detail::call(distill_classifier_train, env.get(), samples.empty() ? nullptr : samples.data(),
                     static_cast<std::int64_t>(samples.size()), with.get(), flags, fn ? detail::on_step : nullptr, &fn,
                     &raw, result ? &made : nullptr);
        if (result) *result = report(made);
        return classifier(raw);
    }
    void save(const std::string &path) const { detail::call(distill_classifier_save, get(), path.c_str()); }
    double operator[](const char *key) const /* "threshold", "bytes", ... */
    {
        double value = 0;
        detail::call(distill_classifier_get_f64, get(), key, &value);
        return value;
    }
    std::vector<std::string> names() const
    {
        std::vector<std::string> out;
        while (const char *name = distill_classifier_class_name(get(), static_cast<std::int64_t>(out.size())))
            out.emplace_back(name);
        return out;
    }
    verdict predict(std::string_view text) const
    {
        verdict out;
        auto raw = init<distill_verdict>();
        out.probabilities.resize(static_cast<std::size_t>((*this)["classes"]));
        detail::call(distill_classifier_predict, get(), text.data(), text.size(), out.probabilities.data(),
                     static_cast<std::int64_t>(out.probabilities.size()), &raw);
        out.answer = raw.answer;
        out.confidence = raw.confidence;
        out.sure = raw.sure != 0;
        return out;
    }
    std::vector<distill_verdict> predict(const std::vector<std::string> &texts) const
    {
        std::vector<const char *> data;
        std::vector<std::size_t> sizes;
        std::vector<distill_verdict> out(texts.size(), init<distill_verdict>());
        for (const auto &text : texts) {
            data.push_back(text.data());
            sizes.push_back(text.size());
        }
        detail::call(distill_classifier_predict_many, get(), data.data(), sizes.data(),
                     static_cast<std::int64_t>(texts.size()), nullptr, out.data());
        return out;
    }
    /* The teacher's probabilities of the classes, behind the classifier's question. */
    std::vector<double> ask(const teacher &teacher, std::string_view text, const options *with = nullptr) const
    {
        std::vector<double> out(static_cast<std::size_t>((*this)["classes"]));
        detail::call(distill_classifier_ask, get(), teacher.get(), text.data(), text.size(),
                     with ? with->get() : nullptr, out.data(), static_cast<std::int64_t>(out.size()));
        return out;
    }
    distill::report what() const /* it is: "classes", "promise", ... */
    {
        distill_report *raw = nullptr;
        detail::call(distill_classifier_report, get(), &raw);
        return report(raw);
    }
    distill::report evaluate(const std::string &path) const
    {
        distill_report *raw = nullptr;
        detail::call(distill_classifier_evaluate, get(), path.c_str(), &raw);
        return report(raw);
    }
};

/* Probabilities of choices behind a prompt, of these alone; flags: DISTILL_CHOOSE_*. */
inline std::vector<double> choose(const teacher &teacher, std::string_view prompt,
                                  const std::vector<std::string> &choices, std::int32_t flags = 0,
                                  const options *with = nullptr)
{
    std::vector<const char *> names;
    for (const auto &choice : choices) names.push_back(choice.c_str());
    std::vector<double> out(choices.size());
    detail::call(distill_teacher_choose, teacher.get(), prompt.data(), prompt.size(), flags, names.data(),
                 static_cast<std::int64_t>(names.size()), with ? with->get() : nullptr, out.data());
    return out;
}

/* Questions of tasks.choices and tasks.answers. fn may return false to stop. */
inline report evaluate_tasks(const teacher &model, const options *with, progress_function fn = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_evaluate_tasks, model.get(), with ? with->get() : nullptr, fn ? detail::on_step : nullptr, &fn,
                 &raw);
    return report(raw);
}

/* Two models side by side, on a file of data where one is given. fn may return false to stop. */
inline report compare(const teacher &a, const teacher &b, const char *data = nullptr, const options *with = nullptr,
                      progress_function fn = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_compare, a.get(), b.get(), data, with ? with->get() : nullptr, fn ? detail::on_step : nullptr,
                 &fn, &raw);
    return report(raw);
}

/* What a run would take; nothing is written. fn may return false to stop. */
inline report plan(const env &env, const options &with, progress_function fn = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_plan, env.get(), with.get(), fn ? detail::on_step : nullptr, &fn, &raw);
    return report(raw);
}

/* Files that keep a teacher's targets; teacher::cached reads and fills them while it is asked. */
namespace cache
{
/* nullptr and no path: as distill_cache_build has them. fn may return false to stop. */
inline report build(const env &env, const teacher *teacher, const dataset *data, const char *path,
                    const options *with = nullptr, progress_function fn = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_cache_build, env.get(), teacher ? teacher->get() : nullptr, data ? data->get() : nullptr, path,
                 with ? with->get() : nullptr, fn ? detail::on_step : nullptr, &fn, &raw);
    return report(raw);
}
inline report plan(const env &env, const teacher *teacher, const dataset *data, const char *path,
                   const options *with = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_cache_plan, env.get(), teacher ? teacher->get() : nullptr, data ? data->get() : nullptr, path,
                 with ? with->get() : nullptr, &raw);
    return report(raw);
}
inline report measure(const env &env, const teacher *teacher, const student *student, const dataset *data,
                      std::int64_t rows, const options *with = nullptr, progress_function fn = nullptr)
{
    distill_report *raw = nullptr;
    detail::call(distill_cache_measure, env.get(), teacher ? teacher->get() : nullptr,
                 student ? student->get() : nullptr, data ? data->get() : nullptr, rows, with ? with->get() : nullptr,
                 fn ? detail::on_step : nullptr, &fn, &raw);
    return report(raw);
}
inline void merge(const env &env, const std::vector<std::string> &paths, const std::string &into,
                  const options *with = nullptr)
{
    std::vector<const char *> names;
    for (const auto &path : paths) names.push_back(path.c_str());
    detail::call(distill_cache_merge, env.get(), names.data(), static_cast<std::int64_t>(names.size()), into.c_str(),
                 with ? with->get() : nullptr);
}
inline report inspect(const env &env, const std::string &path)
{
    distill_report *raw = nullptr;
    detail::call(distill_cache_inspect, env.get(), path.c_str(), &raw);
    return report(raw);
}
inline report verify(const env &env, const std::string &path)
{
    distill_report *raw = nullptr;
    detail::call(distill_cache_verify, env.get(), path.c_str(), &raw);
    return report(raw);
}
} // namespace cache
inline report inspect(const env &env, const std::string &path)
{
    distill_report *raw = nullptr;
    detail::call(distill_inspect, env.get(), path.c_str(), &raw);
    return report(raw);
}
inline report limits(const env &env) /* what this machine can do at most: measures, about 3 s */
{
    distill_report *raw = nullptr;
    detail::call(distill_limits, env.get(), &raw);
    return report(raw);
}
inline report inspect(const env &env) /* the library */
{
    distill_report *raw = nullptr;
    detail::call(distill_inspect, env.get(), nullptr, &raw);
    return report(raw);
}

class meter : public detail::handle<distill_meter, distill_meter_free> /* what work costs from here on */
{
  public:
    explicit meter(const env &env, const options *with = nullptr)
    {
        distill_meter *raw = nullptr;
        detail::call(distill_meter_start, env.get(), with ? with->get() : nullptr, &raw);
        raw_.reset(raw);
    }
    distill_cost read() const
    {
        distill_cost cost;
        DISTILL_INIT(&cost);
        detail::call(distill_meter_read, get(), &cost);
        return cost;
    }
    distill::report report() const
    {
        distill_report *raw = nullptr;
        detail::call(distill_meter_report, get(), &raw);
        return distill::report(raw);
    }
};

/* ---- trainer ---- */

class trainer : public detail::handle<distill_trainer, distill_trainer_free>
{
  public:
    struct parts { /* nullptr = opened as the options say */
        const distill::teacher *teacher = nullptr;
        distill::student *student = nullptr;
        const dataset *train = nullptr, *eval = nullptr;
    };
    trainer(const env &env, const options &with) : trainer(env, parts{}, with) {}
    trainer(const env &env, const parts &given, const options &with)
    {
        distill_trainer *raw = nullptr;
        detail::call(distill_trainer_create, env.get(), given.teacher ? given.teacher->get() : nullptr,
                     given.student ? given.student->get() : nullptr, given.train ? given.train->get() : nullptr,
                     given.eval ? given.eval->get() : nullptr, with.get(), &raw);
        raw_.reset(raw);
    }
    void configure(const options &with) { detail::call(distill_trainer_configure, get(), with.get()); }
    /* Returns nothing, or false to stop the run. */
    template <class F> void on_progress(F function)
    {
        progress_function stored = [f = std::move(function)](const distill_progress &p) mutable {
            if constexpr (std::is_void_v<decltype(f(p))>) return f(p), true;
            else return static_cast<bool>(f(p));
        };
        detail::call(distill_trainer_on_progress, get(), detail::on_step, detail::hold(std::move(stored)),
                     detail::destroy<progress_function>);
    }
    void run() { detail::call(distill_trainer_run, get()); }
    void resume() { detail::call(distill_trainer_resume, get()); }
    /* One optimiser step; false after the last. */
    bool step(distill_progress *out = nullptr)
    {
        auto progress = init<distill_progress>();
        bool more = detail::call_or_end(distill_trainer_step, get(), &progress);
        if (out && more) *out = progress;
        return more;
    }
    bool forward(distill_forward &out, std::int32_t flags = 0)
    {
        out = init<distill_forward>();
        return detail::call_or_end(distill_trainer_forward, get(), flags, &out);
    }
    bool next_rows(distill_strip &strip) { return detail::call_or_end(distill_trainer_next_rows, get(), &strip); }
    void backward(const distill_tensor *gradient = nullptr, double loss = 0)
    {
        detail::call(distill_trainer_backward, get(), gradient, loss);
    }
    distill_progress apply()
    {
        auto progress = init<distill_progress>();
        detail::call(distill_trainer_apply, get(), &progress);
        return progress;
    }
    void save(const std::string &path) const { detail::call(distill_trainer_save, get(), path.c_str()); }
    void load(const std::string &path) { detail::call(distill_trainer_load, get(), path.c_str()); }
    void cancel(bool on = true) const noexcept { distill_trainer_cancel(get(), on); }
    distill::student student() const
    {
        distill_student *raw = nullptr;
        detail::call(distill_trainer_student, get(), &raw);
        return distill::student(raw);
    }
    distill::report report() const
    {
        distill_report *raw = nullptr;
        detail::call(distill_trainer_report, get(), &raw);
        return distill::report(raw);
    }
};

} // namespace distill
#endif
