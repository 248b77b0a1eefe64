"""Published networks: the layouts of their files with tiny weights of our own, and the right values from these."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from scipy.ndimage import correlate

from benchmarks.peers.published import anchors, folder, tune
from benchmarks.peers.published.__main__ import main
from benchmarks.peers.published.methods import BY_PATTERNS, ORDERS, Given
from benchmarks.peers.published.networks import BLOCK, FFDNet, ISTANetPlus, OPINENetPlus
from benchmarks.peers.published.pnp import Schedule, pnp_ffdnet
from benchmarks.peers.published.set11 import TOLD_DB, measure
from benchmarks.peers.published.tuned import SCHEDULES
from cxgi_bluesky.errors import CxgiError
from tests.conftest import smooth_image

PHASES = 2
MASKS = 7
SIZE = 40  # no multiple of a block


def one_channel(phases=PHASES, seed=0):
    """Weights of ISTA-Net+ with one channel, and of OPINE-Net+ besides."""
    rng = np.random.default_rng(seed)
    shape = {"lambda_step": (1,), "soft_thr": (1,)}
    kernels = ("D", "1_forward", "2_forward", "1_backward", "2_backward", "G", "1_G", "2_G", "3_G")
    shape |= {(f"conv{name}" if name[0].isdigit() else f"conv_{name}"): (1, 1, 3, 3) for name in kernels}
    return {
        f"fcs.{phase}.{name}": torch.tensor(0.3 * rng.normal(size=size), dtype=torch.float32)
        for phase in range(phases)
        for name, size in shape.items()
    }


def sampling(seed=1):
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(BLOCK**2, MASKS)))[0].T
    return torch.tensor(matrix.copy(), dtype=torch.float32)


def image(size=SIZE):
    return torch.tensor(smooth_image(size, seed=3), dtype=torch.float32)


def blocks(whole):
    starts = range(0, len(whole), BLOCK)
    return np.array([whole[i : i + BLOCK, j : j + BLOCK].ravel() for i in starts for j in starts])


def whole(rows):
    side = int(len(rows) ** 0.5)
    return np.block([[rows[side * i + j].reshape(BLOCK, BLOCK) for j in range(side)] for i in range(side)])


def expected(weights, phi, first, measured, *, across):
    """The same networks with one channel, in numpy: ISTA-Net+ block by block, OPINE-Net+ across all of them."""
    x = measured @ first.T
    for phase in range(PHASES):
        w = {name[6:]: value.numpy().squeeze() for name, value in weights.items() if name.startswith(f"fcs.{phase}.")}

        def conv(a, name, w=w):
            return correlate(a, w[name], mode="constant")

        def change(a, w=w, conv=conv):
            a = conv(np.maximum(conv(conv(a, "conv_D"), "conv1_forward"), 0), "conv2_forward")
            a = np.sign(a) * np.maximum(np.abs(a) - w["soft_thr"], 0)
            a = conv(np.maximum(conv(a, "conv1_backward"), 0), "conv2_backward")
            if not across:
                return conv(a, "conv_G")
            return conv(conv(np.maximum(conv(np.maximum(a, 0), "conv1_G"), 0), "conv2_G"), "conv3_G")

        x = x - w["lambda_step"] * (x @ phi.T - measured) @ phi
        if across:
            x = blocks(whole(x) + change(whole(x)))
        else:
            x = np.array([row + change(row.reshape(BLOCK, BLOCK)).ravel() for row in x])
    return whole(x)[:SIZE, :SIZE]


def test_ista_net_filters_each_block_by_itself():
    phi, truth = sampling(), image()
    network = ISTANetPlus(one_channel(), phi, 0.9 * phi.T)
    measured = network.measure(truth)
    padded = np.pad(truth.numpy(), (0, 2 * BLOCK - SIZE))
    np.testing.assert_allclose(measured, blocks(padded) @ phi.numpy().T, atol=1e-5)
    wanted = expected(network.weights, phi.numpy(), 0.9 * phi.numpy().T, measured.numpy(), across=False)
    np.testing.assert_allclose(network.reconstruct(measured, SIZE), wanted, atol=1e-5)


def test_opine_net_filters_across_blocks_behind_masks_of_signs():
    weights = one_channel() | {"Phi": sampling(), "Phi_scale": torch.tensor([0.03])}
    network = OPINENetPlus(weights)
    signs = np.where(weights["Phi"].numpy() < 0, -0.03, 0.03)
    np.testing.assert_allclose(network.phi, signs)
    measured = network.measure(image())
    wanted = expected(weights, signs, signs.T, measured.numpy(), across=True)
    np.testing.assert_allclose(network.reconstruct(measured, SIZE), wanted, atol=1e-5)


# ---------------------------------------------------------------- the files


def write_ffdnet(path, layers):
    """Convolutions as MATLAB writes them: kernels by rows, columns, in and out, which HDF5 has the other way round."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        references = []
        for number, kernels in enumerate(layers):
            for kind in ("relu", "conv") if number else ("SubP", "concat", "conv"):
                group = file.create_group(f"#refs#/{number}{kind}")
                group["type"] = np.array([[ord(letter)] for letter in kind], dtype=np.uint16)
                if kind == "conv":
                    group["k"], group["b"] = kernels.T.astype(np.float32), np.zeros((1, kernels.shape[3]), np.float32)
                    both = np.array([[group["k"].ref], [group["b"].ref]], dtype=h5py.ref_dtype)
                    group.create_dataset("weights", data=both)
                references.append([group.ref])
        file.create_dataset("net/layers", data=np.array(references, dtype=h5py.ref_dtype))


