# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rd_plugin.components import PositionGaussians


def fitted(features: torch.Tensor, block: int = 1) -> PositionGaussians:
    gaussians = PositionGaussians(features.shape[1], block=block)
    gaussians.update(features, torch.arange(len(features)) % 4 == 3)
    gaussians.compute()
    gaussians.include_held_out()
    return gaussians


def parts(turned: bool, count: int = 400) -> torch.Tensor:
    """Features (N, 6, 8, 8) of aligned parts, or of parts that are each shifted at random."""
    generator = torch.Generator().manual_seed(0)
    mean = 3 * torch.randn(6, 8, 8, generator=generator)
    spread = torch.rand(6, 8, 8, generator=generator) + 0.1
    features = mean + spread * torch.randn(count, 6, 8, 8, generator=generator)
    if turned:
        shifts = torch.randint(8, (count, 2), generator=generator).tolist()
        features = torch.stack([part.roll(shift, (1, 2)) for part, shift in zip(features, shifts, strict=True)])
    return features


def test_statistics_are_each_positions_own_on_aligned_parts_and_common_on_turned_ones() -> None:
    assert fitted(parts(turned=False)).shrinkage.tolist() == pytest.approx([1, 0.95, 0])
    assert fitted(parts(turned=True)).shrinkage.tolist() == pytest.approx([0, 0, 0])


def test_distance_is_mahalanobis() -> None:
    features = parts(turned=True)
    gaussians = fitted(features)
    flat = features.permute(0, 2, 3, 1).reshape(-1, 6).double()
    covariance = flat.T.cov(correction=0)
    covariance += 0.01 * covariance.diagonal().mean() * torch.eye(6)
    new = parts(turned=True, count=3)
    off = new.permute(0, 2, 3, 1).double() - flat.mean(0)
    expected = torch.einsum("nhwi,ij,nhwj->nhw", off, covariance.inverse(), off) / 6
    torch.testing.assert_close(gaussians(new).double(), expected, rtol=5e-3, atol=1e-3)


def test_sums_over_processes_are_those_of_one() -> None:
    features, flags = parts(turned=False), torch.arange(400) % 4 == 3
    whole, first, second = (PositionGaussians(6) for _ in range(3))
    whole.update(features, flags)
    for part, own in ((first, slice(0, None, 2)), (second, slice(1, None, 2))):
        part.update(features[own], flags[own])
    theirs = iter([tensor for moments in second._seen for tensor in moments])
    first.compute(lambda tensor: tensor + next(theirs))
    whole.compute()
    torch.testing.assert_close(first.shrinkage, whole.shrinkage)
    torch.testing.assert_close(first(features[:4]), whole(features[:4]), rtol=1e-3, atol=1e-3)


def test_held_out_images_are_included_in_the_end() -> None:
    features = parts(turned=False, count=8)
    gaussians = PositionGaussians(6)
    gaussians.update(features, torch.arange(8) % 4 == 3)
    gaussians.compute()
    before = gaussians(features)
    gaussians.include_held_out()
    after = gaussians(features)
    # They count as less unusual once they are included.
    assert after[3::4].mean() < before[3::4].mean()


def test_what_perturbations_do_everywhere_is_added_to_every_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rd_plugin.components.gaussians._PERTURBATION_WEIGHTS", (0.0,))
    features = parts(turned=True)
    usual, changed = features[:40], torch.cat([features[:40] + 1, features[:40] * 2])
    gaussians = PositionGaussians(6)
    gaussians.update(features, torch.arange(400) % 4 == 3)
    for first, second in ((0, 15), (15, 40)):
        gaussians.update_perturbations(
            usual[first:second], torch.cat([changed[first:second], changed[40 + first : 40 + second]])
        )
    gaussians.compute()
    gaussians.include_held_out()
    flat = features.permute(0, 2, 3, 1).reshape(-1, 6).double()
    covariance = flat.T.cov(correction=0)
    covariance += 0.01 * covariance.diagonal().mean() * torch.eye(6)
    seen = usual.permute(0, 2, 3, 1).reshape(-1, 6).double()
    covariance += (1 + seen.T @ seen / len(seen)) / 2
    off = features[:3].permute(0, 2, 3, 1).double() - flat.mean(0)
    expected = torch.einsum("nhwi,ij,nhwj->nhw", off, covariance.inverse(), off) / 6
    torch.testing.assert_close(gaussians(features[:3]).double(), expected, rtol=5e-3, atol=1e-3)


