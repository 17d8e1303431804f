#include "api/handles.h"

#include <string.h>

#define SAME(name) _Static_assert((int)DK_##name == (int)DISTILL_##name, "codes of lib and of the public header differ")
SAME(OK);
SAME(E_INVALID);
SAME(E_OPTION);
SAME(E_STAGE);
SAME(E_REENTRANT);
SAME(E_BUSY);
SAME(E_BUFFER);
SAME(E_UNSUPPORTED);
SAME(E_NOMEM);
SAME(E_IO);
SAME(E_NOT_FOUND);
SAME(E_FORMAT);
SAME(E_MISMATCH);
SAME(E_NUMERIC);
SAME(E_CALLBACK);
SAME(E_CANCELLED);
SAME(E_END);
SAME(E_INTERNAL);
SAME(LOG_ERROR);
SAME(LOG_DEBUG);
SAME(ENCODE_SPECIAL);
SAME(ENCODE_PLAIN);
SAME(DECODE_SKIP_SPECIAL);
#define SAME_TAP(ours, public) _Static_assert((int)DK_TAP_##ours == (int)DISTILL_TAP_##public, "places differ")
SAME_TAP(BLOCK, OUTPUT);
SAME_TAP(FINAL, FINAL);
SAME_TAP(Q, QUERIES);
SAME_TAP(K, KEYS);
SAME_TAP(V, VALUES);
_Static_assert((int)DK_RANKS_CANCEL == (int)DISTILL_CB_CANCEL, "codes of lib and of the public header differ");
_Static_assert((int)DK_PARALLEL_CANCEL == (int)DISTILL_CB_CANCEL, "codes of lib and of the public header differ");
_Static_assert(sizeof(dk_error) == sizeof(distill_error) &&
                   offsetof(dk_error, position) == offsetof(distill_error, position) &&
                   offsetof(dk_error, message) == offsetof(distill_error, message),
               "dk_error and distill_error are one layout");

const char *distill_version(void) { return DISTILL_VERSION; }

int32_t distill_abi_version(void) { return DISTILL_ABI_VERSION; }

const char *distill_strerror(int32_t code) { return dk_status_text(code); }

/* ---- handles ---- */

typedef struct di_handle {
    distill_env *env;
} di_handle;

int32_t di_check_pointer(const void *pointer, const char *name, dk_error *err)
{
    return pointer ? DK_OK : dk_fail(err, DK_E_INVALID, "%s is NULL", name);
}

distill_env *di_env_retain(const distill_env *env)
{
    distill_env *own = (distill_env *)(uintptr_t)env;
    atomic_fetch_add_explicit(&own->references, 1, memory_order_relaxed);
    return own;
}

void di_env_release(distill_env *env)
{
    if (!env || atomic_fetch_sub_explicit(&env->references, 1, memory_order_acq_rel) > 1) return;
    dk_host *host = env->host;
    pthread_mutex_destroy(&env->products);
    di_registry_free(env->registry);
    di_hosted_list_free(env->operators);
    dk_backend_free(env->backend);
    dk_free(host, env);
    dk_host_release(host);
}

void *di_handle_create(const distill_env *env, size_t size, dk_error *err)
{
    if (di_check_pointer(env, "env", err) != DK_OK) return NULL;
    di_handle *handle = dk_calloc(env->host, 1, size);
    if (!handle) {
        dk_fail_nomem(err, size);
        return NULL;
    }
    handle->env = di_env_retain(env);
    return handle;
}

void *di_computing_handle_create(const distill_env *env, size_t size, dk_error *err)
{
    di_handle *handle = di_handle_create(env, size, err);
    if (handle) atomic_store(&handle->env->computing, 1);
    return handle;
}

void di_handle_free(void *handle)
{
    distill_env *env = ((di_handle *)handle)->env;
    dk_free(env->host, handle);
    di_env_release(env);
}

/* ---- env ---- */

static int32_t create_host(const distill_allocator *allocator, dk_host **out, dk_error *err)
{
    if (!allocator) return dk_host_create(NULL, out, err);
    dk_allocator own = {allocator->user, allocator->alloc, allocator->free, allocator->destroy};
    if (allocator->alloc && allocator->free) return dk_host_create(&own, out, err);
    if (allocator->destroy) allocator->destroy(allocator->user);
    return dk_fail(err, DK_E_INVALID, "allocator->%s is NULL", allocator->alloc ? "free" : "alloc");
}

int32_t distill_env_create(const distill_allocator *allocator, distill_env **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_host *host = NULL;
    distill_env *env = NULL;
    int32_t rc;
    dk_error_clear(err);
    if (allocator) {
        DK_TRY(di_check_struct(allocator, "allocator", offsetof(distill_allocator, destroy) + sizeof allocator->destroy,
                               err));
    }
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(create_host(allocator, &host, err));
    DK_TRY(dk_new(host, 1, &env, err));
    if (pthread_mutex_init(&env->products, NULL)) {
        dk_free(host, env);
        env = NULL;
        DK_TRY(dk_fail_nomem(err, sizeof *env));
    }
    env->host = host;
    atomic_init(&env->references, 1);
    DK_TRY(dk_backend_cpu(host, &env->backend, err));
    DK_TRY(di_registry_create(host, &env->registry, err));
    DK_TRY(di_hosted_list_create(host, &env->operators, err));
    *out = env;
    return DK_OK;
out:
    if (env) di_env_release(env);
    else dk_host_release(host);
    return rc;
}