def kernels(pairs, inputs, at=(1, 1)):
    """MATLAB's kernels, shape (3, 3, in, 4), that copy input to output for these (input, output)."""
    made = np.zeros((3, 3, inputs, 4))
    for source, target in pairs:
        made[(*at, source, target)] = 1
    return made


ALL = [(k, k) for k in range(4)]


@pytest.fixture
def given(tmp_path):
    """A folder of all peers, with weights that are tiny and, of FFDNet, change nothing."""
    write_ffdnet(tmp_path / "FFDNet/models/FFDNet_gray.mat", [kernels(ALL, 5), kernels(ALL, 4)])
    for ratio in folder.FRACTIONS:
        ista = tmp_path / f"ISTA-Net-PyTorch/model/CS_ISTA_Net_plus_layer_9_group_1_ratio_{ratio}_lr_0.0001"
        opine = tmp_path / f"OPINE-Net/model/CS_OPINE_Net_plus_layer_9_group_1_ratio_{ratio}"
        matrices = tmp_path / "ISTA-Net-PyTorch/sampling_matrix"
        for path in (ista, opine, matrices):
            path.mkdir(parents=True, exist_ok=True)
        state = {f"module.{name}": value for name, value in one_channel().items()}
        torch.save(state, ista / "net_params_200.pkl")
        masks = {"module.Phi": sampling(), "module.Phi_scale": torch.tensor([0.03])}
        torch.save(state | masks, opine / "net_params_170.pkl", _use_new_zipfile_serialization=False)
        savemat(matrices / f"phi_0_{ratio}_1089.mat", {"phi": sampling().numpy()})
        savemat(matrices / f"Initialization_Matrix_{ratio}.mat", {"Qinit": sampling().numpy().T})
    images = folder.set11_folder(tmp_path)
    images.mkdir(parents=True)
    Image.fromarray((255 * smooth_image(256, seed=0)).astype(np.uint8)).save(images / "smooth.tif")
    return tmp_path


