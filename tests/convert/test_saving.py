"""What was converted is the same in a fresh process."""

import tfpbnn
from tests.checks import check_save
from tests.convert import test_variational
from tests.convert.legacy import test_tfp_models
from tests.convert.test_variational import normal
from tfpbnn.convert import from_tfp_layers


def test_converted_and_migrated_models_survive_saving(tmp_path):
    plain = test_variational.sequential("tanh")
    legacy = test_tfp_models.randomize(test_tfp_models.dense_model())
    cases = [
        (tfpbnn.to_variational(plain, moped=True), normal(3, 4)),
        (tfpbnn.to_variational(plain, "last", kl_weight=0.1), normal(3, 4)),
        (from_tfp_layers(legacy), normal(3, 3)),
    ]
    check_save(cases, tmp_path)
