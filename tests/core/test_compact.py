"""compact(): the same outputs from fewer units, whatever made them dead."""

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.core.layers import ACTIVATIONS

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def network(sizes, activation="tanh", dtype="float64", seed=0):
    net = tr.MLP(sizes, activation, dtype)
    net.params = np.random.default_rng(seed).normal(size=net.n_params)
    return net


def assert_same_outputs(net, atol=1e-12):
    """The same to rounding on random inputs, from a network that was left as it is."""
    before = net.params.copy()
    small, inputs = net.compact()
    np.testing.assert_array_equal(net.params, before)
    assert not np.shares_memory(small.params, net.params)
    assert (small.activation, small.dtype) == (net.activation, net.dtype)
    assert small.sizes[-1] == net.sizes[-1]
    assert small.sizes[0] == len(inputs)
    X = np.random.default_rng(1).normal(size=(200, net.sizes[0]))
    np.testing.assert_allclose(small.forward(X[:, inputs]), net.forward(X), rtol=0, atol=atol)
    return small, inputs


@every_activation
@pytest.mark.parametrize("sizes", [(4, 2), (4, 3, 2), (4, 5, 3, 2)], ids=str)
def test_without_dead_units_it_is_a_copy(activation, sizes):
    net = network(sizes, activation)
    small, inputs = assert_same_outputs(net)
    assert small.sizes == sizes
    assert inputs.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(small.params, net.params)


@every_activation
def test_units_without_outgoing_weights_go(activation):
    net = network((4, 5, 6, 3), activation)
    net.weights[1][[0, 3]] = 0
    net.weights[2][[1, 2, 5]] = 0
    small, _ = assert_same_outputs(net)
    assert small.sizes == (4, 3, 3, 3)


@every_activation
def test_units_without_incoming_weights_go_and_leave_what_they_say(activation):
    net = network((4, 5, 6, 3), activation)
    net.weights[0][:, [1, 4]] = 0
    net.weights[1][:, 2] = 0
    net.biases[1][2] = 0.7  # which relu lets through
    small, _ = assert_same_outputs(net)
    assert small.sizes == (4, 3, 5, 3)
    assert np.any(small.biases[2] != net.biases[2])


def test_the_constant_of_a_unit_goes_into_the_next_bias():
    net = tr.MLP((1, 2, 1), "sigmoid")
    net.weights[0][:] = [[1.0, 0.0]]
    net.weights[1][:] = [[2.0], [4.0]]
    net.biases[1][:] = 0.25
    small, _ = net.compact()  # the second unit says σ(0) = ½, which is worth ½·4
    assert small.sizes == (1, 1, 1)
    np.testing.assert_array_equal(small.params, [1, 2, 0, 2.25])


def test_unused_inputs_go_and_the_index_says_which_stay():
    net = network((6, 3, 2))
    net.weights[0][[0, 2, 5]] = 0
    small, inputs = assert_same_outputs(net)
    assert inputs.tolist() == [1, 3, 4]
    assert inputs.dtype.kind == "i"
    np.testing.assert_array_equal(small.weights[0], net.weights[0][inputs])


@every_activation
def test_a_unit_that_goes_takes_those_with_it_that_it_alone_had_listened_to(activation):
    net = network((3, 3, 3, 2), activation)
    net.weights[2][0] = 0  # unit 0 of the second layer is not heard …
    net.weights[1][1] = [1, 0, 0]  # … so unit 1 of the first, which speaks to it alone, is not …
    net.weights[0][2] = [0, 1, 0]  # … and neither is input 2, which speaks to that one alone
    small, inputs = assert_same_outputs(net)
    assert small.sizes == (2, 2, 2, 2)
    assert inputs.tolist() == [0, 1]


@every_activation
def test_a_constant_unit_makes_those_constant_that_listen_to_it_alone(activation):
    net = network((3, 3, 3, 3, 2), activation)
    net.weights[0][:, 0] = 0  # unit 0 of the first layer is constant …
    net.weights[1][1:, 2] = 0  # … so is unit 2 of the second, which hears it alone …
    net.weights[2][:2, 1] = 0  # … so is unit 1 of the third, which hears that one alone
    small, _ = assert_same_outputs(net)
    assert small.sizes == (3, 2, 2, 2, 2)


