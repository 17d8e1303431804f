#include "test.h"

#include "text/codepoint.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static dk_host *host;
static dk_error err;

/* A vocabulary of all parts of a text, with every way to merge them: whatever the pre-tokenizer leaves together becomes
 * one token, so that the tokens show where it cuts. */
enum { LETTERS = 64, PARTS = LETTERS * (LETTERS + 1) / 2, MERGES = PARTS * LETTERS, MERGE_BYTES = 8 << 20 };
typedef struct shown {
    char text[4 * LETTERS];
    dk_strbuf letters;
    char *merge_texts; /* [MERGE_BYTES] */
    size_t merge_size;
    size_t at[LETTERS + 1]; /* of each letter, in bytes */
    int64_t count, token_count, merge_count;
    dk_slice tokens[PARTS];
    dk_slice *merges; /* [MERGES] */
} shown;

static int32_t has_token(const shown *s, dk_slice part)
{
    for (int64_t i = 0; i < s->token_count; i++)
        if (s->tokens[i].size == part.size && !memcmp(s->tokens[i].data, part.data, part.size)) return 1;
    return 0;
}

static void add_part(shown *s, int64_t begin, int64_t end)
{
    const char *text = s->letters.data;
    const dk_slice part = {text + s->at[begin], s->at[end] - s->at[begin]};
    if (has_token(s, part)) return;
    s->tokens[s->token_count++] = part;
    for (int64_t cut = begin + 1; cut < end; cut++) {
        const size_t left = s->at[cut] - s->at[begin], right = s->at[end] - s->at[cut];
        char *to = s->merge_texts + s->merge_size;
        REQUIRE(s->merge_size + left + right + 1 <= MERGE_BYTES);
        memcpy(to, part.data, left);
        to[left] = ' ';
        memcpy(to + left + 1, part.data + left, right);
        s->merges[s->merge_count++] = (dk_slice){to, left + 1 + right};
        s->merge_size += left + 1 + right;
    }
}

/* cut: the pieces of a text, ~ between them. */
static void show(shown *s, const char *cut)
{
    size_t size = 0;
    for (; *cut; cut++)
        if (*cut != '~') s->text[size++] = *cut;
    s->text[size] = 0;
    dk_append_letters(&s->letters, s->text, size);
    for (size_t at = 0; at < s->letters.size; at += dk_codepoint_size(s->letters.data + at)) s->at[s->count++] = at;
    s->at[s->count] = s->letters.size;
    REQUIRE(s->count <= LETTERS);
    for (int64_t begin = 0; begin < s->count; begin++)
        for (int64_t end = begin + 1; end <= s->count; end++) add_part(s, begin, end);
}

static void check_cuts(const dk_tokenizer *tok, const char *name, const char *text, const char *cut)
{
    int32_t ids[LETTERS];
    int64_t count = 0;
    dk_strbuf got;
    dk_strbuf_init(&got, host);
    REQUIRE_OK(dk_tokenizer_encode(tok, text, strlen(text), 0, ids, LETTERS, &count, &err));
    for (int64_t i = 0; i < count; i++) {
        if (i) dk_strbuf_puts(&got, "~");
        REQUIRE_OK(dk_tokenizer_decode_to(tok, &ids[i], 1, 0, &got, &err));
    }
    if (strcmp(got.data, cut) != 0) FAIL("%s: cuts '%s', not '%s'", name, got.data, cut);
    dk_strbuf_free(&got);
}

/* Written as tokenizer.json and read again, it still has a name in GGUF that cuts alike. */
static void check_way_back(const dk_tokenizer *tok, const char *name, const char *text, const char *cut)
{
    dk_tokenizer *again = NULL, *third = NULL;
    dk_vocabulary_parts parts = {0};
    dk_strbuf notes;
    dk_strbuf_init(&notes, host);
    const char *folder = test_folder("pre_names");
    REQUIRE_OK(dk_tokenizer_save(tok, folder, &err));
    REQUIRE_OK(dk_tokenizer_open(host, folder, &again, &err));
    check_cuts(again, name, text, cut);
    REQUIRE_OK(dk_tokenizer_to_vocabulary(again, host, dk_tokenizer_vocab_size(again), &notes, &parts, &err));
    REQUIRE_OK(dk_tokenizer_from_vocabulary(host, &parts.vocabulary, &third, &err));
    check_cuts(third, name, text, cut);
    dk_vocabulary_parts_free(&parts);
    dk_strbuf_free(&notes);
    dk_tokenizer_release(again);
    dk_tokenizer_release(third);
}

