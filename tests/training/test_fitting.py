"""The training step of models, beside Keras's."""

import keras
import numpy as np
import tensorflow as tf

import tfpbnn


def compiled(base):
    """A model with a loss, metrics and added losses of a user's."""

    class Own(base):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(
                400, kernel_regularizer=keras.regularizers.L2(0.01)
            )
            self.drop = keras.layers.Dropout(0.5, seed=1)
            self.last = keras.layers.Dense(1)
            self.own = keras.metrics.Mean("own")

        def call(self, x, training=False):
            h = self.drop(self.dense(x), training=training)
            self.add_loss(tf.reduce_mean(h**2))
            return self.last(h)

        def compute_loss(self, x, y, y_pred, sample_weight):
            loss = super().compute_loss(x, y, y_pred, sample_weight)
            self.own.update_state(loss)
            return 2 * loss

        @property
        def metrics(self):
            return [self.own]

    keras.utils.set_random_seed(0)
    model = Own()
    model.compile("adam", "mse", weighted_metrics=["mae"])
    return model


def test_a_step_is_that_of_keras():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 400)), rng.normal(size=(50, 1))
    weights = rng.uniform(size=50)
    results = []
    for base in (keras.Model, tfpbnn.Model):
        model = compiled(base)
        logs = model.fit(
            x, y, 20, 2, sample_weight=weights, verbose=0, shuffle=False
        ).history
        results.append((logs, model.get_weights(), model))
    (logs, expected, _), (found, got, ours) = results
    kl = found.pop("kl", None)
    assert kl is None or not np.any(kl)
    assert found.keys() == logs.keys()
    for name, values in logs.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert "apply_gradients" not in vars(ours.optimizer)
