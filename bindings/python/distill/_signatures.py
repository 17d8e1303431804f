"""Made by tests/abi/generate.py from include/distill.h: every constant, struct, callback and function."""
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int32, c_int64,
                    c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p)

DISTILL_VERSION = "0.1.0"
DISTILL_ABI_VERSION = 1000
DISTILL_OK = 0
DISTILL_E_INVALID = -100
DISTILL_E_OPTION = -101
DISTILL_E_STAGE = -102
DISTILL_E_REENTRANT = -103
DISTILL_E_BUSY = -104
DISTILL_E_BUFFER = -105
DISTILL_E_UNSUPPORTED = -106
DISTILL_E_NOMEM = -200
DISTILL_E_IO = -201
DISTILL_E_NOT_FOUND = -202
DISTILL_E_FORMAT = -203
DISTILL_E_MISMATCH = -204
DISTILL_E_NUMERIC = -300
DISTILL_E_CALLBACK = -301
DISTILL_E_CANCELLED = -302
DISTILL_E_END = -303
DISTILL_E_INTERNAL = -900
DISTILL_CB_OK = 0
DISTILL_CB_DEFAULT = 1
DISTILL_CB_CANCEL = 2
DISTILL_CB_END = 3
DISTILL_CB_MT = 1
DISTILL_LOG_ERROR = 1
DISTILL_LOG_WARN = 2
DISTILL_LOG_INFO = 3
DISTILL_LOG_DEBUG = 4
DISTILL_INT = 0
DISTILL_UINT = 1
DISTILL_FLOAT = 2
DISTILL_BFLOAT = 4
DISTILL_CPU = 1
DISTILL_CUDA = 2
DISTILL_TAP_OUTPUT = 1
DISTILL_TAP_FINAL = 2
DISTILL_TAP_QUERIES = 3
DISTILL_TAP_KEYS = 4
DISTILL_TAP_VALUES = 5
DISTILL_DENSE = 1
DISTILL_TOPK = 2
DISTILL_SAMPLED = 3
DISTILL_HIDDEN = 4
DISTILL_ONE_HOT = 5
DISTILL_TYPE_INT = 1
DISTILL_TYPE_NUMBER = 2
DISTILL_TYPE_TEXT = 3
DISTILL_TYPE_PATH = 4
DISTILL_TYPE_CHOICE = 5
DISTILL_TYPE_FLAG = 6
DISTILL_TYPE_LIST = 7
DISTILL_TYPE_MAP = 8
DISTILL_OPTION_LIVE = 1
DISTILL_OPTION_SCHEDULE = 2
DISTILL_ENCODE_SPECIAL = 1
DISTILL_ENCODE_PLAIN = 2
DISTILL_DECODE_SKIP_SPECIAL = 1
DISTILL_CHAT_ANSWER = 1
DISTILL_CHAT_CONTINUE = 2
DISTILL_FINISHED_STOP = 1
DISTILL_FINISHED_LENGTH = 2
DISTILL_FINISHED_TEXT = 3
DISTILL_FINISHED_BEFORE = 4
DISTILL_FINISHED_CANCELLED = 5
DISTILL_WEIGHT = 1
DISTILL_GRADIENT = 2
DISTILL_SAMPLE_TOKENS = 1
DISTILL_SAMPLE_TEXT = 2
DISTILL_SAMPLE_JSON = 3
DISTILL_CHOSEN = 1
DISTILL_REJECTED = 2
DISTILL_LOSS_MT = 1
DISTILL_LOSS_LOG_PROBS = 2
DISTILL_LOSS_WHOLE_SEQUENCES = 4
DISTILL_ADD_VALUES = 1
DISTILL_ADD_HEAD = 2
DISTILL_PHASE_LOADING = 1
DISTILL_PHASE_TRAINING = 2
DISTILL_PHASE_EVALUATING = 3
DISTILL_PHASE_SAVING = 4
DISTILL_PHASE_CACHING = 5
DISTILL_PHASE_AUGMENTING = 6
DISTILL_FORWARD_NO_TEACHER = 1
DISTILL_RUN_RESUME = 1
DISTILL_RUN_AGAIN = 2
DISTILL_CHOOSE_CHAT = 1
DISTILL_CHOOSE_PER_TOKEN = 2
DISTILL_ENERGY_NONE = 0
DISTILL_ENERGY_MEASURED = 1
DISTILL_ENERGY_ESTIMATED = 2


class distill_env(Structure):
    pass


class distill_options(Structure):
    pass


class distill_tokenizer(Structure):
    pass


class distill_teacher(Structure):
    pass


class distill_student(Structure):
    pass


class distill_dataset(Structure):
    pass


class distill_loss(Structure):
    pass


class distill_trainer(Structure):
    pass


class distill_meter(Structure):
    pass


class distill_session(Structure):
    pass


class distill_report(Structure):
    pass


class distill_classifier(Structure):
    pass


class distill_error(Structure):
    pass


class distill_tensor(Structure):
    pass


class distill_batch(Structure):
    pass


class distill_tap(Structure):
    pass


class distill_target(Structure):
    pass


class distill_option_info(Structure):
    pass


class distill_allocator(Structure):
    pass


class distill_communicator(Structure):
    pass


class distill_token(Structure):
    pass


class distill_writer_callbacks(Structure):
    pass


class distill_teacher_callbacks(Structure):
    pass


class distill_member(Structure):
    pass


class distill_session_stats(Structure):
    pass


class distill_writing(Structure):
    pass


class distill_student_callbacks(Structure):
    pass


class distill_sample(Structure):
    pass


class distill_dataset_callbacks(Structure):
    pass


class distill_loss_rows(Structure):
    pass


