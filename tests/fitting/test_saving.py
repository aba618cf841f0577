"""`save` and `load`: fresh parts, closures, a probe that notices what is different."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.fitting import load, save
from elbo_tfp.ground import files as filing
from elbo_tfp.ground.compiled import traced

tfd = tfp.distributions
X = np.float32([[0.3, -1.0, 2.0], [1.0, 0.0, 0.5]])


def build(activation="tanh", dropout=False):
    """A model and an encoder in closures, with unbuilt networks of fresh names."""
    decoder = keras.Sequential(
        [keras.layers.Dense(4, activation), keras.layers.Dense(3)]
    )
    layers = [keras.layers.Dense(4, activation), keras.layers.BatchNormalization()]
    layers += [keras.layers.Dropout(0.5)] if dropout else []
    network = keras.Sequential([*layers, keras.layers.Dense(2)])
    scale = tf.Variable(0.7)

    def log_joint(x):
        def target(z):
            prior = tfd.Independent(tfd.Normal(tf.zeros(2), tf.exp(scale)), 1)
            likelihood = tfd.Independent(tfd.Normal(decoder(z), 1.0), 1)
            return prior.log_prob(z) + likelihood.log_prob(x)

        return target

    def encoder(x):
        return tfd.Independent(tfd.Normal(network(x), 0.5), 1)

    return SimpleNamespace(log_joint=log_joint), encoder, (decoder, network, scale)


def numbers(model, encoder):
    z = tf.constant([[0.1, 0.2], [-0.3, 1.0]])
    return np.stack([model.log_joint(X)(z), encoder(X).log_prob(z)])


def test_round_trip_into_fresh_parts(tmp_path):
    path = tmp_path / "vae.npz"
    model, encoder, (_, network, scale) = build(dropout=True)
    encoder(X)
    network.layers[1].moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    scale.assign(-0.2)
    save(path, model=model, encoder=encoder, x=X)
    expected = numbers(model, encoder)
    other, other_encoder, (_, _, other_scale) = build(dropout=True)
    load(path, model=other, encoder=other_encoder)
    np.testing.assert_array_equal(numbers(other, other_encoder), expected)
    assert other_scale.numpy() == np.float32(-0.2)
    assert [file.name for file in tmp_path.iterdir()] == ["vae.npz"]


def test_parts_built_differently_are_noticed_and_left_alone(tmp_path):
    path = tmp_path / "vae.npz"
    model, encoder, _ = build()
    save(path, model=model, encoder=encoder, x=X)
    other, other_encoder, _ = build(activation="relu")
    before = numbers(other, other_encoder)
    with pytest.raises(ValueError, match="does not fit: .* values are as before"):
        load(path, model=other, encoder=other_encoder)
    np.testing.assert_array_equal(numbers(other, other_encoder), before)


def test_other_shapes_numbers_and_names_of_parts_are_named(tmp_path):
    path = tmp_path / "q.npz"
    q = tfd.Normal(tf.Variable([1.0, 2.0]), 1.0)
    save(path, q=q)
    with pytest.raises(ValueError, match=r"number 0 is float32 \(3,\), in the"):
        load(path, q=tfd.Normal(tf.Variable(tf.zeros(3)), 1.0))
    with pytest.raises(ValueError, match="parts have 2 of them, the file 1"):
        load(path, q=tfd.Normal(tf.Variable([1.0, 2.0]), tf.Variable(1.0)))
    with pytest.raises(ValueError, match=r"holds the parts \['q'\]; got \['p'\]"):
        load(path, p=q)
    with pytest.raises(ValueError, match="saved without probe="):
        load(path, q=q, probe=lambda: q.mean())
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz", q=q)
    fresh = tfd.Normal(tf.Variable([0.0, 0.0]), 1.0)
    load(path, q=fresh)
    np.testing.assert_array_equal(fresh.loc, [1.0, 2.0])


def test_truncated_and_foreign_files(tmp_path):
    path = tmp_path / "q.npz"
    q = tfd.Normal(tf.Variable([1.0, 2.0]), 1.0)
    save(path, q=q)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read as a saved model"):
        load(path, q=q)
    filing.write(path, "checkpoint", {}, {})
    with pytest.raises(ValueError, match="to be a saved model .* got 'checkpoint'"):
        load(path, q=q)


def test_a_probe_of_your_own(tmp_path):
    path = tmp_path / "own.npz"
    v, w = tf.Variable([3.0], dtype=tf.float64), tf.Variable(2, trainable=False)
    save(path, probe=lambda: v * tf.cast(w, v.dtype))
    a, b = tf.Variable([0.0], dtype=tf.float64), tf.Variable(0, trainable=False)
    load(path, probe=lambda: a * tf.cast(b, a.dtype))
    assert a.numpy() == [3.0] and b.numpy() == 2
    with pytest.raises(ValueError, match="saved with probe="):
        load(path)
    # with parts: what they hold besides is saved too
    held = tf.Variable(5.0)
    save(path, probe=lambda: v + 0, encoder=lambda x: x * held)
    other = tf.Variable(0.0)
    load(path, probe=lambda: a + 0, encoder=lambda x: x * other)
    assert other.numpy() == 5.0


def test_structured_data_and_plain_networks(tmp_path):
    path = tmp_path / "net.npz"
    for x in ({"a": X, "b": X}, (X, X)):
        layer = keras.layers.Dense(1)

        def part(x, layer=layer):
            return layer(tf.concat(tf.nest.flatten(x), -1))

        save(path, network=part, x=x)
        header, arrays = filing.read(path, "saved model")
        np.testing.assert_array_equal(arrays["x/00001"], X)
        fresh = keras.layers.Dense(1)
        load(path, network=lambda x, f=fresh: f(tf.concat(tf.nest.flatten(x), -1)))
        np.testing.assert_array_equal(fresh.kernel, layer.kernel)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "name the parts to save"),
        ({"encoder": keras.layers.Dense(1)}, "pass x=, a few rows"),
        ({"thing": 3}, r"no default probe for \['thing'\]"),
        ({"q": tfd.Normal(0.0, 1.0)}, "reads no variable"),
    ],
)
def test_nothing_to_save(tmp_path, parts, text):
    with pytest.raises(ValueError, match=text):
        save(tmp_path / "x.npz", **parts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("x", [{"x": X, "given": {"a": X}}, (X, [X]), X.tolist()])
def test_nested_data_for_the_probe_are_named(tmp_path, x):
    with pytest.raises(ValueError, match="a tuple or dict of arrays; got a .* holds a"):
        save(tmp_path / "x.npz", network=lambda x: tf.Variable(1.0), x=x)
    assert not list(tmp_path.iterdir())


def test_every_part_comes_back(tmp_path):
    path = tmp_path / "parts.npz"

    def parts(seed):
        rng = np.random.default_rng(seed)
        first, second = (tf.Variable(rng.normal(size=[3, 2])) for _ in range(2))
        dropout = keras.layers.Dropout(0.5, seed=seed)
        layer = keras.layers.Dense(2)
        layer.build([None, 3])
        x = tf.cast(X, tf.float64)
        made = {
            # two functions, one of them with a seed that the probe does not read
            "first": lambda v, s=None: (
                tf.matmul(x, first) + 0 * tf.cast(dropout(v), x.dtype)[0, 0]
            ),
            "second": lambda v: tf.matmul(x, second),
            "encoder": et.Encoder(layer, et.families.mean_field(1)),
            "q": tfd.Normal(tf.Variable(rng.normal(size=[2])), 1.0),
        }
        return made, [first, second, dropout.seed_generator.state, layer.kernel]

    old, kept = parts(1)
    new, fresh = parts(2)
    kept[2].assign([7, 9])
    save(path, x=X.astype(np.float64), **old)
    load(path, **new)
    for a, b in zip(kept, fresh, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(old["q"].loc, new["q"].loc)


def test_a_model_alone(tmp_path):
    path = tmp_path / "model.npz"
    old, new = (et.models.linear_vae(3, 2, seed=seed).model for seed in (1, 2))
    save(path, model=old)
    load(path, model=new)
    z = tf.ones([1, 2])
    np.testing.assert_array_equal(old.likelihood(z).mean(), new.likelihood(z).mean())


def test_a_part_with_other_variables_is_named(tmp_path):
    path = tmp_path / "two.npz"
    v = tf.Variable([1.0])
    save(path, x=X, a=lambda x: x * v, b=lambda x: x * v * 2)
    w, u = tf.Variable([1.0]), tf.Variable([1.0])
    with pytest.raises(ValueError, match="have 2 of them, the file 1; b has 1, "):
        load(path, a=lambda x: x * w, b=lambda x: x * u)


def first_edition(path, x, values, numbers):
    """Writes a file as the first edition did: no counts, one probe of all parts."""
    arrays = {f"variable/{i:05d}": np.asarray(v) for i, v in enumerate(values)}
    arrays |= {f"probe/{i:05d}": np.asarray(n) for i, n in enumerate(numbers)}
    names = ["encoder", "model"] if len(numbers) == 2 else ["a", "b"]
    header = {"parts": names, "x": "array", "own_probe": False}
    filing.write(path, "saved model", header, {**arrays, "x/00000": x})


def test_a_file_of_the_first_edition_loads(tmp_path, recwarn):
    path, x = tmp_path / "old.npz", np.float32([[1, 0, 1], [0, 0, 1]])
    old, new = (et.models.vae(3, 2, hidden=(4,), seed=k) for k in (1, 2))
    # then the families gave TFP's own normals, which draw other numbers
    q = old.encoder(x).distribution
    z = tfd.Independent(tfd.Normal(q.loc, q.scale), 1).sample(seed=(0, 0))

    def numbers():
        return old.encoder(x).log_prob(z), old.model.log_joint(x)(z)

    log_q, log_p = numbers()
    values = [v.numpy() for v in traced(numbers).variables]
    first_edition(path, x, values, [log_q, log_p])
    load(path, model=new.model, encoder=new.encoder)
    np.testing.assert_allclose(new.encoder(x).log_prob(z), log_q, rtol=1e-6)
    np.testing.assert_allclose(new.model.log_joint(x)(z), log_p, rtol=1e-6)
    assert not [w for w in recwarn if "first edition" in str(w.message)]
    # other numbers: nothing is changed
    first_edition(path, x, [v + 0.1 for v in values], [log_q, log_p])
    with pytest.raises(ValueError, match="does not fit.*changed since the first"):
        load(path, model=new.model, encoder=new.encoder)
    np.testing.assert_allclose(new.encoder(x).log_prob(z), log_q, rtol=1e-6)
    first_edition(path, x, values[1:], [log_q, log_p])
    with pytest.raises(ValueError, match="the parts have 8 of them, the file 7"):
        load(path, model=new.model, encoder=new.encoder)


def test_what_the_first_edition_did_not_save_is_a_warning(tmp_path):
    path = tmp_path / "old.npz"
    first_edition(path, X, [[2.0, 3.0, 4.0]], [X * np.float32([2, 3, 4])])
    v, w = tf.Variable([0.0] * 3), tf.Variable([0.0] * 3)
    with pytest.raises(ValueError, match="number 0 is float32"):
        load(path, a=lambda x: x * v, b=lambda x: x * w)
    first_edition(path, X, [np.float32([2, 3, 4])], [X * np.float32([2, 3, 4])])
    with pytest.warns(UserWarning, match="did not save 1 of the 2 variables"):
        load(path, a=lambda x: x * v, b=lambda x: x * w)
    np.testing.assert_array_equal(v, np.zeros(3))  # it kept the last function only
    np.testing.assert_array_equal(w, [2, 3, 4])
