"""Masked autoencoder (He 2022) on 3D windows: the encoder learns from scans without labels.

The encoder sees the visible tokens only; a light decoder sees all places and guesses the hidden
patches. The loss lives on hidden patches alone. Encoder, token order and positions are those of
`vit.py`, so what is learned here is what fine-tuning starts from.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from iac_cli.train.vit import Block, VitConfig, VitEncoder, patchify, rotary_angles, with_prior

STILL = 1e-4
"""Variance, in the channels' units of [-1, 1], below which a patch counts as even when its values
are normalised: air stays air, its noise is not blown up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaeConfig:
    """Sizes of the autoencoder; the decoder is thrown away after pre-training."""

    vit: VitConfig = field(default_factory=VitConfig)
    decoder_dim: int = 128
    decoder_depth: int = 2
    mask_ratio: float = 0.9
    """Share of the tokens that is hidden."""
    normalise_patches: bool = False
    """Whether each patch's target has mean 0 and variance 1: texture counts, not the HU level."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, saved with the weights."""
        return {"name": "mae"} | asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MaeConfig":
        """The inverse of `to_dict`."""
        rest = {key: value for key, value in values.items() if key not in ("name", "vit")}
        return cls(vit=VitConfig.from_dict(values["vit"]), **rest)


def random_masking(
    b: int, n: int, mask_ratio: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Visible (b, k) and hidden (b, n - k) token numbers, each rising; at least one is visible."""
    kept = min(n - 1, max(1, round(n * (1.0 - mask_ratio))))
    order = torch.rand(b, n, generator=random, device=random.device).argsort(dim=1)
    return order[:, :kept].sort(dim=1).values, order[:, kept:].sort(dim=1).values


def chosen(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Tokens (b, n, d) by number (b, k): (b, k, d)."""
    return tokens.gather(1, numbers[..., None].expand(-1, -1, tokens.shape[2]))


class Mae(nn.Module):
    """Windows and which tokens are visible -> a guess of every hidden patch."""

    def __init__(self, config: MaeConfig) -> None:
        super().__init__()
        self.config = config
        dim, (pz, py, px) = config.decoder_dim, config.vit.patch
        self.encoder = VitEncoder(config.vit)
        self.narrow = nn.Linear(config.vit.dim, dim)
        self.hidden = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.hidden, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, 4.0, 0.0) for _ in range(config.decoder_depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, config.vit.channels * pz * py * px)

    def forward(self, windows: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """(b, c, z, y, x), (b, k) and (b, m) -> guessed patches (b, m, c * pz * py * px)."""
        windows = with_prior(windows, self.config.vit)
        seen = self.narrow(self.encoder(windows, visible))  # (b, k, dim)
        tokens = self.hidden.to(seen.dtype).expand(len(seen), hidden.shape[1], -1)
        places = torch.cat([visible, hidden], dim=1)  # (b, n)
        angles = rotary_angles(self.encoder.sides(windows), windows.device)[places][:, None]
        cosine, sine = angles.cos().to(seen.dtype), angles.sin().to(seen.dtype)
        tokens = torch.cat([seen, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens, cosine, sine)
        answer: Tensor = self.head(self.norm(tokens[:, visible.shape[1] :]))
        return answer

    def targets(self, windows: Tensor, hidden: Tensor) -> Tensor:
        """What the hidden patches (b, m) hold: (b, m, c * pz * py * px)."""
        patches = chosen(
            patchify(windows[:, : self.config.vit.channels], self.config.vit.patch), hidden
        )
        if not self.config.normalise_patches:
            return patches
        centred = patches - patches.mean(dim=2, keepdim=True)
        return centred / (patches.var(dim=2, keepdim=True, unbiased=False) + STILL).sqrt()

    def loss(self, guess: Tensor, windows: Tensor, hidden: Tensor) -> Tensor:
        """Mean square error of the guess, on the hidden patches alone."""
        return (guess.float() - self.targets(windows, hidden)).square().mean()
