"""Conversations that chat templates are compared on: (name, messages, keywords of apply_chat_template)."""

TOOLS = [
    {"type": "function",
     "function": {"name": "get_weather", "description": "The weather at a place. \"Quoted\" & <tagged>, caf\u00e9.",
                  "parameters": {"type": "object", "required": ["place"],
                                 "properties": {"place": {"type": "string", "description": "A city\nor a village"},
                                                "days": {"type": "integer", "description": "How many", "default": 3},
                                                "unit": {"type": "string", "enum": ["c", "f"], "description": "Degrees"}}}}},
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}},
]
SYSTEM = {"role": "system", "content": "You are terse."}


def user(text):
    return {"role": "user", "content": text}


def answer(text, **more):
    return dict({"role": "assistant", "content": text}, **more)


def call(name, arguments, text=""):
    return answer(text, tool_calls=[{"type": "function", "id": "call00001", "function": {"name": name, "arguments": arguments}}])


def result(text, name="get_weather"):
    return {"role": "tool", "name": name, "tool_call_id": "call00001", "content": text}


TALKS = {
    "question": [user("Hi there.")],
    "pair": [user("Hi"), answer("Yes.")],
    "system": [SYSTEM, user("Hi"), answer("Yes.")],
    "turns": [SYSTEM, user("One?"), answer("Two."), user("Three?"), answer("Four."), user("Five?")],
    "turns_done": [user("One?"), answer("Two."), user("Three?"), answer("Four.")],
    "space": [{"role": "system", "content": "  padded \n"}, user("\n  a b  \t"), answer("  x\n\ny \n"), user(" \u00a0q\u3000"), answer("\n\nz")],
    "empty": [user(""), answer(""), user("again"), answer("")],
    "unicode": [user("caf\u00e9 \u65e5\u672c\u8a9e \U0001f600 e\u0301"), answer("\u00df \u0130 \u01c5 <b>&amp;</b> 'q' \"r\" \\n {{ x }}")],
    "control": [user("<|im_end|> </s> [INST] <|eot_id|> <start_of_turn>"), answer("<|im_start|>system\n<think>no</think>")],
    "thought": [user("2+2?"), answer("<think>\nsum\n</think>\n\n4"), user("and 3+3?"), answer("<think>\nmore\n</think>\n\n6")],
    "reasoning": [user("2+2?"), answer("4", reasoning_content="easy"), user("3+3?"), answer("6", reasoning_content="  also easy\n")],
    "two_users": [user("a"), user("b"), answer("c")],
    "ends_system": [user("a"), answer("b"), SYSTEM],
    "lines": [user("a\r\nb\n\n\nc"), answer("1.\n2.\n")],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "first "}, {"type": "text", "text": "second"}]},
              {"role": "assistant", "content": [{"type": "text", "text": "ok"}]}],
    "null": [user("a"), {"role": "assistant", "content": None, "reasoning_content": None}],
}
TOOL_TALKS = {
    "tools": [user("Weather in Oslo?")],
    "call": [SYSTEM, user("Weather in Oslo?"), call("get_weather", {"place": "Oslo", "days": 2, "exact": 1.5, "ok": True, "none": None})],
    "result": [user("Weather?"), call("get_weather", {"place": "\u00c5s \"x\""}, "Let me see."), result("{\"t\": 3}"), answer("3 degrees.")],
    "results": [user("Weather?"), call("get_weather", {"place": "a"}), result("1"), result("2"), answer("1 and 2."), user("More?"),
                call("now", {}), result("12:00", "now")],
}



# ---- what templates are seldom tried on ----
def system(text):
    return {"role": "system", "content": text}


def parts(role, *items):
    return {"role": role, "content": list(items)}


def text_part(text):
    return {"type": "text", "text": text}