class distill_loss_callbacks(Structure):
    pass


class distill_loss_args(Structure):
    pass


class distill_progress(Structure):
    pass


class distill_forward(Structure):
    pass


class distill_strip(Structure):
    pass


class distill_operator_callbacks(Structure):
    pass


class distill_verdict(Structure):
    pass


class distill_cost(Structure):
    pass


distill_destroy_fn = CFUNCTYPE(None, c_void_p)
distill_log_fn = CFUNCTYPE(None, c_void_p, c_int32, c_char_p, c_char_p)
distill_body_fn = CFUNCTYPE(None, c_void_p, c_int64, c_int64)
distill_parallel_fn = CFUNCTYPE(c_int32, c_void_p, c_int64, distill_body_fn, c_void_p)
distill_token_fn = CFUNCTYPE(c_int32, c_void_p, c_int64, c_int32, c_double, POINTER(c_char), c_size_t, c_int32)
distill_route_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_batch), c_int64, c_char_p, c_char_p, POINTER(c_int64))
distill_logits_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_session), POINTER(c_float), c_int64)
distill_progress_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_progress))
distill_emit_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_sample))
distill_allocator_alloc = CFUNCTYPE(c_void_p, c_void_p, c_size_t, c_size_t)
distill_allocator_free = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_size_t)
distill_communicator_all_to_all_start = CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_int64, POINTER(c_int64))
distill_communicator_all_gather_start = CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_int64, POINTER(c_int64))
distill_communicator_wait = CFUNCTYPE(c_int32, c_void_p, c_int64)
distill_communicator_broadcast = CFUNCTYPE(c_int32, c_void_p, c_void_p, c_int64, c_int64)
distill_communicator_barrier = CFUNCTYPE(c_int32, c_void_p)
distill_communicator_abort = CFUNCTYPE(None, c_void_p, c_char_p)
distill_writer_callbacks_token = CFUNCTYPE(c_int32, c_void_p, c_int64, POINTER(distill_token))
distill_writer_callbacks_logits = CFUNCTYPE(c_int32, c_void_p, c_int64, POINTER(c_int32), c_int64, POINTER(c_float), c_int64)
distill_teacher_callbacks_score = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_batch), c_int64, c_int64, POINTER(distill_target))
distill_teacher_callbacks_generate = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_batch), POINTER(distill_options), distill_token_fn, c_void_p)
distill_teacher_callbacks_begin = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_batch))
distill_teacher_callbacks_end = CFUNCTYPE(None, c_void_p, POINTER(distill_batch))
distill_teacher_callbacks_read_tap = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_batch), c_int64, POINTER(distill_tensor))
distill_student_callbacks_forward = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_batch), c_int64, c_int64, POINTER(distill_target))
distill_student_callbacks_backward = CFUNCTYPE(c_int32, c_void_p, c_int64, c_int64, POINTER(distill_tensor))
distill_student_callbacks_apply = CFUNCTYPE(c_int32, c_void_p, c_int64, c_double, c_double)
distill_student_callbacks_discard = CFUNCTYPE(c_int32, c_void_p)
distill_student_callbacks_save = CFUNCTYPE(c_int32, c_void_p, c_char_p)
distill_student_callbacks_load = CFUNCTYPE(c_int32, c_void_p, c_char_p)
distill_student_callbacks_read_tap = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_batch), c_int64, POINTER(distill_tensor))
distill_student_callbacks_tap_gradient = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_batch), c_int64, POINTER(distill_tensor))
distill_student_callbacks_generate = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_batch), POINTER(distill_writing), distill_token_fn, c_void_p)
distill_dataset_callbacks_get = CFUNCTYPE(c_int32, c_void_p, c_int64, POINTER(distill_sample))
distill_loss_callbacks_eval = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_loss_rows))
distill_loss_callbacks_measure = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_loss_rows), POINTER(c_double))
distill_operator_callbacks_apply = CFUNCTYPE(c_int32, c_void_p, POINTER(distill_sample), distill_emit_fn, c_void_p)
distill_error._fields_ = [
    ("code", c_int32),
    ("user_code", c_int32),
    ("position", c_int64),
    ("message", c_char * 496),
]
distill_tensor._fields_ = [
    ("data", c_void_p),
    ("device_type", c_int32),
    ("device_id", c_int32),
    ("ndim", c_int32),
    ("dtype_code", c_uint8),
    ("dtype_bits", c_uint8),
    ("dtype_lanes", c_uint16),
    ("shape", POINTER(c_int64)),
    ("strides", POINTER(c_int64)),
    ("byte_offset", c_uint64),
]
distill_batch._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("ids", POINTER(c_int32)),
    ("offsets", POINTER(c_int64)),
    ("rows", POINTER(c_int64)),
    ("weights", POINTER(c_float)),
    ("sequences", c_int64),
    ("row_count", c_int64),
    ("sources", POINTER(POINTER(c_char))),
    ("tags", POINTER(POINTER(c_char))),
]
distill_tap._fields_ = [
    ("struct_size", c_uint32),
    ("kind", c_int32),
    ("layer", c_int64),
    ("width", c_int64),
    ("heads", c_int64),
    ("window", c_int64),
    ("scale", c_double),
    ("softcap", c_double),
]
distill_target._fields_ = [
    ("struct_size", c_uint32),
    ("kind", c_int32),
    ("values", POINTER(distill_tensor)),
    ("ids", POINTER(distill_tensor)),
    ("tail", POINTER(distill_tensor)),
    ("head", POINTER(distill_tensor)),
    ("bias", POINTER(distill_tensor)),
    ("logit_scale", c_double),
    ("softcap", c_double),
    ("temperature", c_double),
    ("vocab_valid", c_int64),
    ("entropy", POINTER(distill_tensor)),
]
distill_option_info._fields_ = [
    ("struct_size", c_uint32),
    ("type", c_int32),
    ("name", c_char_p),
    ("help", c_char_p),
    ("default_text", c_char_p),
    ("choices", c_char_p),
    ("unit", c_char_p),
    ("low", c_double),
    ("high", c_double),
    ("flags", c_int64),
    ("when", c_char_p),
]
distill_allocator._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("user", c_void_p),
    ("alloc", distill_allocator_alloc),
    ("free", distill_allocator_free),
    ("destroy", distill_destroy_fn),
]
distill_communicator._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("user", c_void_p),
    ("destroy", distill_destroy_fn),
    ("rank", c_int64),
    ("size", c_int64),
    ("all_to_all_start", distill_communicator_all_to_all_start),
    ("all_gather_start", distill_communicator_all_gather_start),
    ("wait", distill_communicator_wait),
    ("broadcast", distill_communicator_broadcast),
    ("barrier", distill_communicator_barrier),
    ("abort", distill_communicator_abort),
]
distill_token._fields_ = [
    ("struct_size", c_uint32),
    ("id", c_int32),
    ("text", c_char_p),
    ("size", c_int64),
    ("log_prob", c_double),
    ("finished", c_int64),
    ("top_ids", POINTER(c_int32)),
    ("top_log_probs", POINTER(c_float)),
    ("top_count", c_int64),
    ("from_draft", c_int64),
    ("nanoseconds", c_int64),
]
distill_writer_callbacks._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("user", c_void_p),
    ("token", distill_writer_callbacks_token),
    ("logits", distill_writer_callbacks_logits),
]
distill_teacher_callbacks._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("user", c_void_p),
    ("destroy", distill_destroy_fn),
    ("score", distill_teacher_callbacks_score),
    ("generate", distill_teacher_callbacks_generate),
    ("form", POINTER(distill_target)),
    ("begin", distill_teacher_callbacks_begin),
    ("end", distill_teacher_callbacks_end),
    ("identity", c_char_p),
    ("taps", POINTER(distill_tap)),
    ("tap_count", c_int64),
    ("read_tap", distill_teacher_callbacks_read_tap),
]
distill_member._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("teacher", POINTER(distill_teacher)),
    ("name", c_char_p),
    ("weight", c_double),
    ("temperature", c_double),
]
distill_session_stats._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("prompt_tokens", c_int64),
    ("kept_tokens", c_int64),
    ("tokens", c_int64),
    ("drafted", c_int64),
    ("accepted", c_int64),
    ("first_token_seconds", c_double),
    ("token_seconds_p50", c_double),
    ("token_seconds_p95", c_double),
    ("token_seconds_p99", c_double),
    ("cpu_seconds", c_double),
    ("joules", c_double),
    ("context", c_int64),
    ("length", c_int64),
    ("dropped_messages", c_int64),
    ("seconds", c_double),
    ("model_tokens", c_int64),
    ("flops", c_double),
    ("energy", c_int64),
    ("eur", c_double),
    ("usd", c_double),
]
distill_writing._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("vocab", c_int64),
    ("temperature", c_double),
    ("top_p", c_double),
    ("seed", c_int64),
    ("most", POINTER(c_int64)),
]
distill_student_callbacks._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("user", c_void_p),
    ("destroy", distill_destroy_fn),
    ("forward", distill_student_callbacks_forward),
    ("backward", distill_student_callbacks_backward),
    ("apply", distill_student_callbacks_apply),
    ("discard", distill_student_callbacks_discard),
    ("save", distill_student_callbacks_save),
    ("load", distill_student_callbacks_load),
    ("form", POINTER(distill_target)),
    ("taps", POINTER(distill_tap)),
    ("tap_count", c_int64),
    ("read_tap", distill_student_callbacks_read_tap),
    ("tap_gradient", distill_student_callbacks_tap_gradient),
    ("generate", distill_student_callbacks_generate),
]
distill_sample._fields_ = [
    ("struct_size", c_uint32),
    ("kind", c_int32),
    ("ids", POINTER(c_int32)),
    ("text", c_char_p),
    ("count", c_int64),
    ("prompt_count", c_int64),
    ("size", c_int64),
    ("learn", POINTER(c_uint8)),
    ("weight", c_double),
]
distill_dataset_callbacks._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("user", c_void_p),
    ("destroy", distill_destroy_fn),
    ("get", distill_dataset_callbacks_get),
    ("count", c_int64),
]
distill_loss_rows._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("rows", c_int64),
    ("vocab", c_int64),
    ("student", POINTER(c_float)),
    ("teacher", POINTER(c_float)),
    ("target", POINTER(distill_target)),
    ("labels", POINTER(c_int32)),
    ("sequences", POINTER(c_int64)),
    ("value", POINTER(c_double)),
    ("gradient", POINTER(c_float)),
    ("temperature", c_double),
    ("step", c_int64),
    ("weights", POINTER(c_float)),
    ("sequence_sums", POINTER(c_double)),
    ("sequence_count", c_int64),
]
distill_loss_callbacks._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("user", c_void_p),
    ("destroy", distill_destroy_fn),
    ("eval", distill_loss_callbacks_eval),
    ("fallback", c_char_p),
    ("targets", c_int64),
    ("measure", distill_loss_callbacks_measure),
    ("sums", c_int64),
]
distill_loss_args._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("student", POINTER(distill_target)),
    ("teacher", POINTER(distill_target)),
    ("labels", POINTER(distill_tensor)),
    ("weights", POINTER(distill_tensor)),
    ("grad_values", POINTER(distill_tensor)),
    ("grad_head", POINTER(distill_tensor)),
    ("grad_bias", POINTER(distill_tensor)),
    ("row_values", POINTER(distill_tensor)),
    ("grad_scale", c_double),
    ("step", c_int64),
    ("sum", c_double),
    ("count", c_int64),
    ("weight_sum", c_double),
    ("floored", c_int64),
    ("sequences", POINTER(distill_tensor)),
    ("memory", c_int64),
    ("divisor", c_double),
    ("reference", POINTER(distill_tensor)),
    ("preference", POINTER(distill_tensor)),
]
distill_progress._fields_ = [
    ("struct_size", c_uint32),
    ("phase", c_int32),
    ("step", c_int64),
    ("steps", c_int64),
    ("tokens", c_int64),
    ("count", c_int64),
    ("loss", c_double),
    ("learning_rate", c_double),
    ("grad_norm", c_double),
    ("tokens_per_second", c_double),
    ("seconds_left", c_double),
    ("weight_sum", c_double),
    ("done", c_int64),
    ("total", c_int64),
    ("stage", c_int64),
    ("stages", c_int64),
    ("stage_name", c_char_p),
    ("term_count", c_int64),
    ("term_names", POINTER(POINTER(c_char))),
    ("term_weights", POINTER(c_double)),
    ("term_values", POINTER(c_double)),
    ("generated", c_int64),
    ("on_policy_share", c_double),
    ("pairs", c_int64),
    ("pair_accuracy", c_double),
    ("pair_margin", c_double),
]
distill_forward._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("batch", POINTER(distill_batch)),
    ("student", POINTER(distill_target)),
    ("teacher", POINTER(distill_target)),
    ("labels", POINTER(distill_tensor)),
    ("weights", POINTER(distill_tensor)),
    ("rows", c_int64),
    ("micro_batch", c_int64),
    ("micro_batches", c_int64),
    ("weight_sum", c_double),
    ("sequences", POINTER(distill_tensor)),
    ("sequence_count", c_int64),
]
distill_strip._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("student", POINTER(c_float)),
    ("teacher", POINTER(c_float)),
    ("labels", POINTER(c_int32)),
    ("weights", POINTER(c_float)),
    ("target", POINTER(distill_target)),
    ("first_row", c_int64),
    ("rows", c_int64),
    ("vocab", c_int64),
    ("student_stride", c_int64),
    ("teacher_stride", c_int64),
    ("loss", c_double),
]
distill_operator_callbacks._fields_ = [
    ("struct_size", c_uint32),
    ("flags", c_uint32),
    ("user", c_void_p),
    ("destroy", distill_destroy_fn),
    ("apply", distill_operator_callbacks_apply),
]
distill_verdict._fields_ = [
    ("struct_size", c_uint32),
    ("sure", c_int32),
    ("answer", c_int64),
    ("confidence", c_double),
]
distill_cost._fields_ = [
    ("struct_size", c_uint32),
    ("energy", c_int32),
    ("seconds", c_double),
    ("cpu_seconds", c_double),
    ("joules", c_double),
    ("idle_watts", c_double),
    ("eur", c_double),
    ("usd", c_double),
    ("peak_bytes", c_int64),
    ("tokens", c_int64),
    ("flops", c_double),
]