def test_weights_are_read_under_their_own_names(given):
    weights, phi, initial = folder.ista_files(given, 10)
    assert set(weights) == set(one_channel())
    np.testing.assert_array_equal(phi, sampling())
    np.testing.assert_array_equal(initial, sampling().T)
    np.testing.assert_array_equal(folder.opine_files(given, 25)["Phi"], sampling())


def test_ffdnet_keeps_every_pixel_in_its_place(given):
    truth = image()
    np.testing.assert_array_equal(FFDNet(folder.ffdnet_files(given))(truth, 0.1), truth)


def test_subsampled_images_and_kernels_go_down_the_columns_first(given):
    second = kernels([(1, k) for k in range(4)], 5)  # MATLAB's second: rows 2, 4, ... of columns 1, 3, ...
    upper = kernels(ALL, 4, at=(0, 1))  # of the row above
    write_ffdnet(given / "FFDNet/models/FFDNet_gray.mat", [second, upper])
    truth = image()
    made = FFDNet(folder.ffdnet_files(given))(truth, 0.1)
    np.testing.assert_array_equal(made[2:, ::2][::2], truth[1:-2:2, ::2])


def test_the_map_of_sigma_is_the_last_channel(given):
    write_ffdnet(given / "FFDNet/models/FFDNet_gray.mat", [kernels([(4, k) for k in range(4)], 5), kernels(ALL, 4)])
    np.testing.assert_allclose(FFDNet(folder.ffdnet_files(given))(image(), 0.1), 0.1)


def test_nothing_is_unpickled(given):
    path = given / "OPINE-Net/model/CS_OPINE_Net_plus_layer_9_group_1_ratio_10/net_params_170.pkl"
    path.write_bytes(pickle.dumps({"module.Phi": print}, protocol=2))
    with pytest.raises(CxgiError, match="holds more than weights"):
        folder.opine_files(given, 10)


def test_a_broken_file_of_ffdnet(given):
    (given / "FFDNet/models/FFDNet_gray.mat").write_bytes(b"no HDF5")
    with pytest.raises(CxgiError, match="no file of FFDNet"):
        folder.ffdnet_files(given)


def test_the_central_pixels_of_an_image(tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8)
    Image.fromarray(large).save(tmp_path / "large.tif")
    Image.fromarray(large[:256, :256]).convert("P").save(tmp_path / "palette.tif")
    images = folder.set11_images(tmp_path)
    np.testing.assert_array_equal(images["large"], large[128:384, 128:384] / 255)
    assert images["palette"].shape == (256, 256)
    Image.fromarray(large[:100, :100]).save(tmp_path / "small.tif")
    with pytest.raises(CxgiError, match="is smaller than 256 x 256"):
        folder.set11_images(tmp_path)
    with pytest.raises(CxgiError, match=r"no \.tif"):
        folder.set11_images(tmp_path / "nowhere")


# ---------------------------------------------------------------- plug-and-play


@pytest.mark.parametrize("dual", [False, True])
def test_all_patterns_without_noise_give_the_object(given, dual):
    truth = smooth_image(32, seed=1)
    denoiser = FFDNet(folder.ffdnet_files(given))
    made = pnp_ffdnet(measure(truth, "zig-zag", 1.0), denoiser, Schedule(0.2, 0.02, 3, 0.0, dual))
    np.testing.assert_allclose(made, truth, atol=1e-6)


def test_data_are_trusted_by_their_variance():
    """Against a denoiser that says 0, a strength of sigma takes half of each coefficient, and so of the image."""
    truth = smooth_image(32, seed=1)
    measurement = measure(truth, "zig-zag", 1.0)
    measurement = replace(measurement, sigma=np.full(len(measurement), 32 * 0.1))
    zero = [(torch.zeros(4, 5, 3, 3), torch.zeros(4))]
    half = pnp_ffdnet(measurement, FFDNet(zero), Schedule(0.1, 0.1, 1, 1.0, False))
    np.testing.assert_allclose(half, truth / 2, atol=1e-9)


