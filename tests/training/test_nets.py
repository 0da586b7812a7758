"""The two nets on stand-ins: what must hold whatever they have learnt."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weft.errors import RecipeError
from weft_training.backbones import build_backbone, fit_first_layer, freeze_stages
from weft_training.calibrate_shares import ShareCalibration
from weft_training.fibre_net import ConvTrunk, FibreGraph, FibreNet, FibreTail, Members
from weft_training.preprocess import StandardNormalVariate
from weft_training.weight_net import MapReader, WeightNet, WeightTail, told_of
from weft_training.weight_stem import WeightStem

COLOURS = ["red", "green", "blue"]
GRID = [1000.0 + 10 * step for step in range(40)]


class Look(nn.Module):
    """A backbone of two numbers: how bright, how uneven."""

    def forward(self, photos: Tensor) -> Tensor:
        return torch.stack([photos.mean((1, 2, 3)), photos.std((1, 2, 3))], dim=-1)


def weight_net() -> WeightNet:
    torch.manual_seed(0)
    stem = WeightStem(Look(), input_px=16, mean=[127.5] * 3, std=[60.0] * 3)
    return WeightNet(stem, WeightTail(features=2, hidden=8, dropout=0.5, placed=True)).eval()


def plain_backbone() -> nn.Module:
    return build_backbone(
        "test_efficientnet", pretrained=None, pretrained_classes=None, pad_type=None, bands=COLOURS
    )


def parcels(batch: int = 2, count: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "photos": torch.randint(0, 256, (batch, count, 3, 20, 30), generator=generator, dtype=torch.uint8),
        "size": torch.tensor([20, 30]).expand(batch, count, 2),
        "mask": torch.ones(batch, count, dtype=torch.bool),
        "mm_per_pixel": torch.rand(batch, count, generator=generator) * 3,
        "mark_at": torch.rand(batch, count, 3, generator=generator) * torch.tensor([30.0, 20.0, 1.0]),
        "season": torch.tensor([0, 2][:batch]),
        "wrap": torch.tensor([3, 1][:batch]),
    }


def fibre_net() -> FibreNet:
    torch.manual_seed(0)
    trunk = nn.Linear(40, 4)
    return FibreNet(
        FibreTail(StandardNormalVariate(), trunk, None, points=40, outputs="softmax"), grid_nm=GRID
    ).eval()


def test_the_order_of_the_photos_does_not_matter() -> None:
    net, given = weight_net(), parcels()
    turned = {
        name: value if name in {"season", "wrap"} else value[:, [2, 0, 1]] for name, value in given.items()
    }

    assert torch.allclose(net(**given).log_grams, net(**turned).log_grams, atol=1e-6)


def test_a_masked_photo_does_not_count() -> None:
    net, given = weight_net(), parcels()
    two = {name: value if name in {"season", "wrap"} else value[:, :2] for name, value in given.items()}
    masked = {**given, "mask": torch.tensor([[True, True, False]] * 2)}

    assert torch.allclose(net(**two).log_grams, net(**masked).log_grams, atol=1e-6)


def net_with_maps(*, members: int = 1, pooled: bool = True) -> WeightNet:
    torch.manual_seed(0)
    stem = WeightStem(plain_backbone(), input_px=64, mean=[127.5] * 3, std=[60.0] * 3, levels=[1, 2]).eval()
    shown, maps = stem.look(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.tensor([[64, 64]]))
    tail = WeightTail(
        features=shown.shape[-1],
        hidden=8,
        dropout=0.0,
        channels=maps.shape[1],
        width=8,
        members=members,
        pooled=pooled,
    )
    return WeightNet(stem, tail).eval()


def test_the_layers_stand_behind_the_last_features_and_change_nothing_of_these() -> None:
    photos, size = parcels()["photos"][0], torch.tensor([[20, 30]] * 3)
    backbone = plain_backbone().eval()
    settings = {"input_px": 64, "mean": [127.5] * 3, "std": [60.0] * 3}
    plain = WeightStem(backbone, **settings).eval()
    layered = WeightStem(backbone, **settings, levels=[2], layers=[1, 2]).eval()
    last, *layers = layered.look_apart(photos, size)[0]
    maps = layered.look(photos, size)[1]

    assert torch.allclose(last, plain.look(photos, size)[0], atol=1e-6)
    assert torch.allclose(layers[1][:, : maps.shape[1]], maps.mean((-2, -1)), atol=1e-6)
    assert torch.allclose(layers[1][:, maps.shape[1] :], maps.std((-2, -1), correction=0), atol=1e-2)
    assert torch.equal(layered.look(photos, size)[0], torch.cat([last, *layers], dim=-1))


def test_the_kernel_says_its_share_of_the_answer_and_photos_count_alike() -> None:
    torch.manual_seed(0)
    settings = {"features": 2, "hidden": 8, "dropout": 0.0}
    tails = [WeightTail(**settings, centres=5, kernel_share=share) for share in (0.5, 1.0)]
    kernel = tails[0].kernel
    assert kernel is not None
    kernel.centres.normal_()
    kernel.weight.normal_()
    tails[1].load_state_dict({**tails[0].state_dict(), "kernel.share": torch.tensor(1.0)})
    pooled, mask = torch.randn(4, 3, 2), torch.ones(4, 3, dtype=torch.bool)
    given = (pooled, torch.zeros(4, 3, 0, 1, 1), mask, torch.zeros(4, 3, 5), torch.zeros(4).long())
    half, whole = (tail.eval()(*given, given[-1]).log_grams for tail in tails)
    bare = WeightTail(**settings)
    bare.load_state_dict(tails[0].state_dict(), strict=False)

    assert torch.allclose(whole, bare.log_mean + bare.log_std * kernel(pooled).mean(-1), atol=1e-5)
    assert torch.allclose(half, (whole + bare.eval()(*given, given[-1]).log_grams) / 2, atol=1e-5)


def test_the_reader_of_maps_knows_where_a_thing_lies() -> None:
    torch.manual_seed(0)
    reader = MapReader(channels=1, width=8).eval().double()  # one cell of 196 moves the mean by little
    left = torch.zeros(1, 1, 14, 14, dtype=torch.double)
    left[..., 6, 4] = 5.0  # far from any border

    assert (reader(left) - reader(left.roll(5, -1))).abs().max() > 1e-9


def test_a_padded_place_is_not_looked_at_in_training() -> None:
    net, given = net_with_maps().train(), parcels()
    given["mask"] = torch.tensor([[True, True, False]] * 2)
    other = {**given, "photos": given["photos"].clone()}
    other["photos"][:, 2] = 255

    # Batch statistics would tell: the padded places would have moved them.
    torch.manual_seed(1)
    found = net(**given).log_grams
    torch.manual_seed(1)
    assert torch.equal(found, net(**other).log_grams)


def test_the_mean_of_the_members_answers() -> None:
    net, given = net_with_maps(members=3), parcels()
    pooled, maps = net.stem(given["photos"], given["size"], given["mask"])
    told = told_of(given["mm_per_pixel"], given["mark_at"], given["size"])
    rest = (given["mask"], told, given["season"], given["wrap"])
    answer = net.tail(pooled, maps, *rest)

    net.tail.train()
    for module in net.tail.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    each = net.tail(pooled, maps, *rest)

    assert each.log_grams.shape == (3, 2)
    assert each.log_grams.std(0).min() > 0
    assert torch.allclose(each.log_grams.mean(0), answer.log_grams, atol=1e-5)


def test_the_scale_tells_a_large_thing_from_a_small_one() -> None:
    net, given = weight_net(), parcels()
    assert not torch.allclose(
        net(**given).log_grams, net(**{**given, "mm_per_pixel": given["mm_per_pixel"] * 4}).log_grams
    )


def test_where_the_mark_lies_and_how_aslant_is_heard_as_far_as_it_is_known() -> None:
    net, given = weight_net(), parcels()

    def said(**other: Tensor) -> Tensor:
        return net(**{**given, **other}).log_grams

    aside = given["mark_at"] + torch.tensor([4.0, 0.0, 0.0])
    aslant = given["mark_at"] * torch.tensor([1.0, 1.0, 0.5])
    for other in (aside, aslant, torch.zeros(2, 3, 3)):
        assert not torch.allclose(said(mark_at=other), said())
    hidden = torch.zeros(2, 3)
    assert torch.equal(said(mm_per_pixel=hidden), said(mm_per_pixel=hidden, mark_at=aside))


def test_what_is_told_of_a_mark_does_not_depend_on_the_photos_size() -> None:
    size = torch.tensor([[[300, 400]]])
    small = told_of(torch.tensor([[2.0]]), torch.tensor([[[100.0, 200.0, 0.7]]]), size)
    large = told_of(torch.tensor([[0.5]]), torch.tensor([[[400.0, 800.0, 0.7]]]), size * 4)

    assert torch.allclose(small, torch.tensor([[[800.0, 1.0, -0.25, 0.125, 0.7]]]))
    assert torch.allclose(large, small)


def test_quantiles_are_in_order_before_anything_was_learnt() -> None:
    found = weight_net()(**parcels())

    assert (found.log_low < found.log_grams).all()
    assert (found.log_grams < found.log_high).all()


def test_shares_sum_to_one_and_a_descending_scan_gives_the_same() -> None:
    net = fibre_net()
    wavelength = torch.linspace(990, 1400, 228)
    absorbance = torch.rand(5, 228, generator=torch.Generator().manual_seed(0)).cumsum(-1) / 100

    found = net(wavelength, absorbance)
    turned = net(wavelength.flip(0), absorbance.flip(1))

    assert torch.allclose(found.shares.sum(-1), torch.ones(5))
    assert torch.allclose(found.shares, turned.shares, atol=1e-5)


def test_least_squares_shares_are_cut_at_zero_and_sum_to_one() -> None:
    net = fibre_net()
    net.tail.outputs = "normalised"
    shares = net(torch.tensor(GRID), torch.randn(6, 40)).shares

    assert (shares >= 0).all()
    assert torch.allclose(shares.sum(-1), torch.ones(6))


def test_the_fibre_graph_applies_the_margins_as_they_were_measured() -> None:
    net = fibre_net()
    absorbance = torch.randn(7, 40, generator=torch.Generator().manual_seed(2)) * 3
    blend = ((0.01, 0.2, 0.1), (0.02, 0.3, 0.15), (0.03, 0.4, 0.2))
    margin = (blend, tuple(tuple(value / 2 for value in row) for row in blend))
    calibration = ShareCalibration(0.9, ("a", "b", "c"), (0.1, 0.9), margin, 30)
    graph = FibreGraph(net, edges_share=(0.1, 0.9), margin=margin)
    shares, low, high, _ = graph(torch.tensor(GRID), absorbance)

    expected_low, expected_high = calibration.intervals(shares.detach().double().numpy())

    assert low.detach().numpy() == pytest.approx(expected_low, abs=1e-6)
    assert high.detach().numpy() == pytest.approx(expected_high, abs=1e-6)


def test_a_convolutional_trunk_answers_for_every_scan() -> None:
    assert ConvTrunk(hidden=8, dropout=0.0, outputs=4)(torch.randn(3, 120)).shape == (3, 4)


def test_a_band_without_pretrained_filter_starts_as_the_mean_of_the_colours() -> None:
    net = plain_backbone().eval()
    grey = torch.rand(1, 1, 64, 64)
    before = net(grey.expand(1, 3, 64, 64))

    fit_first_layer(net, ["blue", "nir", "green", "red"])

    # On a scene that looks alike in every band the net must answer as it did.
    assert torch.allclose(net(grey.expand(1, 4, 64, 64)), before, atol=1e-4)


def test_weights_come_from_a_file_and_a_wrong_file_is_refused(tmp_path: object) -> None:
    from pathlib import Path

    import timm
    from safetensors.torch import save_file

    file = Path(str(tmp_path)) / "weights.safetensors"
    source = timm.create_model("test_efficientnet", num_classes=11)
    save_file(source.state_dict(), file)
    settings = {"pretrained": str(file), "pad_type": None, "bands": ["red", "green", "blue"]}

    net = build_backbone("test_efficientnet", pretrained_classes=11, **settings).eval()

    photo = torch.rand(1, 3, 64, 64)
    source.reset_classifier(0)
    assert torch.allclose(net(photo), source.eval()(photo))
    with pytest.raises(RecipeError, match="does not fit the backbone"):
        build_backbone("test_efficientnet", pretrained_classes=5, **settings)
    with pytest.raises(RecipeError, match="there is no file"):
        build_backbone("test_efficientnet", pretrained_classes=5, **{**settings, "pretrained": "none.pth"})
    with pytest.raises(RecipeError, match="timm cannot make 'no_such_net'"):
        build_backbone("no_such_net", pretrained_classes=5, **settings)


def test_frozen_stages_learn_nothing_and_keep_their_statistics() -> None:
    backbone = plain_backbone()
    freeze_stages(backbone, 2)
    stem = WeightStem(backbone, input_px=64, mean=[0.0] * 3, std=[1.0] * 3).train()
    frozen = [name for name, parameter in backbone.named_parameters() if not parameter.requires_grad]
    statistics = backbone.bn1.running_mean.clone()  # pyright: ignore

    photos = torch.randint(0, 256, (2, 1, 3, 64, 64), dtype=torch.uint8)
    stem(photos, torch.full((2, 1, 2), 64), torch.ones(2, 1, dtype=torch.bool))

    assert 0 < len(frozen) < len(list(backbone.parameters()))
    assert torch.equal(backbone.bn1.running_mean, statistics)  # pyright: ignore
    with pytest.raises(RecipeError, match="write `all`"):
        freeze_stages(backbone, 99)


def test_the_augmented_spectra_keep_their_shape_and_their_truth_sums_to_one() -> None:
    from weft_training.augment import change_spectra
    from weft_training.recipe import SpectrumAugment

    torch.manual_seed(0)
    truth = torch.eye(4)[torch.randint(4, (50,))]
    settings = SpectrumAugment(
        shift_nm=2, stretch=0.001, gain=0.1, offset=0.1, slope=0.1, noise=0.01, blend=0.5,
        baseline=0.02, resolution_nm=10, stray=0.02, detector_noise=0.002,
    )  # fmt: skip

    spectra, blended = change_spectra(torch.rand(50, 40), truth, step_nm=5, settings=settings)

    assert spectra.shape == (50, 40)
    assert torch.isfinite(spectra).all()
    assert torch.allclose(blended.sum(-1), torch.ones(50))
    assert (blended.max(-1).values < 0.999).any()


def test_the_changed_photo_keeps_its_bands_and_the_same_seed_gives_the_same_photo() -> None:
    from weft_training.augment import build_photo_change
    from weft_training.recipe import PhotoAugment

    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 5), dtype=np.uint8)
    change = build_photo_change(PhotoAugment(), ["red", "green", "blue", "nir", "swir"])

    first, second, third = (change(photo, seed).pixels for seed in (1, 1, 2))

    assert first.shape[2] == 5
    assert np.array_equal(first, second)
    assert first.shape != third.shape or not np.array_equal(first, third)


@pytest.mark.parametrize("seed", range(12))
def test_it_is_known_where_a_change_moves_a_pixel(seed: int) -> None:
    from weft_training.augment import build_photo_change
    from weft_training.recipe import PhotoAugment

    photo = np.zeros((60, 80, 3), np.uint8)
    photo[20:23, 50:53] = 255  # its middle, whole numbers at the pixels' corners: (51.5, 21.5)
    settings = PhotoAugment(light=0, colour=0, blur_px=0, noise=0)

    pixels, moved = build_photo_change(settings, ["red", "green", "blue"])(photo, seed)

    rows, columns = np.nonzero(pixels.min(-1) > 200)
    found = (columns.mean() + 0.5, rows.mean() + 0.5)
    assert moved @ [51.5, 21.5, 1] == pytest.approx(found, abs=0.6)


def test_a_photo_whose_light_alone_changes_keeps_its_places() -> None:
    from weft_training.augment import UNMOVED, build_photo_change
    from weft_training.recipe import PhotoAugment

    still = PhotoAugment(crop=0, rotate_degrees=0, flip="none", light=0.5)
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)

    changed = build_photo_change(still, ["red", "green", "blue"])(photo, 3)

    assert changed.pixels.shape == photo.shape
    assert np.array_equal(changed.moved, UNMOVED)


def test_members_answer_with_the_mean_of_their_shares() -> None:
    torch.manual_seed(0)
    trunks = [nn.Linear(40, 4) for _ in range(3)]
    tails = [
        FibreTail(StandardNormalVariate(), trunk, None, points=40, outputs="softmax")
        for trunk in (*trunks, Members(trunks))
    ]
    scans = torch.randn(5, 40)

    *alone, together = [tail.eval()(scans) for tail in tails]

    assert torch.allclose(together.shares, torch.stack([a.shares for a in alone]).mean(0), atol=1e-5)
    assert torch.allclose(together.unknown, torch.stack([a.unknown for a in alone]).mean(0), atol=1e-5)


def test_members_that_are_trained_answer_each_for_itself() -> None:
    tail = FibreTail(
        StandardNormalVariate(),
        Members([nn.Linear(40, 4) for _ in range(3)]),
        None,
        points=40,
        outputs="softmax",
    )

    found = tail.train()(torch.randn(5, 40))

    assert found.shares.shape == (3, 5, 3)
    assert found.unknown.shape == (3, 5)
