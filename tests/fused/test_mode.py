"""Where passes are fused: what is said inside ends with its block."""

from tfpbnn import fused


def test_an_inner_block_leaves_the_outer_ones_decision():
    with fused.plain(addressed=True):
        with fused.plain(addressed=False):
            assert fused.plain_kind() == "fast"
        assert fused.plain_kind() == "addressed"
    assert fused.plain_kind() is None


def test_plain_forbids_what_is_enabled_inside():
    with fused.enabled(True):
        with fused.plain(addressed=True), fused.enabled(True):
            assert not fused.is_on()
        assert fused.is_on()
        with fused.enabled(False):
            assert not fused.is_on()
        assert fused.is_on()
    assert not fused.is_on()
