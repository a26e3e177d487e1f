"""Random numbers are Threefry's, the same on every library, and distributed as they should be."""

import collections
import math
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import Generator
from xpnet.random import default_generator, threefry2x32
from xpnet.random.generator import undrawn

# Key, counter and block, from the known-answer tests that the authors publish (Random123).
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def encrypt(lib: Any, key: tuple[int, int], counter: np.ndarray) -> np.ndarray:
    """Return the blocks of counters of shape (2, n) as unsigned words, computed in the library."""
    words = [lib.asarray(row.view("int32"), None) for row in counter.astype("uint32")]
    with lib.guard():
        blocks = threefry2x32(lib.xp, key, tuple(words))
    assert all(block.dtype == lib.xp.int32 for block in blocks)
    return np.stack([lib.to_host(block) for block in blocks]).view("uint32")


@pytest.fixture
def blocks() -> Callable[..., np.ndarray]:
    """Return JAX's function from a key and counters of shape (2, n) to blocks."""
    threefry = pytest.importorskip("jax.extend.random").threefry_2x32

    def function(key: tuple[int, int], counter: np.ndarray) -> np.ndarray:
        flat = threefry(np.asarray(key, "uint32"), counter.astype("uint32").ravel())
        return np.asarray(flat).reshape(2, -1)

    return function


@pytest.fixture
def words(blocks) -> Callable[..., np.ndarray]:
    """Return a function that gives the words of one draw: all first halves of blocks come first."""

    def function(seed: int, draw: int, n: int, stream: int = 0) -> np.ndarray:
        block = np.arange((n + 1) // 2)
        return blocks((seed, stream), np.stack([block, np.full_like(block, draw)])).ravel()[:n]

    return function


@pytest.fixture
def doubles(words) -> Callable[..., np.ndarray]:
    """Return a function that gives the uniform numbers of 53 bits of one draw."""

    def function(seed: int, draw: int, n: int) -> np.ndarray:
        high, low = words(seed, draw, 2 * n).reshape(2, n).astype("uint64")
        return ((high >> 5) * 2**26 + (low >> 6)) / 2.0**53

    return function


def kolmogorov(sample: np.ndarray, cdf: Callable[[float], float]) -> float:
    """Return sqrt(n) times the largest distance of two distribution functions.

    It is above 1.95 in one of 1000 samples: 2 exp(-2 * 1.95**2) = 0.001.
    """
    n = sample.size
    expected = np.asarray([cdf(x) for x in np.sort(sample.ravel()).tolist()])
    steps = np.arange(n + 1) / n
    return math.sqrt(n) * max(np.max(steps[1:] - expected), np.max(expected - steps[:-1]))


@pytest.mark.parametrize(("key", "counter", "block"), KNOWN_ANSWERS)
def test_threefry_gives_the_published_answers(lib, key, counter, block):
    found = encrypt(lib, key, np.asarray(counter)[:, None])
    assert found[:, 0].tolist() == list(block)


def test_threefry_gives_the_blocks_of_jax(lib, blocks):
    rng = np.random.default_rng(1)
    counter = rng.integers(0, 2**32, (2, 100), dtype="uint32")
    for key in rng.integers(0, 2**32, (20, 2)).tolist():
        np.testing.assert_array_equal(encrypt(lib, tuple(key), counter), blocks(key, counter))


@pytest.mark.parametrize("n", [0, 5, 64])
def test_bits_encrypt_the_counters_of_block_and_draw(lib, words, n):
    rng = Generator(2**32 - 7, stream=3)
    for draw in range(3):
        with lib.guard():
            bits = rng.bits(lib.xp, n, device=lib.device)
        assert bits.dtype == lib.xp.int32
        found = lib.to_host(bits).view("uint32")
        np.testing.assert_array_equal(found, words(2**32 - 7, draw, n, stream=3))
    assert rng.draws == 3


def test_the_counter_of_draws_has_32_bits(words):
    rng = Generator(1)
    rng.load_state_dict({"seed": 1, "stream": 0, "draws": 2**32 - 1})
    bits = rng.bits(np, 4).view("uint32")
    np.testing.assert_array_equal(bits, words(1, 2**32 - 1, 4))


def test_more_words_than_there_are_counters_are_refused():
    rng = Generator(0)
    with pytest.raises(ValueError, match=r"^Generator: 4294967297 words are too many for one draw"):
        rng.bits(np, 2**32 + 1)
    assert rng.draws == 0


def test_no_block_is_drawn_twice():
    # Among so many, words of 32 bits may repeat, but not whole blocks.
    blocks = [
        Generator(seed, stream).bits(np, 2000).reshape(2, -1).T
        for seed in range(4)
        for stream in range(4)
    ]
    rng = Generator(4)
    blocks += [rng.bits(np, 2000).reshape(2, -1).T for _ in range(4)]
    assert len(np.unique(np.concatenate(blocks), axis=0)) == 20 * 1000


def test_each_bit_is_set_half_of_the_time():
    bits = Generator(0).bits(np, 2**16).view("uint32")
    share = np.asarray([np.mean(bits >> place & 1) for place in range(32)])
    np.testing.assert_allclose(share, 0.5, atol=4 / math.sqrt(4 * 2**16))  # 4 sigma


def test_uniform_float32_is_a_multiple_of_a_power_of_two(lib, words):
    found = Generator(5).uniform((3, 7))
    assert found.dtype == lib.xp.float32
    expected = (words(5, 0, 21) >> 8).astype("float32").reshape(3, 7) / 2**24
    np.testing.assert_array_equal(lib.to_host(found), expected, strict=True)


def test_uniform_float64_is_a_multiple_of_a_power_of_two(lib, doubles):
    found = Generator(5).uniform((3, 7), dtype="float64")
    expected = doubles(5, 0, 21).reshape(3, 7)
    np.testing.assert_array_equal(lib.to_host(found), expected, strict=True)


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 24), ("float64", 53)])
def test_uniform_takes_all_values_up_to_but_not_one(dtype, bits):
    class Extremes(Generator):
        def _bits(self, words, xp, n, device):
            return xp.asarray([word] * n, dtype=xp.int32)

    word = 0
    assert Extremes(0).uniform((1,), dtype=dtype).item() == 0.0
    word = -1
    assert Extremes(0).uniform((1,), dtype=dtype).item() == 1 - 2.0**-bits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_between_bounds_is_equal_on_every_library(lib, words, doubles, dtype):
    found = lib.to_host(Generator(5).uniform((9,), -2.5, 0.5, dtype=dtype))
    unit = (words(5, 0, 9) >> 8) / 2.0**24 if dtype == "float32" else doubles(5, 0, 9)
    kind = np.dtype(dtype).type
    expected = unit.astype(dtype) * kind(3) + kind(-2.5)
    np.testing.assert_array_equal(found, expected, strict=True)