def test_sigma_is_told_and_coefficients_are_exact():
    truth = smooth_image(32, seed=1)
    m = measure(truth, "zig-zag", 0.25)
    signal = np.sqrt(np.mean(m.coefficient[m.pattern_index != 0] ** 2))
    assert 20 * np.log10(signal / m.sigma[0]) == pytest.approx(TOLD_DB)
    assert m.coefficient[0] == pytest.approx(truth.sum())


def test_a_schedule_for_every_case():
    needed = {(level, anchors.FRACTION, order) for level in anchors.LEVELS for order in ORDERS}
    needed |= {(None, fraction, order) for fraction in folder.FRACTIONS.values() for order in ORDERS}
    assert set(SCHEDULES) == needed


def test_tuning_finds_the_best_of_separate_settings(monkeypatch):
    wanted = Schedule(0.1, 0.005, 40, 3.0, False)
    truth = smooth_image(32, seed=1)

    def off(measurement, denoiser, schedule):
        distance = sum(
            abs(values.index(getattr(schedule, name)) - values.index(getattr(wanted, name)))
            for name, values in tune.GRID.items()
        )
        return truth * (1 - 0.01 * distance)

    monkeypatch.setattr(tune, "pnp_ffdnet", off)
    found, mean_db = tune.tuned([(truth, measure(truth, "zig-zag", 0.25))], None)
    assert found == wanted
    assert mean_db == np.inf


# ---------------------------------------------------------------- a run


def test_peers_that_are_not_given_say_so(given, tmp_path, capsys, monkeypatch):
    short = dict.fromkeys(SCHEDULES, Schedule(0.2, 0.02, 2, 1.0, True))
    monkeypatch.setattr("benchmarks.peers.published.methods.SCHEDULES", short)
    (given / "OPINE-Net/model/CS_OPINE_Net_plus_layer_9_group_1_ratio_25/net_params_170.pkl").unlink()
    page, out = tmp_path / "page.md", tmp_path / "out.json"
    methods = ["inverse", "PnP-FFDNet", "ISTA-Net+", "OPINE-Net+"]
    files = ["--out", str(out), "--markdown", str(page)]
    main(["--published", str(given), "--seeds", "1", "--only", *methods, *files])
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads(out.read_text())
    rows = {(row["method"], row["fraction"], row["masks"]): row for row in results["set11"]["rows"]}
    assert len(rows) == 2 * (2 + 2 + 1 + 1)
    assert rows["OPINE-Net+", 0.25, "learned, 33 px blocks"]["why"].startswith("not given: OPINE-Net/model/")
    learned = rows["OPINE-Net+", 0.1, "learned, 33 px blocks"]
    assert learned["measured_share"] == pytest.approx(8 * 8 * MASKS / 256**2)
    inverse, pnp = (rows[name, 0.25, "zig-zag"]["psnr_db"] for name in ("inverse", "PnP-FFDNet"))
    assert pnp == pytest.approx(inverse, abs=0.01)  # whose denoiser changes nothing
    assert {row["method"] for row in results["anchors"]["rows"]} <= set(BY_PATTERNS)
    assert "| 25% | OPINE-Net+ | learned, 33 px blocks | - | not given | - | - |" in page.read_text()


def test_a_run_needs_images():
    with pytest.raises(SystemExit, match="not given: the folder of the peers"):
        main(["--only", "inverse"])


def test_other_weights_are_those_of_our_network_alone():
    with pytest.raises(CxgiError, match="nowhere"):
        Given(weights="nowhere.safetensors").by_patterns("ch-mwcnn", None, 0.1, "zig-zag")(
            measure(smooth_image(32, seed=1), "zig-zag", 0.1)
        )
    Given(weights="nowhere.safetensors").by_patterns("inverse", None, 0.1, "zig-zag")(
        measure(smooth_image(32, seed=1), "zig-zag", 0.1)
    )
