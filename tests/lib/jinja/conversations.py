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