static void check_name(const char *name, const char *cut)
{
    dk_vocabulary v;
    dk_tokenizer *tok = NULL;
    shown *s = calloc(1, sizeof *s);
    REQUIRE(s);
    REQUIRE_OK(dk_new(host, MERGES, &s->merges, &err));
    dk_strbuf_init(&s->letters, host);
    REQUIRE_OK(dk_new(host, MERGE_BYTES, &s->merge_texts, &err));
    show(s, cut);
    dk_vocabulary_init(&v);
    v.model = "gpt2";
    v.pre = name;
    v.tokens = s->tokens;
    v.count = s->token_count;
    v.merges = s->merges;
    v.merge_count = s->merge_count;
    REQUIRE_OK(dk_tokenizer_from_vocabulary(host, &v, &tok, &err));
    check_cuts(tok, name, s->text, cut);
    check_way_back(tok, name, s->text, cut);
    dk_tokenizer_release(tok);
    dk_strbuf_free(&s->letters);
    dk_free(host, s->merge_texts);
    dk_free(host, s->merges);
    free(s);
}

/* Expected pieces: the reference implementation's, of the patterns in the tokenizer.json of each family. */
TEST(every_pattern)
{
    static const struct {
        const char *name, *pieces;
    } cases[] = {
        {"default", "He~'~s~ ~$~x~ ~123~4~!"},
        {"gpt-2", "I~'~LL~ ~ he~'s~ 12~\n~\n~x"},
        {"llama-bpe", "I~'LL~ ~123~45~\r\n~ ~ x~;\n"},
        {"glm4", "I~'LL~ ~123~45"},
        {"dbrx", "I~'LL~ ~123~45"},
        {"jais-2", "a~  ~ b~    \n~ x"},
        {"minicpm5", "a~1~ ~234~56"},
        {"qwen2", "I~'LL~ ~1~2~\n~;\n"},
        {"stablelm2", "I~'LL~ ~1~2"},
        {"qwen35", "\xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa4\xa8~ ~1~2~;\n"},
        {"laguna", "a~ ~\n~ b~;~\n\n~c"},
        {"ufakzeka", "Ali~'dir~ ~1~2"},
        {"seed-coder", "a~;~\n\n~1~2"},
        {"bailingmoe", "I~'LL~ \n\n~1~2"},
        {"exaone-moe", "a b~;//\n~\n~1"},
        {"tekken", "a~B~ ABc~ ~1~2~/*\n"},
        {"gpt-4o", "a~B~ ABc's~ ~123~4~/*\n"},
        {"llama4", "he~LLO'LL~ ~123~4"},
        {"granite-embed-multi-97m", "\xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa4\xa8's"},
        {"tiny_aya", "1~234~567~ a~12~345"},
        {"cohere2moe", "123~45\xc2\xb9~ ~1~234"},
        {"youtu", "\xe4\xb8\xad~\xe3\x80\x81~\xe6\x96\x87\xe3\x81\x82~\xe2\x80\x9c~a'S~ ~1~2"},
        {"kimi-k2", "a~\xe4\xb8\xad\xe6\x96\x87~\xe3\x80\x81"
                    "b's~ ~123~4"},
        {"starcoder", "x~1~2~ y~'s"},
        {"command-r", "x~1~2~ ~ y"},
        {"minerva-7b", "x~1~2"},
        {"deepseek-coder", " a~!!~ ~\xe4\xb8\xad~1~2~\n~\n"},
        {"deepseek-llm", "\xc3\xa9~a~ \xd7\x90~?~\xe4\xb8\xad~12~\n~ "},
        {"deepseek-v3", "a~;b~ ~\xe4\xb8\xad\xe3\x81\x8b~123~4~;\n\n~ x"},
        {"hunyuan-dense", "(ab~ ~123~4~\xe4\xb8\xad"},
        {"spark2_5", "a~;~\n~\n~ ~1~2~3~4~5"},
        {"afmoe", "1~234~567~ ~\xe4\xb8\xad\xed\x95\x9c~a~;\n"},
        {"falcon", "a~`~b~`~ ~123~45"},
        /* Punctuation since Unicode 10, 11 and 14: tokenizers' Punctuation is older, llama.cpp (v0.5.0) cuts so. */
        {"falcon", "a~ ~\xd8\x9d\xd8\x9d~ b"},
        {"falcon", "x~ ~\xe0\xa7\xbd~ y"},
        {"falcon", "x~ ~\xe0\xa9\xb6~ y"},
        {"superbpe", "by the way ~12~345"},
        {"bloom", "hi~, (~you~|~me~)~ a"},
        {"poro-chat", "hi~,~ you"},
        {"viking", "hi~,~ y~1~2"},
        {"chameleon", "<~sentinel~:~7~>~a~  ~b~1~2~!"},
    };
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_name(cases[i].name, cases[i].pieces);
}