def test_both_cascades_meet():
    # Unit 0 of the second layer hears only a constant and speaks only to one that is not heard.
    net = network((2, 2, 2, 2, 1))
    net.weights[0][:, 0] = 0
    net.weights[1][:, 0] = [1, 0]
    net.weights[2][0] = [0, 1]
    net.weights[3][1] = 0
    small, _ = assert_same_outputs(net)
    assert small.sizes == (2, 1, 1, 1, 1)


@every_activation
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_where_all_is_dead_one_of_each_stays(activation, layer):
    net = network((3, 4, 5, 2), activation)
    net.weights[layer][:] = 0
    small, inputs = assert_same_outputs(net)
    assert small.sizes == (1, 1, 1, 2)
    assert inputs.tolist() == [0]
    assert not np.concatenate([W.ravel() for W in small.weights]).any()


@every_activation
def test_compacting_twice_changes_nothing_more(activation):
    net = network((5, 6, 6, 2), activation)
    rng = np.random.default_rng(3)
    for W in net.weights:
        W *= rng.random(W.shape) < 0.25
    small, _ = assert_same_outputs(net)
    assert small.n_params < net.n_params
    again, inputs = small.compact()
    assert again.sizes == small.sizes
    np.testing.assert_array_equal(again.params, small.params)
    np.testing.assert_array_equal(inputs, np.arange(small.sizes[0]))


@pytest.mark.parametrize("seed", range(30))
def test_random_zeros(seed):
    rng = np.random.default_rng(seed)
    sizes = (7, *rng.integers(1, 8, rng.integers(0, 4)), 3)
    net = network(tuple(map(int, sizes)), rng.choice(list(ACTIVATIONS)), seed=seed)
    for W in net.weights:
        W *= rng.random(W.shape) < rng.choice([0.1, 0.25, 0.5])
    small, _ = assert_same_outputs(net)
    # What is left is alive: each layer has weights into and out of each of its units, or is one
    # unit that stands for none.
    for into, out_of in zip(small.weights[:-1], small.weights[1:], strict=True):
        alive = into.any(axis=0) & out_of.any(axis=1)
        assert alive.all() or (alive.size == 1 and not out_of.any())


def test_without_hidden_layers_only_inputs_can_go():
    net = network((4, 2))
    net.weights[0][1] = 0
    net.weights[0][:, 0] = 0  # an output without weights stays: it says its bias
    small, inputs = assert_same_outputs(net)
    assert small.sizes == (3, 2)
    assert inputs.tolist() == [0, 2, 3]


@every_activation
def test_float32_stays_float32(activation):
    net = network((4, 5, 3), activation, "float32")
    net.weights[0][:, 1] = 0
    net.weights[1][2] = 0
    small, _ = assert_same_outputs(net, atol=1e-5)
    assert small.sizes == (4, 3, 3)
    assert small.params.dtype == np.float32


@every_activation
@pytest.mark.parametrize("penalty", [tr.L1(2e-3), tr.GroupLasso(1e-3, axis=1)], ids=repr)
def test_after_proximal_training(activation, penalty):
    X, y = tr.load_digits()
    X, y = X[:300], y[:300]
    net = tr.MLP((64, 24, 10), activation, seed=0)
    tr.fit(
        net, X, y, loss=tr.SoftmaxCrossEntropy(), penalty=penalty, method="proximal",
        optimizer=tr.Adam(3e-3), epochs=10,
    )  # fmt: skip
    small, inputs = assert_same_outputs(net)
    assert small.n_params < 0.8 * net.n_params
    assert set(inputs) <= set(np.flatnonzero(net.weights[0].any(axis=1)))
    assert small.sizes[1] > 1
    np.testing.assert_allclose(small.forward(X[:, inputs]), net.forward(X), rtol=0, atol=1e-12)


def test_a_compact_network_saves_loads_and_trains_on(tmp_path):
    net = network((4, 5, 2), "relu")
    net.weights[1][[0, 3]] = 0
    small, inputs = net.compact()
    small.save(tmp_path / "small.npz")
    np.testing.assert_array_equal(tr.MLP.load(tmp_path / "small.npz").params, small.params)
    X = np.random.default_rng(0).normal(size=(20, 4))
    tr.fit(small, X[:, inputs], np.zeros((20, 2)), loss=tr.SquaredError(), epochs=1)
