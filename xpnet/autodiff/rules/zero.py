"""The functions without a rule: their derivative is zero, or they are not differentiable."""

from xpnet.autodiff.rules.tables import missing, zero

__all__: list[str] = []

# Steps: constant between their jumps.
zero("ceil floor floor_divide round trunc")
# Their results are booleans or integers.
zero("all any equal greater greater_equal isfinite isin isinf isnan less less_equal not_equal")
zero("logical_and logical_not logical_or logical_xor signbit")
zero("bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor")
zero("argmax argmin argsort count_nonzero matrix_rank nonzero searchsorted")
# They look at shapes, dtypes and devices only.
zero("broadcast_shapes can_cast finfo iinfo isdtype result_type")
zero("empty empty_like eye fftfreq ones ones_like rfftfreq zeros zeros_like")

# Their derivative is not zero, and nobody has asked for it: numbers make a range, not arrays.
missing("arange linspace nextafter")