def test_what_a_perturbation_does_at_one_place_counts_there() -> None:
    features = parts(turned=False)
    usual = features[:40]
    moved = usual.clone()
    moved[:, 0, 2, 5] += 20
    gaussians = PositionGaussians(6)
    gaussians.update(features, torch.arange(400) % 4 == 3)
    gaussians.update_perturbations(usual, moved)
    gaussians.compute()
    gaussians.include_held_out()
    assert gaussians.shrinkage.tolist() == pytest.approx([1, 0.95, 0.9])
    elsewhere = usual.clone()
    elsewhere[:, 0, 5, 2] += 20
    assert gaussians(elsewhere)[:, 5, 2].mean() > 5 * gaussians(moved)[:, 2, 5].mean()


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_blocks_share_a_covariance_and_keep_their_own_means(size: tuple[int, int]) -> None:
    features = parts(turned=False)[..., : size[0], : size[1]]
    gaussians = fitted(features, block=2)
    assert gaussians.whitening.shape == (-(-size[0] // 2) * -(-size[1] // 2), 6, 6)
    assert gaussians.shrinkage.tolist() == pytest.approx([1, 0.95, 0])
    distances = gaussians(features)
    assert distances.shape == (400, *size)
    assert distances.mean().item() == pytest.approx(1, abs=0.05)
    # A position off its own mean stands out, though not where that is usual for its neighbour.
    odd = features.mean(0, keepdim=True)
    odd[..., 2, 3] = features.mean(0)[:, 2, 2]
    assert gaussians(odd).flatten().argmax().item() == 2 * size[1] + 3


def test_blocks_of_one_position_are_positions() -> None:
    features = parts(turned=False, count=40)
    coarse = torch.nn.functional.interpolate(features, scale_factor=2.0)
    torch.testing.assert_close(
        fitted(coarse, block=2)(coarse)[..., ::2, ::2], fitted(features)(features), rtol=1e-2, atol=1e-2
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_images_that_hardly_vary(count: int) -> None:
    gaussians = fitted(torch.ones(count, 300, 2, 2))
    assert gaussians.projection.shape == (300, 256)
    assert gaussians(torch.zeros(1, 300, 2, 2)).isfinite().all()
    if count < 4:  # none is held out
        assert gaussians.shrinkage.tolist() == [0, 0, 0]


def test_what_it_needs_to_know_first() -> None:
    gaussians = PositionGaussians(6)
    with pytest.raises(ValueError, match="this model compares with normal images, but is not fitted"):
        gaussians(torch.ones(1, 6, 8, 8))
    with pytest.raises(ValueError, match="images must have the training size"):
        fitted(parts(turned=False))(torch.ones(1, 6, 4, 4))


@pytest.mark.parametrize("block", [1, 2])
def test_sums_of_some_images_and_others_give_the_statistics_of_all(block: int) -> None:
    features = torch.randn(40, 6, 4, 6, generator=torch.Generator().manual_seed(0)) + torch.arange(24.0).view(
        1, 1, 4, 6
    )
    none = torch.zeros(40, dtype=torch.bool)
    whole, first = PositionGaussians(6, block=block), PositionGaussians(6, block=block)
    flags = torch.arange(40) % 4 == 3
    for gaussians, part in ((whole, slice(None)), (first, slice(0, 25))):
        gaussians.update(features[part], flags[part])
        gaussians.update_perturbations(features[:2], features[:2].repeat(3, 1, 1, 1) + 0.5)
    first.compute()
    sums = first.sums()
    later = PositionGaussians(6, block=block)
    later.load_state_dict(first.state_dict())
    later.continue_from(sums)
    later.update(features[25:], none[25:])
    later.include_held_out()
    whole.shrinkage = first.shrinkage
    whole.include_held_out()
    assert (sums["number"] == 25).all()
    assert sums["products"].shape == (24 // block**2, 21)
    torch.testing.assert_close(later.mean, whole.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(later(features), whole(features), rtol=1e-3, atol=1e-3)


def test_state_holds_half_of_the_whitening_and_gives_it_back() -> None:
    gaussians = fitted(parts(turned=False))
    state = gaussians.state_dict()
    assert state["whitening"].shape == (64, 21)
    assert gaussians.state_dict(keep_vars=True)["whitening"] is gaussians.whitening
    for saved in (state, {**state, "whitening": gaussians.whitening}):
        loaded = PositionGaussians(6)
        loaded.load_state_dict(saved)
        assert torch.equal(loaded.whitening, gaussians.whitening)
    assert saved["whitening"].shape == (64, 6, 6)


@pytest.mark.parametrize("block", [1, 2])
def test_positions_of_zeros_do_not_count(block: int) -> None:
    """They lie outside the region of interest: statistics and shrinkage are those of the others alone."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, 4, 6, generator=generator) + torch.arange(24.0).view(1, 1, 4, 6)
    perturbed = features[:2].repeat(3, 1, 1, 1) + torch.randn(6, 6, 4, 6, generator=generator)
    held_out = torch.arange(40) % 4 == 3

    def fitted(inside: int, width: int) -> PositionGaussians:
        gaussians = PositionGaussians(6, block=block)
        kept, moved = features[..., :width].clone(), perturbed[..., :width].clone()
        kept[..., inside:] = moved[..., inside:] = 0
        gaussians.update(kept, held_out)
        gaussians.update_perturbations(kept[:2], moved)
        gaussians.compute()
        gaussians.include_held_out()
        return gaussians

    # The border goes through a block.
    alone, beside = fitted(4, 4) if block == 1 else fitted(3, 4), fitted(4 if block == 1 else 3, 6)
    assert torch.equal(alone.shrinkage, beside.shrinkage)
    inside = 4 if block == 1 else 3
    expected = alone(features[..., :4])[..., :inside]
    torch.testing.assert_close(beside(features)[..., :inside], expected, rtol=1e-2, atol=1e-2)
    assert beside(features).isfinite().all()


def test_a_position_counts_where_its_vector_is_not_zero() -> None:
    """Of an image's tiles some may be outside the region of interest there."""
    features = torch.randn(40, 6, 2, 2)
    tiles = features.repeat_interleave(2, 0)
    tiles[::2, :, 0] = 0
    alone, both = PositionGaussians(6), PositionGaussians(6)
    alone.update(features, torch.zeros(40, dtype=torch.bool))
    both.update(tiles, torch.zeros(80, dtype=torch.bool))
    for gaussians in (alone, both):
        gaussians.compute()
        gaussians.shrinkage = torch.tensor([1.0, 0.9, 0.0])
        gaussians.include_held_out()
    # The lower row is seen twice, which changes what all positions have in common.
    torch.testing.assert_close(both.mean * both.scale, alone.mean * alone.scale, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [500, pytest.param(16, marks=pytest.mark.slow)])
def test_sums_of_a_million_images_are_exact_enough(batch: int) -> None:
    """Added up in single precision, with a mean of three standard deviations."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(4, 4, generator=generator)
    gaussians, flags = PositionGaussians(4), torch.zeros(batch, dtype=torch.bool)
    features = 3 + torch.randn(batch * 8, 4, 1, 1, generator=generator)
    features[:, :, 0, 0] = 3 + (features[:, :, 0, 0] - 3) @ mixing
    for _ in range(10**6 // len(features)):
        for part in features.split(batch):
            gaussians.update(part, flags)
    gaussians.compute()
    flat = features[:, :, 0, 0].double()
    covariance = flat.T.cov(correction=0)
    covariance += 0.01 * covariance.diagonal().mean() * torch.eye(4)
    new = 3 + 2 * torch.randn(50, 4, 1, 1, generator=generator)
    off = new[:, :, 0, 0].double() - flat.mean(0)
    expected = torch.einsum("ni,ij,nj->n", off, covariance.inverse(), off) / 4
    # The whitening is kept in half precision.
    torch.testing.assert_close(gaussians(new).flatten().double(), expected, rtol=0.01, atol=0.01)
