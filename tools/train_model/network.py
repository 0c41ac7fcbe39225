"""The network: a small Llama, written so that its weights go into a GGUF file unchanged."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """The sizes that define the network."""

    vocabulary: int
    layers: int = 6
    width: int = 256
    heads: int = 4
    feed_forward: int = 640
    context: int = 8192
    rope_base: float = 50_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """How many numbers each attention head works on."""
        return self.width // self.heads

    def as_dict(self) -> dict[str, float]:
        """The sizes for a checkpoint."""
        return asdict(self)


def rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary positions on neighbouring pairs, the order llama.cpp uses for this architecture."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)


class Attention(nn.Module):
    """Causal attention, spelled out: on short texts this beats the fused kernel on a CPU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.query = nn.Linear(shape.width, shape.width, bias=False)
        self.key = nn.Linear(shape.width, shape.width, bias=False)
        self.value = nn.Linear(shape.width, shape.width, bias=False)
        self.output = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        """Mix each position with those before it."""
        rows, length, _ = x.shape
        split = (rows, length, self.shape.heads, self.shape.head_width)
        value = self.value(x).view(split).transpose(1, 2)
        query = rotate(self.query(x).view(split).transpose(1, 2), cosine, sine).to(value.dtype)
        key = rotate(self.key(x).view(split).transpose(1, 2), cosine, sine).to(value.dtype)
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        with torch.autocast("cpu", enabled=False):
            weights = (query @ key.transpose(-1, -2) * self.shape.head_width**-0.5).masked_fill(
                later, -torch.inf
            )
            mixed = weights.softmax(-1) @ value
        joined: torch.Tensor = self.output(mixed.transpose(1, 2).reshape(x.shape))
        return joined


class Layer(nn.Module):
    """Attention, then a gated feed-forward step, each added to the running state."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.attention = Attention(shape)
        self.feed_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.gate = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.up = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        """One layer's work."""
        x = x + self.attention(self.attention_norm(x), cosine, sine)
        y = self.feed_norm(x)
        fed: torch.Tensor = x + self.down(functional.silu(self.gate(y)) * self.up(y))
        return fed


class Network(nn.Module):
    """Token numbers in, a score for each possible next token out."""

    frequencies: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        pairs = torch.arange(0, shape.head_width, 2) / shape.head_width
        self.register_buffer("frequencies", shape.rope_base**-pairs, persistent=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def states(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """The final state at each position."""
        angles = positions[:, None, :, None].float() * self.frequencies
        cosine, sine = angles.cos(), angles.sin()
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, cosine, sine)
        final: torch.Tensor = self.norm(x)
        return final

    def scores(self, states: torch.Tensor) -> torch.Tensor:
        """Scores of the next token; the embedding serves for output too."""
        return functional.linear(states, self.embedding.weight)

    def loss(
        self, tokens: torch.Tensor, positions: torch.Tensor, learned: torch.Tensor
    ) -> torch.Tensor:
        """Mean cross-entropy over the learned tokens only."""
        states = self.states(tokens[:, :-1], positions[:, :-1])
        wanted = learned[:, 1:]
        return functional.cross_entropy(self.scores(states[wanted]).float(), tokens[:, 1:][wanted])