TEST(other_names)
{
    static const char *const names[] = {"phi-2",
                                        "mpt",
                                        "olmo",
                                        "jais",
                                        "exaone4",
                                        "trillion",
                                        "granite-docling",
                                        "gigachat",
                                        "a.x-4.0",
                                        "mellum",
                                        "modern-bert",
                                        "jina-es",
                                        "jina-de",
                                        "jina-v2-es",
                                        "jina-v2-de",
                                        "jina-v1-en",
                                        "jina-v2-code",
                                        "roberta-bpe",
                                        "llama3",
                                        "llama-v3",
                                        "falcon3",
                                        "falcon-h1",
                                        "pixtral",
                                        "midm-2.0",
                                        "lfm2",
                                        "jina-v5-nano",
                                        "glm5",
                                        "smaug-bpe",
                                        "chatglm-bpe",
                                        "megrez",
                                        "hunyuan",
                                        "grok-2",
                                        "solar-open",
                                        "kormo",
                                        "f2llmv2",
                                        "deepseek-r1-qwen",
                                        "bailingmoe2",
                                        "llada-moe",
                                        "kanana2",
                                        "talkie",
                                        "minimax-m2",
                                        "refact",
                                        "smollm",
                                        "codeshell",
                                        "exaone",
                                        "mellum2",
                                        "joyai-llm",
                                        "hy_v4",
                                        "gpt3-finnish"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_name(names[i], "a~ b");
}

TEST(unknown_names)
{
    static const dk_slice letter[] = {{"a", 1}};
    dk_vocabulary v;
    dk_tokenizer *tok = NULL;
    dk_vocabulary_init(&v);
    v.model = "gpt2";
    v.tokens = letter;
    v.count = 1;
    static const char *const names[] = {"", "whitespace", "gpt-2 ", "gpt-22", "Qwen2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[64];
        v.pre = names[i];
        CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_UNSUPPORTED);
        snprintf(text, sizeof text, "pre-tokenizer '%s' is not known; known: default, gpt-2, llama-bpe", names[i]);
        CHECK_HAS(err.message, text);
        CHECK_HAS(err.message, "from a folder with tokenizer.json");
    }
    v.pre = "kimi-k2"; /* whose files may leave out the merges */
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "'kimi-k2' without tokenizer.ggml.merges");
    CHECK(!tok);
    v.pre = NULL;
    v.merges = letter; /* none of them: merge_count is 0 */
    REQUIRE_OK(dk_tokenizer_from_vocabulary(host, &v, &tok, &err));
    CHECK_HAS(dk_tokenizer_notes(tok)->data, "names no pre-tokenizer (tokenizer.ggml.pre): read with 'default'");
    dk_tokenizer_release(tok);
}

/* ---- gemma4: characters with marked spaces, and bytes for what is no token ---- */
TEST(marked)
{
    static const char *const more[] = {"<unk>", "\xe2\x96\x81", "a", "b", "ab", "\342\226\201ab", "\n", "\n\n"};
    static const dk_slice merges[] = {{"a b", 3}, {"\xe2\x96\x81 ab", 6}, {"\n \n", 3}};
    char names[256][8];
    dk_slice tokens[264];
    int32_t types[264], ids[16];
    int64_t count = 0;
    dk_vocabulary v;
    dk_tokenizer *tok = NULL;
    for (int i = 0; i < 8; i++)
        tokens[i] = (dk_slice){more[i], strlen(more[i])}, types[i] = i ? DK_TOKEN_NORMAL : DK_TOKEN_UNKNOWN;
    for (int i = 0; i < 256; i++) {
        snprintf(names[i], sizeof names[i], "<0x%02X>", (unsigned)i);
        tokens[8 + i] = (dk_slice){names[i], 6};
        types[8 + i] = DK_TOKEN_BYTE;
    }
    dk_vocabulary_init(&v);
    v.model = "gemma4";
    v.pre = "anything";
    v.tokens = tokens;
    v.types = types;
    v.count = 264;
    v.merges = merges;
    v.merge_count = 3;
    v.unk = 0;
    REQUIRE_OK(dk_tokenizer_from_vocabulary(host, &v, &tok, &err));
    static const char text[] = "ab ab\n\n\xc3\xa9";
    static const int32_t want[] = {4, 5, 7, 8 + 0xc3, 8 + 0xa9};
    REQUIRE_OK(dk_tokenizer_encode(tok, text, sizeof text - 1, 0, ids, 16, &count, &err));
    CHECK_INT(count, 5);
    CHECK(!memcmp(ids, want, sizeof want));
    char back[32];
    CHECK_OK(dk_tokenizer_decode(tok, ids, count, 0, back, sizeof back, NULL, &err));
    CHECK_STR(back, text);
    dk_tokenizer_release(tok);
    v.count = 263; /* a byte token is missing */
    tok = NULL;
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "lacks some of the 256 byte tokens");
}

TEST_MAIN(TEST_CASE(every_pattern) TEST_CASE(other_names) TEST_CASE(unknown_names) TEST_CASE(marked))