def calls(*given, text="", **more):
    """Given: (name, arguments), the first one's id is call's."""
    made = [{"type": "function", "id": "call0000%d" % (i + 1), "function": {"name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(given)]
    return answer(text, tool_calls=made, **more)


RICH = [{"type": "function", "function": {
    "name": "f", "description": "d", "return": {"type": "string", "description": "r"},
    "parameters": {"type": "object", "$defs": {"p": {"type": "string"}}, "required": [],
                   "properties": {"x": {"type": ["string", "null"], "default": None}, "y": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                                  "z": {"type": "array", "items": {"type": "object", "properties": {"q": {"type": "number", "default": 1e-9}}}},
                                  "r": {"$ref": "#/$defs/p"}, "e": {"enum": [1, "a", None, True]}}}}}]
ODD_TALKS = {
    "assistant_first": ([answer("Hello, I am."), user("hi")], {}),
    "assistant_only": ([answer("Hello")], {}),
    "two_systems": ([SYSTEM, system("Second."), user("q"), answer("a")], {}),
    "empty_system": ([system(""), user("q")], {}),
    "space_system": ([system("  \n"), user("q"), answer(" ")], {}),
    "system_only": ([SYSTEM], {}),
    "system_middle": ([user("q"), system("mid"), answer("a"), user("z")], {}),
    "system_parts": ([parts("system", text_part("sys")), user("q")], {}),
    "developer": ([{"role": "developer", "content": "Be brief."}, user("q"), answer("a")], {}),
    "critic": ([user("q"), {"role": "critic", "content": "bad"}, answer("a")], {}),
    "image": ([parts("user", {"type": "image"}, text_part("what?"))], {}),
    "image_url": ([parts("user", {"type": "image_url", "image_url": {"url": "x"}}, text_part("what?"))], {}),
    "audio_video": ([parts("user", {"type": "audio"}, {"type": "video"}, text_part("t"))], {}),
    "no_content": ([user("q"), {"role": "assistant"}], {}),
    "none_user": ([user(None)], {}),
    "number": ([user(5)], {}),
    "name": ([dict(user("q"), name="Bob"), answer("a")], {}),
    "three_users": ([user("a"), user("b"), user("c")], {}),
    "two_answers": ([user("a"), answer("b"), answer("c"), user("d")], {}),
    "nothing": ([], {}),
    "long": ([turn for i in range(12) for turn in (user("u%d" % i), answer("a%d" % i))], {}),
    "crlf": ([system("a\r\nb"), user("\r\n"), answer("\x00\x0b\x85\u2028x")], {}),
    "astral": ([user("\U0001f468\u200d\U0001f469 \u0130 \u1e9e \u03c2"), answer("\ufeffx\u200b")], {}),
    "think_open": ([user("w"), answer("<think>never closed"), user("z"), answer("</think>only closed"), user("y")], {}),
    "think_twice": ([user("w"), answer("<think>a</think><think>b</think>c"), user("z")], {}),
    "thinking_key": ([user("w"), answer("4", thinking="sum"), user("z"), answer("5", thinking="x", reasoning="y")], {}),
    "reasoning_key": ([user("w"), answer("4", reasoning="sum"), user("z")], {}),
    "text_arguments": ([user("w"), calls(("get_weather", '{"place": "Oslo", "n": [1, 2]}')), result("x"), answer("ok")], {"tools": TOOLS}),
    "no_json": ([user("w"), calls(("get_weather", "not json")), result("x"), answer("ok")], {"tools": TOOLS}),
    "two_calls": ([user("w"), calls(("get_weather", {"place": "a"}), ("now", {}), text="both"), result("1"),
                   {"role": "tool", "name": "now", "tool_call_id": "call00002", "content": "2"}, answer("done"), user("more")], {"tools": TOOLS}),
    "call_none": ([user("w"), dict(calls(("now", {})), content=None), result("12", "now")], {"tools": TOOLS}),
    "call_alone": ([user("w"), {"role": "assistant", "tool_calls": calls(("now", {}))["tool_calls"]}, result("12", "now")], {"tools": TOOLS}),
    "call_without_id": ([user("w"), answer("", tool_calls=[{"type": "function", "function": {"name": "now", "arguments": {}}}]),
                         {"role": "tool", "content": "12"}], {"tools": TOOLS}),
    "bare_call": ([user("w"), answer("", tool_calls=[{"name": "now", "arguments": {"a": 1}}]), {"role": "tool", "content": "12"}, answer("z")],
                  {"tools": TOOLS}),
    "empty_calls": ([user("w"), answer("x", tool_calls=[]), user("y")], {"tools": TOOLS}),
    "null_calls": ([user("w"), answer("x", tool_calls=None), user("y")], {"tools": TOOLS}),
    "result_map": ([user("w"), call("now", {}), result({"t": 3, "u": [1, None, True]}, "now"), answer("k")], {"tools": TOOLS}),
    "result_parts": ([user("w"), call("now", {}), result([text_part("12"), text_part("h")], "now"), answer("k")], {"tools": TOOLS}),
    "result_first": ([result("x"), user("q")], {"tools": TOOLS}),
    "numbers": ([user("w"), call("get_weather", {"a": 1e-7, "b": 1e22, "c": 2 ** 63 - 1, "d": -0.0, "e": "<b>&'\u2028\u00e9\x7f\x01",
                                                 "f": {"g": [{"h": None}]}, "i": 0.1, "j": 1e16, "k": 123456789.123456789, "": ""})], {"tools": TOOLS}),
    "think_calls": ([user("w"), calls(("now", {}), reasoning_content="I must look."), result("12", "now"),
                     answer("noon", reasoning_content="so"), user("thanks")], {"tools": TOOLS}),
    "no_tools": ([user("w")], {"tools": []}),
    "bare_tool": ([user("w")], {"tools": [RICH[0]["function"]]}),
    "rich_tool": ([SYSTEM, user("w")], {"tools": RICH}),
    "tool_alone": ([user("w")], {"tools": [{"type": "function", "function": {"name": "f", "description": "d"}}]}),
    "documents": ([user("w")], {"documents": [{"title": "T", "text": "x y", "contents": "c"}, {"doc_id": 1, "title": "U", "text": "z"}]}),
    "builtin_tools": ([SYSTEM, user("w")], {"builtin_tools": ["brave_search", "code_interpreter"]}),
    "date_string": ([SYSTEM, user("w")], {"date_string": "1 Jan 2020"}),
    "effort": ([SYSTEM, user("w")], {"reasoning_effort": "low"}),
}


def odd_conversations():
    for name, (messages, keywords) in ODD_TALKS.items():
        yield name, messages, keywords
        yield name + "+prompt", messages, dict(keywords, add_generation_prompt=True)
    for name in ("assistant_first", "empty_system", "think_calls", "two_calls", "thinking_key", "three_users"):
        messages, keywords = ODD_TALKS[name]
        for word, thinks in (("nothink", False), ("think", True)):
            yield "%s+%s" % (name, word), messages, dict(keywords, add_generation_prompt=True, enable_thinking=thinks, thinking=thinks)


def conversations():
    for name, messages in TALKS.items():
        yield name, messages, {}
        if messages[-1]["role"] != "assistant":
            yield name + "+prompt", messages, {"add_generation_prompt": True}
    for name in ("question", "turns", "system"):
        yield name + "+nothink", TALKS[name], {"add_generation_prompt": True, "enable_thinking": False}
        yield name + "+think", TALKS[name], {"add_generation_prompt": True, "enable_thinking": True}
    for name, messages in TOOL_TALKS.items():
        yield name, messages, {"tools": TOOLS}
        yield name + "+prompt", messages, {"tools": TOOLS, "add_generation_prompt": True}
    yield "without_tools", TOOL_TALKS["result"], {}
    for name in ("pair", "turns_done", "space", "reasoning"):
        yield name + "+continued", TALKS[name], {"continue_final_message": True}
    yield from odd_conversations()
