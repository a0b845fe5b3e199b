"""The state of Keras's variables while draws are made."""

from collections.abc import Iterable

import keras
import tensorflow as tf

from tfpbnn import random
from tfpbnn.base.keras_private import is_seed_state
from tfpbnn.base.types import Tensor
from tfpbnn.layers.drawn.base import DrawnValues

# Above the indices of layers and posteriors.
_SEEDS = 2**31 - 2**20


class KeptState(DrawnValues):
    """Keeps what is written in one graph.

    In loops, branches and functions in that graph variables are read and
    written as ever: a loop's steps find what the last one wrote, and functions
    of the user's are traced as they will be called again.
    """

    def __init__(self) -> None:
        super().__init__([])
        self._graph = tf.compat.v1.get_default_graph()

    @property
    def is_left(self) -> bool:
        """Whether code runs in a graph within the one that this began in."""
        return tf.compat.v1.get_default_graph() is not self._graph

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        variable, value = update
        if self.is_left or not self.keeps(variable):
            self.pass_on(variable, value)
        else:
            self.state_mapping[id(variable)] = value

    def keeps(self, variable: keras.Variable) -> bool:
        """Whether what is written to a variable is kept."""
        return True

    def has_seeds(self, variable: keras.Variable) -> bool:
        """Whether a variable is of random numbers, which draws differ in."""
        return is_seed_state(variable)


class DrawState(KeptState):
    """State that one draw finds, and that ends with it.

    Each draw starts from the values that variables have. What it writes is seen
    by what comes after it in the same draw, and by nothing else. Keras's
    generators of seeds have states that are made of the draw's key: so another
    draw has other noise, and the same key the same. The counters that a user's
    code makes seeds of go on from draw to draw.

    Args:
        key: the draw's, `[2]`; None for that of the means, which draw too what
            is no random layer.
        counters: variables that seeds are made of.
    """

    def __init__(self, key: Tensor | None, counters: Iterable[keras.Variable]):
        super().__init__()
        self._key = random.as_key(0) if key is None else key
        self._counters = {id(counter) for counter in counters}
        self._num_seeds = 0

    def get_current_value(self, variable: keras.Variable) -> Tensor | None:
        if not is_seed_state(variable):
            return super().get_current_value(variable)
        if self.is_left:
            return None
        if id(variable) not in self.state_mapping:
            seed = random.fold(self._key, _SEEDS + self._num_seeds)
            self._num_seeds += 1
            seed = keras.ops.cast(seed, variable.dtype)
            self.state_mapping[id(variable)] = seed
        return self.state_mapping[id(variable)]

    def keeps(self, variable: keras.Variable) -> bool:
        return id(variable) not in self._counters

    def has_seeds(self, variable: keras.Variable) -> bool:
        return is_seed_state(variable) or id(variable) in self._counters

    def write(self, variables: Iterable[keras.Variable]) -> None:
        """Writes what is kept, as a call outside of draws would have done."""
        for variable in variables:
            value = self.state_mapping.get(id(variable))
            if value is not None:
                self.pass_on(variable, value)


class MemberValues(DrawnValues):
    """The values of one of several networks that are traced with one.

    What the network writes ends with the call. Where draws are made, random
    numbers are the draw's.
    """

    def get_current_value(self, variable: keras.Variable) -> Tensor | None:
        if self.original_scope is not None and self._is_of_draw(variable):
            return self.original_scope.get_current_value(variable)
        return super().get_current_value(variable)

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        variable, value = update
        is_known = id(variable) in self.state_mapping
        is_passed = is_seed_state(variable) and not is_known
        if is_passed or self._is_of_draw(variable):
            self.pass_on(variable, value)
        else:
            self.state_mapping[id(variable)] = value

    def _is_of_draw(self, variable: keras.Variable) -> bool:
        outer = self.original_scope
        return isinstance(outer, KeptState) and outer.has_seeds(variable)