def test_uniform_numbers_are_uniform():
    for dtype in ("float32", "float64"):
        assert kolmogorov(Generator(1).uniform((20000,), dtype=dtype), lambda x: x) < 1.95


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-7), ("float64", 1e-13)])
def test_normal_is_the_box_muller_transform(lib, doubles, dtype, rtol):
    found = Generator(6).normal((3, 7), 2.0, 0.5, dtype=dtype)
    assert found.dtype == getattr(lib.xp, dtype)
    pairs = zip(doubles(6, 0, 21).tolist(), doubles(6, 1, 21).tolist(), strict=True)
    z = [math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v) for u, v in pairs]
    lib.close(found, 2 + 0.5 * np.reshape(z, (3, 7)), rtol)


def test_normal_is_equal_on_every_library(lib):
    found = lib.to_host(Generator(6).normal((50,)))
    with xn.use_backend("numpy"):
        np.testing.assert_array_equal(found, Generator(6).normal((50,)), strict=True)


def test_normal_numbers_are_normal():
    z = Generator(1).normal((20000,), dtype="float64")
    assert kolmogorov(z, lambda x: (1 + math.erf(x / math.sqrt(2))) / 2) < 1.95
    moments = [np.mean(z**k) for k in (1, 2, 3, 4)]
    spread = 4 / math.sqrt(20000)  # 4 sigma; the variances of z**k are 1, 2, 15 and 96
    np.testing.assert_array_less(
        np.abs(np.subtract(moments, [0, 1, 0, 3])), spread * np.sqrt([1, 2, 15, 96])
    )


@pytest.mark.parametrize("n", [0, 1, 2, 100])
def test_a_permutation_is_one(n):
    order = Generator(0).permutation(n)
    assert isinstance(order, np.ndarray)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_a_permutation_is_equal_on_every_library(lib, doubles):
    rng = Generator(3)
    for draw in range(2):
        expected = np.argsort(doubles(3, draw, 50))
        np.testing.assert_array_equal(rng.permutation(50), expected)