STRUCTS = {  # name: (size, offsets of the fields)
    "distill_error": (512, {"code": 0, "user_code": 4, "position": 8, "message": 16}),
    "distill_tensor": (48, {"data": 0, "device_type": 8, "device_id": 12, "ndim": 16, "dtype_code": 20, "dtype_bits": 21, "dtype_lanes": 22, "shape": 24, "strides": 32, "byte_offset": 40}),
    "distill_batch": (72, {"struct_size": 0, "flags": 4, "ids": 8, "offsets": 16, "rows": 24, "weights": 32, "sequences": 40, "row_count": 48, "sources": 56, "tags": 64}),
    "distill_tap": (56, {"struct_size": 0, "kind": 4, "layer": 8, "width": 16, "heads": 24, "window": 32, "scale": 40, "softcap": 48}),
    "distill_target": (88, {"struct_size": 0, "kind": 4, "values": 8, "ids": 16, "tail": 24, "head": 32, "bias": 40, "logit_scale": 48, "softcap": 56, "temperature": 64, "vocab_valid": 72, "entropy": 80}),
    "distill_option_info": (80, {"struct_size": 0, "type": 4, "name": 8, "help": 16, "default_text": 24, "choices": 32, "unit": 40, "low": 48, "high": 56, "flags": 64, "when": 72}),
    "distill_allocator": (40, {"struct_size": 0, "flags": 4, "user": 8, "alloc": 16, "free": 24, "destroy": 32}),
    "distill_communicator": (88, {"struct_size": 0, "flags": 4, "user": 8, "destroy": 16, "rank": 24, "size": 32, "all_to_all_start": 40, "all_gather_start": 48, "wait": 56, "broadcast": 64, "barrier": 72, "abort": 80}),
    "distill_token": (80, {"struct_size": 0, "id": 4, "text": 8, "size": 16, "log_prob": 24, "finished": 32, "top_ids": 40, "top_log_probs": 48, "top_count": 56, "from_draft": 64, "nanoseconds": 72}),
    "distill_writer_callbacks": (32, {"struct_size": 0, "flags": 4, "user": 8, "token": 16, "logits": 24}),
    "distill_teacher_callbacks": (96, {"struct_size": 0, "flags": 4, "user": 8, "destroy": 16, "score": 24, "generate": 32, "form": 40, "begin": 48, "end": 56, "identity": 64, "taps": 72, "tap_count": 80, "read_tap": 88}),
    "distill_member": (40, {"struct_size": 0, "flags": 4, "teacher": 8, "name": 16, "weight": 24, "temperature": 32}),
    "distill_session_stats": (168, {"struct_size": 0, "flags": 4, "prompt_tokens": 8, "kept_tokens": 16, "tokens": 24, "drafted": 32, "accepted": 40, "first_token_seconds": 48, "token_seconds_p50": 56, "token_seconds_p95": 64, "token_seconds_p99": 72, "cpu_seconds": 80, "joules": 88, "context": 96, "length": 104, "dropped_messages": 112, "seconds": 120, "model_tokens": 128, "flops": 136, "energy": 144, "eur": 152, "usd": 160}),
    "distill_writing": (48, {"struct_size": 0, "flags": 4, "vocab": 8, "temperature": 16, "top_p": 24, "seed": 32, "most": 40}),
    "distill_student_callbacks": (120, {"struct_size": 0, "flags": 4, "user": 8, "destroy": 16, "forward": 24, "backward": 32, "apply": 40, "discard": 48, "save": 56, "load": 64, "form": 72, "taps": 80, "tap_count": 88, "read_tap": 96, "tap_gradient": 104, "generate": 112}),
    "distill_sample": (64, {"struct_size": 0, "kind": 4, "ids": 8, "text": 16, "count": 24, "prompt_count": 32, "size": 40, "learn": 48, "weight": 56}),
    "distill_dataset_callbacks": (40, {"struct_size": 0, "flags": 4, "user": 8, "destroy": 16, "get": 24, "count": 32}),
    "distill_loss_rows": (120, {"struct_size": 0, "flags": 4, "rows": 8, "vocab": 16, "student": 24, "teacher": 32, "target": 40, "labels": 48, "sequences": 56, "value": 64, "gradient": 72, "temperature": 80, "step": 88, "weights": 96, "sequence_sums": 104, "sequence_count": 112}),
    "distill_loss_callbacks": (64, {"struct_size": 0, "flags": 4, "user": 8, "destroy": 16, "eval": 24, "fallback": 32, "targets": 40, "measure": 48, "sums": 56}),
    "distill_loss_args": (160, {"struct_size": 0, "flags": 4, "student": 8, "teacher": 16, "labels": 24, "weights": 32, "grad_values": 40, "grad_head": 48, "grad_bias": 56, "row_values": 64, "grad_scale": 72, "step": 80, "sum": 88, "count": 96, "weight_sum": 104, "floored": 112, "sequences": 120, "memory": 128, "divisor": 136, "reference": 144, "preference": 152}),
    "distill_progress": (200, {"struct_size": 0, "phase": 4, "step": 8, "steps": 16, "tokens": 24, "count": 32, "loss": 40, "learning_rate": 48, "grad_norm": 56, "tokens_per_second": 64, "seconds_left": 72, "weight_sum": 80, "done": 88, "total": 96, "stage": 104, "stages": 112, "stage_name": 120, "term_count": 128, "term_names": 136, "term_weights": 144, "term_values": 152, "generated": 160, "on_policy_share": 168, "pairs": 176, "pair_accuracy": 184, "pair_margin": 192}),
    "distill_forward": (96, {"struct_size": 0, "flags": 4, "batch": 8, "student": 16, "teacher": 24, "labels": 32, "weights": 40, "rows": 48, "micro_batch": 56, "micro_batches": 64, "weight_sum": 72, "sequences": 80, "sequence_count": 88}),
    "distill_strip": (96, {"struct_size": 0, "flags": 4, "student": 8, "teacher": 16, "labels": 24, "weights": 32, "target": 40, "first_row": 48, "rows": 56, "vocab": 64, "student_stride": 72, "teacher_stride": 80, "loss": 88}),
    "distill_operator_callbacks": (32, {"struct_size": 0, "flags": 4, "user": 8, "destroy": 16, "apply": 24}),
    "distill_verdict": (24, {"struct_size": 0, "sure": 4, "answer": 8, "confidence": 16}),
    "distill_cost": (80, {"struct_size": 0, "energy": 4, "seconds": 8, "cpu_seconds": 16, "joules": 24, "idle_watts": 32, "eur": 40, "usd": 48, "peak_bytes": 56, "tokens": 64, "flops": 72}),
}
FUNCTIONS = {  # name: (result, arguments)
    "distill_version": (c_char_p, []),
    "distill_abi_version": (c_int32, []),
    "distill_strerror": (c_char_p, [c_int32]),
    "distill_option_at": (c_int32, [c_int64, POINTER(distill_option_info), POINTER(distill_error)]),
    "distill_env_create": (c_int32, [POINTER(distill_allocator), POINTER(POINTER(distill_env)), POINTER(distill_error)]),
    "distill_env_free": (None, [POINTER(distill_env)]),
    "distill_env_set_logger": (c_int32, [POINTER(distill_env), c_int32, distill_log_fn, c_void_p, distill_destroy_fn, POINTER(distill_error)]),
    "distill_env_set_threads": (c_int32, [POINTER(distill_env), c_int64, distill_parallel_fn, c_void_p, distill_destroy_fn, POINTER(distill_error)]),
    "distill_env_set_communicator": (c_int32, [POINTER(distill_env), POINTER(distill_communicator), POINTER(distill_error)]),
    "distill_env_set_products": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_error)]),
    "distill_env_cancel": (None, [POINTER(distill_env), c_int32]),
    "distill_options_create": (c_int32, [POINTER(distill_env), POINTER(POINTER(distill_options)), POINTER(distill_error)]),
    "distill_options_free": (None, [POINTER(distill_options)]),
    "distill_options_load": (c_int32, [POINTER(distill_options), c_char_p, POINTER(distill_error)]),
    "distill_options_parse": (c_int32, [POINTER(distill_options), c_char_p, c_size_t, c_char_p, POINTER(distill_error)]),
    "distill_options_set": (c_int32, [POINTER(distill_options), c_char_p, c_char_p, POINTER(distill_error)]),
    "distill_options_set_str": (c_int32, [POINTER(distill_options), c_char_p, c_char_p, POINTER(distill_error)]),
    "distill_options_set_i64": (c_int32, [POINTER(distill_options), c_char_p, c_int64, POINTER(distill_error)]),
    "distill_options_set_f64": (c_int32, [POINTER(distill_options), c_char_p, c_double, POINTER(distill_error)]),
    "distill_options_get": (c_int32, [POINTER(distill_options), c_char_p, POINTER(c_char), c_size_t, POINTER(c_size_t), POINTER(distill_error)]),
    "distill_tokenizer_open": (c_int32, [POINTER(distill_env), c_char_p, POINTER(POINTER(distill_tokenizer)), POINTER(distill_error)]),
    "distill_tokenizer_free": (None, [POINTER(distill_tokenizer)]),
    "distill_tokenizer_encode": (c_int32, [POINTER(distill_tokenizer), c_char_p, c_size_t, c_int32, POINTER(c_int32), c_int64, POINTER(c_int64), POINTER(distill_error)]),
    "distill_tokenizer_decode": (c_int32, [POINTER(distill_tokenizer), POINTER(c_int32), c_int64, c_int32, POINTER(c_char), c_size_t, POINTER(c_size_t), POINTER(distill_error)]),
    "distill_tokenizer_chat": (c_int32, [POINTER(distill_tokenizer), c_char_p, c_int32, POINTER(c_char), c_size_t, POINTER(c_size_t), POINTER(distill_error)]),
    "distill_tokenizer_get_i64": (c_int32, [POINTER(distill_tokenizer), c_char_p, POINTER(c_int64), POINTER(distill_error)]),
    "distill_teacher_open": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_options), POINTER(POINTER(distill_teacher)), POINTER(distill_error)]),
    "distill_teacher_from_callbacks": (c_int32, [POINTER(distill_env), POINTER(distill_teacher_callbacks), POINTER(distill_options), POINTER(POINTER(distill_teacher)), POINTER(distill_error)]),
    "distill_teacher_from_student": (c_int32, [POINTER(distill_student), POINTER(POINTER(distill_teacher)), POINTER(distill_error)]),
    "distill_teacher_blend": (c_int32, [POINTER(distill_env), POINTER(distill_member), c_int64, POINTER(distill_options), POINTER(POINTER(distill_teacher)), POINTER(distill_error)]),
    "distill_teacher_route": (c_int32, [POINTER(distill_env), POINTER(distill_member), c_int64, distill_route_fn, c_void_p, distill_destroy_fn, POINTER(distill_options), POINTER(POINTER(distill_teacher)), POINTER(distill_error)]),
    "distill_teacher_cached": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_teacher), POINTER(distill_options), POINTER(POINTER(distill_teacher)), POINTER(distill_error)]),
    "distill_teacher_free": (None, [POINTER(distill_teacher)]),
    "distill_teacher_score": (c_int32, [POINTER(distill_teacher), POINTER(distill_batch), POINTER(distill_target), POINTER(distill_error)]),
    "distill_teacher_log_probs": (c_int32, [POINTER(distill_teacher), POINTER(distill_batch), c_double, POINTER(distill_tensor), POINTER(distill_target), POINTER(distill_error)]),
    "distill_teacher_generate": (c_int32, [POINTER(distill_teacher), POINTER(distill_batch), POINTER(distill_options), distill_token_fn, c_void_p, POINTER(distill_error)]),
    "distill_teacher_generate_with": (c_int32, [POINTER(distill_teacher), POINTER(distill_batch), POINTER(distill_writer_callbacks), POINTER(distill_options), POINTER(distill_error)]),
    "distill_teacher_tokenizer": (c_int32, [POINTER(distill_teacher), POINTER(POINTER(distill_tokenizer)), POINTER(distill_error)]),
    "distill_teacher_export": (c_int32, [POINTER(distill_teacher), c_char_p, POINTER(distill_options), POINTER(distill_error)]),
    "distill_teacher_get_i64": (c_int32, [POINTER(distill_teacher), c_char_p, POINTER(c_int64), POINTER(distill_error)]),
    "distill_session_create": (c_int32, [POINTER(distill_teacher), POINTER(distill_teacher), POINTER(distill_options), POINTER(POINTER(distill_session)), POINTER(distill_error)]),
    "distill_session_free": (None, [POINTER(distill_session)]),
    "distill_session_append": (c_int32, [POINTER(distill_session), POINTER(c_int32), c_int64, POINTER(distill_error)]),
    "distill_session_append_text": (c_int32, [POINTER(distill_session), c_char_p, c_size_t, c_int32, POINTER(distill_error)]),
    "distill_session_chat": (c_int32, [POINTER(distill_session), c_char_p, c_int32, POINTER(distill_error)]),
    "distill_session_on_logits": (c_int32, [POINTER(distill_session), distill_logits_fn, c_void_p, distill_destroy_fn, POINTER(distill_error)]),
    "distill_session_configure": (c_int32, [POINTER(distill_session), POINTER(distill_options), POINTER(distill_error)]),
    "distill_session_next": (c_int32, [POINTER(distill_session), POINTER(distill_token), POINTER(distill_error)]),
    "distill_session_generate": (c_int32, [POINTER(distill_session), distill_token_fn, c_void_p, POINTER(distill_error)]),
    "distill_session_next_many": (c_int32, [POINTER(POINTER(distill_session)), c_int64, POINTER(distill_token), POINTER(distill_error)]),
    "distill_session_truncate": (c_int32, [POINTER(distill_session), c_int64, POINTER(distill_error)]),
    "distill_session_fork": (c_int32, [POINTER(distill_session), POINTER(POINTER(distill_session)), POINTER(distill_error)]),
    "distill_session_ids": (c_int32, [POINTER(distill_session), POINTER(c_int32), c_int64, POINTER(c_int64), POINTER(distill_error)]),
    "distill_session_get_stats": (c_int32, [POINTER(distill_session), POINTER(distill_session_stats), POINTER(distill_error)]),
    "distill_session_cancel": (None, [POINTER(distill_session), c_int32]),
    "distill_student_open": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_options), POINTER(POINTER(distill_student)), POINTER(distill_error)]),
    "distill_student_create": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_tokenizer), POINTER(distill_options), POINTER(POINTER(distill_student)), POINTER(distill_error)]),
    "distill_student_derive": (c_int32, [POINTER(distill_teacher), POINTER(distill_options), POINTER(POINTER(distill_student)), POINTER(distill_error)]),
    "distill_student_from_callbacks": (c_int32, [POINTER(distill_env), POINTER(distill_student_callbacks), POINTER(distill_options), POINTER(POINTER(distill_student)), POINTER(distill_error)]),
    "distill_student_free": (None, [POINTER(distill_student)]),
    "distill_student_save": (c_int32, [POINTER(distill_student), c_char_p, POINTER(distill_options), POINTER(distill_error)]),
    "distill_student_get_i64": (c_int32, [POINTER(distill_student), c_char_p, POINTER(c_int64), POINTER(distill_error)]),
    "distill_student_tokenizer": (c_int32, [POINTER(distill_student), POINTER(POINTER(distill_tokenizer)), POINTER(distill_error)]),
    "distill_student_head_name": (c_char_p, [POINTER(distill_student)]),
    "distill_student_parameter_name": (c_char_p, [POINTER(distill_student), c_int64]),
    "distill_student_parameter": (c_int32, [POINTER(distill_student), c_char_p, c_int32, POINTER(distill_tensor), POINTER(distill_error)]),
    "distill_student_weights_changed": (c_int32, [POINTER(distill_student), POINTER(distill_error)]),
    "distill_dataset_open": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_tokenizer), POINTER(distill_options), POINTER(POINTER(distill_dataset)), POINTER(distill_error)]),
    "distill_dataset_from_tokens": (c_int32, [POINTER(distill_env), POINTER(distill_batch), POINTER(distill_options), POINTER(POINTER(distill_dataset)), POINTER(distill_error)]),
    "distill_dataset_from_callbacks": (c_int32, [POINTER(distill_env), POINTER(distill_dataset_callbacks), POINTER(distill_tokenizer), POINTER(distill_options), POINTER(POINTER(distill_dataset)), POINTER(distill_error)]),
    "distill_dataset_free": (None, [POINTER(distill_dataset)]),
    "distill_dataset_get_i64": (c_int32, [POINTER(distill_dataset), c_char_p, POINTER(c_int64), POINTER(distill_error)]),
    "distill_dataset_next": (c_int32, [POINTER(distill_dataset), POINTER(distill_sample), POINTER(distill_error)]),
    "distill_dataset_tell": (c_int32, [POINTER(distill_dataset), POINTER(c_char), c_size_t, POINTER(c_size_t), POINTER(distill_error)]),
    "distill_dataset_seek": (c_int32, [POINTER(distill_dataset), c_char_p, POINTER(distill_error)]),
    "distill_env_add_loss": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_loss_callbacks), POINTER(distill_error)]),
    "distill_loss_create": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_options), POINTER(POINTER(distill_loss)), POINTER(distill_error)]),
    "distill_loss_free": (None, [POINTER(distill_loss)]),
    "distill_loss_eval": (c_int32, [POINTER(distill_loss), POINTER(distill_loss_args), POINTER(distill_error)]),
    "distill_trainer_create": (c_int32, [POINTER(distill_env), POINTER(distill_teacher), POINTER(distill_student), POINTER(distill_dataset), POINTER(distill_dataset), POINTER(distill_options), POINTER(POINTER(distill_trainer)), POINTER(distill_error)]),
    "distill_trainer_free": (None, [POINTER(distill_trainer)]),
    "distill_trainer_configure": (c_int32, [POINTER(distill_trainer), POINTER(distill_options), POINTER(distill_error)]),
    "distill_trainer_on_progress": (c_int32, [POINTER(distill_trainer), distill_progress_fn, c_void_p, distill_destroy_fn, POINTER(distill_error)]),
    "distill_trainer_run": (c_int32, [POINTER(distill_trainer), POINTER(distill_error)]),
    "distill_trainer_resume": (c_int32, [POINTER(distill_trainer), POINTER(distill_error)]),
    "distill_trainer_step": (c_int32, [POINTER(distill_trainer), POINTER(distill_progress), POINTER(distill_error)]),
    "distill_trainer_forward": (c_int32, [POINTER(distill_trainer), c_int32, POINTER(distill_forward), POINTER(distill_error)]),
    "distill_trainer_next_rows": (c_int32, [POINTER(distill_trainer), POINTER(distill_strip), POINTER(distill_error)]),
    "distill_trainer_backward": (c_int32, [POINTER(distill_trainer), POINTER(distill_tensor), c_double, POINTER(distill_error)]),
    "distill_trainer_apply": (c_int32, [POINTER(distill_trainer), POINTER(distill_progress), POINTER(distill_error)]),
    "distill_trainer_save": (c_int32, [POINTER(distill_trainer), c_char_p, POINTER(distill_error)]),
    "distill_trainer_load": (c_int32, [POINTER(distill_trainer), c_char_p, POINTER(distill_error)]),
    "distill_trainer_cancel": (None, [POINTER(distill_trainer), c_int32]),
    "distill_trainer_student": (c_int32, [POINTER(distill_trainer), POINTER(POINTER(distill_student)), POINTER(distill_error)]),
    "distill_trainer_report": (c_int32, [POINTER(distill_trainer), POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_run": (c_int32, [POINTER(distill_env), POINTER(distill_options), c_int32, distill_progress_fn, c_void_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_env_add_operator": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_operator_callbacks), POINTER(distill_error)]),
    "distill_dataset_augment": (c_int32, [POINTER(distill_env), POINTER(distill_teacher), c_char_p, c_char_p, POINTER(distill_options), distill_progress_fn, c_void_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_dataset_augment_plan": (c_int32, [POINTER(distill_env), POINTER(distill_teacher), c_char_p, POINTER(distill_options), POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_classifier_train": (c_int32, [POINTER(distill_env), POINTER(distill_sample), c_int64, POINTER(distill_options), c_int32, distill_progress_fn, c_void_p, POINTER(POINTER(distill_classifier)), POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_classifier_open": (c_int32, [POINTER(distill_env), c_char_p, POINTER(distill_options), POINTER(POINTER(distill_classifier)), POINTER(distill_error)]),
    "distill_classifier_free": (None, [POINTER(distill_classifier)]),
    "distill_classifier_save": (c_int32, [POINTER(distill_classifier), c_char_p, POINTER(distill_error)]),
    "distill_classifier_predict": (c_int32, [POINTER(distill_classifier), c_char_p, c_size_t, POINTER(c_float), c_int64, POINTER(distill_verdict), POINTER(distill_error)]),
    "distill_classifier_predict_many": (c_int32, [POINTER(distill_classifier), POINTER(POINTER(c_char)), POINTER(c_size_t), c_int64, POINTER(c_float), POINTER(distill_verdict), POINTER(distill_error)]),
    "distill_classifier_ask": (c_int32, [POINTER(distill_classifier), POINTER(distill_teacher), c_char_p, c_size_t, POINTER(distill_options), POINTER(c_double), c_int64, POINTER(distill_error)]),
    "distill_classifier_class_name": (c_char_p, [POINTER(distill_classifier), c_int64]),
    "distill_classifier_get_f64": (c_int32, [POINTER(distill_classifier), c_char_p, POINTER(c_double), POINTER(distill_error)]),
    "distill_classifier_report": (c_int32, [POINTER(distill_classifier), POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_classifier_evaluate": (c_int32, [POINTER(distill_classifier), c_char_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_teacher_choose": (c_int32, [POINTER(distill_teacher), c_char_p, c_size_t, c_int32, POINTER(POINTER(c_char)), c_int64, POINTER(distill_options), POINTER(c_double), POINTER(distill_error)]),
    "distill_evaluate": (c_int32, [POINTER(distill_student), POINTER(distill_teacher), POINTER(distill_dataset), POINTER(distill_options), POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_evaluate_tasks": (c_int32, [POINTER(distill_teacher), POINTER(distill_options), distill_progress_fn, c_void_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_compare": (c_int32, [POINTER(distill_teacher), POINTER(distill_teacher), c_char_p, POINTER(distill_options), distill_progress_fn, c_void_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_plan": (c_int32, [POINTER(distill_env), POINTER(distill_options), distill_progress_fn, c_void_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_cache_build": (c_int32, [POINTER(distill_env), POINTER(distill_teacher), POINTER(distill_dataset), c_char_p, POINTER(distill_options), distill_progress_fn, c_void_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_cache_plan": (c_int32, [POINTER(distill_env), POINTER(distill_teacher), POINTER(distill_dataset), c_char_p, POINTER(distill_options), POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_cache_measure": (c_int32, [POINTER(distill_env), POINTER(distill_teacher), POINTER(distill_student), POINTER(distill_dataset), c_int64, POINTER(distill_options), distill_progress_fn, c_void_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_cache_merge": (c_int32, [POINTER(distill_env), POINTER(POINTER(c_char)), c_int64, c_char_p, POINTER(distill_options), POINTER(distill_error)]),
    "distill_cache_inspect": (c_int32, [POINTER(distill_env), c_char_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_cache_verify": (c_int32, [POINTER(distill_env), c_char_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_inspect": (c_int32, [POINTER(distill_env), c_char_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_limits": (c_int32, [POINTER(distill_env), POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_meter_start": (c_int32, [POINTER(distill_env), POINTER(distill_options), POINTER(POINTER(distill_meter)), POINTER(distill_error)]),
    "distill_meter_read": (c_int32, [POINTER(distill_meter), POINTER(distill_cost), POINTER(distill_error)]),
    "distill_meter_report": (c_int32, [POINTER(distill_meter), POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_meter_free": (None, [POINTER(distill_meter)]),
    "distill_report_get_f64": (c_int32, [POINTER(distill_report), c_char_p, POINTER(c_double), POINTER(distill_error)]),
    "distill_report_json": (c_int32, [POINTER(distill_report), POINTER(c_char), c_size_t, POINTER(c_size_t), POINTER(distill_error)]),
    "distill_report_open": (c_int32, [POINTER(distill_env), c_char_p, POINTER(POINTER(distill_report)), POINTER(distill_error)]),
    "distill_report_html": (c_int32, [POINTER(POINTER(distill_report)), c_int64, c_char_p, POINTER(distill_options), POINTER(distill_error)]),
    "distill_report_free": (None, [POINTER(distill_report)]),
}
