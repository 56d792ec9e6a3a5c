"""Spatially Localized Channel Attention: frozen maps decide where which channels pass."""

from torch import Tensor, nn
from torch.nn import functional as F


def resize_attention(attention: Tensor, size: tuple[int, int]) -> Tensor:
    """Fit attention (B, C, h, w) to a stage's (H, W): nearest to grow, area to shrink."""
    height, width = attention.shape[-2:]
    if (height, width) == size:
        return attention
    if size[0] >= height and size[1] >= width:
        return F.interpolate(attention, size, mode="nearest")
    return F.interpolate(attention, size, mode="area")


class SLCA(nn.Module):
    """One tap: pooled frozen maps of a level gate a backbone stage.

    A = sigmoid(W2 relu(W1 P)), two 1x1 convolutions C_l -> C_l / r -> C_s; then "gate" gives X A,
    "residual" X + X A. P is the level's map, standardised per channel and averaged over k x k
    cells; with k = the whole map this is squeeze-and-excitation. After arXiv 2505.06217;
    docs/slca.md says which parts are the paper's and which ours.
    """

    def __init__(self, level_channels: int, stage_channels: int, reduction: int, fusion: str):
        super().__init__()
        hidden = max(1, level_channels // reduction)
        self.squeeze = nn.Conv2d(level_channels, hidden, kernel_size=1)
        self.excite = nn.Conv2d(hidden, stage_channels, kernel_size=1)
        self.residual = fusion == "residual"
        # P's variance is kept up to the sigmoid: with torch's default, a third of it at each layer,
        # gates start as constants and in a few hundred steps hardly come to depend on the maps.
        nn.init.kaiming_normal_(self.squeeze.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.excite.weight, nonlinearity="linear")

    def compute_attention(self, pooled: Tensor) -> Tensor:
        """Attention in (0, 1), (B, C_s, h, w), of standardised pooled maps (B, C_l, h, w)."""
        result: Tensor = self.excite(F.relu(self.squeeze(pooled))).sigmoid()
        return result

    def forward(self, x: Tensor, pooled: Tensor) -> Tensor:
        """Gate a stage's output x (B, C_s, H, W) by pooled maps (B, C_l, h, w)."""
        height, width = x.shape[-2:]
        gated = x * resize_attention(self.compute_attention(pooled), (height, width))
        return x + gated if self.residual else gated