def test_a_permutation_sorts_by_every_bit_that_is_drawn(monkeypatch):
    keys = 2.0 ** np.random.default_rng(0).integers(-53, 0, 200)
    monkeypatch.setattr(Generator, "_uniform", lambda self, shape, double: keys)
    np.testing.assert_array_equal(Generator(0).permutation(200), np.argsort(keys, stable=True))


def test_all_permutations_are_drawn_equally_often():
    rng = Generator(0)
    counts = collections.Counter(tuple(rng.permutation(3).tolist()) for _ in range(1200))
    assert len(counts) == 6
    assert all(abs(count - 200) < 4 * math.sqrt(200 * 5 / 6) for count in counts.values())


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_bernoulli_compares_the_words_with_the_probability(lib, words, p):
    with lib.guard():
        chosen = Generator(7).bernoulli(lib.xp, p, (8, 50), device=lib.device)
    assert chosen.dtype == lib.xp.bool
    # As unsigned numbers in the order of the signed ones.
    expected = (words(7, 0, 400) ^ 2**31).astype("int64") < round(p * 2**32)
    np.testing.assert_array_equal(lib.to_host(chosen), expected.reshape(8, 50))


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.0, [False, False, False, False]),
        (2.0**-32, [True, False, False, False]),
        (0.5, [True, True, False, False]),
        (1 - 2.0**-32, [True, True, True, False]),
        (1.0, [True, True, True, True]),
    ],
)
def test_bernoulli_is_exact_at_the_ends(lib, p, expected):
    class Extremes(Generator):
        def bits(self, xp, n, *, device=None):
            return xp.asarray([-(2**31), -1, 0, 2**31 - 1], dtype=xp.int32, device=device)

    chosen = Extremes(0).bernoulli(lib.xp, p, (4,), device=lib.device)
    assert lib.to_host(chosen).tolist() == expected


def test_bernoulli_is_true_as_often_as_asked():
    chosen = Generator(0).bernoulli(np, 0.3, (100000,))
    assert chosen.mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 100000))


def test_no_global_random_state_is_read_or_changed(lib):
    torch = pytest.importorskip("torch")

    def draw() -> list[Any]:
        rng = Generator(0)
        return [
            lib.to_host(rng.uniform((3,))),
            lib.to_host(rng.normal((3,))),
            lib.to_host(rng.bernoulli(lib.xp, 0.5, (3,), device=lib.device)),
            rng.permutation(3),
            lib.to_host(xn.nn.Linear(3, 2, rng=rng).weight),
        ]

    def states() -> list[Any]:
        return [random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()]

    before = states()
    first = draw()
    assert states() == before
    random.random(), np.random.random(), torch.rand(1)
    for found, expected in zip(draw(), first, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_generator_continues_where_its_state_was_taken():
    rng = Generator(1, stream=2)
    rng.permutation(3)
    state = rng.state_dict()
    assert state == {"seed": 1, "stream": 2, "draws": 1}
    assert repr(rng) == "Generator(seed=1, stream=2, draws=1)"
    expected = [rng.bits(np, 4).tolist() for _ in range(3)]
    other = Generator(0)
    other.load_state_dict(state)
    assert [other.bits(np, 4).tolist() for _ in range(3)] == expected
    assert state == {"seed": 1, "stream": 2, "draws": 1}


@pytest.mark.parametrize("name", ["seed", "stream"])
@pytest.mark.parametrize("word", [-1, 2**32, 1.5, "0", None])
def test_a_seed_is_a_word(name, word):
    message = re.escape(f"Generator: {name} must be an integer in [0, 2**32), got {word!r}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        Generator(**{"seed": 0, name: word})


def test_the_largest_seed_is_one():
    assert Generator(2**32 - 1, stream=2**32 - 1).seed == 2**32 - 1


def test_an_integer_of_numpy_is_an_integer():
    assert repr(Generator(np.int64(3), np.uint8(1))) == "Generator(seed=3, stream=1, draws=0)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({"draws": x}, f"draws must be an integer in [0, 2**32), got {x!r}") for x in (-1, 1.5)),
        ({"draws": 2**32}, "draws must be an integer in [0, 2**32), got 4294967296"),
        ({"seed": "0"}, "seed must be an integer in [0, 2**32), got '0'"),
        ({"more": 1}, "expected a state with seed, stream and draws, got {"),
    ],
)
def test_a_state_that_is_none_changes_nothing(change, message):
    rng = Generator(1)
    with pytest.raises(ValueError, match=f"^Generator: {re.escape(message)}"):
        rng.load_state_dict({"seed": 0, "stream": 0, "draws": 0, **change})
    with pytest.raises(ValueError, match=r"^Generator: expected a state with seed, stream and"):
        rng.load_state_dict({"seed": 0})
    assert repr(rng) == "Generator(seed=1, stream=0, draws=0)"


