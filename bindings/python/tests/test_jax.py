"""The losses as functions of JAX arrays, against JAX's own derivatives of the formulas."""
import numpy as np
import pytest

import distill

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
import distill.jax as losses  # noqa: E402


@pytest.fixture(name="case")
def _case():
    random = np.random.default_rng(5)
    return [jnp.asarray(random.normal(size=(2, 3, 9)) * 2, dtype=jnp.float32) for _ in range(2)]


def forward_kl(z, t, temperature=1.0):
    q, p = jax.nn.log_softmax(z / temperature), jax.nn.log_softmax(t / temperature)
    return temperature ** 2 * (jnp.exp(p) * (p - q)).sum(-1).mean()


def reverse_kl(z, t, temperature=1.0):
    return forward_kl(t, z, temperature)


@pytest.mark.parametrize("name, formula", [("forward_kl", forward_kl), ("reverse_kl", reverse_kl)])
def test_value_and_gradient_also_when_compiled(name, formula, case):
    function = getattr(losses, name)
    wanted, gradient = jax.value_and_grad(formula)(*case, 2.0)
    for run in (lambda z, t: function(z, t, temperature=2.0), jax.jit(lambda z, t: function(z, t, temperature=2.0))):
        value, made = jax.value_and_grad(lambda z: 3 * run(z, case[1]))(case[0])
        assert float(value) == pytest.approx(3 * float(wanted), rel=1e-5) and np.allclose(made, 3 * gradient, atol=1e-6)


def test_every_built_in_loss_is_there(case):
    labels = jnp.array([[1, 2, -100], [0, 3, 8]])
    for name in distill.inspect().to_dict()["loss_table"]:
        value, gradient = jax.value_and_grad(getattr(losses, name))(case[0], case[1], labels=labels)
        handle = distill.Loss(name)
        own = np.zeros((6, 9), dtype="float32")
        result = handle(np.asarray(case[0]).reshape(6, 9), np.asarray(case[1]).reshape(6, 9), labels=np.asarray(labels).reshape(6), gradient=own)
        assert float(value) == pytest.approx(result.mean, rel=1e-6), name
        assert np.allclose(np.asarray(gradient).reshape(6, 9), own / result.weight_sum, atol=1e-7), name


def test_masks_sums_and_types(case):
    mask = jnp.array([[True, False, True], [False, True, True]])
    whole = losses.jsd(case[0], case[1], mask=mask, reduction="sum")
    assert float(losses.jsd(case[0], case[1], mask=mask)) == pytest.approx(float(whole) / 4, rel=1e-6)
    half = case[0].astype(jnp.bfloat16)
    gradient = jax.grad(losses.jsd)(half, case[1])
    wanted = jax.grad(losses.jsd)(half.astype(jnp.float32), case[1])
    assert gradient.dtype == jnp.bfloat16 and np.allclose(gradient.astype(jnp.float32), wanted, atol=1e-3)
    nothing, gradient = jax.value_and_grad(losses.jsd)(case[0], case[1], mask=jnp.zeros((2, 3), dtype=bool))
    assert nothing == 0 and not np.asarray(gradient).any()


def test_other_targets_and_vmap(case):
    p = jax.nn.log_softmax(case[1])
    log_p, ids = jax.lax.top_k(p, 3)
    tail = jnp.log1p(-jnp.exp(log_p).sum(-1))
    value = losses.forward_kl(case[0], losses.top_k(log_p, ids, tail))
    assert 0 < float(value) < float(losses.forward_kl(*case))
    each = jax.vmap(losses.forward_kl)(*case)
    assert np.allclose(each.mean(), losses.forward_kl(*case), rtol=1e-5)
    assert float(losses.forward_kl(case[0], losses.one_hot(ids[..., 0]))) == pytest.approx(
        float(-jnp.take_along_axis(jax.nn.log_softmax(case[0]), ids[..., :1], -1).mean()), rel=1e-5)


def test_what_is_wrong_is_named(case):
    with pytest.raises(NotImplementedError, match="forward_kl: second derivatives"):
        jax.hessian(lambda z: losses.forward_kl(z, case[1]))(case[0])
    with pytest.raises(ValueError, match="labels have shape"):
        losses.jsd(*case, labels=jnp.zeros(6, dtype=int))
    with pytest.raises(ValueError, match="needs labels"):
        losses.cross_entropy(case[0])
    with pytest.raises(TypeError, match="no option lambda_"):
        losses.jsd(*case, lambda_=0.5)
