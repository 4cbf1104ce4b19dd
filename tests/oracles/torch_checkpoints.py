"""Checkpoints as people save them, into a folder: NAME.pt, and the network's input x.npy and output y.npy.

usage: torch_checkpoints.py FOLDER      (needs PyTorch)
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path) -> None:
    import numpy as np
    import torch
    from torch import nn

    torch.manual_seed(5)
    lstm, fc, norm = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2), nn.LayerNorm(5)
    net = nn.ModuleDict({"lstm": lstm, "fc": fc})
    x = torch.randn(4, 6, 3)
    y = fc(lstm(x)[0][:, -1])
    optimizer = torch.optim.Adam(net.parameters())
    y.sum().backward()
    np.save(folder / "x.npy", x.numpy())
    np.save(folder / "y.npy", y.detach().numpy())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
    # A step that changes nothing, so that the optimizer has a state.
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    weights = net.state_dict()
    checkpoints = {
        "plain": weights,
        "parallel": nn.DataParallel(net).state_dict(),
        "compiled": {f"_orig_mod.{key}": value for key, value in weights.items()},
        "training": {
            "epoch": 3,
            "model_state_dict": weights,
            "optimizer_state_dict": optimizer.state_dict(),
            "scheduler": schedule.state_dict(),
            "loss": torch.tensor(0.5),
            "rng_state": torch.get_rng_state(),
        },
        "lightning": {
            "state_dict": weights,
            "optimizer_states": [optimizer.state_dict()],
            "callbacks": {"checkpoint": {"best_model_score": torch.tensor(0.5)}},
            "hyper_parameters": {"units": 5},
        },
        "two_parts": {"lstm": lstm.state_dict(), "fc": fc.state_dict()},
        "three_parts": {"lstm": lstm.state_dict(), "fc": fc.state_dict(), "norm": norm.state_dict()},
        "scaled": {"model": weights, "mean": torch.zeros(3)},
        "averaged": {"model": weights, "ema": {key: value.clone() for key, value in weights.items()}},
        "encoder_decoder": {"encoder": lstm.state_dict(), "decoder": nn.LSTM(3, 5).state_dict()},
    }
    for name, content in checkpoints.items():
        torch.save(content, folder / f"{name}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