def test_seed_starts_the_default_generator_anew():
    xn.seed(3)
    expected = Generator(3).bits(np, 6)
    default_generator().permutation(2)
    xn.seed(3)
    assert repr(default_generator()) == "Generator(seed=3, stream=0, draws=0)"
    np.testing.assert_array_equal(default_generator().bits(np, 6), expected)
    with pytest.raises(ValueError, match=r"seed must be an integer in \[0, 2\*\*32\), got -1"):
        xn.seed(-1)


def test_reserved_draws_are_those_that_would_have_come():
    rng, same = Generator(3, stream=1), Generator(3, stream=1)
    for each in (rng, same):
        each.uniform((2,))
    reserved = rng.reserve(2)
    expected = [same.uniform((4,)).tolist() for _ in range(3)]
    assert rng.uniform((4,)).tolist() == expected[2]
    assert [reserved.uniform((4,)).tolist() for _ in range(2)] == expected[:2]
    assert (rng.draws, reserved.stream) == (4, 1)
    with pytest.raises(ValueError, match=r"^Generator: no draws are left of 2\*\*32"):
        rng.reserve(2**32)
    assert rng.draws == 4


def test_generators_are_put_back():
    rng, unused = Generator(1), Generator(2)
    rng.permutation(3)

    def use() -> None:
        with undrawn():
            rng.permutation(3)
            rng.reserve(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert (rng.draws, unused.draws) == (1, 0)


def expected_bits(rng: Generator, n: int) -> np.ndarray:
    """Return the next words of a generator by the block function alone."""
    state = rng.state_dict()
    block = np.arange((n + 1) // 2, dtype=np.int32)
    draw = np.full_like(block, state["draws"])
    return np.concat(threefry2x32(np, (state["seed"], state["stream"]), (block, draw)))[:n]


def test_draws_that_come_again_are_what_the_block_function_gives(lib: Any) -> None:
    rng = Generator(5, 7)
    for n in [*range(1, 40), *[33, 6] * 12]:  # more sizes than programs are kept
        expected = expected_bits(rng, n)
        bits = rng.bits(lib.xp, n, device=lib.device)
        np.testing.assert_array_equal(lib.to_host(bits), expected)
    replays = lib.backend.replay_after(integers=True) is not None
    assert callable(xn.random.words._programs.get((lib.xp, 17, lib.device))) == replays


def test_orders_are_drawn_without_a_program() -> None:
    programs, rng = xn.random.words._programs, Generator(5, 7)
    before = dict(programs)
    for _ in range(10):
        rng.permutation(1234)
    assert programs == before


def test_draws_that_are_differentiated_around_may_be_written_to(lib: Any) -> None:
    rng = Generator(5, 8)

    def masked(x: Any) -> Any:
        xp = xn.array_namespace(x)
        bits = rng.bits(xp, 6, device=lib.device)
        bits += 1
        return xp.sum(xp.where(bits > 0, x, xp.zeros_like(x)))

    for _ in range(10):
        kept = expected_bits(rng, 6) + 1 > 0
        lib.close(xn.grad(masked)(lib.asarray(np.ones(6))), kept)


def test_threads_that_draw_at_once_do_not_disturb_each_other() -> None:
    xp = xn.backend.get_backend("numpy").namespace()

    def draw(stream: int) -> list[Any]:
        rng = Generator(9, stream)
        return [rng.bits(xp, 5000) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(draw, range(8)))
    for stream, draws in enumerate(found):
        rng = Generator(9, stream)
        for bits in draws:
            np.testing.assert_array_equal(bits, expected_bits(rng, 5000))
            rng.reserve(1)