void distill_env_free(distill_env *env) { di_env_release(env); }

int32_t distill_env_set_logger(distill_env *env, int32_t level, distill_log_fn fn, void *user,
                               distill_destroy_fn destroy, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    if (fn && (level < DISTILL_LOG_ERROR || level > DISTILL_LOG_DEBUG)) {
        rc =
            dk_fail(err, DK_E_INVALID, "level %d is not in [%d, %d]", (int)level, DISTILL_LOG_ERROR, DISTILL_LOG_DEBUG);
        goto out;
    }
    dk_host_set_logger(env->host, level, fn, user, destroy);
    return DK_OK;
out:
    if (destroy) destroy(user);
    return rc;
}

int32_t distill_env_set_threads(distill_env *env, int64_t max_threads, distill_parallel_fn fn, void *user,
                                distill_destroy_fn destroy, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_error_clear(err);
    int32_t rc = di_check_pointer(env, "env", err);
    if (rc == DK_OK && atomic_load(&env->computing))
        rc = dk_fail(err, DK_E_STAGE,
                     "threads are set before the env's first teacher, student, dataset, loss or trainer is made");
    if (rc == DK_OK) return dk_host_set_threads(env->host, max_threads, fn, user, destroy, err);
    if (destroy) destroy(user);
    return rc;
}

int32_t distill_env_set_communicator(distill_env *env, const distill_communicator *table, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    if (table)
        DK_TRY(di_check_struct(table, "table", offsetof(distill_communicator, abort) + sizeof table->abort, err));
    rc = di_check_pointer(env, "env", err);
    if (rc == DK_OK && atomic_load(&env->computing))
        rc = dk_fail(err, DK_E_STAGE,
                     "a communicator is set before the env's first teacher, student, dataset, loss or trainer is made");
    if (rc == DK_OK && !table) return dk_host_set_ranks(env->host, NULL, err);
    if (rc == DK_OK) {
        const dk_communicator own = {table->user, table->destroy,          table->rank,
                                     table->size, table->all_to_all_start, table->all_gather_start,
                                     table->wait, table->broadcast,        table->barrier,
                                     table->abort};
        return dk_host_set_ranks(env->host, &own, err);
    }
    if (table && table->destroy) table->destroy(table->user);
out:
    return rc;
}

static int32_t set_products(distill_env *env, const char *name, const char *what, dk_error *err)
{
    const char *found = NULL;
    dk_error why = {0};
    int32_t rc = dk_backend_find_products(env->backend, name, &found, &why);
    if (rc) return dk_fail(err, what ? DK_E_OPTION : rc, "%s%s%s", what ? what : "", what ? ": " : "", why.message);
    if (!strcmp(found, env->backend->products)) return DK_OK;
    if (env->multiplying || env->opening)
        return dk_fail(err, DK_E_STAGE,
                       "%s%sthe env's first model was opened with products by %s, so they cannot be by %s any more: "
                       "choose before it, or make another env",
                       what ? what : "", what ? ": " : "", env->backend->products, found);
    return dk_backend_set_products(env->backend, name, err);
}

int32_t distill_env_set_products(distill_env *env, const char *name, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(name, "name", err));
    pthread_mutex_lock(&env->products);
    rc = set_products(env, name, NULL, err);
    pthread_mutex_unlock(&env->products);
out:
    return rc;
}

int32_t di_take_products(const distill_env *env, const di_options *options, dk_error *err)
{
    distill_env *own = (distill_env *)(uintptr_t)env;
    int32_t rc = DK_OK;
    pthread_mutex_lock(&own->products);
    if (!own->opening) own->before = own->backend->products;
    if (di_options_is_set(options, "compute.products"))
        rc = set_products(own, di_options_text(options, "compute.products"), "compute.products", err);
    if (rc == DK_OK) own->opening++;
    pthread_mutex_unlock(&own->products);
    return rc;
}

void di_keep_products(const distill_env *env, int32_t opened)
{
    distill_env *own = (distill_env *)(uintptr_t)env;
    pthread_mutex_lock(&own->products);
    own->opening--;
    own->multiplying |= opened;
    if (!own->multiplying && !own->opening && strcmp(own->before, own->backend->products) != 0)
        (void)dk_backend_set_products(own->backend, own->before, NULL); /* which it had */
    pthread_mutex_unlock(&own->products);
}

void distill_env_cancel(const distill_env *env, int32_t on)
{
    if (env) dk_host_cancel(env->host, on);
}

int32_t distill_env_add_loss(distill_env *env, const char *name, const distill_loss_callbacks *table,
                             distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(table, "table", err));
    DK_TRY(di_check_struct(table, "table", offsetof(distill_loss_callbacks, targets) + sizeof table->targets, err));
    if ((rc = di_check_pointer(env, "env", err)) == DK_OK && (rc = di_check_pointer(name, "name", err)) == DK_OK)
        return di_registry_add(env->registry, name, table, err);
    if (table->destroy) table->destroy(table->user);
out:
    return rc;
}
